"""Inert records turned into plain data (dict, list, str, numbers) that can be shown and written as JSON.

A pickle may say little and unfold to more than memory holds (a list of ten lists of ten lists ...), or
contain itself. What was shown once is therefore referred to, and nodes, depth and characters are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from .plain_calls import known_sequence, known_value, qualified_name, raw_bytes
from .record_graph import attributes, mapping_pairs
from .records import (
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
from .units import format_shape
from .untrusted import text_from_bytes

Pair = tuple[object, object]
DescribeTensor = Callable[[object], str | None]

_SMALL: Final = 16
"""A shared value of at most this many nodes is shown again where it is referred to."""

_MAX_DEPTH: Final = 32
_BYTES_SHOWN: Final = 32
_KEY_PARTS: Final = 8


@dataclass(slots=True)
class PlainBudget:
    """How much plain data may come out, of one value or of all values of a file."""

    nodes: int = 200_000
    """Values inside containers, and containers."""

    characters: int = 4_000_000
    """Of all texts and keys together."""

    nodes_of_one: int = 10_000
    """Values of one call of `to_plain`."""

    def text(self, text: str) -> str:
        """`text`, or its beginning when the characters run out."""
        if len(text) <= self.characters:
            self.characters -= len(text)
            return text
        shown = text[: self.characters]
        self.characters = 0
        return f"{shown}… ({len(text):,} characters)"


def to_plain(
    record: object, budget: PlainBudget | None = None, describe_tensor: DescribeTensor | None = None
) -> object:
    """The value a record stands for, as None, bool, int, float, str, list or dict with str keys.

    Known objects look like what they are (`cuda:0`, `2024-05-01 12:00:00`, numbers of numpy); a global is
    `<module.name>`; any other object is a dict with `__class__` and its attributes. A container that was
    shown before is `<shared #3>` or, from inside itself, `<cycle #3>`, numbered in the order of first
    mention; what the budget cuts off ends in `… 4,211 more`. Keys that occur twice are both kept.

    Args:
        record: any record of a pickle; cycles are welcome.
        budget: used up by this call; a new one if None. Give one budget to all calls for one file.
        describe_tensor: text for a record that is a tensor, None for any other.
    """
    if record is None or isinstance(record, (bool, int, float)):
        return record
    budget = budget or PlainBudget()
    allowed = min(budget.nodes, budget.nodes_of_one)
    unfolding = _Unfolding(budget, allowed, describe_tensor)
    result = unfolding.unfold(record)
    budget.nodes -= allowed - unfolding.nodes
    return result


def key_text(key: object) -> str:
    """A mapping key of any kind as text."""
    if isinstance(key, tuple) and len(key) <= _KEY_PARTS:
        return f"({', '.join(_part_text(part) for part in key)})"
    return key if isinstance(key, str) else _part_text(key)


def _part_text(key: object) -> str:
    if key is None or isinstance(key, (bool, int, float, str)):
        return str(key)
    if isinstance(key, bytes):
        return text_from_bytes(key)
    if isinstance(key, (tuple, ListRecord, DictRecord, SetRecord)):
        return f"<{type(key).__name__.removesuffix('Record').lower()}>"
    if isinstance(key, Call):
        value = known_value(key)
        return f"<{_class_name(key)}>" if value is None else str(value)
    return _other_text(key)


def _other_text(record: object) -> str:
    """What has no value that could be shown."""
    if isinstance(record, Global):
        name = qualified_name(record)
        return name if record.module == "torch" else f"<{name}>"
    if isinstance(record, BytesRef):
        return f"<{'text of ' if record.kind == 'str' else ''}{record.length:,} bytes>"
    if isinstance(record, HugeInt):
        return f"<integer of {record.length:,} {'digits' if record.text else 'bytes'}>"
    if isinstance(record, TensorCall):
        return f"<tensor {format_shape(record.size)}>"
    if isinstance(record, PersistentId):
        plain = isinstance(record.value, (str, int))
        return f"<reference {record.value}>" if plain else "<reference outside the pickle>"
    if isinstance(record, Extension):
        return f"<extension {record.code}>"
    if isinstance(record, OutOfBand):
        return f"<buffer {record.index} outside the pickle>"
    assert isinstance(record, UnresolvedGlobal)
    return "<global of a computed name>"


def _bytes_text(raw: bytes) -> str:
    return f"<bytes {raw.hex()}>" if len(raw) <= _BYTES_SHOWN else f"<{len(raw):,} bytes>"


def _class_name(call: Call) -> str:
    """The class of an object; protocols 0 and 1 make objects by `copyreg._reconstructor(class, ...)`."""
    function = call.function
    if isinstance(function, Global) and qualified_name(function).startswith("copyreg.") and call.args:
        first = call.args[0] if isinstance(call.args, tuple) else None
        function = first if isinstance(first, Global) else function
    return qualified_name(function) if isinstance(function, Global) else "<computed>"


@dataclass(slots=True)
class _Open:
    """A container that is being unfolded."""

    number: int
    identity: int
    keys: list[str] | None
    """Of a dict; None for a list."""

    children: Sequence[object]
    total: int
    """Children it has, shown or not."""

    values: list[object]
    nodes_before: int


_OPENED: Final = object()


class _Unfolding:
    """One call of `to_plain`."""

    def __init__(self, budget: PlainBudget, nodes: int, describe_tensor: DescribeTensor | None) -> None:
        self.nodes = nodes
        """Values that may still come out."""
        self._budget = budget
        self._describe_tensor = describe_tensor
        self._open: list[_Open] = []
        self._numbers: dict[int, int] = {}
        self._small: dict[int, tuple[object, int]] = {}
        self._closed: set[int] = set()

    def unfold(self, root: object) -> object:
        """Depth first, without recursion."""
        result = self._enter(root)
        while self._open:
            top = self._open[-1]
            if len(top.values) < len(top.children) and self.nodes > 0:
                value = self._enter(top.children[len(top.values)])
                if value is not _OPENED:
                    top.values.append(value)
                continue
            result = self._close(self._open.pop())
            if self._open:
                self._open[-1].values.append(result)
        return result

    def _enter(self, record: object) -> object:
        """The plain value of a record, or `_OPENED` when its children come first."""
        if self.nodes <= 0:
            return "…"
        self.nodes -= 1
        if record is None or isinstance(record, (bool, int, float)):
            return record
        if isinstance(record, str):
            return self._budget.text(record)
        text = self._leaf(record)
        if text is not None:
            return self._budget.text(text) if isinstance(text, str) else text
        return self._seen(record) or self._begin(record)

    def _leaf(self, record: object) -> str | int | float | None:
        described = self._describe_tensor(record) if self._describe_tensor is not None else None
        if described is not None:
            return described
        if isinstance(record, Call):
            raw = raw_bytes(record)
            return known_value(record) if raw is None else _bytes_text(raw)
        if isinstance(record, (bytes, MutableBytes)):
            return _bytes_text(record if isinstance(record, bytes) else record.value)
        if isinstance(record, (tuple, ListRecord, DictRecord, SetRecord, Builds)):
            return None
        return _other_text(record)

    def _seen(self, record: object) -> object:
        identity = id(record)
        number = self._numbers.get(identity)
        if number is None:
            return None
        if identity not in self._closed:
            return f"<cycle #{number}>"
        small = self._small.get(identity)
        if small is None:
            return f"<shared #{number}>"
        value, nodes = small
        self.nodes -= nodes
        return value

    def _begin(self, record: object) -> object:
        if len(self._open) >= _MAX_DEPTH:
            return f"<nested deeper than {_MAX_DEPTH} levels>"
        items = _items(record)
        pairs = [] if items is not None else _pairs(record)
        children = items if items is not None else [value for _, value in pairs]
        if not children:
            return [] if items is not None else {}
        keys = None if items is not None else [key_text(key) for key, _ in pairs[: self.nodes]]
        number = len(self._numbers) + 1
        self._numbers[id(record)] = number
        shown = children[: self.nodes]
        self._open.append(_Open(number, id(record), keys, shown, len(children), [], self.nodes))
        return _OPENED

    def _close(self, done: _Open) -> object:
        self._closed.add(done.identity)
        missing = done.total - len(done.values)
        result = self._list(done, missing) if done.keys is None else self._dict(done, done.keys, missing)
        nodes = done.nodes_before - self.nodes
        if nodes <= _SMALL and not missing:
            self._small[done.identity] = (result, nodes)
        return result

    def _list(self, done: _Open, missing: int) -> list[object]:
        return [*done.values, f"… {missing:,} more"] if missing else done.values

    def _dict(self, done: _Open, keys: list[str], missing: int) -> dict[str, object]:
        result: dict[str, object] = {}
        repeated: dict[str, int] = {}
        for key, value in zip(keys, done.values, strict=False):
            name = self._budget.text(key)
            while name in result:
                repeated[key] = repeated.get(key, 1) + 1
                name = f"{key} (again, {repeated[key]})"
            result[name] = value
        if missing:
            result["…"] = f"{missing:,} more"
        return result


def _items(record: object) -> Sequence[object] | None:
    """Children of what is shown as a list."""
    if isinstance(record, tuple):
        return record
    if isinstance(record, (ListRecord, SetRecord)):
        return record.items
    if isinstance(record, Builds):
        return record.states
    return known_sequence(record) if isinstance(record, Call) else None


_MAPPINGS: Final = frozenset(
    {"collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict"}
)
_NAMESPACES: Final = frozenset({"argparse.Namespace", "types.SimpleNamespace"})


def _pairs(record: object) -> list[Pair]:
    """Keys and children of what is shown as a dict."""
    if isinstance(record, DictRecord):
        return record.pairs
    assert isinstance(record, Call)
    name = _class_name(record)
    if name in _MAPPINGS:
        return mapping_pairs(record) or []
    if name in _NAMESPACES:
        return attributes(record)
    return _object_pairs(record, name)


def _object_pairs(call: Call, name: str) -> list[Pair]:
    pairs: list[Pair] = [("__class__", name)]
    if not isinstance(call.function, Global):
        pairs.append(("__function__", call.function))
    if call.args != () and not _is_reconstructor(call):
        pairs.append(("__args__", call.args))
    if call.kwargs is not None:
        pairs.append(("__kwargs__", call.kwargs))
    state = attributes(call)
    pairs += state
    if not state and call.state is not MISSING:
        pairs.append(("__state__", call.state))
    if call.items:
        items = ListRecord()
        items.items = call.items
        pairs.append(("__items__", items))
    return pairs + (call.pairs or [])


def _is_reconstructor(call: Call) -> bool:
    return isinstance(call.function, Global) and call.function.name == "_reconstructor"
