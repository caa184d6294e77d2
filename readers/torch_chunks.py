"""Pieces of tensors that are torch archives by themselves, as torch.distributed.checkpoint stores them."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from .dtypes import DType
from .errors import Malformed, NoValues
from .limits import Deadline, Limits
from .pickle_machine import PickleBudget
from .source import ByteSource, MemorySource, SpanSource, file_offset
from .state_dict import Walked
from .tensor import TensorRef, count_elements
from .torch_archive import torch_archive, walk_archive
from .zip_archive import open_archive


@dataclass(frozen=True, slots=True)
class Chunk:
    """One stored piece."""

    source: ByteSource
    """The file it lies in."""

    offset: int
    length: int
    """Bytes of the small archive."""

    dtype: DType
    shape: tuple[int, ...]
    """What the metadata promises."""

    @property
    def nbytes(self) -> int:
        """Bytes of values."""
        return self.dtype.span(count_elements(self.shape))


def walk_item(source: ByteSource, limits: Limits) -> Walked:
    """List one item of a `.distcp` file: a whole torch archive in a window."""
    found = torch_archive(open_archive(source, limits), source)
    return walk_archive(found, source, PickleBudget(limits, Deadline(limits.seconds, source.name)))


class ChunkSource:
    """The values of one chunk, in C order; its archive is opened when they are first asked for."""

    def __init__(self, chunk: Chunk, limits: Limits) -> None:
        self._chunk = chunk
        self._limits = limits
        self._lock = threading.Lock()
        self._opened: ByteSource | None = None

    @property
    def name(self) -> str:
        """The file the chunk lies in."""
        return self._chunk.source.name

    @property
    def base(self) -> int | None:
        """Unknown before the archive is opened."""
        return None

    def size(self) -> int:
        """Bytes of values, as the metadata promises; checked when they are read."""
        return self._chunk.nbytes

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset` of the values."""
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
        self._opened.pread_into(offset, buffer)

    def _open(self) -> ByteSource:
        chunk = self._chunk
        window = SpanSource(chunk.source, chunk.offset, chunk.length)
        columns = walk_item(window, self._limits).columns
        if len(columns) != 1 or columns.shapes[0] != chunk.shape or columns.dtypes[0] is not chunk.dtype:
            raise Malformed(
                "dcp-chunk",
                "a chunk does not hold the tensor that the metadata promises",
                path=self.name,
                offset=file_offset(chunk.source, chunk.offset),
            )
        ref = columns.locate(0)
        if ref.source is None:
            raise NoValues("no-values", ref.problem or "the chunk holds no values", path=self.name)
        if ref.strides is None and ref.byteorder == "little":
            return SpanSource(ref.source, ref.offset, chunk.nbytes)
        return _in_c_order(ref, self.name)


def _in_c_order(ref: TensorRef, name: str) -> ByteSource:
    """A chunk stored transposed is held in memory: it is a piece, not a checkpoint."""
    import numpy as np

    values = np.ascontiguousarray(ref.numpy(raw=True))
    return MemorySource(values.tobytes(), name)
