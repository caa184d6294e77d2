"""The order in which people expect rows."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paraminspect.readers.dtypes import DTYPES
from paraminspect.readers.ordering import natural_key, sort_keys
from paraminspect.readers.sections import Section


def as_numbers(text: str) -> list[int | str]:
    """The plain meaning: text and numbers in turn."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split("([0-9]+)", text))]


@given(st.text("ab.019", max_size=8), st.text("ab.019", max_size=8))
def test_numbers_count_as_numbers(left: str, right: str) -> None:
    assert (natural_key(left) < natural_key(right)) == (as_numbers(left) < as_numbers(right))
    first, second = sort_keys([left, right])
    assert (str(first) < str(second)) == (as_numbers(left) < as_numbers(right))


@pytest.mark.parametrize(
    "ordered",
    [
        ["layers.1", "layers.2", "layers.10", "layers.x"],
        ["a", "a0", "a1", "a1b", "a2", "a10", "ab"],
        ["9" * 30, "1" + "0" * 30],
        ["²", "³"],
        ["x٣", "x٤"],
    ],
)
def test_orders(ordered: list[str]) -> None:
    backwards = ordered[::-1]
    assert sorted(backwards, key=natural_key) == ordered


def test_a_number_of_a_million_digits() -> None:
    assert natural_key("9" * 1_000_000) < natural_key("a")


def test_unknown_comes_first() -> None:
    for values in (["b", None, "a"], [True, None, False], [(2,), None, (1, 5)]):
        keys = sort_keys(values)
        order = sorted(range(3), key=lambda row: keys[row])  # type: ignore[arg-type,return-value]
        assert order == [1, 2, 0]


def test_sections_come_in_their_own_order() -> None:
    keys = sort_keys([Section.OTHER, Section.MODEL, Section.BUFFER])
    assert sorted(range(3), key=lambda row: keys[row]) == [1, 2, 0]  # type: ignore[arg-type,return-value]


def test_types_come_by_width() -> None:
    keys = sort_keys([DTYPES["int64"], DTYPES["uint4"], DTYPES["float16"], DTYPES["bfloat16"]])
    assert sorted(range(4), key=lambda row: keys[row]) == [1, 3, 2, 0]  # type: ignore[arg-type,return-value]


def test_no_values() -> None:
    assert list(sort_keys([])) == [] and len(sort_keys([None, None])) == 2
