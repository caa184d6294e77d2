"""Where the values of a training checkpoint that are no tensors go."""

from __future__ import annotations

import pytest
from paraminspect.readers.plain import PlainBudget
from paraminspect.readers.records import Call, DictRecord, Global, ListRecord
from paraminspect.readers.sections import Section
from paraminspect.readers.settings import Settings


def test_progress_and_descriptions_lie_at_the_root_only() -> None:
    settings = Settings()
    settings.keep(3, ("epoch",), None)
    settings.keep("2.0.1", ("pytorch_version",), None)
    settings.keep(7, ("trainer", "epoch"), None)
    settings.keep("1", ("trainer", "version"), None)
    settings.keep(0.1, ("lr",), None)
    settings.finish()
    assert settings.progress == {"epoch": 3}
    assert settings.metadata == {"pytorch_version": "2.0.1"}
    assert settings.hyperparameters == {"trainer": {"epoch": 7, "version": "1"}, "lr": 0.1}


def test_other_state_is_metadata_and_schedules_are_settings() -> None:
    settings = Settings()
    settings.keep(5, ("rng_state", "seed"), Section.OTHER)
    settings.keep(0.9, ("lr_scheduler", "gamma"), Section.OTHER)
    settings.keep(1024, ("GradScaler", "scale"), Section.OTHER)
    assert settings.metadata == {"rng_state": {"seed": 5}}
    assert settings.hyperparameters == {"lr_scheduler": {"gamma": 0.9}, "GradScaler": {"scale": 1024}}


def test_a_value_in_the_way_of_a_dict_stays() -> None:
    settings = Settings()
    settings.keep(1, ("a",), None)
    settings.keep(2, ("a", "b"), None)
    assert settings.hyperparameters == {"a": 1}


def test_parts_that_are_numbers() -> None:
    settings = Settings()
    settings.keep("x", (0, 1), None)
    assert settings.hyperparameters == {"0": {"1": "x"}}


def optimizer_settings(*steps: object) -> Settings:
    settings = Settings()
    settings.keep(0.001, ("optimizer", "lr"), Section.OPTIMIZER)
    for number, step in enumerate(steps):
        settings.keep(step, ("optimizer", "state", number, "step"), Section.OPTIMIZER)
    settings.finish()
    return settings


def test_the_step_of_every_parameter_is_told_once() -> None:
    settings = optimizer_settings(100, 100, 100)
    assert settings.progress == {"optimizer_step": 100}
    assert settings.hyperparameters == {"optimizer": {"lr": 0.001, "state.step": 100}}


def test_steps_that_differ_are_a_range() -> None:
    settings = optimizer_settings(100, 90, 95.5)
    assert settings.progress == {}
    assert settings.hyperparameters["optimizer"] == {"lr": 0.001, "state.step": {"min": 90, "max": 100}}


def test_what_is_no_number_is_no_step() -> None:
    settings = optimizer_settings(float("nan"), "text", None)
    assert settings.progress == {}
    assert settings.hyperparameters == {"optimizer": {"lr": 0.001}}


def test_an_optimizer_that_is_the_whole_file() -> None:
    settings = Settings()
    settings.keep(5, ("state", 0, "step"), Section.OPTIMIZER)
    settings.finish()
    assert settings.hyperparameters == {"optimizer": {"state.step": 5}}


def test_the_step_of_the_file_is_not_replaced() -> None:
    settings = Settings()
    settings.keep(7, ("optimizer_step",), None)
    settings.keep(5, ("optimizer", "state", 0, "step"), Section.OPTIMIZER)
    settings.finish()
    assert settings.progress == {"optimizer_step": 7}


def test_modules() -> None:
    settings = Settings()
    settings.keep_module(("layers", 0), {"class": "Linear"})
    settings.keep_module((), {"class": "Net"})
    assert settings.hyperparameters == {"modules": {"layers.0": {"class": "Linear"}, "": {"class": "Net"}}}


def test_modules_where_a_setting_is_called_so() -> None:
    settings = Settings()
    settings.keep(1, ("modules",), None)
    settings.keep_module(("layers",), {"class": "Linear"})
    assert settings.hyperparameters == {"modules": 1}


def test_records_become_plain_data() -> None:
    device = Call("reduce", Global("torch", "device"), ("cuda", 1), 0)
    record = DictRecord()
    record.pairs = [("device", device)]
    settings = Settings()
    settings.keep(record, ("config",), None)
    assert settings.hyperparameters == {"config": {"device": "cuda:1"}}


def test_one_budget_for_all_values() -> None:
    settings = Settings(_budget=PlainBudget(nodes=10))
    for name in "abc":
        record = ListRecord()
        record.items = list(range(6))
        settings.keep(record, (name,), None)
    shown = settings.hyperparameters
    assert shown["a"] == list(range(6))
    assert shown["b"] == [0, 1, "… 4 more"] and shown["c"] == "…"


@pytest.mark.parametrize("name", ["__class__", "", "a.b"])
def test_any_name_is_only_a_key(name: str) -> None:
    settings = Settings()
    settings.keep(1, (name,), None)
    assert settings.hyperparameters == {name: 1}
