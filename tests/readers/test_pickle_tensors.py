"""Tensor records recognised whole give what reading them opcode by opcode gives, for any bytes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

import pytest
from builders.pickle_builder import (
    SYSTEM_CALL,
    StateDictWriter,
    called,
    integer,
    interpret,
    many_tensors,
    named,
    record_text,
    text,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from paraminspect.readers.errors import ParamInspectError
from paraminspect.readers.limits import Deadline, Limits
from paraminspect.readers.pickle_machine import PickleBudget, PickleStream, read_pickle
from paraminspect.readers.pickle_stream import Import, PickleEvent
from paraminspect.readers.records import DictRecord, Global, TensorCall
from paraminspect.readers.source import MemorySource

FILLING = 40
"""Tensors after which the memo's indices need four bytes, so that whole records begin to be recognised."""


class Outcome(NamedTuple):
    """Everything a caller can see of one reading."""

    records: str
    events: list[tuple[str, str, int, int]]
    findings: list[tuple[str, int | None]]
    imports: list[Import]
    containers: int
    bytes_read: int
    error: tuple[str, str, int | None] | None


def event_facts(event: PickleEvent) -> tuple[str, str, int, int]:
    target = event.target
    name = target.qualified if isinstance(target, Global) else type(target).__name__
    return event.kind, name, event.offset, event.count


def outcome(raw: bytes, *, collapse: bool, limits: Limits | None = None) -> Outcome:
    budget = PickleBudget(limits or Limits(), Deadline(0))
    error = None
    try:
        stream = read_pickle(MemorySource(raw), 0, budget, collapse_tensors=collapse)
    except ParamInspectError as caught:
        error = type(caught).__name__, caught.code, caught.offset
        assert isinstance(caught.partial, PickleStream)
        stream = caught.partial
    return Outcome(
        record_text(stream),
        [event_facts(event) for event in stream.events],
        [(finding.code, finding.offset) for finding in stream.findings],
        list(stream.imports),
        # A refused stream is charged where it was refused.
        budget.containers if error is None else 0,
        budget.bytes_read if error is None else 0,
        error,
    )


def collapsed_count(raw: bytes) -> int:
    root = interpret(raw).root
    assert isinstance(root, DictRecord)
    return sum(isinstance(value, TensorCall) for _, value in root.pairs)


def assert_same(raw: bytes) -> None:
    assert outcome(raw, collapse=True) == outcome(raw, collapse=False)


def test_most_tensors_of_a_state_dict_are_recognised_whole() -> None:
    raw = many_tensors(300).finish()
    assert collapsed_count(raw) > 250
    assert_same(raw)


# --- state dicts of any kind ---

dimensions = st.integers(0, 300) | st.sampled_from([0, 1, 255, 256, 65_535, 65_536, 2**31 - 1, -1, -(2**31)])
shapes = st.lists(dimensions, max_size=6).map(tuple)
tensors = st.fixed_dictionaries(
    {
        "shape": shapes,
        "stride": shapes,
        "numel": dimensions,
        "start": dimensions,
        "storage": st.sampled_from(["FloatStorage", "HalfStorage", "EvilStorage"]),
        "location": st.sampled_from(["cpu", "cuda:0", ""]),
        "requires_grad": st.booleans(),
        "key": st.sampled_from(
            [None, "7", "0", "x", "", "12345678901234567890", "123456789012345678901", "٣"]
        ),
    }
)
others = st.sampled_from(
    [
        b"N",
        b"}",
        b"]K\x01a",
        b"K\x07",
        text("other"),
        called("torch._utils", "_rebuild_parameter", b"N"),
        SYSTEM_CALL,
        b"h\x00",
        b"h\x01",
    ]
)
entries = st.lists(tensors | others, min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(entries, st.sampled_from([FILLING, 0, 35, 36, 37]))
def test_any_state_dict_reads_the_same(made: list[dict[str, object] | bytes], filling: int) -> None:
    writer = many_tensors(filling)
    for number, entry in enumerate(made):
        writer.add(f"entry{number}", entry if isinstance(entry, bytes) else writer.tensor(**entry))  # type: ignore[arg-type]
    assert_same(writer.finish())


@pytest.mark.parametrize("count", [64, 65, 100])
def test_many_dimensions(count: int) -> None:
    writer = many_tensors(FILLING)
    for _ in range(3):
        writer.add("deep", writer.tensor((1,) * count, (1,) * count))
    assert_same(writer.finish())


def test_memo_indices_that_cross_a_byte() -> None:
    for shift in range(12):
        writer = StateDictWriter()
        for number in range(shift):
            writer.add(f"shift{number}", b"N")
        for number in range(120):
            writer.add(f"layer{number}")
        assert_same(writer.finish())


# --- references to what a collapsed record stands for ---


def last_record(change: Callable[[StateDictWriter, int], bytes]) -> bytes:
    """A state dict whose last value is made by `change(writer, first memo index of the tensor before)`."""
    writer = many_tensors(FILLING)
    writer.body += text("target") + writer.put()
    first = writer.next_index
    writer.body += writer.tensor()
    return bytes(writer.body) + text("last") + writer.put() + change(writer, first) + b"u."


@pytest.mark.parametrize("within", range(-1, 12))
@pytest.mark.parametrize("get", [b"j", b"g"])
def test_every_part_can_be_referred_to(within: int, get: bytes) -> None:
    def refer(_: StateDictWriter, first: int) -> bytes:
        index = first + within
        return b"j" + index.to_bytes(4, "little") if get == b"j" else b"g%d\n" % index

    assert_same(last_record(refer))


@pytest.mark.parametrize(
    "change",
    [
        b"}b",
        b"K\x01a",
        b"K\x01K\x02s",
        b"(K\x01e",
        b"(K\x01K\x02u",
        b"(K\x01\x90",
        b"(e",
        b"(u",
        b"(\x90",
        b"Nb",
    ],
)
def test_a_tensor_that_is_changed_afterwards(change: bytes) -> None:
    def refer(_: StateDictWriter, first: int) -> bytes:
        # The sixth or seventh entry of the memo is the tensor itself.
        return b"".join(b"j" + (first + place).to_bytes(4, "little") + change for place in (6,))

    assert_same(last_record(refer))


def test_a_part_that_is_changed_afterwards() -> None:
    def refer(_: StateDictWriter, first: int) -> bytes:
        return b"j" + (first + 4).to_bytes(4, "little") + text("k") + b"K\x01s"

    assert_same(last_record(refer))


@pytest.mark.parametrize("opcode", [b"\x94", b"p5\n", b"p400\n", b"q\x05", b"r\x90\x01\0\0"])
def test_memo_entries_made_in_other_ways(opcode: bytes) -> None:
    writer = many_tensors(FILLING)
    writer.add("named", b"N" + opcode)
    for number in range(3):
        writer.add(f"after{number}")
    writer.add("get", b"j" + writer.next_index.to_bytes(4, "little"))
    assert_same(writer.finish())
    writer = many_tensors(FILLING)
    for number in range(3):
        writer.add(f"before{number}")
    writer.add("named", b"N" + opcode)
    writer.add("after")
    assert_same(writer.finish())


def test_records_in_a_frame_are_read_one_by_one() -> None:
    raw = many_tensors(60).finish()
    body = raw[2:]
    framed = b"\x80\x04\x95" + len(body).to_bytes(8, "little") + body
    assert_same(framed)


def test_a_trigger_that_was_overwritten() -> None:
    """The memo's entry for `_rebuild_tensor_v2` is replaced by another function of the same shape."""
    writer = many_tensors(FILLING)
    begin = bytes(writer.body).index(b"_rebuild_tensor_v2\nq")
    index = writer.body[begin + 20]
    writer.add("evil", named("posix", "system") + b"q" + bytes([index]))
    writer.add("after")
    raw = writer.finish()
    assert_same(raw)
    assert "posix" in record_text(interpret(raw))


@pytest.mark.parametrize("replaced", ["storage", "FloatStorage", "cpu", "OrderedDict"])
def test_parts_of_the_records_that_were_overwritten(replaced: str) -> None:
    writer = many_tensors(FILLING)
    body = bytes(writer.body)
    found = body.index(replaced.encode(), body.index(b"((X\x07") if replaced == "storage" else 0)
    put = body.index(b"q", found + len(replaced))
    for value in (b"N", text("storage"), SYSTEM_CALL, named("torch", "HalfStorage"), b"K\x05"):
        writer.add("new", value + b"q" + body[put + 1 : put + 2])
        writer.add("after")
        assert_same(writer.finish())


# --- changed bytes ---


def mutated(raw: bytes, chance: random.Random, begin: int) -> bytes:
    place = chance.randrange(begin, len(raw))
    kind = chance.randrange(4)
    if kind == 0:
        return raw[:place] + bytes([chance.randrange(256)]) + raw[place + 1 :]
    if kind == 1:
        return raw[:place] + bytes([chance.choice(b"()Q\x85\x86\x87Rthjrq\x88\x89KMJ")]) + raw[place + 1 :]
    length = chance.randrange(1, 12)
    if kind == 2:
        return raw[:place] + raw[place + length :]
    return raw[:place] + raw[max(0, place - length) : place] + raw[place:]


@pytest.mark.parametrize("seed", range(4))
def test_changed_bytes_read_the_same(seed: int) -> None:
    chance = random.Random(seed)
    writer = many_tensors(FILLING)
    begin = len(writer.body)
    shapes = [((2, 3), (3, 1)), ((), ()), ((7,), (1,)), ((300, 2, 2, 70_000), (1, 1, 1, 1))]
    for number in range(4):
        shape, stride = shapes[number]
        writer.add(f"w{number}", writer.tensor(shape, stride, numel=70_000 * number))
    raw = writer.finish()
    assert collapsed_count(raw) >= 4
    for _ in range(250):
        candidate = mutated(raw, chance, begin)
        if chance.random() < 0.3:
            candidate = mutated(candidate, chance, begin)
        assert_same(candidate)


def test_every_truncation_reads_the_same() -> None:
    writer = many_tensors(FILLING)
    begin = len(writer.body)
    writer.add("last")
    raw = writer.finish()
    for length in range(begin, len(raw)):
        assert_same(raw[:length])


def test_the_container_budget_counts_what_collapsed_records_stand_for() -> None:
    raw = many_tensors(2_000).finish()
    needed = outcome(raw, collapse=False).containers
    for collapse in (True, False):
        assert outcome(raw, collapse=collapse, limits=Limits(containers=needed)).error is None
        error = outcome(raw, collapse=collapse, limits=Limits(containers=needed - 1)).error
        assert error is not None
        assert error[1] == "limit-containers"


def test_records_that_cross_the_window() -> None:
    writer = StateDictWriter()
    for number in range(3_000):
        writer.add(
            f"layer{number}." + "x" * (number % 97), writer.tensor((number, 2), (2, 1), numel=2 * number)
        )
    raw = writer.finish()
    assert len(raw) > 256 << 10
    assert collapsed_count(raw) > 2_800
    assert_same(raw)


def test_integers_as_opcodes() -> None:
    for value in (0, 255, 256, 65_535, 65_536, -1, -(2**31), 2**31 - 1):
        writer = many_tensors(FILLING)
        writer.add("w", writer.tensor((value,), (value,), numel=value, start=value))
        raw = writer.finish()
        assert integer(value) in raw
        root = interpret(raw).root
        assert isinstance(root, DictRecord)
        call = root.pairs[-1][1]
        assert isinstance(call, TensorCall)
        assert (call.size, call.stride, call.numel, call.storage_offset) == ((value,), (value,), value, value)
