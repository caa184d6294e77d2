"""How `memory` is laid out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ...readers.units import format_bytes, format_count
from ..analysis.memory_estimate import MemoryEstimate
from .blocks import Block, Column, Facts, Remark, Remarks, Report, Rows, Table
from .common_blocks import dtype_block, findings_block, layer_block, section_block, title

SCHEMA: Final = "paraminspect/memory/1"


def report(estimate: MemoryEstimate) -> Report:
    """The report of one checkpoint."""
    return Report({**estimate}, lambda: _blocks(estimate), lambda: _rows(estimate))


def _blocks(estimate: MemoryEstimate) -> Iterator[Block]:
    whole = estimate["totals"]
    yield title(estimate)
    yield Facts(_headline(estimate))
    yield dtype_block(estimate["dtypes"], whole)._replace(title="Stored, by dtype")
    if len(estimate["sections"]) > 1:
        yield section_block(estimate["sections"], whole, estimate["sections_inferred"])._replace(
            title="Stored, by section"
        )
    yield layer_block(estimate["layers"], whole)._replace(title="Stored, by layer")
    if estimate["loaded"]:
        yield _loaded(estimate)
        yield _training(estimate)
        yield Remarks([Remark("-", text, "faint") for text in estimate["assumptions"]], "Assumptions")
    if estimate["findings"]:
        yield findings_block(estimate["findings"])


def _headline(estimate: MemoryEstimate) -> list[tuple[str, str]]:
    parameters = estimate["parameters"]
    exact = f" ({parameters:,})" if parameters >= 1000 else ""
    pairs = [("parameters", f"{format_count(parameters)}{exact} in the model section")]
    if estimate["frozen_parameters"]:
        pairs.append(("frozen", format_count(estimate["frozen_parameters"])))
    if not estimate["loaded"]:
        pairs.append(("estimates", "none: the checkpoint holds no parameters of a model"))
    return pairs


def _loaded(estimate: MemoryEstimate) -> Table:
    columns = (
        Column("weights as", style="type"),
        Column("weights", right=True),
        Column("buffers", right=True),
        Column("loaded", right=True),
    )
    rows = [
        [
            row["weights_as"],
            format_bytes(row["weights_nbytes"]),
            format_bytes(row["buffers_nbytes"]),
            format_bytes(row["nbytes"]),
        ]
        for row in estimate["loaded"]
    ]
    note = "estimates: weights and buffers; activations and KV cache come on top"
    return Table(columns, rows, "Loaded for inference", note)


def _training(estimate: MemoryEstimate) -> Table:
    columns = (
        Column("recipe", style="type"),
        Column("weights", right=True),
        Column("gradients", right=True),
        Column("master", right=True),
        Column("moments", right=True),
        Column("training", right=True),
    )
    rows = [
        [
            row["recipe"],
            format_bytes(row["weights"]),
            format_bytes(row["gradients"]),
            format_bytes(row["master_weights"]),
            format_bytes(row["moments"]),
            format_bytes(row["nbytes"]),
        ]
        for row in estimate["training"]
    ]
    return Table(columns, rows, "Training", "estimates: buffers included in the sum, activations not")


def _rows(estimate: MemoryEstimate) -> Rows:
    header = (
        "estimate", "name", "weights", "buffers", "gradients", "master_weights", "moments", "nbytes",
    )  # fmt: skip
    return Rows(header, _figures(estimate))


def _figures(estimate: MemoryEstimate) -> Iterator[tuple[object, ...]]:
    for kind in estimate["dtypes"]:
        yield ("stored dtype", kind["dtype"], None, None, None, None, None, kind["totals"]["nbytes"])
    for part in estimate["sections"]:
        yield ("stored section", part["section"], None, None, None, None, None, part["totals"]["nbytes"])
    for layer in estimate["layers"]:
        yield ("stored layer", layer["name"], None, None, None, None, None, layer["totals"]["nbytes"])
    for row in estimate["loaded"]:
        weights, buffers = row["weights_nbytes"], row["buffers_nbytes"]
        yield ("loaded", row["weights_as"], weights, buffers, None, None, None, row["nbytes"])
    for plan in estimate["training"]:
        yield (
            "training", plan["recipe"], plan["weights"], plan["buffers"], plan["gradients"],
            plan["master_weights"], plan["moments"], plan["nbytes"],
        )  # fmt: skip
