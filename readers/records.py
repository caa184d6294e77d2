"""Inert records: what a pickle says, as data. Nothing here is ever called, hashed by content, compared
or imported.

A pickle's ints, floats, bools, None, short str and bytes are themselves; tuples are Python tuples; all
else is one of these classes. Identity carries meaning (an object stored once and referred to twice is the
same record), so records compare and hash by identity, as Python objects do by default. The records may
form cycles: walk them iteratively, with a visited set of `id`s.
"""

from __future__ import annotations

from typing import Literal


class Global:
    """A name that the real loader would import: one object for each distinct (module, name)."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    @property
    def qualified(self) -> str:
        """`module.name`."""
        return f"{self.module}.{self.name}"

    def __repr__(self) -> str:
        return f"<global {self.module}.{self.name}>"


class UnresolvedGlobal:
    """A STACK_GLOBAL whose module or name is no short text: every loader refuses it."""

    __slots__ = ("module", "name")

    def __init__(self, module: object, name: object) -> None:
        self.module = module
        self.name = name


CallKind = Literal["reduce", "newobj", "newobj_ex", "obj", "inst"]


class Call:
    """`function(*args, **kwargs)`, not called. Later mutations of the result are kept beside it."""

    __slots__ = ("args", "function", "items", "kind", "kwargs", "offset", "pairs", "state")

    def __init__(
        self, kind: CallKind, function: object, args: object, offset: int, kwargs: object = None
    ) -> None:
        self.kind = kind
        self.function = function
        """A `Global` in every ordinary pickle; any other record in a hostile one."""
        self.args = args
        """A tuple in every ordinary pickle; any other record in a hostile one."""
        self.kwargs = kwargs
        self.offset = offset
        """Offset of the opcode in the stream."""
        self.state: object = MISSING
        """Operand of BUILD, or `MISSING`. A second BUILD makes this a `Builds`."""
        self.items: list[object] | None = None
        """What APPEND(S) and ADDITEMS added."""
        self.pairs: list[tuple[object, object]] | None = None
        """What SETITEM(S) stored."""

    def __repr__(self) -> str:
        # Of its function only a name: a chain of calls may be a million deep.
        called = self.function.qualified if isinstance(self.function, Global) else "a record"
        return f"<call of {called} at {self.offset}>"


class _Missing:
    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()
"""No BUILD was seen (None is a legal state)."""


class Builds:
    """The operands of several BUILDs of one object, in order."""

    __slots__ = ("states",)

    def __init__(self, states: list[object]) -> None:
        self.states = states


class ListRecord:
    """A list (mutable in a pickle, so its identity matters)."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: list[object] = []


class DictRecord:
    """A dict, as the pairs stored, in order, duplicates included: keys are not hashed."""

    __slots__ = ("pairs",)

    def __init__(self) -> None:
        self.pairs: list[tuple[object, object]] = []


class SetRecord:
    """A set or frozenset, as the items added, in order."""

    __slots__ = ("frozen", "items")

    def __init__(self, *, frozen: bool) -> None:
        self.frozen = frozen
        self.items: list[object] = []


class PersistentId:
    """A reference to something outside the pickle: torch storages."""

    __slots__ = ("offset", "value")

    def __init__(self, value: object, offset: int) -> None:
        self.value = value
        """The id as pickled: a tuple for torch, a str for text protocols."""
        self.offset = offset


class Extension:
    """An EXT opcode: a number that only the writer's process could resolve."""

    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        self.code = code


class OutOfBand:
    """A NEXT_BUFFER opcode: data that travelled beside the pickle."""

    __slots__ = ("index", "readonly")

    def __init__(self, index: int) -> None:
        self.index = index
        self.readonly = False


class BytesRef:
    """A long bytes, bytearray or str left where it lies in the stream."""

    __slots__ = ("kind", "length", "offset")

    def __init__(self, kind: Literal["bytes", "bytearray", "str"], offset: int, length: int) -> None:
        self.kind = kind
        self.offset = offset
        """Offset of the first byte of the payload in the stream."""
        self.length = length
        """Bytes of the payload (UTF-8 bytes for a str)."""


class MutableBytes:
    """A short bytearray: mutable in a pickle, so its identity matters."""

    __slots__ = ("value",)

    def __init__(self, value: bytes) -> None:
        self.value = value


class HugeInt:
    """An int of more than 1024 bits, left where it lies: `int()` of it would cost too much."""

    __slots__ = ("length", "offset", "text")

    def __init__(self, offset: int, length: int, *, text: bool) -> None:
        self.offset = offset
        self.length = length
        self.text = text
        """Decimal digits rather than little-endian bytes."""


class TensorCall:
    """A call of torch's `_rebuild_tensor_v2` on a storage, recognised as a whole.

    Stands for exactly `Call("reduce", Global("torch._utils", "_rebuild_tensor_v2"), (PersistentId(
    ("storage", storage_class, key, location, numel)), storage_offset, size, stride, requires_grad,
    hooks))` with an empty OrderedDict for `hooks`; nine tensors of ten in real files have this form.
    """

    __slots__ = (
        "key",
        "location",
        "numel",
        "offset",
        "requires_grad",
        "size",
        "storage_class",
        "storage_offset",
        "stride",
    )

    def __init__(
        self,
        storage_class: Global,
        key: str,
        location: str,
        numel: int,
        storage_offset: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        requires_grad: bool,
        offset: int,
    ) -> None:
        self.storage_class = storage_class
        self.key = key
        self.location = location
        self.numel = numel
        self.storage_offset = storage_offset
        self.size = size
        self.stride = stride
        self.requires_grad = requires_grad
        self.offset = offset
        """Offset in the stream."""
