"""The figures of `show`: what is counted, what is kept apart, what is marked as a guess."""

from __future__ import annotations

from builders.made_up import Row, checkpoint_of, transformer
from paraminspect.inspector.analysis.summary import Summary, summarize
from paraminspect.readers import Finding, ParameterTable, Section, Severity
from paraminspect.readers.columns import LogicalCount


def summary_of(*rows: Row, findings: tuple[Finding, ...] = ()) -> Summary:
    return summarize(checkpoint_of(rows, findings=findings))


def test_the_headline_counts_the_model_only() -> None:
    summary = summary_of(
        Row("model.w", (10, 10)),
        Row("model.bn.running_mean", (10,)),
        Row("ema.w", (10, 10), section=Section.EMA),
        Row("optimizer.state.0.exp_avg", (10, 10), section=Section.OPTIMIZER),
        Row("optimizer.state.0.exp_avg_sq", (10, 10), section=Section.OPTIMIZER),
    )
    assert summary["parameters"] == 100
    counts = {row["section"]: row["totals"]["parameters"] for row in summary["sections"]}
    assert counts == {"model": 100, "buffer": 10, "ema": 100, "optimizer": 200}
    assert summary["totals"]["nbytes"] == 4 * 410
    assert summary["sections_inferred"] == 2


def test_tied_weights_count_once_everywhere() -> None:
    summary = summarize(checkpoint_of(transformer(tied=True)))
    apart = summarize(checkpoint_of(transformer()))
    assert apart["parameters"] - summary["parameters"] == 50 * 8
    assert summary["totals"]["repeated_nbytes"] == 50 * 8 * 2
    assert apart["dtypes"][0]["totals"]["nbytes"] - summary["dtypes"][0]["totals"]["nbytes"] == 800
    assert summary["shared"] == [
        {
            "names": ["model.embed_tokens.weight", "lm_head.weight"],
            "kind": "same",
            "nbytes": 800,
            "repeated_nbytes": 800,
        }
    ]


def test_views_of_parts_are_overlapping_not_tied() -> None:
    summary = summary_of(Row("flat", (8,), storage=1), Row("head", (4,), storage=1, start=16))
    assert [(shared["kind"], shared["nbytes"]) for shared in summary["shared"]] == [("overlapping", 32)]


def test_neighbours_in_one_storage_are_not_shared() -> None:
    assert summary_of(Row("a", (4,), storage=1), Row("b", (4,), storage=1, start=16))["shared"] == []


def test_trainable_is_told_where_the_file_tells() -> None:
    flags = summary_of(Row("a", (3,), trainable=True), Row("b", (5,), trainable=False), Row("c", (7,)))[
        "trainable"
    ]
    assert flags == {"trainable": 3, "frozen": 5, "unknown": 7}


def test_packed_weights_give_three_figures_and_the_basis() -> None:
    checkpoint = checkpoint_of([Row("q.qweight", (16, 4), "int32"), Row("norm.weight", (8,))])
    table = ParameterTable(checkpoint.parameters._columns)
    table.__dict__["_logical_counts"] = {0: LogicalCount(512, "8 values of 4 bits in each int32")}
    checkpoint.parameters = table
    summary = summarize(checkpoint)
    assert (summary["parameters"], summary["totals"]["elements"], summary["totals"]["nbytes"]) == (
        520,
        72,
        288,
    )
    assert summary["packed"] == [
        {"basis": "8 values of 4 bits in each int32", "tensors": 1, "parameters": 512, "elements": 64}
    ]


def test_tensors_without_values_are_counted_not_passed_over() -> None:
    summary = summary_of(Row("meta", (4,), has_values=False), Row("empty", (0, 4)), Row("w", (2,)))
    assert summary["without_values"] == 1
    assert (summary["totals"]["nbytes"], summary["totals"]["parameters"]) == (8, 6)


def test_the_largest_are_one_line_where_only_numbers_differ() -> None:
    rows = [Row(f"layers.{number}.up.weight", (8, 8)) for number in range(4)]
    largest = summary_of(*rows, Row("head.weight", (3, 3)))["largest"]
    assert [(row["name"], row["count"], row["nbytes"], row["nbytes_together"]) for row in largest] == [
        ("layers.*.up.weight", 4, 256, 1024),
        ("head.weight", 1, 36, 36),
    ]


def test_an_error_finding_makes_it_incomplete_and_comes_first() -> None:
    findings = (
        Finding("odd", Severity.INFO, "odd"),
        Finding("missing-shard", Severity.ERROR, "a shard is missing"),
        Finding("strange", Severity.WARNING, "strange"),
    )
    summary = summary_of(Row("w", (1,)), findings=findings)
    assert summary["complete"] is False
    assert [finding["severity"] for finding in summary["findings"]] == ["error", "warning", "info"]
    assert summary_of(Row("w", (1,)), findings=findings[::2])["complete"] is True


def test_a_checkpoint_of_nothing() -> None:
    summary = summary_of()
    assert (summary["parameters"], summary["layers"], summary["largest"], summary["dtypes"]) == (
        0,
        [],
        [],
        [],
    )
