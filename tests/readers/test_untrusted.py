"""Nothing that a file says may move a terminal's cursor, break a line or hide."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paraminspect.readers.untrusted import NAME_LIMIT, printable, text_from_bytes


@given(st.text(st.characters(), max_size=NAME_LIMIT))
def test_what_is_shown_is_printable_and_on_one_line(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert printable(shown, len(shown)) == shown, "escaping twice changes nothing"
    shown.encode()


@given(st.text(st.characters(max_codepoint=0x7E, min_codepoint=0x20), max_size=NAME_LIMIT))
def test_plain_text_is_left_alone(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("text", ["größe", "重み.weight", "модель", "😀", "a b", "back\\slash", "é", "½"])
def test_letters_of_all_languages_are_left_alone(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("bell\a\x7f\0", "bell\\x07\\x7f\\x00"),
        ("\rover", "\\rover"),
        ("\u202ereversed", "\\u202ereversed"),
        ("\u2066isolate\u2069", "\\u2066isolate\\u2069"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("line\u2028para\u2029\x85", "line\\u2028para\\u2029\\x85"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("\udcff", "\\udcff"),
        ("nbsp\u00a0", "nbsp\\xa0"),
        ("filler\u3164\u115f\u1160\uffa0", "filler\\u3164\\u115f\\u1160\\uffa0"),
    ],
)
def test_what_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_every_control_and_format_character_is_escaped() -> None:
    dangerous = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) in dangerous:
            shown = printable(character)
            assert shown.startswith("\\") and shown.isascii(), hex(code)


def test_long_text_is_clipped_and_says_so() -> None:
    assert printable("x" * NAME_LIMIT) == "x" * NAME_LIMIT
    assert printable("x" * 2000) == "x" * NAME_LIMIT + "… (2,000 characters)"
    assert printable("abcdef", 3) == "abc… (6 characters)"
    assert printable("\n" * 10, 2) == "\\n\\n… (10 characters)"


@given(st.binary(max_size=100))
def test_bytes_of_a_name_survive(raw: bytes) -> None:
    text = text_from_bytes(raw)
    assert text.encode("utf-8", "surrogateescape") == raw
    assert printable(text).isprintable()
