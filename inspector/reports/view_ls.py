"""How `ls` is laid out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ...readers.units import format_bytes, format_count, format_shape
from ...readers.untrusted import printable
from ..analysis.listing import Listing
from .blocks import Block, Cell, Column, Report, Rows, Table
from .common_blocks import counted, findings_block, title

SCHEMA: Final = "paraminspect/ls/1"

_COUNTS: Final = frozenset({"elements", "parameters"})
_BYTES: Final = frozenset({"nbytes", "repeated_nbytes"})
_NUMBERS: Final = frozenset({*_COUNTS, *_BYTES, "storage", "file", "tensors"})
_NAMES: Final = frozenset({"name", "owner", "key"})
_TITLES: Final = {"nbytes": "bytes", "repeated_nbytes": "repeated", "role": "role*"}


def report(listing: Listing) -> Report:
    """The report of one checkpoint."""
    return Report({**listing}, lambda: _blocks(listing), lambda: Rows(listing["columns"], listing["rows"]))


def _blocks(listing: Listing) -> Iterator[Block]:
    yield title(listing)
    yield Table(
        [_column(name) for name in listing["columns"]],
        _cells(listing),
        note=_note(listing),
    )
    if listing["findings"]:
        yield findings_block(listing["findings"])


def _column(name: str) -> Column:
    return Column(
        _TITLES.get(name, name),
        right=name in _NUMBERS,
        code=name in _NAMES,
        flexible=name in _NAMES or name == "parameters_basis",
        style="type" if name == "dtype" else "",
    )


def _cells(listing: Listing) -> Sequence[Sequence[Cell]]:
    lists = [
        list(map(_formatter(name), column))
        for name, column in zip(listing["columns"], zip(*listing["rows"], strict=True), strict=False)
    ]
    return list(zip(*lists, strict=True))


def _formatter(name: str) -> Callable[[object], str]:
    """How the values of a column are written for people."""
    if name in _COUNTS:
        return lambda value: format_count(value) if isinstance(value, int) else "?"
    if name in _BYTES:
        return lambda value: format_bytes(value) if isinstance(value, int) else "?"
    if name in _NAMES:
        return lambda value: printable(value) if isinstance(value, str) else "-"
    return _text


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return format_shape(tuple(value))
    if isinstance(value, int):
        return f"{value:,}"
    return printable(str(value))


def _note(listing: Listing) -> str:
    matched, whole = listing["matched"], listing["all"]
    of_all = "" if matched["tensors"] == whole["tensors"] else f" of {whole['tensors']:,}"
    notes = [
        f"{counted(matched['tensors'], 'tensor') if not of_all else format(matched['tensors'], ',')}{of_all}"
        f"{' tensors' if of_all else ''}, {format_count(matched['parameters'])} parameters (all sections), "
        f"{format_bytes(matched['nbytes'])}"
    ]
    if matched["repeated_nbytes"]:
        notes.append(f"{format_bytes(matched['repeated_nbytes'])} used twice and counted once")
    if listing["omitted_rows"]:
        notes.append(f"{listing['omitted_rows']:,} more rows not listed (--limit-rows)")
    if listing["sections_inferred"] and "section" in listing["columns"]:
        notes.append(f"the section of {counted(listing['sections_inferred'], 'tensor')} is inferred")
    if "role" in listing["columns"]:
        notes.append("* inferred from name and shape")
    return "; ".join(notes)
