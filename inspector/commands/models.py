"""Opening the models that a verb is given, one after the other, and telling what went wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from ...readers import DEFAULT_LIMITS, Checkpoint, Limits, ParamInspectError, open_checkpoint
from ...readers.untrusted import printable
from ..exits import ExitCode
from ..reports.blocks import Document, Failure, Report
from . import VERBS
from .output import CannotWrite, emit


class Settings(NamedTuple):
    """The options that every verb has."""

    format_name: str = "text"
    output: str | None = None
    color: str = "auto"
    limits: Limits = DEFAULT_LIMITS
    follow_links: bool = True


class Run:
    """One call over several models: reports as they are opened, failures as they are met."""

    def __init__(
        self, models: Sequence[str], settings: Settings, report_on: Callable[[Checkpoint], Report]
    ) -> None:
        self.models = models
        self.settings = settings
        self.report_on = report_on
        self.failures: list[Failure] = []
        self.incomplete = False

    def reports(self) -> Iterator[Report]:
        """Open each model, report it, close it; one that cannot be read is told on standard error."""
        for model in self.models:
            try:
                with open_checkpoint(
                    model, limits=self.settings.limits, follow_links=self.settings.follow_links
                ) as checkpoint:
                    self._refuse_overwriting(checkpoint)
                    report = self.report_on(checkpoint)
            except ParamInspectError as error:
                self._failed(model, error)
                continue
            self.incomplete |= report.data["complete"] is False
            yield report

    def _failed(self, model: str, error: ParamInspectError) -> None:
        advice = error.advice
        if error.code == "not-found":
            advice = did_you_mean(model, alone=len(self.models) == 1) or advice
        path = error.path if error.path is not None else model
        self.failures.append(Failure(model, error.code, error.cause, path, error.offset, advice))
        place = "" if error.offset is None else f"byte {error.offset:,}: "
        hint = f" ({printable(advice, 2000)})" if advice else ""
        tell(f"{printable(path)}: {place}{printable(error.cause, 2000)}{hint} [{error.code}]")

    def _refuse_overwriting(self, checkpoint: Checkpoint) -> None:
        output = self.settings.output
        if output is None or not os.path.isfile(output):
            return
        if any(
            os.path.exists(file.path) and os.path.samefile(file.path, output) for file in checkpoint.files
        ):
            raise CannotWrite(
                f"{printable(output)} is a file of the model itself; choose another name for -o"
            )


def run(
    models: Sequence[str], settings: Settings, schema: str, report_on: Callable[[Checkpoint], Report]
) -> ExitCode:
    """Report on every model in the format and to the place that the settings name.

    Returns:
        OK, or UNREADABLE when a model could not be read or is incomplete.
    """
    work = Run(models, settings, report_on)
    emit(
        Document(schema, work.reports(), work.failures),
        format_name=settings.format_name,
        path=settings.output,
        color=settings.color,
    )
    return ExitCode.UNREADABLE if work.failures or work.incomplete else ExitCode.OK


def tell(message: str) -> None:
    """One line on standard error; what was printed before goes out first, so that lines keep their order."""
    # A stream may be closed or full: then there is nowhere left to say it, and the status still tells.
    # Closed before the start, it is None.
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"paraminspect: {message}\n")
        sys.stderr.flush()


def did_you_mean(model: str, *, alone: bool) -> str | None:
    """A hint for a path that does not exist: close names in its folder, or a verb that was meant."""
    import difflib

    folder, name = os.path.split(model)
    try:
        siblings = sorted(os.listdir(folder or "."))[:20_000]
    except OSError:
        return None
    lowered = {sibling.lower(): sibling for sibling in reversed(siblings)}
    close = [
        os.path.join(folder, lowered[match])
        for match in difflib.get_close_matches(name.lower(), lowered, n=2, cutoff=0.6)
    ]
    if alone and not folder:
        close = difflib.get_close_matches(name, VERBS, n=1, cutoff=0.6) + close
    return f"did you mean {' or '.join(map(printable, close))}?" if close else None
