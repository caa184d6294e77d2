"""numpy's type strings against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paraminspect.readers.dtypes import DTYPES
from paraminspect.readers.numpy_types import array_type

NUMBERS = [
    np.dtype(order + code)
    for code in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
    for order in "<>"
]


@pytest.mark.parametrize("kind", NUMBERS, ids=str)
def test_numbers(kind: np.dtype[np.generic]) -> None:
    dtype, byteorder = array_type(kind.str)
    assert dtype is DTYPES[kind.newbyteorder("=").name]
    if kind.itemsize > 1:
        assert byteorder == ("big" if kind.str[0] == ">" else "little")


@pytest.mark.parametrize("kind", ["f16", "c32"])
def test_long_doubles(kind: str) -> None:
    dtype, _ = array_type("<" + kind)
    assert dtype.name == {"f16": "float128", "c32": "complex256"}[kind]


@pytest.mark.parametrize(
    ("text", "name", "bits"),
    [
        ("|V2", "void2", 16),
        ("V1", "void1", 8),
        ("|V7", "void7", 56),
        ("|S5", "bytes5", 40),
        ("a5", "bytes5", 40),
        ("<U10", "str10", 320),
        ("|O", "object", 0),
        ("O8", "object", 0),
        ("<M8[ns]", "datetime64[ns]", 64),
        ("m8[25us]", "timedelta64[25us]", 64),
        ("<U0", "str0", 0),
        ("S", "bytes0", 0),
        ("V0", "void0", 0),
        ("?", "bool", 8),
        ("bfloat16", "bfloat16", 16),
        ("float8_e4m3fn", "float8_e4m3fn", 8),
        ("int64", "int64", 64),
    ],
)
def test_other_types(text: str, name: str, bits: int) -> None:
    dtype, _ = array_type(text)
    assert (dtype.name, dtype.bits) == (name, bits)


def test_low_precision_types_in_disguise_are_hinted_at() -> None:
    assert array_type("|V2")[0].label == "void2 (bfloat16?)"
    assert array_type("|V1")[0].label == "void1 (float8 or int4?)"
    assert array_type("|V3")[0].label == "void3"


@pytest.mark.parametrize(("endian", "order"), [("<", "little"), (">", "big"), ("|", "little")])
def test_a_byte_order_told_elsewhere(endian: str, order: str) -> None:
    assert array_type("f4", endian) == (DTYPES["float32"], order)
    assert array_type("float32", endian) == (DTYPES["float32"], order)
    assert array_type("<f4", endian)[1] == "little" and array_type(">f4", endian)[1] == "big"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "f",
        "f3",
        "i16",
        "<",
        "x4",
        "f4 ",
        " f4",
        "f4\n",
        "M4",
        "f-4",
        "f٤",
        "<<f4",
        "V" + "9" * 19,
        "f4[ns]",
        "?4",
    ],
)
def test_what_is_no_type(text: str) -> None:
    with pytest.raises(ValueError, match="is not a numpy element type"):
        array_type(text)


@given(st.text(st.sampled_from("<>|=?biufcmMOSaUV0123456789[]ns"), max_size=8))
def test_any_text_is_a_type_or_a_value_error(text: str) -> None:
    try:
        dtype, byteorder = array_type(text)
    except ValueError:
        return
    assert dtype.bits >= 0 and byteorder in ("little", "big")
    if dtype.kind != "opaque":
        kind = np.dtype(text)
        assert kind.itemsize * 8 == dtype.bits


@given(st.text(max_size=60))
def test_a_message_shows_no_more_than_the_beginning(text: str) -> None:
    try:
        array_type(text)
    except ValueError as error:
        assert len(str(error)) < 500 and str(error).isprintable()
