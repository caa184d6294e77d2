"""One row of a table as an object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .columns import Path
from .dtypes import DType
from .sections import Section
from .tensor import BLOCK_BYTES, TensorRef
from .units import format_bytes, format_shape
from .untrusted import printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .table_columns import TableColumns


class NamedTensor:
    """One row of a table: what is known about one tensor, and how to get its values."""

    __slots__ = ("row", "table")

    def __init__(self, table: TableColumns, row: int) -> None:
        self.table = table
        self.row = row

    @property
    def name(self) -> str:
        """Dotted display name."""
        return self.table.names[self.row]

    @property
    def path(self) -> Path:
        """The parts of the name as stored (a part may itself contain dots)."""
        return self.table.path(self.row)

    @property
    def section(self) -> Section:
        """Model, buffer, EMA, optimizer or other."""
        return self.table.sections[self.row]

    @property
    def section_is_inferred(self) -> bool:
        """The name suggested the section; the file did not say."""
        return self.table.section_is_inferred(self.row)

    @property
    def role(self) -> str:
        """What the tensor does in its layer, inferred from name and shape."""
        return self.table.roles[self.row]

    @property
    def dtype(self) -> DType:
        """Element type as stored."""
        return self.table.dtypes[self.row]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape as stored (logical for sub-byte types)."""
        return self.table.shapes[self.row]

    @property
    def elements(self) -> int:
        """Stored elements."""
        return self.table.elements[self.row]

    @property
    def parameters(self) -> int:
        """Parameters of the model that these elements stand for (differs for packed weights)."""
        return self.table.parameters[self.row]

    @property
    def parameters_basis(self) -> str | None:
        """What `parameters` was derived from where it differs from `elements`, else None."""
        return self.table.parameters_basis(self.row)

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return self.table.nbytes[self.row]

    @property
    def trainable(self) -> bool | None:
        """requires_grad where the file tells, else None."""
        return self.table.trainable[self.row]

    @property
    def owner(self) -> str | None:
        """For optimizer state: the parameter it belongs to, where that is known."""
        return self.table.owners[self.row]

    @property
    def shared_with(self) -> list[str]:
        """Names of the other tensors of this table that use some of the same bytes."""
        return [self.table.names[row] for row in self.table.shared_rows(self.row)]

    @property
    def data(self) -> TensorRef:
        """Where the values lie."""
        return self.table.data(self.row)

    def numpy(self, *, raw: bool = False) -> NDArray[np.generic]:
        """All values as one array: see `TensorRef.numpy`."""
        return self.data.numpy(raw=raw)

    def blocks(self, block_bytes: int = BLOCK_BYTES, *, raw: bool = False) -> Iterator[NDArray[np.generic]]:
        """The values in bounded pieces: see `TensorRef.blocks`."""
        return self.data.blocks(block_bytes, raw=raw)

    def __repr__(self) -> str:
        return (
            f"<{printable(self.name)}: {self.dtype} {format_shape(self.shape)}, {format_bytes(self.nbytes)}>"
        )
