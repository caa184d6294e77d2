"""The builder of columns, for readers that go tensor by tensor."""

from __future__ import annotations

from dataclasses import dataclass, field

from .columns import Columns, Path, dotted
from .dtypes import DType
from .sections import Section
from .source import ByteSource
from .tensor import ByteOrder, TensorRef

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
