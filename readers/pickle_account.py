"""The account of all pickles of a file, those inside others included: what a loader would import and call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .entry import PickleImport
from .errors import ParamInspectError
from .findings import Finding, Severity
from .pickle_report import findings_about, is_data_only, listed, runs_code
from .pickle_stream import NestedPickle, PickleBudget, PickleStream
from .source import file_offset

_NESTED_TOLD: Final = 5


def report_pickles(
    budget: PickleBudget, file: str, *, is_script: bool = False
) -> tuple[list[PickleImport], list[Finding]]:
    """The imports of every pickle that was read with `budget`, and findings about them.

    Args:
        budget: what the pickles of the file were read with.
        file: its path, for findings.
        is_script: the file is a TorchScript archive (see `findings_about`).
    """
    imports = _imports(budget.streams)
    findings = findings_about(imports, file, is_script=is_script)
    unread: list[NestedPickle] = []
    for stream, _ in _with_nested(budget.streams):
        findings += stream.findings
        unread += [nested for nested in stream.nested if nested.problem is not None]
    return imports, [*findings, *_about_unread(unread, file)]


@contextmanager
def accounting(budget: PickleBudget) -> Iterator[None]:
    """Whatever is refused inside tells, too, what the pickles read up to there would have run."""
    try:
        yield
    except ParamInspectError as error:
        harmful = [one for one in _imports(budget.streams) if _is_harmful(one)]
        if harmful:
            error.cause += (
                f"; before that place the file names {listed(harmful)}: its own loader would run code with it"
            )
        raise


def _is_harmful(one: PickleImport) -> bool:
    return not is_data_only(one.module, one.name) and runs_code(one.module, one.name)


def _with_nested(streams: list[PickleStream]) -> Iterator[tuple[PickleStream, str]]:
    """Every stream and its label, each before those inside it."""
    pending = [(stream, stream.label) for stream in reversed(streams)]
    while pending:
        stream, label = pending.pop()
        yield stream, label
        before = f"{label}, " if label else ""
        for nested in reversed(stream.nested):
            inner = f"{before}inside it at byte {nested.call.offset:,}"
            pending += [(one, inner) for one in reversed(nested.streams)]


def _imports(streams: list[PickleStream]) -> list[PickleImport]:
    """Each name once for each label."""
    found: dict[tuple[str, str, str], PickleImport] = {}
    for stream, label in _with_nested(streams):
        for module, name, offset, called in stream.imports:
            key = (module, name, label)
            known = found.get(key)
            if known is None:
                found[key] = PickleImport(module, name, offset, called, label)
            elif called and not known.called:
                found[key] = PickleImport(module, name, known.offset, called, label)
    return list(found.values())


def _about_unread(unread: list[NestedPickle], file: str) -> list[Finding]:
    findings = [
        Finding(
            "nested-pickle-unread",
            Severity.WARNING,
            f"a pickle inside the pickle cannot be read ({nested.problem}): what it imports is not known",
            file,
            None if nested.source is None else file_offset(nested.source, 0),
        )
        for nested in unread[:_NESTED_TOLD]
    ]
    if len(unread) > _NESTED_TOLD:
        message = f"{len(unread) - _NESTED_TOLD:,} more pickles inside the pickle cannot be read"
        findings.append(Finding("nested-pickle-unread", Severity.WARNING, message, file))
    return findings
