"""Opcodes that work on the stack and the memo, build containers, change them, and name or call things."""

from __future__ import annotations

import re
from typing import Final

from .errors import Ambiguous, Malformed
from .pickle_opcodes import HIGHEST_PROTOCOL
from .pickle_state import Machine
from .pickle_stream import NESTED_LOADERS
from .pickle_tensors import NOTHING, Reinterpret
from .records import (
    MISSING,
    Builds,
    BytesRef,
    Call,
    CallKind,
    DictRecord,
    Extension,
    Global,
    ListRecord,
    MutableBytes,
    SetRecord,
    UnresolvedGlobal,
)

_INDEX_TEXT: Final = re.compile(rb"0|[1-9][0-9]{0,18}")

_KINDS: Final = {
    ListRecord: "list",
    DictRecord: "dict",
    SetRecord: "set",
    Global: "global",
    MutableBytes: "bytearray",
    BytesRef: "text or bytes",
    UnresolvedGlobal: "name that is no text",
}


def pop_mark(machine: Machine) -> list[object]:
    """Everything above the topmost mark; the mark is removed."""
    items = machine.stack
    machine.stack = machine.marks.pop()
    return items


# --- stack and memo ---


def load_pop(machine: Machine, pos: int) -> int:
    """POP: the top of the stack, or the mark where nothing lies above it."""
    if machine.stack:
        machine.stack.pop()
    else:
        pop_mark(machine)
    return pos + 1


def load_pop_mark(machine: Machine, pos: int) -> int:
    """POP_MARK: everything above the mark."""
    pop_mark(machine)
    return pos + 1


def load_dup(machine: Machine, pos: int) -> int:
    """DUP: the top of the stack once more."""
    machine.stack.append(machine.stack[-1])
    return pos + 1


def load_get(machine: Machine, pos: int) -> int:
    """GET: memo index as text."""
    index, end = _text_index(machine, pos)
    return _push_memo(machine, pos, index, end)


def load_long_binget(machine: Machine, pos: int) -> int:
    """LONG_BINGET: 4-byte memo index."""
    return _push_memo(machine, pos, int.from_bytes(machine.argument(pos, 4), "little"), pos + 5)


def _push_memo(machine: Machine, pos: int, index: int, end: int) -> int:
    memo = machine.memo
    machine.stack.append(memo[index] if index in memo else machine.recall(pos, index))
    return end


def load_put(machine: Machine, pos: int) -> int:
    """PUT: memo index as text."""
    index, end = _text_index(machine, pos)
    machine.memo[index] = machine.stack[-1]
    return end


def load_memoize(machine: Machine, pos: int) -> int:
    """MEMOIZE: the index is the number of entries."""
    if machine.tensors is not None and machine.tensors.hidden:
        raise Reinterpret
    machine.trigger = NOTHING
    machine.memo[len(machine.memo)] = machine.stack[-1]
    return pos + 1


def _text_index(machine: Machine, pos: int) -> tuple[int, int]:
    text, end = machine.line(pos, pos + 1)
    index = int(text) if _INDEX_TEXT.fullmatch(text) else 1 << 63
    if index >= 1 << 63:
        raise machine.fault(
            Ambiguous, "pickle-number", "its memo index is not a number that every loader reads alike", pos
        )
    return index, end


def load_proto(machine: Machine, pos: int) -> int:
    """PROTO: protocol number."""
    protocol = machine.argument(pos, 1)[0]
    if protocol > HIGHEST_PROTOCOL:
        raise machine.malformed("pickle-protocol", f"there is no pickle protocol {protocol}", pos)
    machine.stream.protocol = protocol
    return pos + 2


def load_frame(machine: Machine, pos: int) -> int:
    """FRAME: length of what is to be read in one piece."""
    machine.enter_frame(pos, pos + 9, int.from_bytes(machine.argument(pos, 8), "little"))
    return pos + 9


def load_tuple3(machine: Machine, pos: int) -> int:
    """TUPLE3."""
    stack = machine.stack
    third, second = stack.pop(), stack.pop()
    stack[-1] = (stack[-1], second, third)
    machine.containers += 1
    return pos + 1


def load_empty_list(machine: Machine, pos: int) -> int:
    """EMPTY_LIST."""
    machine.containers += 1
    machine.stack.append(ListRecord())
    return pos + 1


def load_list(machine: Machine, pos: int) -> int:
    """LIST: of everything above the mark."""
    record = ListRecord()
    record.items = pop_mark(machine)
    machine.containers += 1
    machine.stack.append(record)
    return pos + 1


def load_empty_dict(machine: Machine, pos: int) -> int:
    """EMPTY_DICT."""
    machine.containers += 1
    machine.stack.append(DictRecord())
    return pos + 1


def load_dict(machine: Machine, pos: int) -> int:
    """DICT: of keys and values above the mark."""
    record = DictRecord()
    record.pairs = _pairs(machine, pos, pop_mark(machine))
    machine.containers += 1
    machine.stack.append(record)
    return pos + 1


def load_empty_set(machine: Machine, pos: int) -> int:
    """EMPTY_SET."""
    machine.containers += 1
    machine.stack.append(SetRecord(frozen=False))
    return pos + 1


def load_frozenset(machine: Machine, pos: int) -> int:
    """FROZENSET: of everything above the mark."""
    record = SetRecord(frozen=True)
    record.items = pop_mark(machine)
    machine.containers += 1
    machine.stack.append(record)
    return pos + 1


def _pairs(machine: Machine, pos: int, items: list[object]) -> list[tuple[object, object]]:
    if len(items) % 2:
        raise machine.malformed("pickle-pairs", "a key has no value", pos)
    machine.containers += len(items) // 2
    return list(zip(items[::2], items[1::2], strict=True))


# --- changes to what is on the stack ---


def load_append(machine: Machine, pos: int) -> int:
    """APPEND: one item."""
    item = machine.stack.pop()
    _extend(machine, pos, machine.stack[-1], [item])
    return pos + 1


def load_appends(machine: Machine, pos: int) -> int:
    """APPENDS: everything above the mark."""
    items = pop_mark(machine)
    _extend(machine, pos, machine.stack[-1], items)
    return pos + 1


def _extend(machine: Machine, pos: int, target: object, items: list[object]) -> None:
    machine.forbid_collapsed(target)
    if isinstance(target, ListRecord):
        target.items += items
    elif isinstance(target, Call):
        _add_items(target, items)
    else:
        raise _wrong_target(machine, pos, target, nothing_to_do=not items)


def load_additems(machine: Machine, pos: int) -> int:
    """ADDITEMS: everything above the mark, to a set."""
    items = pop_mark(machine)
    target = machine.stack[-1]
    machine.forbid_collapsed(target)
    if isinstance(target, SetRecord) and not target.frozen:
        target.items += items
    elif isinstance(target, Call):
        _add_items(target, items)
    else:
        raise _wrong_target(machine, pos, target, nothing_to_do=not items)
    return pos + 1


def _add_items(call: Call, items: list[object]) -> None:
    if call.items is None:
        call.items = []
    call.items += items


def load_setitem(machine: Machine, pos: int) -> int:
    """SETITEM: one key and value."""
    stack = machine.stack
    value, key = stack.pop(), stack.pop()
    _set_items(machine, pos, stack[-1], [key, value])
    return pos + 1


def load_setitems(machine: Machine, pos: int) -> int:
    """SETITEMS: keys and values above the mark."""
    items = pop_mark(machine)
    _set_items(machine, pos, machine.stack[-1], items)
    return pos + 1


def _set_items(machine: Machine, pos: int, target: object, items: list[object]) -> None:
    machine.forbid_collapsed(target)
    pairs = _pairs(machine, pos, items)
    if isinstance(target, DictRecord):
        target.pairs += pairs
    elif isinstance(target, Call):
        if target.pairs is None:
            target.pairs = []
        target.pairs += pairs
    elif isinstance(target, ListRecord):
        for index, value in pairs:
            _replace_item(machine, pos, target, index, value)
    elif pairs:
        raise _wrong_target(machine, pos, target)


def _replace_item(machine: Machine, pos: int, target: ListRecord, index: object, value: object) -> None:
    size = len(target.items)
    if not isinstance(index, int) or not -size <= index < size:
        raise machine.malformed("pickle-target", "it assigns to an item that the list does not have", pos)
    target.items[index] = value


def load_build(machine: Machine, pos: int) -> int:
    """BUILD: the state of an object."""
    state = machine.stack.pop()
    target = machine.stack[-1]
    machine.forbid_collapsed(target)
    if not isinstance(target, Call):
        if state is not None:
            raise _wrong_target(machine, pos, target)
        return pos + 1
    if isinstance(target.state, Builds):
        target.state.states.append(state)
    elif target.state is not MISSING:
        machine.containers += 1
        target.state = Builds([target.state, state])
    else:
        target.state = state
    machine.note("build", pos, target.function if isinstance(target.function, Global) else target)
    if machine.after_build is not None:
        return _resume_after_build(machine, pos, machine.after_build(target, machine.offset(pos + 1)))
    return pos + 1


def _resume_after_build(machine: Machine, pos: int, resume: int | None) -> int:
    if resume is None:
        return pos + 1
    here = machine.offset(pos + 1)
    if not here <= resume <= machine.window.size:
        raise machine.cut_short(pos)
    machine.skipped += resume - here
    return pos + 1 + resume - here


def _wrong_target(machine: Machine, pos: int, target: object, nothing_to_do: bool = False) -> Exception:
    kind = _KINDS.get(type(target), type(target).__name__)
    if nothing_to_do:
        cause = f"it adds nothing to a {kind}, which some loaders pass over and some refuse"
        return machine.fault(Ambiguous, "pickle-target", cause, pos)
    return machine.fault(Malformed, "pickle-target", f"a {kind} cannot be changed in this way", pos)


# --- names ---


def load_global(machine: Machine, pos: int) -> int:
    """GLOBAL: module and name as lines of text."""
    record, end = _named(machine, pos, "utf-8")
    machine.stack.append(record)
    return end


def _named(machine: Machine, pos: int, encoding: str) -> tuple[Global, int]:
    module, middle = machine.line(pos, pos + 1)
    name, end = machine.line(pos, middle)
    if not module or not name:
        raise machine.malformed("pickle-name", "the name of its module or object is empty", pos)
    record = machine.intern(module.decode(encoding), name.decode(encoding))
    machine.note("global", pos, record)
    return record, end


def load_stack_global(machine: Machine, pos: int) -> int:
    """STACK_GLOBAL: module and name from the stack."""
    name, module = machine.stack.pop(), machine.stack.pop()
    record: Global | UnresolvedGlobal
    if isinstance(module, str) and isinstance(name, str):
        record = machine.intern(module, name)
    else:
        machine.containers += 1
        record = UnresolvedGlobal(module, name)
    machine.stack.append(record)
    machine.note("global", pos, record)
    return pos + 1


def _call(machine: Machine, pos: int, kind: CallKind, function: object, args: object) -> Call:
    record = Call(kind, function, args, machine.offset(pos))
    machine.containers += 1
    machine.stack.append(record)
    if type(function) is Global and (function.module, function.name) in NESTED_LOADERS:
        machine.stream.nested_calls.append(record)
    named = isinstance(function, (Global, UnresolvedGlobal, Extension))
    machine.note("call", pos, function if named else record)
    return record


def load_reduce(machine: Machine, pos: int) -> int:
    """REDUCE: a function and its arguments."""
    args = machine.stack.pop()
    _call(machine, pos, "reduce", machine.stack.pop(), args)
    return pos + 1


def load_newobj(machine: Machine, pos: int) -> int:
    """NEWOBJ: a class and the arguments of its `__new__`."""
    args = machine.stack.pop()
    _call(machine, pos, "newobj", machine.stack.pop(), args)
    return pos + 1


def load_newobj_ex(machine: Machine, pos: int) -> int:
    """NEWOBJ_EX: the same with keyword arguments."""
    kwargs, args = machine.stack.pop(), machine.stack.pop()
    _call(machine, pos, "newobj_ex", machine.stack.pop(), args).kwargs = kwargs
    return pos + 1


def load_obj(machine: Machine, pos: int) -> int:
    """OBJ: a class and its arguments above the mark."""
    items = pop_mark(machine)
    function = items[0]
    _call(machine, pos, "obj", function, tuple(items[1:]))
    return pos + 1


def load_inst(machine: Machine, pos: int) -> int:
    """INST: arguments above the mark, the class as lines of text."""
    args = tuple(pop_mark(machine))
    function, end = _named(machine, pos, "ascii")
    _call(machine, pos, "inst", function, args)
    return end
