"""A .npy file: one array."""

from __future__ import annotations

import os

from .entry import Checkpoint
from .npy_array import list_array
from .npy_header import MAGIC
from .pickle_account import accounting, report_pickles
from .pickle_stream import PickleBudget
from .registry import OpenContext
from .source import ByteSource
from .table import ParameterTable


def recognises(_: ByteSource, head: bytes) -> bool:
    """The six bytes that numpy begins with."""
    return head.startswith(MAGIC)


def open_checkpoint(source: ByteSource, context: OpenContext) -> Checkpoint:
    """Read the header; the array is named after the file."""
    budget = PickleBudget(context.limits, context.deadline)
    name = os.path.splitext(os.path.basename(source.name))[0]
    with accounting(budget):
        listed = list_array(source, (name,), context.limits, budget)
    imports, findings = report_pickles(budget, source.name)
    version = ".".join(map(str, listed.header.version))
    inside = listed.inside
    return Checkpoint(
        context.location,
        "npy",
        ParameterTable(listed.columns),
        metadata={**(inside.metadata if inside else {}), "npy.version": version},
        hyperparameters=inside.hyperparameters if inside else {},
        progress=inside.progress if inside else {},
        findings=(*listed.findings, *findings),
        imports=tuple(imports),
    )
