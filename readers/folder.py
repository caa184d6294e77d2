"""A folder as a checkpoint: the usual layouts of hubs and trainers, and globs of parts."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from . import torch_dcp
from .entry import Checkpoint
from .errors import CannotOpen, LimitExceeded, Malformed, ParamInspectError
from .findings import Finding, Severity
from .joining import Part, PartsOpener, join, repeated_names
from .moments import assign_owners
from .opening import open_file
from .registry import FORMATS, OpenContext
from .sections import Section
from .side_configs import HUB_NAMES, attach_configs
from .side_files import SHARD_NAME, leaves_folder, read_json_object
from .source import FileSource, read
from .table import ParameterTable
from .untrusted import printable

_MAX_ENTRIES: Final = 100_000
_INDEX_NAME: Final = re.compile(r"(?P<stem>.+?)\.(?P<suffix>safetensors|bin|pth?)\.index(\.\w+)?\.json")
_WEIGHT_SUFFIXES: Final = frozenset(
    suffix
    for row in FORMATS
    for suffix in row.suffixes
    if suffix not in (".json", ".model", ".tar", ".torch")
)
_WITHOUT_WEIGHTS: Final = re.compile("scheduler|tokenizer|processor|extractor|solver|sampler", re.IGNORECASE)
"""Components of a pipeline that have settings only, by name or class."""

_REVISION: Final = "snapshots"
_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class _SideFile:
    """Training state that lies beside the weights under a usual name."""

    pattern: re.Pattern[str]
    section: Section


_SIDE_FILES: Final = (
    _SideFile(re.compile(r"optimizer(_\d+)?\.(pt|bin|pth|safetensors)"), Section.OPTIMIZER),
    _SideFile(re.compile(r"(lr_)?scheduler(_\d+)?\.(pt|bin|pth)"), Section.OTHER),
    _SideFile(re.compile(r"(grad_)?scaler\.(pt|bin|pth)"), Section.OTHER),
    _SideFile(re.compile(r"(rng_state|random_states)(_\d+)?\.(pth|pt|pkl|bin)"), Section.OTHER),
    _SideFile(re.compile(r"training_args\.(bin|pt)"), Section.OTHER),
)


@dataclass(slots=True)
class _Listing:
    """The names in one folder."""

    path: str
    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def inner(self, name: str) -> str:
        """The path of one of them."""
        return os.path.join(self.path, name)


def open_folder(path: str, context: OpenContext) -> Checkpoint:
    """The one checkpoint in a folder, with its training state and its settings.

    Raises:
        CannotOpen: there is none, or there are several and nothing tells which is meant.
    """
    listing = _list(path)
    snapshot = _hub_snapshot(listing)
    if snapshot is not None:
        listing = _list(snapshot)
    path = listing.path
    if torch_dcp.METADATA_NAME in listing.files and not _candidates(listing):
        return torch_dcp.open_folder(path, context)
    if _any_suffix(listing.files, ".distcp") and torch_dcp.METADATA_NAME not in listing.files:
        raise CannotOpen(
            "dcp-without-metadata",
            "the folder holds parts of a distributed checkpoint (.distcp), and not its .metadata, "
            "which says what is where",
            path=path,
            advice="copy the whole folder, hidden files too",
        )
    opener = PartsOpener(context)
    parts, passed_over = _weights(listing, context)
    parts += _side_parts(listing, opener)
    alone = len(parts) == 1 and not parts[0].prefix
    whole = parts[0].checkpoint if alone else _joined(parts, context)
    whole.location = context.location
    whole.findings = (*whole.findings, *passed_over, *opener.finish(), *_unread_state(listing))
    attach_configs(whole, path, context)
    return whole


def open_glob(pattern: str, context: OpenContext) -> Checkpoint:
    """Files that a pattern matches, as parts of one checkpoint.

    Raises:
        CannotOpen: nothing matches.
        Malformed: the same tensor is in several of them, so they are checkpoints of their own.
    """
    paths = sorted(glob.glob(pattern, recursive=True))
    if not paths:
        raise CannotOpen("glob-no-match", "no file matches the pattern", path=pattern)
    if len(paths) > context.limits.shards:
        raise LimitExceeded(
            "limit-shards",
            f"{len(paths):,} files match, more than the budget of {context.limits.shards:,}",
            path=pattern,
            advice="raise it with --limit shards=N",
        )
    if len(paths) == 1 and os.path.isdir(paths[0]):
        return open_folder(paths[0], context)
    opener = PartsOpener(context)
    parts = _opened(opener, [(path, path) for path in paths], os.path.dirname(pattern) or ".")
    whole = _joined(parts, context, pattern) if len(parts) > 1 else parts[0].checkpoint
    whole.location = pattern
    told = [one for one in opener.finish() if one.code != "links-leave-folder"]
    absent = absent_shards([os.path.basename(path) for path in paths], pattern, context)
    whole.findings = (*whole.findings, *told, *absent)
    return whole


# --- which files ---


def _list(path: str) -> _Listing:
    listing = _Listing(path)
    try:
        with os.scandir(path) as entries:
            for count, entry in enumerate(entries):
                if count >= _MAX_ENTRIES:
                    cause = f"the folder has more than {_MAX_ENTRIES:,} entries"
                    raise LimitExceeded("limit-folder", cause, path=path, advice="name the file itself")
                (listing.folders if _is_folder(entry) else listing.files).append(entry.name)
    except OSError as error:
        raise CannotOpen("folder", f"the folder cannot be listed: {error.strerror}", path=path) from None
    listing.files.sort()
    listing.folders.sort()
    return listing


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _any_suffix(names: Iterable[str], suffix: str) -> bool:
    return any(name.endswith(suffix) for name in names)


def _hub_snapshot(listing: _Listing) -> str | None:
    """The revision to open in a hub cache folder (`models--org--name`)."""
    if _REVISION not in listing.folders or "blobs" not in listing.folders:
        return None
    revisions = _list(listing.inner(_REVISION)).folders
    main = listing.inner(os.path.join("refs", "main"))
    if os.path.isfile(main):
        source = FileSource(main)
        wanted = read(source, 0, min(source.size(), 100)).decode("utf-8", "replace").strip()
        source.close()
        if wanted in revisions:
            return os.path.join(listing.path, _REVISION, wanted)
    if len(revisions) == 1:
        return os.path.join(listing.path, _REVISION, revisions[0])
    raise CannotOpen(
        "folder-ambiguous",
        f"the hub cache holds {len(revisions)} revisions, and refs/main names none of them",
        path=listing.path,
        advice="give the folder of one revision under snapshots/",
    )


@dataclass(slots=True)
class _Candidate:
    """Something in the folder that could be the checkpoint: a file, an index, or shards without one."""

    name: str
    members: list[str]
    """Files it consists of; one, unless it is shards without an index."""


def _candidates(listing: _Listing) -> list[_Candidate]:
    found: list[_Candidate] = []
    indexed: set[tuple[str, str]] = set()
    for name in listing.files:
        index = _INDEX_NAME.fullmatch(name)
        if index is not None:
            indexed.add((index["stem"], "." + index["suffix"]))
            found.append(_Candidate(name, [name]))
    series: dict[tuple[str, str, str], _Candidate] = {}
    for name in listing.files:
        shard = SHARD_NAME.fullmatch(name)
        if shard is not None and shard["suffix"] in _WEIGHT_SUFFIXES:
            if (_without_variant(shard["stem"]), shard["suffix"]) not in indexed:
                key = (shard["stem"], shard["count"], shard["suffix"])
                title = f"{shard['stem']}-*-of-{shard['count']}{shard['suffix']}"
                series.setdefault(key, _Candidate(title, [])).members.append(name)
        elif os.path.splitext(name)[1].lower() in _WEIGHT_SUFFIXES and not _is_side_file(name):
            found.append(_Candidate(name, [name]))
    return [*found, *series.values()]


def _without_variant(stem: str) -> str:
    """`model.fp16` is a variant of `model`: its index is `model.safetensors.index.fp16.json`."""
    return stem.split(".", 1)[0]


def _is_side_file(name: str) -> bool:
    return any(side.pattern.fullmatch(name) for side in _SIDE_FILES)


def _chosen(listing: _Listing, found: Sequence[_Candidate]) -> _Candidate | None:
    """The candidate that loaders take, or None when there is none.

    Raises:
        CannotOpen: several are equally good.
    """
    by_name = {candidate.name: candidate for candidate in found}
    for name in HUB_NAMES:
        if name in by_name:
            return by_name[name]
    if len(found) <= 1:
        return found[0] if found else None
    # The same weights are often kept twice, as safetensors and as a pickle.
    stems = {name.split(".", 1)[0] for name in by_name}
    safe = [candidate for candidate in found if ".safetensors" in candidate.name]
    if len(stems) == 1 and len(safe) == 1:
        return safe[0]
    raise CannotOpen(
        "folder-ambiguous",
        f"the folder holds {len(found)} checkpoints: {_some([candidate.name for candidate in found])}",
        path=listing.path,
        advice="give one of the files, or a quoted pattern whose matches are parts of one checkpoint",
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name, 60) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


# --- opening them ---


def _open_alone(path: str, context: OpenContext) -> Checkpoint:
    return open_file(FileSource(path), context)


def _weights(listing: _Listing, context: OpenContext) -> tuple[list[Part], list[Finding]]:
    """The model itself, and a remark on other copies of it."""
    found = _candidates(listing)
    chosen = _chosen(listing, found)
    if chosen is None:
        return _components(listing, context), []
    _refuse_link(listing, chosen.members, context)
    if len(chosen.members) > 1 or SHARD_NAME.fullmatch(chosen.members[0]):
        whole = _series(listing, chosen, context)
    else:
        whole = _open_alone(listing.inner(chosen.name), context)
        if leaves_folder(listing.path, listing.inner(chosen.name)):
            message = f"{chosen.name} is a link that leaves the folder, as in a hub cache"
            whole.findings = (*whole.findings, Finding("links-leave-folder", Severity.INFO, message))
    others = [candidate.name for candidate in found if candidate is not chosen]
    passed_over = []
    if others:
        message = f"{chosen.name} is shown; the folder also holds {_some(others)}"
        passed_over.append(Finding("folder-other-weights", Severity.INFO, message, listing.path))
    return [Part(whole, chosen.name)], passed_over


def _refuse_link(listing: _Listing, names: Iterable[str], context: OpenContext) -> None:
    for name in names:
        if not context.follow_links and leaves_folder(listing.path, listing.inner(name)):
            raise CannotOpen(
                "side-file-link",
                "the file is a link that leaves its folder, and links are not followed",
                path=listing.inner(name),
            )


def _series(listing: _Listing, chosen: _Candidate, context: OpenContext) -> Checkpoint:
    """Shards whose index is missing: complete if all numbers are there."""
    opener = PartsOpener(context)
    parts = _opened(opener, [(listing.inner(name), name) for name in chosen.members], listing.path)
    whole = _joined(parts, context, chosen.name)
    findings = [
        Finding(
            "shards-without-index",
            Severity.WARNING,
            f"{len(chosen.members)} shards and no index: nothing says which tensors should be there",
            listing.path,
        )
    ]
    findings += absent_shards(chosen.members, listing.path, context)
    whole.format = f"sharded {parts[0].checkpoint.format}"
    whole.findings = (*findings, *opener.finish(), *whole.findings)
    return whole


def absent_shards(names: Sequence[str], path: str, context: OpenContext) -> list[Finding]:
    """Numbers of a series that no file has."""
    matches = [match for match in map(SHARD_NAME.fullmatch, names) if match is not None]
    if not matches:
        return []
    count = int(matches[0]["count"])
    absent = sorted(
        set(range(1, min(count, context.limits.shards) + 1)) - {int(m["number"]) for m in matches}
    )
    if not absent:
        return []
    numbers = ", ".join(map(str, absent[:_SHOWN])) + (", …" if len(absent) > _SHOWN else "")
    message = f"{len(absent):,} of {count:,} shards are not there: number {numbers}"
    return [Finding("shard-missing", Severity.ERROR, message, path)]


def _opened(opener: PartsOpener, paths: Sequence[tuple[str, str]], folder: str) -> list[Part]:
    parts = []
    for path, label in paths:
        opener.context.deadline.check()
        checkpoint = opener.open(path, label, folder)
        if checkpoint is not None:
            parts.append(Part(checkpoint, label))
    if not parts:
        raise CannotOpen(
            "parts-unreadable",
            f"none of the {len(paths):,} parts can be read; the first: {opener.findings[0].message}",
            path=paths[0][0],
        )
    return parts


def _joined(parts: Sequence[Part], context: OpenContext, what: str | None = None) -> Checkpoint:
    formats = sorted({part.checkpoint.format for part in parts})
    whole = join(parts, context, " and ".join(formats))
    repeated = repeated_names(whole.parameters.names)
    if repeated:
        raise Malformed(
            "parts-repeat-tensors",
            f"{len(repeated):,} tensors are in several of the files ({_some(repeated[:2])}): "
            "they are not parts of one checkpoint",
            path=what or context.location,
            advice="open one of the files by itself",
        )
    columns = whole.parameters.base_columns
    if columns.optimizer_groups:
        columns.owners = assign_owners(columns, columns.optimizer_groups)
        whole.parameters = ParameterTable(columns)
    return whole


def _components(listing: _Listing, context: OpenContext) -> list[Part]:
    """Sub-folders that hold weights of their own, as in a diffusion pipeline (`model_index.json`)."""
    inner = [
        (name, sub)
        for name in listing.folders
        if _candidates(sub := _list(listing.inner(name)))
        and not any(_is_side_file(file) for file in sub.files)
    ]
    if inner and "model_index.json" in listing.files:
        parts = []
        for name, sub in inner:
            component = open_folder(sub.path, context)
            parts.append(Part(component, name, prefix=(name,), facts_under=name))
        first = parts[0].checkpoint
        first.findings = (
            *first.findings,
            *_absent_components(listing, {part.label for part in parts}, context),
        )
        return parts
    with_weights = [name for name in listing.folders if _candidates(_list(listing.inner(name)))]
    advice = f"open one of its folders: {_some(with_weights)}" if with_weights else None
    if listing.files and not with_weights:
        advice = f"it holds {_some(listing.files)}: if one of them is a model, give its name"
    raise CannotOpen("folder-empty", "the folder holds no checkpoint", path=listing.path, advice=advice)


def _absent_components(listing: _Listing, present: set[str], context: OpenContext) -> list[Finding]:
    """Components that `model_index.json` names and that have no weights here."""
    path = listing.inner("model_index.json")
    try:
        named = read_json_object(path, context.limits)
    except ParamInspectError:
        return []  # told where the settings are read
    findings = []
    for name, value in named.items():
        kind = value[1] if isinstance(value, list) and len(value) == 2 else None
        if name.startswith("_") or name in present or not isinstance(kind, str):
            continue
        if not _WITHOUT_WEIGHTS.search(f"{name} {kind}"):
            message = (
                f"the pipeline has a component {name} ({printable(kind, 60)}), and its weights are not here"
            )
            findings.append(Finding("component-missing", Severity.ERROR, message, path))
    return findings


def _side_parts(listing: _Listing, opener: PartsOpener) -> list[Part]:
    parts = []
    for name in listing.files:
        for side in _SIDE_FILES:
            if side.pattern.fullmatch(name) is None:
                continue
            if not opener.context.follow_links and leaves_folder(listing.path, listing.inner(name)):
                continue
            checkpoint = opener.open(listing.inner(name), name, listing.path)
            if checkpoint is not None:
                stem = name.split(".", 1)[0]
                parts.append(Part(checkpoint, name, (stem,), side.section, facts_under=stem))
    return parts


def _unread_state(listing: _Listing) -> list[Finding]:
    """Training state in layouts that this program does not read."""
    engines = [name for name in listing.folders if name.startswith(("global_step", "pytorch_model_fsdp"))]
    return [
        Finding(
            "folder-unread-state",
            Severity.INFO,
            f"the folder {name} holds training state of its own; open it by itself",
            listing.inner(name),
        )
        for name in engines
    ]
