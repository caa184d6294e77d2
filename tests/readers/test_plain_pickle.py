"""Pickles that are no torch file: state dicts of pickle.dump, arrays, any object at all."""

from __future__ import annotations

import collections
import datetime as dt
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import paraminspect
import pytest
from builders.pickle_builder import called, named, short_text, text
from builders.torch_builder import legacy_file
from hypothesis import given, settings
from hypothesis import strategies as st
from paraminspect.readers import Checkpoint, ParamInspectError, Severity, open_checkpoint
from paraminspect.readers.limits import Limits
from paraminspect.readers.plain_pickle import recognises
from paraminspect.readers.source import MemorySource

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
VALUES = struct.pack("<4f", 1, 2, 3, 4)


def opened(folder: Path, raw: bytes, name: str = "model.pkl", **limits: float) -> Checkpoint:
    path = folder / name
    path.write_bytes(raw)
    return open_checkpoint(path, limits=Limits().changed(**limits))


def is_pickle(raw: bytes) -> bool:
    return recognises(MemorySource(raw), raw[:1024])


# --- what is taken for a pickle ---


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [{}, [], (1, 2), {"a": 1.5}, [None, True, -1, 2**80], collections.OrderedDict(a=1), {1, 2}, b"\xff" * 9],
    ids=repr,
)
def test_every_protocol_is_recognised(protocol: int, value: object) -> None:
    assert is_pickle(pickle.dumps(value, protocol))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b".",
        b"N",
        b"N.",
        b"I5\n.",
        b"F1.5\n.",
        b"plain text\n",
        b"cat\nfelix\n is a text about animals.\n" * 10,
        b"cat\nfelix\n is a text about animals.\n" * 10_000,
        b"It is a long text.\n" * 10_000,
        b"{\"json\": 1}",
        b"<html>",
        b"]}",
        b"\x80",
        b"\x80\x06N.",
        b"\x89PNG\r\n\x1a\n" + bytes(20),
        b"\x93NUMPY\x01\x00",
        b"PK\x03\x04",
        b"BZh91AY&SY",
        b"(" * 100,
    ],
)  # fmt: skip
def test_other_files_are_not_taken_for_pickles(raw: bytes) -> None:
    assert not is_pickle(raw)


def test_a_long_text_pickle_is_recognised_by_its_beginning(tmp_path: Path) -> None:
    raw = pickle.dumps({"s": {1, 2}, "t": [float(number) for number in range(50_000)]}, 0)
    assert len(raw) > 200_000
    assert is_pickle(raw)
    assert opened(tmp_path, raw).format == "pickle"


@pytest.mark.parametrize("tail", [b"", b"0\xff", b"\xff" * 100_000])
def test_whatever_calls_something_is_a_pickle(tail: bytes) -> None:
    assert is_pickle(called("os", "system", b"N") + tail)
    assert is_pickle(named("m", "C") + b")\x81}b" + tail)
    assert not is_pickle(named("m", "C") + b"\xff")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_recognition_never_raises(raw: bytes) -> None:
    is_pickle(raw)


# --- what is in it ---


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype="<f4").reshape(2, 3),
        np.arange(6, dtype=">i2").reshape(3, 2),
        np.asfortranarray(np.arange(6, dtype="<f8").reshape(2, 3)),
        np.array(7, dtype="u1"),
        np.zeros((0, 3), dtype="<f4"),
        np.array([True, False]),
        np.arange(256, dtype="u1"),
        np.arange(40_000, dtype="<i4"),
        np.array([1 + 2j], dtype="<c8"),
    ],
    ids=lambda array: f"{array.dtype.str}{array.shape}",
)
def test_arrays(protocol: int, array: np.ndarray[Any, Any], tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, pickle.dumps({"layer": {"w": array}, "lr": 0.5}, protocol))
    read = checkpoint.parameters["layer.w"]
    assert read.shape == array.shape
    assert np.array_equal(read.numpy(), array)
    assert [finding for finding in checkpoint.findings if finding.severity is not Severity.INFO] == []


def test_an_array_of_python_2(tmp_path: Path) -> None:
    """Python 2 writes the bytes of an array as a string, and so does our opcode SHORT_BINSTRING."""
    for values in (b"abcdefgh", b"\x00\xff\x80\x7fabcd"):
        unknown = b"J\xff\xff\xff\xff"
        empty = called("numpy.core.multiarray", "_reconstruct", named("numpy", "ndarray"), b"K\x00\x85U\x01b")
        dtype = called("numpy", "dtype", b"U\x02f4K\x00K\x01")
        dtype += b"(K\x03U\x01<NNN" + unknown + unknown + b"K\x00tb"
        state = b"(K\x01K\x02\x85" + dtype + b"\x89U" + bytes([len(values)]) + values + b"t"
        raw = b"\x80\x02}U\x01w" + empty + state + b"bs."
        expected = pickle.loads(raw, encoding="latin-1")["w"]
        assert opened(tmp_path, raw).parameters["w"].numpy().tobytes() == expected.tobytes() == values


def test_settings_are_told_and_not_listed(tmp_path: Path) -> None:
    value = {"epoch": 3, "lr": 0.1, "when": dt.date(2024, 5, 6), "w": np.zeros(2)}
    checkpoint = opened(tmp_path, pickle.dumps(value))
    assert checkpoint.parameters.names == ["w"]
    assert checkpoint.progress == {"epoch": 3}
    assert "0.1" in repr(checkpoint.hyperparameters)


def test_an_object_of_an_unknown_class(tmp_path: Path) -> None:
    raw = (
        b"\x80\x02"
        + named("mymodels", "Net")
        + b")\x81}"
        + text("weight")
        + pickle.dumps(np.ones(3), 2)[2:-1]
        + b"sb."
    )
    checkpoint = opened(tmp_path, raw)
    assert checkpoint.parameters.names == ["weight"]
    first = checkpoint.imports[0]
    assert (first.module, first.called) == ("mymodels", True)
    assert [finding.code for finding in checkpoint.findings] == ["pickle-imports"]


def test_torch_tensors_pickled_by_themselves(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    shared = torch.arange(6.0).reshape(2, 3)
    value = {"w": shared, "t": shared.t(), "half": torch.ones(3, dtype=torch.float16), "none": None}
    checkpoint = opened(tmp_path, pickle.dumps(value, 2))
    for name in ("w", "t", "half"):
        assert checkpoint.parameters[name].numpy().tolist() == value[name].tolist()
    assert [finding for finding in checkpoint.findings if finding.severity is not Severity.INFO] == []


def storage(opcodes: bytes) -> bytes:
    """A state dict with one tensor whose storage is made by the opcodes."""
    arguments = opcodes + b"K\x00K\x02K\x02\x86K\x02K\x01\x86\x89" + called("collections", "OrderedDict")
    return b"\x80\x03}" + text("w") + called("torch._utils", "_rebuild_tensor_v2", arguments) + b"s."


def legacy(content: bytes | None = None) -> bytes:
    identity = text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + b"K\x04N"
    return legacy_file(content or b"\x80\x02(" + identity + b"tQ.", ["0"], [(4, VALUES)])


def loaded(inner: bytes) -> bytes:
    return called("torch.storage", "_load_from_bytes", b"B" + struct.pack("<I", len(inner)) + inner)


def test_a_storage_used_twice_is_one(tmp_path: Path) -> None:
    once = loaded(legacy()) + b"q\x01"
    raw = storage(once)[:-1] + text("v") + storage(b"h\x01")[9:]
    checkpoint = opened(tmp_path, raw)
    assert checkpoint.parameters.names == ["w", "v"]
    totals = checkpoint.parameters.totals()
    assert totals.parameters == 4


@pytest.mark.parametrize(
    ("opcodes", "code", "words"),
    [
        (b"N", "storage-id", "not one that torch pickles"),
        (called("m", "f"), "storage-id", "m.f"),
        (called("pickle", "loads", b"C\x02N."), "storage-id", "pickle.loads"),
        (b"Pname\n", "storage-id", "not one that torch pickles"),
        (called("torch.storage", "_load_from_bytes", b"K\x05"), "nested-storage", "not stored as bytes"),
        (called("torch.storage", "_load_from_bytes"), "nested-storage", "not stored as bytes"),
        (loaded(b""), "nested-storage", "STOP"),
        (loaded(b"N."), "nested-storage", "not what torch writes"),
        (loaded(b"PK\x03\x04"), "nested-storage", "zip"),
        (loaded(legacy()[:-3]), "nested-storage", "incomplete"),
        (loaded(legacy(b"N.")), "nested-storage", "no tensor"),
        (loaded(legacy().replace(pickle.dumps(1001, 2), pickle.dumps(1002, 2))), "nested-storage", "1001"),
    ],
)
def test_storages_that_are_none(opcodes: bytes, code: str, words: str, tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, storage(opcodes))
    assert len(checkpoint.parameters) == 0
    found = next(finding for finding in checkpoint.findings if finding.severity is Severity.ERROR)
    assert found.code == code
    assert words in found.message


def test_the_whole_file_may_be_one_array(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, pickle.dumps(np.ones((2, 2))))
    assert checkpoint.parameters[0].numpy().tolist() == [[1, 1], [1, 1]]


def test_several_pickles_in_a_row(tmp_path: Path) -> None:
    first, second = pickle.dumps({"w": np.ones(2)}), pickle.dumps(collections.Counter("ab"))
    checkpoint = opened(tmp_path, first + second + second)
    assert checkpoint.parameters.names == ["w"]
    found = {finding.code: finding for finding in checkpoint.findings}
    assert found["further-pickles"].offset == len(first)
    assert "2 more pickles" in found["further-pickles"].message
    assert {one.stream for one in checkpoint.imports} == {"", "stream 2", "stream 3"}


def test_pickles_in_a_row_are_not_read_without_end(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, pickle.dumps({}) + b"N." * 1_000)
    found = {finding.code: finding.message for finding in checkpoint.findings}
    assert "100 more pickles" in found["further-pickles"]
    assert "1,800 bytes follow" in found["trailing-bytes"]


def test_the_budget_covers_what_follows(tmp_path: Path) -> None:
    raw = pickle.dumps({}) + b"(" + b"]" * 500 + b"l."
    with pytest.raises(ParamInspectError, match="limit-containers"):
        opened(tmp_path, raw, containers=100)


def test_left_over_objects_are_told(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, b"\x80\x02]}" + text("w") + b"K\x01s.")
    assert [(finding.code, finding.offset) for finding in checkpoint.findings] == [("pickle-leftovers", 13)]


def test_no_suffix_is_wrong(tmp_path: Path) -> None:
    for name in ("model.pkl", "model.pickle", "model.pt"):
        assert opened(tmp_path, pickle.dumps({"w": 1}), name).findings == ()


def test_a_refused_file_names_only_what_runs_code(tmp_path: Path) -> None:
    for harmless in (called("collections", "OrderedDict"), called("numpy", "dtype", b"N")):
        with pytest.raises(ParamInspectError) as caught:
            opened(tmp_path, b"\x80\x02" + harmless + b"\xff")
        assert "names" not in caught.value.cause
    with pytest.raises(ParamInspectError) as caught:
        opened(tmp_path, b"\x80\x02" + called("os", "system", b"N") + b"\xff")
    assert "names os.system" in caught.value.cause


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_truncation_is_one_error(protocol: int, tmp_path: Path) -> None:
    raw = pickle.dumps({"w": np.arange(3), "s": {1, 2}, "n": "text"}, protocol)
    for length in range(len(raw)):
        with pytest.raises(ParamInspectError):
            opened(tmp_path, raw[:length])


def test_no_changed_byte_escapes_as_another_exception(tmp_path: Path) -> None:
    raw = pickle.dumps({"w": np.arange(3), "s": {1, 2}}, 2) + storage(loaded(legacy()))
    for place in range(len(raw)):
        for byte in (0, 0xFF, raw[place] ^ 1, ord(".")):
            try:
                checkpoint = opened(tmp_path, raw[:place] + bytes([byte]) + raw[place + 1 :])
                repr(checkpoint)
            except ParamInspectError:
                continue


def test_the_public_name_reads_pickles(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04" + short_text("just text") + b".")
    assert paraminspect.open(path).format == "pickle"  # type: ignore[attr-defined,unused-ignore]


def test_joblib_files_are_named(tmp_path: Path) -> None:
    joblib: Any = pytest.importorskip("joblib")
    path = tmp_path / "model.joblib"
    joblib.dump({"coefficients": np.arange(100.0)}, path)
    with pytest.raises(paraminspect.Unsupported) as caught:
        paraminspect.open(path)
    assert caught.value.code == "format-joblib"
