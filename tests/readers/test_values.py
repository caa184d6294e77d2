"""Decoding of stored bytes, whole and in blocks, against numpy and ml_dtypes."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from paraminspect.readers.dtypes import DTYPES, DType, opaque
from paraminspect.readers.errors import Malformed, NoValues, ParamInspectError, Truncated, Unsupported
from paraminspect.readers.low_precision import FLOAT_FORMATS
from paraminspect.readers.source import ByteSource, MemorySource
from paraminspect.readers.tensor import ByteOrder, TensorRef, contiguous_strides, span_of_view

ml_dtypes = pytest.importorskip("ml_dtypes")


class CountedSource(MemorySource):
    """Bytes in memory that remember what was read."""

    __slots__ = ("reads",)

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads: list[tuple[int, int]] = []

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        self.reads.append((offset, len(buffer)))
        super().pread_into(offset, buffer)


def ref_of(
    raw: bytes, dtype: str, shape: tuple[int, ...], strides: tuple[int, ...] | None = None, **more: Any
) -> TensorRef:
    return TensorRef(MemorySource(raw), more.pop("offset", 0), DTYPES[dtype], shape, strides, **more)


def concatenated(ref: TensorRef, block_bytes: int, *, raw: bool = False) -> NDArray[Any]:
    blocks = [block.copy() for block in ref.blocks(block_bytes, raw=raw)]
    return np.concatenate(blocks) if blocks else ref.numpy(raw=raw).reshape(-1)


def same(ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
    """Equal type, shape and bits."""
    return (
        ours.dtype == theirs.dtype
        and ours.shape == theirs.shape
        and np.ascontiguousarray(ours).tobytes() == np.ascontiguousarray(theirs).tobytes()
    )


# --- every type ---

NATIVE = {
    name: np.dtype(name)
    for name in (
        *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    )
}
SPECIAL_FLOATS = {
    "float16": [0x7C00, 0xFC00, 0x7C01, 0x7E00, 0xFFFF, 0x8000, 0x0001, 0x83FF, 0x7BFF],
    "float32": [0x7F800000, 0x7F800001, 0x7FC00000, 0xFFFFFFFF, 0x80000000, 1, 0x807FFFFF, 0x7F7FFFFF],
    "float64": [0x7FF << 52, 0x7FF0000000000001, 0xFFFFFFFFFFFFFFFF, 1 << 63, 1, 0x800FFFFFFFFFFFFF],
}


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("name", NATIVE)
def test_native_types_keep_every_bit(name: str, byteorder: ByteOrder) -> None:
    kind = NATIVE[name]
    raw = np.random.default_rng(1).bytes(24 * kind.itemsize)
    stored = np.frombuffer(raw, kind.newbyteorder("<" if byteorder == "little" else ">"))
    ref = ref_of(raw, name, (2, 3, 4), byteorder=byteorder)
    expected = stored.astype(kind).reshape(2, 3, 4) if kind.kind not in "fc" else None
    swapped = stored if byteorder == sys.byteorder else stored.byteswap()
    bits = swapped.view(kind).reshape(2, 3, 4)
    assert same(ref.numpy(), bits)
    assert expected is None or same(ref.numpy(), expected)
    assert same(ref.numpy(raw=True), bits)
    assert same(concatenated(ref, 64), bits.reshape(-1))


@pytest.mark.parametrize("name", SPECIAL_FLOATS)
def test_nan_payloads_signalling_nans_and_subnormals_keep_their_bits(name: str) -> None:
    unsigned = f"u{DTYPES[name].bits // 8}"
    codes = np.array(SPECIAL_FLOATS[name], unsigned)
    values = ref_of(codes.tobytes(), name, codes.shape).numpy()
    assert values.dtype == np.dtype(name)
    assert values.view(unsigned).tolist() == SPECIAL_FLOATS[name]
    swapped = ref_of(codes.byteswap().tobytes(), name, codes.shape, byteorder="big").numpy()
    assert swapped.view(unsigned).tolist() == SPECIAL_FLOATS[name]


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_bfloat16_widens_exactly(byteorder: ByteOrder) -> None:
    codes = np.arange(1 << 16, dtype=np.uint16)
    raw = (codes if byteorder == sys.byteorder else codes.byteswap()).tobytes()
    ref = ref_of(raw, "bfloat16", (256, 256), byteorder=byteorder)
    assert ref.numpy().dtype == np.float32
    assert np.array_equal(ref.numpy().view(np.uint32).reshape(-1), codes.astype(np.uint32) << 16)
    assert np.array_equal(ref.numpy(raw=True), codes.reshape(256, 256))


@pytest.mark.parametrize("name", [*FLOAT_FORMATS, "float8_e8m0fnu"])
def test_small_floats_widen_exactly(name: str) -> None:
    bits = DTYPES[name].bits
    codes = np.arange(1 << bits, dtype=np.uint8)
    number = sum(int(code) << (bits * place) for place, code in enumerate(codes))
    raw = number.to_bytes(len(codes) * bits // 8, "little")
    values = ref_of(raw, name, (4, -(-len(codes) // 4))).numpy()
    expected = codes.view(getattr(ml_dtypes, name)).astype(np.float32).reshape(values.shape)
    assert values.dtype == np.float32
    assert np.array_equal(values, expected, equal_nan=True)
    numbers = ~np.isnan(expected)
    assert np.array_equal(np.signbit(values[numbers]), np.signbit(expected[numbers]))
    assert ref_of(raw, name, codes.shape).numpy(raw=True).tobytes() == raw


@pytest.mark.parametrize("bits", range(1, 8))
@pytest.mark.parametrize("sign", ["int", "uint"])
def test_sub_byte_integers_in_blocks(bits: int, sign: str) -> None:
    count = 1003
    codes = np.random.default_rng(bits).integers(0, 1 << bits, count)
    number = sum(int(code) << (bits * place) for place, code in enumerate(codes))
    raw = number.to_bytes((count * bits + 7) // 8, "little")
    ref = ref_of(raw, f"{sign}{bits}", (count,))
    signed = np.where(codes >> (bits - 1), codes - (1 << bits), codes)
    expected = signed if sign == "int" else codes
    assert ref.numpy().dtype == ("int8" if sign == "int" else "uint8")
    assert ref.numpy().tolist() == expected.tolist()
    for block_bytes in (1, 7, 64, 1 << 20):
        assert concatenated(ref, block_bytes).tolist() == expected.tolist()
        assert concatenated(ref, block_bytes, raw=True).tobytes() == raw


def test_bool_bytes_other_than_0_and_1() -> None:
    ref = ref_of(bytes([0, 1, 2, 255, 0]), "bool", (5,))
    assert ref.numpy().dtype == np.bool_
    assert ref.numpy().tolist() == [False, True, True, True, False]
    assert ref.numpy().view(np.uint8).tolist() == [0, 1, 1, 1, 0]
    assert ref.numpy(raw=True).tolist() == [0, 1, 2, 255, 0]


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_complex_numbers(byteorder: ByteOrder) -> None:
    order = "<" if byteorder == "little" else ">"
    halves = np.array([1.5, -0.0, np.nan, np.inf, 6e-8, -65504], order + "f2")
    ref = ref_of(halves.tobytes(), "complex32", (3,), byteorder=byteorder)
    assert ref.numpy().dtype == np.complex64
    parts = ref.numpy().view(np.float32)
    assert np.array_equal(parts, halves.astype(np.float32), equal_nan=True) and np.signbit(parts[1])
    assert ref.numpy(raw=True).dtype == np.uint32
    whole = np.array([1 - 2j, complex(np.nan, -0.0)], order + "c16")
    assert same(
        ref_of(whole.tobytes(), "complex128", (2,), byteorder=byteorder).numpy(), whole.astype("=c16")
    )


def test_integer_codes_of_quantised_types() -> None:
    raw = bytes([0, 127, 128, 255])
    assert ref_of(raw, "qint8", (4,)).numpy().tolist() == [0, 127, -128, -1]
    assert ref_of(raw, "quint8", (4,)).numpy().tolist() == [0, 127, 128, 255]
    assert ref_of(raw, "qint32", (1,)).numpy().tolist() == [int.from_bytes(raw, "little", signed=True)]
    assert ref_of(raw, "quint4x2", (8,)).numpy().tolist() == [0, 0, 15, 7, 0, 8, 15, 15]


def test_bytes_without_a_meaning_stay_bytes() -> None:
    raw = bytes(range(12))
    ref = TensorRef(MemorySource(raw), 0, opaque("record6", 48), (2,))
    assert ref.numpy().dtype == np.dtype("V6") and ref.numpy().tobytes() == raw
    nothing = TensorRef(MemorySource(raw), 0, opaque("object", 0), (2,))
    with pytest.raises(NoValues) as caught:
        nothing.numpy()
    assert caught.value.code == "no-values"


def test_every_type_with_a_carrier_can_be_read() -> None:
    for dtype in DTYPES.values():
        ref = TensorRef(MemorySource(bytes(dtype.span(16))), 0, dtype, (4, 4))
        values = ref.numpy()
        assert values.shape == (4, 4), dtype.name
        assert ref.numpy(raw=True).nbytes == dtype.span(16), dtype.name


# --- views ---


@st.composite
def views(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Any shape and strides: gaps, broadcasts, transposes and overlaps among them."""
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=4)))
    kind = draw(st.sampled_from(["any", "transposed", "sliced"]))
    if kind == "any":
        return shape, tuple(draw(st.integers(0, 12)) for _ in shape)
    order = draw(st.permutations(range(len(shape))))
    step = draw(st.integers(1, 3)) if kind == "sliced" else 1
    strides = [0] * len(shape)
    for place in order:
        strides[place] = step
        step *= max(1, shape[place]) + (draw(st.integers(0, 2)) if kind == "sliced" else 0)
    for place in range(len(shape)):
        if draw(st.integers(0, 5)) == 0:
            strides[place] = 0
    return shape, tuple(strides)


def indices_of(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    """Storage index of every element, in C order of the view."""
    return [
        sum(index * stride for index, stride in zip(place, strides, strict=True))
        for place in product(*map(range, shape))
    ]


@given(
    views(), st.sampled_from(["float32", "bfloat16", "uint8", "float8_e4m3fn"]), st.integers(0, 9), st.data()
)
def test_any_view(
    view: tuple[tuple[int, ...], tuple[int, ...]], dtype: str, offset: int, data: st.DataObject
) -> None:
    shape, strides = view
    span = span_of_view(shape, strides)
    item = DTYPES[dtype].bits // 8
    raw = bytes(offset) + np.random.default_rng(span).bytes(span * item) + b"beyond"
    source = CountedSource(raw)
    ref = TensorRef(source, offset, DTYPES[dtype], shape, strides)
    codes = f"u{item}"
    stored = ref_of(raw, dtype, (span,), offset=offset).numpy(raw=True).view(codes)
    indices = indices_of(shape, strides)
    whole = ref.numpy(raw=True)
    assert whole.shape == ref.numpy().shape == shape
    assert whole.reshape(-1).view(codes).tolist() == stored[indices].tolist()
    in_storage_order = sorted(set(indices))
    block_bytes = data.draw(st.sampled_from([1, 3, 8, 40, 1 << 16]))
    source.reads.clear()
    assert concatenated(ref, block_bytes, raw=True).view(codes).tolist() == stored[in_storage_order].tolist()
    if span:
        assert all(length <= max(block_bytes, 8 * item) for _, length in source.reads)
        widened = ref_of(raw, dtype, (span,), offset=offset).numpy()[in_storage_order]
        assert same(concatenated(ref, block_bytes), widened)


def test_a_view_that_overlaps_and_leaves_gaps() -> None:
    ref = ref_of(bytes(range(9)), "uint8", (3, 2), (2, 4))
    assert ref.numpy().tolist() == [[0, 4], [2, 6], [4, 8]]
    for block_bytes in (1, 8, 100):
        assert concatenated(ref, block_bytes).tolist() == [0, 2, 4, 6, 8]


def test_a_gap_longer_than_a_block_yields_no_empty_block() -> None:
    ref = ref_of(bytes(range(200)), "uint8", (2, 2, 2), (190, 1, 1))
    assert [block.tolist() for block in ref.blocks(8)] == [[0, 1, 2], [190, 191], [192]]


def test_broadcast_values_come_once_and_read_only() -> None:
    ref = ref_of(bytes(range(4)), "uint8", (1000, 4, 1000), (0, 1, 0))
    values = ref.numpy()
    assert values.shape == (1000, 4, 1000) and values.strides == (0, 1, 0)
    assert not values.flags.writeable
    assert concatenated(ref, 2).tolist() == [0, 1, 2, 3]
    assert ref.nbytes == 4


def test_an_empty_tensor_reads_nothing() -> None:
    source = CountedSource(b"")
    for shape, strides in (((0,), None), ((3, 0, 2), None), ((0, 3), (5, 1)), ((4, 0), (0, 0))):
        ref = TensorRef(source, 0, DTYPES["float32"], shape, strides)
        assert ref.numpy().shape == shape and list(ref.blocks()) == []
    assert source.reads == []


def test_a_scalar() -> None:
    ref = ref_of(np.float32(1.5).tobytes(), "float32", ())
    assert ref.numpy().shape == () and ref.numpy() == 1.5
    assert [block.tolist() for block in ref.blocks()] == [[1.5]]
    assert ref_of(bytes(8), "float32", (), ()).numpy().shape == ()


def test_blocks_reuse_one_buffer() -> None:
    blocks: Iterator[NDArray[Any]] = ref_of(bytes(range(64)), "uint8", (64,)).blocks(16)
    first = next(blocks)
    assert first.tolist() == list(range(16))
    second = next(blocks)
    assert np.shares_memory(first, second) and first.tolist() == second.tolist() == list(range(16, 32))


def test_blocks_of_a_large_tensor_take_the_memory_of_one_block() -> None:
    class Zeros(MemorySource):
        """64 GB that are nowhere."""

        def size(self) -> int:
            return 1 << 36

        def pread_into(self, offset: int, buffer: memoryview) -> None:
            assert 0 <= offset <= offset + len(buffer) <= self.size()

    for shape, strides in (((1 << 35,), None), ((1 << 15, 1 << 10), (1 << 19, 3)), ((1 << 30, 8), (8, 1))):
        ref = TensorRef(Zeros(b""), 0, DTYPES["bfloat16"], shape, strides)
        tracemalloc.start()
        for _, block in zip(range(5), ref.blocks(1 << 16), strict=False):
            assert block.nbytes <= 2 << 16
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20


# --- what cannot be read ---


def raised_by(ref: TensorRef) -> ParamInspectError:
    """The error of the whole array and of the blocks: they must agree."""
    with pytest.raises(ParamInspectError) as whole:
        ref.numpy()
    with pytest.raises(ParamInspectError) as in_blocks:
        list(ref.blocks())
    assert (type(whole.value), str(whole.value)) == (type(in_blocks.value), str(in_blocks.value))
    return whole.value


def test_a_tensor_without_values() -> None:
    error = raised_by(TensorRef(None, 0, DTYPES["float32"], (2,), problem="it is on the meta device"))
    assert isinstance(error, NoValues) and error.cause == "it is on the meta device"


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (-1, (2,), None),
        (-8, (1,), None),
        (1, (4,), None),
        (17, (0,), None),
        (0, (5,), None),
        (0, (2, 2), (3, 2)),
        (0, (1 << 62, 1 << 62), None),
        (1 << 70, (1,), None),
    ],
)
def test_a_view_outside_its_storage(
    offset: int, shape: tuple[int, ...], strides: tuple[int, ...] | None
) -> None:
    error = raised_by(ref_of(bytes(16), "float32", shape, strides, offset=offset))
    assert isinstance(error, Malformed) and error.code == "view-outside-storage"


def test_a_negative_stride_is_refused() -> None:
    error = raised_by(ref_of(bytes(16), "float32", (2, 2), (1, -1), offset=4))
    assert isinstance(error, Unsupported) and error.code == "negative-stride"


def test_packed_values_out_of_order_are_refused() -> None:
    error = raised_by(ref_of(bytes(16), "uint4", (2, 2), (1, 2)))
    assert isinstance(error, NoValues)


@pytest.mark.parametrize("shape", [(1,) * 100, (0, 1 << 62), (0, 1 << 40, 1 << 40)])
def test_a_shape_beyond_numpy(shape: tuple[int, ...]) -> None:
    ref = ref_of(bytes(4), "float32", shape)
    with pytest.raises(Unsupported) as caught:
        ref.numpy()
    assert caught.value.code == "shape-beyond-numpy"
    assert sum(len(block) for block in ref.blocks()) == ref.elements


def test_a_broadcast_beyond_numpy() -> None:
    ref = ref_of(bytes(4), "float32", (1 << 62, 4), (0, 0))
    with pytest.raises(Unsupported):
        ref.numpy()
    assert [block.tolist() for block in ref.blocks()] == [[0.0]]


def test_errors_of_the_source_come_through() -> None:
    class Shrinking(MemorySource):
        def pread_into(self, offset: int, buffer: memoryview) -> None:
            raise Truncated("truncated", f"{len(buffer)} bytes are gone", offset=offset)

    error = raised_by(TensorRef(Shrinking(bytes(16)), 0, DTYPES["float32"], (4,)))
    assert isinstance(error, Truncated)


def test_a_platform_without_a_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DTYPES, "float128", DType("float128", "f128", 128, "float", "f17"))
    error = raised_by(ref_of(bytes(32), "float128", (2,)))
    assert isinstance(error, Unsupported) and error.code == "platform-dtype"


def test_strides_of_c_order_change_nothing() -> None:
    raw = np.arange(24, dtype=np.uint8).tobytes()
    plain = ref_of(raw, "uint8", (2, 3, 4))
    assert same(ref_of(raw, "uint8", (2, 3, 4), contiguous_strides((2, 3, 4))).numpy(), plain.numpy())


def test_a_source_of_any_kind() -> None:
    class Counting:
        """The protocol and nothing more."""

        name, base = "counting", None

        def size(self) -> int:
            return 256

        def pread_into(self, offset: int, buffer: memoryview) -> None:
            buffer[:] = bytes(range(offset, offset + len(buffer)))

    source: ByteSource = Counting()
    assert TensorRef(source, 3, DTYPES["uint8"], (4,)).numpy().tolist() == [3, 4, 5, 6]
