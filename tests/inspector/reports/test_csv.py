"""CSV that a reader gets back exactly, and that no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
import io

from builders import report_samples as samples
from builders.made_up import Row, checkpoint_of
from paraminspect.inspector.analysis.listing import list_tensors
from paraminspect.inspector.reports.blocks import Document, Look
from paraminspect.inspector.reports.csv import write
from paraminspect.inspector.reports.view_ls import report


def rows_of(document: Document) -> list[dict[str, str]]:
    stream = io.StringIO()
    write(document, stream, Look())
    return list(csv.DictReader(io.StringIO(stream.getvalue())))


def listed(*rows: Row) -> list[dict[str, str]]:
    checkpoint = checkpoint_of(rows)
    columns = ["name", "shape", "nbytes", "trainable", "owner"]
    return rows_of(
        Document("x", [report(list_tensors(checkpoint, checkpoint.parameters, columns=columns))], [])
    )


def test_figures_are_exact_and_unknown_is_empty() -> None:
    (row,) = listed(Row('a,b"c', (1234, 1001), trainable=True))
    assert row == {
        "model": "made/up.bin",
        "name": 'a,b"c',
        "shape": "1234x1001",
        "nbytes": "4940936",
        "trainable": "true",
        "owner": "",
    }
    assert [row["trainable"] for row in listed(Row("a", ()), Row("b", (), trainable=False))] == ["", "false"]
    assert listed(Row("a", ()))[0]["shape"] == "scalar"


def test_formulas_are_defused() -> None:
    names = [row["name"] for row in listed(*(Row(f"{start}1", (1,)) for start in "=+-@"))]
    assert names == ["'=1", "'+1", "'-1", "'@1"]


def test_several_models_share_one_header() -> None:
    rows = rows_of(samples.document("memory", "decoder", "training"))
    assert {row["model"] for row in rows} == {"models/decoder.bin", "runs/last.ckpt"}
    assert sum(row["estimate"] == "training" for row in rows) == 6


def test_a_long_name_is_whole() -> None:
    (row,) = listed(Row("n" * 100_000, (1,)))
    assert len(row["name"]) == 100_000
