"""Reports as GitHub-flavoured Markdown: for pull requests, model cards and job summaries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, TextIO

from .blocks import Block, Branch, Cell, Column, Document, Facts, Look, Remarks, Share, Table, Title
from .layout import percent

_SPECIAL: Final = re.compile(r"([\\`*_\[\]|~@]|:(?=//)|(?<=www)\.|^[#>+-])")
_LIST_NUMBER: Final = re.compile(r"^(\d+)([.)])(?=\s|$)")
_BACKTICKS: Final = re.compile("`+")


def write(document: Document, stream: TextIO, _look: Look) -> None:
    """One section a checkpoint; those that could not be read come last."""
    for report in document.reports:
        for block in report.blocks():
            stream.write("\n".join(_lines(block)) + "\n\n")
        stream.flush()
    if document.failures:
        stream.write("## Could not be read\n\n")
        for failure in document.failures:
            stream.write(f"- {_code(failure.location)}: {_escaped(failure.cause)} ({_code(failure.code)})\n")


def _lines(block: Block) -> Iterator[str]:
    if isinstance(block, Title):
        yield f"## {_code(block.text)}"
        yield ""
        yield _escaped(block.detail)
        if block.alarm:
            yield ""
            yield f"**{_escaped(block.alarm)}**"
        return
    if block.title:
        yield f"### {_escaped(block.title)}"
        yield ""
    if isinstance(block, Facts):
        yield from (f"- {_code(label)}: {_escaped(text)}" for label, text in block.pairs)
    elif isinstance(block, Remarks):
        yield from _remarks(block)
    else:
        yield from _table(block)
    if block.note:
        yield ""
        yield _escaped(block.note)


def _remarks(block: Remarks) -> Iterator[str]:
    for item in block.items:
        yield (
            f"- **{_escaped(item.label)}** {_escaped(item.text)}"
            if item.label
            else f"- {_escaped(item.text)}"
        )


def _table(block: Table) -> Iterator[str]:
    yield _row([_escaped(column.title) for column in block.columns])
    yield _row(["---:" if column.right else "---" for column in block.columns])
    for row in block.rows:
        yield _row([_cell(cell, column) for cell, column in zip(row, block.columns, strict=True)])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell, column: Column) -> str:
    if isinstance(cell, Share):
        return percent(*cell)
    if isinstance(cell, Branch):
        return "&emsp;" * (len(cell.last) - 1) + _code(cell.label)
    return _code(cell) if column.code and cell else _escaped(cell)


def _code(text: str) -> str:
    """A code span that holds any text; a pipe would end a table's cell even there."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    fence = "`" * (longest + 1)
    blank = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{blank}{text}{blank}{fence}".replace("|", "\\|")


def _escaped(text: str) -> str:
    safe = text.replace("&", "&amp;").replace("<", "&lt;")
    return _LIST_NUMBER.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", safe))
