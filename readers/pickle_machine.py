"""Interprets pickles of protocols 0 to 5 into inert records. Nothing is imported, called, hashed by content,
compared or copied deeply, whatever the bytes say.

The result is what CPython's own readers agree on; where the C unpickler, the Python one and pickletools read
the same bytes differently, the stream is refused by name (`Ambiguous`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from . import pickle_literals as literals
from . import pickle_objects as objects
from .collector import paused_collector
from .errors import Malformed, ParamInspectError
from .findings import Finding, Severity
from .pickle_nested import read_nested
from .pickle_opcodes import (
    BINGET,
    BININT,
    BININT1,
    BININT2,
    BINPUT,
    BINUNICODE,
    EMPTY_TUPLE,
    LONG_BINPUT,
    MARK,
    TUPLE,
    TUPLE1,
    TUPLE2,
)
from .pickle_state import AfterBuild, Machine
from .pickle_stream import Import, PickleBudget, PickleEvent, PickleStream
from .pickle_tensors import Reinterpret
from .pickle_window import INLINE_LIMIT
from .source import ByteSource, file_offset

__all__ = ["AfterBuild", "Import", "PickleBudget", "PickleEvent", "PickleStream", "read_pickle"]


def read_pickle(
    source: ByteSource,
    offset: int,
    budget: PickleBudget,
    *,
    after_build: AfterBuild | None = None,
    collapse_tensors: bool = True,
    label: str = "",
) -> PickleStream:
    """Interpret the pickle that begins at `offset`.

    Text and bytes above 64 KiB are stepped over and left in place (`BytesRef`); nothing behind the pickle's
    last window is read.

    Args:
        source: holds the pickle, and perhaps other data behind it. All offsets in the result count in it.
        offset: of the first opcode.
        budget: shared by all pickles of one file.
        after_build: for pickles that are interrupted by other data; called with each object that was given
            a state and with the offset behind it, returns where the opcodes go on, or None.
        collapse_tensors: recognise whole tensor records of torch.save (`TensorCall`) instead of yielding the
            calls they consist of. The two are equivalent.
        label: which pickle of the file this is, for the account of its imports.

    Returns:
        The stream, also appended to `budget.streams`. Pickles inside it have been interpreted as well.

    Raises:
        Truncated: the source ends before STOP.
        Ambiguous: loaders differ on the meaning of the bytes.
        Malformed: an opcode is unknown or cannot be executed.
        LimitExceeded: a budget is used up.
        ParamInspectError: the source cannot be read. What was understood up to there is in `partial` of
            whatever is raised: a `PickleStream` with `root` None.
    """
    collapse = collapse_tensors and after_build is None
    with paused_collector():
        stream = _collapsed_or_not(source, offset, budget, after_build, collapse, label)
        if stream.nested_calls:
            read_nested(stream, source, budget, _read_alone)
    return stream


def _collapsed_or_not(
    source: ByteSource,
    offset: int,
    budget: PickleBudget,
    after_build: AfterBuild | None,
    collapse: bool,
    label: str,
) -> PickleStream:
    before = budget.containers, budget.bytes_read
    try:
        return _interpreted(Machine(source, offset, budget, after_build, collapse), label)
    except Reinterpret:
        budget.containers, budget.bytes_read = before
        return _interpreted(Machine(source, offset, budget, after_build, collapse_tensors=False), label)


def _read_alone(source: ByteSource, offset: int, budget: PickleBudget) -> PickleStream:
    """For pickles inside pickles: what lies in them is somebody else's task."""
    return _interpreted(Machine(source, offset, budget, None, collapse_tensors=False))


def _interpreted(machine: Machine, label: str | None = None) -> PickleStream:
    """Run the machine; with a label the stream enters the account of the file."""
    stream = machine.stream
    try:
        end = _run(machine)
        machine.charge(machine.offset(end))
    except ParamInspectError as error:
        if isinstance(error.partial, PickleStream):
            # A pickle nested in this one failed: what it would have done belongs to the account.
            stream.events += error.partial.events
        error.partial = stream
        _enter(machine.budget, stream, label)
        raise
    finally:
        if machine.tensors is not None:
            machine.tensors.count_events()
    stream.complete = True
    _enter(machine.budget, stream, label)
    return stream


def _enter(budget: PickleBudget, stream: PickleStream, label: str | None) -> None:
    if label is not None:
        stream.label = label
        budget.streams.append(stream)


def _run(machine: Machine) -> int:  # noqa: C901 - a function for each opcode takes twice the time
    """Execute opcodes up to STOP; returns the position behind it."""
    memo, marks = machine.memo, machine.marks
    data, stack, trigger = machine.data, machine.stack, machine.trigger
    pos = checkpoint = created = 0
    try:
        while True:
            if pos >= checkpoint:
                machine.containers += created
                created = 0
                pos = machine.advance(pos)
                data, checkpoint = machine.data, machine.checkpoint
            opcode = data[pos]
            if opcode == LONG_BINPUT:
                memo[_UINT32(data, pos + 1)[0]] = stack[-1]
                pos += 5
            elif opcode == BINGET:
                index = data[pos + 1]
                value = memo[index] if index in memo else machine.recall(pos, index)
                if value is trigger and (end := _take_tensor(machine, pos, stack)):
                    pos = end
                else:
                    stack.append(value)
                    pos += 2
            elif opcode == BININT1:
                stack.append(data[pos + 1])
                pos += 2
            elif opcode == BINUNICODE and (end := pos + 5 + _UINT32(data, pos + 1)[0]) <= len(data):
                if end - pos > INLINE_LIMIT:
                    pos = literals.load_binunicode(machine, pos)
                else:
                    stack.append(data[pos + 5 : end].decode("utf-8", "surrogatepass"))
                    pos = end
            elif opcode == MARK:
                marks.append(stack)
                machine.stack = stack = []
                created += 1
                pos += 1
            elif opcode == TUPLE:
                items = tuple(stack)
                machine.stack = stack = marks.pop()
                stack.append(items)
                created += 1
                pos += 1
            elif opcode == BININT2:
                stack.append(data[pos + 1] | data[pos + 2] << 8)
                pos += 3
            elif opcode == BINPUT:
                memo[data[pos + 1]] = stack[-1]
                pos += 2
            elif opcode == TUPLE2:
                last = stack.pop()
                stack[-1] = (stack[-1], last)
                created += 1
                pos += 1
            elif opcode == TUPLE1:
                stack[-1] = (stack[-1],)
                created += 1
                pos += 1
            elif opcode == EMPTY_TUPLE:
                stack.append(())
                pos += 1
            elif opcode == BININT:
                stack.append(_INT32(data, pos + 1)[0])
                pos += 5
            else:
                pos = _HANDLERS[opcode](machine, pos)
                if opcode == _STOP:
                    return pos
                data, checkpoint = machine.data, machine.checkpoint
                stack, trigger = machine.stack, machine.trigger
    except (IndexError, struct.error, UnicodeDecodeError) as fault:
        raise _explained(machine, pos, fault) from None
    finally:
        machine.containers += created


_UINT32: Final = struct.Struct("<I").unpack_from
_INT32: Final = struct.Struct("<i").unpack_from
_STOP: Final = 0x2E
_ARGUMENT_BYTES: Final = {
    LONG_BINPUT: 4,
    BINGET: 1,
    BININT1: 1,
    BINUNICODE: 4,
    BININT2: 2,
    BINPUT: 1,
    BININT: 4,
}


def _take_tensor(machine: Machine, pos: int, stack: list[object]) -> int:
    assert machine.tensors is not None
    return machine.tensors.take(machine.data, pos, machine.window.base, stack)


def _explained(machine: Machine, pos: int, fault: Exception) -> ParamInspectError:
    """What an exception in the loop says about the bytes."""
    argument = _ARGUMENT_BYTES.get(machine.data[pos], 0)
    if pos + 1 + argument > len(machine.data):
        return machine.cut_short(pos)
    if isinstance(fault, UnicodeDecodeError):
        return machine.malformed("pickle-text", f"its text is not {fault.encoding}", pos)
    return machine.malformed("pickle-stack", "the stack does not hold what it needs", pos)


def _stop(machine: Machine, pos: int) -> int:
    """STOP: the top of the stack is the result."""
    stream = machine.stream
    root = machine.stack.pop()
    machine.finish_frame(pos + 1)
    left = len(machine.stack) + sum(map(len, machine.marks))
    stream.root, stream.end = root, machine.offset(pos + 1)
    if left or machine.marks:
        source = machine.window.source
        stream.findings.append(
            Finding(
                "pickle-leftovers",
                Severity.WARNING,
                f"{left:,} objects are built by the pickle and then dropped; no pickler writes such a stream",
                source.name,
                file_offset(source, machine.offset(pos)),
            )
        )
    return pos + 1


def _unknown(machine: Machine, pos: int) -> int:
    opcode = machine.data[pos]
    raise machine.fault(Malformed, "pickle-opcode", f"byte 0x{opcode:02x} is no opcode", pos)


Handler = Callable[[Machine, int], int]

_COLD_HANDLERS: Final[dict[int, Handler]] = {
    ord("."): _stop,
    ord("0"): objects.load_pop,
    ord("1"): objects.load_pop_mark,
    ord("2"): objects.load_dup,
    ord("F"): literals.load_float,
    ord("I"): literals.load_int,
    ord("L"): literals.load_long,
    ord("N"): literals.load_none,
    ord("P"): literals.load_persid,
    ord("Q"): literals.load_binpersid,
    ord("R"): objects.load_reduce,
    ord("S"): literals.load_string,
    ord("T"): literals.load_binstring,
    ord("U"): literals.load_short_binstring,
    ord("V"): literals.load_unicode,
    ord("X"): literals.load_binunicode,
    ord("a"): objects.load_append,
    ord("b"): objects.load_build,
    ord("c"): objects.load_global,
    ord("d"): objects.load_dict,
    ord("}"): objects.load_empty_dict,
    ord("e"): objects.load_appends,
    ord("g"): objects.load_get,
    ord("i"): objects.load_inst,
    ord("j"): objects.load_long_binget,
    ord("l"): objects.load_list,
    ord("]"): objects.load_empty_list,
    ord("o"): objects.load_obj,
    ord("p"): objects.load_put,
    ord("s"): objects.load_setitem,
    ord("u"): objects.load_setitems,
    ord("G"): literals.load_binfloat,
    0x80: objects.load_proto,
    0x81: objects.load_newobj,
    0x82: literals.load_ext1,
    0x83: literals.load_ext2,
    0x84: literals.load_ext4,
    0x87: objects.load_tuple3,
    0x88: literals.load_true,
    0x89: literals.load_false,
    0x8A: literals.load_long1,
    0x8B: literals.load_long4,
    ord("B"): literals.load_binbytes,
    ord("C"): literals.load_short_binbytes,
    0x8C: literals.load_short_binunicode,
    0x8D: literals.load_binunicode8,
    0x8E: literals.load_binbytes8,
    0x8F: objects.load_empty_set,
    0x90: objects.load_additems,
    0x91: objects.load_frozenset,
    0x92: objects.load_newobj_ex,
    0x93: objects.load_stack_global,
    0x94: objects.load_memoize,
    0x95: objects.load_frame,
    0x96: literals.load_bytearray8,
    0x97: literals.load_next_buffer,
    0x98: literals.load_readonly_buffer,
}
_HANDLERS: Final[tuple[Handler, ...]] = tuple(_COLD_HANDLERS.get(opcode, _unknown) for opcode in range(256))
