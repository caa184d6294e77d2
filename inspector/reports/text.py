"""Reports for people: aligned columns, colour on request, no line longer than the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TextIO

from .blocks import Block, Branch, Cell, Column, Document, Facts, Look, Remarks, Share, Style, Table, Title
from .layout import (
    bar,
    clip_end,
    clip_middle,
    display_width,
    fitted_widths,
    guide,
    pad,
    percent,
    wrap,
)

_CODES: Final[dict[Style, str]] = {
    "": "",
    "strong": "1",
    "faint": "2",
    "type": "36",
    "good": "32",
    "warning": "33",
    "error": "1;31",
}
_BAR_CODE: Final = "34"
_BAR_WIDTH: Final = 12
_PERCENT_WIDTH: Final = 6
_GAP: Final = 2
_INDENT: Final = "  "
_NARROWEST: Final = 20
_COMFORTABLE: Final = 36
_TOLERABLE: Final = 24
_STUMP: Final = 6


def write(document: Document, stream: TextIO, look: Look) -> None:
    """One report after the other; failures are told elsewhere (on standard error)."""
    first = True
    for report in document.reports:
        if not first:
            stream.write("\n")
        first = False
        for line in _lines(report.blocks(), look):
            stream.write(line + "\n")
        stream.flush()


def _lines(blocks: Iterable[Block], look: Look) -> Iterator[str]:
    paint = _painted if look.colour else _plain
    first = True
    for block in blocks:
        if not first:
            yield ""
        first = False
        if isinstance(block, Title):
            yield paint(block.text if look.width is None else clip_middle(block.text, look.width), "1")
            yield from _wrapped(block.detail, look.width)
            if block.alarm:
                yield from (paint(line, _CODES["error"]) for line in _wrapped(block.alarm, look.width))
            continue
        if block.title:
            yield paint(block.title, "1")
        if isinstance(block, Facts):
            yield from _facts(block, look, paint)
        elif isinstance(block, Table):
            yield from _table(block, look, paint)
        else:
            yield from _remarks(block, look, paint)
        if block.note:
            yield from (paint(_INDENT + line, "2") for line in _wrapped(block.note, look.width, len(_INDENT)))


def _painted(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if code and text else text


def _plain(text: str, _code: str) -> str:
    return text


def _wrapped(text: str, width: int | None, indent: int = 0) -> Iterator[str]:
    return iter((text,)) if width is None else wrap(text, max(_NARROWEST, width - indent))


def _facts(block: Facts, look: Look, paint: Callable[[str, str], str]) -> Iterator[str]:
    column = max((display_width(label) for label, _ in block.pairs), default=0)
    if look.width is not None:
        column = min(column, look.width // 2)
    hanging = len(_INDENT) + column + _GAP
    for label, text in block.pairs:
        start = _INDENT + paint(pad(clip_middle(label, column), column), "2") + " " * _GAP
        for line in _wrapped(text, look.width, hanging):
            yield start + line
            start = " " * hanging


def _remarks(block: Remarks, look: Look, paint: Callable[[str, str], str]) -> Iterator[str]:
    column = max((display_width(item.label) for item in block.items), default=0)
    hanging = len(_INDENT) + column + (_GAP if column else 0)
    for item in block.items:
        start = _INDENT + paint(pad(item.label, column), _CODES[item.style]) + " " * (_GAP if column else 0)
        for line in _wrapped(item.text, look.width, hanging):
            yield start + line
            start = " " * hanging


def _table(block: Table, look: Look, paint: Callable[[str, str], str]) -> Iterator[str]:
    texts = [list(map(_cell_text, row)) for row in block.rows]
    fit = _fit(block, texts, look.width)
    columns = [block.columns[index] for index in fit.kept]
    header = [
        pad(clip_end(column.title, width), width, right=column.right)
        for column, width in zip(columns, fit.widths, strict=True)
    ]
    yield _INDENT + paint((" " * _GAP).join(header).rstrip(), "2")
    for number, (row, cells) in enumerate(zip(block.rows, texts, strict=True)):
        code = _CODES[block.styles[number]] if block.styles else ""
        line = [
            _shown(row[index], cells[index], block.columns[index], width, code, paint)
            for index, width in zip(fit.kept, fit.widths, strict=True)
        ]
        yield (_INDENT + (" " * _GAP).join(line)).rstrip()


class _Fit(NamedTuple):
    """The columns that are shown, and how wide each is."""

    kept: list[int]
    widths: list[int]


def _fit(block: Table, texts: Sequence[Sequence[str]], available: int | None) -> _Fit:
    """Room is made by shorter bars first, then shorter names, then fewer columns, then stumps of names."""
    columns = block.columns
    bars = {index for row in block.rows[:1] for index, cell in enumerate(row) if isinstance(cell, Share)}
    natural = _natural_widths(columns, texts)
    for index in bars:
        natural[index] += _GAP + _BAR_WIDTH
    kept = list(range(len(columns)))
    if available is None:
        return _Fit(kept, natural)
    room = max(_NARROWEST, available - len(_INDENT))
    for bar_width in (_BAR_WIDTH, 8, 5, -_GAP):
        widths = [
            width - (_BAR_WIDTH - bar_width if index in bars else 0) for index, width in enumerate(natural)
        ]
        fit = _Fit(kept, _narrowed(columns, kept, widths, room, _COMFORTABLE))
        if _line_width(fit) <= room:
            return fit
    fit = _Fit(kept, _narrowed(columns, kept, widths, room, _TOLERABLE))
    while _line_width(fit) > room and any(columns[index].dispensable for index in kept):
        kept.remove([index for index in kept if columns[index].dispensable][-1])
        fit = _Fit(kept, _narrowed(columns, kept, widths, room, _TOLERABLE))
    return _Fit(kept, _narrowed(columns, kept, widths, room, _STUMP))


def _natural_widths(columns: Sequence[Column], texts: Sequence[Sequence[str]]) -> list[int]:
    natural = [display_width(column.title) for column in columns]
    for cells in texts:
        for index, text in enumerate(cells):
            width = len(text) if text.isascii() else display_width(text)
            if width > natural[index]:
                natural[index] = width
    return natural


def _narrowed(
    columns: Sequence[Column], kept: Sequence[int], widths: Sequence[int], room: int, least: int
) -> list[int]:
    flexible = [columns[index].flexible for index in kept]
    return fitted_widths([widths[index] for index in kept], flexible, _GAP, room, least)


def _line_width(fit: _Fit) -> int:
    return sum(fit.widths) + _GAP * (len(fit.widths) - 1)


def _cell_text(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, Branch):
        return guide(cell.last) + cell.label
    return f"{percent(*cell):>{_PERCENT_WIDTH}}"


def _shown(
    cell: Cell, text: str, column: Column, width: int, row_code: str, paint: Callable[[str, str], str]
) -> str:
    if isinstance(cell, Share):
        room = width - len(text) - _GAP
        drawn = " " * _GAP + pad(bar(*cell, room), room) if room > 0 else ""
        return paint(text, row_code) + paint(drawn, _BAR_CODE)
    code = row_code or _CODES[column.style]
    if isinstance(cell, Branch):
        lead = guide(cell.last)
        label = clip_middle(cell.label, max(1, width - len(lead)))
        return paint(lead, "2") + paint(label, code) + " " * (width - len(lead) - display_width(label))
    clipped = clip_middle(text, width) if column.flexible else text
    return paint(pad(clipped, width, right=column.right), code)
