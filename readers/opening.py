"""open_checkpoint: anything a user may hold, by path, turned into one Checkpoint."""

from __future__ import annotations

import os

from .collector import paused_collector
from .entry import Checkpoint, CheckpointFile
from .findings import Finding, Severity
from .limits import DEFAULT_LIMITS, Deadline, Limits
from .registry import FORMATS, Format, OpenContext, detect
from .side_configs import HUB_NAMES, attach_configs
from .side_files import SHARD_NAME
from .source import FileSource


def open_checkpoint(
    path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS, follow_links: bool = True
) -> Checkpoint:
    """Open a checkpoint and read its headers; tensor values are read when asked for.

    Nothing in the file is executed or imported, and no framework is loaded.

    Args:
        path: a file of any supported format, a folder that holds one checkpoint, an index file, a
            glob whose matches are parts of one checkpoint, or `-` for standard input.
        limits: resource budgets for the opening.
        follow_links: whether files named by an index may be symbolic links out of their folder (hub
            caches are made of such links).

    Raises:
        ParamInspectError: one of its subclasses, with the file, the offset where there is one, the
            cause and what to do.
    """
    location = os.fsdecode(path)
    deadline = Deadline(limits.seconds, location)

    def open_part(part: str) -> Checkpoint:
        return open_file(FileSource(part), context._replace(is_part=True))

    context = OpenContext(location, limits, deadline, follow_links, open_part)
    return _open_path(location, context)


def _open_path(location: str, context: OpenContext) -> Checkpoint:
    if location == "-":
        from .standard_input import spooled_input

        return open_file(spooled_input(context), context)
    if os.path.isdir(location):
        from .folder import open_folder

        return open_folder(location, context)
    if not os.path.lexists(location) and any(character in location for character in "*?["):
        from .folder import open_glob

        return open_glob(location, context)
    return open_file(FileSource(location), context)


def open_file(source: FileSource, context: OpenContext) -> Checkpoint:
    """One file, by its content; the source is closed when that fails."""
    try:
        found = detect(source)
        if found is None:
            from .lookalikes import unrecognised

            raise unrecognised(source)
        row, module = found
        with paused_collector():
            checkpoint = module.open_checkpoint(source, context._replace(location=source.name))
        source.check_unchanged()
    except BaseException:
        source.close()
        raise
    return _completed(checkpoint, source, row, context)


def _completed(checkpoint: Checkpoint, source: FileSource, row: Format, context: OpenContext) -> Checkpoint:
    """Fill in what is the same for every format."""
    if not checkpoint.files:
        checkpoint.files = (CheckpointFile(source.name, source.size()),)
    if not checkpoint.sources:
        checkpoint.sources = (source,)
    suffix = os.path.splitext(source.name)[1].lower()
    promised = _formats_of_suffix(suffix)
    if promised and row.name not in promised:
        checkpoint.findings = (
            *checkpoint.findings,
            Finding(
                "wrong-suffix",
                Severity.WARNING,
                f"the name ends in {suffix}, but the content is {checkpoint.format}",
                path=source.name,
            ),
        )
    folder, name = os.path.split(source.name)
    shard = SHARD_NAME.fullmatch(name)
    if shard is not None and not context.is_part:
        message = (
            f"this is shard {int(shard['number']):,} of {int(shard['count']):,}: open the index or the folder"
        )
        finding = Finding("shard-alone", Severity.INFO, message, path=source.name)
        checkpoint.findings = (*checkpoint.findings, finding)
    if name in HUB_NAMES:
        attach_configs(checkpoint, folder or ".", context)
    return checkpoint


def _formats_of_suffix(suffix: str) -> frozenset[str]:
    return frozenset(row.name for row in FORMATS if suffix in row.suffixes)
