"""Widths, clipping and percentages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paraminspect.inspector.reports.layout import (
    bar,
    clip_end,
    clip_middle,
    display_width,
    fitted_widths,
    in_ascii,
    pad,
    percent,
    wrap,
)


def test_east_asian_characters_take_two_columns_and_accents_none() -> None:
    assert (display_width("日本"), display_width("e\u0301"), display_width("abc")) == (4, 1, 3)
    assert pad("日本", 6) == "日本  "
    assert pad("日本", 6, right=True) == "  日本"


@given(st.text("ab日é\u0301.", max_size=30), st.integers(0, 20))
def test_clipped_text_fits(text: str, width: int) -> None:
    for clipped in (clip_middle(text, width), clip_end(text, width)):
        assert display_width(clipped) <= max(width, 0)
    if display_width(text) <= width:
        assert clip_middle(text, width) == text


def test_clipping_keeps_both_ends() -> None:
    assert clip_middle("model.layers.0.self_attn.q_proj.weight", 21) == "model.l…q_proj.weight"


@given(st.text("ab 日", max_size=60), st.integers(2, 12))
def test_wrapped_lines_fit_and_lose_no_letter(text: str, width: int) -> None:
    lines = list(wrap(text, width))
    assert all(display_width(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (1, 3, "33.3%"),
        (0, 5, "0.0%"),
        (5, 5, "100.0%"),
        (1, 10**9, "<0.1%"),
        (10**9 - 1, 10**9, ">99.9%"),
        (1, 2000, "0.1%"),
        (0, 0, "-"),
    ],
)
def test_percentages_are_never_rounded_to_nothing_or_everything(part: int, whole: int, shown: str) -> None:
    assert percent(part, whole) == shown


@given(st.integers(0, 1000), st.integers(1, 1000), st.integers(1, 20))
def test_bars_stay_in_their_room(part: int, whole: int, width: int) -> None:
    drawn = bar(min(part, whole), whole, width)
    assert len(drawn) <= width
    assert bool(drawn) == bool(part)


def test_the_widest_flexible_column_gives_way_first() -> None:
    assert fitted_widths([40, 20, 10], [True, True, False], 2, 54, 8) == [20, 20, 10]
    assert fitted_widths([40, 20, 10], [True, False, False], 2, 74, 8) == [40, 20, 10]
    assert sum(fitted_widths([40, 39, 10], [True, True, False], 2, 30, 8)) == 26


def test_ascii_output_keeps_the_width_of_our_own_glyphs() -> None:
    line = "├─ a…b  4×4 · █▏"
    assert in_ascii(line).isascii()
    assert len(in_ascii(line)) == len(line)
    assert in_ascii("é") == "\\xe9"
