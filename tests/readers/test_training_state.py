"""Conventions of training checkpoints."""

from __future__ import annotations

import pytest
from paraminspect.readers.records import Call, DictRecord, Global
from paraminspect.readers.sections import Section
from paraminspect.readers.training_state import (
    is_description,
    is_optimizer_state,
    is_progress,
    section_of_key,
)


def a_dict(*keys: object) -> DictRecord:
    record = DictRecord()
    record.pairs = [(key, None) for key in keys]
    return record


@pytest.mark.parametrize(
    ("key", "section"),
    [
        ("optimizer", Section.OPTIMIZER),
        ("optimizer_state_dict", Section.OPTIMIZER),
        ("optim", Section.OPTIMIZER),
        ("OPT", Section.OPTIMIZER),
        ("ema", Section.EMA),
        ("ema_state_dict", Section.EMA),
        ("model_ema", Section.EMA),
        ("params-ema", Section.EMA),
        ("shadow_params", Section.EMA),
        ("lr_scheduler", Section.OTHER),
        ("grad_scaler", Section.OTHER),
        ("rng_state", Section.OTHER),
        ("random_states", Section.OTHER),
        ("callbacks", Section.OTHER),
        ("model", None),
        ("state_dict", None),
        ("schema", None),
        ("remarks", None),
        ("optimizer.weight", None),
        ("opt" + "x" * 80, None),
        ("", None),
        (7, None),
        (None, None),
        (b"optimizer", None),
    ],
)
def test_section_of_a_key(key: object, section: Section | None) -> None:
    assert section_of_key(key, None) is section


def test_an_optimizer_is_known_by_its_two_entries() -> None:
    assert is_optimizer_state(a_dict("state", "param_groups"))
    assert is_optimizer_state(a_dict("param_groups", "state", "more", 3))
    assert not is_optimizer_state(a_dict("state"))
    assert not is_optimizer_state(a_dict("state", "param_groups", *map(str, range(63))))
    assert not is_optimizer_state(None) and not is_optimizer_state("state param_groups")
    ordered = Call("reduce", Global("collections", "OrderedDict"), (), 0)
    ordered.pairs = [("state", None), ("param_groups", None)]
    assert is_optimizer_state(ordered)
    assert section_of_key("anything", a_dict("state", "param_groups")) is Section.OPTIMIZER
    assert section_of_key(5, a_dict("state", "param_groups")) is Section.OPTIMIZER


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("epoch", 3, True),
        ("Epoch", 3, True),
        ("global_step", 10**9, True),
        ("epoch", 2.5, True),
        ("epoch", True, False),
        ("epoch", "3", False),
        ("epoch", None, False),
        ("loss", 0.5, False),
        (3, 3, False),
    ],
)
def test_progress(key: object, value: object, expected: bool) -> None:
    assert is_progress(key, value) is expected


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("pytorch-lightning_version", "2.0", True),
        ("arch", "resnet50", True),
        ("git.commit", "abc", True),
        ("arch", 50, False),
        ("activation", "gelu", False),
        ("conversion", "x", False),
    ],
)
def test_description(key: str, value: object, expected: bool) -> None:
    assert is_description(key, value) is expected
