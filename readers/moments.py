"""Optimizer state joined to the parameters it belongs to.

torch keys optimizer state by numbers: position in the order in which parameters were handed to the
optimizer. Where the file names them (`param_names`, or names as keys) they are believed; otherwise the order
of the model's tensors is tried, and accepted only if every moment has the shape of its parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, permutations
from typing import Final

from .columns import Columns, Path
from .record_graph import mapping_pairs, sequence_items
from .sections import Section, infer_section

_WHOLE_MOMENTS: Final = frozenset(
    {
        "exp_avg",
        "exp_avg_sq",
        "max_exp_avg_sq",
        "exp_inf",
        "momentum_buffer",
        "square_avg",
        "grad_avg",
        "acc_delta",
        "sum",
        "ax",
        "prev",
        "step_size",
    }
)
"""State that has the shape of its parameter (torch.optim); factored moments of other optimizers do not."""


_MAX_PERMUTED_GROUPS: Final = 4
"""Groups whose every order is tried (24 orders of four)."""


@dataclass(frozen=True, slots=True)
class OptimizerGroups:
    """The parameter groups of one optimizer."""

    path: Path
    """Where the optimizer's state dict lies in the checkpoint."""

    ids: tuple[tuple[int | str, ...], ...]
    """Parameter ids of each group, in order."""

    names: dict[int | str, str]
    """Names by id, where the file says (`param_names`)."""


def groups_of(record: object, path: Path) -> OptimizerGroups:
    """The groups of an optimizer's state dict."""
    fields = {key: value for key, value in mapping_pairs(record) or () if isinstance(key, str)}
    ids: list[tuple[int | str, ...]] = []
    names: dict[int | str, str] = {}
    for group in sequence_items(fields.get("param_groups")) or ():
        entries = {key: value for key, value in mapping_pairs(group) or () if isinstance(key, str)}
        members = tuple(
            member
            for member in sequence_items(entries.get("params")) or ()
            if isinstance(member, (int, str)) and not isinstance(member, bool)
        )
        ids.append(members)
        stored_names = sequence_items(entries.get("param_names")) or ()
        if len(stored_names) == len(members):
            names.update(
                (member, name)
                for member, name in zip(members, stored_names, strict=True)
                if isinstance(name, str)
            )
    return OptimizerGroups(path, tuple(ids), names)


def assign_owners(columns: Columns, optimizers: Sequence[OptimizerGroups]) -> list[str | None] | None:
    """The parameter's display name for each row of optimizer state, where it can be told.

    Returns:
        One entry a row, or None when no row has an owner.
    """
    owners: list[str | None] = list(columns.owners or [None] * len(columns))
    for optimizer in optimizers:
        rows = _state_rows(columns, optimizer.path)
        names = _owner_names(columns, optimizer, rows)
        for row, identity in rows.items():
            owners[row] = names.get(identity, owners[row])
    return owners if any(owners) else None


def _state_rows(columns: Columns, path: Path) -> dict[int, int | str]:
    """Rows under `path.state.<id>`, with the id."""
    start = (*path, "state")
    depth = len(start)
    return {
        row: stored[depth]
        for row, stored in enumerate(columns.paths or ())
        if len(stored) > depth + 1 and stored[:depth] == start
    }


def _owner_names(
    columns: Columns, optimizer: OptimizerGroups, rows: dict[int, int | str]
) -> dict[int | str, str]:
    if optimizer.names:
        return _qualified(columns, optimizer.names)
    used = set(rows.values())
    text_ids: dict[int | str, str] = {identity: identity for identity in used if isinstance(identity, str)}
    if text_ids:
        return _qualified(columns, text_ids)
    moments: dict[int | str, tuple[int, ...]] = {}
    for row, identity in rows.items():
        if columns.names[row].rsplit(".", 1)[-1] in _WHOLE_MOMENTS:
            moments.setdefault(identity, columns.shapes[row])
    if not moments:
        return {}
    ids = [identity for group in optimizer.ids for identity in group] or sorted(used, key=str)
    shapes = [moments.get(identity) for identity in ids]
    sequences = _handed_over(ids, optimizer.ids)
    if not columns.in_module_order:
        return _by_unique_shape(columns, ids, shapes)
    readings = [
        [dict(zip(sequence, reading, strict=True))[identity] for identity in ids]
        for candidates in _candidate_lists(columns)
        for order in _orders(columns, candidates, optimizer.ids)
        for sequence in sequences
        if (reading := _embedding([moments.get(one) for one in sequence], order, columns.shapes)) is not None
    ]
    return (
        {
            identity: columns.names[row]
            for identity, rows_read in zip(ids, zip(*readings, strict=True), strict=True)
            if len(set(rows_read)) == 1 and (row := rows_read[0]) is not None
        }
        if readings
        else {}
    )


def _handed_over(ids: list[int | str], groups: tuple[tuple[int | str, ...], ...]) -> list[list[int | str]]:
    """Orders in which the ids may follow the model's own order: their groups in any order, since whoever
    made the optimizer may have named the head before the body.
    """
    if not 1 < len(groups) <= _MAX_PERMUTED_GROUPS:
        return [ids]
    return [list(chain.from_iterable(order)) for order in permutations(groups)]


def _by_unique_shape(
    columns: Columns, ids: Sequence[int | str], wanted: Sequence[tuple[int, ...] | None]
) -> dict[int | str, str]:
    """Owners where the order of the rows says nothing: a shape that one parameter and one entry have."""
    candidates = _candidate_lists(columns)[-1:]
    rows_of_shape: dict[tuple[int, ...], list[int]] = {}
    for row in candidates[0] if candidates else ():
        rows_of_shape.setdefault(columns.shapes[row], []).append(row)
    if None in wanted:
        return {}
    found = {}
    for identity, shape in zip(ids, wanted, strict=True):
        rows = rows_of_shape.get(shape, []) if shape is not None else []
        if len(rows) == 1 and wanted.count(shape) == 1:
            found[identity] = columns.names[rows[0]]
    return found


def _embedding(
    wanted: Sequence[tuple[int, ...] | None], candidates: Sequence[int], shapes: Sequence[tuple[int, ...]]
) -> list[int | None] | None:
    """The candidate that each shape belongs to, in order.

    Shapes are matched as far left as possible, then as far right as possible: where both give the same
    candidate there is no other way, elsewhere the entry is None. A wanted None fits anything.

    Returns:
        None when the shapes do not occur in this order at all.
    """
    leftmost = _leftmost(wanted, candidates, shapes)
    backwards = _leftmost(wanted[::-1], candidates[::-1], shapes)
    if leftmost is None or backwards is None:
        return None
    return [
        left if left == right else None for left, right in zip(leftmost, reversed(backwards), strict=True)
    ]


def _leftmost(
    wanted: Sequence[tuple[int, ...] | None], candidates: Sequence[int], shapes: Sequence[tuple[int, ...]]
) -> list[int] | None:
    found: list[int] = []
    remaining = iter(candidates)
    for shape in wanted:
        row = next((row for row in remaining if shape is None or shapes[row] == shape), None)
        if row is None:
            return None
        found.append(row)
    return found


def _qualified(columns: Columns, names: dict[int | str, str]) -> dict[int | str, str]:
    """Names as the optimizer knows them, turned into display names of this table where they differ by
    the place of the state dict.
    """
    by_last_part: dict[object, list[str]] = {}
    for rows in _candidate_lists(columns)[-1:]:
        for row in rows:
            by_last_part.setdefault((columns.paths or ())[row][-1], []).append(columns.names[row])
    known = set(columns.names)
    found = {}
    for identity, name in names.items():
        places = [name] if name in known else by_last_part.get(name, [])
        if len(places) == 1:  # of two models with the same names, neither is claimed
            found[identity] = places[0]
    return found


def _candidate_lists(columns: Columns) -> list[list[int]]:
    """Rows that may be parameters, per state dict of the checkpoint: learned, floating point, and each
    storage once, as `Module.parameters()` yields them.
    """
    lists: dict[Path, list[int]] = {}
    taken: set[tuple[int, int]] = set()
    for row, path in enumerate(columns.paths or ()):
        section = columns.sections[row] if columns.sections else None
        section = section or infer_section(columns.names[row], columns.dtypes[row])
        if section is not Section.MODEL:
            continue
        if columns.storages is not None and columns.starts is not None:
            place = (columns.storages[row], columns.starts[row])
            if place in taken:
                continue
            taken.add(place)
        lists.setdefault(path[:-1], []).append(row)
    merged = [row for rows in lists.values() for row in rows]
    return list(lists.values()) + ([merged] if len(lists) > 1 else [])


def _orders(
    columns: Columns, candidates: list[int], groups: tuple[tuple[int | str, ...], ...]
) -> list[list[int]]:
    """Orders in which the candidates may have been handed to the optimizer: as they are, or matrices and
    vectors (biases, norms, which get no weight decay) in groups of their own.
    """
    orders = [candidates]
    if len(groups) > 1:
        matrices = [row for row in candidates if len(columns.shapes[row]) > 1]
        vectors = [row for row in candidates if len(columns.shapes[row]) <= 1]
        orders += [matrices + vectors, vectors + matrices]
    return orders
