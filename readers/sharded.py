"""An index file and its shards: opened together, and checked against each other."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from .entry import Checkpoint
from .errors import CannotOpen, LimitExceeded, Malformed
from .findings import Finding, Severity
from .joining import Part, PartsOpener, capped, join
from .registry import OpenContext
from .side_files import SHARD_NAME, read_json, resolve_side_file
from .source import ByteSource, read
from .table import ParameterTable
from .untrusted import printable

_KEY: Final = b'"weight_map"'
_JSON_START: Final = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*\{")

Pairs = tuple[tuple[str, object], ...]


def recognises(source: ByteSource, head: bytes) -> bool:
    """A JSON object with the key `weight_map`, which may stand behind all the metadata."""
    if _JSON_START.match(head) is None:
        return False
    if _KEY in head:
        return True
    step = 1 << 20
    return any(
        _KEY in read(source, start, min(step + len(_KEY), source.size() - start))
        for start in range(0, min(source.size(), 256 << 20), step)
    )


@dataclass(slots=True)
class ShardIndex:
    """What an index file says."""

    weight_map: dict[str, str]
    metadata: dict[str, object]
    findings: list[Finding] = field(default_factory=list)

    def shards(self) -> list[str]:
        """The files it names, in the order of their names."""
        return sorted(set(self.weight_map.values()))


def open_checkpoint(source: ByteSource, context: OpenContext) -> Checkpoint:
    """Open every shard that is there and compare names, places and sizes with the index."""
    if context.is_part:
        raise Malformed(
            "nested-index",
            "an index names this file, which is an index itself",
            path=source.name,
            advice="open the inner index by itself",
        )
    index = read_index(source, context)
    folder = os.path.dirname(source.name) or "."
    opener = PartsOpener(context, index.findings)
    parts = []
    for name in index.shards():
        context.deadline.check()
        path = resolve_side_file(folder, name, context, source)
        shard = opener.open(path, name, folder)
        if shard is not None:
            parts.append(Part(shard, name))
    if not parts and opener.missing:
        raise CannotOpen(
            "index-without-shards",
            f"none of the {len(opener.missing):,} files that the index names is there "
            f"({', '.join(printable(name, 80) for name in opener.missing[:2])}, …)",
            path=source.name,
            advice="download the shards into the folder of the index",
        )
    whole = join(parts, context, _format_name(parts))
    findings = [*opener.finish(), *_check(index, parts, opener.missing, source.name)]
    findings += _unnamed_shards(folder, index)
    whole.findings = (*findings, *whole.findings)
    _drop_repeated(whole, index, parts, source.name)
    if index.metadata:
        whole.metadata = {**whole.metadata, "index": index.metadata}
    return whole


def _format_name(parts: Sequence[Part]) -> str:
    formats = sorted({part.checkpoint.format for part in parts})
    return f"sharded {' and '.join(formats)}"


def read_index(source: ByteSource, context: OpenContext) -> ShardIndex:
    """The index, checked for its own faults.

    Raises:
        Malformed: it has no usable weight map.
        LimitExceeded: it is too large or names too many files.
    """
    content = read_json(source, context.limits, objects=tuple)
    fields = dict(content) if isinstance(content, tuple) else {}
    stored_map = fields.get("weight_map")
    if not isinstance(stored_map, tuple) or not stored_map:
        raise Malformed(
            "index-weight-map",
            "the index has no weight_map that says which file holds which tensor",
            path=source.name,
            offset=0,
            advice="fetch the index again",
        )
    index = ShardIndex({}, _plain_metadata(fields.get("metadata")))
    repeated = 0
    for name, file in stored_map:
        if not isinstance(file, str):
            cause = f"weight_map gives {printable(name)!r} a value that is no file name"
            raise Malformed("index-weight-map", cause, path=source.name, offset=0)
        repeated += name in index.weight_map
        index.weight_map[name] = file
    if repeated:
        message = f"{repeated:,} names stand twice in the index; the later entries count"
        index.findings.append(Finding("index-duplicate-name", Severity.WARNING, message, source.name))
    count = len(set(index.weight_map.values()))
    if count > context.limits.shards:
        raise LimitExceeded(
            "limit-shards",
            f"the index names {count:,} files, more than the budget of {context.limits.shards:,}",
            path=source.name,
            advice="raise it with --limit shards=N if you trust the file",
        )
    return index


def _plain_metadata(value: object) -> dict[str, object]:
    if not isinstance(value, tuple):
        return {}
    return {
        key: content for key, content in value if isinstance(content, (str, int, float)) or content is None
    }


# --- the index against the shards ---


def _check(index: ShardIndex, parts: Sequence[Part], missing: Sequence[str], path: str) -> list[Finding]:
    holders: dict[str, list[str]] = {}
    for part in parts:
        for name in part.checkpoint.parameters.names:
            holders.setdefault(name, []).append(part.label)
    read_shards = {part.label for part in parts}
    return [
        *_missing_shards(index, missing, path),
        *_misplaced(index, holders, read_shards, path),
        *_unlisted(index, holders, path),
        *_total_size(index, parts, read_shards, path),
    ]


def _missing_shards(index: ShardIndex, missing: Sequence[str], path: str) -> list[Finding]:
    counts: dict[str, int] = {}
    for file in index.weight_map.values():
        counts[file] = counts.get(file, 0) + 1
    found = [
        Finding(
            "shard-missing",
            Severity.ERROR,
            f"the shard {name} is not there; the index places {counts[name]:,} tensors in it",
            path,
        )
        for name in missing
    ]
    return capped(found, "shards are missing")


def _misplaced(
    index: ShardIndex, holders: Mapping[str, list[str]], read_shards: set[str], path: str
) -> list[Finding]:
    absent, wrong = [], []
    for name, file in index.weight_map.items():
        if file not in read_shards:
            continue  # told already, once for the whole shard
        actual = holders.get(name)
        if actual is None:
            message = f"the index places the tensor in {file}, but no shard holds it"
            absent.append(Finding("index-tensor-missing", Severity.ERROR, message, path, tensor=name))
        elif file not in actual:
            message = f"the index places the tensor in {file}, but it is in {', '.join(actual[:3])}"
            wrong.append(Finding("index-wrong-shard", Severity.ERROR, message, path, tensor=name))
    return [*capped(absent, "tensors are in no shard"), *capped(wrong, "tensors are in another shard")]


def _unlisted(index: ShardIndex, holders: Mapping[str, list[str]], path: str) -> list[Finding]:
    found = [
        Finding(
            "index-unlisted-tensor",
            Severity.WARNING,
            f"{files[0]} holds a tensor that the index does not name; loaders that go by the index skip it",
            path,
            tensor=name,
        )
        for name, files in holders.items()
        if name not in index.weight_map
    ]
    return capped(found, "tensors are not in the index")


def _total_size(index: ShardIndex, parts: Sequence[Part], read_shards: set[str], path: str) -> list[Finding]:
    claimed = index.metadata.get("total_size")
    if not set(index.shards()) <= read_shards or claimed is None:
        return []
    stored = sum(sum(part.checkpoint.parameters.nbytes) for part in parts)
    once = sum(part.checkpoint.parameters.totals().nbytes for part in parts)
    if claimed in (stored, once) or claimed in (str(stored), str(once)):
        return []
    message = f"the index says total_size {claimed!s}, but the tensors have {stored:,} bytes"
    return [Finding("index-total-size", Severity.WARNING, printable(message, 200), path)]


def _unnamed_shards(folder: str, index: ShardIndex) -> list[Finding]:
    """Files that look like shards of the same series, and that the index leaves out."""
    series = {
        (match["stem"], match["count"], match["suffix"])
        for match in map(SHARD_NAME.fullmatch, index.shards())
        if match is not None
    }
    named = set(index.shards())
    found = [
        Finding(
            "index-unlisted-shard",
            Severity.WARNING,
            "the index does not name this shard",
            os.path.join(folder, name),
        )
        for name in sorted(os.listdir(folder))
        if (match := SHARD_NAME.fullmatch(name)) is not None
        and (match["stem"], match["count"], match["suffix"]) in series
        and name not in named
    ]
    return capped(found, "shards are not in the index")


def _drop_repeated(whole: Checkpoint, index: ShardIndex, parts: Sequence[Part], path: str) -> None:
    """Of a tensor in several shards, count only the one that the index means."""
    labels = [part.label for part in parts]
    rows: dict[str, int] = {}
    repeated: dict[str, None] = {}
    files = whole.parameters.files
    for row, name in enumerate(whole.parameters.names):
        first = rows.setdefault(name, row)
        if first != row:
            repeated[name] = None
            if labels[files[row]] == index.weight_map.get(name):
                rows[name] = row
    if not repeated:
        return
    whole.parameters = ParameterTable(whole.parameters.base_columns, sorted(rows.values()))
    found = [
        Finding(
            "index-duplicate-tensor",
            Severity.ERROR,
            f"the tensor is in more than one shard; the one in {labels[files[rows[name]]]} is counted",
            path,
            tensor=name,
        )
        for name in repeated
    ]
    whole.findings = (*capped(found, "tensors are in several shards"), *whole.findings)
