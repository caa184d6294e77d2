"""Reports as CSV: one exact table a call, for spreadsheets and data frames."""

from __future__ import annotations

import csv
from typing import TextIO

from ...readers.untrusted import printable
from .blocks import Document, Look

_TEXT_LIMIT = 1 << 30


def write(document: Document, stream: TextIO, _look: Look) -> None:
    """A header, then the rows of every checkpoint, its location in the first column."""
    writer = csv.writer(stream, lineterminator="\n")
    header_written = False
    for report in document.reports:
        rows = report.rows()
        if not header_written:
            writer.writerow(["model", *rows.header])
            header_written = True
        location = report.data["location"]
        writer.writerows([_field(value) for value in (location, *row)] for row in rows.values)
        stream.flush()


def _field(value: object) -> object:
    """A shape as `64x3x7x7`; empty for what is not known; control characters escaped; text that a
    spreadsheet would take for a formula gets an apostrophe in front.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return value
    if isinstance(value, (list, tuple)):
        value = "x".join(map(str, value)) or "scalar"
    text = printable(str(value), _TEXT_LIMIT)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
