"""Logical counts: each layout is built from a weight whose true shape is known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from paraminspect.readers import open_checkpoint
from paraminspect.readers.columns import LogicalCount
from paraminspect.readers.columns_builder import ColumnsBuilder
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


@given(SIZES, SIZES, st.sampled_from([2, 4, 8]), GROUPS, st.booleans())
def test_awq(inputs: int, outputs: int, bits: int, group: int, stated: bool) -> None:
    layout = awq(inputs, outputs, bits, group)
    table = table_of(layout, {"quant_method": "awq", "bits": bits} if stated else None)
    assert table["m.q_proj.qweight"].parameters == inputs * outputs
    assert table.totals().parameters == inputs * outputs
    basis = table["m.q_proj.qweight"].parameters_basis
    assert basis == (
        f"bits {bits} from config.json" if stated else f"bits {bits} inferred from the width of scales"
    )


def test_gptq_side_data_counts_nothing_and_the_bias_counts() -> None:
    table = table_of({**gptq(64, 96, 4, 32), "m.q_proj.bias": ("float16", (96,))})
    assert table.totals().parameters == 64 * 96 + 96
    for side in ("qzeros", "scales", "g_idx"):
        row = table[f"m.q_proj.{side}"]
        assert row.parameters == 0 < row.elements
        assert row.parameters_basis == "quantisation side data, no parameters of its own"
    assert table["m.q_proj.bias"].parameters_basis is None


def test_gptq_says_where_the_bits_were_seen() -> None:
    layout = gptq(64, 96, 3, 32)
    assert table_of(layout)["m.q_proj.qweight"].parameters_basis == "bits 3 inferred from g_idx length"
    del layout["m.q_proj.g_idx"]
    assert table_of(layout)["m.q_proj.qweight"].parameters_basis == "bits 3 inferred from qzeros and scales"


def test_a_width_that_two_packings_share_is_no_evidence() -> None:
    # 48 outputs: 3 bits with the last word left out and 2 bits both take 3 words of zero points.
    layout: dict[str, tuple[str, tuple[int, ...]]] = {
        "a.qweight": ("int32", (12, 48)),
        "a.qzeros": ("int32", (1, 3)),
        "a.scales": ("float16", (1, 48)),
    }
    assert_unknown(table_of(layout), "a.qweight", "neither config.json nor the tensors beside it")
    layout["a.g_idx"] = ("int32", (128,))
    assert table_of(layout)["a.qweight"].parameters == 128 * 48


def assert_unknown(table: ParameterTable, name: str, reason: str) -> None:
    """The stored elements remain, marked as not known; nothing else is claimed."""
    row = table[name]
    assert row.parameters == row.elements
    basis = row.parameters_basis
    assert basis is not None and basis.startswith("unknown") and reason in basis
    counts = table._logical_counts
    assert [count.known for count in counts.values()] == [False]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"g_idx": ("int32", (100,))}, "do not fit together"),
        ({"g_idx": ("int32", (128,))}, "disagree"),
        ({"scales": ("float16", (2, 95))}, "do not fit together"),
        ({"qzeros": ("int32", (2, 5))}, "do not fit together"),
        ({"qzeros": ("int32", (2, 24))}, "disagree"),
    ],
)
def test_gptq_neighbours_that_contradict(change: dict[str, Any], reason: str) -> None:
    layout = gptq(64, 96, 4, 32) | {f"m.q_proj.{name}": value for name, value in change.items()}
    assert_unknown(table_of(layout), "m.q_proj.qweight", reason)


def test_a_config_that_contradicts_the_tensors() -> None:
    assert_unknown(table_of(gptq(64, 96, 4, 32), {"bits": 8}), "m.q_proj.qweight", "disagree")
    assert_unknown(table_of(awq(64, 96, 4, 32), {"bits": 8}), "m.q_proj.qweight", "disagree")


def test_a_config_with_pattern_rules_leaves_the_bits_to_the_tensors() -> None:
    config = {"bits": 4, "dynamic": {"+:.*q_proj.*": {"bits": 8}}}
    table = table_of(gptq(64, 96, 8, 32), config)
    assert table["m.q_proj.qweight"].parameters == 64 * 96
    assert table["m.q_proj.qweight"].parameters_basis == "bits 8 inferred from g_idx length"
    assert_unknown(table_of({"a.qweight": ("int32", (8, 64))}, config), "a.qweight", "neither")


def test_one_layer_may_have_an_entry_of_its_own() -> None:
    config = {"bits": 4, "extra_config": {"m.k_proj": {"bits": 8}}}
    layout = gptq(64, 96, 4, 32) | gptq(64, 96, 8, 32, "m.k_proj.")
    table = table_of(layout, config)
    assert table.totals().parameters == 2 * 64 * 96
    assert table["m.k_proj.qweight"].parameters_basis == "bits 8 from config.json"


def test_a_lone_qweight_needs_a_config() -> None:
    layout = {"m.qweight": ("int32", (8, 96))}
    assert_unknown(table_of(layout), "m.qweight", "neither config.json nor")
    assert table_of(layout, {"bits": 4})["m.qweight"].parameters == 64 * 96
    bare = table_of({"qweight": ("int32", (8, 96)), "g_idx": ("int32", (64,))})
    assert bare["qweight"].parameters == 64 * 96


@pytest.mark.parametrize("bits", [0, -4, 7, 64, True, 4.0, "4", None, [4], {}])
def test_a_config_may_say_anything(bits: object) -> None:
    config: dict[str, object] = {"bits": bits, "config_groups": bits, "extra_config": bits, "m": bits}
    assert_unknown(table_of({"m.qweight": ("int32", (8, 96))}, config), "m.qweight", "neither")


def test_awq_packed_the_other_way_needs_its_config() -> None:
    layout = {
        "m.qweight": ("int32", (96, 8)),
        "m.qzeros": ("int32", (96, 1)),
        "m.scales": ("float16", (96, 7)),
    }
    assert_unknown(table_of(layout), "m.qweight", "do not fit together")
    assert_unknown(table_of(layout, {"bits": 4}), "m.qweight", "do not fit together")
    table = table_of(layout, {"bits": 4, "version": "GEMV"})
    assert table["m.qweight"].parameters == 96 * 64


# --- bitsandbytes ---


def nf4(
    shape: tuple[int, ...], *, nested: bool = False, dtype: str = "uint8", state: bytes | None = None
) -> tuple[dict[str, tuple[str, tuple[int, ...]]], dict[str, bytes]]:
    """A 4-bit layer of bitsandbytes and the bytes of its state."""
    values = int(np.prod(shape))
    word = DTYPES[dtype].bits // 8
    name = "m.q_proj.weight.quant_state.bitsandbytes__nf4"
    if state is None:
        state = json.dumps({"quant_type": "nf4", "blocksize": 64, "shape": list(shape)}).encode()
    layout: dict[str, tuple[str, tuple[int, ...]]] = {
        "m.q_proj.weight": (dtype, ((values + 1) // (2 * word), 1)),
        "m.q_proj.weight.absmax": ("uint8" if nested else "float32", (-(-values // 64),)),
        "m.q_proj.weight.quant_map": ("float32", (16,)),
        name: ("uint8", (len(state),)),
    }
    if nested:
        layout["m.q_proj.weight.nested_absmax"] = ("float32", (1,))
        layout["m.q_proj.weight.nested_quant_map"] = ("float32", (256,))
    return layout, {name: state}


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple),
    st.booleans(),
    st.sampled_from(["uint8", "bfloat16", "float32"]),
)
def test_bitsandbytes_4_bit(shape: tuple[int, ...], nested: bool, dtype: str) -> None:
    layout, stored = nf4(shape, nested=nested, dtype=dtype)
    table = table_of(layout, stored=stored)
    assert table["m.q_proj.weight"].parameters == int(np.prod(shape))
    assert table["m.q_proj.weight"].parameters_basis == "shape stored in quant_state"
    assert table.totals().parameters == int(np.prod(shape))


BROKEN_STATES = [
    b"",
    b"{",
    b"[" * 60_000,
    b"null",
    b'{"shape": "64"}',
    b'{"shape": [64, -64]}',
    b'{"shape": [true, 64]}',
    b'{"shape": [64.0, 64]}',
    b'{"shape": [' + b"9" * 5_000 + b"]}",
    b'{"shape": [1,1,1,1,1,1,1,64,64]}',
    b"\xff\xfe\x00",
]


@pytest.mark.parametrize("state", BROKEN_STATES, ids=range(len(BROKEN_STATES)))
def test_a_broken_state_leaves_the_code_book(state: bytes) -> None:
    layout, stored = nf4((64, 64), state=state)
    table = table_of(layout, stored=stored)
    assert table["m.q_proj.weight"].parameters == 64 * 64
    basis = table["m.q_proj.weight"].parameters_basis
    assert basis == "bits 4 inferred from the 16 entries of quant_map"


def test_a_state_without_values_or_too_long_leaves_the_code_book() -> None:
    layout, stored = nf4((64, 64))
    assert "quant_map" in str(table_of(layout)["m.q_proj.weight"].parameters_basis)
    layout, stored = nf4((64, 64), state=json.dumps({"shape": [64, 64]}).encode() + b" " * 70_000)
    assert "quant_map" in str(table_of(layout, stored=stored)["m.q_proj.weight"].parameters_basis)


def test_a_state_cut_short_leaves_the_code_book() -> None:
    layout, stored = nf4((64, 64))
    stored = {name: raw[:-1] for name, raw in stored.items()}
    assert "quant_map" in str(table_of(layout, stored=stored)["m.q_proj.weight"].parameters_basis)


def test_a_state_that_contradicts_the_bytes() -> None:
    layout, stored = nf4((64, 64), state=b'{"shape": [64, 65]}')
    assert_unknown(table_of(layout, stored=stored), "m.q_proj.weight", "does not fit the stored bytes")


def test_bitsandbytes_without_a_state() -> None:
    layout, _ = nf4((64, 64))
    del layout["m.q_proj.weight.quant_state.bitsandbytes__nf4"]
    table = table_of(layout)
    assert table.totals().parameters == 64 * 64
    assert "inferred" in str(table["m.q_proj.weight"].parameters_basis)
    layout["m.q_proj.weight.absmax"] = ("float32", (63,))
    assert_unknown(table_of(layout), "m.q_proj.weight", "absmax does not fit")
    layout["m.q_proj.weight.quant_map"] = ("float32", (256,))
    assert_unknown(table_of(layout), "m.q_proj.weight", "quant_state is missing")


def test_a_state_without_its_weight_claims_nothing() -> None:
    layout, stored = nf4((64, 64))
    del layout["m.q_proj.weight"]
    assert counts_of(table_of(layout, stored=stored)) == {}


def test_bitsandbytes_8_bit_keeps_its_count() -> None:
    layout: Layout = {
        "m.weight": ("int8", (64, 32)),
        "m.SCB": ("float32", (64,)),
        "m.weight_format": ("uint8", ()),
        "m.bias": ("float16", (64,)),
    }
    table = table_of(layout)
    assert table["m.weight"].parameters == 64 * 32 and table["m.weight"].parameters_basis is None
    assert table["m.SCB"].parameters == table["m.weight_format"].parameters == 0
    assert table.totals().parameters == 64 * 32 + 64


# --- block floats ---


@given(st.integers(1, 4), st.integers(1, 40), st.integers(1, 8), st.booleans())
def test_mxfp4_of_gpt_oss(experts: int, outputs: int, groups: int, lines: bool) -> None:
    blocks = (experts, outputs, groups * 16) if lines else (experts, outputs, groups, 16)
    name = "mlp.experts.gate_up_proj"
    layout: Layout = {
        f"{name}_blocks": ("uint8", blocks),
        f"{name}_scales": ("uint8", (experts, outputs, groups)),
        f"{name}_bias": ("bfloat16", (experts, outputs)),
    }
    table = table_of(layout)
    assert table[f"{name}_blocks"].parameters == experts * outputs * groups * 32
    assert table[f"{name}_scales"].parameters == 0
    assert table[f"{name}_bias"].parameters_basis is None


def test_blocks_without_fitting_scales() -> None:
    layout = {"a_blocks": ("uint8", (4, 8, 2, 16)), "a_scales": ("uint8", (4, 8, 3))}
    assert_unknown(table_of(layout), "a_blocks", "do not fit together")
    lone = {"a_blocks": ("uint8", (4, 8, 2, 16)), "other_scales": ("uint8", (4, 8, 2))}
    assert counts_of(table_of(lone)) == {}
    assert_unknown(table_of(lone, {"quant_method": "mxfp4"}), "a_blocks", "missing")
    only = {"a_blocks": ("uint8", (4, 8, 2, 16))}
    assert_unknown(table_of(only, {"quant_method": "mxfp4"}), "a_blocks", "missing")
    trained = {"a_blocks": ("uint8", (4, 8, 2, 16)), "a_scales": ("float32", (4, 8, 2))}
    assert counts_of(table_of(trained)) == {}


@pytest.mark.parametrize("last", ["weight", "weight_packed"])
def test_nvfp4(last: str) -> None:
    layout: Layout = {
        f"m.{last}": ("uint8", (96, 64)),
        "m.weight_scale": ("float8_e4m3fn", (96, 8)),
        "m.weight_scale_2": ("float32", ()),
        "m.input_scale": ("float32", ()),
    }
    table = table_of(layout)
    assert table[f"m.{last}"].parameters == 96 * 128 == table.totals().parameters
    assert table[f"m.{last}"].parameters_basis == "bits 4 inferred from the shape of weight_scale"
    assert_unknown(table_of(layout, {"bits": 8}), f"m.{last}", "not told")


def test_bytes_beside_another_kind_of_scale_are_not_guessed() -> None:
    layout: Layout = {"m.weight": ("uint8", (96, 64)), "m.weight_scale": ("float16", (96, 1))}
    assert_unknown(table_of(layout), "m.weight", "how many codes share a byte")
    assert_unknown(
        table_of({"m.weight_packed": ("uint8", (96, 64))}), "m.weight_packed", "weight_scale is missing"
    )


# --- compressed-tensors ---


@given(SIZES.map(lambda n: n - 5), SIZES, BITS, st.sampled_from(["int64", "int32"]), st.booleans())
def test_compressed_tensors(inputs: int, outputs: int, bits: int, kind: str, stated: bool) -> None:
    per_word = 32 // bits
    layout: Layout = {
        "m.weight_packed": ("int32", (outputs, -(-inputs // per_word))),
        "m.weight_shape": (kind, (2,)),
        "m.weight_scale": ("bfloat16", (outputs, 1)),
        "m.weight_zero_point": ("int32", (-(-outputs // per_word), 1)),
    }
    groups = {"group_0": {"weights": {"num_bits": bits}}, "group_1": {"input_activations": None}}
    stored = {"m.weight_shape": np.array([outputs, inputs], np.dtype(kind).newbyteorder("<")).tobytes()}
    table = table_of(layout, {"config_groups": groups} if stated else None, stored)
    assert table["m.weight_packed"].parameters == inputs * outputs == table.totals().parameters
    assert table["m.weight_packed"].parameters_basis == "shape stored in weight_shape"


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ([96, 65], "does not fit"),
        ([95, 64], "does not fit"),
        ([96, 64, 1], "does not fit"),
        ([-96, -64], "cannot be read"),
        ([1] * 9, "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_weight_shape_that_does_not_fit(shape: list[int] | None, reason: str) -> None:
    layout: Layout = {
        "m.weight_packed": ("int32", (96, 8)),
        "m.weight_shape": ("int64", (2 if shape is None else len(shape),)),
    }
    stored = {} if shape is None else {"m.weight_shape": np.array(shape, "<i8").tobytes()}
    config = {"config_groups": {"g": {"weights": {"num_bits": 4}}}}
    assert_unknown(table_of(layout, config, stored), "m.weight_packed", reason)


def test_a_missing_weight_shape() -> None:
    layout: Layout = {"m.weight_packed": ("int32", (96, 8)), "m.weight_scale": ("bfloat16", (96, 1))}
    assert_unknown(table_of(layout), "m.weight_packed", "weight_shape is missing")


# --- MLX ---


@given(SIZES, SIZES, st.sampled_from([2, 3, 4, 5, 6, 8]), st.sampled_from([32, 64, 128]), st.booleans())
def test_mlx(inputs: int, outputs: int, bits: int, group: int, experts: bool) -> None:
    inputs = -(-inputs // group) * group
    front = (3, outputs) if experts else (outputs,)
    layout: Layout = {
        "m.weight": ("uint32", (*front, inputs * bits // 32)),
        "m.scales": ("bfloat16", (*front, inputs // group)),
        "m.biases": ("bfloat16", (*front, inputs // group)),
    }
    values = inputs * outputs * (3 if experts else 1)
    for config in (
        {"group_size": group, "bits": bits},
        {"group_size": group},
        {"group_size": 16, "bits": 8, "m": {"group_size": group, "bits": bits}},
    ):
        table = table_of(layout, config)
        assert table["m.weight"].parameters == values == table.totals().parameters
        assert str(table["m.weight"].parameters_basis).startswith(f"bits {bits} ")
    assert_unknown(table_of(layout), "m.weight", f"bits x group size is {bits * group}")
    assert_unknown(table_of(layout, {"group_size": group * 16}), "m.weight", "disagree")


@pytest.mark.parametrize(("bits", "group"), [(4, 32), (8, 32), (4, 16)])
def test_mlx_block_floats(bits: int, group: int) -> None:
    layout: Layout = {
        "m.weight": ("uint32", (96, 256 * bits // 32)),
        "m.scales": ("uint8", (96, 256 // group)),
    }
    table = table_of(layout)
    assert table["m.weight"].parameters == 96 * 256
    assert "inferred" in str(table["m.weight"].parameters_basis)


def test_mlx_shapes_that_do_not_fit() -> None:
    layout = {"m.weight": ("uint32", (96, 8)), "m.scales": ("float16", (95, 1))}
    assert_unknown(table_of(layout, {"group_size": 64, "bits": 4}), "m.weight", "do not fit together")


# --- float8 ---


def test_float8_counts_its_bytes_and_its_scales_count_nothing() -> None:
    layout: Layout = {
        "a.weight": ("float8_e4m3fn", (256, 200)),
        "a.weight_scale_inv": ("float32", (2, 2)),
        "b.weight": ("float8_e4m3fn", (256, 200)),
        "b.weight_scale": ("bfloat16", (256, 1)),
        "b.input_scale": ("float32", ()),
        "c.weight": ("float8_e5m2", (256, 200)),
        "c.scale": ("float32", (2, 2)),
        "experts.up": ("float8_e4m3fn", (4, 8, 8)),
        "experts.up_scale": ("float32", (4, 1)),
    }
    table = table_of(layout)
    assert table.totals().parameters == 3 * 256 * 200 + 256
    assert {name for name, count in counts_of(table).items() if count.parameters == 0} == {
        name for name in layout if "scale" in name
    }


def test_a_scale_beside_float8_may_be_learned() -> None:
    layout: Layout = {
        "norm.scale": ("float32", (256,)),
        "a.weight": ("float8_e4m3fn", (256, 200)),
        "a.scale": ("float32", (256,)),
        "a.input_scale": ("float32", (1000, 1000)),
        "b.weight": ("bfloat16", (4, 4)),
        "b.weight_scale": ("bfloat16", (4,)),
    }
    assert counts_of(table_of(layout)) == {}


# --- what is not packed, and what cannot be told ---


@pytest.mark.parametrize("dtype", ["int32", "uint32", "uint8", "int8", "float32"])
@pytest.mark.parametrize("name", ["weight", "m.weight", "m.weight_packed_extra", "m.qweights", "qweight.x"])
def test_plain_integers_stay_untouched(dtype: str, name: str) -> None:
    layout: Layout = {
        name: (dtype, (8, 96)),
        "other.scales": ("float16", (1, 96)),
        "scale": ("float16", (1, 96)),
        "other.qweights": ("int32", (8, 96)),
    }
    table = table_of(layout)
    assert counts_of(table) == {}
    assert table.parameters == table.elements


def test_a_float_called_qweight_stays_untouched() -> None:
    assert counts_of(table_of({"m.qweight": ("float32", (8, 96)), "m.g_idx": ("int32", (64,))})) == {}


def test_a_name_used_twice_tells_nothing() -> None:
    rows = [*gptq(64, 96, 4, 32).items()]
    twice = table_of([*rows, rows[0]])
    assert all("several tensors have this name" in str(count.basis) for count in counts_of(twice).values())
    assert twice.parameters == twice.elements
    neighbours_twice = table_of([*rows, *rows[1:]])
    assert neighbours_twice["m.q_proj.qweight"].parameters == 8 * 96
    assert "neither" in str(neighbours_twice["m.q_proj.qweight"].parameters_basis)


def test_a_float8_weight_of_a_repeated_name_keeps_its_count() -> None:
    rows = [("a.weight", ("float8_e5m2", (4, 4)))] * 2 + [("a.weight_scale", ("float32", (1,)))]
    assert table_of(rows).parameters == [16, 16, 0]


def test_plain_weights_of_one_name_stay_untouched() -> None:
    rows = [("a.weight", ("uint8", (4, 4)))] * 2 + [("b_scale", ("float32", (1,)))]
    assert counts_of(table_of(rows)) == {}


@pytest.mark.parametrize(
    ("name", "dtype", "neighbour"),
    [
        ("q_weight", "int32", "q_scale"),
        ("trellis", "int16", "suh"),
        ("codes", "int16", "codebooks"),
        ("W_q", "uint8", "scale"),
    ],
)
def test_schemes_that_are_not_counted_say_so(name: str, dtype: str, neighbour: str) -> None:
    layout = {
        f"m.{name}": (dtype, (8, 8)),
        f"m.{neighbour}": ("float16", (8,)),
        "m.scales": ("float16", (8,)),
    }
    assert_unknown(table_of(layout), f"m.{name}", "")
    assert counts_of(table_of({f"m.{name}": (dtype, (8, 8)), "n." + neighbour: ("float16", (8,))})) == {}


def test_empty_packed_tensors() -> None:
    layout = {"m.qweight": ("int32", (0, 96)), "m.scales": ("float16", (0, 96)), "m.g_idx": ("int32", (0,))}
    assert table_of(layout, {"bits": 4})["m.qweight"].parameters == 0
    assert table_of({"m.weight": ("uint32", ()), "m.scales": ("float16", ())})["m.weight"].parameters == 1
    assert table_of({"m.weight": ("uint32", (0,)), "m.scales": ("float16", (0,))})["m.weight"].parameters == 0


def test_a_part_of_the_table_counts_as_in_the_whole() -> None:
    table = table_of({"first": ("float16", (2,)), **gptq(64, 96, 4, 32)})
    assert table.filter("*.qweight").parameters == [64 * 96]
    assert table.filter("*.qweight")[0].parameters_basis == "bits 4 inferred from g_idx length"


def test_gptq_is_counted_without_reading_a_tensor() -> None:
    def locate(row: int) -> TensorRef:
        raise AssertionError(f"row {row} is located")

    builder = ColumnsBuilder()
    for name, (dtype, shape) in gptq(64, 96, 4, 32).items():
        builder.add((name,), TensorRef(None, 0, DTYPES[dtype], shape, problem="none"))
    columns = builder.build()
    columns.locate = locate
    assert logical_counts(columns)[0].parameters == 64 * 96


# --- whole files, written by the safetensors library ---


def saved(folder: Path, tensors: dict[str, NDArray[Any]], config: dict[str, object] | None) -> ParameterTable:
    """A model folder, opened."""
    numpy_writer = pytest.importorskip("safetensors.numpy")
    numpy_writer.save_file(tensors, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    with open_checkpoint(folder) as checkpoint:
        return checkpoint.parameters


def packed_rows(codes: NDArray[np.uint32], bits: int) -> NDArray[np.int32]:
    """GPTQ's packing along the first dimension, lowest bits first."""
    per_word = 32 // bits
    words = np.zeros((codes.shape[0] // per_word, codes.shape[1]), np.uint32)
    for place in range(per_word):
        words |= codes[place::per_word] << np.uint32(bits * place)
    return words.view(np.int32)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("stated", [True, False])
def test_a_gptq_folder(tmp_path: Path, bits: int, stated: bool) -> None:
    codes = np.random.default_rng(bits).integers(0, 1 << bits, (128, 64)).astype(np.uint32)
    tensors: dict[str, NDArray[Any]] = {
        "model.layers.0.q_proj.qweight": packed_rows(codes, bits),
        "model.layers.0.q_proj.qzeros": packed_rows(np.zeros((64, 2), np.uint32), bits).T.copy(),
        "model.layers.0.q_proj.scales": np.ones((2, 64), np.float16),
        "model.layers.0.q_proj.g_idx": np.repeat(np.arange(2, dtype=np.int32), 64),
        "model.embed_tokens.weight": np.ones((10, 128), np.float16),
    }
    config: dict[str, object] = {"quantization_config": {"quant_method": "gptq", "bits": bits}}
    table = saved(tmp_path, tensors, config if stated else None)
    assert table.totals().parameters == 128 * 64 + 10 * 128
    basis = f"bits {bits} from config.json" if stated else f"bits {bits} inferred from g_idx length"
    assert table["model.layers.0.q_proj.qweight"].parameters_basis == basis


def test_an_mlx_folder(tmp_path: Path) -> None:
    tensors: dict[str, NDArray[Any]] = {
        "m.weight": np.zeros((32, 128 * 4 // 32), np.uint32),
        "m.scales": np.zeros((32, 2), np.float16),
        "m.biases": np.zeros((32, 2), np.float16),
    }
    table = saved(tmp_path, tensors, {"quantization": {"group_size": 64, "bits": 4}})
    assert table.totals().parameters == 32 * 128


def test_a_bitsandbytes_folder(tmp_path: Path) -> None:
    state = json.dumps({"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": [32, 128]})
    tensors: dict[str, NDArray[Any]] = {
        "m.weight": np.zeros((32 * 128 // 2, 1), np.uint8),
        "m.weight.absmax": np.zeros(64, np.float32),
        "m.weight.quant_map": np.zeros(16, np.float32),
        "m.weight.quant_state.bitsandbytes__nf4": np.frombuffer(state.encode(), np.uint8),
    }
    table = saved(tmp_path, tensors, {"quantization_config": {"load_in_4bit": True}})
    assert table.totals().parameters == 32 * 128
    assert table["m.weight"].parameters_basis == "shape stored in quant_state"
    assert table["m.weight"].elements == 32 * 128 // 2


def test_a_compressed_tensors_folder(tmp_path: Path) -> None:
    tensors: dict[str, NDArray[Any]] = {
        "m.weight_packed": np.zeros((32, 16), np.int32),
        "m.weight_shape": np.array([32, 126], np.int64),
        "m.weight_scale": np.zeros((32, 1), np.float16),
    }
    config: dict[str, object] = {
        "quantization_config": {"config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}}}}
    }
    table = saved(tmp_path, tensors, config)
    assert table["m.weight_packed"].parameters == 32 * 126 == table.totals().parameters


def test_a_folder_of_plain_integers(tmp_path: Path) -> None:
    tensors: dict[str, NDArray[Any]] = {
        "m.weight": np.zeros((32, 16), np.int32),
        "m.ids": np.zeros((32, 16), np.uint32),
        "m.scale": np.zeros(16, np.float32),
    }
    table = saved(tmp_path, tensors, {"quantization_config": {"bits": 4}})
    assert table.totals().parameters == 2 * 32 * 16 + 16
