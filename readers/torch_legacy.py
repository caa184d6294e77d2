"""The legacy torch format (before 1.6): a magic number, pickles, then raw storages."""

from __future__ import annotations

from .entry import Checkpoint
from .findings import Finding, Severity
from .pickle_account import accounting, report_pickles
from .pickle_machine import PickleBudget
from .pickled_tensors import PickledTensors
from .registry import OpenContext
from .source import ByteSource, file_offset
from .state_dict import Walker
from .table import ParameterTable
from .torch_legacy_stream import read_legacy, starts_like_legacy


def recognises(_: ByteSource, head: bytes) -> bool:
    """A pickle of the magic number first."""
    return starts_like_legacy(head)


def open_checkpoint(source: ByteSource, context: OpenContext) -> Checkpoint:
    """Read the five pickles; storages are located, not read."""
    budget = PickleBudget(context.limits, context.deadline)
    with accounting(budget):
        legacy = read_legacy(source, 0, budget)
        reader = PickledTensors(legacy.storages, source)
        walked = Walker(reader, context.deadline, source.name).walk(legacy.content.root)
    imports, findings = report_pickles(budget, source.name)
    trailing = source.size() - legacy.end
    if trailing:
        findings.append(
            Finding(
                "trailing-bytes",
                Severity.WARNING,
                f"{trailing:,} bytes follow the last storage; torch ignores them",
                source.name,
                file_offset(source, legacy.end),
            )
        )
    return Checkpoint(
        context.location,
        "torch legacy",
        ParameterTable(walked.columns),
        metadata=walked.metadata,
        hyperparameters=walked.hyperparameters,
        progress=walked.progress,
        findings=(*legacy.findings, *walked.findings, *findings),
        imports=tuple(imports),
    )
