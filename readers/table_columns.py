"""The columns of a table: what a reader stored, picked by row, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from .columns import Columns, LogicalCount, Path
from .dtypes import DType
from .sections import Section, infer_role, infer_section
from .tensor import TensorRef


class TableColumns:
    """Columns as Python lists, made when first asked for; rows by number. numpy is not imported."""

    def __init__(self, columns: Columns, rows: Sequence[int] | None = None) -> None:
        self._columns = columns
        self._rows = rows

    @property
    def base_columns(self) -> Columns:
        """What the reader handed over: all rows, also those that a filter left out."""
        return self._columns

    @cached_property
    def names(self) -> list[str]:
        """Dotted display names."""
        return self._pick(self._columns.names)

    @cached_property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes as stored."""
        return self._pick(self._columns.shapes)

    @cached_property
    def dtypes(self) -> list[DType]:
        """Element types."""
        return self._pick(self._columns.dtypes)

    @cached_property
    def elements(self) -> list[int]:
        """Stored elements."""
        return self._pick(self._columns.elements)

    @cached_property
    def nbytes(self) -> list[int]:
        """Bytes on disk."""
        return self._pick(self._columns.nbytes)

    @cached_property
    def parameters(self) -> list[int]:
        """Logical parameters: `elements`, except where weights are packed."""
        counts = self._logical_counts
        if not counts:
            return self.elements
        rows = range(len(self)) if self._rows is None else self._rows
        return [
            counts[row].parameters if row in counts else stored
            for row, stored in zip(rows, self.elements, strict=True)
        ]

    @cached_property
    def sections(self) -> list[Section]:
        """Section of each row, as stored or inferred."""
        names, dtypes = self.names, self.dtypes
        stored = self._stored_sections or [None] * len(self)
        return [
            section or self._inferred_section(row, name, dtype)
            for row, (section, name, dtype) in enumerate(zip(stored, names, dtypes, strict=True))
        ]

    def _inferred_section(self, row: int, name: str, dtype: DType) -> Section:
        """What the name suggests; where that is the model, the stored key alone may tell more
        (`model_ema.weight` in a state dict under another key).
        """
        section = infer_section(name, dtype)
        if section is Section.MODEL and self._columns.paths is not None:
            key = self.path(row)[-1]
            if isinstance(key, str):
                section = infer_section(key, dtype)
        return section

    @cached_property
    def roles(self) -> list[str]:
        """Inferred role of each row."""
        return list(map(infer_role, self.names, self.shapes))

    @cached_property
    def storages(self) -> list[int]:
        """Identity of the bytes: equal numbers share storage."""
        stored = self._columns.storages
        return self._pick(stored) if stored is not None else self._row_numbers()

    @cached_property
    def files(self) -> list[int]:
        """Index into `Checkpoint.files`."""
        stored = self._columns.files
        return self._pick(stored) if stored is not None else [0] * len(self)

    @cached_property
    def trainable(self) -> list[bool | None]:
        """requires_grad where the file tells."""
        stored = self._columns.trainable
        return self._pick(stored) if stored is not None else [None] * len(self)

    @cached_property
    def owners(self) -> list[str | None]:
        """The parameter that optimizer state belongs to."""
        stored = self._columns.owners
        return self._pick(stored) if stored is not None else [None] * len(self)

    @cached_property
    def shared(self) -> list[bool]:
        """Whether another tensor of this table uses some of the same bytes."""
        flags = [False] * len(self)
        for rows in self.overlaps:
            for row in rows:
                flags[row] = True
        return flags

    @cached_property
    def overlaps(self) -> list[list[int]]:
        """Tied and shared tensors: sets of rows that use some of the same bytes, each in row order.

        Every row of a set overlaps at least one other of it.
        """
        sets: list[list[int]] = []
        for members in self._shared_sets.values():
            extents = {row: self._extent(row) for row in members}
            end_of_set = -1
            opened: list[list[int]] = []
            for row in sorted(members, key=extents.__getitem__):
                begin, end = extents[row]
                if begin == end:
                    continue
                if begin >= end_of_set:
                    opened.append([])
                opened[-1].append(row)
                end_of_set = max(end_of_set, end)
            sets += [sorted(rows) for rows in opened if len(rows) > 1]
        return sorted(sets)

    # --- single rows ---

    def path(self, row: int) -> Path:
        """The stored parts of a row's name."""
        if self._columns.paths is None:
            return (self.names[row],)
        return self._columns.paths[self._base_row(row)]

    def data(self, row: int) -> TensorRef:
        """Where the values of a row lie."""
        return self._columns.locate(self._base_row(row))

    def section_is_inferred(self, row: int) -> bool:
        """Whether the row's section is a guess from its name."""
        stored = self._columns.sections
        return stored is None or stored[self._base_row(row)] is None

    def parameters_basis(self, row: int) -> str | None:
        """What the logical count of a row was derived from, or None where it is the element count."""
        count = self._logical_counts.get(self._base_row(row))
        return None if count is None else count.basis

    def shared_rows(self, row: int) -> list[int]:
        """Other rows of this table whose bytes overlap those of `row`."""
        others = self._shared_sets.get(self.storages[row], ())
        begin, end = self._extent(row)
        return [
            other
            for other in others
            if other != row and max(begin, self._extent(other)[0]) < min(end, self._extent(other)[1])
        ]

    def __len__(self) -> int:
        return len(self._columns) if self._rows is None else len(self._rows)

    # --- inner workings ---

    def _pick(self, values: list[Any]) -> list[Any]:
        return values if self._rows is None else [values[row] for row in self._rows]

    def _base_row(self, row: int) -> int:
        return row if self._rows is None else self._rows[row]

    def _row_numbers(self) -> list[int]:
        return list(range(len(self))) if self._rows is None else list(self._rows)

    @property
    def _stored_sections(self) -> list[Section | None] | None:
        stored = self._columns.sections
        return None if stored is None else self._pick(stored)

    @cached_property
    def _logical_counts(self) -> Mapping[int, LogicalCount]:
        from .packed import logical_counts

        return logical_counts(self._columns)

    @cached_property
    def _shared_sets(self) -> dict[int, list[int]]:
        """Rows by storage, for the storages that several rows use."""
        if self._columns.storages is None:
            return {}
        rows: dict[int, list[int]] = {}
        for row, storage in enumerate(self.storages):
            rows.setdefault(storage, []).append(row)
        return {storage: members for storage, members in rows.items() if len(members) > 1}

    def _extent(self, row: int) -> tuple[int, int]:
        """First and one-past-last byte of a row in its storage."""
        base = self._base_row(row)
        starts, spans = self._columns.starts, self._columns.spans
        begin = 0 if starts is None else starts[base]
        return begin, begin + (self.nbytes[row] if spans is None else spans[base])

    @cached_property
    def _own_nbytes(self) -> dict[int, int]:
        """For rows in shared storages: the bytes that no row before them (in storage order, the larger
        first) has accounted for. A sweep over intervals; a strided view counts its own elements, and
        never more than the part of the storage that is still unaccounted for.
        """
        own: dict[int, int] = {}
        for members in self._shared_sets.values():
            extents = {row: self._extent(row) for row in members}
            covered = counted = end_of_cover = 0
            for row in sorted(members, key=lambda row: (extents[row][0], -extents[row][1])):
                begin, end = extents[row]
                covered += max(0, end - max(begin, end_of_cover))
                end_of_cover = max(end_of_cover, end)
                own[row] = min(self.nbytes[row], covered - counted)
                counted += own[row]
        return own
