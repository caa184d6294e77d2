"""A .npz archive: named arrays in a zip, stored or deflated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from .columns import Columns
from .columns_builder import ColumnsBuilder
from .columns_joined import joined
from .dtypes import opaque
from .entry import Checkpoint
from .errors import LimitExceeded, ParamInspectError
from .findings import Finding, Severity
from .limits import Limits
from .npy_array import Listed, list_array
from .pickle_account import accounting, report_pickles
from .pickle_stream import PickleBudget
from .registry import OpenContext
from .source import ByteSource
from .table import ParameterTable
from .tensor import TensorRef
from .zip_archive import ZipArchive, ZipMember, open_archive

_SUFFIX: Final = ".npy"
_OTHERS_TOLD: Final = 5


def recognises(source: ByteSource, head: bytes) -> bool:
    """A zip archive whose first member, or any, is a .npy."""
    if head[:4] == b"PK\x03\x04" and _first_name(head).endswith(b".npy"):
        return True
    from .limits import DEFAULT_LIMITS

    try:
        members = open_archive(source, DEFAULT_LIMITS).members
    except ParamInspectError:
        return False
    return any(member.name.endswith(_SUFFIX) for member in members)


def _first_name(head: bytes) -> bytes:
    return head[30 : 30 + int.from_bytes(head[26:28], "little")]


@dataclass(slots=True)
class _Collected:
    """What the members add up to."""

    columns: list[Columns] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    metadata: dict[str, object] = field(default_factory=dict)
    hyperparameters: dict[str, object] = field(default_factory=dict)
    progress: dict[str, int | float] = field(default_factory=dict)

    def add(self, listed: Listed) -> None:
        """Take in one member."""
        self.columns.append(listed.columns)
        self.findings += listed.findings
        inside = listed.inside
        if inside is None:
            return
        self.hyperparameters.update(inside.hyperparameters)
        self.metadata.update(inside.metadata)
        for key, value in inside.progress.items():
            self.progress.setdefault(key, value)

    def add_unreadable(self, name: str, error: ParamInspectError, path: str) -> None:
        """List a member whose header tells nothing, and say why."""
        message = f"this member cannot be read: {error.cause} [{error.code}]"
        builder = ColumnsBuilder()
        builder.add((name,), TensorRef(None, 0, opaque("unknown", 0), (0,), problem=message), elements=0)
        self.columns.append(builder.build())
        self.findings.append(Finding("npz-member", Severity.ERROR, message, path, error.offset, tensor=name))


def open_checkpoint(source: ByteSource, context: OpenContext) -> Checkpoint:
    """List every array from its own header."""
    archive = open_archive(source, context.limits)
    budget = PickleBudget(context.limits, context.deadline)
    collected = _Collected()
    with accounting(budget):
        _list_members(archive, context.limits, budget, collected)
    imports, findings = report_pickles(budget, source.name)
    others = [member.name for member in archive.members if not member.name.endswith(_SUFFIX)]
    if others:
        collected.findings.append(_other_members(others, source.name))
    columns = joined(collected.columns, file_counts=[0] * len(collected.columns))
    columns.files = None
    return Checkpoint(
        context.location,
        "npz",
        ParameterTable(columns),
        metadata=collected.metadata,
        hyperparameters=collected.hyperparameters,
        progress=collected.progress,
        findings=(*archive.findings, *archive.check_local_headers(), *collected.findings, *findings),
        imports=tuple(imports),
    )


def _list_members(archive: ZipArchive, limits: Limits, budget: PickleBudget, collected: _Collected) -> None:
    arrays: list[ZipMember] = [one for one in archive.members if one.name.endswith(_SUFFIX)]
    for number, member in enumerate(arrays):
        if number & 0xFF == 0:
            budget.deadline.check()
        name = member.name.removesuffix(_SUFFIX)
        try:
            listed = list_array(archive.open(member), (name,), limits, budget)
        except LimitExceeded:
            raise
        except ParamInspectError as error:
            collected.add_unreadable(name, error, archive.source.name)
            continue
        collected.add(listed)


def _other_members(names: Sequence[str], path: str) -> Finding:
    shown = ", ".join(names[:_OTHERS_TOLD]) + (", …" if len(names) > _OTHERS_TOLD else "")
    message = f"{len(names):,} members of the archive are no arrays: {shown}"
    return Finding("npz-other-members", Severity.INFO, message, path)
