"""One rule for each layout of weights kept as bytes: bitsandbytes, 4-bit block floats, float8, int8."""

from __future__ import annotations

import json
from typing import Final

from .packed_neighbours import Counts, Neighbours
from .tensor import count_elements

QUANT_STATE: Final = ".quant_state.bitsandbytes__"
"""Between a weight's name and `nf4` or `fp4`, in the name of the tensor that holds its state as JSON."""

_STATE_BYTES: Final = 1 << 16
_BITSANDBYTES_SIDES: Final = (
    ".absmax",
    ".quant_map",
    ".nested_absmax",
    ".nested_quant_map",
    QUANT_STATE + "nf4",
    QUANT_STATE + "fp4",
)
_BLOCK_SIZES: Final = tuple(1 << power for power in range(5, 13))


def bitsandbytes_state(table: Neighbours, state_row: int) -> Counts:
    """A quantised state: its JSON holds the true shape of the weight before it in the name.

    Two codes share a byte, whatever type the bytes are stored under (`quant_storage`).
    """
    weight_name = table.names[state_row].partition(QUANT_STATE)[0]
    row = table.row(weight_name)
    if row is None:
        return {}
    sides = table.rows(weight_name, _BITSANDBYTES_SIDES)
    shape = _shape_in_state(table, state_row)
    if shape is None:
        return _bitsandbytes_by_code_book(table, row, sides)
    stored_bytes, word = table.elements[row] * table.bits(row) // 8, max(1, table.bits(row) // 8)
    parameters = count_elements(shape)
    if stored_bytes not in ((parameters + 1) // 2, (parameters + 1) // (2 * word) * word):
        return table.unknown(row, "the shape in quant_state does not fit the stored bytes")
    return table.claim(row, parameters, "shape stored in quant_state", sides)


def _shape_in_state(table: Neighbours, state_row: int) -> tuple[int, ...] | None:
    raw = table.small_bytes(state_row, _STATE_BYTES) if table.dtype(state_row) == "uint8" else None
    try:
        state = json.loads(raw or b"")
    except (ValueError, RecursionError):
        return None
    shape = state.get("shape") if isinstance(state, dict) else None
    if not isinstance(shape, list) or len(shape) > 8:
        return None
    lengths = [length for length in shape if type(length) is int and length >= 0]
    return tuple(lengths) if len(lengths) == len(shape) else None


def _bitsandbytes_by_code_book(table: Neighbours, row: int, sides: list[int]) -> Counts:
    """Without a readable state: a code book of 16 entries means 4 bits a code."""
    name = table.names[row]
    book, scales = table.shape(name + ".quant_map"), table.shape(name + ".absmax")
    stored_bytes = table.elements[row] * table.bits(row) // 8
    if book != (16,) or scales is None:
        return table.unknown(row, "quant_state is missing or unreadable")
    blocks = count_elements(scales)
    if not any(blocks == -(-2 * stored_bytes // size) for size in _BLOCK_SIZES):
        return table.unknown(row, "absmax does not fit the stored bytes")
    return table.claim(row, 2 * stored_bytes, "bits 4 inferred from the 16 entries of quant_map", sides)


_BLOCK_SIDES: Final = (
    "weight_scale",
    "weight_scale_2",
    "weight_global_scale",
    "input_scale",
    "input_global_scale",
)


def byte_weight(table: Neighbours, row: int) -> Counts:
    """`weight` or `weight_packed` as uint8: 4-bit codes of bitsandbytes or of a block float format.

    NVFP4 has a float8_e4m3 `weight_scale` for every 16 values, MXFP4 a power of two (e8m0, often stored
    as uint8) for every 32.
    """
    name = table.names[row]
    if table.row(name + ".absmax") is not None:
        if table.rows(name, _BITSANDBYTES_SIDES[-2:]):
            return {}  # bitsandbytes_state counts it
        return _bitsandbytes_by_code_book(table, row, table.rows(name, _BITSANDBYTES_SIDES))
    prefix = name.removesuffix("weight_packed").removesuffix("weight")
    scales_row = table.row(prefix + "weight_scale")
    if scales_row is None:
        missing = name.endswith("weight_packed")
        return table.unknown(row, "weight_scale is missing") if missing else {}
    stated = table.config.for_layer(prefix.removesuffix("."))
    sides = table.rows(prefix, _BLOCK_SIDES)
    bits = _bits_by_blocks(table, row, scales_row)
    if bits is None or (stated.bits or bits) != bits:
        return table.unknown(row, "how many codes share a byte is not told by weight_scale")
    return table.claim(
        row, table.elements[row] * 8 // bits, f"bits {bits} inferred from the shape of weight_scale", sides
    )


_BLOCK_OF_SCALE: Final = {"float8_e4m3fn": 16, "float8_e8m0fnu": 32, "uint8": 32}


def _bits_by_blocks(table: Neighbours, row: int, scales_row: int) -> int | None:
    shape, scales = table.shapes[row], table.shapes[scales_row]
    block = _BLOCK_OF_SCALE.get(table.dtype(scales_row))
    if block is None or not scales or len(scales) != len(shape) or scales[:-1] != shape[:-1]:
        return None
    return next((bits for bits in (4, 8) if shape[-1] * 8 == scales[-1] * block * bits), None)


def mxfp4_blocks(table: Neighbours, row: int) -> Counts:
    """`*_blocks` uint8 [..., groups, 16], two 4-bit floats a byte, with `*_scales` uint8 [..., groups]
    (OCP Microscaling: 32 values share a scale).
    """
    prefix = table.names[row].removesuffix("_blocks")
    scales_row = table.row(prefix + "_scales")
    if scales_row is None:
        if table.config.method() == "mxfp4":
            return table.unknown(row, "the scales of these blocks are missing")
        return {}
    if table.dtype(scales_row) not in ("uint8", "float8_e8m0fnu"):
        return {}
    shape, scales = table.shapes[row], table.shapes[scales_row]
    in_lines = bool(scales) and shape == (*scales[:-1], scales[-1] * 16)
    if shape != (*scales, 16) and not in_lines:
        return table.unknown(row, "the shapes of blocks and scales do not fit together")
    basis = "bits 4 inferred from the shapes of blocks and scales"
    return table.claim(row, table.elements[row] * 2, basis, [scales_row])


_CODE_SIDES: Final = (
    "weight_scale",
    "weight_scale_inv",
    "weight_zero_point",
    "input_scale",
    "input_zero_point",
    "output_scale",
    "activation_scale",
    "scale_weight",
    "scale_input",
    "k_scale",
    "v_scale",
)
_INT8_SIDES: Final = (*_CODE_SIDES, "SCB", "weight_format")
_BLOCK_FP8: Final = 128


def whole_byte_codes(table: Neighbours, row: int) -> Counts:
    """A float8 or int8 weight: one parameter a byte, so its own count stands; its scales count 0.

    bitsandbytes' 8-bit layers keep row-wise maxima as `SCB`; float8 layers have `*_scale`, or
    `*_scale_inv` with one value for each square of 128 x 128.
    """
    name, elements = table.names[row], table.elements[row]
    own = name.rpartition(".")[2] == "weight"
    sides = table.rows(name, ("_scale", "_scale_inv"))
    if own:
        prefix = name.removesuffix("weight")
        is_int8 = table.dtype(row) == "int8"
        sides += table.rows(prefix, _INT8_SIDES if is_int8 else _CODE_SIDES)
        sides += [side for side in table.rows(prefix, ("scale",)) if _is_grid(table, row, side)]
    return table.claimed_sides(side for side in sides if table.elements[side] <= max(1, elements))


def _is_grid(table: Neighbours, row: int, side: int) -> bool:
    """Whether a tensor called plainly `scale` has one value for each 128 x 128 square of the weight."""
    shape, squares = table.shapes[row], table.shapes[side]
    return len(shape) == 2 and squares == tuple(-(-length // _BLOCK_FP8) for length in shape)


_OTHER_SCHEMES: Final = {
    "q_weight": ("q_scale", "EXL2 mixes bit widths inside one tensor"),
    "trellis": ("suh", "EXL3 trellis codes are not counted"),
    "codes": ("codebooks", "codes of additive code books are not counted"),
    "W_q": ("scale", "the packing of HQQ is not counted"),
}


def other_scheme(table: Neighbours, row: int) -> Counts:
    """Packed layouts that are known by their names and not counted: said, instead of a wrong figure."""
    prefix, dot, last = table.names[row].rpartition(".")
    neighbour, reason = _OTHER_SCHEMES[last]
    return table.unknown(row, reason) if table.row(prefix + dot + neighbour) is not None else {}
