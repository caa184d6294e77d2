"""The layer tree: dotted names grouped into modules with subtotals, repeated blocks folded into one node.

Nothing here recurses and nothing is built below the depth asked for: a node is a list of (row, offset of
the rest of its name), so 500,000 tensors with hostile names cost no more than their text.
"""

from __future__ import annotations

from collections.abc import Sequence
from os.path import commonprefix
from typing import Final, NamedTuple, TypedDict

from ...readers import ParameterTable, Section
from ...readers.ordering import natural_key
from .figures import TotalsData, totals_data

MAX_RUNS: Final = 6
"""Runs of identical blocks among siblings that are listed one by one; beyond that, blocks are put together
by structure even where they are not neighbours (layers of two kinds that alternate)."""

MAX_INLINE: Final = 3
"""Lines of folded blocks that stand in place of the module that holds them."""

_INDEX_DIGITS: Final = 9
"""Digits of a name that counts as a block index."""


class LayerRow(TypedDict):
    """One line of the tree, in the order a reader goes down it."""

    name: str
    """Path from the root of the tree, with folded blocks as ranges: `model.layers.0-31.mlp`."""

    label: str
    """The part of `name` below the parent's."""

    depth: int
    """1 for the top level."""

    kind: str
    """`module`, `tensor` or `rest` (siblings beyond the limit, in one line)."""

    repeats: int
    """Blocks folded into this line itself; 1 where nothing is folded."""

    indices: list[list[int]] | None
    """For a folded line: first and last index of each run of blocks."""

    totals: TotalsData
    """Sums over every tensor below, in all repetitions; bytes used twice below count once."""

    dtypes: list[str]
    shape: list[int] | None
    """Of a tensor line: the shape, where all tensors folded into it agree."""

    shared: int
    """Tensors below that use some of the same bytes as another tensor of the table."""

    hidden: int
    """Tensors below this line that no deeper line shows (the depth or sibling limit was reached)."""


class _Node:
    """Rows that share a name up to an offset: `rows[i]` goes on at `offsets[i]`, -1 where it ends.

    `indices` are the numbers of the blocks that the node is or was folded from.
    """

    __slots__ = ("indices", "label", "offsets", "rows")

    def __init__(
        self, label: str, rows: list[int], offsets: list[int], indices: list[int] | None = None
    ) -> None:
        self.label = label
        self.rows = rows
        self.offsets = offsets
        self.indices = indices

    @property
    def is_tensor(self) -> bool:
        return self.offsets[0] < 0


class _Pending(NamedTuple):
    """A node that is still to be listed."""

    node: _Node
    parent: str
    depth: int


def layer_rows(table: ParameterTable, *, depth: int | None, limit: int | None = None) -> list[LayerRow]:
    """The tree of a table, top down.

    Args:
        table: any rows; subtotals are over these.
        depth: levels to list, None for all. A module with a single child is one level with it, and one
            that holds nothing of the model (optimizer state, averages) is opened only with None.
        limit: siblings listed under one parent before the rest become one line, None for all.
    """
    root = _Node("", list(range(len(table))), [0] * len(table))
    open_rows = _rows_to_open(table) if depth is not None else None
    rows: list[LayerRow] = []
    pending = _expanded(root, table, "", 1, limit) if depth is None or depth > 0 else []
    while pending:
        here = pending.pop()
        if isinstance(here, dict):
            rows.append(here)
            continue
        _collapse(here.node, table.names)
        name = f"{here.parent}.{here.node.label}" if here.parent or here.depth > 1 else here.node.label
        row = _line(here, name, table)
        rows.append(row)
        if here.node.is_tensor or (depth is not None and here.depth >= depth):
            continue
        if open_rows is None or not open_rows.isdisjoint(here.node.rows):
            row["hidden"] = 0
            pending += _expanded(here.node, table, name, here.depth + 1, limit)
    return rows


def _rows_to_open(table: ParameterTable) -> frozenset[int] | None:
    """The rows of the model itself, where there are others too: only modules that hold one are opened."""
    rows = [
        row
        for row, section in enumerate(table.sections)
        if section is Section.MODEL or section is Section.BUFFER
    ]
    return frozenset(rows) if 0 < len(rows) < len(table) else None


def _expanded(
    node: _Node, table: ParameterTable, name: str, depth: int, limit: int | None
) -> list[_Pending | LayerRow]:
    """The children, last first, as they go on the stack."""
    children = _children(node, table)
    shown = children if limit is None or len(children) <= limit else children[: max(1, limit - 1)]
    stack: list[_Pending | LayerRow] = [_Pending(child, name, depth) for child in shown]
    rest = children[len(shown) :]
    if rest:
        stack.append(_rest_line(rest, name, depth, table))
    return stack[::-1]


def _children(node: _Node, table: ParameterTable) -> list[_Node]:
    """Children by the next part of the name, in order; numbered ones folded, and a module that holds
    nothing but numbered blocks replaced by them (`layers.0-31`).
    """
    result: list[_Node] = []
    children = _ordered(_split(node, table.names))
    blocks = [child for child in children if _is_index(child.label)]
    for child in children:
        if not _is_index(child.label):
            result += _blocks_of(child, table) or [child]
        elif child is blocks[0]:
            result += _folded(blocks, table)
    return result


def _split(node: _Node, names: Sequence[str]) -> list[_Node]:
    """Rows by the next part of their names; one that ends there stays apart from a module of that name."""
    children: dict[tuple[str, bool], _Node] = {}
    for row, offset in zip(node.rows, node.offsets, strict=True):
        name = names[row]
        end = name.find(".", offset)
        ends_here = end < 0
        label = name[offset:] if ends_here else name[offset:end]
        child = children.get((label, ends_here))
        if child is None:
            child = children[label, ends_here] = _Node(label, [], [])
        child.rows.append(row)
        child.offsets.append(-1 if ends_here else end + 1)
    return list(children.values())


def _ordered(nodes: list[_Node]) -> list[_Node]:
    """In the file's order, unless the file is sorted by name: that order says nothing about the model,
    and a natural one reads better.
    """
    labels = [node.label for node in nodes]
    if labels == sorted(labels):
        return sorted(nodes, key=lambda node: natural_key(node.label))
    return nodes


def _is_index(label: str) -> bool:
    """A number as a framework writes it: ASCII digits, no leading zero."""
    return (
        label.isascii()
        and label.isdigit()
        and len(label) <= _INDEX_DIGITS
        and (label[0] != "0" or label == "0")
    )


def _blocks_of(node: _Node, table: ParameterTable) -> list[_Node]:
    """The folded children of a module, if all of them are numbered; else nothing."""
    if node.is_tensor:
        return []
    first = table.names[node.rows[0]][node.offsets[0] :].split(".", 1)[0]
    if not _is_index(first):
        return []
    children = _split(node, table.names)
    if not all(_is_index(child.label) for child in children):
        return []
    blocks = _folded(children, table)
    if len(blocks) > MAX_INLINE:
        return []
    for block in blocks:
        block.label = f"{node.label}.{block.label}"
    return blocks


def _folded(blocks: list[_Node], table: ParameterTable) -> list[_Node]:
    """Numbered siblings with neighbours of identical structure put together."""
    if not blocks:
        return []
    blocks = sorted(blocks, key=lambda block: (int(block.label), block.label))
    signatures = [_signature(block, table) for block in blocks]
    runs: list[list[int]] = []
    for position, signature in enumerate(signatures):
        follows = (
            runs
            and signatures[runs[-1][-1]] == signature
            and int(blocks[position].label) == int(blocks[runs[-1][-1]].label) + 1
        )
        if follows:
            runs[-1].append(position)
        else:
            runs.append([position])
    if len(runs) > MAX_RUNS:
        by_kind: dict[object, list[int]] = {}
        for run in runs:
            by_kind.setdefault(signatures[run[0]], []).extend(run)
        runs = list(by_kind.values())
    return [_merged([blocks[position] for position in run]) for run in runs]


def _signature(block: _Node, table: ParameterTable) -> tuple[object, ...]:
    """What two blocks must share to be called identical: relative names, dtypes, shapes and sections."""
    names, shapes, dtypes, sections = table.names, table.shapes, table.dtypes, table.sections
    parts = [
        ("" if offset < 0 else names[row][offset:], dtypes[row].name, shapes[row], sections[row].value)
        for row, offset in zip(block.rows, block.offsets, strict=True)
    ]
    parts.sort()
    return (block.is_tensor, *parts)


def _merged(blocks: Sequence[_Node]) -> _Node:
    first = blocks[0]
    indices = [int(block.label) for block in blocks]
    if len(blocks) == 1:
        return _Node(first.label, first.rows, first.offsets, indices)
    return _Node(
        _ranges_label(_ranges(indices)),
        [row for block in blocks for row in block.rows],
        [offset for block in blocks for offset in block.offsets],
        indices,
    )


def _ranges(indices: Sequence[int]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return ranges


def _ranges_label(ranges: Sequence[Sequence[int]]) -> str:
    """`0-31`; `0,2,4,…,30` where there are many."""
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    return ",".join(texts if len(texts) <= 4 else [*texts[:3], "…", texts[-1]])


def _collapse(node: _Node, names: Sequence[str]) -> None:
    """Take the parts that every row has next into the label, up to where they part ways or blocks begin."""
    if node.is_tensor:
        return
    rests = [names[row][offset:] for row, offset in zip(node.rows, node.offsets, strict=True)]
    lowest, highest = min(rests), max(rests)
    if lowest == highest:
        node.label = f"{node.label}.{lowest}"
        node.offsets = [-1] * len(node.rows)
        return
    shared = commonprefix([lowest, highest])  # noqa: RUF071  (characters are what is meant)
    parts = shared.split(".")[:-1]
    end = len(shared) - len(shared.rsplit(".", 1)[-1])
    if parts and all(_is_index(rest[end:].split(".", 1)[0]) for rest in (lowest, highest)):
        parts.pop()  # the module that holds the blocks stays with them: `experts.0-7`
    if parts and not any(map(_is_index, parts)):
        label = ".".join(parts)
        node.label = f"{node.label}.{label}"
        node.offsets = [offset + len(label) + 1 for offset in node.offsets]


def _line(here: _Pending, name: str, table: ParameterTable) -> LayerRow:
    node = here.node
    taken = table.take(node.rows)
    shapes = set(taken.shapes) if node.is_tensor else set()
    ranges = _ranges(node.indices) if node.indices is not None and len(node.indices) > 1 else None
    return LayerRow(
        name=name,
        label=node.label,
        depth=here.depth,
        kind="tensor" if node.is_tensor else "module",
        repeats=len(node.indices) if node.indices is not None else 1,
        indices=ranges,
        totals=totals_data(taken.totals()),
        dtypes=_dtype_labels(taken),
        shared=_shared_count(table, node.rows),
        shape=list(shapes.pop()) if len(shapes) == 1 else None,
        hidden=0 if node.is_tensor else len(node.rows),
    )


def _rest_line(nodes: Sequence[_Node], parent: str, depth: int, table: ParameterTable) -> LayerRow:
    taken = table.take([row for node in nodes for row in node.rows])
    return LayerRow(
        name=parent,
        label=f"{len(nodes)} more",
        depth=depth,
        kind="rest",
        repeats=1,
        indices=None,
        totals=totals_data(taken.totals()),
        dtypes=_dtype_labels(taken),
        shape=None,
        shared=sum(_shared_count(table, node.rows) for node in nodes),
        hidden=len(taken),
    )


def _shared_count(table: ParameterTable, rows: Sequence[int]) -> int:
    return sum(map(table.shared.__getitem__, rows)) if table.overlaps else 0


def _dtype_labels(table: ParameterTable) -> list[str]:
    """Short dtype names, the one with most bytes first."""
    nbytes: dict[str, int] = {}
    for dtype, count in zip(table.dtypes, table.nbytes, strict=True):
        nbytes[dtype.label] = nbytes.get(dtype.label, 0) + count
    return sorted(nbytes, key=nbytes.__getitem__, reverse=True)
