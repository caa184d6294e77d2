"""From stored bytes to numpy arrays, whole or in blocks; imported only when values are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .dtypes import DType
from .errors import Malformed, NoValues, Unsupported
from .low_precision import (
    FLOAT_FORMATS,
    float_table,
    sign_extended,
    unpacked,
    widened_bfloat16,
    widened_complex32,
)
from .source import ByteSource, file_offset
from .tensor import ByteOrder, TensorRef, touched_elements

_MAX_DIMENSIONS: Final = 64 if int(np.__version__.partition(".")[0]) >= 2 else 32


class _View(NamedTuple):
    """A view with its dimensions in the order of storage, the slowest first; repeated ones left out."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    order: tuple[int, ...]
    """Which dimension of the tensor each of these is."""

    repeats: bool
    """A dimension has stride 0: elements are stored once and seen often."""

    overlaps: bool
    """Different indices may mean the same element."""

    span: int
    """Elements from the first to the last."""

    @property
    def is_dense(self) -> bool:
        return not self.overlaps and self.span == _product(self.shape)

    @property
    def covers_span(self) -> bool:
        """Surely no element between the first and the last is left out."""
        reach = 1
        for length, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if stride > reach:
                return False
            reach += (length - 1) * stride
        return True


def whole_array(ref: TensorRef, *, raw: bool) -> NDArray[Any]:
    """All values of a tensor: see `TensorRef.numpy`."""
    source = _readable(ref)
    _check_shape(ref)
    view = _view_of(ref)
    if view.repeats or view.overlaps:
        return _repeated(ref, source, raw=raw)
    if ref.dtype.is_packed and raw:
        return _read_decoded(ref, source, 0, ref.elements, raw=True)
    dense = view.is_dense
    flat = _read_decoded(ref, source, 0, view.span, raw=raw) if dense else _collected(ref, raw=raw)
    if ref.strides is None:
        return flat.reshape(ref.shape)
    # The remaining dimensions (of length one) go in front; then all go back to their places.
    missing = tuple(place for place in range(len(ref.shape)) if place not in view.order)
    order = missing + view.order
    stored = flat.reshape([ref.shape[place] for place in order])
    return stored.transpose(np.argsort(order)) if order else stored


def blocks(ref: TensorRef, block_bytes: int, *, raw: bool) -> Iterator[NDArray[Any]]:
    """The values of a tensor in pieces: see `TensorRef.blocks`."""
    source = _readable(ref)
    view = _view_of(ref)
    if view.span == 0:
        return
    buffer = bytearray(max(block_bytes, ref.dtype.span(8)))
    if view.is_dense or view.overlaps:
        touched = None if view.covers_span else _touched(view)
        step = max(8, (block_bytes * 8 // ref.dtype.bits) // 8 * 8)
        for first in range(0, view.span, step):
            count = min(step, view.span - first)
            block = _read_decoded(ref, source, first, count, raw=raw, buffer=buffer)
            if touched is None:
                yield block
            elif (kept := touched[first // 8 : (first + count + 7) // 8]).any():
                yield block[np.unpackbits(kept, count=count, bitorder="little").view(np.bool_)]
        return
    limit = max(1, block_bytes // (ref.dtype.bits // 8))
    for first, shape, strides in _pieces(view, limit):
        span = 1 + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
        flat = _read_decoded(ref, source, first, span, raw=raw, buffer=buffer)
        steps = [stride * flat.itemsize for stride in strides]
        yield np.lib.stride_tricks.as_strided(flat, shape, steps, writeable=False).reshape(-1)


def _touched(view: _View) -> NDArray[np.uint8]:
    """For a view whose elements overlap: one bit for each element of its span, set where it is used."""
    bits = touched_elements(view.shape, view.strides)
    return np.frombuffer(bits.to_bytes((view.span + 7) // 8, "little"), np.uint8)


def _readable(ref: TensorRef) -> ByteSource:
    """The source, once it is sure that it holds all bytes of the view."""
    if ref.source is None:
        raise NoValues("no-values", ref.problem or "the file holds no values for this tensor")
    if ref.dtype.bits == 0:
        raise NoValues("no-values", f"elements of type {ref.dtype.name} have no fixed size to read")
    if ref.dtype.is_packed and ref.strides is not None:
        raise NoValues("no-values", "its packed values are not stored in order, which is not decoded")
    if ref.strides is not None and min(ref.strides, default=0) < 0:
        raise Unsupported(
            "negative-stride", "the tensor is stored backwards, which is not decoded", path=ref.source.name
        )
    needed = ref.offset + ref.dtype.span(ref.span_elements)
    if ref.offset < 0 or needed > ref.source.size():
        raise Malformed(
            "view-outside-storage",
            f"the tensor reaches to byte {needed:,} of {ref.source.size():,}",
            path=ref.source.name,
            offset=file_offset(ref.source, max(0, ref.offset)),
        )
    return ref.source


def _check_shape(ref: TensorRef) -> None:
    """Raise `Unsupported` for a shape that no numpy array can have, although its bytes could be read."""
    widened = max(4, 8 if ref.dtype.name == "complex32" else ref.dtype.bits // 8)
    bytes_if_not_empty = _product([max(1, length) for length in ref.shape]) * widened
    if len(ref.shape) > _MAX_DIMENSIONS or bytes_if_not_empty > np.iinfo(np.intp).max:
        raise Unsupported(
            "shape-beyond-numpy",
            f"no numpy array can have this shape of {len(ref.shape):,} dimensions",
            path=None if ref.source is None else ref.source.name,
            advice="read it in blocks",
        )


def _view_of(ref: TensorRef) -> _View:
    if ref.strides is None:
        order = tuple(range(len(ref.shape)))
        strides = tuple(_product(ref.shape[place + 1 :]) for place in order)
        return _View(ref.shape, strides, order, repeats=False, overlaps=False, span=ref.elements)
    if 0 in ref.shape:
        return _View((0,), (1,), (), repeats=False, overlaps=False, span=0)
    places = [place for place, length in enumerate(ref.shape) if length > 1]
    stepping = [place for place in places if ref.strides[place] > 0]
    stepping.sort(key=lambda place: -ref.strides[place] if ref.strides is not None else 0)
    shape = tuple(ref.shape[place] for place in stepping)
    strides = tuple(ref.strides[place] for place in stepping)
    reach = 1
    overlaps = False
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        overlaps |= stride < reach
        reach += (length - 1) * stride
    return _View(shape, strides, tuple(stepping), len(stepping) < len(places), overlaps, reach)


def _product(lengths: Sequence[int]) -> int:
    total = 1
    for length in lengths:
        total *= length
    return total


def _repeated(ref: TensorRef, source: ByteSource, *, raw: bool) -> NDArray[Any]:
    """A broadcast or overlapping view: the stored elements once, seen through strides."""
    assert ref.strides is not None
    flat = _read_decoded(ref, source, 0, ref.span_elements, raw=raw)
    steps = [stride * flat.itemsize for stride in ref.strides]
    return np.lib.stride_tricks.as_strided(flat, ref.shape, steps, writeable=False)


def _collected(ref: TensorRef, *, raw: bool) -> NDArray[Any]:
    """A view with gaps: only the elements it touches are kept."""
    result: NDArray[Any] | None = None
    filled = 0
    for block in blocks(ref, 1 << 20, raw=raw):
        if result is None:
            result = np.empty(ref.elements, block.dtype)
        result[filled : filled + len(block)] = block
        filled += len(block)
    assert result is not None, "a view with gaps has elements"
    return result


def _pieces(view: _View, limit: int) -> Iterator[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """(first element, shape, strides) of parts that each span at most `limit` elements (or are single
    elements), in storage order.
    """
    shape, strides = view.shape, view.strides
    inner = len(shape)
    span = 1
    while inner > 0 and span + (shape[inner - 1] - 1) * strides[inner - 1] <= limit:
        inner -= 1
        span += (shape[inner] - 1) * strides[inner]
    if inner == 0:
        yield 0, shape, strides
        return
    length, stride = shape[inner - 1], strides[inner - 1]
    rows = max(1, 1 + (limit - span) // stride) if span <= limit else 1
    for outer in np.ndindex(*shape[: inner - 1]):
        begin = sum(index * step for index, step in zip(outer, strides, strict=False))
        for row in range(0, length, rows):
            count = min(rows, length - row)
            yield begin + row * stride, (count, *shape[inner:]), (stride, *strides[inner:])


def _read_decoded(
    ref: TensorRef,
    source: ByteSource,
    first: int,
    count: int,
    *,
    raw: bool,
    buffer: bytearray | None = None,
) -> NDArray[Any]:
    """`count` consecutive stored elements from `first` (a multiple of 8 for packed types)."""
    length = ref.dtype.span(count)
    holder = bytearray(length) if buffer is None or len(buffer) < length else buffer
    view = memoryview(holder)[:length]
    if length:
        source.pread_into(ref.offset + ref.dtype.span(first), view)
    stored = np.frombuffer(view, np.uint8)
    values = decoded(stored, ref.dtype, count, ref.byteorder, raw=raw)
    if raw or not ref.pending:
        return values
    if "conj" in ref.pending:
        values = np.conjugate(values)
    return np.negative(values) if "neg" in ref.pending else values


def decoded(
    stored: NDArray[np.uint8], dtype: DType, count: int, byteorder: ByteOrder, *, raw: bool
) -> NDArray[Any]:
    """Stored bytes as values.

    Args:
        stored: the bytes, contiguous.
        dtype: their type.
        count: elements in them.
        byteorder: of elements wider than a byte.
        raw: give the stored bits: carriers as they are, packed types as bytes.

    Raises:
        Unsupported: this platform's numpy has no such type (80- and 128-bit floats).
    """
    if dtype.is_packed:
        return stored if raw else _unpacked_values(stored, dtype, count)
    carrier = _native(stored, dtype, byteorder)
    if raw:
        return carrier
    if dtype.name == "bfloat16":
        return widened_bfloat16(carrier)
    if dtype.name in FLOAT_FORMATS or dtype.name == "float8_e8m0fnu":
        widened: NDArray[Any] = float_table(dtype.name)[carrier]
        return widened
    if dtype.name == "complex32":
        halves = stored.view("<f2" if byteorder == "little" else ">f2")
        return widened_complex32(halves.astype(np.float16, copy=False))
    if dtype.kind == "bool":
        truth: NDArray[Any] = carrier != 0
        return truth
    return carrier


def _native(stored: NDArray[np.uint8], dtype: DType, byteorder: ByteOrder) -> NDArray[Any]:
    """The carrier type in this machine's byte order."""
    assert dtype.carrier is not None
    try:
        kind = np.dtype(("<" if byteorder == "little" else ">") + dtype.carrier)
    except TypeError:
        raise Unsupported(
            "platform-dtype", f"numpy on this platform has no type of {dtype.bits} bits for {dtype.name}"
        ) from None
    array = stored.view(kind)
    return array if kind.isnative else array.astype(kind.newbyteorder("="))


def _unpacked_values(stored: NDArray[np.uint8], dtype: DType, count: int) -> NDArray[Any]:
    codes = unpacked(stored, dtype.bits, count)
    if dtype.kind == "float":
        return float_table(dtype.name)[codes]
    return sign_extended(codes, dtype.bits) if dtype.kind == "int" else codes
