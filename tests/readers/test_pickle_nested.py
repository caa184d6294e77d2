"""Pickles inside pickles: which are read, how far, and what is kept of them."""

from __future__ import annotations

import pickle
import struct

import pytest
from builders.pickle_builder import SYSTEM_CALL, called, interpret, named, text
from builders.torch_builder import legacy_file
from paraminspect.readers.errors import LimitExceeded
from paraminspect.readers.limits import Limits
from paraminspect.readers.pickle_nested import TORCH_PICKLES
from paraminspect.readers.pickle_stream import NESTED_LOADERS, NestedPickle, PickleStream


def loads(inner: bytes, module: str = "pickle", name: str = "loads") -> bytes:
    return called(module, name, b"B" + struct.pack("<I", len(inner)) + inner)


def only(raw: bytes) -> NestedPickle:
    (nested,) = interpret(raw).nested
    return nested


@pytest.mark.parametrize(("module", "name"), sorted(NESTED_LOADERS))
def test_each_loader_is_followed(module: str, name: str) -> None:
    nested = only(loads(SYSTEM_CALL + b".", module, name) + b".")
    assert nested.problem is None
    assert [stream.imports[0].module for stream in nested.streams] == ["posix"]


@pytest.mark.parametrize(
    "raw",
    [
        called("m", "loads", b"C\x02N."),
        called("pickle", "load", b"C\x02N."),
        named("pickle", "loads") + b"C\x02N.\x86",
        b"C\x02N.",
    ],
)
def test_other_bytes_are_not(raw: bytes) -> None:
    stream = interpret(raw + b".")
    assert (stream.nested_calls, stream.nested) == ([], [])


@pytest.mark.parametrize("call", [b"\x85R", b"\x85\x81", b"\x85}\x92"])
def test_every_way_to_call_it(call: bytes) -> None:
    assert len(only(named("pickle", "loads") + b"C\x02N." + call + b".").streams) == 1
    assert len(only(b"(" + named("pickle", "loads") + b"C\x02N.o.").streams) == 1
    assert len(only(b"(C\x02N.ipickle\nloads\n.").streams) == 1


@pytest.mark.parametrize("length", [2, 300, 70_000, 300_000])
def test_payloads_of_any_length(length: int) -> None:
    inner = b"N0" * (length // 2) + named("m", "f") + b"."
    (stream,) = only(loads(inner) + b".").streams
    assert stream.complete
    assert [one.offset for one in stream.imports] == [length]


def test_protocol_2_bytes() -> None:
    inner = pickle.dumps(len)
    raw = called(
        "pickle", "loads", called("_codecs", "encode", text(inner.decode("latin-1")), text("latin1"))
    )
    assert [stream.imports[0].name for stream in only(raw + b".").streams] == ["len"]


def legacy(*, magic: bytes | None = None) -> bytes:
    return legacy_file(named("m", "f") + b".", [], [], magic=magic)


def test_a_legacy_layout_has_five_pickles() -> None:
    nested = only(loads(legacy(), "torch.storage", "_load_from_bytes") + b".")
    assert nested.problem is None
    assert len(nested.streams) == TORCH_PICKLES
    assert [len(stream.imports) for stream in nested.streams] == [0, 0, 0, 1, 0]
    computed = only(loads(legacy(magic=called("m", "g") + b".")) + b".")
    assert [stream.imports[0].name for stream in computed.streams] == ["g"]


def test_a_legacy_layout_that_ends_early() -> None:
    nested = only(loads(legacy()[:-3]) + b".")
    assert nested.problem is not None
    assert len(nested.streams) == TORCH_PICKLES
    assert [stream.complete for stream in nested.streams] == [True] * 4 + [False]


def test_what_was_read_before_a_fault_is_kept() -> None:
    nested = only(loads(SYSTEM_CALL + b"\xff") + b".")
    assert nested.problem is not None
    (stream,) = nested.streams
    assert not stream.complete
    assert [one.module for one in stream.imports] == ["posix"]


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        (b"K\x01", "not stored as bytes"),
        (b"", "not stored as bytes"),
        (b"C\x02PK", "zip archive"),
        (b"C\x00", "STOP"),
    ],
)
def test_what_cannot_be_read(argument: bytes, problem: str) -> None:
    nested = only(called("pickle", "loads", argument) + b".")
    assert nested.problem is not None
    assert problem in nested.problem


def depth_of(stream: PickleStream) -> int:
    depth = 0
    while stream.nested:
        stream = stream.nested[0].streams[0]
        depth += 1
    return depth


def nested_times(count: int) -> bytes:
    raw = b"N."
    for _ in range(count):
        raw = loads(raw) + b"."
    return raw


def test_depth_has_a_limit() -> None:
    for depth in (1, 3, 4):
        assert depth_of(interpret(nested_times(depth))) == depth
    with pytest.raises(LimitExceeded) as caught:
        interpret(nested_times(5))
    assert caught.value.code == "limit-nested-depth"
    # No limit but the one that is set: nothing here calls itself.
    assert (
        depth_of(interpret(nested_times(1_200), limits=Limits(nested_depth=2_000, nested_streams=2_000)))
        == 1_200
    )


def test_their_number_has_a_limit() -> None:
    raw = b"(" + loads(b"N.") * 20 + b"l."
    assert len(interpret(raw, limits=Limits(nested_streams=20)).nested) == 20
    with pytest.raises(LimitExceeded) as caught:
        interpret(raw, limits=Limits(nested_streams=19))
    assert caught.value.code == "limit-nested-streams"


def test_they_share_the_budget_of_the_file() -> None:
    raw = loads(b"(" + b"]" * 2_000 + b"l.") + b"."
    with pytest.raises(LimitExceeded) as caught:
        interpret(raw, limits=Limits(containers=1_000))
    assert caught.value.code == "limit-containers"


def test_one_payload_loaded_often_is_one_of_many() -> None:
    """A call costs eight bytes: their number is bounded, not only their size."""
    raw = b"C\x02N.q\x010(" + b"cpickle\nloads\nh\x01\x85R" * 2_000 + b"l."
    with pytest.raises(LimitExceeded, match="nested_streams"):
        interpret(raw, limits=Limits(nested_streams=1_999))
