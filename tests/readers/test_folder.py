"""Folders as hubs and trainers lay them out, and globs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import paraminspect
import pytest
from paraminspect.readers.findings import Severity
from paraminspect.readers.sections import Section
from safetensors.numpy import save_file

WEIGHTS = {"layer.weight": np.ones((2, 3), np.float32), "layer.bias": np.zeros(2, np.float32)}


def codes(checkpoint: paraminspect.Checkpoint) -> list[str]:
    return [finding.code for finding in checkpoint.findings]


def error_code(path: Path | str, **options: Any) -> str:
    with pytest.raises(paraminspect.ParamInspectError) as caught:
        paraminspect.open(path, **options)
    return caught.value.code


def test_a_hub_folder(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = {"architectures": ["Net"], "hidden_size": 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer.model").write_bytes(b"\x0a")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        with paraminspect.open(path) as checkpoint:
            assert checkpoint.format == "safetensors"
            assert checkpoint.location == str(path)
            assert checkpoint.hyperparameters == {"config.json": config}
            assert checkpoint.findings == ()
            assert sorted(checkpoint.parameters.names) == sorted(WEIGHTS)


def test_a_config_is_not_claimed_for_a_file_of_any_name(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "other.safetensors")
    (tmp_path / "config.json").write_text("{}")
    with paraminspect.open(tmp_path / "other.safetensors") as checkpoint:
        assert checkpoint.hyperparameters == {}


def test_a_broken_config_is_a_finding(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{")
    with paraminspect.open(tmp_path) as checkpoint:
        assert codes(checkpoint) == ["side-config"]


def test_safetensors_are_preferred_and_the_copy_is_named(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    (tmp_path / "pytorch_model.bin").write_bytes(b"not looked at")
    with paraminspect.open(tmp_path) as checkpoint:
        [finding] = checkpoint.findings
        assert (finding.code, finding.severity) == ("folder-other-weights", Severity.INFO)
        assert "pytorch_model.bin" in finding.message


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "diffusion_pytorch_model.safetensors", "any.safetensors"]
)
def test_one_file_of_another_name(tmp_path: Path, name: str) -> None:
    save_file(WEIGHTS, tmp_path / name)
    (tmp_path / "adapter_config.json").write_text('{"r": 8, "lora_alpha": 16}')
    with paraminspect.open(tmp_path) as checkpoint:
        assert checkpoint.hyperparameters == {"adapter_config.json": {"r": 8, "lora_alpha": 16}}


def test_shards_with_an_index(tmp_path: Path) -> None:
    for number, name in enumerate(WEIGHTS, 1):
        save_file({name: WEIGHTS[name]}, tmp_path / f"model-0000{number}-of-00002.safetensors")
    weight_map = {name: f"model-0000{number}-of-00002.safetensors" for number, name in enumerate(WEIGHTS, 1)}
    index = {"metadata": {"total_size": 32}, "weight_map": weight_map}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text('{"n": 1}')
    with paraminspect.open(tmp_path) as checkpoint:
        assert checkpoint.format == "sharded safetensors"
        assert checkpoint.findings == ()
        assert checkpoint.hyperparameters == {"config.json": {"n": 1}}


def test_shards_without_an_index(tmp_path: Path) -> None:
    for number, name in enumerate(WEIGHTS, 1):
        save_file({name: WEIGHTS[name]}, tmp_path / f"model-0000{number}-of-00003.safetensors")
    with paraminspect.open(tmp_path) as checkpoint:
        assert codes(checkpoint) == ["shards-without-index", "shard-missing"]
        assert checkpoint.worst is Severity.ERROR
        assert "number 3" in checkpoint.findings[1].message
        assert sorted(checkpoint.parameters.names) == sorted(WEIGHTS)


def test_several_checkpoints_are_not_guessed_between(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "step-1.safetensors")
    save_file(WEIGHTS, tmp_path / "step-2.safetensors")
    assert error_code(tmp_path) == "folder-ambiguous"


def test_an_empty_folder_says_where_weights_are(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-5").mkdir()
    save_file(WEIGHTS, tmp_path / "checkpoint-5" / "model.safetensors")
    with pytest.raises(paraminspect.CannotOpen, match="checkpoint-5") as caught:
        paraminspect.open(tmp_path)
    assert caught.value.code == "folder-empty"


def test_a_hub_cache(tmp_path: Path) -> None:
    root = tmp_path / "models--org--name"
    for revision, value in (("aaa", 1), ("bbb", 2)):
        snapshot = root / "snapshots" / revision
        snapshot.mkdir(parents=True)
        (root / "blobs").mkdir(exist_ok=True)
        save_file({"w": np.full(2, value)}, root / "blobs" / revision)
        (snapshot / "model.safetensors").symlink_to(f"../../blobs/{revision}")
    assert error_code(root) == "folder-ambiguous"
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("bbb\n")
    with paraminspect.open(root) as checkpoint:
        assert checkpoint.parameters["w"].numpy().tolist() == [2, 2]
        assert codes(checkpoint) == ["links-leave-folder"]
    assert error_code(root, follow_links=False) == "side-file-link"


def test_a_hub_cache_that_points_at_itself(tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshots" / "aaa").symlink_to("..")
    (tmp_path / "snapshots" / "aaa").unlink()
    (tmp_path / "snapshots" / "aaa").symlink_to(tmp_path)
    assert error_code(tmp_path) == "folder-empty"


def test_a_diffusion_pipeline(tmp_path: Path) -> None:
    for name in ("unet", "vae"):
        (tmp_path / name).mkdir()
        save_file(WEIGHTS, tmp_path / name / "diffusion_pytorch_model.safetensors")
        (tmp_path / name / "config.json").write_text(json.dumps({"name": name}))
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "model_index.json").write_text('{"_class_name": "Pipeline"}')
    with paraminspect.open(tmp_path) as checkpoint:
        assert len(checkpoint.parameters) == 4
        assert checkpoint.parameters.path(0)[0] == "unet"
        assert checkpoint.hyperparameters["vae"] == {"config.json": {"name": "vae"}}
        np.testing.assert_array_equal(
            checkpoint.parameters["vae.layer.weight"].numpy(), WEIGHTS["layer.weight"]
        )
        assert [os.path.dirname(file.path) for file in checkpoint.files] == [
            str(tmp_path / "unet"),
            str(tmp_path / "vae"),
        ]


def test_a_glob_of_parts(tmp_path: Path) -> None:
    for number, name in enumerate(WEIGHTS):
        save_file({name: WEIGHTS[name]}, tmp_path / f"part{number}.safetensors")
    with paraminspect.open(tmp_path / "part*.safetensors") as checkpoint:
        assert sorted(checkpoint.parameters.names) == sorted(WEIGHTS)
        assert len(checkpoint.files) == 2
    assert error_code(tmp_path / "nothing*") == "glob-no-match"


def test_a_glob_of_checkpoints_is_refused(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "step-1.safetensors")
    save_file(WEIGHTS, tmp_path / "step-2.safetensors")
    assert error_code(tmp_path / "step-*.safetensors") == "parts-repeat-tensors"


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "m[1].safetensors")
    with paraminspect.open(tmp_path / "m[1].safetensors") as checkpoint:
        assert len(checkpoint.parameters) == 2


# --- folders of a trainer ---


def trainer_folder(folder: Path, *, safetensors: bool) -> Any:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.LayerNorm(3), torch.nn.Linear(3, 3))
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    plain = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    optimizer = torch.optim.AdamW([{"params": decayed}, {"params": plain, "weight_decay": 0.0}], lr=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    for _ in range(2):
        model(torch.randn(4, 5)).square().sum().backward()
        optimizer.step()
        schedule.step()
    if safetensors:
        from safetensors.torch import save_file as save

        save(model.state_dict(), folder / "model.safetensors")
    else:
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    torch.save(schedule.state_dict(), folder / "scheduler.pt")
    torch.save({"cpu": torch.get_rng_state()}, folder / "rng_state.pth")
    state = {"epoch": 1.5, "global_step": 2, "max_steps": 10, "log_history": [{"loss": 1.0}]}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    return model, optimizer


@pytest.mark.parametrize("safetensors", [False, True])
def test_a_trainer_folder(tmp_path: Path, safetensors: bool) -> None:
    model, optimizer = trainer_folder(tmp_path, safetensors=safetensors)
    with paraminspect.open(tmp_path) as checkpoint:
        assert checkpoint.findings == ()
        assert checkpoint.progress["epoch"] == 1.5
        assert checkpoint.progress["global_step"] == 2
        assert checkpoint.hyperparameters["trainer_state.json"] == {
            "max_steps": 10,
            "log_history": "1 entries",
        }
        groups = checkpoint.hyperparameters["optimizer"]["param_groups"]  # type: ignore[index]
        assert [group["weight_decay"] for group in groups] == [0.01, 0.0]
        sections = dict(zip(checkpoint.parameters.names, checkpoint.parameters.sections, strict=True))
        assert {sections[name] for name in model.state_dict()} == {Section.MODEL}
        assert sections["rng_state.cpu"] is Section.OTHER
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        order = [names[id(one)] for group in optimizer.param_groups for one in group["params"]]
        for number, owner in enumerate(order):
            row = checkpoint.parameters[f"optimizer.state.{number}.exp_avg"]
            assert row.section is Section.OPTIMIZER
            assert row.owner in ((owner, None) if safetensors else (owner,))
        # safetensors sorts names: only a shape that occurs once tells whose moment it is.
        known = [row.owner for row in checkpoint.parameters if row.name.endswith(".exp_avg") and row.owner]
        assert known == (["0.weight", "2.weight"] if safetensors else order)


def test_a_broken_side_file_does_not_hide_the_model(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    (tmp_path / "optimizer.pt").write_bytes(b"PK\x03\x04 broken")
    with paraminspect.open(tmp_path) as checkpoint:
        assert codes(checkpoint) == ["part-unreadable"]
        assert checkpoint.worst is Severity.ERROR
        assert len(checkpoint.parameters) == 2


def pipeline(folder: Path, *, without: str = "") -> Path:
    named = {"_class_name": "Pipeline", "unet": ["diffusers", "UNet"], "vae": ["diffusers", "VAE"]}
    settings = {
        "scheduler": ["diffusers", "DDIM"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "nothing": [None, None],
    }
    (folder / "model_index.json").write_text(json.dumps({**named, **settings}))
    for name in {"unet", "vae"} - {without}:
        (folder / name).mkdir()
        save_file(WEIGHTS, folder / name / "diffusion_pytorch_model.safetensors")
    return folder


def test_a_complete_pipeline_has_no_finding(tmp_path: Path) -> None:
    with paraminspect.open(pipeline(tmp_path)) as checkpoint:
        assert checkpoint.findings == ()


def test_a_component_without_weights_is_an_error(tmp_path: Path) -> None:
    with paraminspect.open(pipeline(tmp_path, without="vae")) as checkpoint:
        [finding] = checkpoint.findings
        assert (finding.code, finding.severity) == ("component-missing", Severity.ERROR)
        assert "vae" in finding.message
        assert sorted(checkpoint.parameters.names) == ["unet.layer.bias", "unet.layer.weight"]


def test_a_link_to_itself_hides_nothing(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    (tmp_path / "loop").symlink_to("loop")
    with paraminspect.open(tmp_path) as checkpoint:
        assert len(checkpoint.parameters) == 2


def test_half_a_distributed_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "__0_0.distcp").write_bytes(b"PK")
    assert error_code(tmp_path) == "dcp-without-metadata"


def test_one_shard_says_that_it_is_one(tmp_path: Path) -> None:
    path = tmp_path / "model-00002-of-00003.safetensors"
    save_file(WEIGHTS, path)
    with paraminspect.open(path) as checkpoint:
        assert [(one.code, one.severity) for one in checkpoint.findings] == [("shard-alone", Severity.INFO)]
    with paraminspect.open(tmp_path / "*.safetensors") as checkpoint:
        assert [(one.code, one.severity) for one in checkpoint.findings] == [
            ("shard-missing", Severity.ERROR)
        ]
        assert "number 1, 3" in checkpoint.findings[0].message
