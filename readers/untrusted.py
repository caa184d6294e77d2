"""Text that came out of a file: made fit to be shown before anyone shows it."""

from __future__ import annotations

NAME_LIMIT = 512
"""Characters of a name that are shown before it is clipped."""

VALUE_LIMIT = 2_000
"""Characters of a metadata value that are shown before it is clipped."""

# Zero-width and bidirectional controls: str.isprintable() already refuses most of these (category Cf),
# U+115F, U+1160, U+3164 and U+FFA0 are letters by category and yet draw nothing.
_INVISIBLE_LETTERS = frozenset("\u115f\u1160\u3164\uffa0")


def printable(text: str, limit: int = NAME_LIMIT) -> str:
    r"""Escape every control, ANSI, bidirectional and invisible character, and clip to `limit`.

    What is returned contains no line break and no byte a terminal would obey. Lone surrogates
    (bytes that were not UTF-8) come out as `\udcXX`.
    """
    clipped = text if len(text) <= limit else text[:limit]
    if clipped.isascii() and clipped.isprintable():
        shown = clipped
    else:
        shown = "".join(map(_escape, clipped))
    return shown if clipped is text else f"{shown}… ({len(text):,} characters)"


def _escape(character: str) -> str:
    if character.isprintable() and character not in _INVISIBLE_LETTERS:
        return character
    return character.encode("unicode_escape").decode("ascii")


def text_from_bytes(raw: bytes) -> str:
    """Decode a name as UTF-8 where it is UTF-8; other bytes survive as lone surrogates."""
    return raw.decode("utf-8", "surrogateescape")
