"""Columns: what a reader hands over, one list a column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .dtypes import DType
from .sections import Section
from .tensor import TensorRef

if TYPE_CHECKING:
    from .moments import OptimizerGroups

PathPart = str | int
Path = tuple[PathPart, ...]


class LogicalCount(NamedTuple):
    """How many parameters of the model a stored tensor stands for."""

    parameters: int
    basis: str
    """What the figure was derived from, as a short phrase."""

    known: bool = True
    """False where the count could not be told: `parameters` is then the stored elements, and `basis`
    says why."""


@dataclass(slots=True, eq=False, repr=False)
class Columns:
    """The table as a reader knows it. Lists are parallel; None stands for a whole column that needs no
    list because every row has the same obvious value.
    """

    names: list[str]
    """Display names, dotted."""

    shapes: list[tuple[int, ...]]
    dtypes: list[DType]
    elements: list[int]
    nbytes: list[int]
    """Bytes on disk of each tensor (0 where the file holds no values)."""

    locate: Callable[[int], TensorRef]
    """The values of a row."""

    paths: list[Path] | None = None
    """Parts as stored; None when every stored key is one part, equal to its name."""

    files: list[int] | None = None
    """Index into `Checkpoint.files`; None when there is one file."""

    storages: list[int] | None = None
    """Identity of the bytes: equal numbers share storage. None when no two tensors do."""

    starts: list[int] | None = None
    """Byte offset of each tensor in its storage; None with `storages`."""

    spans: list[int] | None = None
    """Bytes from the first to the last one the tensor touches in its storage; None with `storages`."""

    sections: list[Section | None] | None = None
    """What the file says; None (a row or the column) where it says nothing and the name decides."""

    trainable: list[bool | None] | None = None
    """requires_grad where the file tells."""

    owners: list[str | None] | None = None
    """For optimizer state: the name of the parameter it belongs to."""

    optimizer_groups: tuple[OptimizerGroups, ...] = ()
    """Parameter groups of the optimizers among the rows."""

    in_module_order: bool = True
    """Rows come in the order in which the model defines its tensors (safetensors sorts them instead)."""

    quantization: Mapping[str, object] | None = None
    """The `quantization_config` (or like) of a config beside the weights: how packed weights count."""

    def __len__(self) -> int:
        return len(self.names)


def dotted(path: Path) -> str:
    """The display name of a path."""
    return ".".join([part if isinstance(part, str) else str(part) for part in path])
