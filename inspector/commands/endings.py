"""How a call ends when it does not end well: one line, and the right status."""

from __future__ import annotations

import os

from ...readers import ParamInspectError
from ...readers.untrusted import printable
from ..exits import ExitCode
from .models import tell
from .output import CannotWrite, OutputClosed, silence_standard_output


def interrupted() -> ExitCode:
    """Ctrl-C."""
    tell("interrupted")
    return ExitCode.INTERRUPTED


def failed(error: Exception) -> ExitCode:
    """Tell an error in one line; with PARAMINSPECT_DEBUG=1 an unexpected one is raised with its trace."""
    if isinstance(error, OutputClosed):
        silence_standard_output()
        return ExitCode.PIPE_CLOSED
    if isinstance(error, CannotWrite):
        if error.to_standard_output:
            silence_standard_output()
        tell(str(error))
        return ExitCode.UNREADABLE
    if isinstance(error, ParamInspectError):
        tell(str(error))
        return ExitCode.UNREADABLE
    if os.environ.get("PARAMINSPECT_DEBUG"):
        raise error
    text = printable(str(error), 300)
    tell(f"unexpected {type(error).__name__}: {text} (this is a bug; PARAMINSPECT_DEBUG=1 shows where)")
    return ExitCode.UNREADABLE
