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

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from .columns import Columns, LogicalCount
from .packed_bytes import (
    QUANT_STATE,
    bitsandbytes_state,
    byte_weight,
    mxfp4_blocks,
    other_scheme,
    whole_byte_codes,
)
from .packed_neighbours import Counts, Neighbours
from .packed_rules import compressed_tensors_weight, gptq_or_awq_weight, mlx_weight

Rule = Callable[[Neighbours, int], Counts]

_WORDS: Final = ("int16", "int32", "int64")
_FLOAT8: Final = (
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e4m3",
    "float8_e3m4",
    "float8_e4m3b11fnuz",
)

_RULES: Final[dict[tuple[str, str], Rule]] = {
    **{("qweight", word): gptq_or_awq_weight for word in _WORDS},
    ("weight_packed", "int32"): compressed_tensors_weight,
    ("weight_packed", "uint8"): byte_weight,
    ("weight", "uint32"): mlx_weight,
    ("weight", "uint8"): byte_weight,
    ("weight", "int8"): whole_byte_codes,
    ("q_weight", "int32"): other_scheme,
    ("trellis", "int16"): other_scheme,
    **{("codes", word): other_scheme for word in ("int8", "int16", "int32", "int64", "uint8")},
    **{("W_q", word): other_scheme for word in ("uint8", "int32")},
}
"""By the last part of the name and the dtype."""

_MARKS: Final[dict[str, tuple[str, ...]]] = {
    "int8": ("scale", "SCB", "codebooks"),
    "int16": ("qweight", "suh", "codebooks"),
    "int32": ("qweight", "weight_packed", "scale", "codebooks"),
    "int64": ("qweight", "codebooks"),
    "uint8": ("scale", "weight_packed", "absmax", "quant_state"),
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
    counts: Counts = {}
    table = Neighbours(columns)
    for row, rule in _rules_of_rows(columns, rows):
        found = rule(table, row)
        if table.is_repeated(columns.names[row]) and found:
            found = table.unknown(row, "several tensors have this name")
        counts.update(found)
    return counts


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


def _rules_of_rows(columns: Columns, rows: list[int]) -> Iterator[tuple[int, Rule]]:
    names, dtypes = columns.names, columns.dtypes
    for row in rows:
        name, dtype = names[row], dtypes[row].name
        last = name[name.rfind(".") + 1 :]
        rule = _RULES.get((last, dtype))
        if rule is None and dtype in _FLOAT8:
            rule = whole_byte_codes
        elif rule is None and dtype == "uint8":
            rule = mxfp4_blocks if last.endswith("_blocks") else None
            rule = bitsandbytes_state if QUANT_STATE in name else rule
        if rule is not None:
            yield row, rule
