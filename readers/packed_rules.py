"""One rule for each layout of packed integer weights: GPTQ, AWQ, compressed-tensors, MLX."""

from __future__ import annotations

from typing import Final

from .packed_config import CODE_BITS
from .packed_neighbours import Counts, Neighbours
from .tensor import count_elements

_GPTQ_BITS: Final = (2, 3, 4, 8)
_GPTQ_SIDES: Final = ("qzeros", "scales", "g_idx")


def gptq_or_awq_weight(table: Neighbours, row: int) -> Counts:
    """`qweight`, with `qzeros`, `scales` and `g_idx` beside it.

    GPTQ packs along the inputs: `qweight` [in * bits / 32, out], `qzeros` [groups, out * bits / 32],
    `scales` [groups, out], `g_idx` [in]. AWQ packs along the outputs: `qweight` [in, out * bits / 32] with
    the same `qzeros` and `scales`, no `g_idx`. Every bit holds a code in both, so elements * 32 / bits is
    the count once the bits are known.
    """
    prefix = table.names[row].removesuffix("qweight")
    stated = table.config.for_layer(prefix.removesuffix("."))
    sides = table.rows(prefix, _GPTQ_SIDES)
    evidence = _gptq_evidence(table, row, prefix)
    if evidence is None:
        return table.unknown(row, "the shapes of qweight, qzeros and scales do not fit together")
    widths = {*evidence, *([] if stated.bits is None else [stated.bits])}
    if not widths:
        return table.unknown(row, "neither config.json nor the tensors beside it tell the bits of a code")
    if len(widths) > 1:
        return table.unknown(row, "config.json and the tensors beside it disagree on the bits of a code")
    bits = widths.pop()
    stored_bits = table.elements[row] * table.bits(row)
    if stored_bits % bits:
        return table.unknown(row, f"its size is no whole number of {bits}-bit codes")
    basis = stated.basis if stated.bits else f"bits {bits} inferred from {evidence[bits]}"
    return table.claim(row, stored_bits // bits, basis, sides)


def _gptq_evidence(table: Neighbours, row: int, prefix: str) -> dict[int, str] | None:
    """What the neighbours say: bits and where they were seen; None where no layout fits."""
    shape, word = table.shapes[row], table.bits(row)
    scales, zeros = table.shape(prefix + "scales"), table.shape(prefix + "qzeros")
    indices = table.shape(prefix + "g_idx")
    evidence: dict[int, str] = {}
    if scales is not None and len(shape) == 2 == len(scales):
        widths = _widths_of_scales(shape, scales, zeros, word)
        if widths is None and table.config.text("version") not in ("gemv", "gemv_fast"):
            return None
        if widths is not None and len(widths) == 1:
            evidence[widths[0]] = "qzeros and scales" if scales[1] == shape[1] else "the width of scales"
    if indices is not None and len(indices) == 1 and len(shape) == 2 and shape[0]:
        bits, rest = divmod(shape[0] * word, indices[0] or 1)
        if rest or bits not in _GPTQ_BITS:
            return None
        evidence[bits] = "g_idx length"
    return evidence


def _widths_of_scales(
    shape: tuple[int, ...], scales: tuple[int, ...], zeros: tuple[int, ...] | None, word: int
) -> list[int] | None:
    """Bits that fit the width of `scales`; an empty list where it says nothing, None where none fits."""
    outputs = scales[1]
    if outputs == shape[1]:
        if zeros is None or len(zeros) != 2:
            return []
        return _fitting(zeros[1], outputs, word) or None
    if zeros is not None and (len(zeros) != 2 or zeros[1] != shape[1]):
        return None
    return [bits for bits in _GPTQ_BITS if outputs * bits == shape[1] * word] or None


def _fitting(packed: int, values: int, word: int) -> list[int]:
    """Bits for which `values` codes take `packed` words, whether the last word is filled up or left out."""
    return [
        bits for bits in _GPTQ_BITS if packed in (values // word * bits, (values * bits + word - 1) // word)
    ]


_COMPRESSED_SIDES: Final = (
    "weight_shape",
    "weight_scale",
    "weight_zero_point",
    "weight_g_idx",
    "weight_global_scale",
    "input_scale",
    "input_zero_point",
    "input_global_scale",
)
_MAX_DIMENSIONS: Final = 8


def compressed_tensors_weight(table: Neighbours, row: int) -> Counts:
    """`weight_packed` int32 [out, words], with the true shape as integers in `weight_shape`.

    A word holds 32 // bits codes (widths that do not divide 32 may also run on across words); the last
    word of a line is filled up, so the count is that of `weight_shape` and of nothing else.
    """
    prefix = table.names[row].removesuffix("weight_packed")
    shape_row = table.row(prefix + "weight_shape")
    if shape_row is None:
        return table.unknown(row, "weight_shape is missing")
    true = _stored_shape(table, shape_row)
    if true is None:
        return table.unknown(row, "weight_shape cannot be read")
    stated = table.config.for_layer(prefix.removesuffix("."))
    widths = (stated.bits,) if stated.bits else CODE_BITS
    if not any(_is_packed_shape(table.shapes[row], true, bits, table.bits(row)) for bits in widths):
        return table.unknown(row, "weight_shape does not fit the packed shape")
    sides = table.rows(prefix, _COMPRESSED_SIDES)
    return table.claim(row, count_elements(true), "shape stored in weight_shape", sides)


def _stored_shape(table: Neighbours, row: int) -> tuple[int, ...] | None:
    """Dimensions stored as the values of a small integer tensor."""
    if table.dtype(row) not in ("int64", "int32") or not 0 < table.elements[row] <= _MAX_DIMENSIONS:
        return None
    size = table.bits(row) // 8
    raw = table.small_bytes(row, _MAX_DIMENSIONS * size)
    if raw is None:
        return None
    order = "little" if table.is_little_endian(row) else "big"
    values = [
        int.from_bytes(raw[at : at + size], order, signed=True)  # type: ignore[arg-type]
        for at in range(0, len(raw), size)
    ]
    return None if min(values) < 0 else tuple(values)


def _is_packed_shape(packed: tuple[int, ...], true: tuple[int, ...], bits: int, word: int) -> bool:
    if len(packed) != len(true) or packed[:-1] != true[:-1]:
        return False
    per_word = word // bits
    return packed[-1] in ((true[-1] + per_word - 1) // per_word, (true[-1] * bits + word - 1) // word)


_MLX_BLOCKS: Final = {4 * 16: 4, 4 * 32: 4, 8 * 32: 8}
"""Bits, by bits * block, of the layouts without `biases`: nvfp4 (blocks of 16), mxfp4 and mxfp8 (of 32)."""


def mlx_weight(table: Neighbours, row: int) -> Counts:
    """`weight` uint32 [..., in * bits / 32], with `scales` and `biases` [..., in / group].

    The shapes give bits * group only; the group size comes from the config. The block formats have
    uint8 scales, no biases, and blocks of fixed length.
    """
    prefix = table.names[row].removesuffix("weight")
    shape, scales_row = table.shapes[row], table.row(prefix + "scales")
    if scales_row is None or not shape:
        return {}
    scales, biases = table.shapes[scales_row], table.shape(prefix + "biases")
    if not scales or scales[:-1] != shape[:-1] or (biases is not None and biases != scales):
        return table.unknown(row, "the shapes of weight, scales and biases do not fit together")
    bits_by_group, rest = divmod(shape[-1] * 32, scales[-1] or 1)
    stated = table.config.for_layer(prefix.removesuffix("."))
    sides = table.rows(prefix, ("scales", "biases"))
    if biases is None and table.dtype(scales_row) == "uint8":
        bits, basis = _MLX_BLOCKS.get(bits_by_group, 0), "inferred from the shape of scales"
    elif stated.group_size:
        bits, remainder = divmod(bits_by_group, stated.group_size)
        rest += remainder
        basis = "from the shape of scales and the group size in config.json"
    else:
        bits, basis = stated.bits or 0, "from config.json"
        if not bits:
            return table.unknown(row, f"bits x group size is {bits_by_group}, config.json does not tell them")
    if rest or bits not in CODE_BITS or (stated.bits or bits) != bits or shape[-1] * 32 % bits:
        return table.unknown(row, "config.json and the shape of scales disagree")
    return table.claim(row, table.elements[row] * 32 // bits, f"bits {bits} {basis}", sides)
