"""The account of all pickles that were read for one file."""

from __future__ import annotations

import struct

import pytest
from builders.pickle_builder import SYSTEM_CALL, called, named
from paraminspect.readers.errors import Malformed, ParamInspectError
from paraminspect.readers.findings import Finding
from paraminspect.readers.limits import Deadline, Limits
from paraminspect.readers.pickle_account import accounting, report_pickles
from paraminspect.readers.pickle_machine import PickleBudget, read_pickle
from paraminspect.readers.source import MemorySource, SpanSource

EVIL = SYSTEM_CALL + b"."


def budget() -> PickleBudget:
    return PickleBudget(Limits(), Deadline(0))


def loads(inner: bytes) -> bytes:
    return called("pickle", "loads", b"B" + struct.pack("<I", len(inner)) + inner)


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def test_every_stream_is_in_it_once() -> None:
    shared = budget()
    read_pickle(MemorySource(b"N."), 0, shared, label="first")
    read_pickle(MemorySource(called("my", "f") + b"0" + called("my", "f") + b"."), 0, shared, label="second")
    read_pickle(MemorySource(named("my", "f") + b"."), 0, shared, label="third")
    imports, findings = report_pickles(shared, "file")
    assert [(one.name, one.called, one.stream) for one in imports] == [
        ("f", True, "second"),
        ("f", False, "third"),
    ]
    assert codes(findings) == ["pickle-imports"]


def test_streams_of_one_label_tell_a_name_once() -> None:
    shared = budget()
    for raw in (named("my", "f") + b".", called("my", "f") + b"."):
        read_pickle(MemorySource(raw), 0, shared, label="table")
    imports, _ = report_pickles(shared, "file")
    assert [(one.name, one.called) for one in imports] == [("f", True)]


def test_streams_that_failed_are_in_it() -> None:
    shared = budget()
    with pytest.raises(Malformed):
        read_pickle(MemorySource(SYSTEM_CALL + b"\xff"), 0, shared)
    imports, findings = report_pickles(shared, "file")
    assert [one.module for one in imports] == ["posix"]
    assert codes(findings) == ["pickle-runs-code"]


def test_streams_inside_others_follow_them() -> None:
    shared = budget()
    raw = b"(" + loads(called("inner", "f") + b"0" + loads(EVIL) + b".") + called("last", "f") + b"l."
    read_pickle(MemorySource(raw), 0, shared, label="data.pkl")
    imports, findings = report_pickles(shared, "file")
    assert [one.module for one in imports] == ["pickle", "last", "inner", "pickle", "posix"]
    assert [one.stream.count("inside it at byte") for one in imports] == [0, 0, 1, 1, 2]
    assert all(one.stream.startswith("data.pkl") for one in imports)
    assert codes(findings) == ["pickle-runs-code", "pickle-imports"]


def test_a_stream_that_starts_again_is_in_it_once() -> None:
    from builders.pickle_builder import many_tensors

    writer = many_tensors(60)
    writer.add("again", b"j" + (writer.next_index - 3).to_bytes(4, "little"))
    shared = budget()
    read_pickle(MemorySource(writer.finish()), 0, shared)
    assert len(shared.streams) == 1


def test_unread_pickles_are_told_with_their_place() -> None:
    shared = budget()
    raw = b"bytes before" + b"(" + loads(b"\xff" * 70_000) + loads(b"PK\x03\x04") + b"l."
    read_pickle(SpanSource(MemorySource(raw), 12, len(raw) - 12), 0, shared)
    _, findings = report_pickles(shared, "file")
    unread = [finding for finding in findings if finding.code == "nested-pickle-unread"]
    assert [finding.offset for finding in unread] == [raw.index(b"\xff" * 70_000), 0]
    assert "zip archive" in unread[1].message


def test_many_unread_pickles_are_counted() -> None:
    shared = budget()
    read_pickle(MemorySource(b"(" + loads(b"\xff") * 50 + b"l."), 0, shared)
    _, findings = report_pickles(shared, "file")
    unread = [finding.message for finding in findings if finding.code == "nested-pickle-unread"]
    assert len(unread) == 6
    assert unread[-1].startswith("45 more")


def test_what_a_stream_noticed_is_told() -> None:
    shared = budget()
    read_pickle(MemorySource(b"NN."), 0, shared)
    assert codes(report_pickles(shared, "file")[1]) == ["pickle-leftovers"]


def test_a_refusal_tells_what_came_before() -> None:
    shared = budget()
    with pytest.raises(ParamInspectError) as caught, accounting(shared):
        read_pickle(MemorySource(EVIL), 0, shared)
        raise Malformed("some-code", "the rest is damaged")
    assert caught.value.cause.startswith("the rest is damaged; ")
    assert "posix.system" in caught.value.cause
    with pytest.raises(ParamInspectError) as caught, accounting(budget()):
        raise Malformed("some-code", "the rest is damaged")
    assert caught.value.cause == "the rest is damaged"
