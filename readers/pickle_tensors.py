"""Whole tensor records of torch.save, recognised in one step: nine tenths of a large checkpoint's pickle.

A record is recognised only if interpreting it opcode by opcode would give exactly the call that a
`TensorCall` stands for. What it stores in the memo is kept as a range of indices. Should the stream refer
to a part that the collapsed record does not have, it is interpreted again without collapsing.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

from .pickle_stream import PickleEvent
from .records import Global, TensorCall


class Reinterpret(Exception):
    """The stream uses a part of a collapsed tensor record."""


class _Nothing:
    __slots__ = ()


NOTHING: Final = _Nothing()
"""A marker that no pickle can contain."""

_INT: Final = rb"(?:K.|M..|J....)"
_PUT: Final = rb"r(.)"
_NEXT_PUT: Final = rb"r(.)\3"
_DIMENSIONS: Final = rb"(?:(\(?+" + _INT + rb"{1,64}+[\x85-\x87t])" + _NEXT_PUT + rb"|\))"

# BINGET function, MARK, MARK, BINGET "storage", BINGET class, key, BINGET location, numel, TUPLE, BINPERSID,
# storage offset, size, stride, requires_grad, BINGET OrderedDict, EMPTY_TUPLE, REDUCE, TUPLE, REDUCE; each
# new object is stored by a LONG_BINPUT, whose upper three index bytes are those of the first.
_RECORD: Final = re.compile(
    rb"h.\(\(h.h.X[\x01-\x14]\0\0\0([0-9]{1,20}+)" + _PUT + rb"(...)h.(" + _INT + rb")t" + _NEXT_PUT
    + rb"Q(" + _INT + rb")" + _DIMENSIONS + _DIMENSIONS + rb"([\x88\x89])h.\)R" + _NEXT_PUT
    + rb"t" + _NEXT_PUT + rb"R" + _NEXT_PUT,
    re.DOTALL,
)  # fmt: skip
_SEQUENCE: Final = bytes(range(256))
_STORAGE_MODULES: Final = frozenset({"torch", "torch.storage"})
_MAX_CACHED: Final = 1 << 16

# Distances from the ends of a record to the bytes that differ, fixed by its layout.
_KEY_LENGTH: Final = 9
_WORD_INDEX: Final = 5
_CLASS_INDEX: Final = 7
_KEY_TO_LOCATION_INDEX: Final = 19
_END_TO_HOOKS_INDEX: Final = 20
_END_TO_REDUCE: Final = 6


class _Integers(dict[bytes, int]):
    """BININT1, BININT2 and BININT opcodes, by their bytes."""

    def __missing__(self, opcode: bytes) -> int:
        if len(self) >= _MAX_CACHED:
            self.clear()
        value = int.from_bytes(opcode[1:], "little", signed=opcode[0] == 0x4A)
        self[opcode] = value
        return value


_Dimensions = tuple[tuple[int, ...], int]


class _Tuples(dict[bytes, "_Dimensions | None"]):
    """The opcodes of a tuple of ints, by their bytes: its value and the number of containers created.
    None where opcode and number of ints disagree.
    """

    def __init__(self, integers: _Integers) -> None:
        super().__init__({b"": ((), 0)})
        self._integers = integers

    def __missing__(self, opcodes: bytes) -> _Dimensions | None:
        if len(self) >= _MAX_CACHED:
            self.clear()
            self[b""] = ((), 0)
        marked = opcodes[0] == 0x28
        values = tuple(self._integers[one] for one in _INT_PATTERN.findall(opcodes[marked:-1]))
        fits = opcodes[-1] == (0x74 if marked else 0x84 + len(values))
        found = self[opcodes] = (values, 1 + marked) if fits else None
        return found


_INT_PATTERN: Final = re.compile(_INT, re.DOTALL)


class TensorRecords:
    """The collapsed tensor records of one stream."""

    __slots__ = (
        "_calls", "_events", "_firsts", "_hooks", "_integers", "_last", "_memo", "_stored", "_tuples",
        "containers", "hidden",
    )  # fmt: skip

    def __init__(self, memo: dict[int, object]) -> None:
        self._memo = memo
        self._stored = memo.keys()
        self._hooks: Global | None = None
        self._events: list[PickleEvent] = []
        self._integers = _Integers()
        self._tuples = _Tuples(self._integers)
        self._firsts: list[int] = []
        self._calls: list[TensorCall] = []
        self._last = -1
        self.hidden = 0
        """Memo entries that collapsed records stand for."""
        self.containers = 0
        """Containers that collapsed records stand for, since this was last set to 0."""

    def begin(self, hooks: Global, events: list[PickleEvent]) -> None:
        """From now on records may be collapsed.

        Args:
            hooks: the `collections.OrderedDict` global.
            events: what is counted once more for each record.
        """
        self._hooks = hooks
        self._events = events

    def take(self, data: bytes, pos: int, base: int, stack: list[object]) -> int:
        """Push the tensor whose record begins at `pos`, where the caller has seen BINGET of
        `_rebuild_tensor_v2`; returns the position behind it, or 0 where there is no such record.

        Args:
            data: bytes that hold the whole record.
            pos: position in `data`.
            base: offset in the source of the first byte of `data`.
            stack: the stack above the topmost mark.
        """
        found = _RECORD.match(data, pos)
        if found is None:
            return 0
        key, low, high, numel, low1, start, sizes, low2, strides, low3, grad, low4, low5, low6 = found.groups(
            b""
        )
        lows = b"".join((low, low1, low2, low3, low4, low5, low6))
        first = low[0]
        size, stride = self._tuples[sizes], self._tuples[strides]
        if lows != _SEQUENCE[first : first + len(lows)] or size is None or stride is None:
            return 0
        first |= int.from_bytes(high, "little") << 8
        last = first + len(lows) - 1
        end = found.end()
        memo = self._memo
        word = memo.get(data[pos + _WORD_INDEX])
        storage_class = memo.get(data[pos + _CLASS_INDEX])
        location = memo.get(data[pos + _KEY_TO_LOCATION_INDEX + len(key)])
        if (
            type(word) is not str
            or word != "storage"
            or type(location) is not str
            or type(storage_class) is not Global
            or storage_class.module not in _STORAGE_MODULES
            or memo.get(data[end - _END_TO_HOOKS_INDEX]) is not self._hooks
            or data[pos + _KEY_LENGTH] != len(key)
            or first <= self._last
            or not self._stored.isdisjoint(range(first, last + 1))
        ):
            return 0
        integers = self._integers
        call = TensorCall(
            storage_class,
            str(key, "ascii"),
            location,
            integers[numel],
            integers[start],
            size[0],
            stride[0],
            grad == b"\x88",
            base + end - _END_TO_REDUCE,
        )
        stack.append(call)
        self._firsts.append(first)
        self._calls.append(call)
        self._last = last
        self.hidden += len(lows)
        # Two marks, the id's tuple, the id, the hooks, the arguments and the call; size and stride.
        self.containers += 7 + size[1] + stride[1]
        return end

    def recall(self, index: int) -> object:
        """The memo entry `index` of a collapsed record; `NOTHING` if no record has it.

        Raises:
            Reinterpret: the entry is a part that the collapsed record does not have.
        """
        place = bisect_right(self._firsts, index) - 1
        if place < 0:
            return NOTHING
        call = self._calls[place]
        within = index - self._firsts[place]
        entries = 5 + bool(call.size) + bool(call.stride)
        if within == 0:
            return call.key
        if within == entries - 1:
            return call
        if within < entries:
            raise Reinterpret
        return NOTHING

    def count_events(self) -> None:
        """Count the events of all collapsed records; called once, when the stream ends."""
        for event in self._events:
            event.count += len(self._calls)
