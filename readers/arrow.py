"""The parameter table as an Arrow C stream, for any library that takes one."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate, chain
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from .errors import MissingExtra

if TYPE_CHECKING:
    from nanoarrow.c_array import CArray

    from .table import ParameterTable

_INT64_MAX: Final = (1 << 63) - 1
_TEXT: Final = ("name", "section", "role", "dtype", "owner")
_COUNTS: Final = ("elements", "parameters", "nbytes", "storage", "file")
_FLAGS: Final = ("shared", "trainable")


def arrow_stream(table: ParameterTable, requested_schema: object = None) -> object:  # noqa: ARG001
    r"""A capsule of the Arrow PyCapsule protocol with all rows as one record batch.

    Columns: `name`, `section`, `role`, `dtype`, `owner` large_utf8; `shape` list<int64>; `elements`,
    `parameters`, `nbytes`, `storage`, `file` int64; `shared`, `trainable` bool. A count or a shape beyond
    64 bits (a tensor without values may claim any) is null; `ParameterTable.values_of` has it exactly.
    Names are valid UTF-8: bytes that were not come as `\udcXX` in letters. A requested schema is a wish,
    and left to the consumer to cast to.

    Raises:
        MissingExtra: the extra `arrow` is not installed.
    """
    try:
        import nanoarrow as na
        from nanoarrow.c_array_stream import CArrayStream
    except ImportError:
        raise MissingExtra(
            "missing-nanoarrow",
            "Arrow streams need nanoarrow, which is not installed",
            advice="pip install 'paraminspect[arrow]'",
        ) from None
    from .table import COLUMN_NAMES

    fields = {name: _column(na, name, table.values_of(name)) for name in COLUMN_NAMES}
    schema = na.struct({name: field.schema for name, field in fields.items()})
    batch = na.c_array_from_buffers(schema, len(table), [None], children=list(fields.values()))
    stream: object = CArrayStream.from_c_arrays([batch], batch.schema, validate=False).__arrow_c_stream__()
    return stream


def _column(na: ModuleType, name: str, values: Sequence[Any]) -> CArray:
    if name in _TEXT:
        return na.c_array(list(map(valid_text, values)), na.large_string())
    if name in _COUNTS:
        return na.c_array(_within_int64(values), na.int64())
    if name in _FLAGS:
        return na.c_array(values, na.bool_())
    return _shapes(na, values)


def _within_int64(values: Sequence[int]) -> Sequence[int | None]:
    if not values or (max(values) <= _INT64_MAX and min(values) >= -_INT64_MAX):
        return values
    return [value if -_INT64_MAX <= value <= _INT64_MAX else None for value in values]


def _shapes(na: ModuleType, shapes: Sequence[tuple[int, ...]]) -> CArray:
    known = [not shape or max(shape) <= _INT64_MAX for shape in shapes]
    shown = [shape if fits else () for shape, fits in zip(shapes, known, strict=True)]
    ends = array("i", accumulate(map(len, shown), initial=0))
    lengths = array("q", chain.from_iterable(shown))
    validity = None if all(known) else na.c_buffer(known, na.bool_())
    items = na.c_array_from_buffers(na.int64(), len(lengths), [None, lengths])
    return na.c_array_from_buffers(na.list_(na.int64()), len(shapes), [validity, ends], children=[items])


def valid_text(text: object) -> str | None:
    """Text that every consumer accepts: lone surrogates spelled out."""
    if text is None:
        return None
    shown = str(text)
    try:
        shown.encode()
    except UnicodeEncodeError:
        return shown.encode("utf-8", "backslashreplace").decode()
    return shown
