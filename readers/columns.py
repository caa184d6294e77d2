"""Columns: what a reader hands over, one list a column, and the builder for readers that go tensor by
tensor.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, repeat
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from .dtypes import DType
from .sections import Section
from .source import ByteSource
from .tensor import ByteOrder, TensorRef

if TYPE_CHECKING:
    from .moments import OptimizerGroups

Value = TypeVar("Value")
PathPart = str | int
Path = tuple[PathPart, ...]


class LogicalCount(NamedTuple):
    """How many parameters of the model a stored tensor stands for."""

    parameters: int
    basis: str
    """What the figure was derived from, as a short phrase."""

    known: bool = True
    """False where the count could not be told: `parameters` is then the stored elements, and `basis`
    says why."""


@dataclass(slots=True)
class Columns:
    """The table as a reader knows it. Lists are parallel; None stands for a whole column that needs no
    list because every row has the same obvious value.
    """

    names: list[str]
    """Display names, dotted."""

    shapes: list[tuple[int, ...]]
    dtypes: list[DType]
    elements: list[int]
    nbytes: list[int]
    """Bytes on disk of each tensor (0 where the file holds no values)."""

    locate: Callable[[int], TensorRef]
    """The values of a row."""

    paths: list[Path] | None = None
    """Parts as stored; None when every stored key is one part, equal to its name."""

    files: list[int] | None = None
    """Index into `Checkpoint.files`; None when there is one file."""

    storages: list[int] | None = None
    """Identity of the bytes: equal numbers share storage. None when no two tensors do."""

    starts: list[int] | None = None
    """Byte offset of each tensor in its storage; None with `storages`."""

    spans: list[int] | None = None
    """Bytes from the first to the last one the tensor touches in its storage; None with `storages`."""

    sections: list[Section | None] | None = None
    """What the file says; None (a row or the column) where it says nothing and the name decides."""

    trainable: list[bool | None] | None = None
    """requires_grad where the file tells."""

    owners: list[str | None] | None = None
    """For optimizer state: the name of the parameter it belongs to."""

    optimizer_groups: tuple[OptimizerGroups, ...] = ()
    """Parameter groups of the optimizers among the rows."""

    in_module_order: bool = True
    """Rows come in the order in which the model defines its tensors (safetensors sorts them instead)."""

    quantization: Mapping[str, object] | None = None
    """The `quantization_config` (or like) of a config beside the weights: how packed weights count."""

    def __len__(self) -> int:
        return len(self.names)


PlannedRef = tuple[ByteSource | None, int, DType, tuple[int, ...], tuple[int, ...] | None, ByteOrder]
"""The first arguments of a `TensorRef`: a table of 100,000 rows makes them when a row is asked for."""


@dataclass(slots=True)
class ColumnsBuilder:
    """Collects tensors one by one, in order."""

    refs: list[TensorRef | PlannedRef] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    elements: list[int] = field(default_factory=list)
    nbytes: list[int] = field(default_factory=list)
    spans: list[int] = field(default_factory=list)
    storages: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    sections: list[Section | None] = field(default_factory=list)
    trainable: list[bool | None] = field(default_factory=list)
    owners: list[str | None] = field(default_factory=list)
    _fresh: int = -1

    def add(
        self,
        path: Path,
        ref: TensorRef,
        *,
        storage: int | None = None,
        start: int = 0,
        section: Section | None = None,
        trainable: bool | None = None,
        owner: str | None = None,
        elements: int | None = None,
    ) -> None:
        """Append one tensor. `storage` (not negative) with `start` says which bytes it shares with
        others; without it the tensor has bytes of its own. `elements` is for a tensor whose stored
        elements are not those of its shape (0 for one made of others that are listed beside it).
        """
        if storage is None:
            storage, self._fresh = self._fresh, self._fresh - 1
        self.refs.append(ref)
        self.paths.append(path)
        self.elements.append(ref.elements if elements is None else elements)
        self.nbytes.append(ref.nbytes)
        self.spans.append(ref.dtype.span(ref.span_elements))
        self.storages.append(storage)
        self.starts.append(start)
        self.sections.append(section)
        self.trainable.append(trainable)
        self.owners.append(owner)

    def add_planned(
        self,
        path: Path,
        ref: PlannedRef,
        measures: tuple[int, int, int],
        storage: int,
        start: int,
        section: Section | None,
        trainable: bool | None,
    ) -> None:
        """The same for a view of a storage whose `measures` (elements, bytes, span in bytes) are known."""
        self.refs.append(ref)
        self.paths.append(path)
        elements, nbytes, span = measures
        self.elements.append(elements)
        self.nbytes.append(nbytes)
        self.spans.append(span)
        self.storages.append(storage)
        self.starts.append(start)
        self.sections.append(section)
        self.trainable.append(trainable)
        self.owners.append(None)

    def build(self) -> Columns:
        """The columns; the builder must not be used afterwards."""
        refs = self.refs
        shared = len(set(self.storages)) < len(refs)
        return Columns(
            names=[dotted(path) for path in self.paths],
            shapes=[ref[3] if isinstance(ref, tuple) else ref.shape for ref in refs],
            dtypes=[ref[2] if isinstance(ref, tuple) else ref.dtype for ref in refs],
            elements=self.elements,
            nbytes=self.nbytes,
            locate=_Planned(refs).locate,
            paths=self.paths,
            storages=self.storages if shared else None,
            starts=self.starts if shared else None,
            spans=self.spans if shared else None,
            sections=self.sections if any(self.sections) else None,
            trainable=None if all(flag is None for flag in self.trainable) else self.trainable,
            owners=self.owners if any(self.owners) else None,
        )


@dataclass(frozen=True, slots=True)
class _Planned:
    """Refs made when a row is asked for."""

    refs: list[TensorRef | PlannedRef]

    def locate(self, row: int) -> TensorRef:
        ref = self.refs[row]
        return TensorRef(*ref) if isinstance(ref, tuple) else ref


def dotted(path: Path) -> str:
    """The display name of a path."""
    return ".".join([part if isinstance(part, str) else str(part) for part in path])


def joined(parts: Sequence[Columns], file_counts: Sequence[int]) -> Columns:
    """One table from several parts, made of `file_counts` files each: file indices go on from part to
    part, and storages stay apart.
    """
    ends = list(accumulate(len(part) for part in parts))
    first_files = accumulate(file_counts, initial=0)
    whole = Columns(
        names=_concatenated(part.names for part in parts),
        shapes=_concatenated(part.shapes for part in parts),
        dtypes=_concatenated(part.dtypes for part in parts),
        elements=_concatenated(part.elements for part in parts),
        nbytes=_concatenated(part.nbytes for part in parts),
        locate=_JoinedRows(parts, ends).locate,
        files=_concatenated(
            repeat(first, len(part)) if part.files is None else [first + index for index in part.files]
            for part, first in zip(parts, first_files, strict=False)
        ),
        sections=_joined_optional([part.sections for part in parts], parts),
        trainable=_joined_optional([part.trainable for part in parts], parts),
        owners=_joined_optional([part.owners for part in parts], parts),
        optimizer_groups=tuple(group for part in parts for group in part.optimizer_groups),
        in_module_order=all(part.in_module_order for part in parts),
        quantization=next((part.quantization for part in parts if part.quantization), None),
    )
    if any(part.paths is not None for part in parts):
        whole.paths = _concatenated(part.paths or [(name,) for name in part.names] for part in parts)
    if any(part.storages is not None for part in parts):
        _join_storages(whole, parts)
    return whole


def _join_storages(whole: Columns, parts: Sequence[Columns]) -> None:
    whole.storages, whole.starts, whole.spans = [], [], []
    first_free = 0
    own = -1
    for part in parts:
        storages = part.storages if part.storages is not None else [-1] * len(part)
        for storage in storages:
            whole.storages.append(storage + first_free if storage >= 0 else own)
            own -= storage < 0
        whole.starts += part.starts if part.starts is not None else [0] * len(part)
        whole.spans += part.spans if part.spans is not None else part.nbytes
        first_free += 1 + max(storages, default=-1)


@dataclass(frozen=True, slots=True)
class _JoinedRows:
    """Rows of several parts, found by number."""

    parts: Sequence[Columns]
    ends: list[int]

    def locate(self, row: int) -> TensorRef:
        index = bisect_right(self.ends, row)
        return self.parts[index].locate(row - (self.ends[index - 1] if index else 0))


def _concatenated(lists: Iterable[Iterable[Value]]) -> list[Value]:
    return list(chain.from_iterable(lists))


def _joined_optional(
    lists: Sequence[list[Value | None] | None], parts: Sequence[Columns]
) -> list[Value | None] | None:
    if all(values is None for values in lists):
        return None
    return _concatenated(
        values if values is not None else [None] * len(part)
        for values, part in zip(lists, parts, strict=True)
    )
