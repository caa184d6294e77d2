"""Decoding of element types that numpy lacks, by tables computed from each format's own parameters."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Specials = Literal["ieee", "fn", "fnuz", "none"]


class FloatFormat(NamedTuple):
    """A small floating-point format: sign, exponent, mantissa, from the highest bit down."""

    exponent_bits: int
    mantissa_bits: int
    bias: int
    specials: Specials
    """`ieee`: an exponent of all ones is infinite or NaN. `fn`: only all ones throughout is NaN.
    `fnuz`: only the sign bit alone is NaN, and there is no negative zero. `none`: every code is a number."""


FLOAT_FORMATS: Final[dict[str, FloatFormat]] = {
    "float8_e3m4": FloatFormat(3, 4, 3, "ieee"),
    "float8_e4m3": FloatFormat(4, 3, 7, "ieee"),
    "float8_e4m3fn": FloatFormat(4, 3, 7, "fn"),
    "float8_e4m3fnuz": FloatFormat(4, 3, 8, "fnuz"),
    "float8_e4m3b11fnuz": FloatFormat(4, 3, 11, "fnuz"),
    "float8_e5m2": FloatFormat(5, 2, 15, "ieee"),
    "float8_e5m2fnuz": FloatFormat(5, 2, 16, "fnuz"),
    "float6_e2m3fn": FloatFormat(2, 3, 1, "none"),
    "float6_e3m2fn": FloatFormat(3, 2, 3, "none"),
    "float4_e2m1fn": FloatFormat(2, 1, 1, "none"),
}
"""OCP 8-bit Floating Point Specification 1.0 and OCP Microscaling Formats 1.0; the `fnuz` types: Noune et al.
2022, arXiv 2206.02915; `e4m3b11fnuz`: Sun et al. 2019 (hybrid FP8)."""


@cache
def float_table(name: str) -> NDArray[np.float32]:
    """The float32 value of every code of a type of at most 8 bits; exact, read-only."""
    if name == "float8_e8m0fnu":
        powers = np.exp2(np.arange(256, dtype=np.float64) - 127)
        powers[255] = np.nan
        table = powers.astype(np.float32)
    else:
        table = _decoded_codes(FLOAT_FORMATS[name]).astype(np.float32)
    table.flags.writeable = False
    return table


def _decoded_codes(form: FloatFormat) -> NDArray[np.float64]:
    low_bits = form.exponent_bits + form.mantissa_bits
    codes = np.arange(1 << (low_bits + 1))
    mantissa = codes & ((1 << form.mantissa_bits) - 1)
    exponent = (codes >> form.mantissa_bits) & ((1 << form.exponent_bits) - 1)
    sign = np.where(codes >> low_bits, -1.0, 1.0)
    fraction = mantissa / (1 << form.mantissa_bits)
    normal = (1 + fraction) * np.exp2(exponent - form.bias)
    values = sign * np.where(exponent == 0, fraction * 2.0 ** (1 - form.bias), normal)
    highest = (1 << form.exponent_bits) - 1
    if form.specials == "ieee":
        values = np.where((exponent == highest) & (mantissa == 0), sign * np.inf, values)
        values = np.where((exponent == highest) & (mantissa != 0), np.nan, values)
    elif form.specials == "fn":
        values[codes & ((1 << low_bits) - 1) == (1 << low_bits) - 1] = np.nan
    elif form.specials == "fnuz":
        values[1 << low_bits] = np.nan
    return np.asarray(values)


def unpacked(stored: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    """`count` codes of `bits` bits, packed from the lowest bit of the first byte upward.

    For 4 bits this is the low nibble first, as torch's float4_e2m1fn_x2 and quint4x2 have it. The
    safetensors format names 6-bit types and leaves their packing open; the same order is assumed.
    """
    if bits == 4:
        codes = np.empty(2 * len(stored), np.uint8)
        np.bitwise_and(stored, 15, out=codes[0::2])
        np.right_shift(stored, 4, out=codes[1::2])
        return codes[:count]
    single = np.unpackbits(stored, bitorder="little")[: count * bits].reshape(count, bits)
    return np.packbits(single, axis=1, bitorder="little").reshape(count)


def sign_extended(codes: NDArray[np.uint8], bits: int) -> NDArray[np.int8]:
    """Two's complement integers of `bits` bits."""
    shift = 8 - bits
    return (codes << shift).view(np.int8) >> shift


def widened_bfloat16(stored: NDArray[Any]) -> NDArray[np.float32]:
    """bfloat16 codes are the upper halves of float32 codes."""
    return (stored.astype(np.uint32) << 16).view(np.float32)


def widened_complex32(stored: NDArray[np.float16]) -> NDArray[np.complex64]:
    """Pairs of float16 (real, imaginary), one after the other."""
    return stored.astype(np.float32).view(np.complex64)
