"""Tables of small floating-point types against ml_dtypes, code by code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from paraminspect.readers.dtypes import DTYPES
from paraminspect.readers.low_precision import (
    FLOAT_FORMATS,
    float_table,
    sign_extended,
    unpacked,
    widened_bfloat16,
    widened_complex32,
)

ml_dtypes = pytest.importorskip("ml_dtypes")

SMALL_FLOATS = [*FLOAT_FORMATS, "float8_e8m0fnu"]


def bits_of(values: NDArray[np.float32]) -> list[int]:
    """float32 codes, NaNs made alike: a NaN's payload has no meaning across types."""
    codes = np.where(np.isnan(values), np.float32(np.nan), values).astype(np.float32).view(np.uint32)
    return [int(code) for code in codes]


@pytest.mark.parametrize("name", SMALL_FLOATS)
def test_every_code(name: str) -> None:
    codes = np.arange(1 << DTYPES[name].bits, dtype=np.uint8)
    expected = codes.view(getattr(ml_dtypes, name)).astype(np.float32)
    table = float_table(name)
    assert table.dtype == np.float32 and table.shape == codes.shape
    assert bits_of(table) == bits_of(expected)


@pytest.mark.parametrize("name", SMALL_FLOATS)
def test_the_sign_of_zero_is_kept(name: str) -> None:
    codes = np.arange(1 << DTYPES[name].bits, dtype=np.uint8)
    expected = codes.view(getattr(ml_dtypes, name)).astype(np.float32)
    zeros = expected == 0
    assert list(np.signbit(float_table(name)[zeros])) == list(np.signbit(expected[zeros]))


def test_all_small_float_types_have_a_table() -> None:
    small = {row.name for row in DTYPES.values() if row.kind == "float" and row.bits <= 8}
    assert small == set(SMALL_FLOATS)


@pytest.mark.parametrize("name", SMALL_FLOATS)
def test_a_table_cannot_be_written_to(name: str) -> None:
    with pytest.raises(ValueError, match="read-only"):
        float_table(name)[0] = 1


def test_every_bfloat16_code_keeps_its_bits() -> None:
    codes = np.arange(1 << 16, dtype=np.uint16)
    widened = widened_bfloat16(codes)
    assert np.array_equal(widened.view(np.uint32), codes.astype(np.uint32) << 16)
    ours, theirs = widened, codes.view(ml_dtypes.bfloat16).astype(np.float32)
    numbers = ~np.isnan(theirs)
    assert np.array_equal(np.isnan(ours), ~numbers)
    assert np.array_equal(ours[numbers].view(np.uint32), theirs[numbers].view(np.uint32))


def test_every_float16_code_as_part_of_a_complex_number() -> None:
    codes = np.arange(1 << 16, dtype=np.uint16)
    pairs = np.stack([codes, codes[::-1]], axis=1).reshape(-1).view(np.float16)
    widened = widened_complex32(pairs)
    assert widened.dtype == np.complex64 and widened.shape == (1 << 16,)
    halves = codes.view(np.float16)
    assert np.array_equal(widened.real, halves.astype(np.float32), equal_nan=True)
    assert np.array_equal(widened.imag, halves[::-1].astype(np.float32), equal_nan=True)
    assert np.array_equal(np.signbit(widened.real), np.signbit(halves))


@given(st.integers(1, 7), st.lists(st.integers(0, 127), max_size=40))
def test_codes_are_packed_from_the_lowest_bit_up(bits: int, values: list[int]) -> None:
    codes = [value & ((1 << bits) - 1) for value in values]
    number = sum(code << (bits * place) for place, code in enumerate(codes))
    stored = np.frombuffer(number.to_bytes((len(codes) * bits + 7) // 8, "little"), np.uint8)
    assert unpacked(stored, bits, len(codes)).tolist() == codes
    signed = [code - (1 << bits) if code >> (bits - 1) else code for code in codes]
    assert sign_extended(np.array(codes, np.uint8), bits).tolist() == signed


@pytest.mark.parametrize("name", ["int1", "int2", "int4", "uint1", "uint2", "uint4"])
def test_sub_byte_integers(name: str) -> None:
    kind = getattr(ml_dtypes, name, None)
    if kind is None:
        pytest.skip(f"ml_dtypes has no {name}")
    bits = DTYPES[name].bits
    codes = np.arange(1 << bits, dtype=np.uint8)
    ours = sign_extended(codes, bits) if name.startswith("int") else codes
    assert ours.tolist() == codes.view(kind).astype(np.int64).tolist()
