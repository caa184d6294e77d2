"""The interpreter against CPython's own picklers and unpicklers, and opcode by opcode."""

from __future__ import annotations

import collections
import contextlib
import gc
import io
import pickle
import pickletools
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from builders.pickle_builder import (
    Objects,
    called,
    framed,
    integer,
    interpret,
    named,
    record_text,
    short_text,
    text,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from paraminspect.readers.errors import Ambiguous, LimitExceeded, Malformed, ParamInspectError, Truncated
from paraminspect.readers.limits import Deadline, Limits
from paraminspect.readers.pickle_machine import PickleBudget, PickleStream, read_pickle
from paraminspect.readers.pickle_opcodes import OPCODE_NAMES
from paraminspect.readers.records import (
    MISSING,
    Builds,
    BytesRef,
    Call,
    DictRecord,
    Global,
    HugeInt,
    ListRecord,
    MutableBytes,
    OutOfBand,
    PersistentId,
    SetRecord,
)
from paraminspect.readers.source import MemorySource

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
atoms = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(), max_size=300)
    | st.binary(max_size=300)
    | st.complex_numbers(allow_nan=False)
)
hashable = st.recursive(atoms, lambda inner: st.tuples(inner, inner) | st.frozensets(inner), max_leaves=4)
values = st.recursive(
    atoms | st.binary(max_size=40).map(bytearray) | st.sets(hashable, max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(hashable, inner, max_size=5)
    ),
    max_leaves=30,
)


def made(raw: bytes) -> object:
    return Objects().make(interpret(raw).root)


@settings(max_examples=150, deadline=None)
@given(values, st.sampled_from(PROTOCOLS))
def test_what_was_pickled_is_read(value: object, protocol: int) -> None:
    raw = pickle.dumps(value, protocol)
    read = made(raw)
    assert read == value
    assert repr(read) == repr(pickle.loads(raw))
    assert made(pickletools.optimize(raw)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_pure_python_pickler_is_read(protocol: int) -> None:
    value = {"a": [1, 2.5, (None, True)], "b": {"c": b"\x00\xff", 7: "é\ud800"}, "s": {1, 2}}
    raw = pickle._dumps(value, protocol)  # type: ignore[attr-defined]
    assert made(raw) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_identity_and_cycles_are_kept(protocol: int) -> None:
    shared: list[object] = [1]
    cycle: dict[str, object] = {"shared": (shared, shared)}
    cycle["self"] = cycle
    root = interpret(pickle.dumps(cycle, protocol)).root
    assert isinstance(root, DictRecord)
    pair, itself = (value for _, value in root.pairs)
    assert isinstance(pair, tuple)
    assert pair[0] is pair[1]
    assert itself is root


def test_agreement_with_both_unpicklers_on_random_programs() -> None:
    oracle = Path(__file__).parent.parent / "builders" / "unpickle_oracle.py"
    for seed in (1, 2):
        done = subprocess.run(
            [sys.executable, str(oracle), str(seed), "1500"], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""


def test_every_opcode_is_known() -> None:
    assert {ord(opcode.code): opcode.name for opcode in pickletools.opcodes} == OPCODE_NAMES
    unknown = next(byte for byte in range(256) if byte not in OPCODE_NAMES)
    for byte in OPCODE_NAMES:
        try:
            interpret(bytes([byte]))
        except ParamInspectError as error:
            assert error.code != "pickle-opcode"
    with pytest.raises(Malformed, match="pickle-opcode"):
        interpret(bytes([unknown]))


# --- objects ---


def test_calls_keep_their_parts() -> None:
    raw = pickle.dumps(collections.OrderedDict(a=1), 2)
    root = interpret(raw).root
    assert isinstance(root, Call)
    assert isinstance(root.function, Global)
    assert (root.kind, root.function.qualified, root.args) == ("reduce", "collections.OrderedDict", ())
    assert root.pairs == [("a", 1)]
    assert raw[root.offset : root.offset + 1] == b"R"


@pytest.mark.parametrize(
    ("raw", "kind", "args"),
    [
        (named("m", "C") + b"K\x01\x85R.", "reduce", (1,)),
        (named("m", "C") + b"K\x01\x85\x81.", "newobj", (1,)),
        (named("m", "C") + b"K\x01\x85}\x92.", "newobj_ex", (1,)),
        (b"(" + named("m", "C") + b"K\x01o.", "obj", (1,)),
        (b"(K\x01im\nC\n.", "inst", (1,)),
        (short_text("m") + short_text("C") + b"\x93K\x01\x85R.", "reduce", (1,)),
    ],
)
def test_each_way_to_call(raw: bytes, kind: str, args: tuple[object, ...]) -> None:
    stream = interpret(raw)
    root = stream.root
    assert isinstance(root, Call)
    assert (root.kind, root.args) == (kind, args)
    assert isinstance(root.function, Global)
    assert root.function.qualified == "m.C"
    assert [event.kind for event in stream.events] == ["global", "call"]
    assert stream.imports == [("m", "C", stream.events[0].offset, True)]
    assert isinstance(root.kwargs, DictRecord) == (kind == "newobj_ex")


def test_builds_are_kept_in_order() -> None:
    root = interpret(named("m", "C") + b")R" + b"K\x01b" + b"Nb" + b"K\x03b.").root
    assert isinstance(root, Call)
    assert isinstance(root.state, Builds)
    assert root.state.states == [1, None, 3]
    once = interpret(named("m", "C") + b")RNb.").root
    assert isinstance(once, Call)
    assert once.state is None
    never = interpret(named("m", "C") + b")R.").root
    assert isinstance(never, Call)
    assert never.state is MISSING


def test_changes_to_an_unknown_object() -> None:
    root = interpret(named("m", "C") + b")RK\x01a(K\x02K\x03eK\x04K\x05s(K\x06K\x07u(K\x08\x90.").root
    assert isinstance(root, Call)
    assert root.items == [1, 2, 3, 8]
    assert root.pairs == [(4, 5), (6, 7)]


def test_a_name_is_one_record() -> None:
    root = interpret(
        named("m", "C") + named("m", "C") + short_text("m") + short_text("C") + b"\x93\x87."
    ).root
    assert isinstance(root, tuple)
    assert root[0] is root[1] is root[2]


def test_persistent_ids() -> None:
    stream = interpret(b"(Pold style\n)Ql.")
    assert [record.value for record in stream.persistent_ids] == ["old style", ()]
    assert [record.offset for record in stream.persistent_ids] == [1, 13]
    assert [(event.kind, event.count) for event in stream.events] == [("persistent-id", 2)]
    root = stream.root
    assert isinstance(root, ListRecord)
    assert all(isinstance(item, PersistentId) for item in root.items)


def test_buffers_outside_the_pickle() -> None:
    raw = pickle.dumps(
        [pickle.PickleBuffer(bytearray(b"a")), pickle.PickleBuffer(b"b")], 5, buffer_callback=bool
    )
    out_of_band = pickle.dumps(
        [pickle.PickleBuffer(bytearray(b"a")), pickle.PickleBuffer(b"b")], 5, buffer_callback=lambda _: False
    )
    in_band = interpret(raw).root
    assert isinstance(in_band, ListRecord)
    assert isinstance(in_band.items[0], MutableBytes)
    stream = interpret(out_of_band)
    root = stream.root
    assert isinstance(root, ListRecord)
    first, second = root.items
    assert isinstance(first, OutOfBand)
    assert isinstance(second, OutOfBand)
    assert (first.index, first.readonly, second.index, second.readonly) == (0, False, 1, True)
    assert [(event.kind, event.count) for event in stream.events] == [("buffer", 2)]


def test_events_are_counted_per_name() -> None:
    stream = interpret(b"(" + called("m", "f") * 3 + called("m", "g") + b"l.")
    told = [(event.kind, event.count) for event in stream.events if isinstance(event.target, Global)]
    assert told == [("global", 3), ("call", 3), ("global", 1), ("call", 1)]
    assert [(name, called) for _, name, _, called in stream.imports] == [("f", True), ("g", True)]


# --- the memo and the stack ---


def test_the_last_store_counts() -> None:
    assert made(b"(K\x01q\x07K\x02q\x07h\x07g7\nj\x07\0\0\0l.") == [1, 2, 2, 2, 2]


def test_memoize_takes_the_number_of_entries() -> None:
    assert made(b"(K\x0ap5\nK\x0b\x94h\x01h\x05t.") == (10, 11, 11, 10)


def test_a_memoised_list_is_changed_wherever_it_is() -> None:
    assert made(b"]q\x00h\x00K\x05a0]h\x00\x87.") == ([5], [], [5])


def test_pop_takes_the_mark_when_nothing_is_above() -> None:
    assert made(b"K\x01(0.") == 1
    assert made(b"K\x01(K\x020K\x03t\x86.") == (1, (3,))
    assert made(b"K\x01(K\x02K\x031.") == 1


def test_what_is_left_on_the_stack_is_told() -> None:
    stream = interpret(b"K\x01(K\x02K\x03.")
    assert stream.root == 3
    assert [(finding.code, finding.offset) for finding in stream.findings] == [("pickle-leftovers", 7)]


def test_setitem_replaces_a_list_item() -> None:
    assert made(b"](K\x01K\x02eK\x00K\x09sJ\xff\xff\xff\xffK\x08s.") == [9, 8]
    with pytest.raises(Malformed, match="pickle-target"):
        interpret(b"]K\x00K\x09s.")


# --- text protocols ---


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"I0\n.", 0),
        (b"I-12\n.", -12),
        (b"I00\n.", False),
        (b"I01\n.", True),
        (b"I99999999999999999999999\n.", 99999999999999999999999),
        (b"L-5L\n.", -5),
        (b"L5\n.", 5),
        (b"L-0L\n.", 0),
        (b"F1.5\n.", 1.5),
        (b"F-1e-07\n.", -1e-07),
        (b"F5\n.", 5.0),
        (b"Finf\n.", float("inf")),
        (b"F-inf\n.", float("-inf")),
        (b"S'it\\'s\\x41\\n\\101\\\\'\n.", "it'sA\nA\\"),
        (b"S'unknown \\d'\n.", "unknown \\d"),
        (b'S"double"\n.', "double"),
        (b"S''\n.", ""),
        (b"S'\\xff'\n.", b"\xff"),
        (b"U\x02hi.", "hi"),
        (b"U\x01\xff.", b"\xff"),
        (b"T\x02\0\0\0hi.", "hi"),
        (b"V\\u00e9\\U0001F600 plain\n.", "é😀 plain"),
        (b"V\xe9\n.", "é"),
        (b"V\\ud800\n.", "\ud800"),
    ],
)
def test_text_that_every_loader_reads_alike(raw: bytes, value: object) -> None:
    read = made(raw)
    assert read == value
    assert type(read) is type(value)
    if isinstance(value, (int, float)):
        assert repr(pickle.loads(raw)) == repr(pickle._loads(raw)) == repr(value)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "number",
    [b"I010", b"I0x10", b"I-0", b"I+1", b"I1_0", b"I 1", b"I1\r", b"I", b"I-", b"I001", b"L010L", b"L0x10L",
     b"LL", b"L1LL", b"F1_0.5", b"F 1", b"F1e999", b"F0x1p3", b"Fnan0", b"F", b"F1.#INF", b"g01", b"g-1",
     b"p1_0", b"p9223372036854775808"],
)  # fmt: skip
def test_numbers_that_loaders_read_differently(number: bytes) -> None:
    with pytest.raises(Ambiguous) as caught:
        interpret(b"K\x01q\x01" + number + b"\n.")
    assert (caught.value.code, caught.value.offset) == ("pickle-number", 4)


@pytest.mark.parametrize(
    "raw",
    [b"Sx'\n.", b"S'x\n.", b"S'\n.", b"S'\\x4'\n.", b"S'\\'\n.", b"S'\\777'\n.", b"V\\u12\n.",
     b"X\x01\0\0\0\xff.", b"c\xff\nname\n.", b"P\xc3\xa9\n."],
)  # fmt: skip
def test_text_that_means_nothing(raw: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        interpret(raw)
    assert (caught.value.code, caught.value.offset) == ("pickle-text", 0)


def test_numbers_too_long_to_convert_are_left_in_place() -> None:
    digits = b"7" * 100_000
    for raw, offset, length, is_text in [
        (b"L" + digits + b"L\n.", 1, 100_000, True),
        (b"I-" + digits + b"\n.", 1, 100_001, True),
        (b"\x8b" + struct.pack("<i", 1 << 20) + bytes(1 << 20) + b".", 5, 1 << 20, False),
        (b"\x8a\xff" + bytes(255) + b".", 2, 255, False),
    ]:
        root = interpret(raw).root
        assert isinstance(root, HugeInt)
        assert (root.offset, root.length, root.text) == (offset, length, is_text)
    limit = 2**1023 - 1
    assert made(pickle.dumps(limit, 2)) == limit


# --- long payloads and the window ---


class _Recorded:
    """A source that says which bytes were read."""

    def __init__(self, head: bytes, size: int, tail: bytes) -> None:
        self._head, self._size, self._tail = head, size, tail
        self.read: list[tuple[int, int]] = []

    name = "recorded"
    base = 0

    def size(self) -> int:
        return self._size

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        self.read.append((offset, len(buffer)))
        assert len(buffer) <= 2 << 20
        for index in range(len(buffer)):
            position = offset + index
            if position < len(self._head):
                buffer[index] = self._head[position]
            elif position >= self._size - len(self._tail):
                buffer[index] = self._tail[position - self._size + len(self._tail)]


def test_a_payload_of_ten_gigabytes_is_not_read() -> None:
    length = 10 << 30
    head = b"\x80\x04K\x07\x8e" + struct.pack("<Q", length)
    source = _Recorded(head, len(head) + length + 2, b"\x86.")
    stream = read_pickle(source, 0, PickleBudget(Limits(), Deadline(0)))
    assert isinstance(stream.root, tuple)
    number, payload = stream.root
    assert number == 7
    assert isinstance(payload, BytesRef)
    assert (payload.kind, payload.offset, payload.length) == ("bytes", len(head), length)
    assert sum(count for _, count in source.read) < 1 << 20
    assert stream.end == source.size()


@pytest.mark.parametrize(
    ("opcode", "width", "kind"),
    [(b"X", "<I", "str"), (b"\x8d", "<Q", "str"), (b"B", "<I", "bytes"), (b"\x8e", "<Q", "bytes"),
     (b"T", "<i", "bytes"), (b"\x96", "<Q", "bytearray")],
)  # fmt: skip
def test_payloads_above_64_kib_stay_where_they_are(opcode: bytes, width: str, kind: str) -> None:
    begin = opcode + struct.pack(width, 65_537)
    root = interpret(begin + b"a" * 65_537 + b".").root
    assert isinstance(root, BytesRef)
    assert (root.kind, root.offset, root.length) == (kind, len(begin), 65_537)
    short = made(opcode + struct.pack(width, 65_536) + b"a" * 65_536 + b".")
    assert isinstance(short, (str, bytes, bytearray))
    assert len(short) == 65_536


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_streams_longer_than_the_window(protocol: int) -> None:
    value = [(f"name{number}", number * 37, "x" * (number % 7 * 9_001)) for number in range(120)]
    raw = pickle.dumps(value * 3, protocol)
    assert len(raw) > 3 << 20 or protocol > 0
    assert made(raw) == value * 3
    assert made(pickle.dumps([f"item {number}" for number in range(150_000)], protocol)) == [
        f"item {number}" for number in range(150_000)
    ]


@pytest.mark.parametrize("shift", [*range(7), 70, 700])
def test_a_window_may_end_inside_any_opcode(shift: int) -> None:
    items = b"".join(
        text("k" * 60_000)
        + b"M\x01\x02J\x01\x02\x03\x04"
        + b"G"
        + struct.pack(">d", 1.5)
        + b"I12\n"
        + b"L7L\n"
        for _ in range(24)
    )
    read = made(b"(" + b"N" * shift + items + b"l.")
    assert read == [None] * shift + ["k" * 60_000, 0x201, 0x4030201, 1.5, 12, 7] * 24


def test_long_lines_of_text() -> None:
    line = "word " * 100_000
    assert made(b"V" + line.encode() + b"\n.") == line
    assert made(b"](S'" + line.encode() + b"'\nK\x01e.") == [line, 1]


def test_a_pickle_inside_other_data() -> None:
    raw = b"before" + pickle.dumps([1, "x"]) + b"after"
    budget = PickleBudget(Limits(), Deadline(0))
    stream = read_pickle(MemorySource(raw), 6, budget)
    assert Objects().make(stream.root) == [1, "x"]
    assert (stream.start, stream.end) == (6, len(raw) - 5)
    second = read_pickle(MemorySource(raw[:-5] + pickle.dumps("y", 0)), stream.end, budget)
    assert (second.root, second.protocol) == ("y", 0)


def test_after_build_says_where_the_pickle_goes_on() -> None:
    other = b"\xff raw . bytes \xff"
    raw = b"(" + named("m", "Wrapper") + b")RNb" + other + b"K\x05" + named("m", "C") + b")RNbl."
    seen: list[tuple[str, int]] = []

    def skip(call: Call, offset: int) -> int | None:
        assert isinstance(call.function, Global)
        seen.append((call.function.name, offset))
        return offset + len(other) if call.function.name == "Wrapper" else None

    root = interpret(raw, after_build=skip).root
    assert isinstance(root, ListRecord)
    assert [type(item) for item in root.items] == [Call, int, Call]
    assert seen == [("Wrapper", 16), ("C", len(raw) - 2)]


def test_after_build_may_not_leave_the_data() -> None:
    with pytest.raises(Truncated):
        interpret(named("m", "C") + b")RNb.", after_build=lambda _, offset: offset + 100)


# --- frames ---


def test_frames_end_between_opcodes() -> None:
    body = framed(b"K\x01") + framed(b"q\x00K\x02\x86")
    assert made(b"\x80\x04" + body + b".") == (1, 2)
    assert made(b"\x80\x04" + framed(b"") + b"K\x01.") == 1


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        (framed(b"X\x02\0\0\0", 6) + b"ab.", 15),
        (framed(b"M\x01", 2) + b"\x01.", 11),
        (framed(b"cm", 3) + b"\nC\n.", 12),
        (framed(b"(" + framed(b"K\x01t")) + b".", 10),
        (framed(b"K\x01.N"), 12),
    ],
)
def test_frames_that_loaders_read_differently(body: bytes, offset: int) -> None:
    with pytest.raises(Ambiguous) as caught:
        interpret(body)
    assert (caught.value.code, caught.value.offset) == ("pickle-frame", offset)


def test_a_frame_past_the_end() -> None:
    for length in (4, 1 << 62, (1 << 64) - 1):
        with pytest.raises(Truncated) as caught:
            interpret(framed(b"K\x01.", length))
        assert caught.value.offset == 0


# --- errors ---


@pytest.mark.parametrize(
    ("raw", "kind", "code", "offset"),
    [
        (b"", Truncated, "truncated", 0),
        (b"N", Truncated, "truncated", 1),
        (b"K", Truncated, "truncated", 0),
        (b"NJ\x01\x02\x03", Truncated, "truncated", 1),
        (b"X\x05\0\0\0abc", Truncated, "truncated", 0),
        (b"\x8e" + struct.pack("<Q", 1 << 40), Truncated, "truncated", 0),
        (b"\x8d" + struct.pack("<Q", (1 << 64) - 1), Truncated, "truncated", 0),
        (b"\x96" + struct.pack("<Q", 1 << 40), Truncated, "truncated", 0),
        (b"\x8b" + struct.pack("<i", (1 << 31) - 1), Truncated, "truncated", 0),
        (b"V never ends", Truncated, "truncated", 0),
        (b"cmodule\nname", Truncated, "truncated", 0),
        (b"\x8b\xff\xff\xff\xff.", Malformed, "pickle-length", 0),
        (b"T\xff\xff\xff\xff.", Malformed, "pickle-length", 0),
        (b".", Malformed, "pickle-stack", 0),
        (b"(.", Malformed, "pickle-stack", 1),
        (b"t.", Malformed, "pickle-stack", 0),
        (b"0.", Malformed, "pickle-stack", 0),
        (b"1.", Malformed, "pickle-stack", 0),
        (b"2.", Malformed, "pickle-stack", 0),
        (b"K\x01\x86.", Malformed, "pickle-stack", 2),
        (b"K\x01K\x02\x87.", Malformed, "pickle-stack", 4),
        (b"K\x01(\x85.", Malformed, "pickle-stack", 3),
        (b"K\x01(q\x00.", Malformed, "pickle-stack", 3),
        (b"](K\x01a.", Malformed, "pickle-stack", 4),
        (b"(e.", Malformed, "pickle-stack", 1),
        (b"NR.", Malformed, "pickle-stack", 1),
        (b"(o.", Malformed, "pickle-stack", 1),
        (b"h\x07.", Malformed, "pickle-memo", 0),
        (b"Nq\x01g2\n.", Malformed, "pickle-memo", 3),
        (b"\x80\x06N.", Malformed, "pickle-protocol", 0),
        (b"c\nname\n.", Malformed, "pickle-name", 0),
        (b"(K\x01d.", Malformed, "pickle-pairs", 3),
        (b"}(K\x01u.", Malformed, "pickle-pairs", 4),
        (b")K\x01a.", Malformed, "pickle-target", 3),
        (b"cm\nC\nK\x01a.", Malformed, "pickle-target", 7),
        (b"NK\x01K\x02s.", Malformed, "pickle-target", 5),
        (b"]K\x01b.", Malformed, "pickle-target", 3),
        (b"](K\x01\x90.", Malformed, "pickle-target", 4),
        (b"(\x91(K\x01\x90.", Malformed, "pickle-target", 5),
        (b")(e.", Ambiguous, "pickle-target", 2),
        (b"N\x98.", Malformed, "pickle-target", 1),
        (b"c" + b"m" * 70_000 + b"\nx\n" + b"N" * 200_000, Malformed, "pickle-line", 0),
    ],
)
def test_each_fault_has_its_code_and_place(
    raw: bytes, kind: type[ParamInspectError], code: str, offset: int
) -> None:
    with pytest.raises(ParamInspectError) as caught:
        interpret(raw)
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.offset, error.path) == (code, offset, "<memory>")


def test_a_build_that_changes_nothing_is_passed_over() -> None:
    raw = b"]Nb."
    assert made(raw) == pickle.loads(raw) == []
    with pytest.raises(Malformed, match="pickle-target"):
        interpret(b"]NN\x86b.")


def test_errors_name_the_opcode_and_keep_what_was_seen() -> None:
    with pytest.raises(Malformed, match="TUPLE2") as caught:
        interpret(called("m", "f") + b"0K\x01\x86.")
    stream = caught.value.partial
    assert isinstance(stream, PickleStream)
    assert stream.root is None
    assert not stream.complete
    assert stream.imports == [("m", "f", 0, True)]
    assert [(event.kind, event.offset) for event in stream.events] == [("global", 0), ("call", 7)]


def test_a_nested_failure_keeps_the_events_of_both() -> None:
    inner = called("inner", "f") + b"\xff"
    raw = named("outer", "C") + b")RNb" + inner

    def read_inner(_: Call, offset: int) -> int:
        return read_pickle(MemorySource(raw), offset, PickleBudget(Limits(), Deadline(0))).end

    with pytest.raises(Malformed) as caught:
        interpret(raw, after_build=read_inner)
    stream = caught.value.partial
    assert isinstance(stream, PickleStream)
    assert [name.module for name in stream.imports] == ["outer", "inner"]


_SAMPLES = [
    pickle.dumps({"a": [1, -2, 300, 2**40, 1.5, "é", b"\x00", (1, 2, 3, 4), {1, 2}, None, True]}, protocol)
    for protocol in PROTOCOLS
] + [
    b"(S'q\\x41'\nU\x01aT\x01\0\0\0bVu\nL5L\nF2.5\nPpid\n)Q" + named("m", "C") + b")R}b(K\x01im\nD\nl.",
    b"\x80\x05" + short_text("m") + short_text("C")
    + b"\x93)}\x92\x82\x05\x83\x05\0\x84\x05\0\0\0\x97\x98\x96" + bytes(8) + b"\x8b\x01\0\0\0\x05(Nt.",
]  # fmt: skip


@pytest.mark.parametrize("raw", _SAMPLES)
def test_every_truncation_is_one_error(raw: bytes) -> None:
    interpret(raw)
    for length in range(len(raw)):
        with pytest.raises(Malformed):
            interpret(raw[:length])


@pytest.mark.parametrize("raw", _SAMPLES)
def test_no_changed_byte_escapes_as_another_exception(raw: bytes) -> None:
    for place in range(len(raw)):
        for byte in (0, 0xFF, raw[place] ^ 0x80, raw[place] ^ 1, *b"(.tR0bes\x94\x95X"):
            try:
                record_text(interpret(raw[:place] + bytes([byte]) + raw[place + 1 :]))
            except ParamInspectError as error:
                assert isinstance(error.partial, PickleStream)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes(raw: bytes) -> None:
    with contextlib.suppress(ParamInspectError):
        interpret(raw)


class _Failing:
    """A source whose reads fail or shorten."""

    name = "failing"
    base = None

    def __init__(self, raw: bytes, claimed: int) -> None:
        self._raw, self._claimed = raw, claimed

    def size(self) -> int:
        return self._claimed

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        MemorySource(self._raw).pread_into(offset, buffer)


def test_a_source_that_fails_keeps_the_events() -> None:
    raw = called("m", "f") + b"N" * 300_000 + b"."
    with pytest.raises(Truncated) as caught:
        read_pickle(_Failing(raw, len(raw) + 500_000), 0, PickleBudget(Limits(), Deadline(0)))
    stream = caught.value.partial
    assert isinstance(stream, PickleStream)
    assert [name.module for name in stream.imports] == ["m"]


# --- budgets ---


def test_containers_are_counted() -> None:
    raw = b"]" * 1_001 + b"."
    assert interpret(raw, limits=Limits(containers=1_001)).complete
    with pytest.raises(LimitExceeded) as caught:
        interpret(raw, limits=Limits(containers=1_000))
    assert caught.value.code == "limit-containers"


@pytest.mark.parametrize(
    "unit",
    [b"(", b"}", b"\x8f", b"(t", b"(l", b"(d", b"(\x91", b"N\x85", b"NN\x87", b"\x97", b"\x82\x01", b"NQ",
     b"NNR", b"NN\x81", b"N\x94", b"\x96" + bytes(8), b"\x8a\x81" + bytes(129)],
)  # fmt: skip
def test_everything_that_takes_memory_is_counted(unit: bytes) -> None:
    prefix = b"N" if unit == b"NN\x87" else b""
    with pytest.raises(LimitExceeded) as caught:
        interpret(prefix + unit * 2_000 + b"N.", limits=Limits(containers=1_000))
    assert caught.value.code == "limit-containers"


def test_the_container_budget_is_one_for_all_pickles_of_a_file() -> None:
    source, budget = MemorySource(b"]" * 600 + b"."), PickleBudget(Limits(containers=1_000), Deadline(0))
    read_pickle(source, 0, budget)
    with pytest.raises(LimitExceeded, match="containers"):
        read_pickle(source, 0, budget)


def test_instructions_are_counted_and_payloads_left_in_place_are_not() -> None:
    limits = Limits(pickle_bytes=100_000)
    payload = b"B" + struct.pack("<I", 200_000) + bytes(200_000)
    assert interpret(payload + b".", limits=limits).complete
    with pytest.raises(LimitExceeded) as caught:
        interpret(b"N0" * 50_001 + b"N.", limits=limits)
    assert caught.value.code == "limit-pickle-bytes"
    for endless in (b"V" + b"a" * 400_000, b"I" + b"1" * 400_000 + b"\n."):
        with pytest.raises(LimitExceeded, match="pickle_bytes"):
            interpret(endless, limits=limits)


def test_nested_streams_are_counted() -> None:
    budget = PickleBudget(Limits(nested_depth=2, nested_streams=3), Deadline(0))
    for depth in (1, 2, 1):
        budget.enter_nested(depth)
    with pytest.raises(LimitExceeded) as caught:
        budget.enter_nested(1, "file")
    assert (caught.value.code, caught.value.path) == ("limit-nested-streams", "file")
    with pytest.raises(LimitExceeded) as caught:
        PickleBudget(Limits(nested_depth=2), Deadline(0)).enter_nested(3)
    assert caught.value.code == "limit-nested-depth"


def test_the_deadline_is_asked() -> None:
    budget = PickleBudget(Limits(), Deadline(1e-9))
    with pytest.raises(LimitExceeded, match="limit-seconds"):
        read_pickle(MemorySource(b"N."), 0, budget)


def test_the_collector_is_switched_on_again() -> None:
    assert gc.isenabled()
    interpret(b"N.")
    assert gc.isenabled()
    with pytest.raises(Malformed):
        interpret(b"\xff")
    assert gc.isenabled()


def test_a_set_is_not_hashed() -> None:
    root = interpret(b"\x8f(](K\x01e}\x90.").root
    assert isinstance(root, SetRecord)
    assert [type(item) for item in root.items] == [ListRecord, DictRecord]


def test_integers_of_every_width() -> None:
    numbers = [0, 255, 256, 65_535, 65_536, 2**31 - 1, -1, -(2**31)]
    assert made(b"(" + b"".join(map(integer, numbers)) + b"l.") == numbers
    raw = io.BytesIO()
    pickle.dump([number * 2**31 for number in numbers], raw, 2)
    assert made(raw.getvalue()) == [number * 2**31 for number in numbers]


def test_a_stack_of_small_things_is_bounded() -> None:
    raw = b"](" + b"N" * 300_000 + b"e."
    assert interpret(raw, limits=Limits(containers=400_000)).root is not None
    with pytest.raises(LimitExceeded) as caught:
        interpret(raw, limits=Limits(containers=100_000))
    assert caught.value.code == "limit-containers"
