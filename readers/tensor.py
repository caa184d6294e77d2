"""TensorRef: where the values of one tensor lie, and how to get them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from .dtypes import DType
from .source import ByteSource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK_BYTES = 1 << 20
"""Stored bytes read for one block, unless the caller asks otherwise."""

_EXACT_SPAN = 1 << 20

ByteOrder = Literal["little", "big"]


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A promise of values: nothing is read until one of the methods is called."""

    source: ByteSource | None
    """Where the bytes are; None when the file holds no values for this tensor (see `problem`)."""

    offset: int
    """Byte offset of the first element in `source`."""

    dtype: DType
    shape: tuple[int, ...]
    """Logical shape; for sub-byte types the number of values, not of bytes."""

    strides: tuple[int, ...] | None = None
    """Steps between neighbours, in elements; None for C order (last dimension fastest)."""

    byteorder: ByteOrder = "little"
    problem: str | None = None
    """Why there are no values, as one sentence, or None."""

    quantization: Mapping[str, object] | None = None
    """Scheme, scales and zero points of an affine-quantised tensor, as stored; the values read are
    the integer codes."""

    pending: tuple[str, ...] = ()
    """`conj`, `neg`: what torch had put off when it saved the tensor. The stored bits are those before;
    values that are not raw come with it done."""

    @property
    def elements(self) -> int:
        """Number of logical elements (exact, however large the shape claims to be)."""
        return count_elements(self.shape)

    @property
    def span_elements(self) -> int:
        """Stored elements from the first to the last one that the view touches."""
        if self.strides is None:
            return self.elements
        return span_of_view(self.shape, self.strides)

    @property
    def nbytes(self) -> int:
        """Bytes on disk: each stored element counted once, however often a view repeats it."""
        if self.source is None:
            return 0
        stored = self.elements if self.strides is None else distinct_elements(self.shape, self.strides)
        return self.dtype.span(stored)

    def without_values(self, problem: str) -> TensorRef:
        """The same tensor, listed only."""
        return replace(self, source=None, problem=problem)

    def numpy(self, *, raw: bool = False) -> NDArray[np.generic]:
        """All values as one array of `shape`.

        Types that numpy lacks are widened exactly: bfloat16, float8, float6 and float4 to float32,
        complex32 to complex64, sub-byte integers to (u)int8. With `raw`, nothing is widened: what numpy
        lacks comes as unsigned integers (or void) with the stored bits, and packed sub-byte types as a
        one-dimensional array of bytes. A broadcast view (stride 0) comes as a read-only view, not a copy.

        Raises:
            NoValues: the file holds no values for this tensor.
            Unsupported: numpy has no such type here, or no array of such a shape.
            Truncated, Malformed, ChangedWhileReading, CannotOpen: the bytes cannot be read.
        """
        from .values import whole_array

        return whole_array(self, raw=raw)

    def blocks(self, block_bytes: int = BLOCK_BYTES, *, raw: bool = False) -> Iterator[NDArray[np.generic]]:
        """The values in pieces: one-dimensional arrays in storage order, each from at most
        `block_bytes` stored bytes (eight elements where that is less).

        Every stored element of the view comes exactly once: a transposed tensor comes in the order
        of its storage, an element repeated by a broadcast or overlapping view comes once. A block
        reuses the memory of the one before: copy what is to be kept.

        Raises:
            As `numpy`.
        """
        from .values import blocks

        return blocks(self, block_bytes, raw=raw)


def count_elements(shape: tuple[int, ...]) -> int:
    """Product of the dimensions in unbounded integers (numpy's product wraps around)."""
    total = 1
    for dimension in shape:
        total *= dimension
    return total


def span_of_view(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Storage elements from the first to the last one a strided view touches; 0 for an empty view."""
    span = 1
    for dimension, stride in zip(shape, strides, strict=True):
        if dimension == 0:
            return 0
        span += (dimension - 1) * stride
    return span


def distinct_elements(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Storage elements that a strided view touches, each counted once.

    Exact, but for views that overlap themselves, leave gaps and span more than a million elements: for
    those the number of elements or of the span, whichever is less.
    """
    if 0 in shape:
        return 0
    count = reach = 1
    for stride, length in sorted(zip(strides, shape, strict=True)):
        if stride == 0 or length == 1:
            continue
        is_dense = count == reach
        separate = stride >= reach
        reach += (length - 1) * stride
        if separate:
            count *= length
        elif is_dense:
            count = reach
        elif (span := span_of_view(shape, strides)) <= _EXACT_SPAN:
            return touched_elements(shape, strides).bit_count()
        else:
            return min(span, count_elements(shape))
    return count


def touched_elements(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """A bit for each storage element of a view that is not empty, the first one lowest, set where the
    view touches it.
    """
    bits = 1
    for length, stride in zip(shape, strides, strict=True):
        copies = 1
        while copies < length:
            more = min(copies, length - copies)
            bits |= bits << (more * stride)
            copies += more
    return bits


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of C order, in elements, as torch counts them (a zero dimension counts as one)."""
    strides = []
    step = 1
    for dimension in reversed(shape):
        strides.append(step)
        step *= max(1, dimension)
    return tuple(reversed(strides))


def is_c_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether the elements lie in C order; the strides of dimensions of one element do not matter."""
    step = 1
    for dimension, stride in zip(reversed(shape), reversed(strides), strict=True):
        if dimension != 1 and stride != step:
            return 0 in shape  # nothing to order
        step *= dimension
    return True
