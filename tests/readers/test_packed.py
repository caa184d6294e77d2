"""Logical counts: each layout is built from a weight whose true shape is known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paraminspect.readers.columns import ColumnsBuilder, LogicalCount
from paraminspect.readers.dtypes import DTYPES
from paraminspect.readers.packed import logical_counts
from paraminspect.readers.source import MemorySource
from paraminspect.readers.table import ParameterTable
from paraminspect.readers.tensor import TensorRef

Layout = Mapping[str, tuple[str, tuple[int, ...]]]
"""dtype and shape by name."""

BITS = st.sampled_from([2, 3, 4, 8])
SIZES = st.integers(1, 6).map(lambda n: 32 * n)
GROUPS = st.sampled_from([16, 32, 64, 128])


def table_of(
    layout: Layout | Iterable[tuple[str, tuple[str, tuple[int, ...]]]],
    config: Mapping[str, object] | None = None,
    stored: Mapping[str, bytes] | None = None,
) -> ParameterTable:
    """A table of these tensors; only those of `stored` have values."""
    builder = ColumnsBuilder()
    for name, (dtype, shape) in layout.items() if isinstance(layout, Mapping) else layout:
        raw = (stored or {}).get(name)
        source = None if raw is None else MemorySource(raw)
        problem = "no values here" if source is None else None
        builder.add((name,), TensorRef(source, 0, DTYPES[dtype], shape, problem=problem))
    columns = builder.build()
    columns.quantization = config
    return ParameterTable(columns)


def counts_of(table: ParameterTable) -> dict[str, LogicalCount]:
    return {
        row.name: LogicalCount(row.parameters, row.parameters_basis)
        for row in table
        if row.parameters_basis is not None
    }


def gptq(inputs: int, outputs: int, bits: int, group: int, prefix: str = "m.q_proj.") -> dict[str, Any]:
    groups = -(-inputs // group)
    return {
        f"{prefix}qweight": ("int32", (inputs * bits // 32, outputs)),
        f"{prefix}qzeros": ("int32", (groups, outputs * bits // 32)),
        f"{prefix}scales": ("float16", (groups, outputs)),
        f"{prefix}g_idx": ("int32", (inputs,)),
    }


def awq(inputs: int, outputs: int, bits: int, group: int, prefix: str = "m.q_proj.") -> dict[str, Any]:
    groups = -(-inputs // group)
    return {
        f"{prefix}qweight": ("int32", (inputs, outputs * bits // 32)),
        f"{prefix}qzeros": ("int32", (groups, outputs * bits // 32)),
        f"{prefix}scales": ("float16", (groups, outputs)),
    }


@given(SIZES, SIZES, BITS, GROUPS, st.booleans(), st.sampled_from(["", "g_idx", "qzeros"]))
def test_gptq(inputs: int, outputs: int, bits: int, group: int, stated: bool, lost: str) -> None:
    layout = gptq(inputs, outputs, bits, group)
    layout.pop(f"m.q_proj.{lost}", None)
    table = table_of(layout, {"quant_method": "gptq", "bits": bits} if stated else None)
    assert table["m.q_proj.qweight"].parameters == inputs * outputs
    assert table.totals().parameters == inputs * outputs
    basis = table["m.q_proj.qweight"].parameters_basis
    assert basis is not None and basis.startswith(f"bits {bits}")
    assert ("inferred" in basis) is not stated
