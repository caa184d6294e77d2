"""JSON beside the weights that says how the model was configured and how far it was trained."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from .entry import Checkpoint
from .errors import ParamInspectError
from .findings import Finding, Severity
from .registry import OpenContext
from .side_files import leaves_folder, read_json_object

CONFIG_FILES: Final = (
    "config.json",
    "adapter_config.json",
    "generation_config.json",
    "quantize_config.json",
    "quantization_config.json",
    "hf_quant_config.json",
    "params.json",
    "model_index.json",
    "modules.json",
    "hparams.json",
)
"""Settings that hub folders keep beside the weights."""

TRAINER_STATE: Final = "trainer_state.json"

HUB_NAMES: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.bin",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "consolidated.safetensors",
)
"""Weights under these names belong to the config files beside them. In order of preference."""

_PROGRESS: Final = ("epoch", "global_step", "num_input_tokens_seen", "total_flos")


def attach_configs(checkpoint: Checkpoint, folder: str, context: OpenContext) -> None:
    """Add the folder's settings and progress to a checkpoint; what cannot be read becomes a finding."""
    hyperparameters = dict(checkpoint.hyperparameters)
    findings = list(checkpoint.findings)
    told = {finding.path for finding in findings if finding.code == "side-config"}
    for name in (*CONFIG_FILES, TRAINER_STATE):
        path = os.path.join(folder, name)
        if name in hyperparameters or path in told or not os.path.isfile(path):
            continue
        if not context.follow_links and leaves_folder(folder, path):
            findings.append(_unread(path, "it is a link out of the folder, and links are not followed"))
            continue
        try:
            content = read_json_object(path, context.limits)
        except ParamInspectError as error:
            if name != "modules.json":  # a list where sentence-transformers wrote it
                findings.append(_unread(path, f"{error.cause} [{error.code}]"))
            continue
        if name == TRAINER_STATE:
            content = _split_progress(checkpoint, content)
        hyperparameters[name] = content
    checkpoint.hyperparameters = hyperparameters
    checkpoint.findings = tuple(findings)
    columns = checkpoint.parameters.base_columns
    if columns.quantization is None:
        columns.quantization = quantization_of(hyperparameters)


def quantization_of(configs: Mapping[str, object]) -> Mapping[str, object] | None:
    """The quantisation settings among config files by name: inside `config.json` (transformers'
    `quantization_config`, MLX's `quantization`), or a file of their own.
    """
    config = configs.get("config.json")
    if isinstance(config, Mapping):
        for key in ("quantization_config", "quantization"):
            found = config.get(key)
            if isinstance(found, Mapping):
                return found
    for name in ("quantize_config.json", "quantization_config.json"):
        found = configs.get(name)
        if isinstance(found, Mapping):
            return found
    return None


def _split_progress(checkpoint: Checkpoint, state: dict[str, object]) -> dict[str, object]:
    """Trainer state: progress goes to the checkpoint, the rest is returned without the log."""
    progress = dict(checkpoint.progress)
    for name in _PROGRESS:
        value = state.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            progress[name] = value
    checkpoint.progress = progress
    log = state.get("log_history")
    rest = {key: value for key, value in state.items() if key not in (*_PROGRESS, "log_history")}
    if isinstance(log, list):
        rest["log_history"] = f"{len(log):,} entries"
    return rest


def _unread(path: str, cause: str) -> Finding:
    return Finding("side-config", Severity.WARNING, f"the settings in it are not shown: {cause}", path)
