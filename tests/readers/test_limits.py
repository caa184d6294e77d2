"""Budgets."""

from __future__ import annotations

import time

import pytest
from paraminspect.readers.errors import LimitExceeded
from paraminspect.readers.limits import DEFAULT_LIMITS, Deadline, Limits


def test_some_budgets_replaced() -> None:
    changed = DEFAULT_LIMITS.changed(shards=3, seconds=1.5)
    assert (changed.shards, changed.seconds) == (3, 1.5)
    assert changed.header_bytes == DEFAULT_LIMITS.header_bytes == 100_000_000
    assert DEFAULT_LIMITS.shards == 10_000


def test_every_budget_can_be_named() -> None:
    assert set(Limits.names()) >= {"header_bytes", "index_bytes", "containers", "inflate_ratio", "seconds"}
    for name in Limits.names():
        assert getattr(DEFAULT_LIMITS.changed(**{name: 7}), name) == 7


def test_an_unknown_budget() -> None:
    with pytest.raises((TypeError, ValueError)):
        DEFAULT_LIMITS.changed(patience=1)


def test_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline(0)
    monkeypatch.setattr(time, "monotonic", lambda: 1e18)
    deadline.check()


def test_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    deadline = Deadline(2.5, "model.bin")
    now = 102.5
    deadline.check()
    now = 102.6
    with pytest.raises(LimitExceeded) as caught:
        deadline.check()
    assert caught.value.code == "limit-seconds"
    assert "2.5 s" in caught.value.cause and caught.value.path == "model.bin"
