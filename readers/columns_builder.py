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

Measures = tuple[int, int, int]
"""Stored elements, bytes, and bytes from the first to the last one."""

_Row = tuple[
    Path, TensorRef | PlannedRef, Measures, int, int, Section | None, bool | None, str | None
]  # fmt: skip


@dataclass(slots=True)
class ColumnsBuilder:
    """Collects tensors one by one, in order."""

    _rows: list[_Row] = field(default_factory=list)
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
        counted = ref.elements if elements is None else elements
        measures = (counted, ref.nbytes, ref.dtype.span(ref.span_elements))
        self._rows.append((path, ref, measures, storage, start, section, trainable, owner))

    def add_planned(
        self,
        path: Path,
        ref: PlannedRef,
        measures: Measures,
        storage: int,
        start: int,
        section: Section | None,
        trainable: bool | None,
    ) -> None:
        """The same for a view of a storage whose measures are known."""
        self._rows.append((path, ref, measures, storage, start, section, trainable, None))

    def build(self) -> Columns:
        """The columns; the builder must not be used afterwards."""
        rows = self._rows
        refs = [row[1] for row in rows]
        measures = [row[2] for row in rows]
        storages = [row[3] for row in rows]
        sections = [row[5] for row in rows]
        trainable = [row[6] for row in rows]
        owners = [row[7] for row in rows]
        shared = len(set(storages)) < len(storages)
        return Columns(
            names=[dotted(row[0]) for row in rows],
            shapes=[ref[3] if isinstance(ref, tuple) else ref.shape for ref in refs],
            dtypes=[ref[2] if isinstance(ref, tuple) else ref.dtype for ref in refs],
            elements=[elements for elements, _, _ in measures],
            nbytes=[nbytes for _, nbytes, _ in measures],
            locate=_Planned(refs).locate,
            paths=[row[0] for row in rows],
            storages=storages if shared else None,
            starts=[row[4] for row in rows] if shared else None,
            spans=[span for _, _, span in measures] if shared else None,
            sections=sections if any(sections) else None,
            trainable=None if all(flag is None for flag in trainable) else trainable,
            owners=owners if any(owners) else None,
        )


@dataclass(frozen=True, slots=True)
class _Planned:
    """Refs made when a row is asked for."""

    refs: list[TensorRef | PlannedRef]

    def locate(self, row: int) -> TensorRef:
        ref = self.refs[row]
        return TensorRef(*ref) if isinstance(ref, tuple) else ref
