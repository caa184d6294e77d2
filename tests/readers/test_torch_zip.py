"""torch archives with one lying field each: what is refused, what is reported, what stays readable."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import paraminspect
import pytest
from builders.torch_builder import FakeTensor, TorchZip, in_tuple, named, number, state_dict, text
from paraminspect.readers import Checkpoint, Limits, Severity


def opened(tmp_path: Path, archive: TorchZip) -> Checkpoint:
    path = tmp_path / "model.pt"
    path.write_bytes(archive.build())
    return paraminspect.open(path)


def codes(checkpoint: Checkpoint) -> dict[str, Severity]:
    return {finding.code: finding.severity for finding in checkpoint.findings}


def test_an_honest_archive(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, TorchZip())
    assert checkpoint.findings == ()
    assert checkpoint.format == "torch zip"
    assert checkpoint.parameters["w"].numpy().tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (FakeTensor(size=(2, 3)), "view-outside-storage"),
        (FakeTensor(offset=1), "view-outside-storage"),
        (FakeTensor(stride=(3, 1)), "view-outside-storage"),
        (FakeTensor(size=(2**62, 2**62), stride=(1, 1)), "view-outside-storage"),
        (FakeTensor(offset=-1), "tensor-shape"),
        (FakeTensor(stride=(-2, 1)), "tensor-shape"),
        (FakeTensor(offset=1.5), "tensor-shape"),
        (FakeTensor(offset=2**70), "tensor-shape"),
        (FakeTensor(stride=(1,)), "tensor-stride"),
        (FakeTensor(numel=5), "storage-size-mismatch"),
        (FakeTensor(numel=3, size=(1, 2)), "storage-size-mismatch"),
        (FakeTensor(storage="DoubleStorage"), "storage-size-mismatch"),
        (FakeTensor(key="7"), "storage-missing"),
        (FakeTensor(key="../../../etc/passwd"), "storage-missing"),
    ],
)
def test_a_bad_tensor_is_one_marked_row(tmp_path: Path, lie: FakeTensor, code: str) -> None:
    entries = {"good": FakeTensor(key="1"), "bad": lie}
    storages = {"0": struct.pack("<4f", 1, 2, 3, 4), "1": struct.pack("<4f", 5, 6, 7, 8)}
    checkpoint = opened(tmp_path, TorchZip(entries, storages))
    assert codes(checkpoint)[code] is Severity.ERROR
    assert [finding.tensor for finding in checkpoint.findings if finding.code == code] == ["bad"]
    assert checkpoint.parameters["good"].numpy().tolist() == [[5, 6], [7, 8]]
    with pytest.raises(paraminspect.NoValues):
        checkpoint.parameters["bad"].numpy()


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (FakeTensor(size=(-2, 2)), "tensor-shape"),
        (FakeTensor(size=(True, 2)), "tensor-shape"),
        (FakeTensor(size=(2.0, 2)), "tensor-shape"),
        (FakeTensor(size=(2**70, 2)), "tensor-shape"),
        (FakeTensor(size=(2**62,) * 400, stride=(0,) * 400), "tensor-shape"),
        (FakeTensor(numel=-4), "storage-size"),
        (FakeTensor(numel=True), "storage-size"),
        (FakeTensor(storage="EvilStorage"), "storage-class"),
        (FakeTensor(storage_module="os"), "storage-class"),
        (FakeTensor(extra_id_fields=(number(1),)), "storage-id"),
    ],
)
def test_a_tensor_that_tells_no_shape_is_reported(tmp_path: Path, lie: FakeTensor, code: str) -> None:
    checkpoint = opened(tmp_path, TorchZip({"bad": lie, "good": FakeTensor()}))
    assert codes(checkpoint)[code] is Severity.ERROR
    assert checkpoint.parameters.names == ["good"]


def test_an_expanded_view_claims_no_bytes(tmp_path: Path) -> None:
    claim = FakeTensor(size=(10**9, 10**9), stride=(0, 0))
    checkpoint = opened(tmp_path, TorchZip({"w": claim}))
    row = checkpoint.parameters["w"]
    assert (row.elements, row.nbytes) == (10**18, 4)
    assert [block.tolist() for block in row.blocks()] == [[1.0]]
    assert row.numpy().strides == (0, 0)


def test_one_key_with_two_sizes_is_an_error(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, TorchZip({"a": FakeTensor(), "b": FakeTensor(numel=2, size=(1, 2))}))
    assert "storage-conflict" in codes(checkpoint)


def test_unreferenced_storages_are_told(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, TorchZip(storages={"0": bytes(16), "payload": b"#!/bin/sh"}))
    assert codes(checkpoint)["storage-unreferenced"] is Severity.WARNING


def test_big_endian_storages_are_swapped(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, TorchZip(storages={"0": struct.pack(">4f", 1, 2, 3, 4)}, byteorder=b"big"))
    assert checkpoint.parameters["w"].numpy().tolist() == [[1, 2], [3, 4]]


def test_deflated_archives_are_read(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, TorchZip(compression=zipfile.ZIP_DEFLATED))
    assert checkpoint.parameters["w"].numpy().tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("archive", "code"),
    [
        (TorchZip(version=None), "torch-zip-version"),
        (TorchZip(byteorder=b"middle"), "torch-zip-byteorder"),
        (TorchZip(root="outer/inner"), "torch-zip-root"),
        (TorchZip(first="other/readme"), "torch-zip-root"),
        (TorchZip(more={"second/data.pkl": b"N."}), "torch-zip-two-roots"),
    ],
)
def test_archives_that_loaders_read_differently_are_refused(
    tmp_path: Path, archive: TorchZip, code: str
) -> None:
    with pytest.raises(paraminspect.Malformed) as caught:
        opened(tmp_path, archive)
    assert caught.value.code == code
    assert caught.value.path == str(tmp_path / "model.pt")


def test_members_outside_the_root_are_told(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, TorchZip(more={"extra/notes.txt": b"hello"}))
    assert codes(checkpoint)["torch-zip-extra-members"] is Severity.WARNING


def test_a_call_is_reported_and_not_made(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    attack = named("posix", "system") + in_tuple(text(f"touch {marker}")) + b"R"
    checkpoint = opened(tmp_path, TorchZip({"w": FakeTensor(), "x": attack}))
    assert codes(checkpoint)["pickle-runs-code"] is Severity.WARNING
    assert [(one.module, one.name, one.called) for one in checkpoint.imports if one.module == "posix"] == [
        ("posix", "system", True)
    ]
    assert not marker.exists()
    assert checkpoint.parameters["w"].numpy().tolist() == [[1, 2], [3, 4]]


def test_a_call_whose_result_is_dropped_is_reported_too(tmp_path: Path) -> None:
    attack = named("os", "system") + in_tuple(text("true")) + b"R0"
    pickle = state_dict({"w": FakeTensor()})
    checkpoint = opened(tmp_path, TorchZip(pickle=pickle[:2] + attack + pickle[2:]))
    assert "pickle-runs-code" in codes(checkpoint)


def test_cycles_are_cut(tmp_path: Path) -> None:
    # A dict that holds itself, and then a tensor.
    pickle = b"\x80\x02}q\x00(" + text("again") + b"h\x00" + text("w") + FakeTensor().opcodes() + b"u."
    checkpoint = opened(tmp_path, TorchZip(pickle=pickle))
    assert codes(checkpoint)["cycle"] is Severity.ERROR
    assert checkpoint.parameters.names == ["w"]


def test_a_billion_laughs_with_a_tensor_ends(tmp_path: Path) -> None:
    levels = b"".join(
        b"q" + bytes([level]) + b"](h" + bytes([level]) + b"h" + bytes([level]) + b"e" for level in range(60)
    )
    pickle = b"\x80\x02" + FakeTensor().opcodes() + levels + b"."
    checkpoint = opened(tmp_path, TorchZip(pickle=pickle))
    assert codes(checkpoint)["repetition-limit"] is Severity.ERROR


def test_deep_nesting_ends(tmp_path: Path) -> None:
    pickle = b"\x80\x02" + b"](" * 5000 + FakeTensor().opcodes() + b"e" * 5000 + b"."
    checkpoint = opened(tmp_path, TorchZip(pickle=pickle))
    assert codes(checkpoint)["nesting-depth"] is Severity.ERROR


def test_the_same_dict_under_two_names_is_listed_twice(tmp_path: Path) -> None:
    inner = b"}q\x05(" + text("w") + FakeTensor().opcodes() + b"u"
    pickle = b"\x80\x02}(" + text("model") + inner + text("best") + b"h\x05u."
    table = opened(tmp_path, TorchZip(pickle=pickle)).parameters
    assert table.names == ["model.w", "best.w"]
    assert table.totals().parameters == 4


def test_every_truncation_is_one_clear_error(tmp_path: Path) -> None:
    whole = TorchZip().build()
    path = tmp_path / "cut.pt"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(paraminspect.ParamInspectError):
            paraminspect.open(path)


def test_no_flipped_byte_escapes_as_another_exception(tmp_path: Path) -> None:
    whole = TorchZip().build()
    path = tmp_path / "flipped.pt"
    for position in range(len(whole)):
        for mask in (0xFF, 0x80, 0x01):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ mask]) + whole[position + 1 :])
            try:
                for row in paraminspect.open(path).parameters:
                    row.numpy()
            except paraminspect.ParamInspectError as error:
                assert error.code


def test_what_torch_does_not_look_at_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    raw = bytearray(TorchZip().build())
    name = raw.index(b"/data/0")  # in the local header
    raw[name + 6] = ord("9")
    path.write_bytes(raw)
    with paraminspect.open(path) as checkpoint:
        assert codes(checkpoint) == {"zip-local-header": Severity.WARNING}
        assert checkpoint.findings[0].offset == raw.rindex(b"PK\x03\x04", 0, name)
        assert checkpoint.parameters["w"].numpy().tolist() == [[1, 2], [3, 4]]


def test_a_changed_pickle_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    raw = TorchZip().build()
    path.write_bytes(raw.replace(text("w"), text("v"), 1))
    with paraminspect.open(path) as checkpoint:
        assert checkpoint.parameters.names == ["v"]
        assert codes(checkpoint) == {"zip-crc": Severity.ERROR}


def test_a_damaged_local_header_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    raw = bytearray(TorchZip().build())
    header = raw.rindex(b"PK\x03\x04", 0, raw.index(b"/data/0"))
    raw[header] = 0
    path.write_bytes(raw)
    with paraminspect.open(path) as checkpoint:
        assert codes(checkpoint)["zip-local-signature"] is Severity.ERROR


def test_a_pickle_that_inflates_too_far_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a/data.pkl", "w") as member:
            member.write(b"](")
            for _ in range(100):
                member.write(b"N" * (1 << 20))
            member.write(b"e.")
        archive.writestr("a/version", "3")
    with pytest.raises(paraminspect.LimitExceeded) as caught:
        paraminspect.open(path)
    assert caught.value.code == "limit-inflate-ratio"


def test_the_budget_of_inflated_pickles(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"](" + b"N" * 1000 + b"e.")
        archive.writestr("a/version", "3")
    paraminspect.open(path, limits=Limits(inflated_bytes=1004)).close()
    with pytest.raises(paraminspect.LimitExceeded) as caught:
        paraminspect.open(path, limits=Limits(inflated_bytes=1003))
    assert caught.value.code == "limit-inflated-bytes"
