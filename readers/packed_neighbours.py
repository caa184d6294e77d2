"""The tensors around a packed weight, found by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .columns import Columns, LogicalCount
from .errors import ParamInspectError
from .packed_config import QuantizationConfig
from .source import read

Counts = dict[int, LogicalCount]
"""Logical counts by row."""

SIDE_DATA: Final = LogicalCount(0, "quantisation side data, no parameters of its own")

_REASON: Final = "unknown, stored elements shown: "


class Neighbours:
    """A table's rows by name, with what is known of each from its header."""

    def __init__(self, columns: Columns) -> None:
        self.config = QuantizationConfig(columns.quantization)
        self.names = columns.names
        self.shapes = columns.shapes
        self.elements = columns.elements
        self._columns = columns
        self._row_of_name = dict(zip(columns.names, range(len(columns)), strict=True))
        self._repeated = self._repeated_names()

    def _repeated_names(self) -> frozenset[str]:
        if len(self._row_of_name) == len(self.names):
            return frozenset()
        last = self._row_of_name
        return frozenset(name for row, name in enumerate(self.names) if last[name] != row)

    def is_repeated(self, name: str) -> bool:
        """Whether several rows have this name: none of them can be told to belong to another."""
        return name in self._repeated

    def row(self, name: str) -> int | None:
        """The one row of this name, or None."""
        row = self._row_of_name.get(name)
        return None if row is None or name in self._repeated else row

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of the one row of this name, or None."""
        row = self.row(name)
        return None if row is None else self.shapes[row]

    def dtype(self, row: int) -> str:
        """Canonical name of a row's element type."""
        return self._columns.dtypes[row].name

    def bits(self, row: int) -> int:
        """Bits of one stored element of a row."""
        return self._columns.dtypes[row].bits

    def rows(self, prefix: str, endings: Iterable[str]) -> list[int]:
        """The rows named `prefix` + one of `endings`, as far as there is one of each."""
        found = (self.row(prefix + ending) for ending in endings)
        return [row for row in found if row is not None]

    def small_bytes(self, row: int, limit: int) -> bytes | None:
        """The stored bytes of a small tensor, or None where they are too many or cannot be read."""
        try:
            ref = self._columns.locate(row)
            if ref.source is None or ref.nbytes > limit or ref.strides is not None:
                return None
            return read(ref.source, ref.offset, ref.nbytes)
        except ParamInspectError:
            return None

    def is_little_endian(self, row: int) -> bool:
        """Byte order of a row's elements."""
        return self._columns.locate(row).byteorder == "little"

    def claim(self, row: int, parameters: int, basis: str, sides: Iterable[int]) -> Counts:
        """A weight's count, and none for its side data."""
        return {row: LogicalCount(parameters, basis), **dict.fromkeys(sides, SIDE_DATA)}

    def claimed_sides(self, sides: Iterable[int]) -> Counts:
        """Side data of a weight whose own count stands."""
        return dict.fromkeys(sides, SIDE_DATA)

    def unknown(self, row: int, reason: str) -> Counts:
        """A packed weight whose count cannot be told: its stored elements, marked as not known."""
        return {row: LogicalCount(self.elements[row], _REASON + reason, known=False)}
