"""The bytes of one field of an array of records, gathered when they are asked for."""

from __future__ import annotations

from typing import Final

from .numpy_records import RecordField
from .source import ByteSource, out_of_bounds, read
from .tensor import count_elements

_BLOCK_BYTES: Final = 1 << 20
"""Records read at once; what is larger is read in parts."""


class FieldSource:
    """The bytes of one field of all records, as if they stood side by side.

    The field lies in runs: one a record, or several where it is a field of an array of records inside the
    record. Memory is bounded however large a record is.
    """

    __slots__ = ("_begin", "_lengths", "_level", "_records", "_run", "_steps")

    def __init__(self, records: ByteSource, record_bytes: int, field: RecordField) -> None:
        self._records = records
        self._begin = field.offset
        self._lengths = (records.size() // record_bytes, *(length for length, _ in field.repeats))
        self._steps = (record_bytes, *(step for _, step in field.repeats))
        self._run = field.nbytes // count_elements(self._lengths[1:])
        small = [level for level, step in enumerate(self._steps) if step <= _BLOCK_BYTES]
        self._level = small[0] if small else len(self._steps)
        """The outermost dimension along which several steps fit into a block."""

    @property
    def name(self) -> str:
        """The file's path."""
        return self._records.name

    @property
    def base(self) -> int | None:
        """The bytes are nowhere in the file side by side."""
        return None

    def size(self) -> int:
        """Bytes of the field in all records."""
        return count_elements(self._lengths) * self._run

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer with the field's bytes from `offset` on."""
        view = buffer.cast("B")
        if offset < 0 or offset + len(view) > self.size():
            raise out_of_bounds(self, offset, len(view))
        done = 0
        while done < len(view):
            if self._level == len(self._steps):
                done += self._read_run(offset + done, view[done:])
            else:
                done += self._read_several(offset + done, view[done:])

    def _place(self, index: int, level: int) -> tuple[int, int]:
        """Where the `index`th element of a dimension lies (all dimensions outside it counted through), and
        its number in that dimension.
        """
        position, inner = self._begin, 0
        for number, (length, step) in enumerate(
            zip(reversed(self._lengths[: level + 1]), reversed(self._steps[: level + 1]), strict=True)
        ):
            index, here = divmod(index, length)
            position += here * step
            inner = here if number == 0 else inner
        return position, inner

    def _read_run(self, offset: int, view: memoryview) -> int:
        """Read from one run; returns how many bytes."""
        index, inside = divmod(offset, self._run)
        place, _ = self._place(index, len(self._steps) - 1)
        count = min(self._run - inside, len(view))
        self._records.pread_into(place + inside, view[:count])
        return count

    def _read_several(self, offset: int, view: memoryview) -> int:
        """Read what one block of records holds of the field; returns how many bytes."""
        import numpy as np

        level = self._level
        lengths, steps = self._lengths[level + 1 :], self._steps[level + 1 :]
        each = self._run * count_elements(lengths)
        index, inside = divmod(offset, each)
        place, number = self._place(index, level)
        fitting = max(1, _BLOCK_BYTES // self._steps[level])
        count = min(self._lengths[level] - number, fitting, -(-(inside + len(view)) // each))
        reach = self._run + sum((length - 1) * step for length, step in zip(lengths, steps, strict=True))
        raw = np.frombuffer(read(self._records, place, (count - 1) * self._steps[level] + reach), np.uint8)
        strides = (self._steps[level], *steps, 1)
        column = np.lib.stride_tricks.as_strided(raw, (count, *lengths, self._run), strides, writeable=False)
        piece = column.tobytes()[inside : inside + len(view)]
        view[: len(piece)] = piece
        return len(piece)
