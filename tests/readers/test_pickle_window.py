"""The moving window on a pickle: read forward, nothing twice, payloads stepped over."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paraminspect.readers.pickle_window import INLINE_LIMIT, MARGIN, Window


class Recorded:
    """A source of numbered bytes that says what was read of it."""

    name = "recorded"
    base = 0

    def __init__(self, size: int) -> None:
        self._size = size
        self.read: list[tuple[int, int]] = []

    def size(self) -> int:
        return self._size

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        assert 0 <= offset <= offset + len(buffer) <= self._size
        self.read.append((offset, len(buffer)))
        buffer[:] = bytes(map(byte_at, range(offset, offset + len(buffer))))


def byte_at(offset: int) -> int:
    return (offset * 7 + (offset >> 8)) & 0xFF


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 900_000),
    st.integers(0, 2_000),
    st.lists(st.integers(0, 3 * MARGIN) | st.integers(0, 50), max_size=12),
)
def test_moving_gives_the_bytes_that_are_there(size: int, start: int, steps: list[int]) -> None:
    start = min(start, size)
    source = Recorded(size)
    window = Window(source, start)
    offset = start
    for step in [0, *steps]:
        offset = min(size, offset + step)
        position = window.move_to(offset)
        assert window.base + position == offset
        available = len(window.data) - position
        assert available == size - offset or available >= MARGIN
        assert list(window.data[position : position + 20]) == [
            byte_at(place) for place in range(offset, min(size, offset + 20, offset + available))
        ]
    reached = start
    for begin, count in source.read:
        assert begin >= reached
        reached = begin + count


def test_a_payload_is_stepped_over() -> None:
    source = Recorded(50 << 20)
    window = Window(source, 0)
    window.move_to(0)
    first = sum(count for _, count in source.read)
    assert first <= 256 << 10
    window.move_to(40 << 20)
    assert source.read[-1][0] == 40 << 20
    assert sum(count for _, count in source.read) <= first + (1 << 20)


def test_any_opcode_fits_behind_the_position() -> None:
    assert MARGIN >= 2 * (INLINE_LIMIT + 1) + 9


def test_growing_doubles_up_to_the_most() -> None:
    source = Recorded(2 << 20)
    window = Window(source, 0)
    window.move_to(0)
    before = len(window.data)
    assert window.grow(1 << 20)
    assert len(window.data) == 2 * before
    while window.grow(1 << 20):
        pass
    assert (len(window.data), window.at_end) == (1 << 20, False)
    while window.grow(4 << 20):
        pass
    assert (len(window.data), window.at_end) == (2 << 20, True)
    assert window.data[-1] == byte_at((2 << 20) - 1)


@pytest.mark.parametrize("size", [0, 1, MARGIN, MARGIN + 1])
def test_short_sources_are_read_once(size: int) -> None:
    source = Recorded(size)
    window = Window(source, 0)
    for offset in range(0, size + 1, max(1, size // 3)):
        window.move_to(offset)
    assert window.at_end
    assert sum(count for _, count in source.read) == size
