"""An index against its shards: every way in which they can disagree."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import paraminspect
import pytest
from paraminspect.readers.findings import Finding, Severity
from paraminspect.readers.limits import DEFAULT_LIMITS
from safetensors.numpy import save_file

INDEX = "model.safetensors.index.json"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
ONE: dict[str, np.ndarray[Any, Any]] = {"a": np.arange(4, dtype=np.float32), "b": np.ones((2, 3), np.float16)}
TWO: dict[str, np.ndarray[Any, Any]] = {"c": np.arange(3, dtype=np.int64), "d": np.zeros((1, 2), np.float32)}
TOTAL = sum(array.nbytes for array in [*ONE.values(), *TWO.values()])
MAP = {"a": FIRST, "b": FIRST, "c": SECOND, "d": SECOND}


def write(
    folder: Path, weight_map: Any = None, metadata: Any = None, **shards: dict[str, np.ndarray[Any, Any]]
) -> Path:
    """Two shards and their index."""
    save_file(shards.get("one", ONE), folder / FIRST)
    save_file(shards.get("two", TWO), folder / SECOND)
    index = folder / INDEX
    content = {
        "metadata": {"total_size": TOTAL} if metadata is None else metadata,
        "weight_map": weight_map or MAP,
    }
    index.write_text(json.dumps(content))
    return index


def findings(path: Path) -> list[Finding]:
    with paraminspect.open(path) as checkpoint:
        return list(checkpoint.findings)


def only(path: Path) -> Finding:
    [finding] = findings(path)
    return finding


def test_a_complete_checkpoint(tmp_path: Path) -> None:
    with paraminspect.open(write(tmp_path)) as checkpoint:
        assert checkpoint.format == "sharded safetensors"
        assert checkpoint.findings == ()
        assert [os.path.basename(file.path) for file in checkpoint.files] == [FIRST, SECOND]
        assert checkpoint.metadata["index"] == {"total_size": TOTAL}
        table = checkpoint.parameters
        assert sorted(table.names) == sorted(MAP)
        for name, array in {**ONE, **TWO}.items():
            assert table[name].numpy().tobytes() == array.tobytes()
            assert table.files[table.names.index(name)] == [FIRST, SECOND].index(MAP[name])
        assert table.totals().nbytes == TOTAL


def test_a_missing_shard(tmp_path: Path) -> None:
    index = write(tmp_path)
    (tmp_path / SECOND).unlink()
    finding = only(index)
    assert (finding.code, finding.severity) == ("shard-missing", Severity.ERROR)
    assert SECOND in finding.message
    assert "2 tensors" in finding.message


def test_an_index_without_its_shards(tmp_path: Path) -> None:
    index = write(tmp_path)
    (tmp_path / FIRST).unlink()
    (tmp_path / SECOND).unlink()
    with pytest.raises(paraminspect.CannotOpen) as caught:
        paraminspect.open(index)
    assert caught.value.code == "index-without-shards"


def test_a_tensor_in_the_wrong_shard(tmp_path: Path) -> None:
    finding = only(write(tmp_path, MAP | {"a": SECOND}))
    assert (finding.code, finding.severity, finding.tensor) == ("index-wrong-shard", Severity.ERROR, "a")
    assert FIRST in finding.message


def test_a_tensor_in_no_shard(tmp_path: Path) -> None:
    finding = only(write(tmp_path, MAP | {"e": SECOND}))
    assert (finding.code, finding.severity, finding.tensor) == ("index-tensor-missing", Severity.ERROR, "e")


def test_a_tensor_that_the_index_leaves_out(tmp_path: Path) -> None:
    finding = only(write(tmp_path, {name: file for name, file in MAP.items() if name != "d"}))
    assert (finding.code, finding.severity, finding.tensor) == (
        "index-unlisted-tensor",
        Severity.WARNING,
        "d",
    )


@pytest.mark.parametrize("holder", [FIRST, SECOND])
def test_a_tensor_in_two_shards_is_counted_once(tmp_path: Path, holder: str) -> None:
    index = write(tmp_path, MAP | {"a": holder}, one=ONE, two=TWO | {"a": np.full(4, 7, np.float32)})
    with paraminspect.open(index) as checkpoint:
        repeated = [one for one in checkpoint.findings if one.code == "index-duplicate-tensor"]
        assert [(one.tensor, one.severity) for one in repeated] == [("a", Severity.ERROR)]
        assert holder in repeated[0].message
        assert sorted(checkpoint.parameters.names) == sorted(MAP)
        expected = ONE["a"] if holder == FIRST else np.full(4, 7)
        np.testing.assert_array_equal(checkpoint.parameters["a"].numpy(), expected)
        assert checkpoint.parameters.totals().nbytes == TOTAL


@pytest.mark.parametrize("total", [TOTAL + 1, 0, "many", 1.5])
def test_a_wrong_total_size(tmp_path: Path, total: object) -> None:
    finding = only(write(tmp_path, metadata={"total_size": total}))
    assert (finding.code, finding.severity) == ("index-total-size", Severity.WARNING)
    assert f"{TOTAL:,}" in finding.message


@pytest.mark.parametrize(
    "metadata", [{"total_size": TOTAL}, {"total_size": float(TOTAL)}, {"total_size": str(TOTAL)}, {}, []]
)
def test_a_total_size_that_is_right_or_absent(tmp_path: Path, metadata: object) -> None:
    assert findings(write(tmp_path, metadata=metadata)) == []


def test_names_that_stand_twice_in_the_index(tmp_path: Path) -> None:
    index = write(tmp_path)
    text = index.read_text().replace('"weight_map": {', f'"weight_map": {{"a": "{SECOND}", ')
    index.write_text(text)
    finding = only(index)
    assert (finding.code, finding.severity) == ("index-duplicate-name", Severity.WARNING)


def test_a_shard_that_the_index_leaves_out(tmp_path: Path) -> None:
    index = write(tmp_path)
    save_file({"z": np.zeros(1)}, tmp_path / "model-00003-of-00002.safetensors")
    finding = only(index)
    assert (finding.code, finding.severity) == ("index-unlisted-shard", Severity.WARNING)


def test_a_broken_shard_leaves_the_others_readable(tmp_path: Path) -> None:
    index = write(tmp_path)
    shard = tmp_path / SECOND
    shard.write_bytes(shard.read_bytes()[:-3])
    with paraminspect.open(index) as checkpoint:
        [finding] = checkpoint.findings
        assert (finding.code, finding.severity) == ("part-unreadable", Severity.ERROR)
        assert "safetensors-truncated" in finding.message
        assert sorted(checkpoint.parameters.names) == ["a", "b"]


def test_two_names_for_one_file(tmp_path: Path) -> None:
    index = write(tmp_path, {"a": FIRST, "b": FIRST, "c": SECOND, "d": "link.safetensors"})
    os.link(tmp_path / SECOND, tmp_path / "link.safetensors")
    codes = [finding.code for finding in findings(index)]
    assert "part-twice" in codes


@pytest.mark.parametrize(
    "name",
    ["../x.safetensors", "/etc/passwd", "C:\\x", "\\\\host\\x", "https://host/x", "a\0b", "", "a/../../b"],
)
def test_paths_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path.parent / "x.safetensors").write_bytes(b"secret")
    index = write(tmp_path, MAP | {"e": name})
    with pytest.raises(paraminspect.Malformed) as caught:
        paraminspect.open(index)
    assert caught.value.code == "side-file-name"
    assert "secret" not in str(caught.value)


def test_what_is_no_checkpoint_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("password=hunter2 " * 50)
    index = write(tmp_path, MAP | {"e": "secret.txt"})
    [finding] = findings(index)
    assert (finding.code, finding.severity) == ("part-unreadable", Severity.ERROR)


@pytest.mark.parametrize("kind", ["folder", "fifo", "loop"])
def test_shards_that_are_no_files(tmp_path: Path, kind: str) -> None:
    strange = tmp_path / "strange"
    if kind == "folder":
        strange.mkdir()
    elif kind == "fifo":
        os.mkfifo(strange)
    else:
        strange.symlink_to(strange)
    index = write(tmp_path, MAP | {"e": "strange"})
    assert findings(index)[0].severity is Severity.ERROR


def test_an_index_that_names_an_index(tmp_path: Path) -> None:
    index = write(tmp_path, MAP | {"e": INDEX})
    [finding] = findings(index)
    assert (finding.code, finding.severity) == ("part-unreadable", Severity.ERROR)
    assert "nested-index" in finding.message


def test_links_into_a_blob_folder(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    index = write(snapshot)
    for name in (FIRST, SECOND):
        (snapshot / name).rename(blobs / name[:7])
        (snapshot / name).unlink(missing_ok=True)
    (blobs / "1").write_bytes((blobs / FIRST[:7]).read_bytes())
    save_file(ONE, blobs / "1")
    save_file(TWO, blobs / "2")
    (snapshot / FIRST).symlink_to("../blobs/1")
    (snapshot / SECOND).symlink_to("../blobs/2")
    finding = only(index)
    assert (finding.code, finding.severity) == ("links-leave-folder", Severity.INFO)
    with pytest.raises(paraminspect.CannotOpen) as caught:
        paraminspect.open(index, follow_links=False)
    assert caught.value.code == "side-file-link"


@pytest.mark.parametrize(
    "content",
    [
        '{"weight_map": {}}',
        '{"weight_map": []}',
        '{"weight_map": {"a": 1}}',
        '{"weight_map": {"a": null}}',
        '[{"weight_map": 1}]',
    ],
)
def test_a_weight_map_that_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / INDEX
    path.write_text(content)
    with pytest.raises((paraminspect.Malformed, paraminspect.UnknownFormat)):
        paraminspect.open(path)


def test_the_shard_budget(tmp_path: Path) -> None:
    index = write(tmp_path)
    paraminspect.open(index, limits=DEFAULT_LIMITS.changed(shards=2)).close()
    with pytest.raises(paraminspect.LimitExceeded) as caught:
        paraminspect.open(index, limits=DEFAULT_LIMITS.changed(shards=1))
    assert caught.value.code == "limit-shards"


def test_many_findings_of_a_kind_are_summed_up(tmp_path: Path) -> None:
    found = findings(write(tmp_path, MAP | {f"t{number}": FIRST for number in range(100)}))
    assert len(found) == 21
    assert "80 more" in found[-1].message


def test_the_key_may_come_late(tmp_path: Path) -> None:
    index = write(tmp_path, metadata={"total_size": TOTAL, "note": "x" * 5000})
    assert findings(index) == []


def test_torch_shards(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    one = {"a": torch.arange(4.0), "b": torch.ones(2, 3, dtype=torch.bfloat16)}
    two = {"c": torch.arange(3)}
    torch.save(one, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save(two, tmp_path / "pytorch_model-00002-of-00002.bin")
    index = tmp_path / "pytorch_model.bin.index.json"
    weight_map = {name: f"pytorch_model-0000{1 + (name == 'c')}-of-00002.bin" for name in "abc"}
    index.write_text(json.dumps({"metadata": {"total_size": 16 + 12 + 24}, "weight_map": weight_map}))
    with paraminspect.open(index) as checkpoint:
        assert checkpoint.format == "sharded torch zip"
        assert checkpoint.findings == ()
        for name, tensor in {**one, **two}.items():
            ours = checkpoint.parameters[name].numpy()
            np.testing.assert_array_equal(ours, tensor.float().numpy() if name == "b" else tensor.numpy())
