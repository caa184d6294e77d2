"""The header of a .npy array: a small dict in Python's notation, read by a grammar of its own.

Source of the layout: `numpy/lib/_format_impl.py`. numpy evaluates the text as a Python literal; here only
what numpy writes is known: text, integers, True, False, None, tuples, lists and the dict itself.
"""

from __future__ import annotations

import re
import struct
from typing import Final, NamedTuple

from .errors import LimitExceeded, Malformed, Truncated, Unsupported
from .limits import Limits
from .numpy_records import RecordType, record_type
from .source import ByteSource, file_offset, read
from .untrusted import printable

MAGIC: Final = b"\x93NUMPY"
_VERSION_END: Final = len(MAGIC) + 2
_MAX_DIMENSIONS: Final = 64
_MAX_LENGTH: Final = 2**63 - 1
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>[uU]?(?:'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"))"
    r"|(?P<number>-?[0-9]+)L?(?![\w.])|(?P<word>True|False|None)\b|(?P<sign>[()\[\]{},:]))"
)
_SPACE: Final = re.compile(r"\s*")
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([\\'\"nrt]))")
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}


class NpyHeader(NamedTuple):
    """What the header says."""

    record: RecordType
    shape: tuple[int, ...]
    is_fortran: bool
    data_offset: int
    """First byte of the values, from the start of the array."""

    version: tuple[int, int]


class _Fault(Exception):
    """What is wrong with the header's text, and at which character."""

    def __init__(self, cause: str, position: int) -> None:
        super().__init__(cause)
        self.cause = cause
        self.position = position


def read_npy_header(source: ByteSource, limits: Limits) -> NpyHeader:
    """Read the header at the start of a source.

    Raises:
        Truncated: the source ends inside it.
        LimitExceeded: it is longer than the budget `npy_header_bytes`.
        Malformed: it is not one that numpy writes.
        Unsupported: a version that does not exist yet.
    """
    start = read(source, 0, min(source.size(), _VERSION_END + 4))
    if start[: len(MAGIC)] != MAGIC[: len(start)]:
        raise _malformed(source, "npy-magic", "an array must begin with the six bytes \\x93NUMPY", 0)
    version = (start[6], start[7]) if len(start) >= _VERSION_END else (0, 0)
    if len(start) >= _VERSION_END and version not in ((1, 0), (2, 0), (3, 0)):
        raise Unsupported(
            "npy-version",
            f"version {version[0]}.{version[1]} of the npy format is not known (1.0, 2.0 and 3.0 are)",
            path=source.name,
            offset=file_offset(source, len(MAGIC)),
        )
    width = 2 if version == (1, 0) else 4
    text_start = _VERSION_END + width
    if len(start) < text_start:
        raise _truncated(source, text_start)
    length = struct.unpack("<H" if width == 2 else "<I", start[_VERSION_END:text_start])[0]
    if length > limits.npy_header_bytes:
        raise LimitExceeded(
            "limit-npy-header-bytes",
            f"the array's header claims {length:,} bytes; the budget is {limits.npy_header_bytes:,}",
            path=source.name,
            offset=file_offset(source, _VERSION_END),
            advice="raise it with --limit npy_header_bytes=N if you trust the file",
        )
    if text_start + length > source.size():
        raise _truncated(source, text_start + length)
    raw = read(source, text_start, length)
    return _header(source, raw, version, text_start)


def _header(source: ByteSource, raw: bytes, version: tuple[int, int], text_start: int) -> NpyHeader:
    try:
        text = raw.decode("utf-8" if version == (3, 0) else "latin-1")
    except UnicodeDecodeError as error:
        cause = "the array's header is not valid UTF-8"
        raise _malformed(source, "npy-header", cause, text_start + error.start) from None
    try:
        fields = _fields(_literal(text))
        return NpyHeader(
            record_type(fields["descr"]),
            _shape(fields["shape"]),
            _flag(fields["fortran_order"]),
            text_start + len(raw),
            version,
        )
    except _Fault as fault:
        before = text[: fault.position].encode("utf-8" if version == (3, 0) else "latin-1")
        raise _malformed(source, "npy-header", fault.cause, text_start + len(before)) from None
    except ValueError as error:
        raise _malformed(source, "npy-dtype", str(error), text_start) from None


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


def _fields(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _Fault("the array's header is not a dict", 0)
    if set(value) != {"descr", "fortran_order", "shape"}:
        named = ", ".join(printable(str(key), 40) for key in sorted(value, key=str)[:5])
        raise _Fault(f"the array's header must hold descr, fortran_order and shape; it holds {named}", 0)
    return value


def _shape(value: object) -> tuple[int, ...]:
    if not isinstance(value, tuple):
        raise _Fault("the shape is not a tuple", 0)
    for length in value:
        if type(length) is not int or not 0 <= length <= _MAX_LENGTH:
            raise _Fault("the shape holds something else than natural numbers below 2^63", 0)
    if len(value) > _MAX_DIMENSIONS:
        raise _Fault(f"the shape has {len(value)} dimensions; numpy knows at most {_MAX_DIMENSIONS}", 0)
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Fault("fortran_order is neither True nor False", 0)
    return value


# --- the literal ---


class _Open(NamedTuple):
    """A bracket whose partner has not come yet."""

    sign: str
    values: list[object]
    """Values so far; in a dict, keys and values by turns."""

    separators: list[str]


def _literal(text: str) -> object:
    """The value of a literal. No recursion: the nesting is a list."""
    stack: list[_Open] = []
    position = 0
    while True:
        match = _TOKEN.match(text, position)
        if match is None:
            shown = printable(text[position : position + 20])
            raise _Fault(f"the array's header has {shown!r} where a literal of numpy's is expected", position)
        value: object
        sign = match["sign"]
        if sign is None:
            value = _atom(match, position)
        elif sign in _CLOSING:
            stack.append(_Open(sign, [], []))
            position = match.end()
            continue
        elif sign in ",:":
            if not stack or len(stack[-1].separators) >= len(stack[-1].values):
                raise _Fault(f"a {sign!r} too many in the array's header", position)
            stack[-1].separators.append(sign)
            position = match.end()
            continue
        else:
            if not stack or _CLOSING[stack[-1].sign] != sign:
                raise _Fault(f"a {sign!r} without its partner in the array's header", position)
            value = _closed(stack.pop(), position)
        position = match.end()
        if not stack:
            if _SPACE.fullmatch(text, position) is None:
                raise _Fault("something follows the array's header", position)
            return value
        if len(stack[-1].separators) != len(stack[-1].values):
            raise _Fault("a comma is missing in the array's header", position)
        stack[-1].values.append(value)


def _atom(match: re.Match[str], position: int) -> object:
    if match["text"] is not None:
        quoted = match["text"].lstrip("uU")
        return _unescaped(quoted[1:-1], position)
    if match["number"] is not None:
        digits = match["number"]
        if len(digits.lstrip("-0")) > 20:
            raise _Fault("a number in the array's header is longer than 64 bits", position)
        return int(digits)
    return {"True": True, "False": False, "None": None}[match["word"]]


def _unescaped(text: str, position: int) -> str:
    if "\\" not in text:
        return text
    rest = _ESCAPE.sub("", text)
    if "\\" in rest:
        raise _Fault("a text in the array's header has an escape that numpy does not write", position)
    return _ESCAPE.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code is not None:
        number = int(code, 16)
        return chr(number) if number <= 0x10FFFF else "\ufffd"
    return {"n": "\n", "r": "\r", "t": "\t"}.get(match[4], match[4])


def _closed(group: _Open, position: int) -> object:
    sign, values, separators = group
    if sign == "{":
        return _dict(values, separators, position)
    if ":" in separators:
        raise _Fault("a ':' outside a dict in the array's header", position)
    if sign == "[":
        return values
    # (3) is the number 3, (3,) a tuple.
    return values[0] if len(values) == 1 and not separators else tuple(values)


def _dict(values: list[object], separators: list[str], position: int) -> dict[str, object]:
    expected = [":", ","] * (len(values) // 2)
    if len(values) % 2 or separators not in (expected, expected[:-1]):
        raise _Fault("a dict in the array's header does not have pairs of keys and values", position)
    pairs: dict[str, object] = {}
    for key, value in zip(values[::2], values[1::2], strict=True):
        if not isinstance(key, str):
            raise _Fault("a key in the array's header is no text", position)
        if key in pairs:
            raise _Fault(f"the key {printable(key, 40)!r} stands twice in the array's header", position)
        pairs[key] = value
    return pairs
