"""The legacy torch format, field by field."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import paraminspect
import pytest
from builders.torch_builder import MAGIC, FakeTensor, in_tuple, legacy_file, named, number, state_dict, text
from paraminspect.readers import Checkpoint, Severity

VALUES = struct.pack("<4f", 1, 2, 3, 4)
NO_VIEW = (b"N",)


def opened(tmp_path: Path, raw: bytes) -> Checkpoint:
    path = tmp_path / "model.pt"
    path.write_bytes(raw)
    return paraminspect.open(path)


def honest() -> bytes:
    return legacy_file(state_dict({"w": FakeTensor(extra_id_fields=NO_VIEW)}), ["0"], [(4, VALUES)])


def test_an_honest_file(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, honest())
    assert checkpoint.format == "torch legacy"
    assert checkpoint.findings == ()
    assert checkpoint.parameters["w"].numpy().tolist() == [[1, 2], [3, 4]]


def test_the_oldest_rebuild_function(tmp_path: Path) -> None:
    old = b"".join(
        [
            named("torch._utils", "_rebuild_tensor"),
            b"(",
            in_tuple(
                text("storage"), named("torch", "FloatStorage"), text("0"), text("cpu"), number(4), b"N"
            ),
            b"Q",
            number(1),
            in_tuple(number(3)),
            in_tuple(number(1)),
            b"tR",
        ]
    )
    checkpoint = opened(tmp_path, legacy_file(state_dict({"w": old}), ["0"], [(4, VALUES)]))
    assert checkpoint.parameters["w"].numpy().tolist() == [2, 3, 4]


def test_a_storage_that_is_a_view_of_another(tmp_path: Path) -> None:
    view = in_tuple(text("view"), number(2), number(2))
    entries = {
        "root": FakeTensor(extra_id_fields=NO_VIEW),
        "part": FakeTensor(size=(2,), stride=(1,), extra_id_fields=(view,)),
    }
    table = opened(tmp_path, legacy_file(state_dict(entries), ["0"], [(4, VALUES)])).parameters
    assert table["part"].numpy().tolist() == [3, 4]
    assert table["part"].shared_with == ["root"]
    assert table.totals().parameters == 4


@pytest.mark.parametrize("bad", [(3, 2), (-1, 2), (True, 2)])
def test_a_view_outside_its_storage_is_told(tmp_path: Path, bad: tuple[object, object]) -> None:
    view = in_tuple(text("view"), number(bad[0]), number(bad[1]))
    entries: dict[str, FakeTensor | bytes] = {
        "part": FakeTensor(size=(2,), stride=(1,), extra_id_fields=(view,))
    }
    checkpoint = opened(tmp_path, legacy_file(state_dict(entries), ["0"], [(4, VALUES)]))
    assert [finding.code for finding in checkpoint.findings] == ["storage-view"]


def test_a_computed_magic_number_is_no_torch_file(tmp_path: Path) -> None:
    # int("…") called by the pickle: another loader would compute the number.
    computed = b"\x80\x02" + named("builtins", "int") + in_tuple(text(str(MAGIC))) + b"R."
    raw = legacy_file(state_dict({}), [], [], magic=computed)
    checkpoint = opened(tmp_path, raw)
    assert checkpoint.format == "pickle"
    assert "further-pickles" in {finding.code for finding in checkpoint.findings}


def test_another_protocol_number_is_refused(tmp_path: Path) -> None:
    raw = legacy_file(state_dict({}), [], [], protocol=1002)
    with pytest.raises(paraminspect.Malformed) as caught:
        opened(tmp_path, raw)
    assert caught.value.code == "torch-legacy-protocol"
    assert caught.value.offset == len(pickle.dumps(MAGIC, 2))


def test_trailing_bytes_are_told(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, honest() + b"payload")
    (finding,) = checkpoint.findings
    assert (finding.code, finding.severity, finding.offset) == (
        "trailing-bytes",
        Severity.WARNING,
        len(honest()),
    )


def test_a_cut_file_says_how_much_is_missing(tmp_path: Path) -> None:
    with pytest.raises(paraminspect.Truncated, match="5 bytes") as caught:
        opened(tmp_path, honest()[:-5])
    assert caught.value.offset == len(honest()) - len(VALUES) - 8


@pytest.mark.parametrize(("count", "code"), [(-1, "torch-legacy-storage-size"), (2**60, "truncated")])
def test_lying_element_counts(tmp_path: Path, count: int, code: str) -> None:
    raw = legacy_file(state_dict({"w": FakeTensor(extra_id_fields=NO_VIEW)}), ["0"], [(count, VALUES)])
    with pytest.raises(paraminspect.Malformed) as caught:
        opened(tmp_path, raw)
    assert caught.value.code == code


def test_an_unused_storage_cannot_be_skipped(tmp_path: Path) -> None:
    raw = legacy_file(
        state_dict({"w": FakeTensor(extra_id_fields=NO_VIEW)}), ["0", "1"], [(4, VALUES), (1, b"abcd")]
    )
    with pytest.raises(paraminspect.Malformed) as caught:
        opened(tmp_path, raw)
    assert caught.value.code == "torch-legacy-unknown-storage"


def test_a_storage_of_another_length_than_declared(tmp_path: Path) -> None:
    raw = legacy_file(state_dict({"w": FakeTensor(extra_id_fields=NO_VIEW)}), ["0"], [(3, VALUES[:12])])
    checkpoint = opened(tmp_path, raw)
    assert [finding.code for finding in checkpoint.findings] == ["storage-size-mismatch"]


def test_every_truncation_is_one_clear_error(tmp_path: Path) -> None:
    whole = honest()
    for length in range(len(whole)):
        with pytest.raises(paraminspect.ParamInspectError):
            opened(tmp_path, whole[:length])


def test_no_flipped_byte_escapes_as_another_exception(tmp_path: Path) -> None:
    whole = honest()
    for position in range(len(whole)):
        for mask in (0xFF, 0x80, 0x01):
            raw = whole[:position] + bytes([whole[position] ^ mask]) + whole[position + 1 :]
            try:
                for row in opened(tmp_path, raw).parameters:
                    row.numpy()
            except paraminspect.ParamInspectError as error:
                assert error.code
