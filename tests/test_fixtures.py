"""The samples are what their recipes make; the README tells of each, and how it opens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paraminspect
import pytest
from paraminspect.readers.findings import Severity
from safetensors.numpy import load_file

FIXTURES = Path(__file__).parents[1] / "fixtures"
README = (FIXTURES / "README.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| `([^`]+)` \| (.+) \| (a checkpoint|error)[^`|\n]*(?:`([^`]+)`)? \|$", README, flags=re.MULTILINE
)
GOOD = [(path, code) for path, _, outcome, code in ROWS if outcome == "a checkpoint"]
REFUSED = [(path, code) for path, _, outcome, code in ROWS if outcome == "error"]
INCOMPLETE = {"shard-missing", "index-wrong-shard"}


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
    described = [path.rstrip("/") for path, *_ in ROWS] + re.findall(r"`(real/[^`]+)`", README)
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


@pytest.mark.parametrize(("path", "code"), REFUSED, ids=[path for path, _ in REFUSED])
def test_broken_samples_are_refused(path: str, code: str) -> None:
    with pytest.raises(paraminspect.ParamInspectError) as caught:
        paraminspect.open(FIXTURES / path)
    assert caught.value.code == code


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
