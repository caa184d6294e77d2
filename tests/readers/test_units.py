"""Numbers for people."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paraminspect.readers.units import format_bytes, format_count, format_shape

SCALES = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12, "Q": 10**15}
BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15, "EB": 10**18}


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00K"),
        (1004, "1.00K"),
        (1005, "1.01K"),
        (9994, "9.99K"),
        (9995, "10.0K"),
        (99_949, "99.9K"),
        (99_950, "100K"),
        (999_499, "999K"),
        (999_500, "1.00M"),
        (134_515_008, "135M"),
        (6_738_415_616, "6.74B"),
        (999_500_000_000_000, "1.00Q"),
        (10**18, "1000Q"),
        (10**30, "1000000000000000Q"),
    ],
)
def test_counts(count: int, shown: str) -> None:
    assert format_count(count) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1, "1 B"), (999, "999 B"), (5_476_000_000, "5.48 GB"), (1 << 64, "18.4 EB")],
)
def test_bytes(count: int, shown: str) -> None:
    assert format_bytes(count) == shown


@given(st.integers(0, 10**21))
def test_three_digits_are_right_and_the_unit_is_written(count: int) -> None:
    for shown, scales in ((format_count(count), SCALES), (format_bytes(count), BYTES)):
        match = re.fullmatch(r"([0-9.]+) ?([A-Za-z]*)", shown)
        assert match is not None
        number, scale = Fraction(match[1]), scales[match[2]]
        assert abs(number * scale - count) * 200 <= count or count < 1000
        assert count >= 1000 or number == count
        assert number < 1000 or scale == max(scales.values())
        digits = match[1].replace(".", "")
        assert len(digits) == 3 or count < 1000 or number >= 1000


@given(st.integers(0, 10**20), st.integers(0, 10**20))
def test_larger_counts_never_look_smaller(low: int, high: int) -> None:
    def value(shown: str) -> Fraction:
        number, unit = shown.rstrip("KMBTQ"), shown.lstrip("0123456789.")
        return Fraction(number) * SCALES[unit]

    low, high = sorted((low, high))
    assert value(format_count(low)) <= value(format_count(high))


def test_shapes() -> None:
    assert format_shape((4096, 11008)) == "4096×11008"
    assert format_shape((7,)) == "7"
    assert format_shape((0, 3)) == "0×3"
    assert format_shape(()) == "scalar"
