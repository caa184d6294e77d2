"""The records of a torch zip archive: one pickle, and one member for each storage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from .dtypes import DType
from .errors import Ambiguous, Malformed
from .findings import Finding, Severity
from .pickle_machine import PickleBudget, PickleStream, read_pickle
from .pickled_tensors import PickledTensors
from .source import ByteSource
from .state_dict import Walked, Walker
from .tensor import ByteOrder
from .torch_storage import BadTensor, KnownStorages, Storage, StorageId, checked_id, storage_id
from .zip_archive import ZipArchive

_MAX_TEXT_RECORD: Final = 4096
"""Bytes of a small text record (version, byte order) that are read."""

_NAMES_TOLD: Final = 5


@dataclass(slots=True)
class TorchArchive:
    """A zip archive with torch's records under one folder."""

    archive: ZipArchive
    root: str
    """The folder inside the archive, with its trailing slash."""

    byteorder: ByteOrder
    findings: list[Finding] = field(default_factory=list)

    def text(self, record: str) -> str | None:
        """A small text record, or None where there is none."""
        member = self.archive.by_name.get(self.root + record)
        if member is None or member.size > _MAX_TEXT_RECORD:
            return None
        return self.archive.read_member(member, _MAX_TEXT_RECORD).decode("utf-8", "replace").strip()

    def pickle(self, record: str, budget: PickleBudget) -> tuple[PickleStream, ByteSource]:
        """Interpret one pickle record."""
        member = self.archive.by_name[self.root + record]
        self.archive.refuse_bomb(member)
        source = self.archive.open(member)
        return read_pickle(source, 0, budget, label=self.root + record), source

    def names(self) -> list[str]:
        """Records under the root, without the root."""
        start = len(self.root)
        return [name[start:] for name in self.archive.by_name if name.startswith(self.root)]


def torch_archive(archive: ZipArchive, source: ByteSource) -> TorchArchive:
    """Find torch's records as its own loader does: under the folder of the first member.

    Raises:
        Ambiguous, Malformed: there are two folders, or a record that every version writes is missing.
    """
    first = archive.members[0].name
    folder, slash, _ = first.partition("/")
    root = folder + slash
    if not slash or root + "data.pkl" not in archive.by_name:
        elsewhere = [name for name in archive.by_name if name.endswith("data.pkl")]
        raise Malformed(
            "torch-zip-root",
            f"torch looks for data.pkl in the folder of the first member ({first!r}), "
            f"and there it is not; found: {', '.join(elsewhere[:_NAMES_TOLD]) or 'none'}",
            path=source.name,
            advice="the archive was repacked; save it again with torch.save",
        )
    strangers = [name for name in archive.by_name if not name.startswith(root)]
    if any(name.endswith("/data.pkl") for name in strangers):
        raise Ambiguous(
            "torch-zip-two-roots",
            f"there is a checkpoint under {folder!r} and another under "
            f"{strangers[0].partition('/')[0]!r}: loaders would disagree on which to read",
            path=source.name,
        )
    if root + "version" not in archive.by_name and ".data/version" not in archive.by_name:
        raise Malformed(
            "torch-zip-version",
            "the record `version` is missing: torch refuses this archive",
            path=source.name,
            advice="the archive was repacked or cut; save it again with torch.save",
        )
    found = TorchArchive(archive, root, "little")
    found.byteorder = _byteorder(found, source)
    if strangers:
        found.findings.append(
            Finding(
                "torch-zip-extra-members",
                Severity.WARNING,
                f"{len(strangers)} members lie outside the checkpoint's folder: "
                + ", ".join(strangers[:_NAMES_TOLD]),
                source.name,
            )
        )
    return found


def _byteorder(found: TorchArchive, source: ByteSource) -> ByteOrder:
    text = found.text("byteorder")
    if text in (None, "little"):
        return "little"
    if text == "big":
        return "big"
    raise Malformed(
        "torch-zip-byteorder",
        f"the record `byteorder` says {text!r}; torch knows 'little' and 'big'",
        path=source.name,
    )


class ArchiveStorages:
    """Storages that are members of the archive: `data/<key>`."""

    def __init__(self, found: TorchArchive, folder: str) -> None:
        self._archive = found.archive
        self._prefix = f"{found.root}{folder}/"
        self._byteorder: ByteOrder = found.byteorder
        self._known = KnownStorages()
        self._checked: dict[int, tuple[object, DType, int]] = {}
        """Storage classes (kept alive) by their identity, with element type and bytes of an element."""

    def find(self, record: object) -> Storage:
        """The storage of a persistent id."""
        wanted, view = storage_id(record)
        if view is not None:
            raise BadTensor("storage-id", "its storage has view metadata, which a zip checkpoint never has")
        return self._find(wanted)

    def find_parts(self, storage_class: object, key: str, location: str, numel: int) -> Storage:
        """The storage of an id already taken apart."""
        known = self._known.by_key
        checked = self._checked.get(id(storage_class))
        if checked is not None and key not in known:
            _, dtype, unit = checked
            member = self._archive.by_name.get(self._prefix + key)
            nbytes = numel * unit
            if member is not None and member.size == nbytes:
                source = self._archive.open(member)
                storage = Storage(len(known), dtype, source, nbytes, self._byteorder)
                known[key] = ((dtype, key, location, numel), storage)
                return storage
        wanted = checked_id(storage_class, key, location, numel)
        if not wanted.dtype.is_packed:
            self._checked[id(storage_class)] = (storage_class, wanted.dtype, wanted.dtype.bits // 8)
        return self._find(wanted)

    def used_members(self) -> set[str]:
        """Names of the members that storages were found in."""
        return {self._prefix + key for key in self._known.by_key}

    def _find(self, wanted: StorageId) -> Storage:
        known = self._known.get(wanted)
        if known is not None:
            return known
        number, nbytes = len(self._known.by_key), wanted.nbytes
        member = self._archive.by_name.get(self._prefix + wanted.key)
        if member is None:
            fault = BadTensor("storage-missing", f"the archive has no member {self._prefix}{wanted.key}")
            return self._known.put(wanted, Storage.failing(number, wanted.dtype, nbytes, fault))
        if member.size != nbytes:
            fault = BadTensor(
                "storage-size-mismatch",
                f"its storage {wanted.key!r} should hold {nbytes:,} bytes, and the member holds "
                f"{member.size:,}",
            )
            return self._known.put(wanted, Storage.failing(number, wanted.dtype, nbytes, fault))
        source = self._archive.open(member)
        return self._known.put(wanted, Storage(number, wanted.dtype, source, nbytes, self._byteorder))


def walk_archive(found: TorchArchive, source: ByteSource, budget: PickleBudget) -> Walked:
    """Read `data.pkl` and list what it describes."""
    stream, pickle_source = found.pickle("data.pkl", budget)
    storages = ArchiveStorages(found, "data")
    walker = Walker(PickledTensors(storages, pickle_source), budget.deadline, source.name)
    walked = walker.walk(stream.root)
    walked.findings += found.findings
    used = storages.used_members()
    walked.findings += _unused_members(found, used, source)
    walked.findings += _unwritten_members(found, used, source)
    return walked


def _unused_members(found: TorchArchive, used: set[str], source: ByteSource) -> list[Finding]:
    prefix = found.root + "data/"
    unused = [name for name in found.archive.by_name if name not in used and name.startswith(prefix)]
    if not unused:
        return []
    size = sum(found.archive.by_name[name].size for name in unused)
    return [
        Finding(
            "storage-unreferenced",
            Severity.WARNING,
            f"{len(unused)} storages ({size:,} bytes) are stored and used by no tensor: "
            + ", ".join(unused[:_NAMES_TOLD]),
            source.name,
        )
    ]


def _unwritten_members(found: TorchArchive, used: set[str], source: ByteSource) -> list[Finding]:
    """torch.serialization.skip_data reserves room and leaves the checksum at zero."""
    unwritten = [
        name
        for name, member in found.archive.by_name.items()
        if name in used and member.crc == 0 and member.size > 0
    ]
    if not unwritten:
        return []
    return [
        Finding(
            "storage-never-written",
            Severity.WARNING,
            f"{len(unwritten)} storages were reserved and not written when the file was saved "
            "(torch.serialization.skip_data); their values are zero unless filled in later",
            source.name,
        )
    ]
