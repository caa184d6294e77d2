"""Rows of `ls` as plain data."""

from __future__ import annotations

from builders.made_up import Row, checkpoint_of, transformer
from paraminspect.inspector.analysis.listing import GROUP_COLUMNS, LISTED_COLUMNS, list_groups, list_tensors

ROWS = [Row("b.10", (2, 3)), Row("b.9", (4,), "float16"), Row("a", (), storage=1), Row("c", (), storage=1)]


def test_every_column_has_plain_values() -> None:
    checkpoint = checkpoint_of(ROWS)
    listing = list_tensors(checkpoint, checkpoint.parameters, columns=LISTED_COLUMNS)
    assert dict(zip(listing["columns"], listing["rows"][0], strict=True)) == {
        "name": "b.10",
        "section": "model",
        "role": "weight",
        "dtype": "float32",
        "shape": [2, 3],
        "elements": 6,
        "parameters": 6,
        "nbytes": 24,
        "storage": -1,
        "shared": False,
        "trainable": None,
        "owner": None,
        "file": 0,
        "section_inferred": True,
        "parameters_basis": None,
    }


def test_sorting_is_natural_and_limits_are_told() -> None:
    checkpoint = checkpoint_of(ROWS)
    listing = list_tensors(checkpoint, checkpoint.parameters, columns=["name"], sort="name", limit=3)
    assert listing["rows"] == [["a"], ["b.9"], ["b.10"]]
    assert listing["omitted_rows"] == 1
    assert listing["matched"]["tensors"] == 4


def test_totals_are_over_what_matched_listed_or_not() -> None:
    checkpoint = checkpoint_of(ROWS)
    matched = checkpoint.parameters.filter("b.*")
    listing = list_tensors(checkpoint, matched, limit=0)
    assert (listing["rows"], listing["matched"]["nbytes"], listing["all"]["nbytes"]) == ([], 32, 36)


def test_groups_by_prefix_and_by_column() -> None:
    checkpoint = checkpoint_of(transformer(blocks=2))
    by_prefix = list_groups(checkpoint, checkpoint.parameters, by=1, sort="nbytes")
    assert [row[0] for row in by_prefix["rows"]] == ["lm_head", "model"]
    by_dtype = list_groups(checkpoint, checkpoint.parameters, by="dtype", sort="tensors", descending=True)
    assert [(row[0], row[1]) for row in by_dtype["rows"]] == [("bfloat16", 14), ("float32", 5)]
    assert by_dtype["columns"] == list(GROUP_COLUMNS)


def test_group_keys_sort_naturally() -> None:
    checkpoint = checkpoint_of([Row(f"layer{number}.w", (1,)) for number in (10, 9, 1)])
    rows = list_groups(checkpoint, checkpoint.parameters, by=1, sort="key", limit=2)
    assert [row[0] for row in rows["rows"]] == ["layer1", "layer9"]
    assert rows["omitted_rows"] == 1
