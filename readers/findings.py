"""What a reader noticed that a user should know, although the file could be read."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Severity(StrEnum):
    """How much a finding matters."""

    INFO = "info"
    """Unusual, harmless."""

    WARNING = "warning"
    """Other loaders may read this differently, or something looks left out."""

    ERROR = "error"
    """Part of the checkpoint is wrong or missing; what is listed is not all there should be."""


class Finding(NamedTuple):
    """One observation about the bytes of a checkpoint."""

    code: str
    """Stable kebab-case identifier."""

    severity: Severity
    message: str
    """One plain sentence. Text from the file inside it is not yet escaped: faces escape it."""

    path: str | None = None
    """The file it is about."""

    offset: int | None = None
    """Byte offset in that file."""

    tensor: str | None = None
    """The tensor it is about, by display name."""
