"""Columns: built tensor by tensor, and several put together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from paraminspect.readers.columns import Columns, dotted
from paraminspect.readers.columns_builder import ColumnsBuilder
from paraminspect.readers.columns_joined import joined
from paraminspect.readers.dtypes import DTYPES
from paraminspect.readers.sections import Section
from paraminspect.readers.source import MemorySource
from paraminspect.readers.table import ParameterTable
from paraminspect.readers.tensor import TensorRef

F32 = DTYPES["float32"]


def ref_of(shape: tuple[int, ...], strides: tuple[int, ...] | None = None, fill: int = 0) -> TensorRef:
    ref = TensorRef(None, 0, F32, shape, strides)
    source = MemorySource(bytes([fill]) * (4 * ref.span_elements), str(fill))
    return TensorRef(source, 0, F32, shape, strides)


def test_names_are_the_parts_with_dots() -> None:
    assert dotted(("layers", 0, "weight")) == "layers.0.weight"
    assert dotted(("a.b", "c")) == "a.b.c"
    assert dotted(()) == ""


def test_columns_that_say_nothing_are_left_out() -> None:
    builder = ColumnsBuilder()
    builder.add(("a",), ref_of((2,)))
    builder.add(("b", 1), ref_of((3, 0)))
    columns = builder.build()
    assert (columns.names, columns.paths) == (["a", "b.1"], [("a",), ("b", 1)])
    assert (columns.shapes, columns.dtypes) == ([(2,), (3, 0)], [F32, F32])
    assert (columns.elements, columns.nbytes) == ([2, 0], [8, 0])
    assert columns.storages is columns.starts is columns.spans is None
    assert columns.sections is None and columns.trainable is None
    assert columns.owners is None and columns.files is None
    assert len(columns) == 2
    assert columns.locate(1).shape == (3, 0)


def test_what_a_file_says_is_kept() -> None:
    builder = ColumnsBuilder()
    builder.add(("a",), ref_of((2,)), section=Section.EMA, trainable=False, owner="w", elements=0)
    builder.add(("b",), ref_of((2,)))
    columns = builder.build()
    assert columns.sections == [Section.EMA, None]
    assert columns.trainable == [False, None]
    assert columns.owners == ["w", None]
    assert columns.elements == [0, 2]


def test_shared_storages_have_starts_and_spans() -> None:
    builder = ColumnsBuilder()
    builder.add(("a",), ref_of((2, 2), (5, 1)), storage=7, start=4)
    builder.add(("own",), ref_of((3,)))
    builder.add(("b",), ref_of((2,)), storage=7)
    columns = builder.build()
    assert columns.storages is not None
    assert columns.storages[0] == columns.storages[2] == 7 and columns.storages[1] < 0
    assert (columns.starts, columns.spans, columns.nbytes) == ([4, 0, 0], [28, 12, 8], [16, 12, 8])


def test_storages_named_once_are_not_shared() -> None:
    builder = ColumnsBuilder()
    builder.add(("a",), ref_of((2,)), storage=0)
    builder.add(("b",), ref_of((2,)), storage=1)
    assert builder.build().storages is None


def test_planned_tensors_are_made_when_asked_for() -> None:
    source = MemorySource(bytes(range(32)))
    builder = ColumnsBuilder()
    builder.add(("a",), ref_of((2,)))
    planned = (source, 4, DTYPES["uint8"], (2, 2), (1, 2), "little")
    builder.add_planned(("b",), planned, (4, 4, 4), 0, 4, Section.MODEL, True)  # type: ignore[arg-type]
    columns = builder.build()
    assert (columns.shapes[1], columns.dtypes[1], columns.nbytes[1]) == ((2, 2), DTYPES["uint8"], 4)
    assert columns.locate(1) == TensorRef(source, 4, DTYPES["uint8"], (2, 2), (1, 2), "little")
    assert columns.locate(1).numpy().tolist() == [[4, 6], [5, 7]]


# --- several parts ---

Part = list[tuple[int | None, int]]
"""Storage (None: its own) and length of each tensor."""

parts_of_tables = st.lists(
    st.lists(st.tuples(st.none() | st.integers(0, 3), st.integers(0, 5)), max_size=5), max_size=4
)


def columns_of(part: Part, fill: int) -> Columns:
    builder = ColumnsBuilder()
    for row, (storage, length) in enumerate(part):
        builder.add((f"t{row}",), ref_of((length,), fill=fill), storage=storage)
    return builder.build()


@given(parts_of_tables)
def test_rows_of_joined_parts(parts: list[Part]) -> None:
    tables = [columns_of(part, fill) for fill, part in enumerate(parts)]
    whole = joined(tables, [1] * len(parts))
    assert len(whole) == sum(map(len, parts))
    assert whole.names == [f"t{row}" for part in parts for row in range(len(part))]
    assert whole.files == [index for index, part in enumerate(parts) for _ in part]
    for row, index in enumerate(whole.files):
        source = whole.locate(row).source
        assert source is not None and source.name == str(index)
        assert whole.locate(row).shape == whole.shapes[row]


@given(parts_of_tables)
def test_storages_of_joined_parts_stay_apart(parts: list[Part]) -> None:
    tables = [columns_of(part, fill) for fill, part in enumerate(parts)]
    nested = joined([joined(tables[:2], [1] * len(tables[:2])), *tables[2:]], [2] + [1] * len(tables[2:]))
    for whole in (joined(tables, [1] * len(parts)), nested):
        separate = [ParameterTable(table) for table in tables]
        assert ParameterTable(whole).totals().nbytes == sum(table.totals().nbytes for table in separate)
        shared = [flag for table in separate for flag in table.shared]
        assert ParameterTable(whole).shared == shared


def test_files_go_on_from_part_to_part() -> None:
    pair = joined([columns_of([(None, 1)], 0), columns_of([(None, 1)], 1)], [1, 1])
    whole = joined([pair, columns_of([(None, 1)], 2)], [2, 1])
    assert whole.files == [0, 1, 2]


def test_optional_columns_of_joined_parts() -> None:
    plain = columns_of([(None, 1)], 0)
    builder = ColumnsBuilder()
    builder.add(("x", "y"), ref_of((2,)), section=Section.BUFFER, trainable=True, owner="w")
    told = builder.build()
    plain.paths = None
    told.quantization = {"bits": 4}
    whole = joined([plain, told], [1, 1])
    assert whole.paths == [("t0",), ("x", "y")]
    assert whole.sections == [None, Section.BUFFER]
    assert whole.trainable == [None, True] and whole.owners == [None, "w"]
    assert whole.quantization == {"bits": 4}
    assert joined([plain, plain], [1, 1]).paths is None


def test_nothing_joined() -> None:
    assert len(joined([], [])) == 0 and ParameterTable(joined([], [])).totals().nbytes == 0
