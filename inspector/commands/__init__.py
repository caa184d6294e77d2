"""The command line: one short file a verb, loaded when it is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

VERBS: Final[dict[str, str]] = {
    "show": "Format, parameters, memory, layers and everything else one file tells.",
    "ls": "The table of tensors: filter, sort, group.",
    "memory": "Bytes stored, and what loading and training would take.",
}
"""Verbs and what their line in the help says. Each is a module of this package with a function
`command()` that makes its click command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; the console script's entry.

    A lone path (no verb, no option) is shown without loading click: that import alone would double the
    time until the first line. Everything else goes through the root command.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    return _guarded(lambda: _dispatch(arguments, is_process=argv is None))


def _dispatch(arguments: list[str], *, is_process: bool) -> int:
    if len(arguments) == 1 and _is_path(arguments[0]) and "_PARAMINSPECT_COMPLETE" not in os.environ:
        if is_process:
            from .quick_start import prepare

            prepare()
        from .show import show

        return show(arguments)
    from .root import run

    return run(arguments)


def _is_path(argument: str) -> bool:
    return argument == "-" or not (argument.startswith("-") or argument in VERBS or argument == "")


def _guarded(work: Callable[[], int]) -> int:
    """Turn every way to end into a status; only here is an unexpected error caught."""
    try:
        return int(work())
    except KeyboardInterrupt:
        from .endings import interrupted

        return interrupted()
    except Exception as error:
        from .endings import failed

        return failed(error)
