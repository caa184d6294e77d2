"""Tensors cut into grids of chunks, put together again."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paraminspect.readers.chunk_grid import Cell, ChunkGrid, GridSource
from paraminspect.readers.dtypes import DTYPES
from paraminspect.readers.source import ByteSource, MemorySource

Piece = tuple[tuple[int, ...], tuple[int, ...]]


@st.composite
def cut_shapes(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Piece]]:
    """A shape and the pieces of a grid over it, in any order."""
    shape = tuple(draw(st.lists(st.integers(1, 6), max_size=4)))
    intervals = []
    for length in shape:
        cuts = sorted({0, length, *draw(st.lists(st.integers(1, max(1, length - 1)), max_size=2))})
        intervals.append([(a, b - a) for a, b in pairwise(cuts) if b <= length])
    pieces = [
        (tuple(start for start, _ in cell), tuple(size for _, size in cell)) for cell in product(*intervals)
    ]
    return shape, draw(st.permutations(pieces))


def source_of(array: np.ndarray[tuple[int, ...], np.dtype[np.int16]], pieces: list[Piece]) -> GridSource:
    grid = ChunkGrid(array.shape, pieces)
    parts: dict[Cell, ByteSource] = {}
    for offsets, sizes in pieces:
        window = tuple(slice(start, start + size) for start, size in zip(offsets, sizes, strict=True))
        if 0 not in sizes:
            parts[grid.cells[offsets]] = MemorySource(np.ascontiguousarray(array[window]).tobytes())
    return GridSource(grid, parts, DTYPES["int16"], "grid")


@given(cut_shapes(), st.data())
def test_any_range_of_any_grid(cut: tuple[tuple[int, ...], list[Piece]], data: st.DataObject) -> None:
    shape, pieces = cut
    array = np.arange(int(np.prod(shape)), dtype=np.int16).reshape(shape)
    source = source_of(array, pieces)
    assert source.size() == array.nbytes
    begin = data.draw(st.integers(0, array.nbytes))
    count = data.draw(st.integers(0, array.nbytes - begin))
    buffer = bytearray(count)
    source.pread_into(begin, memoryview(buffer))
    assert bytes(buffer) == array.tobytes()[begin : begin + count]


def test_empty_chunks_are_left_out() -> None:
    array = np.arange(6, dtype=np.int16).reshape(3, 2)
    source = source_of(array, [((0, 0), (3, 2)), ((3, 0), (0, 2))])
    buffer = bytearray(12)
    source.pread_into(0, memoryview(buffer))
    assert bytes(buffer) == array.tobytes()


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [((0, 0), (2, 4))],
        [((0, 0), (4, 4)), ((0, 0), (4, 4))],
        [((0, 0), (4, 2)), ((0, 1), (4, 3))],
        [((0, 0), (2, 4)), ((3, 0), (1, 4))],
        [((1, 0), (3, 4))],
        [((0, 0), (2, 4)), ((2, 0), (2, 2)), ((2, 2), (2, 2))],
        [((0,), (4,))],
        [((0, 0), (4, 5))],
        [((0, 0), (4,))],
        [((-1, 0), (5, 4))],
    ],
)
def test_what_is_no_grid_is_refused(pieces: list[Piece]) -> None:
    with pytest.raises(ValueError, match="chunks"):
        ChunkGrid((4, 4), pieces)


def test_cuts_inside_a_byte_are_refused() -> None:
    grid = ChunkGrid((2, 3), [((0, 0), (2, 1)), ((0, 1), (2, 2))])
    with pytest.raises(ValueError, match="byte"):
        GridSource(grid, {}, DTYPES["float4_e2m1fn"], "grid")
