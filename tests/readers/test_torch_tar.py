"""The tar format of torch before 0.1.10."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import paraminspect
import pytest
from builders.torch_builder import tar_checkpoint, tar_file, text
from paraminspect.readers import Checkpoint

VALUES = struct.pack("<6f", 1, 2, 3, 4, 5, 6)


def opened(tmp_path: Path, raw: bytes) -> Checkpoint:
    path = tmp_path / "model.pt"
    path.write_bytes(raw)
    return paraminspect.open(path)


def references(**keys: int) -> bytes:
    """A dict of persistent ids, as the old pickler wrote them."""
    body = b"".join(text(name) + text(str(key)) + b"Q" for name, key in keys.items())
    return b"\x80\x02}(" + body + b"u."


def honest() -> bytes:
    return tar_checkpoint(
        storages=[(11, "FloatStorage", VALUES, 6)],
        tensors=[(21, 11, (2, 3), (3, 1), 0), (22, 11, (3, 2), (1, 3), 0), (23, 12, (2,), (1,), 0)],
        views=[(12, 11, 4, 2)],
        content=references(w=21, wt=22, tail=23),
    )


def test_an_honest_file(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, honest())
    table = checkpoint.parameters
    assert checkpoint.format == "torch tar"
    assert checkpoint.findings == ()
    assert table["w"].numpy().tolist() == [[1, 2, 3], [4, 5, 6]]
    assert table["wt"].numpy().tolist() == [[1, 4], [2, 5], [3, 6]]
    assert table["tail"].numpy().tolist() == [5, 6]
    assert table.totals().parameters == 6


def test_torch_reads_the_same(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.pt"
    path.write_bytes(honest())
    loaded = torch.load(path, weights_only=False)
    table = paraminspect.open(path).parameters
    assert table.names == list(loaded)
    for name, tensor in loaded.items():
        assert table[name].numpy().tolist() == tensor.tolist()


@pytest.mark.parametrize(
    ("tensors", "views", "count", "code"),
    [
        ([(21, 99, (2, 3), (3, 1), 0)], [], 6, "torch-tar-tensor"),
        ([(21, 11, (2, 3), (3, 1), 0)], [(12, 11, 5, 2)], 6, "torch-tar-view"),
        ([(21, 11, (2, 3), (3, 1), 0)], [(12, 99, 0, 2)], 6, "torch-tar-view"),
        ([(21, 11, (2, 3), (3, 1), 0)], [], 7_000, "truncated"),
        ([(21, 11, (2, 3), (3, 1), 0)], [], -1, "truncated"),
    ],
)
def test_lying_tables(
    tmp_path: Path,
    tensors: list[tuple[int, int, tuple[int, ...], tuple[int, ...], int]],
    views: list[tuple[int, int, int, int]],
    count: int,
    code: str,
) -> None:
    raw = tar_checkpoint([(11, "FloatStorage", VALUES, count)], tensors, references(w=21), views)
    with pytest.raises(paraminspect.Malformed) as caught:
        opened(tmp_path, raw)
    assert caught.value.code == code


def test_a_tensor_outside_its_storage_is_one_marked_row(tmp_path: Path) -> None:
    raw = tar_checkpoint([(11, "FloatStorage", VALUES, 6)], [(21, 11, (2, 4), (4, 1), 0)], references(w=21))
    checkpoint = opened(tmp_path, raw)
    assert [finding.code for finding in checkpoint.findings] == ["view-outside-storage"]


def test_a_count_beyond_the_file_is_refused(tmp_path: Path) -> None:
    raw = tar_file({"storages": pickle.dumps(10**12, 2), "tensors": b"", "pickle": b""})
    with pytest.raises(paraminspect.Malformed) as caught:
        opened(tmp_path, raw)
    assert caught.value.code == "torch-tar-count"


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    with pytest.raises(paraminspect.Malformed, match="tensors") as caught:
        opened(tmp_path, tar_file({"storages": b"", "pickle": b""}))
    assert caught.value.code == "torch-tar-members"


def test_every_truncation_is_one_clear_error(tmp_path: Path) -> None:
    whole = honest()
    end = len(whole.rstrip(b"\0"))
    for length in range(0, end, 7):
        with pytest.raises(paraminspect.ParamInspectError):
            opened(tmp_path, whole[:length])
