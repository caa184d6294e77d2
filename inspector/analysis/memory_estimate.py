"""What a model's weights take on disk, would take in other types, and need for inference and training.

Estimates follow from parameter counts alone; every assumption is a sentence of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypedDict

from ...readers import Checkpoint, ParameterTable, Section
from .figures import TotalsData, totals_data
from .layer_tree import LayerRow, layer_rows
from .summary import (
    DTypeData,
    FindingData,
    Identity,
    SectionData,
    dtype_totals,
    finding_data,
    identity,
    section_totals,
)

DEFAULT_DEPTH: Final = 2

GROUP_SIZE: Final = 128
"""Parameters that share one scale in the quantised estimates; the usual choice of GPTQ and AWQ."""


@dataclass(frozen=True, slots=True)
class WeightType:
    """One way to hold weights in memory."""

    name: str
    matrix_bits: int
    """Bits of each parameter of a matrix (a tensor of two or more dimensions)."""

    group_bits: int
    """Bits added for each group of `GROUP_SIZE` parameters of the matrices."""

    other_bits: int
    """Bits of each parameter of vectors and scalars."""


WEIGHT_TYPES: Final = (
    WeightType("float32", 32, 0, 32),
    WeightType("bfloat16", 16, 0, 16),
    WeightType("int8", 8, 16, 16),
    WeightType("4-bit", 4, 16 + 4, 16),
)


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """Bytes for each trained parameter."""

    name: str
    weights: int
    gradients: int
    master_weights: int
    moments: int


TRAINING_RECIPES: Final = (
    TrainingRecipe("float32, Adam", 4, 4, 0, 8),
    TrainingRecipe("mixed precision, Adam", 2, 2, 4, 8),
    TrainingRecipe("bfloat16 only, Adam", 2, 2, 0, 4),
)

ASSUMPTIONS: Final = (
    "counted: the parameters of the model section, tied ones once, packed weights unpacked; "
    "a complex parameter is two numbers; buffers keep their stored size",
    "loaded: weights and buffers only; activations, KV cache and the framework's own memory come on top",
    f"int8: matrices (two or more dimensions, embeddings included) at 8 bits plus a 16-bit scale for each "
    f"{GROUP_SIZE} parameters; everything else at 16 bits",
    f"4-bit: the same with 4 bits, a 16-bit scale and a 4-bit zero point for each {GROUP_SIZE} parameters "
    f"({4 + 20 / GROUP_SIZE:.3f} bits a parameter); tools that leave embeddings at 16 bits need more",
    "training: all parameters but those the file marks as frozen; activations come on top",
    "Adam in float32: weights 4 + gradients 4 + two moments 8 = 16 bytes a parameter",
    "Adam in mixed precision: 16-bit weights 2 + gradients 2, float32 master weights 4 + two moments 8 = "
    "16 bytes a parameter (Rajbhandari et al. 2020, ZeRO, section 3.1)",
    "Adam in bfloat16 only: weights 2 + gradients 2 + two moments 4 = 8 bytes a parameter",
)
"""What the estimates rest on, as sentences for people."""


class LoadedData(TypedDict):
    """Memory that the model takes once loaded with its weights in one type."""

    weights_as: str
    weights_nbytes: int
    buffers_nbytes: int
    nbytes: int


class TrainingData(TypedDict):
    """Memory that training takes with one recipe, in bytes."""

    recipe: str
    weights: int
    """Frozen parameters included."""

    gradients: int
    master_weights: int
    moments: int
    buffers: int
    nbytes: int


class MemoryEstimate(Identity):
    """Everything `memory` tells."""

    parameters: int
    """Logical parameters of the model section, shared ones once."""

    frozen_parameters: int
    """Of these, the ones that the file marks as not trained."""

    totals: TotalsData
    """On disk, all sections."""

    dtypes: list[DTypeData]
    sections: list[SectionData]
    layers: list[LayerRow]
    loaded: list[LoadedData]
    """Empty when the checkpoint has no parameters of a model."""

    training: list[TrainingData]
    """As `loaded`."""

    assumptions: list[str]
    findings: list[FindingData]


def estimate_memory(
    checkpoint: Checkpoint, *, depth: int | None = DEFAULT_DEPTH, siblings: int | None = 40
) -> MemoryEstimate:
    """Stored bytes and estimates for one checkpoint; reads no tensor values.

    Args:
        checkpoint: an open one.
        depth: levels of the layer tree, None for all.
        siblings: lines under one parent of the tree before the rest become one, None for all.
    """
    table = checkpoint.parameters
    model = _section(table, Section.MODEL)
    buffers = _section(table, Section.BUFFER).totals().nbytes
    parameters = model.totals().parameters
    frozen = model.take([row for row, flag in enumerate(model.trainable) if flag is False])
    return MemoryEstimate(
        **identity(checkpoint),
        parameters=parameters,
        frozen_parameters=frozen.totals().parameters,
        totals=totals_data(table.totals()),
        dtypes=dtype_totals(table),
        sections=section_totals(table),
        layers=layer_rows(table, depth=depth, limit=siblings),
        loaded=_loaded(model, buffers) if parameters else [],
        training=_training(_numbers(model), _numbers(frozen), buffers) if parameters else [],
        assumptions=list(ASSUMPTIONS),
        findings=finding_data(checkpoint.findings),
    )


def _section(table: ParameterTable, section: Section) -> ParameterTable:
    return table.take([row for row, own in enumerate(table.sections) if own is section])


def _numbers(table: ParameterTable) -> int:
    """Parameters, a complex one counted as the two numbers it is."""
    halves = table.take([row for row, dtype in enumerate(table.dtypes) if dtype.kind == "complex"])
    return table.totals().parameters + halves.totals().parameters


def _stored_bytes(model: ParameterTable) -> int:
    """Bytes in the stored types; tensors listed without values take room too once they are loaded."""
    without = [row for row, nbytes in enumerate(model.nbytes) if nbytes == 0]
    absent = sum(model.dtypes[row].span(model.elements[row]) for row in without)
    return model.totals().nbytes + absent


def _loaded(model: ParameterTable, buffers: int) -> list[LoadedData]:
    numbers = _numbers(model)
    matrices = _numbers(model.take([row for row, shape in enumerate(model.shapes) if len(shape) > 1]))
    stored = _stored_bytes(model)
    rows = [LoadedData(weights_as="as stored", weights_nbytes=stored, buffers_nbytes=buffers, nbytes=0)]
    for kind in WEIGHT_TYPES:
        groups = -(-matrices // GROUP_SIZE) if kind.group_bits else 0
        bits = matrices * kind.matrix_bits + groups * kind.group_bits
        bits += (numbers - matrices) * kind.other_bits
        rows.append(
            LoadedData(weights_as=kind.name, weights_nbytes=(bits + 7) // 8, buffers_nbytes=buffers, nbytes=0)
        )
    for row in rows:
        row["nbytes"] = row["weights_nbytes"] + buffers
    return rows


def _training(numbers: int, frozen: int, buffers: int) -> list[TrainingData]:
    trained = numbers - frozen
    rows = []
    for recipe in TRAINING_RECIPES:
        weights = numbers * recipe.weights
        gradients = trained * recipe.gradients
        master = trained * recipe.master_weights
        moments = trained * recipe.moments
        rows.append(
            TrainingData(
                recipe=recipe.name,
                weights=weights,
                gradients=gradients,
                master_weights=master,
                moments=moments,
                buffers=buffers,
                nbytes=weights + gradients + master + moments + buffers,
            )
        )
    return rows
