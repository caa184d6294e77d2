"""Exit statuses: what a script may rely on."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The status `paraminspect` ends with."""

    OK = 0
    """Everything asked for was read and reported; findings, if any, are remarks or warnings."""

    CHECK_FAILED = 1
    """Read fully, and a check or comparison came out against the model."""

    UNREADABLE = 2
    """Something was not read: a usage mistake, an unreadable or incomplete checkpoint, a report that
    could not be written."""

    INTERRUPTED = 130
    """Ctrl-C."""

    PIPE_CLOSED = 141
    """Whoever read the output stopped reading (as in `| head`), so the report was cut off."""
