"""The samples are what their recipes make; the README tells of each, and how it opens."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from typing import Any

import numpy as np
import paraminspect
import pytest
from builders.sample_oracles import FIXTURES, ORACLES, Stored, safetensors_tensors
from paraminspect.readers.findings import Severity
from safetensors.numpy import load_file

README = (FIXTURES / "README.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| `([^`]+)` \| (.+) \| .+ \| (a checkpoint|error)[^`|\n]*(?:`([^`]+)`)? \|$",
    README,
    flags=re.MULTILINE,
)
GOOD = [(path, code) for path, _, outcome, code in ROWS if outcome == "a checkpoint"]
REFUSED = [(path, code) for path, _, outcome, code in ROWS if outcome == "error"]
INCOMPLETE = {"shard-missing", "index-wrong-shard"}
REAL = re.findall(r"^\| `(real/[^`]+)` \|", README, flags=re.MULTILINE)
WORDS = {
    "corrupt/hole.safetensors": "leaves a hole",
    "corrupt/overlap.safetensors": "overlaps the tensor before",
    "corrupt/truncated.safetensors": "100 bytes (100 B) of tensor data are missing",
    "corrupt/outside.index.json": "leaves the folder through '..'",
}
"""What an error says where its code alone would fit another fault too."""


def test_there_are_rows() -> None:
    assert len(GOOD) > 20
    assert len(REFUSED) > 8


def test_the_recipes_make_these_bytes() -> None:
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, str(FIXTURES / "build.py"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_is_described() -> None:
    described = [path.rstrip("/") for path, *_ in ROWS] + REAL
    sources = {"README.md", *(path.name for path in FIXTURES.glob("*.py"))}
    for path in FIXTURES.rglob("*"):
        name = path.relative_to(FIXTURES).as_posix()
        if path.is_dir() or name in sources or name.endswith(".LICENSE") or "__pycache__" in name:
            continue
        assert any(name == known or name.startswith(known + "/") for known in described), name
    for name in described:
        assert (FIXTURES / name).exists(), name


@pytest.mark.parametrize(("path", "code"), GOOD, ids=[path for path, _ in GOOD])
def test_good_samples_open(path: str, code: str) -> None:
    with paraminspect.open(FIXTURES / path) as checkpoint:
        codes = {finding.code for finding in checkpoint.findings}
        assert not code or code in codes
        assert (checkpoint.worst is Severity.ERROR) == (code in INCOMPLETE)
        for tensor in checkpoint.parameters:
            if tensor.data.source is not None:
                assert tensor.numpy().shape == tensor.shape


def stored(tensor: paraminspect.NamedTensor) -> Stored:
    raw = None
    if tensor.data.source is not None:
        array = tensor.numpy(raw=True)
        raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return Stored(tensor.dtype.name, tensor.shape, raw)


@pytest.mark.parametrize("path", ORACLES)
def test_samples_hold_what_their_own_library_reads(path: str) -> None:
    expected = ORACLES[path]()
    with paraminspect.open(FIXTURES / path) as checkpoint:
        found = [(tensor.name, stored(tensor)) for tensor in checkpoint.parameters]
    assert len(found) == len(expected)
    assert dict(found) == expected


def test_every_whole_sample_has_an_oracle() -> None:
    whole = {path.rstrip("/") for path, code in GOOD if code not in INCOMPLETE}
    assert set(ORACLES) == whole | set(REAL)


@pytest.mark.parametrize("folder", ["missing-shard", "wrong-shard"])
def test_shards_that_are_there_are_read(folder: str) -> None:
    shards = sorted((FIXTURES / "corrupt" / folder).glob("*.safetensors"))
    expected = safetensors_tensors(*(str(shard) for shard in shards))
    with paraminspect.open(FIXTURES / "corrupt" / folder) as checkpoint:
        found = {row.name: stored(row) for row in checkpoint.parameters if row.data.source is not None}
    assert found == expected


@pytest.mark.parametrize(("path", "code"), REFUSED, ids=[path for path, _ in REFUSED])
def test_broken_samples_are_refused(path: str, code: str) -> None:
    with pytest.raises(paraminspect.ParamInspectError) as caught:
        paraminspect.open(FIXTURES / path)
    assert caught.value.code == code
    assert WORDS.get(path, "") in str(caught.value)


def test_real_models_are_unchanged_and_licensed() -> None:
    rows = re.findall(
        r"^\| `(real/[^`]+)` \| .+\]\((.+)\) \| `([0-9a-f]{64})` \|$", README, flags=re.MULTILINE
    )
    assert [path for path, *_ in rows] == REAL
    for path, licence, digest in rows:
        assert hashlib.sha256((FIXTURES / path).read_bytes()).hexdigest() == digest
        assert "Copyright (c)" in (FIXTURES / licence).read_text(encoding="utf-8")


def test_the_whole_folder_is_small() -> None:
    assert (
        sum(path.stat().st_size for path in FIXTURES.rglob("*") if "__pycache__" not in path.parts) < 3 << 20
    )


def test_shards_hold_what_the_single_file_holds() -> None:
    with paraminspect.open(FIXTURES / "sharded") as checkpoint:
        assert checkpoint.hyperparameters["config.json"]["vocab_size"] == 16  # type: ignore[index]
        for shard in (FIXTURES / "sharded").glob("*.safetensors"):
            for name, array in load_file(shard).items():
                np.testing.assert_array_equal(checkpoint.parameters[name].numpy(), array)


def test_packed_weights_are_counted_unpacked() -> None:
    with paraminspect.open(FIXTURES / "packed-gptq") as checkpoint:
        weight = checkpoint.parameters["layer.qweight"]
        assert (weight.elements, weight.parameters) == (16, 128)
        assert checkpoint.parameters.totals().parameters == 128


@pytest.mark.parametrize(
    "name", ["state-dict.pt", "legacy.pth", "pickled.pkl", "sharded-bin", "module.pt", "distributed"]
)
def test_one_network_in_every_layout(name: str) -> None:
    torch: Any = pytest.importorskip("torch")
    expected = torch.load(FIXTURES / "state-dict.pt")
    with paraminspect.open(FIXTURES / name) as checkpoint:
        prefix = "model." if name == "distributed" else ""
        found = {row.name.removeprefix(prefix): row for row in checkpoint.parameters}
        assert set(found) == set(expected)
        for key, tensor in expected.items():
            assert found[key].shape == tuple(tensor.shape)
            if name != "distributed":  # that one was trained for two steps
                np.testing.assert_array_equal(found[key].numpy(), tensor.numpy())


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("training.pt", "optimizer"), ("lightning.ckpt", "optimizer_states.0"), ("trainer", "optimizer")],
)
def test_training_checkpoints(name: str, prefix: str) -> None:
    with paraminspect.open(FIXTURES / name) as checkpoint:
        table = checkpoint.parameters
        moments = table.filter(f"{prefix}.state.*.exp_avg")
        assert len(moments) == 6
        assert {row.section.value for row in moments} == {"optimizer"}
        assert {"epoch"} <= set(checkpoint.progress)
        assert table.filter(section="model").totals().parameters == 4 * 6 + 6 + 6 + 6 + 6 * 2 + 2
