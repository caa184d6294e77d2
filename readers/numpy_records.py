"""numpy's structured types: records of named fields, flattened to fields of plain types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from .dtypes import DType, opaque
from .numpy_types import array_type
from .source import ByteSource, out_of_bounds, read
from .tensor import ByteOrder, count_elements

if TYPE_CHECKING:
    import numpy as np

_MAX_FIELDS: Final = 10_000
_MAX_ITEM_BYTES: Final = 2**31 - 1
"""numpy's own limit of an element's size."""

_BLOCK_BYTES: Final = 1 << 20


class RecordField(NamedTuple):
    """One field of plain type."""

    path: tuple[str, ...]
    """Names from the outermost record to the field; empty where the type is no record."""

    dtype: DType
    byteorder: ByteOrder
    offset: int
    """Bytes from the start of the record."""

    shape: tuple[int, ...]
    """Of a field that is an array itself."""

    @property
    def nbytes(self) -> int:
        """Bytes of the field in one record."""
        return self.dtype.span(count_elements(self.shape))


class RecordType(NamedTuple):
    """An element type: one plain field without a name, or the fields of a record."""

    fields: tuple[RecordField, ...]
    itemsize: int
    """Bytes of one element; 0 where elements are Python objects."""

    @property
    def is_record(self) -> bool:
        """Whether the elements are records."""
        return not (len(self.fields) == 1 and not self.fields[0].path)

    @property
    def has_objects(self) -> bool:
        """Whether elements are, or hold, Python objects: the whole array is then a pickle."""
        return any(field.dtype.name == "object" for field in self.fields)


class _Pending(NamedTuple):
    descr: object
    path: tuple[str, ...]
    shape: tuple[int, ...]


def record_type(descr: object) -> RecordType:
    """The type that a header's `descr` means.

    Args:
        descr: a type string, or a list of `(name, descr)` and `(name, descr, shape)` with names that may
            be `(title, name)`, as `numpy.lib.format.dtype_to_descr` writes it.

    Raises:
        ValueError: it is none of these, or breaks numpy's limits.
    """
    fields: list[RecordField] = []
    offset = 0
    stack = [_Pending(descr, (), ())]
    while stack:
        part = stack.pop()
        if isinstance(part.descr, str):
            dtype, byteorder = array_type(part.descr)
            field = RecordField(part.path, dtype, byteorder, offset, part.shape)
            offset += field.nbytes
            if not _is_padding(field):
                fields.append(field)
        elif isinstance(part.descr, list):
            inner = [_named(entry, part.path) for entry in part.descr]
            repeated = count_elements(part.shape)
            if repeated != 1:
                raise ValueError("an array of records inside a record is not read")
            stack += reversed(inner)
        else:
            raise ValueError("the element type is neither a text nor a list of fields")
        if offset > _MAX_ITEM_BYTES:
            raise ValueError(
                f"an element has more than {_MAX_ITEM_BYTES:,} bytes, which numpy does not allow"
            )
        if len(fields) + len(stack) > _MAX_FIELDS:
            raise ValueError(f"the element type has more than {_MAX_FIELDS:,} fields")
    if not fields:
        fields.append(RecordField((), opaque(f"void{offset}", 8 * offset), "little", 0, ()))
    return RecordType(tuple(fields), offset)


def _is_padding(field: RecordField) -> bool:
    return bool(field.path) and field.path[-1] == "" and field.dtype.name.startswith("void")


def _named(entry: object, path: tuple[str, ...]) -> _Pending:
    if not isinstance(entry, tuple) or len(entry) not in (2, 3):
        raise ValueError("a field is not described as (name, type) or (name, type, shape)")
    name = entry[0]
    if isinstance(name, tuple) and len(name) == 2:
        name = name[1]
    if not isinstance(name, str):
        raise ValueError("the name of a field is no text")
    shape = entry[2] if len(entry) == 3 else ()
    if type(shape) is int:
        shape = (shape,)
    if not isinstance(shape, tuple) or not all(type(one) is int and 0 <= one < 2**31 for one in shape):
        raise ValueError("the shape of a field holds something else than natural numbers")
    return _Pending(entry[1], (*path, name), shape)


class FieldSource:
    """The bytes of one field of all records, as if they stood side by side."""

    def __init__(self, records: ByteSource, record_bytes: int, field: RecordField) -> None:
        self._records = records
        self._record_bytes = record_bytes
        self._begin = field.offset
        self._width = field.nbytes

    @property
    def name(self) -> str:
        """The file's path."""
        return self._records.name

    @property
    def base(self) -> int | None:
        """The bytes are nowhere in the file side by side."""
        return None

    def size(self) -> int:
        """Bytes of the field in all records."""
        return self._records.size() // self._record_bytes * self._width

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer with the field's bytes from `offset` on."""
        if offset < 0 or offset + buffer.nbytes > self.size():
            raise out_of_bounds(self, offset, buffer.nbytes)
        step = max(1, _BLOCK_BYTES // self._record_bytes)
        done = 0
        while done < buffer.nbytes:
            first, inside = divmod(offset + done, self._width)
            last = min(first + step, -(-(offset + buffer.nbytes) // self._width))
            column = self._column(first, last - first).tobytes()
            piece = column[inside : inside + buffer.nbytes - done]
            buffer[done : done + len(piece)] = piece
            done += len(piece)

    def _column(self, first: int, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        import numpy as np

        raw = read(self._records, first * self._record_bytes, count * self._record_bytes)
        records = np.frombuffer(raw, np.uint8).reshape(count, self._record_bytes)
        return records[:, self._begin : self._begin + self._width]
