"""A tensor stored as a grid of chunks, read as if it were one piece."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from math import prod

from .dtypes import DType
from .source import ByteSource, out_of_bounds

Cell = tuple[int, ...]
"""Number of a chunk along each dimension."""


class ChunkGrid:
    """Where a tensor is cut, along each dimension."""

    def __init__(
        self, shape: tuple[int, ...], pieces: Iterable[tuple[tuple[int, ...], tuple[int, ...]]]
    ) -> None:
        """Pieces are (offsets, sizes); those without elements are left out.

        Raises:
            ValueError: they are no regular grid that covers the shape exactly once.
        """
        self.shape = shape
        pieces = [piece for piece in pieces if 0 not in piece[1] or 0 in shape]
        if any(len(offsets) != len(shape) or len(sizes) != len(shape) for offsets, sizes in pieces):
            raise ValueError("chunks and tensor differ in their number of dimensions")
        self.starts = [sorted({offsets[axis] for offsets, _ in pieces}) for axis in range(len(shape))]
        self.cells: dict[tuple[int, ...], Cell] = {}
        """The cell of each chunk, by its offsets."""
        for offsets, sizes in pieces:
            cell = tuple(map(bisect_right, self.starts, offsets))
            cell = tuple(number - 1 for number in cell)
            if sizes != self.sizes_of(cell) or offsets in self.cells:
                raise ValueError("chunks overlap, or leave gaps")
            self.cells[offsets] = cell
        first_at_origin = all(starts[:1] == [0] for starts in self.starts)
        if not first_at_origin or len(self.cells) != prod(map(len, self.starts)):
            raise ValueError("chunks do not cover the tensor")

    def sizes_of(self, cell: Cell) -> tuple[int, ...]:
        """Lengths of the chunk in a cell."""
        return tuple(
            (starts[number + 1] if number + 1 < len(starts) else length) - starts[number]
            for starts, number, length in zip(self.starts, cell, self.shape, strict=True)
        )

    @property
    def cut_axis(self) -> int:
        """The last dimension that is cut; 0 when none is."""
        return max((axis for axis, starts in enumerate(self.starts) if len(starts) > 1), default=0)


class GridSource:
    """The values of all chunks, in C order of the whole tensor."""

    def __init__(self, grid: ChunkGrid, parts: Mapping[Cell, ByteSource], dtype: DType, name: str) -> None:
        """Parts hold their chunk in C order.

        Raises:
            ValueError: the cuts do not lie between whole bytes.
        """
        self._grid = grid
        self._parts = parts
        self._name = name
        self._axis = axis = grid.cut_axis
        inner_bits = prod(grid.shape[axis + 1 :]) * dtype.bits
        if inner_bits % 8 and grid.shape:
            raise ValueError("chunks of a sub-byte type are cut inside a byte")
        self._inner = inner_bits // 8
        self._row_bytes = self._inner * grid.shape[axis] if grid.shape else dtype.span(1)
        self._size = dtype.span(prod(grid.shape))

    @property
    def name(self) -> str:
        """The folder or file to name in a message."""
        return self._name

    @property
    def base(self) -> int | None:
        """The chunks have no common offset."""
        return None

    def size(self) -> int:
        """Bytes of all chunks together."""
        return self._size

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset` of the whole, run by run."""
        view = buffer.cast("B")
        if offset < 0 or offset + len(view) > self._size:
            raise out_of_bounds(self, offset, len(view))
        filled = 0
        while filled < len(view):
            part, position, available = self._run_at(offset + filled)
            count = min(len(view) - filled, available)
            part.pread_into(position, view[filled : filled + count])
            filled += count

    def _run_at(self, offset: int) -> tuple[ByteSource, int, int]:
        """The chunk that holds a byte, the byte's place in it, and how many of the following bytes lie
        side by side both there and in the whole.
        """
        if not self._grid.shape:
            return self._parts[()], offset, self._size - offset
        row, within = divmod(offset, self._row_bytes)
        axis = self._axis
        outer: list[int] = []
        for length in reversed(self._grid.shape[:axis]):
            row, index = divmod(row, length)
            outer.insert(0, index)
        index = within // self._inner
        place = [*outer, index]
        cell = tuple(
            bisect_right(starts, position) - 1
            for starts, position in zip(self._grid.starts, place, strict=False)
        ) + (0,) * (len(self._grid.shape) - axis - 1)
        sizes = self._grid.sizes_of(cell)
        local_row = 0
        for position, starts, number, length in zip(outer, self._grid.starts, cell, sizes, strict=False):
            local_row = local_row * length + position - starts[number]
        begin = self._grid.starts[axis][cell[axis]] * self._inner
        run = sizes[axis] * self._inner
        if axis == 0:
            return self._parts[cell], within - begin, run - (within - begin)
        return self._parts[cell], local_row * run + within - begin, run - (within - begin)
