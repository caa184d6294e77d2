"""Optimizer state joined to its parameters, or to none where that cannot be told."""

from __future__ import annotations

from paraminspect.readers.columns import Columns, Path
from paraminspect.readers.columns_builder import ColumnsBuilder
from paraminspect.readers.dtypes import DTYPES
from paraminspect.readers.moments import OptimizerGroups, assign_owners
from paraminspect.readers.tensor import TensorRef

Row = tuple[Path, tuple[int, ...]]


def columns_of(*rows: Row) -> Columns:
    builder = ColumnsBuilder()
    for path, shape in rows:
        builder.add(path, TensorRef(None, 0, DTYPES["float32"], shape))
    return builder.build()


MODEL: list[Row] = [
    (("model", "a.weight"), (4, 3)),
    (("model", "a.bias"), (4,)),
    (("model", "b.weight"), (2, 4)),
    (("model", "b.bias"), (2,)),
]


def moments(shapes: list[tuple[int, ...]], leaf: str = "exp_avg") -> list[Row]:
    return [(("optimizer", "state", index, leaf), shape) for index, shape in enumerate(shapes)]


def groups(*ids: tuple[int | str, ...], names: dict[int | str, str] | None = None) -> OptimizerGroups:
    return OptimizerGroups(("optimizer",), ids, names or {})


def owners(rows: list[Row], optimizer: OptimizerGroups) -> list[str | None] | None:
    found = assign_owners(columns_of(*rows), [optimizer])
    return None if found is None else found[len(MODEL) :]


NAMES = [".".join(map(str, path)) for path, _ in MODEL]


def test_the_order_of_the_model_is_tried() -> None:
    rows = MODEL + moments([(4, 3), (4,), (2, 4), (2,)])
    assert owners(rows, groups((0, 1, 2, 3))) == NAMES


def test_matrices_before_vectors_in_two_groups() -> None:
    rows = MODEL + moments([(4, 3), (2, 4), (4,), (2,)])
    assert owners(rows, groups((0, 1), (2, 3))) == [NAMES[0], NAMES[2], NAMES[1], NAMES[3]]


def test_one_shape_that_does_not_fit_means_no_owner_at_all() -> None:
    rows = MODEL + moments([(4, 3), (4,), (2, 4), (3,)])
    assert owners(rows, groups((0, 1, 2, 3))) is None


def test_frozen_parameters_are_passed_over() -> None:
    rows = MODEL + moments([(2, 4), (2,)])
    assert owners(rows, groups((0, 1))) == [NAMES[2], NAMES[3]]


def test_several_ways_to_match_mean_no_owner() -> None:
    blocks: list[Row] = [(("model", f"block{index}"), (3, 3)) for index in range(4)]
    rows = [*blocks, *moments([(3, 3), (3, 3)])]
    assert assign_owners(columns_of(*rows), [groups((0, 1))]) is None


def test_an_unknown_buffer_between_parameters_does_no_harm() -> None:
    rows = [*MODEL[:2], (("model", "scale"), (7,)), *MODEL[2:], *moments([(4, 3), (4,), (2, 4), (2,)])]
    found = assign_owners(columns_of(*rows), [groups((0, 1, 2, 3))])
    assert found is not None
    assert found[-4:] == NAMES


def test_orders_that_both_fit_tell_only_what_they_agree_on() -> None:
    square: list[Row] = [
        (("model", "v"), (3,)),
        (("model", "m"), (3, 3)),
        (("model", "n"), (3, 3)),
        (("model", "w"), (3,)),
    ]
    # Only the second parameter has state, and the two plausible orders disagree about it.
    rows = [*square, (("optimizer", "state", 1, "exp_avg"), (3, 3))]
    assert assign_owners(columns_of(*rows), [groups((0, 1), (2, 3))]) is None


def test_factored_moments_do_not_decide() -> None:
    rows = MODEL + moments([(4,), (1,), (2,), (1,)], leaf="exp_avg_sq_row")
    assert owners(rows, groups((0, 1, 2, 3))) is None


def test_names_in_the_file_are_believed() -> None:
    rows = MODEL + moments([(2,), (4, 3)])
    assert owners(rows, groups((0, 1), names={0: "b.bias", 1: "a.weight"})) == [NAMES[3], NAMES[0]]


def test_state_keyed_by_name() -> None:
    rows: list[Row] = [*MODEL, (("optimizer", "state", "b.weight", "exp_avg"), (2, 4))]
    assert owners(rows, groups()) == [NAMES[2]]


def test_buffers_and_tied_weights_are_not_handed_to_optimizers() -> None:
    builder = ColumnsBuilder()
    parameters: list[Row] = [
        (("m", "w"), (3, 2)),
        (("m", "head"), (3, 2)),
        (("m", "running_mean"), (3,)),
        (("m", "b"), (3,)),
    ]
    for index, (path, shape) in enumerate(parameters):
        builder.add(path, TensorRef(None, 0, DTYPES["float32"], shape), storage=0 if index < 2 else index)
    for path, shape in moments([(3, 2), (3,)]):
        builder.add(path, TensorRef(None, 0, DTYPES["float32"], shape))
    found = assign_owners(builder.build(), [groups((0, 1))])
    assert found is not None
    assert found[-2:] == ["m.w", "m.b"]
