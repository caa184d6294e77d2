"""The layout that torch.save wrote before 1.6: five pickles in a row, then the storages.

A whole file may have it, and so does every storage inside a state dict that was saved with `pickle.dump`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import Final

from .errors import Malformed, Truncated
from .findings import Finding, Severity
from .pickle_machine import PickleBudget, PickleStream, read_pickle
from .pickle_nested import TORCH_MAGIC
from .record_graph import mapping_pairs, sequence_items
from .source import ByteSource, SpanSource, file_offset, read
from .torch_storage import BadTensor, KnownStorages, Storage, StorageId, checked_id, storage_id
from .units import format_bytes

MAGIC_OPCODE: Final = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""LONG1 with the magic number, and STOP."""

_PROTOCOL: Final = 1001
_LABELS: Final = ("magic number", "protocol", "system", "", "storage keys")
"""The five pickles; the one with the tensors has no name of its own."""


@dataclass(slots=True)
class LegacyStream:
    """What the five pickles say, and where the storages lie."""

    content: PickleStream
    storages: LegacyStorages
    end: int
    """Offset one past the last storage."""

    findings: list[Finding] = field(default_factory=list)
    system: dict[str, object] = field(default_factory=dict)


def starts_like_legacy(head: bytes) -> bool:
    """Whether the bytes begin with a pickle of the magic number."""
    return head[:1] == b"\x80" and MAGIC_OPCODE in head[:32]


def read_legacy(source: ByteSource, start: int, budget: PickleBudget) -> LegacyStream:
    """Interpret the five pickles at `start` and lay out the storages behind them.

    Raises:
        Malformed: the magic number is computed, or a pickle is not what torch writes there.
        Truncated: a storage reaches past the end.
    """
    streams: list[PickleStream] = []
    position = start
    for label in _LABELS:
        streams.append(read_pickle(source, position, budget, label=label))
        _check_first(streams, source)
        position = streams[-1].end
    return legacy_stream(source, streams)


def _check_first(streams: list[PickleStream], source: ByteSource) -> None:
    """The magic number, then the protocol."""
    root = streams[-1].root
    if len(streams) == 1 and (type(root) is not int or root != TORCH_MAGIC):
        code, cause = "torch-legacy-magic", "the magic number of this torch file is not a plain number"
    elif len(streams) == 2 and root != _PROTOCOL:
        code = "torch-legacy-protocol"
        cause = f"the legacy torch format has protocol {_PROTOCOL}; this file says something else"
    else:
        return
    raise Malformed(code, cause, path=source.name, offset=file_offset(source, streams[-1].start))


def legacy_stream(source: ByteSource, streams: list[PickleStream]) -> LegacyStream:
    """What five pickles say that have been interpreted already.

    Raises:
        Malformed, Truncated: as `read_legacy`.
    """
    for count in range(1, len(streams) + 1):
        _check_first(streams[:count], source)
    _, protocol, system, content, keys = streams
    storages = LegacyStorages(source, _declared(content))
    end = storages.lay_out(_storage_keys(keys, source), keys.end)
    legacy = LegacyStream(content, storages, end)
    legacy.system = {key: value for key, value in mapping_pairs(system.root) or () if isinstance(key, str)}
    if legacy.system.get("little_endian") is False:
        legacy.findings.append(
            Finding(
                "torch-legacy-big-endian",
                Severity.WARNING,
                "the file was written on a big-endian machine; torch stores tensors little-endian all the "
                "same, and they are read so",
                source.name,
                file_offset(source, protocol.end),
            )
        )
    return legacy


def _storage_keys(keys: PickleStream, source: ByteSource) -> list[str]:
    items = sequence_items(keys.root)
    if items is None or not all(isinstance(item, (str, int)) for item in items):
        raise Malformed(
            "torch-legacy-keys",
            "the list of storage keys behind the tensors is not a list of names",
            path=source.name,
            offset=file_offset(source, keys.start),
        )
    return [str(item) for item in items]


def _declared(content: PickleStream) -> dict[str, StorageId]:
    """Every storage the pickle refers to, by key; the first reference counts."""
    declared: dict[str, StorageId] = {}
    for record in content.persistent_ids:
        try:
            wanted, _ = storage_id(record)
        except BadTensor:
            continue
        declared.setdefault(wanted.key, wanted)
    return declared


class LegacyStorages:
    """Storages one behind the other, each after its element count."""

    def __init__(self, source: ByteSource, declared: dict[str, StorageId]) -> None:
        self._source = source
        self._declared = declared
        self._places: dict[str, tuple[int, int]] = {}
        self._known = KnownStorages()

    def lay_out(self, keys: list[str], start: int) -> int:
        """Find each storage's bytes; returns the offset behind the last."""
        position = start
        for key in keys:
            wanted = self._declared.get(key)
            if wanted is None:
                raise Malformed(
                    "torch-legacy-unknown-storage",
                    f"storage {key!r} is stored and used by no tensor, so its length cannot be told",
                    path=self._source.name,
                    offset=file_offset(self._source, position),
                )
            (numel,) = struct.unpack("<q", read(self._source, position, 8))
            unit = 1 if wanted.dtype.is_packed else wanted.dtype.bits // 8
            size = numel * unit
            missing = position + 8 + size - self._source.size()
            if numel < 0 or missing > 0:
                raise self._too_long(key, numel, missing, position)
            self._places[key] = (position + 8, size)
            position += 8 + size
        return position

    def _too_long(self, key: str, numel: int, missing: int, position: int) -> Malformed:
        offset = file_offset(self._source, position)
        if numel < 0:
            return Malformed(
                "torch-legacy-storage-size",
                f"storage {key!r} claims {numel:,} elements",
                path=self._source.name,
                offset=offset,
            )
        return Truncated(
            "truncated",
            f"storage {key!r} and those behind it are incomplete: at least {format_bytes(missing)} "
            f"({missing:,} bytes) are missing",
            path=self._source.name,
            offset=offset,
            advice="the file is incomplete: download or copy it again",
        )

    def find(self, record: object) -> Storage:
        """The storage of a persistent id, or the view of it that old files describe."""
        wanted, view = storage_id(record)
        storage = self._find(wanted)
        return storage if view is None else _viewed(storage, wanted, view)

    def find_parts(self, storage_class: object, key: str, location: str, numel: int) -> Storage:
        """The storage of an id already taken apart."""
        return self._find(checked_id(storage_class, key, location, numel))

    def _find(self, wanted: StorageId) -> Storage:
        known = self._known.get(wanted)
        if known is not None:
            return known
        number = len(self._known.by_key)
        place = self._places.get(wanted.key)
        if place is None:
            fault = BadTensor("storage-missing", f"its storage {wanted.key!r} is not in the file")
            return self._known.put(wanted, Storage.failing(number, wanted.dtype, wanted.nbytes, fault))
        offset, size = place
        if size != wanted.nbytes:
            fault = BadTensor(
                "storage-size-mismatch",
                f"its storage {wanted.key!r} should hold {wanted.nbytes:,} bytes, and {size:,} are stored",
            )
            return self._known.put(wanted, Storage.failing(number, wanted.dtype, wanted.nbytes, fault))
        window = SpanSource(self._source, offset, size)
        return self._known.put(wanted, Storage(number, wanted.dtype, window, size))


def _viewed(storage: Storage, wanted: StorageId, view: object) -> Storage:
    """`(view_key, offset, size)` in elements: a storage that is part of another."""
    if not isinstance(view, tuple) or len(view) != 3:
        raise BadTensor("storage-view", "the view of its storage is not one that torch writes")
    _, offset, size = view
    if type(offset) is not int or type(size) is not int or offset < 0 or size < 0:
        raise BadTensor("storage-view", "the view of its storage has no sensible offset and size")
    if offset + size > wanted.numel:
        raise BadTensor("storage-view", "the view of its storage reaches past the end of the storage")
    unit = wanted.dtype.bits // 8
    window = None
    if storage.source is not None:
        window = SpanSource(storage.source, offset * unit, size * unit)
    return replace(storage, source=window, nbytes=size * unit, start=storage.start + offset * unit)
