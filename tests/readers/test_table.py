"""The table: rows, columns, filters, groups and sums."""

from __future__ import annotations

import fnmatch
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paraminspect.readers.columns import Columns, LogicalCount
from paraminspect.readers.columns_builder import ColumnsBuilder
from paraminspect.readers.dtypes import DTYPES
from paraminspect.readers.named_tensor import NamedTensor
from paraminspect.readers.sections import Section
from paraminspect.readers.source import MemorySource
from paraminspect.readers.table import COLUMN_NAMES, ParameterTable
from paraminspect.readers.tensor import TensorRef


def small_table() -> ParameterTable:
    builder = ColumnsBuilder()
    raw = MemorySource(bytes(range(200)))
    rows: list[tuple[tuple[str | int, ...], str, tuple[int, ...], dict[str, Any]]] = [
        (("model", "layers.10", "weight"), "float32", (2, 3), {"section": Section.MODEL, "trainable": True}),
        (("model", "layers.2", "weight"), "bfloat16", (2, 3), {"trainable": False}),
        (("model", "norm", "running_mean"), "float32", (3,), {}),
        (("optimizer", "state", 0, "exp_avg"), "float32", (2, 3), {"owner": "model.layers.10.weight"}),
        (("step",), "int64", (), {}),
    ]
    for path, dtype, shape, marks in rows:
        builder.add(path, TensorRef(raw, 0, DTYPES[dtype], shape), **marks)
    return ParameterTable(builder.build())


NAMES = [
    "model.layers.10.weight",
    "model.layers.2.weight",
    "model.norm.running_mean",
    "optimizer.state.0.exp_avg",
    "step",
]

# --- rows ---


def test_a_row_knows_everything() -> None:
    row = small_table()["model.layers.10.weight"]
    assert (row.name, row.path) == ("model.layers.10.weight", ("model", "layers.10", "weight"))
    assert (row.section, row.section_is_inferred) == (Section.MODEL, False)
    assert (row.role, row.dtype, row.shape) == ("weight", DTYPES["float32"], (2, 3))
    assert (row.elements, row.parameters, row.nbytes) == (6, 6, 24)
    assert (row.trainable, row.owner, row.shared_with, row.parameters_basis) == (True, None, [], None)
    assert row.data.shape == (2, 3)
    assert row.numpy().shape == (2, 3) and row.numpy(raw=True).dtype == np.float32
    assert sum(len(block) for block in row.blocks(8)) == 6
    assert repr(row) == "<model.layers.10.weight: float32 2×3, 24 B>"


def test_rows_by_name_path_and_number() -> None:
    table = small_table()
    by_name = table["optimizer.state.0.exp_avg"]
    by_path = table["optimizer", "state", 0, "exp_avg"]
    assert by_name.row == by_path.row == table[3].row == table[-2].row == 3
    assert by_name.owner == "model.layers.10.weight"
    assert "step" in table and ("step",) in table
    assert "steps" not in table and ("model", "layers", "10", "weight") not in table
    assert [row.name for row in table] == NAMES


def test_what_is_not_there() -> None:
    table = small_table()
    with pytest.raises(
        KeyError, match=r"no tensor 'model.layers.2.weigth' among 5; did you mean 'model.layers.2"
    ):
        table["model.layers.2.weigth"]
    with pytest.raises(KeyError, match="no tensor"):
        table["optimizer", "state", "0", "exp_avg"]
    with pytest.raises(IndexError):
        table[5]
    with pytest.raises(KeyError, match="no column 'bytes'; there are name, section"):
        table.column("bytes")


def test_of_equal_names_the_first_is_found() -> None:
    builder = ColumnsBuilder()
    for length, path in enumerate([("a", "b"), ("a.b",), ("a", "b")], 1):
        builder.add(path, TensorRef(MemorySource(bytes(12)), 0, DTYPES["uint8"], (length,)))
    table = ParameterTable(builder.build())
    assert table["a.b"].shape == (1,)
    assert table["a", "b"].shape == (1,) and table[("a.b",)].shape == (2,)
    assert table[1:]["a.b"].shape == (2,) and table[1:]["a", "b"].shape == (3,)


def test_a_slice_is_a_table() -> None:
    table = small_table()
    assert table[1:3].names == NAMES[1:3] and table[::-1].names == NAMES[::-1]
    assert table[::-1][1:3].names == NAMES[::-1][1:3]
    assert len(table[5:]) == 0 and table[::-1][0].path == ("step",)


def test_rows_of_a_part_keep_their_data() -> None:
    table = small_table()[::-1].filter("*weight")
    assert [row.data.dtype.name for row in table] == ["bfloat16", "float32"]
    assert [row.section_is_inferred for row in table] == [True, False]
    assert [row.trainable for row in table] == [False, True]


# --- columns ---


def test_columns() -> None:
    table = small_table()
    assert table.column("name").tolist() == NAMES
    assert table.column("section").tolist() == ["model", "model", "buffer", "optimizer", "buffer"]
    assert table.column("nbytes").dtype == np.int64
    assert table.column("nbytes").tolist() == [24, 12, 12, 24, 8]
    assert table.column("shape").tolist() == [(2, 3), (2, 3), (3,), (2, 3), ()]
    for name in COLUMN_NAMES:
        assert table.column(name).tolist() == table.values_of(name)
        assert len(table.column(name)) == 5


def test_a_column_of_shapes_of_one_length_stays_a_column() -> None:
    table = small_table()
    assert table[:2].column("shape").shape == (2,)
    assert table[:2].column("shape").tolist() == [(2, 3), (2, 3)]
    assert table[:0].column("shape").shape == table[:0].column("nbytes").shape == (0,)


def test_a_column_beyond_64_bits_holds_exact_integers() -> None:
    builder = ColumnsBuilder()
    for shape in ((1 << 40, 1 << 40), (3,)):
        builder.add(("w",), TensorRef(None, 0, DTYPES["uint8"], shape, problem="none"))
    table = ParameterTable(builder.build())
    assert table.column("elements").tolist() == [1 << 80, 3]
    assert table.sort("elements").elements == [3, 1 << 80]
    assert table.totals().elements == (1 << 80) + 3


def test_plain_columns() -> None:
    plain = small_table().to_dict()
    assert list(plain) == list(COLUMN_NAMES)
    assert plain["dtype"] == ["float32", "bfloat16", "float32", "float32", "int64"]
    assert plain["shape"][0] == [2, 3] and type(plain["section"][0]) is str
    assert plain["owner"] == [None, None, None, "model.layers.10.weight", None]
    plain["name"].clear()
    assert small_table().names == NAMES


def test_logical_counts_go_with_their_rows() -> None:
    table = small_table()
    table.__dict__["_logical_counts"] = {1: LogicalCount(48, "8 in one")}
    assert table.parameters == [6, 48, 3, 6, 1]
    part = table[::-1][2:4]
    assert part.parameters == [3, 48]
    assert [row.parameters_basis for row in part] == [None, "8 in one"]
    assert part.totals().parameters == 51


# --- filter, sort, group ---


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ("*", [0, 1, 2, 3, 4]),
        ("model.*", [0, 1, 2]),
        ("*.weight", [0, 1]),
        ("step", [4]),
        ("ste", []),
        ("model.layers.?.weight", [1]),
        ("*.[0-1]*.*", [0, 3]),
        (["step", "*avg"], [3, 4]),
        ([], []),
        ("*LAYERS*", []),
    ],
)
def test_filter_by_glob(match: str | list[str], found: list[int]) -> None:
    assert small_table().filter(match).names == [NAMES[row] for row in found]


@given(st.lists(st.text("ab.*?[]!\n", max_size=6), max_size=3), st.text("ab.\n", max_size=6))
def test_globs_mean_what_they_mean_in_a_shell(patterns: list[str], name: str) -> None:
    builder = ColumnsBuilder()
    builder.add((name,), TensorRef(None, 0, DTYPES["uint8"], (), problem="none"))
    expected = any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    assert len(ParameterTable(builder.build()).filter(patterns)) == expected


def test_filter_by_section_dtype_and_function() -> None:
    table = small_table()
    assert table.filter(section="model").names == NAMES[:2]
    assert table.filter(section=[Section.BUFFER, "optimizer"]).names == NAMES[2:]
    assert table.filter(dtype="bf16").names == table.filter(dtype="bfloat16").names == [NAMES[1]]
    assert table.filter(dtype=("int64", "bf16")).names == [NAMES[1], NAMES[4]]
    assert table.filter(where=lambda t: t.column("nbytes") > 12).names == [NAMES[0], NAMES[3]]
    assert table.filter("model*", section="model", dtype="f32").names == [NAMES[0]]
    assert table.filter().names == NAMES


def test_filters_that_cannot_be_meant() -> None:
    with pytest.raises(ValueError, match="weights"):
        small_table().filter(section="weights")
    with pytest.raises(ValueError, match="2 answers for 5 rows"):
        small_table().filter(where=lambda _: [True, False])


@pytest.mark.parametrize(
    ("by", "order"),
    [
        ("name", [1, 0, 2, 3, 4]),
        ("nbytes", [4, 1, 2, 0, 3]),
        ("section", [0, 1, 2, 4, 3]),
        ("dtype", [1, 0, 2, 3, 4]),
        ("shape", [4, 0, 1, 3, 2]),
        ("trainable", [2, 3, 4, 1, 0]),
        ("owner", [0, 1, 2, 4, 3]),
    ],
)
def test_sort(by: str, order: list[int]) -> None:
    table = small_table()
    assert table.sort(by).names == [NAMES[row] for row in order]
    values = table.values_of(by)
    backwards = [table.names.index(name) for name in table.sort(by, descending=True).names]
    assert [values[row] for row in backwards] == [values[row] for row in reversed(order)]
    for left, right in pairwise(backwards):
        assert values[left] != values[right] or left < right, "equal rows keep their order"


def test_groups() -> None:
    table = small_table()
    assert [(group.key, group.table.names) for group in table.group(1)] == [
        ("model", NAMES[:3]),
        ("optimizer", NAMES[3:4]),
        ("step", NAMES[4:]),
    ]
    assert [group.key for group in table.group(2)] == [
        "model.layers",
        "model.norm",
        "optimizer.state",
        "step",
    ]
    assert [group.key for group in table.group("dtype")] == ["float32", "bfloat16", "int64"]
    assert [group.key for group in table.group("shape")] == ["2×3", "3", "scalar"]
    assert [group.totals.nbytes for group in table.group("section")] == [36, 20, 24]
    assert table[:0].group("name") == []


def test_groups_hold_every_row_once() -> None:
    table = small_table()
    for by in (*COLUMN_NAMES, 0, 1, 2, 5):
        names = [name for group in table.group(by) for name in group.table.names]
        assert sorted(names) == sorted(NAMES)


# --- shared bytes ---

extents = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.integers(0, 6)), max_size=8)


def table_of_extents(rows: list[tuple[int, int, int]]) -> ParameterTable:
    """(storage, first byte, bytes) of each tensor."""
    count = len(rows)
    return ParameterTable(
        Columns(
            names=[f"t{row}" for row in range(count)],
            shapes=[(length,) for _, _, length in rows],
            dtypes=[DTYPES["uint8"]] * count,
            elements=[length for _, _, length in rows],
            nbytes=[length for _, _, length in rows],
            locate=lambda row: TensorRef(None, row, DTYPES["uint8"], (), problem="none"),
            storages=[storage for storage, _, _ in rows],
            starts=[start for _, start, _ in rows],
            spans=[length for _, _, length in rows],
        )
    )


def bytes_of(row: tuple[int, int, int]) -> set[tuple[int, int]]:
    storage, start, length = row
    return {(storage, place) for place in range(start, start + length)}


@given(extents)
def test_bytes_that_tensors_share_are_counted_once(rows: list[tuple[int, int, int]]) -> None:
    table = table_of_extents(rows)
    totals = table.totals()
    union = set().union(*map(bytes_of, rows))
    assert totals.nbytes == totals.elements == totals.parameters == len(union)
    assert totals.repeated_nbytes == sum(length for _, _, length in rows) - len(union)
    assert totals.tensors == len(rows)


@given(extents)
def test_which_tensors_share_bytes(rows: list[tuple[int, int, int]]) -> None:
    table = table_of_extents(rows)
    overlapping = [
        [other for other, theirs in enumerate(rows) if other != row and bytes_of(ours) & bytes_of(theirs)]
        for row, ours in enumerate(rows)
    ]
    assert [table.shared_rows(row) for row in range(len(rows))] == overlapping
    assert table.shared == [bool(others) for others in overlapping]
    sets = table.overlaps
    assert sorted(row for rows_of_set in sets for row in rows_of_set) == [
        row for row, others in enumerate(overlapping) if others
    ]
    for members in sets:
        assert all(set(overlapping[row]) <= set(members) for row in members)


@given(extents, st.data())
def test_a_part_of_a_table_sees_its_own_rows_only(
    rows: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    kept = data.draw(st.lists(st.sampled_from(range(len(rows))), unique=True)) if rows else []
    part = table_of_extents(rows).take(kept)
    alone = table_of_extents([rows[row] for row in kept])
    assert part.totals() == alone.totals()
    assert part.overlaps == alone.overlaps and part.shared == alone.shared
    assert part.names == [f"t{row}" for row in kept]


def test_tied_tensors_name_each_other() -> None:
    table = table_of_extents([(0, 0, 4), (0, 0, 4), (0, 4, 4), (1, 0, 4)])
    assert table[0].shared_with == ["t1"] and table[2].shared_with == []
    assert table.overlaps == [[0, 1]]


def test_totals_of_a_table_without_shared_bytes() -> None:
    assert small_table().totals()._asdict() == {
        "tensors": 5,
        "elements": 22,
        "parameters": 22,
        "nbytes": 80,
        "repeated_nbytes": 0,
    }


# --- what it looks like ---


def test_repr() -> None:
    lines = repr(small_table()).splitlines()
    assert lines[0] == "<ParameterTable: 5 tensors, 12 parameters of the model, 80 B>"
    assert lines[1] == "  model.layers.10.weight     f32      2×3"
    assert lines[5] == "  step                       i64      scalar"
    assert len(lines) == 6
    assert repr(small_table()[:0]) == "<ParameterTable: 0 tensors, 0 parameters, 0 B>"


def test_repr_of_many_rows_is_short_and_safe() -> None:
    builder = ColumnsBuilder()
    for row in range(1234):
        builder.add((f"\x1b[2J\n{row}" * 50,), TensorRef(None, 0, DTYPES["uint8"], (), problem="none"))
    table = ParameterTable(builder.build())
    lines = repr(table).splitlines()
    assert len(lines) == 12 and lines[-1] == "  … 1,224 more"
    assert all(line.isprintable() and len(line) < 300 for line in lines)
    assert repr(table[0]).isprintable()


def test_a_row_is_light() -> None:
    row = NamedTensor(small_table(), 4)
    assert row.shape == () and row.role == "counter"
    assert not hasattr(row, "__dict__")


def test_rows_by_numpy_integers_and_out_of_range() -> None:
    builder = ColumnsBuilder()
    builder.add(("a",), TensorRef(None, 0, DTYPES["float32"], (2,)))
    table = ParameterTable(builder.build())
    assert table[np.int64(0)].name == table[-1].name == "a"
    with pytest.raises(IndexError, match="row 1 of a table of 1"):
        table[1]
    assert repr(table).startswith("<ParameterTable: 1 tensor, 2 parameters, ")
