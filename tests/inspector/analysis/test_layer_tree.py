"""Names become a module tree; identical neighbours fold; sums are those of the table."""

from __future__ import annotations

from builders.made_up import Row, table_of, transformer
from hypothesis import given
from hypothesis import strategies as st
from paraminspect.inspector.analysis.layer_tree import LayerRow, layer_rows
from paraminspect.readers import Section


def tree(rows: list[Row], depth: int | None = None, limit: int | None = None) -> list[LayerRow]:
    return layer_rows(table_of(rows), depth=depth, limit=limit)


def labels(rows: list[Row], depth: int | None = None, limit: int | None = None) -> list[tuple[int, str, int]]:
    return [(row["depth"], row["label"], row["repeats"]) for row in tree(rows, depth, limit)]


def blocks(prefix: str, *shapes: tuple[int, ...]) -> list[Row]:
    return [Row(f"{prefix}.{number}.weight", shape) for number, shape in enumerate(shapes)]


def test_a_transformer_folds_its_blocks() -> None:
    assert labels(transformer(blocks=12), depth=3) == [
        (1, "model", 1),
        (2, "embed_tokens.weight", 1),
        (2, "layers.0-11", 12),
        (3, "self_attn", 1),
        (3, "mlp", 1),
        (3, "input_layernorm.weight", 1),
        (3, "rotary_emb.inv_freq", 1),
        (2, "norm.weight", 1),
        (1, "lm_head.weight", 1),
    ]


def test_sums_of_a_folded_block_are_over_all_repetitions() -> None:
    rows = {row["name"]: row for row in tree(transformer(blocks=12, width=8))}
    folded = rows["model.layers.0-11"]
    assert folded["totals"]["parameters"] == 12 * (4 * 64 + 2 * 256 + 8 + 4)
    assert folded["totals"]["nbytes"] == 12 * (2 * (4 * 64 + 2 * 256) + 4 * 12)
    assert folded["indices"] == [[0, 11]]
    query = rows["model.layers.0-11.self_attn.q_proj.weight"]
    assert (query["shape"], query["totals"]["tensors"]) == ([8, 8], 12)


def test_blocks_that_differ_split_into_runs() -> None:
    assert labels(blocks("layers", (2,), (2,), (2,), (3,))) == [
        (1, "layers.0-2.weight", 3),
        (1, "layers.3.weight", 1),
    ]


def test_a_gap_in_the_numbers_ends_a_run() -> None:
    rows = [Row(f"layers.{number}.weight", (2,)) for number in (0, 1, 5)]
    assert labels(rows) == [(1, "layers.0-1.weight", 2), (1, "layers.5.weight", 1)]


def test_dtype_and_section_and_names_keep_blocks_apart() -> None:
    different = [
        Row("a.0.weight", (2,)),
        Row("a.1.weight", (2,), "float16"),
        Row("a.2.weight", (2,), "float16", section=Section.BUFFER),
        Row("a.3.bias", (2,), "float16"),
    ]
    assert [repeats for _, _, repeats in labels(different)[1:]] == [1, 1, 1, 1]


def test_many_runs_are_put_together_by_structure() -> None:
    shapes: list[tuple[int, ...]] = [(2,), (3,)] * 10
    assert labels(blocks("layers", *shapes)) == [
        (1, "layers.0,2,4,…,18.weight", 10),
        (1, "layers.1,3,5,…,19.weight", 10),
    ]
    first = tree(blocks("layers", *shapes))[0]
    assert first["indices"] == [[number, number] for number in range(0, 20, 2)]


def test_a_module_of_many_different_blocks_keeps_its_own_line() -> None:
    rows = labels(blocks("layers", (1,), (2,), (3,), (4,)))
    assert rows[0] == (1, "layers", 1)
    assert rows[1:] == [(2, f"{number}.weight", 1) for number in range(4)]


def test_experts_fold_inside_folded_layers() -> None:
    rows = [
        Row(f"layers.{layer}.experts.{expert}.{part}", (2, 2))
        for layer in range(4)
        for expert in range(8)
        for part in ("up", "down")
    ]
    assert labels(rows) == [(1, "layers.0-3", 4), (2, "experts.0-7", 8), (3, "up", 1), (3, "down", 1)]
    assert tree(rows)[1]["totals"]["tensors"] == 64


def test_numbers_sort_as_numbers_and_sorted_names_naturally() -> None:
    rows = [Row(f"layer{number}.w", (number,)) for number in (1, 10, 2)]
    assert [label for _, label, _ in labels(rows)] == ["layer1.w", "layer2.w", "layer10.w"]


def test_an_order_that_is_not_alphabetical_is_kept() -> None:
    rows = [Row(name, (2,)) for name in ("conv.weight", "bn.weight", "fc.weight")]
    assert [label for _, label, _ in labels(rows)] == ["conv.weight", "bn.weight", "fc.weight"]


def test_leading_zeros_are_not_block_numbers() -> None:
    rows = [Row("a.00", (2,)), Row("a.01", (2,))]
    assert [label for _, label, _ in labels(rows)] == ["a", "00", "01"]


def test_a_tensor_and_a_module_of_one_name_stay_apart() -> None:
    rows = tree([Row("a", (2,)), Row("a.b", (3,)), Row("a.c", (3,))], depth=1)
    assert [(row["label"], row["kind"], row["totals"]["elements"]) for row in rows] == [
        ("a", "tensor", 2),
        ("a", "module", 6),
    ]


def test_depth_hides_and_says_how_much() -> None:
    rows = tree(transformer(blocks=2), depth=1)
    assert [(row["label"], row["hidden"]) for row in rows] == [("model", 18), ("lm_head.weight", 0)]
    assert tree(transformer(), depth=0) == []


def test_siblings_beyond_the_limit_become_one_line_that_keeps_the_sum() -> None:
    rows = [Row(f"part{chr(97 + number)}", (number + 1,)) for number in range(10)]
    shown = tree(rows, limit=4)
    assert [row["label"] for row in shown] == ["parta", "partb", "partc", "7 more"]
    assert sum(row["totals"]["elements"] for row in shown) == 55
    assert (shown[-1]["kind"], shown[-1]["hidden"]) == ("rest", 7)


def test_what_is_not_of_the_model_is_opened_only_on_request() -> None:
    rows = [
        Row("model.a.w", (2,)),
        Row("model.b.w", (2,)),
        Row("optimizer.state.x", (2,), section=Section.OPTIMIZER),
        Row("optimizer.state.y", (2,), section=Section.OPTIMIZER),
    ]
    assert [row["label"] for row in tree(rows, depth=9)] == ["model", "a.w", "b.w", "optimizer.state"]
    assert len(tree(rows)) == 6
    assert len(tree(rows[2:], depth=9)) == 3


def test_tied_weights_count_once_above_and_are_marked() -> None:
    rows = {row["name"]: row for row in tree([Row("m.a", (4,), storage=1), Row("m.b", (4,), storage=1)])}
    assert rows["m"]["totals"]["parameters"] == 4
    assert rows["m"]["totals"]["repeated_nbytes"] == 16
    assert (rows["m.a"]["totals"]["parameters"], rows["m.b"]["shared"]) == (4, 1)


def test_hostile_names() -> None:
    deep = ".".join(["a"] * 50_000)
    names = (deep + ".x", deep + ".y", "", "..", "0" * 99)
    rows = [Row(name, (2,)) for name in names]
    shown = tree(rows)
    assert sum(row["totals"]["elements"] for row in shown if row["depth"] == 1) == 10


def test_depth_counts_what_it_hides_below_folded_blocks() -> None:
    rows = [
        Row(f"layers.{layer}.experts.{expert}.w.{part}", (4, 4))
        for layer in range(10)
        for expert in range(50)
        for part in "abcd"
    ]
    shown = tree(rows, depth=1)
    assert [(row["label"], row["hidden"]) for row in shown] == [("layers.0-9", 2000)]


parts = st.sampled_from(["a", "b", "w", "0", "1", "2", "10", "", "é", "01"])
names = st.lists(st.lists(parts, min_size=1, max_size=5).map(".".join), max_size=30)


@given(names, st.integers(0, 4), st.integers(1, 5))
def test_every_level_that_is_open_sums_to_the_whole(found: list[str], depth: int, limit: int) -> None:
    rows = [Row(name, (number % 3 + 1,)) for number, name in enumerate(found)]
    shown = tree(rows, depth or None, limit)
    whole = sum(row.shape[0] for row in rows)
    assert sum(row["totals"]["elements"] for row in shown if row["depth"] == 1) == (whole if shown else 0)
    for number, row in enumerate(shown):
        children = 0
        for later in shown[number + 1 :]:
            if later["depth"] <= row["depth"]:
                break
            if later["depth"] == row["depth"] + 1:
                children += later["totals"]["elements"]
        assert children in (0, row["totals"]["elements"])
    hidden = sum(row["hidden"] for row in shown)
    listed = sum(row["totals"]["tensors"] for row in shown if row["kind"] == "tensor")
    assert hidden + listed == len(rows)
