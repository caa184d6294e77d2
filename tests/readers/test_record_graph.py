"""Walking records that a hostile pickle may have shaped."""

from __future__ import annotations

from paraminspect.readers.record_graph import (
    attributes,
    key_part,
    mapping_pairs,
    records_leading_to,
    sequence_items,
)
from paraminspect.readers.records import Builds, Call, DictRecord, Global, ListRecord, SetRecord


def a_list(*items: object) -> ListRecord:
    record = ListRecord()
    record.items = list(items)
    return record


def a_dict(*pairs: tuple[object, object]) -> DictRecord:
    record = DictRecord()
    record.pairs = list(pairs)
    return record


LEAF = Global("leaf", "leaf")


def is_leaf(record: object) -> bool:
    return record is LEAF


def test_mappings_of_every_kind() -> None:
    ordered = Call("reduce", Global("collections", "OrderedDict"), (), 0)
    ordered.pairs = [("a", 1)]
    old = Call("reduce", Global("collections", "OrderedDict"), (a_list(a_list("a", 1), ("b", 2)),), 0)
    subclass = Call("newobj", Global("my", "Config"), (), 0)
    subclass.pairs = [("x", 5)]
    assert mapping_pairs(ordered) == [("a", 1)]
    assert mapping_pairs(old) == [("a", 1), ("b", 2)]
    assert mapping_pairs(subclass) == [("x", 5)]
    assert mapping_pairs(a_dict(("k", "v"))) == [("k", "v")]
    assert mapping_pairs(a_list(1)) is None
    assert mapping_pairs(Call("newobj", Global("my", "Thing"), (), 0)) is None


def test_sequences() -> None:
    items = SetRecord(frozen=True)
    items.items = [1, 2]
    assert sequence_items(items) == [1, 2]
    assert sequence_items((3,)) == [3]
    assert sequence_items("text") is None


def test_attributes_come_from_dict_and_slots_and_repeated_builds() -> None:
    call = Call("newobj", Global("my", "Thing"), (), 0)
    assert attributes(call) == []
    call.state = Builds([a_dict(("a", 1)), (None, a_dict(("b", 2)))])
    assert attributes(call) == [("a", 1), ("b", 2)]


def test_only_what_leads_to_a_leaf_is_found() -> None:
    with_leaf, without = a_list(LEAF), a_list(1, 2)
    root = a_dict(("yes", with_leaf), ("no", without))
    assert records_leading_to(root, is_leaf) == {id(root), id(with_leaf)}


def test_a_cycle_ends() -> None:
    inner = a_list()
    root = a_dict(("inner", inner))
    inner.items += [root, inner]
    assert records_leading_to(root, is_leaf) == set()
    inner.items.append(LEAF)
    assert records_leading_to(root, is_leaf) == {id(root), id(inner)}


def test_a_million_levels_do_not_recurse() -> None:
    record: object = a_list(LEAF)
    for _ in range(300_000):
        record = (record,)
    assert len(records_leading_to(record, is_leaf)) == 300_001


def test_a_billion_laughs_is_looked_at_once_per_record() -> None:
    record = a_list(LEAF)
    for _ in range(64):
        record = a_list(record, record)
    assert len(records_leading_to(record, is_leaf)) == 65


def test_keys_become_parts() -> None:
    keys = ["a.b", 3, b"py2", None, True, 1.5, ()]
    assert [key_part(key) for key in keys] == ["a.b", 3, "py2", "None", "True", "1.5", "()"]


def test_lists_of_torchscript() -> None:
    stored = ListRecord()
    stored.items += [8000, 16000]
    listed = Call("reduce", Global("torch.jit._pickle", "build_intlist"), (stored,), 0)
    assert sequence_items(listed) == [8000, 16000]
    other = Call("reduce", Global("torch.jit._pickle", "build_anything"), (stored,), 0)
    assert sequence_items(other) is None
