"""Moving through inert records: children, and which records lead to a tensor.

Records come from untrusted files: they may be cyclic, a million levels deep, or shared so often that a
naive walk would never end. Everything here is iterative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .records import MISSING, Builds, BytesRef, Call, DictRecord, Global, ListRecord, SetRecord

Pair = tuple[object, object]

TYPED_LISTS = frozenset(f"torch.jit._pickle.build_{kind}list" for kind in ("int", "double", "bool", "tensor"))
"""TorchScript's names for making lists of one type."""

_MAPPING_NAMES = frozenset({"OrderedDict", "defaultdict", "Counter", "dict"})


def mapping_pairs(record: object) -> list[Pair] | None:
    """The pairs of anything that is a mapping: a dict, an OrderedDict (also as Python 2 wrote it, with its
    pairs as an argument), a defaultdict, a subclass of dict that stored items. None for anything else.
    """
    if isinstance(record, DictRecord):
        return record.pairs
    if not isinstance(record, Call):
        return None
    pairs = list(record.pairs or ())
    if isinstance(record.function, Global) and record.function.name in _MAPPING_NAMES:
        return _pairs_among_arguments(record.args) + pairs
    return pairs or None


def _pairs_among_arguments(args: object) -> list[Pair]:
    first = args[0] if isinstance(args, tuple) and args else None
    if isinstance(first, DictRecord):
        return list(first.pairs)
    items = sequence_items(first) or ()
    pairs = [sequence_items(item) for item in items]
    return [(pair[0], pair[1]) for pair in pairs if pair is not None and len(pair) == 2]


def sequence_items(record: object) -> list[object] | None:
    """The items of a list, tuple, set, list subclass or TorchScript list; None for anything else."""
    if isinstance(record, tuple):
        return list(record)
    if isinstance(record, (ListRecord, SetRecord)):
        return record.items
    if isinstance(record, Call):
        return record.items or _typed_list(record)
    return None


def _typed_list(record: Call) -> list[object] | None:
    """TorchScript writes a list whose type it knows as `torch.jit._pickle.build_intlist([...])`."""
    name, args = record.function, record.args
    if not isinstance(name, Global) or name.qualified not in TYPED_LISTS or not isinstance(args, tuple):
        return None
    return args[0].items if len(args) == 1 and isinstance(args[0], ListRecord) else None


def attributes(record: object) -> list[Pair]:
    """What BUILD gave an object: the pairs of its `__dict__` and slots, later ones last."""
    if not isinstance(record, Call) or record.state is MISSING:
        return []
    states = record.state.states if isinstance(record.state, Builds) else [record.state]
    pairs: list[Pair] = []
    for state in states:
        for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
            pairs += mapping_pairs(part) or ()
    return pairs


def children(record: object) -> Iterator[object]:
    """Every record directly inside another."""
    if isinstance(record, tuple):
        yield from record
    elif isinstance(record, DictRecord):
        for _, value in record.pairs:
            yield value
    elif isinstance(record, (ListRecord, SetRecord)):
        yield from record.items
    elif isinstance(record, Builds):
        yield from record.states
    elif isinstance(record, Call):
        yield record.args
        yield record.state
        yield from record.items or ()
        for _, value in record.pairs or ():
            yield value


def _is_container(record: object) -> bool:
    return isinstance(record, (tuple, DictRecord, ListRecord, SetRecord, Builds, Call))


def records_leading_to(root: object, is_leaf: Callable[[object], bool]) -> set[int]:
    """`id`s of all containers from which a leaf can be reached, leaves not included.

    Linear in the size of the graph; every record is looked at once, however often it is shared.
    """
    parents: dict[int, list[int]] = {id(root): []}
    leading: list[int] = []
    pending = [root]
    while pending:
        record = pending.pop()
        has_leaf = False
        for child in children(record):
            if is_leaf(child):
                has_leaf = True
            elif _is_container(child):
                known = parents.get(id(child))
                if known is None:
                    parents[id(child)] = [id(record)]
                    pending.append(child)
                else:
                    known.append(id(record))
        if has_leaf:
            leading.append(id(record))
    found = set(leading)
    while leading:
        for parent in parents[leading.pop()]:
            if parent not in found:
                found.add(parent)
                leading.append(parent)
    return found


def key_part(key: object) -> str | int:
    """A mapping key as one part of a path."""
    if isinstance(key, str) or (isinstance(key, int) and not isinstance(key, bool)):
        return key
    if isinstance(key, bytes):
        return key.decode("utf-8", "surrogateescape")
    if key is None or isinstance(key, (bool, float)):
        return str(key)
    if isinstance(key, tuple) and all(isinstance(part, (str, int, float)) for part in key):
        return f"({', '.join(map(repr, key))})"
    if isinstance(key, BytesRef):
        return f"<{key.length:,} bytes of text>"
    return f"<{type(key).__name__}>"
