"""Compares the interpreter with CPython's two unpicklers on random programs; run as a child process, because
what a broken program makes a real unpickler do is not known beforehand.

    python unpickle_oracle.py SEED COUNT

Prints one line for each program on which the agreement fails, and nothing else.
"""

from __future__ import annotations

import io
import pickle
import random
import resource
import struct
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from builders.pickle_builder import Objects, interpret, record_text
from paraminspect.readers.errors import ParamInspectError
from paraminspect.readers.records import (
    MISSING,
    Builds,
    Call,
    Global,
    PersistentId,
)


class Stub:
    """What a global's class stands in for: notes what is done to its instances."""

    def __new__(cls, *args: object, **kwargs: object) -> Stub:
        made = super().__new__(cls)
        made.made_of = (args, kwargs)
        made.states = []
        made.items = []
        made.pairs = []
        return made

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    made_of: tuple[tuple[object, ...], dict[str, object]]
    states: list[object]
    items: list[object]
    pairs: list[tuple[object, object]]

    def __setstate__(self, state: object) -> None:
        self.states.append(state)

    def append(self, item: object) -> None:
        self.items.append(item)

    def extend(self, items: list[object]) -> None:
        self.items += items

    def add(self, item: object) -> None:
        self.items.append(item)

    def __setitem__(self, key: object, value: object) -> None:
        self.pairs.append((key, value))


class Reference:
    """A persistent id."""

    def __init__(self, value: object) -> None:
        self.value = value


_CLASSES: dict[tuple[str, str], type[Stub]] = {}


def stub_class(module: str, name: str) -> type[Stub]:
    return _CLASSES.setdefault((module, name), type("Made", (Stub,), {"named": (module, name)}))


class CLoader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        return stub_class(module, name)

    def persistent_load(self, pid: object) -> object:
        return Reference(pid)


class PythonLoader(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> object:
        return stub_class(module, name)

    def persistent_load(self, pid: object) -> object:
        return Reference(pid)


def object_text(root: object) -> str:
    """An object graph with its identities, for comparison."""
    numbers: dict[int, int] = {}

    def write(value: object) -> str:
        if isinstance(value, tuple):
            return f"({','.join(map(write, value))})"
        if isinstance(value, type):
            return f"class {getattr(value, 'named', None)}"
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return f"{type(value).__name__}:{value!r}"
        if id(value) in numbers:
            return f"#{numbers[id(value)]}"
        number = numbers[id(value)] = len(numbers)
        return f"#{number}={parts(value)}"

    def parts(value: object) -> str:
        if isinstance(value, Stub):
            inner = (value.made_of[0], tuple(value.made_of[1].items()), tuple(value.states))
            return f"{write(type(value))}{write(inner)}{write(tuple(value.items))}{write(tuple(value.pairs))}"
        if isinstance(value, Reference):
            return f"reference {write(value.value)}"
        if isinstance(value, dict):
            return f"dict{write(tuple(value.items()))}"
        if isinstance(value, (set, frozenset)):
            return f"{type(value).__name__}{sorted(map(write, value))}"
        if isinstance(value, list):
            return f"list{write(tuple(value))}"
        return f"{type(value).__name__} {value!r}"

    return write(root)


class StubObjects(Objects):
    """Records as the stub loaders would have made them."""

    def make(self, record: object) -> object:
        if isinstance(record, Global):
            return stub_class(record.module, record.name)
        if isinstance(record, PersistentId):
            if id(record) not in self._made:
                self._keep.append(record)
                self._made[id(record)] = Reference(self.make(record.value))
            return self._made[id(record)]
        return super().make(record)

    def _known(self, _: Call) -> object:
        return NotImplemented


def make_stub(call: Call, objects: Objects) -> object:
    function = objects.make(call.function)
    args, kwargs = objects.make(call.args), objects.make(call.kwargs)
    if not isinstance(function, type) or not isinstance(args, tuple):
        raise NotImplementedError("call")
    if kwargs is not None and not isinstance(kwargs, dict):
        raise NotImplementedError("call")
    made = function(*args, **(kwargs or {}))
    objects.remember(call, made)
    states = call.state.states if isinstance(call.state, Builds) else [call.state]
    made.states = [objects.make(state) for state in states if state is not MISSING]
    made.items = [objects.make(item) for item in call.items or ()]
    made.pairs = [(objects.make(key), objects.make(value)) for key, value in call.pairs or ()]
    return made


_ABOUT_VALUES = ("NEWOBJ", "STACK_GLOBAL", "pickle stream refers to out-of-band", "EXT", "unregistered")


def _loaded(loader: Callable[..., CLoader | PythonLoader], program: bytes) -> tuple[str | None, bool]:
    """What a real unpickler makes of a program, and whether a refusal is about the objects it would have made
    (which we do not make) rather than about the program."""
    try:
        return object_text(loader(io.BytesIO(program)).load()), False
    except (TypeError, AttributeError, MemoryError, UnicodeDecodeError):
        return None, True
    except Exception as error:
        return None, str(error).startswith(_ABOUT_VALUES)


def _read(program: bytes) -> tuple[str | None, str]:
    """What we read, as the stubs would show it; None with the reason where there is nothing to compare."""
    try:
        stream = interpret(program)
    except ParamInspectError as error:
        return None, error.code
    record_text(stream)
    try:
        return object_text(StubObjects(make_stub).make(stream.root)), "read"
    except (NotImplementedError, TypeError) as error:
        return None, f"inert: {error}"


# --- random programs ---

Emit = Callable[["Program"], None]


class Program:
    """A program that keeps the rules of the stack, written at random."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.out = bytearray()
        self.stack: list[list[str]] = [[]]
        self.memo: dict[int, str] = {}
        self.starts: list[int] = []

    def write(self, length: int) -> bytes:
        self.out += b"\x80" + bytes([self.chance.randrange(6)])
        for _ in range(length):
            self.starts.append(len(self.out))
            self._step()
        while len(self.stack) > 1:
            self._close_mark()
        if not self.stack[0]:
            self._push(b"N", "atom")
        return bytes(self.out) + b"."

    def _push(self, opcodes: bytes, kind: str) -> None:
        self.out += opcodes
        self.stack[-1].append(kind)

    def _step(self) -> None:
        self.chance.choice(
            (self._atom, self._atom, self._container, self._mark, self._close_mark, self._memo, self._change,
             self._change, self._call, self._shuffle)
        )()  # fmt: skip

    def _atom(self) -> None:
        chance = self.chance
        number = chance.randrange(-300, 70_000)
        words = ("a", "bc", "\u00e9", "\ud800", "x\ny", "\\u0041")
        word = chance.choice(words)
        utf8 = word.encode("utf-8", "surrogatepass")
        options = [
            b"N", b"\x88", b"\x89", b"K\x07", b"M\x00\x01", b"J" + struct.pack("<i", number),
            b"I%d\n" % number, b"I01\n", b"I00\n", b"L%dL\n" % number, b"L%d\n" % number, b"F%.3f\n" % number,
            b"F1e5\n", b"Fnan\n", b"F-inf\n", b"G" + struct.pack(">d", number / 7), b"\x8a\x00",
            b"\x8a\x02\x00\xff",
            b"\x8b\x01\0\0\0\x80", b"S'a\\x41\\n\\'b'\n", b'S"q"\n', b"U\x02hi", b"T\x02\0\0\0yo",
            b"X" + struct.pack("<I", len(utf8)) + utf8,
            b"\x8c" + bytes([len(utf8)]) + utf8, b"\x8d" + struct.pack("<Q", len(utf8)) + utf8,
            b"Vpl\\u00e9in\n", b"C\x02\x00\xff", b"B\x01\0\0\0z",
            b"\x8e\x01\0\0\0\0\0\0\0z",
        ]  # fmt: skip
        self._push(chance.choice(options), "atom")

    def _container(self) -> None:
        empty = (b"]", "list"), (b"}", "dict"), (b")", "tuple"), (b"\x8f", "set")
        self._push(*self.chance.choice(empty))

    def _mark(self) -> None:
        if len(self.stack) < 5:
            self.out += b"("
            self.stack.append([])

    def _close_mark(self) -> None:
        if len(self.stack) == 1:
            return
        items = self.stack.pop()
        below = self.stack[-1][-1] if self.stack[-1] else ""
        options = [(b"t", "tuple"), (b"l", "list"), (b"1", "")]
        if len(items) % 2 == 0 and all(kind == "atom" for kind in items[::2]):
            options.append((b"d", "dict"))
            if below in ("dict", "object"):
                options.append((b"u", ""))
        if all(kind == "atom" for kind in items):
            options.append((b"\x91", "atom"))
            if below == "set":
                options.append((b"\x90", ""))
        if below in ("list", "object"):
            options.append((b"e", ""))
        options.append((b"im\nC\n", "object"))
        if items and items[0] == "class":
            options.append((b"o", "object"))
        opcodes, kind = self.chance.choice(options)
        self.out += opcodes
        if kind:
            self.stack[-1].append(kind)

    def _memo(self) -> None:
        if self.memo and self.chance.random() < 0.6:
            index = self.chance.choice(list(self.memo))
            get = self.chance.choice(
                (b"h" + bytes([index]), b"j" + struct.pack("<I", index), b"g%d\n" % index)
            )
            self._push(get, self.memo[index])
        elif self.stack[-1]:
            index = self.chance.randrange(8)
            if self.chance.random() < 0.3:
                index = len(self.memo)
                self.out += b"\x94"
            else:
                puts = (b"q" + bytes([index]), b"r" + struct.pack("<I", index), b"p%d\n" % index)
                self.out += self.chance.choice(puts)
            self.memo[index] = self.stack[-1][-1]

    def _change(self) -> None:
        top = self.stack[-1]
        if len(top) >= 2 and top[-2] in ("list", "object") and self.chance.random() < 0.5:
            top.pop()
            self.out += b"a"
        elif len(top) >= 3 and top[-3] in ("dict", "object") and top[-2] == "atom":
            del top[-2:]
            self.out += b"s"
        elif len(top) >= 2 and top[-2] == "object":
            top.pop()
            self.out += b"b"
        elif len(top) >= 3 and self.chance.random() < 0.5:
            del top[-3:]
            self._push(b"\x87", "tuple")
        elif len(top) >= 2:
            del top[-2:]
            self._push(b"\x86", "tuple")
        elif top:
            top.pop()
            self._push(b"\x85", "tuple")

    def _call(self) -> None:
        top = self.stack[-1]
        if len(top) >= 2 and top[-2] == "class" and top[-1] == "tuple":
            del top[-2:]
            self._push(self.chance.choice((b"R", b"\x81")), "object")
        elif len(top) >= 2 and top[-2] == "class":
            del top[-2:]
            self._push(b"0)\x81", "object")
        elif top and top[-1] == "class":
            self._push(b")}\x92", "object")
            del top[-2]
        elif top and self.chance.random() < 0.2:
            top.pop()
            self._push(b"Q", "object without methods")
        else:
            name = self.chance.choice(
                (b"cm\nC\n", b"cm\nD.e\n", b"\x8c\x01m\x8c\x01C\x93", b"cbuiltins\neval\n")
            )
            self._push(name, "class")

    def _shuffle(self) -> None:
        top = self.stack[-1]
        if top and self.chance.random() < 0.5:
            self._push(b"2", top[-1])
        elif top:
            top.pop()
            self.out += b"0"
        elif self.chance.random() < 0.3:
            self.out += b"P7\n"
            top.append("object without methods")


def broken(program: bytes, starts: list[int], chance: random.Random) -> bytes:
    """One opcode or byte deleted, doubled or changed."""
    if chance.random() < 0.5 and len(starts) > 2:
        place = chance.randrange(len(starts) - 1)
        begin, end = starts[place], starts[place + 1]
        if chance.random() < 0.5:
            return program[:begin] + program[end:]
        return program[:end] + program[begin:end] + program[end:]
    place = chance.randrange(len(program))
    return (
        program[:place]
        + bytes([chance.choice(b"()]}tldue.0123abRsKN\x81\x85\x8f\x90\x94\x96\x98g")])
        + program[place + 1 :]
    )


def disagreements(seed: int, count: int) -> list[str]:
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
    warnings.simplefilter("ignore")
    chance = random.Random(seed)
    compared = 0
    told: list[str] = []
    for _ in range(count):
        written = Program(chance)
        program = written.write(chance.randrange(3, 30))
        for candidate in (program, broken(program, written.starts, chance)):
            (fast, excused), (slow, also) = _loaded(CLoader, candidate), _loaded(PythonLoader, candidate)
            ours, reason = _read(candidate)
            if fast is not None and fast == slow:
                compared += 1
                if ours != fast and not _stricter(reason):
                    told.append(f"differs {candidate!r} {reason} ours={ours} theirs={fast}")
            elif ours is not None and not excused and not also:
                told.append(f"accepted {candidate!r} ours={ours} C={fast} Python={slow}")
    if compared < count // 2:
        told.append(f"only {compared} programs were comparable")
    return told


def _stricter(reason: str) -> bool:
    """Refused although both unpicklers agree: spellings that pickletools reads differently, or that mean a
    change to something whose nature is unknown."""
    return reason in ("pickle-number", "pickle-target", "pickle-frame")


if __name__ == "__main__":
    sys.stdout.writelines(line + "\n" for line in disagreements(int(sys.argv[1]), int(sys.argv[2])))
