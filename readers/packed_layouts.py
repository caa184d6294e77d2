"""Which rule counts which row of a table with packed weights, by name and dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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


def counts_of_rows(columns: Columns, rows: Sequence[int]) -> Mapping[int, LogicalCount]:
    """Logical counts of the packed weights among `rows`, and of the side data of each."""
    counts: Counts = {}
    table = Neighbours(columns)
    for row, rule in _rules_of_rows(columns, rows):
        found = rule(table, row)
        if row in found and table.is_repeated(columns.names[row]):
            found = table.unknown(row, "several tensors have this name")
        counts.update(found)
    return counts


def _rules_of_rows(columns: Columns, rows: Sequence[int]) -> Iterator[tuple[int, Rule]]:
    names, dtypes = columns.names, columns.dtypes
    for row in rows:
        name, dtype = names[row], dtypes[row].name
        last = name[name.rfind(".") + 1 :]
        rule = _RULES.get((last, dtype))
        if rule is None and dtype.startswith("float8_") and dtype != "float8_e8m0fnu":
            rule = whole_byte_codes
        elif rule is None and dtype == "uint8":
            rule = mxfp4_blocks if last.endswith("_blocks") else None
            rule = bitsandbytes_state if QUANT_STATE in name else rule
        if rule is not None:
            yield row, rule
