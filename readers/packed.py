"""How many parameters packed and quantised weights stand for.

A quantised layer stores codes (the weight, several codes in one integer) and what is needed to undo the
quantisation: scales, zero points, group indices, code books, and the shape. The codes stand for the
weight's parameters. The rest was computed from the weight and holds no parameter of its own, so it counts 0
parameters and is labelled as side data; its stored elements and bytes remain in the other two figures.

A figure is claimed only where every piece of evidence (config, shapes of the neighbours, a shape stored in
the file) agrees. Otherwise the weight keeps its stored elements as a figure that is not known, with the
reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .columns import Columns, LogicalCount

_FLOAT8: Final = (
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e4m3",
    "float8_e3m4",
    "float8_e4m3b11fnuz",
)

_MARKS: Final[dict[str, tuple[str, ...]]] = {
    "int8": ("scale", "SCB"),
    "int16": ("qweight", "suh", "scale"),
    "int32": ("qweight", "weight_packed", "scale"),
    "int64": ("qweight", "scale"),
    "uint8": ("scale", "weight_packed", "absmax", "_blocks"),
    "uint32": ("scales",),
    **dict.fromkeys(_FLOAT8, ("scale",)),
}
"""Texts of which one must occur in some name before a rule for rows of a dtype can apply."""


def logical_counts(columns: Columns) -> Mapping[int, LogicalCount]:
    """Rows whose logical count differs from their element count, or is not known.

    Reads no tensor but the few small ones that hold a shape. A table without packed weights costs one
    look at its dtypes and, where those leave it open, at its names.
    """
    rows = _rows_of_interest(columns)
    if not rows:
        return {}
    from .packed_layouts import counts_of_rows  # few tables come so far: the others start faster

    return counts_of_rows(columns, rows)


def _rows_of_interest(columns: Columns) -> list[int]:
    """Rows whose dtype packed weights may have; none where no name speaks of quantisation."""
    by_identity = dict(zip(map(id, columns.dtypes), columns.dtypes, strict=True))
    wanted = {identity for identity, dtype in by_identity.items() if dtype.name in _MARKS}
    if not wanted:
        return []
    names = "\n".join(columns.names)
    marks = {mark for identity in wanted for mark in _MARKS[by_identity[identity].name]}
    if not any(mark in names for mark in sorted(marks)):
        return []
    return [row for row, dtype in enumerate(columns.dtypes) if id(dtype) in wanted]
