"""Plain data from records, against what CPython's own unpickler makes of the same bytes."""

from __future__ import annotations

import argparse
import collections
import datetime as dt
import decimal
import enum
import json
import pathlib
import pickle
import types
from typing import Any

import numpy as np
import pytest
from builders.pickle_builder import interpret
from hypothesis import given
from hypothesis import strategies as st
from paraminspect.readers.plain import PlainBudget, key_text, to_plain
from paraminspect.readers.records import (
    Builds,
    BytesRef,
    Call,
    DictRecord,
    Extension,
    Global,
    HugeInt,
    ListRecord,
    MutableBytes,
    OutOfBand,
    PersistentId,
    SetRecord,
    TensorCall,
    UnresolvedGlobal,
)

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def plain(value: object, protocol: int = pickle.DEFAULT_PROTOCOL) -> object:
    """What we make of an object that CPython pickled."""
    return to_plain(interpret(pickle.dumps(value, protocol)).root)


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(), max_size=50)
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(trees, st.sampled_from(PROTOCOLS))
def test_plain_data_stays_what_it_is(value: object, protocol: int) -> None:
    copied = pickle.loads(pickle.dumps(value, protocol))
    shown = plain(value, protocol)
    # Small shared containers are shown again, so equality with the copy is all there is to ask.
    assert shown == copied or "#" in json.dumps(shown)


@given(st.recursive(scalars, lambda inner: st.tuples(inner) | st.tuples(inner, inner), max_leaves=8))
def test_tuples_are_lists(value: object) -> None:
    def as_lists(item: object) -> object:
        return [as_lists(inner) for inner in item] if isinstance(item, tuple) else item

    assert plain(value) == as_lists(value) or "#" in json.dumps(plain(value))


class Colour(enum.Enum):
    """Pickled by value, as by Python 3.11.7 and 3.13."""

    RED = "red"

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        return type(self), (self.value,)


class NamedColour(enum.Enum):
    """Pickled by name, as by Python 3.11.2."""

    RED = "red"

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        return getattr, (type(self), self.name)


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x = x
        self.y = y


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value


class ListOfOurs(list[int]):
    pass


class DictOfOurs(dict[str, int]):
    pass


HERE = Colour.__module__
UTC_PLUS_2 = dt.timezone(dt.timedelta(hours=2))
UTC_MINUS_5_30 = dt.timezone(-dt.timedelta(hours=5, minutes=30))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (dt.datetime(2024, 5, 1, 12, 30, 59, 7), "2024-05-01 12:30:59.000007"),
        (dt.datetime(2024, 5, 1, tzinfo=dt.UTC), "2024-05-01 00:00:00 UTC"),
        (dt.datetime(2024, 5, 1, tzinfo=UTC_PLUS_2), "2024-05-01 00:00:00 UTC+02:00"),
        (dt.datetime(2024, 5, 1, tzinfo=UTC_MINUS_5_30), "2024-05-01 00:00:00 UTC-05:30"),
        (dt.datetime(2024, 5, 1, fold=1), "2024-05-01 00:00:00"),
        (dt.date(1999, 12, 31), "1999-12-31"),
        (dt.timedelta(days=1, seconds=2), "1 day, 0:00:02"),
        (pathlib.PurePosixPath("/a/b/c.txt"), "/a/b/c.txt"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (pathlib.PurePosixPath(), "."),
        (1 - 2j, "(1-2j)"),
        (np.float32(1.5), 1.5),
        (np.int64(-7), -7),
        (np.bool_(True), True),
        (np.float16(0.1), float(np.float16(0.1))),
        (np.complex64(1 + 2j), "(1+2j)"),
        (np.array([1.5], ">f8")[0], 1.5),
        (np.dtype("float32"), "numpy.dtype(<f4)"),
        (np.dtype(">i2"), "numpy.dtype(>i2)"),
        (decimal.Decimal("1.10"), "decimal.Decimal('1.10')"),
        (collections.deque([1, 2]), [1, 2]),
        ({3}, [3]),
        (frozenset([3]), [3]),
        (b"ab", "<bytes 6162>"),
        (bytearray(b"ab"), "<bytes 6162>"),
        (bytes(40), "<40 bytes>"),
        (len, "<builtins.len>"),
        (collections.OrderedDict([("b", 1), ("a", 2)]), {"b": 1, "a": 2}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.defaultdict(int, {"a": 1}), {"a": 1}),
        (argparse.Namespace(lr=0.1, steps=[1]), {"lr": 0.1, "steps": [1]}),
        (types.SimpleNamespace(lr=0.1), {"lr": 0.1}),
        (Point(1, 2), {"__class__": f"{HERE}.Point", "x": 1, "y": 2}),
    ],
    ids=lambda value: str(value)[:30],
)
def test_known_objects(value: object, shown: object, protocol: int) -> None:
    result = plain(value, protocol)
    assert result == shown
    assert type(result) is type(shown)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_objects_of_newer_protocols(protocol: int) -> None:
    assert plain(Slotted(3), protocol) == {"__class__": f"{HERE}.Slotted", "value": 3}
    assert plain(DictOfOurs(a=1), protocol) == {"__class__": f"{HERE}.DictOfOurs", "a": 1}
    assert plain(ListOfOurs([1, 2]), protocol) == {"__class__": f"{HERE}.ListOfOurs", "__items__": [1, 2]}
    assert plain(Colour.RED, protocol) == f"{HERE}.Colour('red')"
    assert plain(NamedColour.RED, protocol) == f"<{HERE}.NamedColour.RED>"
    assert plain(Point, protocol) == f"<{HERE}.Point>"


def test_arguments_of_an_unknown_call_are_shown() -> None:
    call = Call("newobj_ex", Global("m", "F"), (1, "x"), 0, DictRecord())
    call.state = "state"
    call.items = [5]
    call.pairs = [("k", "v")]
    assert to_plain(call) == {
        "__class__": "m.F",
        "__args__": [1, "x"],
        "__kwargs__": {},
        "__state__": "state",
        "__items__": [5],
        "k": "v",
    }


def test_what_is_called_may_be_computed() -> None:
    inner = Call("reduce", Global("m", "make"), (), 0)
    shown = to_plain(Call("reduce", inner, (), 0))
    assert shown == {"__class__": "<computed>", "__function__": {"__class__": "m.make"}}


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        (Global("os", "system"), "<os.system>"),
        (Global("torch", "float32"), "torch.float32"),
        (Global("__builtin__", "long"), "<builtins.long>"),
        (BytesRef("bytes", 10, 1_000_000), "<1,000,000 bytes>"),
        (BytesRef("str", 10, 1_000_000), "<text of 1,000,000 bytes>"),
        (HugeInt(5, 5_000, text=False), "<integer of 5,000 bytes>"),
        (HugeInt(5, 5_000, text=True), "<integer of 5,000 digits>"),
        (PersistentId("key", 3), "<reference key>"),
        (PersistentId(("storage", 1), 3), "<reference outside the pickle>"),
        (Extension(240), "<extension 240>"),
        (OutOfBand(2), "<buffer 2 outside the pickle>"),
        (UnresolvedGlobal(1, 2), "<global of a computed name>"),
        (MutableBytes(b"\x01"), "<bytes 01>"),
        (Builds([1, 2]), [1, 2]),
        (SetRecord(frozen=True), []),
        (
            TensorCall(Global("torch", "FloatStorage"), "0", "cpu", 6, 0, (2, 3), (3, 1), False, 0),
            "<tensor 2×3>",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_record(record: object, shown: object) -> None:
    assert to_plain(record) == shown
    in_list = ListRecord()
    in_list.items = [record]
    assert to_plain(in_list) == [shown]


def test_tensors_are_described_by_the_caller() -> None:
    tensor = Call("reduce", Global("my", "tensor"), (), 0)
    shown = to_plain((1, tensor), None, lambda record: "a tensor" if record is tensor else None)
    assert shown == [1, "a tensor"]


# --- keys ---


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("a", "a"),
        (3, "3"),
        (None, "None"),
        (True, "True"),
        (2.5, "2.5"),
        (b"a\xff", "a\udcff"),
        ((1, "b"), "(1, b)"),
        ((1, (2, 3)), "(1, <tuple>)"),
        (tuple(range(9)), "<tuple>"),
        (ListRecord(), "<list>"),
        (DictRecord(), "<dict>"),
        (SetRecord(frozen=True), "<set>"),
        (Global("os", "system"), "<os.system>"),
        (Call("reduce", Global("torch", "device"), ("cpu",), 0), "cpu"),
        (Call("reduce", Global("m", "F"), (), 0), "<m.F>"),
    ],
)
def test_keys(key: object, text: str) -> None:
    assert key_text(key) == text
    record = DictRecord()
    record.pairs = [(key, 1)]
    assert to_plain(record) == {text: 1}


def test_keys_that_occur_twice_are_both_kept() -> None:
    record = DictRecord()
    record.pairs = [("a", 1), ("a", 2), ("1", "text"), (1, "number"), ("a", 3)]
    assert to_plain(record) == {
        "a": 1,
        "a (again, 2)": 2,
        "1": "text",
        "1 (again, 2)": "number",
        "a (again, 3)": 3,
    }


# --- graphs ---


def test_a_cycle() -> None:
    value: list[Any] = [1]
    value.append(value)
    assert plain(value) == [1, "<cycle #1>"]
    mapping: dict[str, Any] = {"inner": {}}
    mapping["inner"]["outer"] = mapping
    assert plain(mapping) == {"inner": {"outer": "<cycle #1>"}}


def test_a_small_value_is_shown_again_and_a_large_one_referred_to() -> None:
    small, large = [1, 2], list(range(100))
    assert plain([small, small]) == [[1, 2], [1, 2]]
    assert plain([large, large, [large]]) == [large, "<shared #2>", ["<shared #2>"]]


def test_a_billion_laughs() -> None:
    value: list[Any] = ["ha"] * 10
    for _ in range(30):
        value = [value] * 10
    shown = plain(value)
    assert len(json.dumps(shown)) < 100_000


def test_a_wide_value_is_cut() -> None:
    assert plain(list(range(100))) == list(range(100))
    shown = to_plain(tuple(range(100)), PlainBudget(nodes_of_one=11))
    assert shown == [*range(10), "… 90 more"]
    record = DictRecord()
    record.pairs = [(str(number), number) for number in range(100)]
    assert to_plain(record, PlainBudget(nodes_of_one=4)) == {"0": 0, "1": 1, "2": 2, "…": "97 more"}


def test_a_deep_value_is_cut() -> None:
    record: object = 1
    for _ in range(1_000_000):
        record = (record,)
    shown = to_plain(record)
    for _ in range(32):
        assert isinstance(shown, list)
        (shown,) = shown
    assert shown == "<nested deeper than 32 levels>"
    while isinstance(record, tuple):
        (record,) = record


def test_long_text_is_cut() -> None:
    budget = PlainBudget(characters=10)
    assert to_plain("x" * 8, budget) == "x" * 8
    assert to_plain("y" * 8, budget) == "yy… (8 characters)"
    assert to_plain("z", budget) == "… (1 characters)"
    assert to_plain(5, budget) == 5


def test_one_budget_for_several_values() -> None:
    budget = PlainBudget(nodes=10)
    assert to_plain((1, 2, 3), budget) == [1, 2, 3]
    assert budget.nodes == 6
    assert to_plain(tuple(range(8)), budget) == [0, 1, 2, 3, 4, "… 3 more"]
    assert to_plain((1,), budget) == "…"
    assert to_plain(1, budget) == 1


@given(trees)
def test_the_result_can_be_written_as_json(value: object) -> None:
    json.dumps(plain(value), allow_nan=True)


# --- calls that lie ---

SCALAR = Global("numpy.core.multiarray", "scalar")


def dtype_call(code: object, order: str = "<") -> Call:
    call = Call("reduce", Global("numpy", "dtype"), (code, False, True), 0)
    call.state = (3, order, None, None, None, -1, -1, 0)
    return call


@pytest.mark.parametrize(
    "call",
    [
        Call("reduce", SCALAR, (dtype_call("f4"), b"\0\0"), 0),
        Call("reduce", SCALAR, (dtype_call("f4"),), 0),
        Call("reduce", SCALAR, ("f4", b"\0\0\0\0"), 0),
        Call("reduce", SCALAR, (dtype_call("O8"), b"\0" * 8), 0),
        Call("reduce", SCALAR, (dtype_call(5), b"\0" * 8), 0),
        Call("reduce", SCALAR, 7, 0),
        Call("reduce", Global("datetime", "datetime"), (b"\0" * 10,), 0),
        Call("reduce", Global("datetime", "datetime"), (b"\0" * 9,), 0),
        Call("reduce", Global("datetime", "datetime"), (), 0),
        Call("reduce", Global("datetime", "date"), (b"\xff" * 4,), 0),
        Call("reduce", Global("datetime", "timedelta"), (10**300, 0, 0), 0),
        Call("reduce", Global("datetime", "timedelta"), ("1",), 0),
        Call("reduce", Global("builtins", "complex"), (10**400, 0), 0),
        Call("reduce", Global("builtins", "complex"), ("1", 0), 0),
        Call("reduce", Global("pathlib", "PosixPath"), (1, 2), 0),
        Call("reduce", Global("torch", "device"), (("cuda",),), 0),
        Call("reduce", Global("torch", "device"), ("cuda", True), 0),
        Call("reduce", Global("builtins", "getattr"), ("x", "y"), 0),
    ],
    ids=range(18),
)
def test_a_call_that_makes_no_sense_is_shown_as_it_is(call: Call) -> None:
    shown = to_plain(call)
    assert isinstance(shown, dict)
    assert str(shown["__class__"]).startswith(("numpy", "datetime", "builtins", "pathlib", "torch"))


def test_a_zone_that_makes_no_sense() -> None:
    offset = Call("reduce", Global("datetime", "timedelta"), (10**300, 0, 0), 0)
    zone = Call("reduce", Global("datetime", "timezone"), (offset,), 0)
    moment = b"\x07\xe8\x05\x01\0\0\0\0\0\0"
    for tz, shown in (
        (zone, "UTC"),
        (Call("reduce", Global("pytz", "_UTC"), (), 0), "_UTC"),
        ("x", "in a time zone"),
    ):
        call = Call("reduce", Global("datetime", "datetime"), (moment, tz), 0)
        assert to_plain(call) == f"2024-05-01 00:00:00 {shown}"
