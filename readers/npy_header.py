"""The header of a .npy array: what numpy says about the values that follow.

Source of the layout: `numpy/lib/_format_impl.py`. numpy evaluates the text as a Python literal; here it is
read by a grammar that knows what numpy writes (`npy_literal`).
"""

from __future__ import annotations

import re
import struct
from typing import Final, NamedTuple

from .errors import LimitExceeded, Malformed, Truncated, Unsupported
from .limits import Limits
from .npy_literal import Entries, LiteralFault, read_literal
from .numpy_records import RecordType, record_type
from .source import ByteSource, file_offset, read
from .untrusted import printable

MAGIC: Final = b"\x93NUMPY"
_VERSION_END: Final = len(MAGIC) + 2
_FIRST_READ: Final = 128
"""Holds the whole header of nearly every array: numpy fills it up to a multiple of 64."""

_KEYS: Final = ("descr", "fortran_order", "shape")
_MAX_DIMENSIONS: Final = 64
_MAX_LENGTH: Final = 2**63 - 1
_LENGTH: Final = r"(?:0|[1-9][0-9]{0,17})"
_USUAL: Final = re.compile(
    r"\{'descr': '([^'\\\r\n\0]{1,20})', 'fortran_order': (True|False), "
    rf"'shape': \(({_LENGTH},|(?:{_LENGTH}(?:, {_LENGTH}){{1,31}})?)\), \}} *\n?"
)
"""The text as numpy writes it for plain types: a shorter way to what the grammar says."""


class NpyHeader(NamedTuple):
    """What the header says."""

    record: RecordType
    shape: tuple[int, ...]
    is_fortran: bool
    data_offset: int
    """First byte of the values, from the start of the array."""

    version: tuple[int, int]


def read_npy_header(source: ByteSource, limits: Limits) -> NpyHeader:
    """Read the header at the start of a source.

    Raises:
        Truncated: the source ends inside it.
        LimitExceeded: it is longer than the budget `npy_header_bytes`.
        Malformed: it is not one that numpy writes.
        Unsupported: a version that does not exist yet.
    """
    start = read(source, 0, min(source.size(), _FIRST_READ))
    version = _version(source, start)
    width = 2 if version == (1, 0) else 4
    text_start = _VERSION_END + width
    if len(start) < text_start:
        raise _truncated(source, text_start)
    length = struct.unpack_from("<H" if width == 2 else "<I", start, _VERSION_END)[0]
    if length > limits.npy_header_bytes:
        raise LimitExceeded(
            "limit-npy-header-bytes",
            f"the array's header claims {length:,} bytes; the budget is {limits.npy_header_bytes:,}",
            path=source.name,
            offset=file_offset(source, _VERSION_END),
            advice="raise it with --limit npy_header_bytes=N if you trust the file",
        )
    text_end = text_start + length
    if text_end > source.size():
        raise _truncated(source, text_end)
    raw = start[text_start:text_end] if text_end <= len(start) else read(source, text_start, length)
    return NpyHeader(*_facts(source, raw, version, text_start), text_end, version)


def _version(source: ByteSource, start: bytes) -> tuple[int, int]:
    if start[: len(MAGIC)] != MAGIC[: len(start)]:
        raise _malformed(source, "npy-magic", "an array must begin with the six bytes \\x93NUMPY", 0)
    if len(start) < _VERSION_END:
        raise _truncated(source, _VERSION_END)
    version = (start[6], start[7])
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise Unsupported(
            "npy-version",
            f"version {version[0]}.{version[1]} of the npy format is not known (1.0, 2.0 and 3.0 are)",
            path=source.name,
            offset=file_offset(source, len(MAGIC)),
        )
    return version


def _facts(
    source: ByteSource, raw: bytes, version: tuple[int, int], text_start: int
) -> tuple[RecordType, tuple[int, ...], bool]:
    encoding = "utf-8" if version == (3, 0) else "latin-1"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        cause = "the array's header is not valid UTF-8"
        raise _malformed(source, "npy-header", cause, text_start + error.start) from None
    try:
        # numpy filters Python 2's integers out of the versions that Python 2 wrote.
        return _usual_facts(text) or _checked(read_literal(text, allow_long=version != (3, 0)))
    except LiteralFault as fault:
        code = "npy-dtype" if isinstance(fault, _TypeFault) else "npy-header"
        before = text[: fault.position].encode(encoding)
        raise _malformed(source, code, fault.cause, text_start + len(before)) from None


def _malformed(source: ByteSource, code: str, cause: str, offset: int) -> Malformed:
    return Malformed(code, cause, path=source.name, offset=file_offset(source, offset))


def _truncated(source: ByteSource, needed: int) -> Truncated:
    return Truncated(
        "npy-truncated",
        f"the array's header needs {needed:,} bytes, and only {source.size():,} are there",
        path=source.name,
        offset=file_offset(source, source.size()),
        advice="the download or the copy stopped early: fetch the file again",
    )


# --- the three entries ---


class _TypeFault(LiteralFault):
    """The element type is not one that numpy writes."""


def _usual_facts(text: str) -> tuple[RecordType, tuple[int, ...], bool] | None:
    """The facts of a header of the usual form; None where the grammar must be asked."""
    match = _USUAL.fullmatch(text)
    if match is None:
        return None
    descr, order, lengths = match.groups()
    shape = tuple(map(int, lengths.rstrip(",").split(","))) if lengths else ()
    return _record(descr, match.start(1) - 1), shape, order == "True"


def _checked(value: object) -> tuple[RecordType, tuple[int, ...], bool]:
    if not isinstance(value, Entries):
        raise LiteralFault("the array's header is not a dict", 0)
    for key, place in value.key_places.items():
        if key not in _KEYS:
            cause = f"the array's header has a key {printable(key, 40)!r} that numpy does not write"
            raise LiteralFault(cause, place)
    missing = [key for key in _KEYS if key not in value.values]
    if missing:
        raise LiteralFault(f"the array's header does not tell its {' and '.join(missing)}", value.position)
    values, places = value.values, value.places
    return (
        _record(values["descr"], places["descr"]),
        _shape(values["shape"], places["shape"]),
        _flag(values["fortran_order"], places["fortran_order"]),
    )


def _record(descr: object, place: int) -> RecordType:
    try:
        return record_type(descr)
    except ValueError as error:
        raise _TypeFault(str(error), place) from None


def _shape(value: object, place: int) -> tuple[int, ...]:
    if not isinstance(value, tuple):
        raise LiteralFault("the shape is not a tuple", place)
    for length in value:
        if type(length) is not int or not 0 <= length <= _MAX_LENGTH:
            raise LiteralFault("the shape holds something else than natural numbers below 2^63", place)
    if len(value) > _MAX_DIMENSIONS:
        cause = f"the shape has {len(value)} dimensions; numpy knows at most {_MAX_DIMENSIONS}"
        raise LiteralFault(cause, place)
    return value


def _flag(value: object, place: int) -> bool:
    if not isinstance(value, bool):
        raise LiteralFault("fortran_order is neither True nor False", place)
    return value
