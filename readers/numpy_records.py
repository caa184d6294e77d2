"""numpy's structured types: records of named fields, flattened to fields of plain types."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from .dtypes import DTYPES, DType, opaque
from .numpy_types import NUMPY_NAMES, array_type
from .tensor import ByteOrder, count_elements
from .untrusted import printable

_MAX_FIELDS: Final = 10_000
_MAX_DIMENSIONS: Final = 64
_MAX_ITEM_BYTES: Final = 2**31 - 1
"""numpy's own limit of an element's size."""

_TOO_LARGE: Final = f"an element has more than {_MAX_ITEM_BYTES:,} bytes, which numpy does not allow"


class RecordField(NamedTuple):
    """One field of plain type."""

    path: tuple[str, ...]
    """Names from the outermost record to the field; empty where the type is no record."""

    dtype: DType
    byteorder: ByteOrder
    offset: int
    """Bytes from the start of the record."""

    shape: tuple[int, ...]
    """Of a field that is an array itself, or lies in an array of records."""

    repeats: tuple[tuple[int, int], ...] = ()
    """(length, bytes from one to the next) of the first dimensions of `shape`: those of arrays of records."""

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


class _EndOfRecord(NamedTuple):
    """What follows the last field of a record that is repeated."""

    first_field: int
    offset: int
    """Where the first of the records begins."""

    shape: tuple[int, ...]


def record_type(descr: object) -> RecordType:
    """The type that a header's `descr` means.

    Args:
        descr: a type string, or a list of `(name, descr)` and `(name, descr, shape)` with names that may
            be `(title, name)`, as `numpy.lib.format.dtype_to_descr` writes it.

    Raises:
        ValueError: it is none of these, or breaks numpy's limits.
    """
    if isinstance(descr, str):
        return _plain_type(descr)
    fields: list[RecordField] = []
    offset = 0
    stack: list[_Pending | _EndOfRecord] = [_Pending(descr, (), ())]
    while stack:
        part = stack.pop()
        if isinstance(part, _EndOfRecord):
            offset = _repeat(fields, part, offset)
        elif isinstance(part.descr, str):
            field = RecordField(part.path, *_element_type(part.descr), offset, part.shape)
            offset += field.nbytes
            if not _is_padding(field):
                fields.append(field)
        elif isinstance(part.descr, list):
            if part.shape:
                stack.append(_EndOfRecord(len(fields), offset, part.shape))
            stack += reversed(_inner(part.descr, part.path))
        else:
            raise ValueError("the element type is neither a text nor a list of fields")
        if offset > _MAX_ITEM_BYTES:
            raise ValueError(_TOO_LARGE)
        if len(fields) + len(stack) > _MAX_FIELDS:
            raise ValueError(f"the element type has more than {_MAX_FIELDS:,} fields")
    if not fields:
        fields.append(RecordField((), opaque(f"void{offset}", 8 * offset), "little", 0, ()))
    return RecordType(tuple(fields), offset)


@lru_cache(maxsize=64)
def _plain_type(text: str) -> RecordType:
    dtype, byteorder = _element_type(text)
    field = RecordField((), dtype, byteorder, 0, ())
    if field.nbytes > _MAX_ITEM_BYTES:
        raise ValueError(_TOO_LARGE)
    return RecordType((field,), field.nbytes)


def _element_type(text: str) -> tuple[DType, ByteOrder]:
    if text in DTYPES and text not in NUMPY_NAMES:
        raise ValueError(f"{text!r} is not an element type that numpy writes")
    return array_type(text)


def _is_padding(field: RecordField) -> bool:
    return bool(field.path) and field.path[-1] == "" and field.dtype.name.startswith("void")


def _is_void(descr: object) -> bool:
    return isinstance(descr, str) and descr.lstrip("<>|=").startswith("V")


def _repeat(fields: list[RecordField], record: _EndOfRecord, end: int) -> int:
    """Give the fields of a record the dimensions of the array it stands in; returns where that ends."""
    step = end - record.offset
    repeats: list[tuple[int, int]] = []
    for length in reversed(record.shape):
        repeats.insert(0, (length, step))
        step *= length
    for index in range(record.first_field, len(fields)):
        field = fields[index]
        shape = (*record.shape, *field.shape)
        if len(shape) > _MAX_DIMENSIONS:
            raise ValueError(f"a field has more than {_MAX_DIMENSIONS} dimensions")
        fields[index] = field._replace(shape=shape, repeats=(*repeats, *field.repeats))
    return record.offset + step


def _inner(entries: list[object], path: tuple[str, ...]) -> list[_Pending]:
    """The fields of one record."""
    names: set[str] = set()
    fields = []
    for entry in entries:
        if not isinstance(entry, tuple) or len(entry) not in (2, 3):
            raise ValueError("a field is not described as (name, type) or (name, type, shape)")
        named = entry[0] if isinstance(entry[0], tuple) else (entry[0],)
        if len(named) not in (1, 2) or not all(isinstance(name, str) for name in named):
            raise ValueError("the name of a field is no text")
        if entry[0] != "" or not _is_void(entry[1]):  # padding comes as often as it is needed
            _refuse_known(names, named)
        fields.append(_Pending(entry[1], (*path, named[-1]), _field_shape(entry[2:])))
    return fields


def _refuse_known(names: set[str], more: tuple[str, ...]) -> None:
    for name in more:
        if name in names:
            raise ValueError(f"two fields have the name {printable(name, 40)!r}")
        names.add(name)


def _field_shape(given: tuple[object, ...]) -> tuple[int, ...]:
    shape: object = given[0] if given else ()
    if type(shape) is int:
        shape = (shape,)
    if not isinstance(shape, tuple) or not all(type(one) is int and 0 <= one < 2**31 for one in shape):
        raise ValueError("the shape of a field holds something else than natural numbers")
    if len(shape) > _MAX_DIMENSIONS:
        raise ValueError(f"a field has more than {_MAX_DIMENSIONS} dimensions")
    return shape
