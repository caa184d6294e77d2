"""numpy's type strings (`<f4`, `|V2`, `int64`), read without numpy."""

from __future__ import annotations

import re
from typing import Final

from .dtypes import DTYPES, DType, opaque
from .tensor import ByteOrder

_UNIT: Final = r"\[([1-9][0-9]{0,9})?(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\]"
_PATTERN: Final = re.compile(rf"([<>|=]?)([?a-zA-Z])([0-9]{{0,18}})({_UNIT})?\Z")
_MOST_UNITS: Final = 2**31 - 1

_FIXED: Final = {
    "b1": "bool",
    **{f"i{size}": f"int{8 * size}" for size in (1, 2, 4, 8)},
    **{f"u{size}": f"uint{8 * size}" for size in (1, 2, 4, 8)},
    **{f"f{size}": f"float{8 * size}" for size in (2, 4, 8, 16)},
    **{f"c{size}": f"complex{8 * size}" for size in (8, 16, 32)},
}

NUMPY_NAMES: Final = frozenset(_FIXED.values())
"""Types that numpy itself knows by these names; the others are those of ml_dtypes."""

_VOID_HINTS: Final = {1: "void1 (float8 or int4?)", 2: "void2 (bfloat16?)"}
"""What low-precision types of other packages turn into; the file does not say which."""


def array_type(text: str, endian: str = "<") -> tuple[DType, ByteOrder]:
    """The element type a numpy type string means.

    Args:
        text: `<f4`, `>i8`, `|b1`, `U10`, `M8[ns]`, or a name such as `bfloat16` (a type of ml_dtypes).
        endian: byte order where the text has none: `<`, `>` or `|`.

    Raises:
        ValueError: it is not a type string.
    """
    if text in DTYPES:
        return DTYPES[text], _byteorder(endian)
    match = _PATTERN.match(text)
    if match is None or (match[4] and match[2] not in "mM") or (match[2] == "?" and match[3]):
        raise ValueError(f"{text[:40]!r} is not a numpy element type")
    order, letter, digits, unit, count = match.groups()
    if count and int(count) > _MOST_UNITS:
        raise ValueError(f"{text[:40]!r} is not a numpy element type")
    order = order or endian
    size = int(digits) if digits else 0
    if letter == "?":
        return DTYPES["bool"], "little"
    if letter + str(size) in _FIXED:
        return DTYPES[_FIXED[letter + str(size)]], _byteorder(order)
    return _unfixed(text, letter, size, unit or ""), _byteorder(order)


def _unfixed(text: str, letter: str, size: int, unit: str) -> DType:
    """Types without a fixed width, or without a numeric meaning."""
    if letter + str(size) == "f1":  # ml_dtypes gives its float8_e5m2 the kind of a plain float
        return opaque("float8", 8, "float8 (e5m2?)")
    if letter == "V" and size:
        return opaque(f"void{size}", 8 * size, _VOID_HINTS.get(size))
    if letter in "SaU" and size:
        width = 4 * size if letter == "U" else size
        name = f"{'str' if letter == 'U' else 'bytes'}{size}"
        return DType(name, name, 8 * width, "opaque", f"{'U' if letter == 'U' else 'S'}{size}")
    if letter in "mM" and size == 8:
        name = "datetime64" if letter == "M" else "timedelta64"
        return DType(f"{name}{unit}", name, 64, "opaque", f"{letter}8{unit}")
    if letter == "O" and size in (0, 4, 8):
        return opaque("object", 0)
    if letter in "SaUV" and not size:
        return opaque({"U": "str0", "V": "void0"}.get(letter, "bytes0"), 0)
    raise ValueError(f"{text[:40]!r} is not a numpy element type")


def _byteorder(order: str) -> ByteOrder:
    return "big" if order == ">" else "little"
