"""A moving window on a source: a pickle is read forward, its long payloads are stepped over unread."""

from __future__ import annotations

from typing import Final

from .source import ByteSource, read

INLINE_LIMIT: Final = 64 << 10
"""Longest text or bytes payload that becomes a Python object; a longer one is left in the source."""

MARGIN: Final = 2 * INLINE_LIMIT + 64
"""Bytes that follow the position after a move, unless the source ends: room for any opcode with an inline
argument (GLOBAL has two lines)."""

_FIRST_READ: Final = 256 << 10
_NEXT_READ: Final = 1 << 20


class Window:
    """Some bytes of a source around a position that only moves forward."""

    __slots__ = ("_step", "base", "data", "size", "source")

    def __init__(self, source: ByteSource, offset: int) -> None:
        self.source = source
        self.size = source.size()
        self.base = offset
        """Offset in the source of the first byte of `data`."""
        self.data = b""
        self._step = _FIRST_READ

    @property
    def at_end(self) -> bool:
        """Whether `data` reaches the end of the source."""
        return self.base + len(self.data) >= self.size

    def move_to(self, offset: int) -> int:
        """Make `offset` and `MARGIN` bytes behind it available; returns its position in `data`.

        Nothing is read twice, and nothing before `offset` that was not read already.
        """
        position = offset - self.base
        remaining = len(self.data) - position
        if remaining >= MARGIN or (self.at_end and remaining >= 0):
            return position
        rest = self.data[position:]
        begin = offset + len(rest)
        self.data = rest + read(self.source, begin, min(self._step, self.size - begin))
        self.base = offset
        self._step = _NEXT_READ
        return 0

    def grow(self, most: int) -> bool:
        """Read on behind `data`, doubling it; False when the source ends or `most` bytes are held."""
        begin = self.base + len(self.data)
        count = min(len(self.data), self.size - begin, most - len(self.data))
        if count <= 0:
            return False
        self.data += read(self.source, begin, count)
        return True
