"""Text in columns: display width, clipping, wrapping, percentages and bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

ELLIPSIS: Final = "…"
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


def display_width(text: str) -> int:
    """Terminal columns that a text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if character.isascii():
        return 1
    import unicodedata

    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def pad(text: str, width: int, *, right: bool = False) -> str:
    """The text filled up with blanks to `width` columns."""
    blanks = " " * (width - display_width(text))
    return blanks + text if right else text + blanks


def clip_middle(text: str, width: int) -> str:
    """At most `width` columns; what is left out of the middle becomes one ellipsis."""
    if display_width(text) <= width:
        return text
    if width < 1:
        return ""
    tail = (width - 1) * 2 // 3
    return _head(text, width - 1 - tail) + ELLIPSIS + _head(text[::-1], tail)[::-1]


def clip_end(text: str, width: int) -> str:
    """At most `width` columns; a cut end becomes an ellipsis."""
    if display_width(text) <= width:
        return text
    return _head(text, width - 1) + ELLIPSIS if width > 0 else ""


def _head(text: str, width: int) -> str:
    """As many characters from the start as fit."""
    if text.isascii():
        return text[:width]
    taken = 0
    for position, character in enumerate(text):
        taken += _character_width(character)
        if taken > width:
            return text[:position]
    return text


def wrap(text: str, width: int) -> Iterator[str]:
    """Lines of at most `width` columns, broken at blanks; a longer word is cut."""
    line = ""
    for word in text.split(" "):
        candidate = f"{line} {word}" if line else word
        if display_width(candidate) <= width:
            line = candidate
            continue
        if line:
            yield line
        *pieces, line = _pieces(word, width)
        yield from pieces
    yield line


def _pieces(word: str, width: int) -> list[str]:
    """A word cut to the width, as often as it takes."""
    pieces = []
    while display_width(word) > width:
        head = _head(word, width) or word[:1]
        pieces.append(head)
        word = word[len(head) :]
    return [*pieces, word]


def percent(part: int, whole: int) -> str:
    """`12.3%`; never 0.0 or 100.0 for what is not nothing or everything."""
    if whole <= 0:
        return "-"
    tenths = (2000 * part + whole) // (2 * whole)
    if part and tenths == 0:
        return "<0.1%"
    if part < whole and tenths >= 1000:
        return ">99.9%"
    return f"{tenths // 10}.{tenths % 10}%"


def bar(part: int, whole: int, width: int) -> str:
    """A bar of at most `width` columns in steps of an eighth."""
    if whole <= 0:
        return ""
    eighths = min(8 * width, -(-8 * width * part // whole))
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def guide(last: Sequence[bool]) -> str:
    """The lines that lead to a label in a tree: `│  ├─ `."""
    if len(last) < 2:
        return ""
    passing = "".join("   " if ended else "│  " for ended in last[1:-1])
    return passing + ("└─ " if last[-1] else "├─ ")


def fitted_widths(
    natural: Sequence[int], flexible: Sequence[bool], gap: int, available: int, least: int
) -> list[int]:
    """Column widths for a line of `available` columns: flexible ones give way, the widest first, down to
    `least`. The sum may still be too large: then a column must go.
    """
    widths = list(natural)
    excess = sum(widths) + gap * (len(widths) - 1) - available
    while excess > 0:
        candidates = [index for index, bends in enumerate(flexible) if bends and widths[index] > least]
        if not candidates:
            break
        widest = max(candidates, key=widths.__getitem__)
        others = [widths[index] for index in candidates if widths[index] < widths[widest]]
        floor = max([least, *others])
        step = min(excess, max(1, widths[widest] - floor))
        widths[widest] -= step
        excess -= step
    return widths


_ASCII: Final = str.maketrans(
    {
        ELLIPSIS: "~",
        "×": "x",
        "·": "-",
        "├": "|",
        "└": "`",
        "│": "|",
        "─": "-",
        "█": "#",
        **dict.fromkeys(_EIGHTHS[4:], "#"),
        **dict.fromkeys(_EIGHTHS[1:4], "-"),
    }
)


def in_ascii(text: str) -> str:
    """Our own glyphs replaced by ASCII ones of the same width, everything else escaped."""
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")
