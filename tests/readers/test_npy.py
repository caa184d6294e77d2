"""A .npy file against numpy: every version, order and type; damaged and malicious ones."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import paraminspect
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy_format
from paraminspect.readers.errors import Truncated
from paraminspect.readers.findings import Severity
from paraminspect.readers.sections import Section

TYPES = [
    "<f2", "<f4", "<f8", ">f2", ">f4", ">f8", "|i1", "<i2", ">i4", "<i8", "|u1", ">u2", "<u4", "<u8", "|b1",
    "<c8", ">c16",
]  # fmt: skip


@given(
    st.sampled_from(TYPES),
    st.lists(st.integers(0, 4), max_size=4),
    st.booleans(),
    st.sampled_from([(1, 0), (2, 0), (3, 0)]),
    st.randoms(use_true_random=False),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_values_are_numpys(
    tmp_path: Path, dtype: str, shape: list[int], is_fortran: bool, version: tuple[int, int], random: Any
) -> None:
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = bytes(random.choices(range(2) if dtype == "|b1" else range(256), k=count))
    array = np.frombuffer(raw, dtype).reshape(shape)
    if is_fortran:
        array = np.asfortranarray(array)
    path = tmp_path / "weights.npy"
    with path.open("wb") as file:
        npy_format.write_array(file, array, version=version)
    expected = np.load(path)
    with paraminspect.open(path) as checkpoint:
        [tensor] = checkpoint.parameters
        assert checkpoint.format == "npy"
        assert checkpoint.findings == ()
        assert (tensor.name, tensor.shape) == ("weights", expected.shape)
        ours = tensor.numpy()
        assert ours.dtype == expected.dtype.newbyteorder("=")
        assert ours.tobytes() == expected.astype(expected.dtype.newbyteorder("=")).tobytes()
        assert tensor.nbytes == expected.nbytes


def test_records_are_listed_by_field(tmp_path: Path) -> None:
    dtype = np.dtype([("x", "<f4"), ("pair", ">i2", (2, 3)), ("in", [("a", "|u1"), ("b", "<f8")])])
    array = np.zeros((5, 2), dtype)
    array["x"] = np.arange(10).reshape(5, 2)
    array["pair"] = np.arange(60).reshape(5, 2, 2, 3)
    array["in"]["b"] = np.linspace(0, 1, 10).reshape(5, 2)
    for order in "CF":
        np.save(tmp_path / "r.npy", np.asarray(array, order=order))  # type: ignore[call-overload]
        with paraminspect.open(tmp_path / "r.npy") as checkpoint:
            table = checkpoint.parameters
            assert table.names == ["r.x", "r.pair", "r.in.a", "r.in.b"]
            assert table.path(3) == ("r", "in", "b")
            np.testing.assert_array_equal(table["r.x"].numpy(), array["x"])
            np.testing.assert_array_equal(table["r.pair"].numpy(), array["pair"])
            np.testing.assert_array_equal(table["r.in.b"].numpy(), array["in"]["b"])
            blocks = np.concatenate([block.copy() for block in table["r.pair"].blocks(64)])
            assert sorted(blocks.tolist()) == list(range(60))


def test_aligned_records_have_padding(tmp_path: Path) -> None:
    array = np.zeros(3, np.dtype([("a", "u1"), ("b", "f8")], align=True))
    array["b"] = [1, 2, 3]
    np.save(tmp_path / "r.npy", array)
    with paraminspect.open(tmp_path / "r.npy") as checkpoint:
        assert checkpoint.parameters.names == ["r.a", "r.b"]
        assert checkpoint.parameters["r.b"].numpy().tolist() == [1, 2, 3]


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4"])
def test_low_precision_types_come_as_void_and_are_not_guessed(tmp_path: Path, name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.arange(4).astype(getattr(ml_dtypes, name))
    np.save(tmp_path / "w.npy", array)
    with paraminspect.open(tmp_path / "w.npy") as checkpoint:
        [tensor] = checkpoint.parameters
        assert tensor.dtype.name == ("float8" if name == "float8_e5m2" else f"void{array.dtype.itemsize}")
        assert tensor.dtype.kind == "opaque"
        assert "?" in tensor.dtype.label
        assert tensor.numpy().tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "array",
    [
        np.array(["ab", "c"]),
        np.array([b"ab", b"c"]),
        np.array(["2020-01-01", "NaT"], "M8[s]"),
        np.array([1, 2], "m8[ms]"),
    ],
)
def test_texts_and_dates_are_no_parameters(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    np.save(tmp_path / "a.npy", array)
    with paraminspect.open(tmp_path / "a.npy") as checkpoint:
        [tensor] = checkpoint.parameters
        assert tensor.section is Section.OTHER
        assert tensor.numpy().tobytes() == array.tobytes()
        assert tensor.numpy().dtype == array.dtype


def test_missing_values_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(1000))
    whole = path.stat().st_size
    os.truncate(path, whole - 1234)
    with pytest.raises(Truncated, match="1,234 bytes") as caught:
        paraminspect.open(path)
    assert (caught.value.code, caught.value.offset) == ("npy-truncated", whole - 1234)


@pytest.mark.parametrize("shape", ["(2305843009213693951,)", "(4611686018427387904, 4611686018427387904)"])
def test_a_shape_bomb_allocates_nothing(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "a.npy"
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(100))
    with pytest.raises(Truncated):
        paraminspect.open(path)


def test_trailing_bytes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(3))
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"PAYLOAD")
    with paraminspect.open(path) as checkpoint:
        [finding] = checkpoint.findings
        assert (finding.code, finding.severity, finding.offset) == (
            "npy-trailing-bytes",
            Severity.WARNING,
            size,
        )
        assert checkpoint.parameters["a"].numpy().tolist() == [0, 0, 0]


def test_an_object_array_is_read_without_making_objects(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    content = {"lr": 0.1, "weights": np.arange(3.0), "inner": {"bias": np.ones(2, np.float32)}}
    np.save(path, content, allow_pickle=True)  # type: ignore[arg-type]
    with paraminspect.open(path) as checkpoint:
        table = checkpoint.parameters
        assert table.names == ["a", "a.weights", "a.inner.bias"]
        assert table["a.weights"].numpy().tolist() == [0, 1, 2]
        assert checkpoint.hyperparameters == {"a": {"lr": 0.1}}
        assert table.totals().elements == 5
        with pytest.raises(paraminspect.NoValues):
            table["a"].numpy()


class Harmful:
    """Unpickling it would run a command."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("exit 1",)


@pytest.mark.parametrize("as_record", [False, True])
def test_a_call_in_an_object_array_is_told(tmp_path: Path, as_record: bool) -> None:
    path = tmp_path / "a.npy"
    array: np.ndarray[Any, Any] = np.array([Harmful(), 1], dtype=object)
    if as_record:
        array = np.array([(1.0, Harmful())], dtype=[("x", "<f4"), ("hidden", "O")])
    with path.open("wb") as file:
        npy_format.write_array(file, array, allow_pickle=True)
    with paraminspect.open(path) as checkpoint:
        assert "pickle-runs-code" in {finding.code for finding in checkpoint.findings}
        assert any(one.name == "system" and one.called for one in checkpoint.imports)


def test_a_damaged_pickle_tells_what_it_would_run(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    text = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"
    content = pickle.dumps(np.array([Harmful()], dtype=object), protocol=2)[:-2]
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content)
    with pytest.raises(paraminspect.Malformed, match="system"):
        paraminspect.open(path)


def test_every_truncation_and_flip_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(3, dtype=np.int16))
    raw = path.read_bytes()
    for size in range(len(raw)):
        path.write_bytes(raw[:size])
        with pytest.raises(paraminspect.ParamInspectError):
            paraminspect.open(path)
    for position in range(len(raw)):
        for value in (0, 255, raw[position] ^ 128):
            path.write_bytes(raw[:position] + bytes([value]) + raw[position + 1 :])
            try:
                paraminspect.open(path).close()
            except paraminspect.ParamInspectError as error:
                assert error.path == str(path)


def test_protocol_2_object_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    array = np.array([{"w": np.arange(2)}, None], dtype=object)
    text = b"{'descr': '|O', 'fortran_order': False, 'shape': (2,)}"
    path.write_bytes(
        b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + pickle.dumps(array, protocol=2)
    )
    with paraminspect.open(path) as checkpoint:
        assert checkpoint.parameters.names == ["a", "a.0.w"]
        assert checkpoint.parameters["a.0.w"].numpy().tolist() == [0, 1]
