"""Checkpoint: the waist between the formats and everything that asks questions of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

from .findings import Finding, Severity
from .source import ByteSource, FileSource
from .table import ParameterTable
from .units import format_bytes
from .untrusted import printable


class CheckpointFile(NamedTuple):
    """One file that a checkpoint was read from."""

    path: str
    size: int
    """Bytes."""


class PickleImport(NamedTuple):
    """One global that a pickle names: what its own loader would import."""

    module: str
    name: str
    offset: int
    """Offset of the opcode within the stream where it was first named."""

    called: bool
    """The pickle also calls it (or builds an object from it)."""

    stream: str = ""
    """Which pickle of the file: the member's name, or empty for a file that is one pickle."""


@dataclass(slots=True, eq=False, repr=False)
class Checkpoint:
    """Everything a checkpoint holds, read from its headers; tensor values are read when asked for.

    Use as a context manager, or call `close`.
    """

    location: str
    """The path as the caller gave it."""

    format: str
    """`safetensors`, `torch zip`, `npz`, ...: how the bytes are laid out, not the file's suffix."""

    parameters: ParameterTable
    files: Sequence[CheckpointFile] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    """Free text and records that the file carries about itself."""

    hyperparameters: Mapping[str, object] = field(default_factory=dict)
    """What was set, not learned: optimizer settings, schedules, model configuration. One entry for
    each place they were found in; values are plain data (see `records.to_plain`)."""

    progress: Mapping[str, int | float] = field(default_factory=dict)
    """How far training had come: `epoch`, `global_step`, ..."""

    findings: Sequence[Finding] = ()
    imports: Sequence[PickleImport] = ()
    """Every global the file's pickles name. None of them was imported."""

    sources: Sequence[ByteSource] = ()
    """Open sources, closed with the checkpoint."""

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def worst(self) -> Severity | None:
        """The highest severity among the findings, or None without findings."""
        order = list(Severity)
        return max((finding.severity for finding in self.findings), key=order.index, default=None)

    def close(self) -> None:
        """Release file descriptors. Values can still be read: the file is then opened again."""
        for source in self.sources:
            if isinstance(source, FileSource):
                source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        lines = [
            f"<Checkpoint {printable(self.location)!r}: {self.format}, {format_bytes(self.size)}, "
            f"{self.parameters.summary()}>"
        ]
        lines += [f"  {finding.severity}: {printable(finding.message)}" for finding in self.findings[:5]]
        if len(self.findings) > 5:
            lines.append(f"  … and {len(self.findings) - 5} more findings")
        return "\n".join(lines)
