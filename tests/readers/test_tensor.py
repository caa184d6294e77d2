"""What a tensor comes to before any value is read."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from paraminspect.readers.dtypes import DTYPES
from paraminspect.readers.source import MemorySource
from paraminspect.readers.tensor import (
    TensorRef,
    contiguous_strides,
    count_elements,
    distinct_elements,
    is_c_order,
    span_of_view,
    touched_elements,
)

SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)


def touched(shape: tuple[int, ...], strides: tuple[int, ...]) -> set[int]:
    return {
        sum(index * stride for index, stride in zip(place, strides, strict=True))
        for place in product(*map(range, shape))
    }


@given(SHAPES, st.data())
def test_measures_of_any_view(shape: tuple[int, ...], data: st.DataObject) -> None:
    strides = tuple(data.draw(st.lists(st.integers(0, 9), min_size=len(shape), max_size=len(shape))))
    indices = touched(shape, strides)
    assert span_of_view(shape, strides) == max(indices, default=-1) + 1
    assert distinct_elements(shape, strides) == len(indices)
    if indices:
        bits = touched_elements(shape, strides)
        assert {place for place in range(bits.bit_length()) if bits >> place & 1} == indices
    ref = TensorRef(MemorySource(b""), 0, DTYPES["bfloat16"], shape, strides)
    assert ref.elements == count_elements(shape) == int(np.prod(shape))
    assert ref.span_elements == max(indices, default=-1) + 1
    assert ref.nbytes == 2 * len(indices)


@given(SHAPES)
def test_strides_of_c_order(shape: tuple[int, ...]) -> None:
    strides = contiguous_strides(shape)
    expected = tuple(step // 2 for step in np.empty([max(1, length) for length in shape], "i2").strides)
    assert strides == expected
    assert is_c_order(shape, strides)


@given(SHAPES, st.data())
def test_c_order_is_told_by_the_order_of_elements(shape: tuple[int, ...], data: st.DataObject) -> None:
    strides = tuple(data.draw(st.lists(st.integers(0, 9), min_size=len(shape), max_size=len(shape))))
    indices = [
        sum(index * stride for index, stride in zip(place, strides, strict=True))
        for place in product(*map(range, shape))
    ]
    assert is_c_order(shape, strides) == (indices == list(range(len(indices))))


def test_counts_are_exact_however_large() -> None:
    shape = (1 << 62, 1 << 62, 3)
    assert count_elements(shape) == 3 << 124
    ref = TensorRef(None, 0, DTYPES["float32"], shape, problem="listed only")
    assert (ref.elements, ref.nbytes) == (3 << 124, 0)
    broadcast = TensorRef(MemorySource(bytes(4)), 0, DTYPES["float32"], shape, (0, 0, 0))
    assert (broadcast.elements, broadcast.span_elements, broadcast.nbytes) == (3 << 124, 1, 4)


def test_a_large_overlapping_view_with_gaps_is_bounded() -> None:
    shape, strides = (1 << 30, 2), (2, 4)
    assert distinct_elements(shape, strides) == 1 << 31
    assert span_of_view(shape, strides) == 2 * ((1 << 30) - 1) + 4 + 1


def test_sub_byte_types_share_bytes() -> None:
    assert TensorRef(MemorySource(bytes(9)), 0, DTYPES["uint4"], (3, 5)).nbytes == 8
    assert TensorRef(MemorySource(bytes(9)), 0, DTYPES["float6_e2m3fn"], (5,)).nbytes == 4


def test_a_scalar_has_one_element() -> None:
    ref = TensorRef(MemorySource(bytes(4)), 0, DTYPES["float32"], ())
    assert (ref.elements, ref.span_elements, ref.nbytes) == (1, 1, 4)


def test_without_values() -> None:
    ref = TensorRef(MemorySource(bytes(8)), 0, DTYPES["float32"], (2,)).without_values("lost")
    assert (ref.source, ref.problem, ref.nbytes, ref.elements) == (None, "lost", 0, 2)
