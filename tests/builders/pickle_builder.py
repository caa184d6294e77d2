"""Pickles written opcode by opcode, and records turned back into objects or text to compare them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

from paraminspect.readers.limits import Deadline, Limits
from paraminspect.readers.pickle_machine import AfterBuild, PickleBudget, PickleStream, read_pickle
from paraminspect.readers.records import (
    MISSING,
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
from paraminspect.readers.source import MemorySource


def interpret(
    raw: bytes,
    *,
    limits: Limits | None = None,
    after_build: AfterBuild | None = None,
    collapse_tensors: bool = True,
) -> PickleStream:
    """Read one pickle from memory."""
    limits = limits or Limits()
    return read_pickle(
        MemorySource(raw),
        0,
        PickleBudget(limits, Deadline(limits.seconds)),
        after_build=after_build,
        collapse_tensors=collapse_tensors,
    )


def short_text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"\x8c" + bytes([len(raw)]) + raw


def text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def called(module: str, name: str, *args: bytes) -> bytes:
    return named(module, name) + b"(" + b"".join(args) + b"tR"


SYSTEM_CALL = called("posix", "system", text("id"))
"""The payload of most attacks."""


def framed(body: bytes, length: int | None = None) -> bytes:
    return b"\x95" + struct.pack("<Q", len(body) if length is None else length) + body


# --- tensor records as torch.save writes them ---


def integer(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if 0 <= value < 65_536:
        return b"M" + struct.pack("<H", value)
    return b"J" + struct.pack("<i", value)


class StateDictWriter:
    """Writes a flat state dict the way torch.save does: protocol 2, everything memoised in order."""

    def __init__(self) -> None:
        self.body = bytearray(b"\x80\x02}q\x00(")
        self.next_index = 1
        self._memo: dict[object, int] = {}
        self._keys = 0

    def put(self) -> bytes:
        index = self.next_index
        self.next_index += 1
        return b"q" + bytes([index]) if index < 256 else b"r" + struct.pack("<I", index)

    def once(self, name: object, opcodes: bytes) -> bytes:
        """An object on its first mention, a reference to it afterwards."""
        index = self._memo.get(name)
        if index is None:
            self._memo[name] = self.next_index
            return opcodes + self.put()
        return b"h" + bytes([index]) if index < 256 else b"j" + struct.pack("<I", index)

    def shape(self, values: tuple[int, ...]) -> bytes:
        if not values:
            return b")"
        parts = b"".join(map(integer, values))
        if len(values) > 3:
            return b"(" + parts + b"t" + self.put()
        return parts + bytes([0x84 + len(values)]) + self.put()

    def tensor(
        self,
        shape: tuple[int, ...] = (2, 3),
        stride: tuple[int, ...] = (3, 1),
        *,
        numel: int = 6,
        key: str | None = None,
        storage: str = "FloatStorage",
        location: str = "cpu",
        start: int = 0,
        requires_grad: bool = False,
    ) -> bytes:
        if key is None:
            key = str(self._keys)
            self._keys += 1
        parts = [
            self.once("rebuild", named("torch._utils", "_rebuild_tensor_v2")),
            b"((",
            self.once("storage", text("storage")),
            self.once(storage, named("torch", storage)),
            self.once(("key", key), text(key)),
            self.once(location, text(location)),
            integer(numel),
            b"t" + self.put(),
            b"Q",
            integer(start),
            self.shape(shape),
            self.shape(stride),
            b"\x88" if requires_grad else b"\x89",
            self.once("hooks", named("collections", "OrderedDict")),
            b")R" + self.put(),
            b"t" + self.put(),
            b"R" + self.put(),
        ]
        return b"".join(parts)

    def add(self, name: str, value: bytes | None = None) -> None:
        """One entry; a new tensor unless its opcodes are given."""
        self.body += text(name) + self.put()
        self.body += self.tensor() if value is None else value

    def finish(self) -> bytes:
        return bytes(self.body) + b"u."


def many_tensors(count: int) -> StateDictWriter:
    writer = StateDictWriter()
    for number in range(count):
        writer.add(f"layer{number}.weight")
    return writer


# --- records as text ---


def record_text(stream: PickleStream) -> str:
    """The whole graph of a stream, identities included, collapsed tensors written as the calls they are."""
    return _RecordText().write(stream.root)


class _RecordText:
    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._keep: list[object] = []

    def write(self, record: object) -> str:
        if isinstance(record, tuple):
            return f"({','.join(map(self.write, record))})"
        if isinstance(record, (Global, Extension, UnresolvedGlobal)):
            return _name_text(record)
        if isinstance(record, (BytesRef, HugeInt)):
            return f"{type(record).__name__}@{record.offset}+{record.length}"
        if record is None or isinstance(record, (bool, int, float, str, bytes)):
            return f"{type(record).__name__}:{record!r}"
        known = self._numbers.get(id(record))
        if known is not None:
            return f"#{known}"
        number = self._numbers[id(record)] = len(self._numbers)
        self._keep.append(record)
        return f"#{number}={self._object(record)}"

    def _object(self, record: object) -> str:
        if isinstance(record, TensorCall):
            return self._tensor(record)
        if isinstance(record, Call):
            offset = f"@{record.offset}" if isinstance(record.args, tuple) and len(record.args) == 6 else ""
            return (
                f"{record.kind}{offset}({self.write(record.function)},{self.write(record.args)},"
                f"{self.write(record.kwargs)},state={self._state(record.state)},"
                f"{self._all(record.items)},{self._all(record.pairs)})"
            )
        if isinstance(record, PersistentId):
            return f"pid({self.write(record.value)})"
        if isinstance(record, DictRecord):
            return f"dict{self._all(record.pairs)}"
        if isinstance(record, ListRecord):
            return f"list{self._all(record.items)}"
        if isinstance(record, SetRecord):
            return f"set{record.frozen}{self._all(record.items)}"
        if isinstance(record, Builds):
            return f"builds{self._all(record.states)}"
        if isinstance(record, MutableBytes):
            return f"bytearray{record.value!r}"
        assert isinstance(record, OutOfBand)
        return f"buffer{record.index}{record.readonly}"

    def _tensor(self, call: TensorCall) -> str:
        function = _name_text(Global("torch._utils", "_rebuild_tensor_v2"))
        storage = ("storage", call.storage_class, call.key, call.location, call.numel)
        identity = PersistentId(storage, 0)
        hooks = Call("reduce", Global("collections", "OrderedDict"), (), 0)
        args = (identity, call.storage_offset, call.size, call.stride, call.requires_grad, hooks)
        return f"reduce@{call.offset}({function},{self.write(args)},{self.write(None)},state=-,None,None)"

    def _state(self, state: object) -> str:
        return "-" if state is MISSING else self.write(state)

    def _all(self, values: Iterable[object] | None) -> str:
        return "None" if values is None else f"[{','.join(map(self.write, values))}]"


def _name_text(record: Global | Extension | UnresolvedGlobal) -> str:
    if isinstance(record, Global):
        return f"global {record.module!r}.{record.name!r}"
    return "unresolved" if isinstance(record, UnresolvedGlobal) else f"extension {record.code}"


# --- records as objects ---


class Objects:
    """Turns the records of harmless pickles into the objects a loader would have made."""

    def __init__(self, make_call: Callable[[Call, Objects], object] | None = None) -> None:
        self._made: dict[int, object] = {}
        self._keep: list[object] = []
        self._make_call = make_call

    def make(self, record: object) -> object:
        if record is None or isinstance(record, (bool, int, float, str, bytes)):
            return record
        if id(record) in self._made:
            return self._made[id(record)]
        self._keep.append(record)
        if isinstance(record, ListRecord):
            items: list[object] = []
            self._made[id(record)] = items
            items += map(self.make, record.items)
            return items
        if isinstance(record, DictRecord):
            mapping: dict[object, object] = {}
            self._made[id(record)] = mapping
            for key, value in record.pairs:
                mapping[self.make(key)] = self.make(value)
            return mapping
        if isinstance(record, SetRecord) and not record.frozen:
            members: set[object] = set()
            self._made[id(record)] = members
            members.update(map(self.make, record.items))
            return members
        made = self._immutable(record)
        return self._made.setdefault(id(record), made)

    def remember(self, record: object, made: object) -> None:
        """For `make_call`: the object of a record whose parts may refer back to it."""
        self._made[id(record)] = made

    def _immutable(self, record: object) -> object:
        if isinstance(record, tuple):
            return tuple(map(self.make, record))
        if isinstance(record, SetRecord):
            return frozenset(map(self.make, record.items))
        if isinstance(record, MutableBytes):
            return bytearray(record.value)
        if isinstance(record, Call):
            known = self._known(record)
            if known is not NotImplemented:
                return known
            if self._make_call is not None:
                return self._make_call(record, self)
        raise NotImplementedError(type(record).__name__)

    def _known(self, call: Call) -> object:
        """Builtins that old protocols write as calls."""
        function, args = call.function, call.args
        if not isinstance(function, Global) or not isinstance(args, tuple) or call.items or call.pairs:
            return NotImplemented
        if function.module not in ("builtins", "__builtin__", "_codecs"):
            return NotImplemented
        made = [self.make(argument) for argument in args]
        if function.name == "encode":
            assert isinstance(made[0], str)
            return made[0].encode("latin-1")
        if function.name == "complex":
            return complex(*made)  # type: ignore[call-overload]
        makers: dict[str, Callable[..., object]] = {
            "set": set,
            "frozenset": frozenset,
            "bytearray": bytearray,
            "bytes": bytes,
        }
        maker = makers.get(function.name)
        return maker(*made) if maker is not None else NotImplemented
