"""Sections and roles that names suggest."""

from __future__ import annotations

import pytest
from paraminspect.readers.dtypes import DTYPES
from paraminspect.readers.sections import Section, infer_role, infer_section


@pytest.mark.parametrize(
    ("name", "dtype", "section"),
    [
        ("layers.0.weight", "float32", Section.MODEL),
        ("weight", "bfloat16", Section.MODEL),
        ("layers.0.qweight", "int32", Section.MODEL),
        ("bn.running_mean", "float32", Section.BUFFER),
        ("bn.num_batches_tracked", "int64", Section.BUFFER),
        ("attn.rotary_emb.inv_freq", "float32", Section.BUFFER),
        ("mask", "bool", Section.BUFFER),
        ("counter", "int64", Section.BUFFER),
        ("ema.layers.0.weight", "float32", Section.EMA),
        ("model_ema.decay", "float32", Section.EMA),
        ("optimizer.state.0.exp_avg", "float32", Section.OPTIMIZER),
        ("optimizer_state.0.step", "int64", Section.OPTIMIZER),
        ("optimizers_are_fun.weight", "float32", Section.MODEL),
        ("emafoo.weight", "float32", Section.MODEL),
        ("schema.weight", "float32", Section.MODEL),
    ],
)
def test_section(name: str, dtype: str, section: Section) -> None:
    assert infer_section(name, DTYPES[dtype]) is section


@pytest.mark.parametrize(
    ("name", "shape", "role"),
    [
        ("layers.0.mlp.up_proj.weight", (8, 4), "weight"),
        ("layers.0.mlp.up_proj.bias", (8,), "bias"),
        ("bias", (8,), "bias"),
        ("weight", (8, 4), "weight"),
        ("attn.in_proj_weight", (12, 4), "weight"),
        ("attn.in_proj_bias", (12,), "bias"),
        ("LayerNorm.gamma", (4,), "norm"),
        ("LayerNorm.beta", (4,), "bias"),
        ("model.norm.weight", (4,), "norm"),
        ("h.0.ln_1.weight", (4,), "norm"),
        ("h.0.ln_1.bias", (4,), "bias"),
        ("input_layernorm.weight", (4,), "norm"),
        ("bn1.weight", (4,), "norm"),
        ("model.embed_tokens.weight", (100, 4), "embedding"),
        ("transformer.wte.weight", (100, 4), "embedding"),
        ("q_proj.qweight", (2, 8), "weight"),
        ("q_proj.scales", (1, 8), "scale"),
        ("q_proj.qzeros", (1, 1), "zero_point"),
        ("q_proj.g_idx", (8,), "index"),
        ("q_proj.weight_scale_inv", (1, 1), "scale"),
        ("q_proj.lora_A.weight", (2, 8), "lora_a"),
        ("q_proj.lora_B.default.weight", (8, 2), "lora_b"),
        ("lora_A", (2, 8), "lora_a"),
        ("bn.running_var", (4,), "running_var"),
        ("bn.num_batches_tracked", (), "counter"),
        ("optimizer.state.0.exp_avg", (8, 4), "first_moment"),
        ("optimizer.state.0.exp_avg_sq", (8, 4), "second_moment"),
        ("coef_", (1, 4), "coefficient"),
        ("intercept_", (1,), "intercept"),
        ("conv.kernel", (3, 3, 4, 8), "weight"),
        ("something", (), "unknown"),
        ("something", (5,), "unknown"),
        ("", (), "unknown"),
        ("...", (3, 3), "weight"),
    ],
)
def test_role(name: str, shape: tuple[int, ...], role: str) -> None:
    assert infer_role(name, shape) == role


def test_sections_are_their_names() -> None:
    assert [str(section) for section in Section] == ["model", "buffer", "ema", "optimizer", "other"]
    assert Section("ema") is Section.EMA
