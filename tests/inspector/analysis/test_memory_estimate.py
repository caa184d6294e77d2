"""Estimates against sums done by hand."""

from __future__ import annotations

from builders.made_up import Row, checkpoint_of, transformer
from paraminspect.inspector.analysis.memory_estimate import MemoryEstimate, estimate_memory
from paraminspect.readers import Section


def estimate(*rows: Row) -> MemoryEstimate:
    return estimate_memory(checkpoint_of(rows))


def loaded(*rows: Row) -> dict[str, int]:
    return {row["weights_as"]: row["weights_nbytes"] for row in estimate(*rows)["loaded"]}


def test_weights_in_other_types() -> None:
    # 256 parameters in a matrix (two groups of 128) and 10 in a vector.
    assert loaded(Row("w", (16, 16), "bfloat16"), Row("b", (10,))) == {
        "as stored": 512 + 40,
        "float32": 266 * 4,
        "bfloat16": 266 * 2,
        "int8": 256 + 2 * 2 + 10 * 2,
        "4-bit": 128 + 2 * 20 // 8 + 10 * 2,
    }


def test_a_started_group_needs_a_whole_scale() -> None:
    assert loaded(Row("w", (1, 129)))["int8"] == 129 + 2 * 2


def test_buffers_stay_as_stored() -> None:
    rows = estimate(Row("w", (4, 4)), Row("bn.running_mean", (5,)))["loaded"]
    assert {row["buffers_nbytes"] for row in rows} == {20}
    assert all(row["nbytes"] == row["weights_nbytes"] + 20 for row in rows)


def test_training_bytes_a_parameter() -> None:
    recipes = {row["recipe"]: row for row in estimate(Row("w", (10, 10)))["training"]}
    assert {name: row["nbytes"] for name, row in recipes.items()} == {
        "float32, Adam": 1600,
        "mixed precision, Adam": 1600,
        "bfloat16 only, Adam": 800,
    }
    mixed = recipes["mixed precision, Adam"]
    assert (mixed["weights"], mixed["gradients"], mixed["master_weights"], mixed["moments"]) == (
        200,
        200,
        400,
        800,
    )


def test_frozen_parameters_take_no_gradients() -> None:
    found = estimate(Row("w", (10,), trainable=True), Row("f", (90,), trainable=False))
    assert found["frozen_parameters"] == 90
    assert found["training"][0]["nbytes"] == 100 * 4 + 10 * 12


def test_tied_weights_are_held_once() -> None:
    once = estimate(*transformer(tied=True))["loaded"][1]["weights_nbytes"]
    twice = estimate(*transformer())["loaded"][1]["weights_nbytes"]
    assert twice - once == 50 * 8 * 4


def test_complex_parameters_are_two_numbers() -> None:
    assert loaded(Row("w", (4, 4), "complex64"))["float32"] == 16 * 8


def test_optimizer_state_is_no_part_of_the_model() -> None:
    found = estimate(Row("w", (4,)), Row("opt", (400,), section=Section.OPTIMIZER))
    assert found["loaded"][0]["nbytes"] == 16
    assert found["totals"]["nbytes"] == 16 + 1600


def test_without_model_parameters_there_is_no_estimate_rather_than_zero() -> None:
    found = estimate(Row("opt", (400,), section=Section.OPTIMIZER))
    assert (found["loaded"], found["training"]) == ([], [])
