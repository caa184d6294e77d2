"""The JSON header of a safetensors file: accepted and refused as by the reference library.

Source of the rules: `safetensors/src/tensor.rs` 0.8.0 and the JSON parser it uses (serde_json), which
differs from Python's in numbers, surrogates, nesting and repeated keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import isinf
from typing import Final, NamedTuple, NoReturn

from .dtypes import DTYPES, DType, opaque
from .errors import Malformed
from .untrusted import printable

DTYPE_OF_NAME: Final[dict[str, DType]] = {
    "BOOL": DTYPES["bool"],
    "F4": DTYPES["float4_e2m1fn"],
    "F6_E2M3": DTYPES["float6_e2m3fn"],
    "F6_E3M2": DTYPES["float6_e3m2fn"],
    "U8": DTYPES["uint8"],
    "I8": DTYPES["int8"],
    "F8_E5M2": DTYPES["float8_e5m2"],
    "F8_E4M3": DTYPES["float8_e4m3fn"],
    "F8_E8M0": DTYPES["float8_e8m0fnu"],
    "F8_E4M3FNUZ": DTYPES["float8_e4m3fnuz"],
    "F8_E5M2FNUZ": DTYPES["float8_e5m2fnuz"],
    "I16": DTYPES["int16"],
    "U16": DTYPES["uint16"],
    "F16": DTYPES["float16"],
    "BF16": DTYPES["bfloat16"],
    "I32": DTYPES["int32"],
    "U32": DTYPES["uint32"],
    "F32": DTYPES["float32"],
    "C64": DTYPES["complex64"],
    "F64": DTYPES["float64"],
    "I64": DTYPES["int64"],
    "U64": DTYPES["uint64"],
}
"""Element types of safetensors 0.8."""

MAX_INTEGER: Final = 2**64 - 1
_FIELDS: Final = ("dtype", "shape", "data_offsets")
_METADATA: Final = "__metadata__"
_MAX_DEPTH: Final = 127
_LATER_DTYPE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,31}")
"""What a type added to the format later could be called."""

Pairs = tuple[tuple[str, object], ...]
"""A JSON object, with order and repetitions kept; JSON arrays stay lists."""


class Entry(NamedTuple):
    """What the header says about one tensor."""

    dtype: DType
    shape: tuple[int, ...]
    begin: int
    """Bytes from the start of the data."""

    end: int


class Header(NamedTuple):
    """The header's content, in its own order."""

    entries: dict[str, Entry]
    metadata: dict[str, str]
    oddities: list[tuple[str, str, str | None]]
    """(code, sentence, tensor): what the reference library accepts without a word."""


class HeaderFault(Exception):
    """Why the header is refused; `position` counts bytes of the header."""

    def __init__(self, code: str, cause: str, position: int = 0) -> None:
        super().__init__(code, cause)
        self.code = code
        self.cause = cause
        self.position = position


def parse_header(raw: bytes) -> Header:
    """The header from its bytes.

    Raises:
        HeaderFault: the reference library refuses it.
    """
    header = Header({}, {}, [])
    metadata_seen = False
    for name, value in _parsed_json(raw):
        if name == _METADATA:
            if metadata_seen:
                raise HeaderFault("safetensors-metadata", "the header has two __metadata__ entries")
            metadata_seen = True
            _check_container(value, depth=2)
            _read_metadata(value, header)
            continue
        entry = _plain_entry(value)
        if entry is None:
            _check_container(value, depth=2)
            entry = _unusual_entry(name, value, header, raw)
        if name in header.entries:
            header.oddities.append(
                (
                    "safetensors-duplicate-name",
                    "the name stands twice; the later entry counts, other readers may take the first",
                    name,
                )
            )
        header.entries[name] = entry
    return header


def _plain_entry(value: object) -> Entry | None:
    """An entry in the form that every writer uses, or None for one that needs a closer look."""
    if type(value) is not tuple or len(value) != 3:
        return None
    (first, dtype_name), (second, shape), (third, offsets) = value
    if first != "dtype" or second != "shape" or third != "data_offsets":
        return None
    if type(dtype_name) is not str or type(shape) is not list or type(offsets) is not list:
        return None
    dtype = DTYPE_OF_NAME.get(dtype_name)
    if dtype is None or len(offsets) != 2:
        return None
    begin, end = offsets
    if type(begin) is not int or type(end) is not int or not 0 <= begin <= end <= MAX_INTEGER:
        return None
    for dimension in shape:
        if type(dimension) is not int or not 0 <= dimension <= MAX_INTEGER:
            return None
    return Entry(dtype, tuple(shape), begin, end)


def _unusual_entry(name: str, value: object, header: Header, raw: bytes) -> Entry:
    """An entry in another order or form, or the reason why it is none."""
    try:
        fields = _fields(name, value, header)
        dtype = _dtype(fields["dtype"], name, header)
        shape = tuple(_natural_numbers(fields["shape"], "shape"))
        offsets = _natural_numbers(fields["data_offsets"], "data_offsets")
        if len(offsets) != 2:
            raise HeaderFault("safetensors-entry", f"data_offsets has {len(offsets)} numbers, not 2")
        return Entry(dtype, shape, *offsets)
    except HeaderFault as fault:
        cause = f"tensor {printable(name)!r}: {fault.cause}"
        raise HeaderFault(fault.code, cause, position_of_name(raw, name)) from None


def _fields(name: str, value: object, header: Header) -> dict[str, object]:
    if type(value) is list:
        if len(value) != len(_FIELDS):
            raise HeaderFault(
                "safetensors-entry", f"a list of {len(value)} values where {_FIELDS} is expected"
            )
        header.oddities.append(
            ("safetensors-entry-list", "the entry is a list; the specification asks for named fields", name)
        )
        return dict(zip(_FIELDS, value, strict=True))
    if type(value) is not tuple:
        raise HeaderFault("safetensors-entry", f"the entry is {_kind(value)}, not an object")
    fields: dict[str, object] = {}
    strangers = []
    for key, content in value:
        if key not in _FIELDS:
            strangers.append(printable(key, 40))
        elif key in fields:
            raise HeaderFault("safetensors-entry", f"the field {key} stands twice")
        else:
            fields[key] = content
    for key in _FIELDS:
        if key not in fields:
            raise HeaderFault("safetensors-entry", f"the field {key} is missing")
    if strangers:
        message = f"unknown fields in the entry are ignored: {', '.join(strangers[:5])}"
        header.oddities.append(("safetensors-unknown-field", message, name))
    return fields


def _dtype(value: object, name: str, header: Header) -> DType:
    if type(value) is tuple and len(value) == 1 and value[0][1] is None:
        value = value[0][0]
        header.oddities.append(
            ("safetensors-dtype-object", "the dtype is an object; the specification asks for a string", name)
        )
    if type(value) is not str:
        raise HeaderFault("safetensors-dtype", f"the dtype is {_kind(value)}, not a string")
    known = DTYPE_OF_NAME.get(value)
    if known is not None:
        return known
    if _LATER_DTYPE.fullmatch(value) is None:
        raise HeaderFault(
            "safetensors-dtype", f"{printable(value, 40)!r} is not an element type of safetensors"
        )
    return opaque(value, 0)


def _natural_numbers(value: object, field: str) -> list[int]:
    if type(value) is not list:
        raise HeaderFault("safetensors-entry", f"{field} is {_kind(value)}, not a list")
    for number in value:
        if type(number) is not int:
            raise HeaderFault(
                "safetensors-entry", f"{field} holds {_kind(number)} where an integer is expected"
            )
        if not 0 <= number <= MAX_INTEGER:
            raise HeaderFault("safetensors-entry", f"{field} holds a number outside 0 .. 2^64-1")
    return value


def _read_metadata(value: object, header: Header) -> None:
    if value is None:
        header.oddities.append(
            ("safetensors-metadata-null", "__metadata__ is null and counts as absent", None)
        )
        return
    if type(value) is not tuple:
        raise HeaderFault("safetensors-metadata", f"__metadata__ is {_kind(value)}, not an object")
    for key, text in value:
        if type(text) is not str:
            raise HeaderFault(
                "safetensors-metadata",
                f"__metadata__ entry {printable(key)!r} is {_kind(text)}, not a string",
            )
        if key in header.metadata:
            message = f"the metadata key {printable(key)!r} stands twice; the later value counts"
            header.oddities.append(("safetensors-duplicate-metadata", message, None))
        header.metadata[key] = text


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    kinds = {str: "a string", int: "an integer", float: "a number with a fraction", list: "a list"}
    return kinds.get(type(value), "an object")


def position_of_name(raw: bytes, name: str) -> int:
    """Where a tensor's entry starts in the header, or 0 when the name is written with escapes."""
    quoted = json.dumps(name, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return max(0, raw.find(quoted + b":"))


# --- JSON as serde_json reads it ---


def _parsed_json(raw: bytes) -> Pairs:
    text = _decoded(raw)
    # Minus zero and escaped surrogates: rare, and lost once Python's parser has seen them.
    unusual = b"-0" in raw or b"\\u" in raw
    try:
        if unusual:
            value = json.loads(
                text,
                object_pairs_hook=tuple,
                parse_constant=_no_constant,
                parse_int=_strict_integer,
                parse_float=_strict_float,
            )
        else:
            value = json.loads(text, object_pairs_hook=tuple, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        position = len(text[: error.pos].encode())
        raise HeaderFault(
            "safetensors-json", f"the header is not valid JSON: {error.msg}", position
        ) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise HeaderFault("safetensors-json", f"the header is not valid JSON: {error}") from None
    if type(value) is not tuple:
        raise HeaderFault("safetensors-json", "the header is JSON, but not an object")
    if unusual:
        _check_container(value, look_for_surrogates=True)
    return value


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HeaderFault("safetensors-utf8", "the header is not valid UTF-8", error.start) from None


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON value")


def _strict_integer(text: str) -> int | float:
    """Integers beyond 64 bits are floating point there, and so is minus zero."""
    if text == "-0":
        return -0.0
    if len(text) > 20:
        return _strict_float(text)
    return int(text)


def _strict_float(text: str) -> float:
    number = float(text)
    _check_range(number)
    return number


def _check_range(number: int | float) -> None:
    """Numbers that a 64-bit float cannot hold are errors there."""
    try:
        if not isinf(float(number)):
            return
    except OverflowError:
        pass
    raise HeaderFault("safetensors-json", "the header holds a number that is out of range")


def _check_container(container: object, *, depth: int = 1, look_for_surrogates: bool = False) -> None:
    """Walk what a plain header does not contain: deep containers, and escaped surrogates."""
    pending = [(container, depth)]
    while pending:
        value, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise _too_deep()
        for child in _children(value):
            if type(child) in (tuple, list):
                pending.append((child, depth + 1))
            elif type(child) is str:
                if look_for_surrogates:
                    _no_surrogate(child)
            elif isinstance(child, (int, float)):
                _check_range(child)


def _children(value: object) -> Iterator[object]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, tuple):
        for key, content in value:
            yield key
            yield content


def _no_surrogate(text: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise HeaderFault("safetensors-json", "the header holds an escaped surrogate without its partner")


def _too_deep() -> HeaderFault:
    return HeaderFault("safetensors-json", f"the header is nested more than {_MAX_DEPTH} deep")


def malformed(fault: HeaderFault, path: str, header_offset: int) -> Malformed:
    """The fault as an error that names the file and the offset in it."""
    return Malformed(
        fault.code,
        fault.cause,
        path=path,
        offset=header_offset + fault.position,
        advice="the file was damaged or not written by a safetensors library",
    )
