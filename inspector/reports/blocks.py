"""What a report is made of before it has a format: a few kinds of block, filled from plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple


class Share(NamedTuple):
    """A part of a whole, shown as a percentage and, where there is room, a bar."""

    part: int
    whole: int


class Branch(NamedTuple):
    """A label in a tree."""

    label: str
    last: tuple[bool, ...]
    """For each level from the top down to this one: whether it is the last of its siblings."""


Cell = str | Share | Branch
Style = Literal["", "strong", "faint", "type", "good", "warning", "error"]


class Column(NamedTuple):
    """How one column of a table is shown."""

    title: str
    right: bool = False
    """Numbers: aligned to the right."""

    code: bool = False
    """Text out of a file, or a name to be typed: set apart where the format can."""

    flexible: bool = False
    """Shortened in the middle when the line is too long."""

    dispensable: bool = False
    """Left out when the line is still too long."""

    style: Style = ""


class Table(NamedTuple):
    """Rows under a heading; every cell is fit to be shown."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    note: str = ""
    """One faint line below."""

    styles: Sequence[Style] = ()
    """One style a row, or none at all."""


class Title(NamedTuple):
    """What the report is about."""

    text: str
    detail: str
    alarm: str = ""
    """What must not be overlooked."""


class Facts(NamedTuple):
    """Labels and what they say."""

    pairs: Sequence[tuple[str, str]]
    title: str = ""
    note: str = ""


class Remark(NamedTuple):
    """A sentence with a label in front."""

    label: str
    text: str
    style: Style = ""


class Remarks(NamedTuple):
    """A list of sentences."""

    items: Sequence[Remark]
    title: str = ""
    note: str = ""


Block = Title | Facts | Table | Remarks


class Rows(NamedTuple):
    """The table that CSV prints: exact values, None where something is not known."""

    header: Sequence[str]
    values: Iterable[Sequence[object]]


class Report(NamedTuple):
    """One checkpoint's report: the data, and two ways to lay it out."""

    data: Mapping[str, object]
    """What JSON prints."""

    blocks: Callable[[], Iterable[Block]]
    """What people are shown."""

    rows: Callable[[], Rows]


class Failure(NamedTuple):
    """A checkpoint that could not be read."""

    location: str
    code: str
    cause: str
    path: str | None
    offset: int | None
    advice: str | None


class Document(NamedTuple):
    """Everything one call reports."""

    schema: str
    """`paraminspect/<verb>/<version>`."""

    reports: Iterable[Report]
    """Opened one after the other, as they are asked for."""

    failures: list[Failure]
    """Complete once `reports` has come to its end."""


class Look(NamedTuple):
    """What the place of output can show."""

    colour: bool = False
    width: int | None = None
    """Columns of the terminal; None where lines may be of any length."""
