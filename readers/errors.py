"""Everything that can go wrong while a checkpoint is read.

ParamInspectError            the root: catch this one
├── CannotOpen               the file is missing, not a regular file, or the system refuses it
├── UnknownFormat            no reader recognises the bytes (the message says what they look like)
├── Malformed                the bytes contradict the format they claim to be
│   ├── Truncated            ... because the end is missing
│   └── Ambiguous            ... because two loaders would read them differently
├── Unsupported              recognised, but not readable here (an encrypted archive, a 7z file)
├── LimitExceeded            a resource budget stopped the reading; the message names the budget
├── ChangedWhileReading      the file was written to or replaced under us
├── NoValues                 the tensor is listed but has no bytes to read (meta device, missing record)
└── MissingExtra             an optional dependency is needed; the message has the install command
"""

from __future__ import annotations

from .untrusted import VALUE_LIMIT, printable


class ParamInspectError(Exception):
    """One clear reason why something could not be read.

    Attributes:
        code: stable kebab-case identifier, never reused for another fault.
        cause: one plain sentence on what is wrong.
        path: the file, as the caller named it, or None.
        offset: byte offset in that file where the fault was seen, or None.
        advice: what the user can do about it, or None.
        partial: what had been read before the fault, where the reader keeps that (a pickle's imports).
    """

    partial: object = None

    def __init__(
        self,
        code: str,
        cause: str,
        *,
        path: str | None = None,
        offset: int | None = None,
        advice: str | None = None,
    ) -> None:
        super().__init__(code, cause)
        self.code = code
        self.cause = cause
        self.path = path
        self.offset = offset
        self.advice = advice

    def __str__(self) -> str:
        where = "" if self.path is None else f"{printable(self.path)}: "
        if self.offset is not None:
            where += f"byte {self.offset:,}: "
        advice = "" if self.advice is None else f" ({printable(self.advice, VALUE_LIMIT)})"
        return f"{where}{printable(self.cause, VALUE_LIMIT)}{advice} [{self.code}]"


class CannotOpen(ParamInspectError):
    """The file is missing, is not a regular file, or the system refuses to read it."""


class UnknownFormat(ParamInspectError):
    """No reader recognises the bytes."""


class Malformed(ParamInspectError):
    """The bytes contradict the format they claim to be."""


class Truncated(Malformed):
    """The file ends before its own structure says it should."""


class Ambiguous(Malformed):
    """Two loaders would read these bytes differently, so no reading is given."""


class Unsupported(ParamInspectError):
    """The container is recognised but cannot be read."""


class LimitExceeded(ParamInspectError):
    """A resource budget stopped the reading."""


class ChangedWhileReading(ParamInspectError):
    """The file changed between two reads of it."""


class NoValues(ParamInspectError):
    """The tensor is listed, but the file holds no values for it."""


class MissingExtra(ParamInspectError):
    """An optional dependency is not installed."""
