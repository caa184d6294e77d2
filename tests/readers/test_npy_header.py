"""The header's grammar against numpy's own reader."""

from __future__ import annotations

import importlib
import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paraminspect.readers.errors import LimitExceeded, Malformed, ParamInspectError, Truncated, Unsupported
from paraminspect.readers.limits import DEFAULT_LIMITS
from paraminspect.readers.npy_header import NpyHeader, read_npy_header
from paraminspect.readers.source import MemorySource

PLAIN = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }"


def npy(text: str, *, version: tuple[int, int] = (1, 0), length: int | None = None) -> bytes:
    """A .npy whose header is any text."""
    raw = text.encode("utf-8" if version == (3, 0) else "latin-1")
    layout = "<H" if version == (1, 0) else "<I"
    return b"\x93NUMPY" + bytes(version) + struct.pack(layout, len(raw) if length is None else length) + raw


# The functions behind numpy's public ones, which exist for two of the three versions only.
npy_format: Any = importlib.import_module("numpy.lib._format_impl")


def header(raw: bytes) -> NpyHeader:
    return read_npy_header(MemorySource(raw, "a.npy"), DEFAULT_LIMITS)


def numpy_header(raw: bytes) -> tuple[Any, ...] | None:
    """(shape, is_fortran, dtype) as numpy reads it, or None where it refuses."""
    stream = io.BytesIO(raw)
    try:
        version = npy_format.read_magic(stream)
        facts: tuple[Any, ...] = npy_format._read_array_header(stream, version)
    except Exception:
        return None
    return facts


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions(version: tuple[int, int]) -> None:
    found = header(npy(PLAIN, version=version))
    assert (found.shape, found.is_fortran, found.version) == ((3, 4), False, version)
    assert found.record.itemsize == 4
    assert found.data_offset == (10 if version == (1, 0) else 12) + len(PLAIN)


ACCEPTED = [
    PLAIN,
    "{'descr':'<f4','fortran_order':True,'shape':()}",
    '{"descr": "<f4", "fortran_order": False, "shape": (1,)}\n',
    "  {'shape': (2, 3), 'fortran_order': False, 'descr': '>i2'}   \n",
    "{'descr': '|b1', 'fortran_order': False, 'shape': (0,), }",
    "{'descr': '<U3', 'fortran_order': False, 'shape': (2,), }",
    "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (2,), }",
    "{'descr': '|V2', 'fortran_order': False, 'shape': (2,), }",
    "{'descr': [('a', '<f4'), ('b', '|i1', (2, 3)), ('', '|V5'), ('c', '<f8')], "
    "'fortran_order': False, 'shape': (2,)}",
    "{'descr': [(('title', 'a'), '<f4')], 'fortran_order': False, 'shape': (2,)}",
    "{'descr': [('a', [('x', '<i2'), ('y', '<i2')]), ('b', '|u1')], 'fortran_order': False, 'shape': (2,)}",
    "{'descr': [('\\x41\\u00e9\\'', '<f4')], 'fortran_order': False, 'shape': (2,)}",
    "{'descr': [('a', '<f4', 3)], 'fortran_order': False, 'shape': (2,)}",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_numpy_writes_is_read(text: str) -> None:
    raw = npy(text)
    expected = numpy_header(raw)
    assert expected is not None
    assert_same(header(raw), expected)


def assert_same(found: NpyHeader, expected: tuple[Any, ...]) -> None:
    shape, is_fortran, dtype = expected
    assert (found.shape, found.is_fortran) == (shape, is_fortran)
    assert found.record.itemsize == dtype.itemsize
    for field in found.record.fields:
        inner = dtype
        offset = 0
        for name in field.path:
            inner, place = inner.fields[name][:2]
            offset += place
        assert field.offset == offset
        base, inner_shape = (inner.subdtype or (inner, ())) if inner.subdtype else (inner, ())
        assert field.shape == tuple(inner_shape)
        assert field.dtype.bits == 8 * base.itemsize


REFUSED = {
    "no dict": "[1]",
    "empty": "",
    "unfinished": "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)",
    "missing key": "{'descr': '<f4', 'shape': (3,)}",
    "extra key": "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'more': 1}",
    "key twice": "{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (3,)}",
    "key no text": "{1: '<f4', 'fortran_order': False, 'shape': (3,)}",
    "shape a list": "{'descr': '<f4', 'fortran_order': False, 'shape': [3]}",
    "shape a number": "{'descr': '<f4', 'fortran_order': False, 'shape': (3)}",
    "negative": "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
    "truth as length": "{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
    "2^64": "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616,)}",
    "2^63": "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808,)}",
    "many digits": "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1" * 6000 + ",)}",
    "65 dimensions": "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 65 + ")}",
    "order a number": "{'descr': '<f4', 'fortran_order': 0, 'shape': (3,)}",
    "order None": "{'descr': '<f4', 'fortran_order': None, 'shape': (3,)}",
    "call": "{'descr': exec('1'), 'fortran_order': False, 'shape': (3,)}",
    "name": "{'descr': x, 'fortran_order': False, 'shape': (3,)}",
    "product": "{'descr': '<f4', 'fortran_order': False, 'shape': (3*4,)}",
    "deep": "(" * 50_000,
    "minus signs": "-" * 50_000,
    "two values": PLAIN + " 1",
    "bad type": "{'descr': '<f3', 'fortran_order': False, 'shape': (3,)}",
    "type of None": "{'descr': None, 'fortran_order': False, 'shape': (3,)}",
    "huge type": "{'descr': '|V99999999999', 'fortran_order': False, 'shape': (3,)}",
    "field without type": "{'descr': [('a',)], 'fortran_order': False, 'shape': (3,)}",
    "field name a number": "{'descr': [(1, '<f4')], 'fortran_order': False, 'shape': (3,)}",
    "field shape negative": "{'descr': [('a', '<f4', (-1,))], 'fortran_order': False, 'shape': (3,)}",
    "colon in a tuple": "{'descr': '<f4', 'fortran_order': False, 'shape': (3:4)}",
    "comma first": "{,'descr': '<f4', 'fortran_order': False, 'shape': (3,)}",
    "two commas": "{'descr': '<f4',, 'fortran_order': False, 'shape': (3,)}",
    "wrong bracket": "{'descr': '<f4', 'fortran_order': False, 'shape': (3,]}",
    "line end in text": "{'descr': '<f\n4', 'fortran_order': False, 'shape': (3,)}",
    "odd escape": "{'descr': '\\N{DIGIT ONE}', 'fortran_order': False, 'shape': (3,)}",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        header(npy(text))
    assert caught.value.code in ("npy-header", "npy-dtype")
    assert caught.value.path == "a.npy"
    assert caught.value.offset is not None and 10 <= caught.value.offset <= 10 + len(text)


def test_the_offset_is_that_of_the_fault() -> None:
    text = "{'descr': '<f4', 'fortran_order': maybe, 'shape': (3,)}"
    with pytest.raises(Malformed) as caught:
        header(npy(text))
    assert caught.value.offset == 10 + text.index("maybe")


def test_python_2_wrote_long_integers() -> None:
    assert header(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3L, 4L), }")).shape == (3, 4)


def test_utf8_is_for_version_3() -> None:
    text = "{'descr': [('é', '<f4')], 'fortran_order': False, 'shape': (1,)}"
    assert header(npy(text, version=(3, 0))).record.fields[0].path == ("é",)
    assert header(npy(text, version=(1, 0))).record.fields[0].path == ("é",)
    broken = npy(text, version=(3, 0)).replace("é".encode(), b"\xff\xff")
    with pytest.raises(Malformed) as caught:
        header(broken)
    assert caught.value.offset == broken.index(b"\xff")


@pytest.mark.parametrize("version", [(0, 0), (1, 1), (4, 0), (255, 255)])
def test_unknown_versions(version: tuple[int, int]) -> None:
    with pytest.raises(Unsupported) as caught:
        header(npy(PLAIN, version=version))
    assert (caught.value.code, caught.value.offset) == ("npy-version", 6)


def test_the_header_budget() -> None:
    raw = npy(PLAIN)
    tight = DEFAULT_LIMITS.changed(npy_header_bytes=len(PLAIN))
    assert read_npy_header(MemorySource(raw), tight).shape == (3, 4)
    with pytest.raises(LimitExceeded) as caught:
        read_npy_header(MemorySource(raw), DEFAULT_LIMITS.changed(npy_header_bytes=len(PLAIN) - 1))
    assert (caught.value.code, caught.value.offset) == ("limit-npy-header-bytes", 8)


def test_a_length_of_four_gigabytes_is_refused_unread() -> None:
    with pytest.raises(LimitExceeded):
        header(npy(PLAIN, version=(2, 0), length=2**32 - 1))


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_every_truncation(version: tuple[int, int]) -> None:
    raw = npy(PLAIN, version=version)
    for size in range(len(raw)):
        with pytest.raises(Truncated) as caught:
            header(raw[:size])
        assert caught.value.offset == size


def test_too_many_fields() -> None:
    roomy = DEFAULT_LIMITS.changed(npy_header_bytes=1 << 20)
    for count in (10_000, 10_001):
        fields = ",".join(f"('{number}','i1')" for number in range(count))
        text = "{'descr': [" + fields + "], 'fortran_order': False, 'shape': (1,)}"
        source = MemorySource(npy(text, version=(2, 0)))
        if count == 10_000:
            assert len(read_npy_header(source, roomy).record.fields) == count
            continue
        with pytest.raises(Malformed, match="more than 10,000 fields") as caught:
            read_npy_header(source, roomy)
        assert (caught.value.code, caught.value.offset) == ("npy-dtype", 12 + text.index("["))


_MUTATIONS = st.sampled_from(
    ["'", '"', "(", ")", "[", "]", "{", "}", ",", ":", "L", "1", "-", " ", "x", "\\", "True"]
)


@given(
    st.sampled_from(ACCEPTED), st.lists(st.tuples(st.integers(0, 120), _MUTATIONS, st.booleans()), max_size=3)
)
def test_damaged_headers(text: str, changes: list[tuple[int, str, bool]]) -> None:
    for position, piece, replace in changes:
        at = min(position, len(text))
        text = text[:at] + piece + text[at + replace :]
    raw = npy(text)
    try:
        found = header(raw)
    except ParamInspectError:
        return
    expected = numpy_header(raw.replace(b"L", b"") if b"L" in raw else raw)
    if b"L" in raw or len(set(_names(found))) < len(found.record.fields) or "" in _names(found):
        return  # numpy no longer reads Python 2's integers, and has rules of its own for equal names
    assert expected is not None, text
    assert_same(found, expected)


def _names(found: NpyHeader) -> list[str]:
    return [".".join(field.path) for field in found.record.fields if field.path]


DTYPES = st.sampled_from(
    ["<f4", ">f8", "<i2", "|u1", "?", "<c16", "<f2", "<U5", "S3", "<M8[us]", "<m8[h]", "V7", "V2"]
)


@given(
    st.one_of(
        DTYPES,
        st.lists(
            st.tuples(st.sampled_from("abcdefg"), DTYPES),
            min_size=1,
            max_size=4,
            unique_by=lambda one: one[0],
        ),
    ),
    st.lists(st.integers(0, 2**40), max_size=5),
    st.booleans(),
    st.sampled_from([(1, 0), (2, 0), (3, 0)]),
)
def test_headers_that_numpy_writes(
    descr: Any, shape: list[int], is_fortran: bool, version: tuple[int, int]
) -> None:
    dtype = np.dtype(descr)
    facts = {"descr": npy_format.dtype_to_descr(dtype), "fortran_order": is_fortran, "shape": tuple(shape)}
    stream = io.BytesIO()
    npy_format._write_array_header(stream, facts, version)
    assert_same(header(stream.getvalue()), (tuple(shape), is_fortran, dtype))
