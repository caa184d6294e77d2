"""The table of element types."""

from __future__ import annotations

import numpy as np
import pytest
from paraminspect.readers.dtypes import DTYPES, opaque

ml_dtypes = pytest.importorskip("ml_dtypes")


def test_names_and_labels_are_unique() -> None:
    assert all(name == row.name == str(row) for name, row in DTYPES.items())
    labels = [row.label for row in DTYPES.values()]
    assert len(set(labels)) == len(labels)
    assert not set(labels) & (set(DTYPES) - set(labels)) - {"bool"}


def test_numpy_and_ml_dtypes_know_the_names() -> None:
    for row in DTYPES.values():
        if row.kind in ("float", "complex", "int", "uint", "bool") and row.name != "complex32":
            kind = getattr(ml_dtypes, row.name, None) or getattr(np, row.name, None)
            if kind is None:
                assert row.bits < 8 or row.bits > 64, row.name
            elif row.bits >= 8:
                assert np.dtype(kind).itemsize * 8 == row.bits, row.name


def test_a_carrier_holds_one_element() -> None:
    for row in DTYPES.values():
        assert row.carrier is not None
        size = np.dtype(row.carrier).itemsize * 8
        assert size == (8 if row.is_packed else row.bits), row.name


@pytest.mark.parametrize(
    ("name", "elements", "span"),
    [
        ("float32", 3, 12),
        ("uint4", 3, 2),
        ("int3", 8, 3),
        ("int3", 9, 4),
        ("float6_e2m3fn", 5, 4),
        ("bool", 0, 0),
    ],
)
def test_bytes_that_elements_take(name: str, elements: int, span: int) -> None:
    assert DTYPES[name].span(elements) == span


def test_packed_types() -> None:
    packed = {name for name, row in DTYPES.items() if row.is_packed}
    small = {f"{sign}{bits}" for sign in ("int", "uint") for bits in range(1, 8)}
    floats = {"float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn"}
    assert packed == small | floats | {"quint4x2", "quint2x4"}


def test_types_without_a_meaning() -> None:
    record = opaque("record12", 96)
    assert (record.name, record.label, record.kind, record.carrier) == (
        "record12",
        "record12",
        "opaque",
        "V12",
    )
    assert opaque("void2", 16, "void2 (bfloat16?)").label == "void2 (bfloat16?)"
    unsized = opaque("object", 0)
    assert unsized.carrier is None and not unsized.is_packed and unsized.span(10) == 0


def test_equal_types_are_equal() -> None:
    assert opaque("void2", 16) == opaque("void2", 16) != opaque("void2", 24)
    assert len({opaque("void2", 16), opaque("void2", 16), opaque("void3", 24)}) == 2
    assert DTYPES["int8"] != DTYPES["uint8"] and DTYPES["int8"] != "int8"
