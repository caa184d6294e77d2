"""Which part of a training run a tensor belongs to, and what it does in its layer.

A format that says (a pickled module's `_buffers`, an optimizer's `state`) is believed; otherwise both are
inferred from names, and tables say so.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from .dtypes import DType


class Section(StrEnum):
    """Learned parameters are never mixed with what surrounds them."""

    MODEL = "model"
    """Learned parameters (and whatever a state dict holds that is not known to be something else)."""

    BUFFER = "buffer"
    """Part of the model's state, not learned by gradients: running statistics, masks, position ids."""

    EMA = "ema"
    """An averaged copy of the parameters."""

    OPTIMIZER = "optimizer"
    """Moments and other optimizer state."""

    OTHER = "other"
    """Random generator states, data loader positions, anything else."""


_BUFFER_SUFFIXES: Final = (
    "running_mean",
    "running_var",
    "num_batches_tracked",
    "position_ids",
    "token_type_ids",
    "inv_freq",
    "masked_bias",
    "relative_position_index",
    "relative_coords_table",
    "attn_mask",
    "causal_mask",
    "freqs_cis",
    "original_inv_freq",
    "zero_points",
)
_EMA_PREFIXES: Final = (
    "ema.",
    "ema_model.",
    "model_ema.",
    "module_ema.",
    "ema_state_dict.",
    "state_dict_ema.",
)
_OPTIMIZER_PREFIXES: Final = (
    "optimizer.",
    "optimizer_state_dict.",
    "optimizer_states.",
    "optim.",
    "optimizer_state.",
)


_NEVER_NUMBERS: Final = ("str", "bytes", "datetime64", "timedelta64", "object")


def infer_section(name: str, dtype: DType) -> Section:
    """The section a bare name suggests. 64-bit integers and booleans in a state dict are counters, ids
    and masks, never learned; texts and dates are neither.
    """
    if name.startswith(_OPTIMIZER_PREFIXES):
        return Section.OPTIMIZER
    if name.startswith(_EMA_PREFIXES):
        return Section.EMA
    if dtype.kind == "opaque" and dtype.name.startswith(_NEVER_NUMBERS):
        return Section.OTHER
    if name.endswith(_BUFFER_SUFFIXES) or dtype.name in ("int64", "bool"):
        return Section.BUFFER
    return Section.MODEL


_ROLE_OF_LAST_PART: Final = {
    "bias": "bias",
    "beta": "bias",
    "gamma": "norm",
    "in_proj_bias": "bias",
    "in_proj_weight": "weight",
    "weight_g": "scale",
    "weight_v": "weight",
    "scale": "scale",
    "scales": "scale",
    "weight_scale": "scale",
    "weight_scale_inv": "scale",
    "input_scale": "scale",
    "SCB": "scale",
    "absmax": "scale",
    "qzeros": "zero_point",
    "zero_point": "zero_point",
    "weight_zero_point": "zero_point",
    "g_idx": "index",
    "running_mean": "running_mean",
    "running_var": "running_var",
    "num_batches_tracked": "counter",
    "position_ids": "index",
    "inv_freq": "frequency",
    "lora_A": "lora_a",
    "lora_B": "lora_b",
    "lora_alpha": "scale",
    "alpha": "scale",
    "exp_avg": "first_moment",
    "exp_avg_sq": "second_moment",
    "max_exp_avg_sq": "second_moment",
    "momentum_buffer": "momentum",
    "square_avg": "second_moment",
    "sum": "second_moment",
    "step": "counter",
    "coef_": "coefficient",
    "coefs_": "coefficient",
    "intercept_": "intercept",
    "intercepts_": "intercept",
    "support_vectors_": "support_vectors",
    "threshold": "threshold",
    "thresholds": "threshold",
}
_NORM_WORDS: Final = ("norm", "ln_", "layernorm", "batchnorm", "bn", "rms")
_EMBEDDING_WORDS: Final = ("embed", "wte", "wpe", "emb.", "relative_attention_bias", "lookup")


def infer_role(name: str, shape: tuple[int, ...]) -> str:
    """What a tensor does in its layer, as its name and shape suggest: `weight`, `bias`, `norm`,
    `embedding`, `scale`, `first_moment`, ... or `unknown`.
    """
    parts = name.rsplit(".", 3)
    last = parts[-1]
    known = _ROLE_OF_LAST_PART.get(last)
    if known is not None:
        return known
    for part in parts[-3:-1]:
        if part in ("lora_A", "lora_embedding_A"):
            return "lora_a"
        if part in ("lora_B", "lora_embedding_B"):
            return "lora_b"
    owner = ".".join(parts[:-1]).lower() if len(parts) > 1 else name.lower()
    nearest = owner.rsplit(".", 1)[-1]
    if len(shape) <= 1 and any(word in nearest for word in _NORM_WORDS):
        return "norm"
    if len(shape) == 2 and any(word in owner[-40:] for word in _EMBEDDING_WORDS):
        return "embedding"
    if last.endswith("bias"):
        return "bias"
    if last.endswith(("weight", "kernel", "qweight")) or len(shape) >= 2:
        return "weight"
    if len(shape) == 1 and any(word in last.lower() for word in _NORM_WORDS):
        return "norm"
    return "unknown"
