"""What the keys of a training checkpoint mean: which part is optimizer, schedule, average or progress.

The keys are conventions of frameworks, not of a format: what follows from them is an inference, unless the
structure itself says it (an optimizer's state has `state` and `param_groups`).
"""

from __future__ import annotations

from typing import Final

from .record_graph import mapping_pairs
from .sections import Section

PROGRESS_KEYS: Final = frozenset(
    {
        "epoch",
        "epochs",
        "current_epoch",
        "last_epoch",
        "start_epoch",
        "epochs_run",
        "step",
        "steps",
        "global_step",
        "global_steps",
        "iteration",
        "iterations",
        "iter",
        "it",
        "num_updates",
        "n_iter",
        "batch",
        "samples_seen",
        "tokens_seen",
        "train_steps",
        "optimizer_step",
    }
)
"""Numbers under these names, at the root of a checkpoint, say how far training had come."""

_OPTIMIZER_KEYS: Final = frozenset({"opt", "opt_state", "opt_state_dict", "opt_states", "adam", "sgd"})
_EMA_KEYS: Final = frozenset(
    {"shadow_params", "averaged_model", "averaged_params", "swa_state_dict", "swa_model"}
)
_STATE_WORDS: Final = frozenset(
    {
        "rng",
        "random",
        "generator_state",
        "scheduler",
        "schedulers",
        "scaler",
        "scalers",
        "callbacks",
        "loops",
        "sampler",
        "dataloader",
        "dataset",
        "buffer_state",
        "criterion_state",
    }
)
_DESCRIPTION_WORDS: Final = frozenset(
    {
        "version",
        "arch",
        "architecture",
        "author",
        "date",
        "url",
        "git",
        "license",
        "name",
        "description",
        "time",
    }
)


def is_optimizer_state(record: object) -> bool:
    """Whether a mapping has the two entries of every torch optimizer's state dict."""
    pairs = None if record is None else mapping_pairs(record)
    if pairs is None or len(pairs) > 64:
        return False
    keys = {key for key, _ in pairs if isinstance(key, str)}
    return {"state", "param_groups"} <= keys


def section_of_key(key: object, value: object) -> Section | None:
    """The section that everything under a key of a training checkpoint belongs to, or None where the
    key says nothing.
    """
    if is_optimizer_state(value):
        return Section.OPTIMIZER
    if not isinstance(key, str) or "." in key or len(key) > 64:
        return None
    word = key.lower()
    words = frozenset(word.replace("-", "_").split("_"))
    if word in _OPTIMIZER_KEYS or word.startswith("optim"):
        return Section.OPTIMIZER
    if word in _EMA_KEYS or "ema" in words:
        return Section.EMA
    if words & _STATE_WORDS or word in _STATE_WORDS:
        return Section.OTHER
    return None


def section_of_tensor(key: object) -> Section | None:
    """The same for a tensor's own key: parameters may be called almost anything (`optimal_scale`,
    `random_tokens`), so only the states of random generators are told by their names.
    """
    if isinstance(key, str) and key.lower().endswith(("rng_state", "rng_states")):
        return Section.OTHER
    return None


def is_description(key: str, value: object) -> bool:
    """Whether a root entry describes the file rather than a setting of the training."""
    words = key.lower().replace("-", "_").replace(".", "_").split("_")
    return isinstance(value, str) and any(word in _DESCRIPTION_WORDS for word in words)


def is_progress(key: object, value: object) -> bool:
    """Whether a root entry counts how far training had come."""
    return (
        isinstance(key, str)
        and key.lower() in PROGRESS_KEYS
        and isinstance(value, (int, float))
        and not isinstance(value, bool)
    )
