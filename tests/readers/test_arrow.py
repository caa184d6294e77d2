"""The Arrow stream and the DataFrame, read back by other libraries."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from paraminspect.readers.columns import Path
from paraminspect.readers.columns_builder import ColumnsBuilder
from paraminspect.readers.dtypes import DTYPES
from paraminspect.readers.errors import MissingExtra
from paraminspect.readers.sections import Section
from paraminspect.readers.source import MemorySource
from paraminspect.readers.table import COLUMN_NAMES, ParameterTable
from paraminspect.readers.tensor import TensorRef

FEW: dict[str, tuple[str, tuple[int, ...]]] = {
    "layers.0.weight": ("float32", (2, 3)),
    "layers.0.bias": ("bfloat16", (2,)),
    "scalar": ("int64", ()),
    "empty": ("float16", (0, 4)),
}


def table_of(tensors: dict[Any, tuple[str, tuple[int, ...]]], **marks: Any) -> ParameterTable:
    builder = ColumnsBuilder()
    for name, (dtype, shape) in tensors.items():
        path: Path = name if isinstance(name, tuple) else (name,)
        ref = TensorRef(None, 0, DTYPES[dtype], shape, problem="listed only")
        if ref.elements < 100:
            ref = TensorRef(MemorySource(bytes(ref.dtype.span(ref.elements))), 0, ref.dtype, shape)
        builder.add(path, ref, **marks)
    return ParameterTable(builder.build())


def rows_of(table: ParameterTable) -> list[dict[str, Any]]:
    """The stream, read by nanoarrow."""
    na = pytest.importorskip("nanoarrow")
    rows: list[dict[str, Any]] = na.ArrayStream(table).read_all().to_pylist()
    return rows


def test_nanoarrow_reads_every_column() -> None:
    table = table_of(FEW, section=Section.OPTIMIZER, trainable=True, owner="layers.0.weight")
    expected = table.to_dict()
    rows = rows_of(table)
    assert [list(row) for row in rows] == [list(COLUMN_NAMES)] * 4
    for name in COLUMN_NAMES:
        assert [row[name] for row in rows] == expected[name]
    assert rows[0] == {
        "name": "layers.0.weight",
        "section": "optimizer",
        "role": "weight",
        "dtype": "float32",
        "shape": [2, 3],
        "elements": 6,
        "parameters": 6,
        "nbytes": 24,
        "storage": 0,
        "shared": False,
        "trainable": True,
        "owner": "layers.0.weight",
        "file": 0,
    }


def test_what_is_not_known_is_null() -> None:
    assert [(row["trainable"], row["owner"]) for row in rows_of(table_of(FEW))] == [(None, None)] * 4


def test_an_empty_table() -> None:
    assert rows_of(table_of({})) == []
    assert rows_of(table_of(FEW).filter("nothing")) == []
    assert table_of({}).to_pandas().shape == (0, len(COLUMN_NAMES))


def test_a_part_of_a_table() -> None:
    table = table_of(FEW).sort("name", descending=True).filter("layers*")
    assert [row["name"] for row in rows_of(table)] == ["layers.0.weight", "layers.0.bias"]


def test_counts_beyond_64_bits_are_null_and_others_stay() -> None:
    table = table_of(
        {"huge": ("uint8", (1 << 62, 4)), "long": ("uint8", (1 << 64,)), "max": ("uint8", ((1 << 63) - 1,))}
    )
    huge, long, largest = rows_of(table)
    assert huge["elements"] is None and huge["shape"] == [1 << 62, 4]
    assert long["elements"] is None and long["shape"] is None
    assert largest["elements"] == (1 << 63) - 1 and largest["shape"] == [(1 << 63) - 1]
    assert table.values_of("elements") == [1 << 64, 1 << 64, (1 << 63) - 1]


NAMES = {
    "caf\u00e9": "caf\u00e9",
    "a\udc80b": "a\\udc80b",
    "\ud800": "\\ud800",
    "nul\0byte": "nul\0byte",
    "": "",
    "line\nbreak": "line\nbreak",
    "\U0001f600": "\U0001f600",
}


def test_names_are_valid_utf_8() -> None:
    table = table_of(dict.fromkeys(NAMES, ("float32", ())), owner="\udcff")
    rows = rows_of(table)
    assert [row["name"] for row in rows] == list(NAMES.values())
    assert {row["owner"] for row in rows} == {"\\udcff"}


def test_polars() -> None:
    polars = pytest.importorskip("polars")
    table = table_of(FEW | {"a\udc80": ("uint8", (1 << 64,))})
    frame = polars.DataFrame(table)
    assert frame.columns == list(COLUMN_NAMES)
    assert frame["name"].to_list() == [*FEW, "a\\udc80"]
    assert frame["nbytes"].to_list() == [24, 4, 8, 0, 0]
    assert frame["elements"].to_list() == [6, 2, 1, 0, None]
    assert frame["shape"].to_list() == [[2, 3], [2], [], [0, 4], None]
    assert frame.filter(polars.col("dtype") == "bfloat16")["name"].to_list() == ["layers.0.bias"]


def test_pyarrow_with_a_requested_schema() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    plain = pyarrow.table(table_of(FEW))
    plain.validate(full=True)
    wanted = plain.schema.set(0, pyarrow.field("name", pyarrow.string()))
    reader = pyarrow.RecordBatchReader.from_stream(table_of(FEW), schema=wanted)
    assert reader.read_all()["name"].to_pylist() == list(FEW)


def test_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = table_of(FEW).to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == list(COLUMN_NAMES)
    assert frame["name"].tolist() == list(FEW)
    assert frame["nbytes"].tolist() == [24, 4, 8, 0] and frame["nbytes"].dtype == "int64"
    assert frame["shape"].tolist() == [[2, 3], [2], [], [0, 4]]
    assert frame["shared"].dtype == bool


def test_pandas_keeps_exact_counts_and_takes_any_name() -> None:
    pytest.importorskip("pandas")
    frame = table_of(dict.fromkeys(NAMES, ("uint8", (1 << 64, 3)))).to_pandas()
    assert frame["name"].tolist() == list(NAMES.values())
    assert frame["elements"].tolist() == [3 << 64] * len(NAMES)


@pytest.mark.parametrize(
    ("module", "code", "advice"),
    [
        ("nanoarrow", "missing-nanoarrow", "pip install 'paraminspect[arrow]'"),
        ("pandas", "missing-pandas", "pip install pandas"),
    ],
)
def test_a_missing_library(module: str, code: str, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    table = table_of(FEW)
    with pytest.raises(MissingExtra) as caught:
        table.to_pandas() if module == "pandas" else table.__arrow_c_stream__()
    assert (caught.value.code, caught.value.advice) == (code, advice)
