"""Several opened files made one checkpoint: rows side by side, facts and findings together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from .columns import Columns, Path, dotted
from .columns_joined import joined
from .entry import Checkpoint
from .errors import ParamInspectError
from .findings import Finding, Severity
from .registry import OpenContext
from .sections import Section
from .side_files import leaves_folder
from .table import ParameterTable

MAX_FINDINGS: Final = 20
"""Findings of one kind that are listed one by one."""


@dataclass(slots=True)
class Part:
    """One opened file (or folder) of a checkpoint made of several."""

    checkpoint: Checkpoint
    label: str
    """Its name inside the whole: the shard's file name, the component's folder."""

    prefix: Path = ()
    """What its tensors' paths start with in the whole."""

    section: Section | None = None
    """What its tensors are, where the file's name says it."""

    facts_under: str | None = None
    """Key under which its metadata and hyperparameters go; None to merge them."""


def join(parts: Sequence[Part], context: OpenContext, format_name: str) -> Checkpoint:
    """One checkpoint of all rows. The caller looks for names that occur twice."""
    columns = joined([_placed(part) for part in parts], [len(part.checkpoint.files) for part in parts])
    whole = Checkpoint(context.location, format_name, ParameterTable(columns))
    whole.files = tuple(file for part in parts for file in part.checkpoint.files)
    whole.findings = tuple(finding for part in parts for finding in part.checkpoint.findings)
    whole.imports = tuple(name for part in parts for name in part.checkpoint.imports)
    whole.sources = tuple(source for part in parts for source in part.checkpoint.sources)
    metadata: dict[str, object] = {}
    hyperparameters: dict[str, object] = {}
    progress: dict[str, int | float] = {}
    for part in parts:
        if part.section is None:  # of training state, only what was set and how far it came is of interest
            _merge(metadata, part.checkpoint.metadata, part)
        _merge(hyperparameters, part.checkpoint.hyperparameters, part)
        for name, value in part.checkpoint.progress.items():
            progress.setdefault(name if part.facts_under is None else f"{part.facts_under}.{name}", value)
    whole.metadata, whole.hyperparameters, whole.progress = metadata, hyperparameters, progress
    return whole


def _merge(whole: dict[str, object], facts: Mapping[str, object], part: Part) -> None:
    if part.facts_under is not None:
        if facts:
            whole[part.facts_under] = dict(facts)
        return
    for name, value in facts.items():
        if whole.setdefault(name, value) != value:
            whole[f"{part.label}: {name}"] = value


def _placed(part: Part) -> Columns:
    """The part's rows under its prefix, in its section."""
    columns = part.checkpoint.parameters.base_columns
    if part.prefix:
        paths = columns.paths if columns.paths is not None else [(name,) for name in columns.names]
        head = dotted(part.prefix)
        columns = replace(
            columns,
            names=[f"{head}.{name}" for name in columns.names],
            paths=[(*part.prefix, *path) for path in paths],
            owners=_owners_under(head, columns.owners),
            optimizer_groups=tuple(
                replace(group, path=(*part.prefix, *group.path)) for group in columns.optimizer_groups
            ),
        )
    if part.section is not None:
        columns = replace(columns, sections=[part.section] * len(columns))
    return columns


def _owners_under(head: str, owners: list[str | None] | None) -> list[str | None] | None:
    return None if owners is None else [owner and f"{head}.{owner}" for owner in owners]


@dataclass(slots=True)
class PartsOpener:
    """Opens files named by others, each once, and turns what is wrong with one into a finding."""

    context: OpenContext
    findings: list[Finding] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    _seen: dict[tuple[int, int], str] = field(default_factory=dict)
    _outside: list[str] = field(default_factory=list)

    def open(self, path: str, label: str, folder: str) -> Checkpoint | None:
        """The file as a checkpoint, or None with a finding that says why not."""
        if not os.path.exists(path):
            self.missing.append(label)
            return None
        try:
            status = os.stat(path)
            same = self._seen.setdefault((status.st_dev, status.st_ino), label)
            if same != label:
                message = f"{label} and {same} are one and the same file; it is read once"
                self.findings.append(Finding("part-twice", Severity.ERROR, message, path))
                return None
            checkpoint = self.context.open_part(path)
        except OSError as error:
            self._unreadable(label, path, f"{error.strerror}", None)
            return None
        except ParamInspectError as error:
            self._unreadable(label, path, f"{error.cause} [{error.code}]", error.offset)
            return None
        if leaves_folder(folder, path):
            self._outside.append(label)
        return checkpoint

    def finish(self) -> list[Finding]:
        """All findings, with those about many parts in one sentence."""
        if self._outside:
            names = ", ".join(self._outside[:3]) + (", …" if len(self._outside) > 3 else "")
            message = f"{len(self._outside):,} of the files are links that leave the folder: {names}"
            self.findings.append(Finding("links-leave-folder", Severity.INFO, message))
        return self.findings

    def _unreadable(self, label: str, path: str, cause: str, offset: int | None) -> None:
        message = f"{label} cannot be read, so its tensors are missing here: {cause}"
        self.findings.append(Finding("part-unreadable", Severity.ERROR, message, path, offset))


def repeated_names(names: Sequence[str]) -> list[str]:
    """Names that occur more than once, each once."""
    if len(set(names)) == len(names):
        return []
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    for name in names:
        if name in seen:
            repeated[name] = None
        seen.add(name)
    return list(repeated)


def capped(findings: Sequence[Finding], what: str) -> list[Finding]:
    """At most `MAX_FINDINGS` of one kind, and a last one that counts the rest."""
    if len(findings) <= MAX_FINDINGS:
        return list(findings)
    first = findings[0]
    rest = len(findings) - MAX_FINDINGS
    return [
        *findings[:MAX_FINDINGS],
        Finding(first.code, first.severity, f"… and {rest:,} more {what}", first.path),
    ]
