"""The tar format that torch.save wrote before 0.1.10: four members, walked by hand, never extracted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .entry import Checkpoint
from .errors import Malformed, Truncated
from .findings import Finding, Severity
from .numpy_pickle import is_array, rebuild_array
from .pickle_account import accounting, report_pickles
from .pickle_machine import PickleBudget, read_pickle
from .record_graph import sequence_items
from .records import PersistentId, TensorCall
from .registry import OpenContext
from .source import ByteSource, SpanSource, file_offset, out_of_bounds, read
from .state_dict import Walker
from .table import ParameterTable
from .tensor import contiguous_strides
from .torch_rebuild import Rebuilt, strided_view
from .torch_storage import BadTensor, Storage
from .torch_types import storage_dtype

_BLOCK: Final = 512
_MEMBERS: Final = frozenset({"sys_info", "pickle", "storages", "tensors"})
_MAX_MEMBERS: Final = 1_000
_MAX_DIMENSIONS: Final = 64


@dataclass(frozen=True, slots=True)
class TarMember:
    """One header of a tar archive."""

    name: str
    offset: int
    """First byte of the content in the archive."""

    size: int
    kind: bytes


def recognises(source: ByteSource, head: bytes) -> bool:
    """A tar header with a right checksum, and torch's members behind it."""
    if len(head) < _BLOCK or not _checksum_holds(head[:_BLOCK]):
        return False
    return bool(_MEMBERS & {member.name for member in _members_until_fault(source)})


def open_checkpoint(source: ByteSource, context: OpenContext) -> Checkpoint:
    """Read the tables of storages and tensors, then the pickle that refers to them."""
    members = {member.name: member for member in tar_members(source)}
    missing = sorted({"storages", "tensors", "pickle"} - set(members))
    if missing:
        raise Malformed(
            "torch-tar-members",
            f"the archive has no member {' and no '.join(missing)}; torch's tar format needs it",
            path=source.name,
        )
    budget = PickleBudget(context.limits, context.deadline)
    with accounting(budget):
        tables = TarTables(budget)
        tables.read_storages(_window(source, members["storages"]))
        tables.read_tensors(_window(source, members["tensors"]))
        window = _window(source, members["pickle"])
        stream = read_pickle(window, 0, budget, label="pickle")
        walked = Walker(TarTensors(tables, window), context.deadline, source.name).walk(stream.root)
    imports, findings = report_pickles(budget, source.name)
    strangers = sorted(set(members) - _MEMBERS)
    if strangers:
        findings.append(
            Finding(
                "torch-tar-extra-members",
                Severity.WARNING,
                f"the archive holds members that torch does not write: {', '.join(strangers[:5])}",
                source.name,
            )
        )
    return Checkpoint(
        context.location,
        "torch tar",
        ParameterTable(walked.columns),
        metadata=walked.metadata,
        hyperparameters=walked.hyperparameters,
        progress=walked.progress,
        findings=(*walked.findings, *findings),
        imports=tuple(imports),
    )


def _window(source: ByteSource, member: TarMember) -> ByteSource:
    if member.kind not in (b"0", b"\0"):
        raise Malformed(
            "torch-tar-member-kind",
            f"member {member.name!r} is not a regular file",
            path=source.name,
            offset=member.offset - _BLOCK,
        )
    return SpanSource(source, member.offset, member.size)


def _members_until_fault(source: ByteSource) -> Iterator[TarMember]:
    try:
        yield from tar_members(source)
    except Malformed:
        return


def tar_members(source: ByteSource) -> Iterator[TarMember]:
    """The headers of a tar archive, in order, up to its end mark.

    Raises:
        Malformed: a checksum or a size is wrong, or a member reaches past the end.
    """
    position = 0
    for _ in range(_MAX_MEMBERS):
        if position + _BLOCK > source.size():
            return
        header = read(source, position, _BLOCK)
        if not any(header):
            return
        if not _checksum_holds(header):
            raise Malformed(
                "tar-checksum",
                "a member header of the tar archive is damaged",
                path=source.name,
                offset=file_offset(source, position),
            )
        size = _octal(header[124:136], source, position)
        begin = position + _BLOCK
        if begin + size > source.size():
            raise out_of_bounds(source, begin, size)
        name = header[:100].split(b"\0", 1)[0].decode("utf-8", "surrogateescape").removeprefix("./")
        yield TarMember(name, begin, size, header[156:157])
        position = begin + (size + _BLOCK - 1) // _BLOCK * _BLOCK
    raise Malformed(
        "tar-members", f"the tar archive has more than {_MAX_MEMBERS:,} members", path=source.name
    )


def _checksum_holds(header: bytes) -> bool:
    text = header[148:156].strip(b" \0")
    if not text or text.strip(b"01234567"):
        return False
    return int(text, 8) == sum(header[:148]) + 8 * ord(" ") + sum(header[156:])


def _octal(text: bytes, source: ByteSource, position: int) -> int:
    digits = text.strip(b" \0")
    if digits.strip(b"01234567"):
        raise Malformed(
            "tar-size",
            "the size of a member of the tar archive is not an octal number",
            path=source.name,
            offset=file_offset(source, position + 124),
        )
    return int(digits or b"0", 8)


class TarTables:
    """The storages and tensors of a tar checkpoint, by their keys."""

    def __init__(self, budget: PickleBudget) -> None:
        self._budget = budget
        self.storages: dict[str, Storage] = {}
        self.tensors: dict[str, Rebuilt] = {}

    def read_storages(self, source: ByteSource) -> None:
        """A count; for each storage a pickle `(key, location, class)`, its element count and bytes; then
        the list of views `(target, root, offset, numel)`.
        """
        stream = read_pickle(source, 0, self._budget, label="storages")
        position = stream.end
        for _ in range(_count(stream.root, source, 0)):
            stream = read_pickle(source, position, self._budget, label="storages")
            key, _, storage_class = _fields(stream.root, 3, source, position)
            dtype = storage_dtype(storage_class)
            if dtype is None:
                raise _bad_table(
                    "torch-tar-storage-class", "a storage has no class of torch", source, position
                )
            (numel,) = struct.unpack("<q", read(source, stream.end, 8))
            size = numel * (1 if dtype.is_packed else dtype.bits // 8)
            begin = stream.end + 8
            if numel < 0 or begin + size > source.size():
                raise Truncated(
                    "truncated",
                    f"storage {_text(key)!r} claims {numel:,} elements, more than the file holds",
                    path=source.name,
                    offset=file_offset(source, stream.end),
                )
            number = len(self.storages)
            self.storages[_text(key)] = Storage(number, dtype, SpanSource(source, begin, size), size)
            position = begin + size
        self._read_views(source, position)

    def _read_views(self, source: ByteSource, position: int) -> None:
        stream = read_pickle(source, position, self._budget, label="storages")
        for view in sequence_items(stream.root) or ():
            target, root, offset, numel = _fields(view, 4, source, position)
            base = self.storages.get(_text(root))
            if base is None or type(offset) is not int or type(numel) is not int or offset < 0 or numel < 0:
                raise _bad_table("torch-tar-view", "a storage view refers to nothing", source, position)
            unit = base.dtype.bits // 8
            if base.source is None or (offset + numel) * unit > base.nbytes:
                raise _bad_table(
                    "torch-tar-view", "a storage view reaches past its storage", source, position
                )
            window = SpanSource(base.source, offset * unit, numel * unit)
            self.storages[_text(target)] = Storage(
                base.number, base.dtype, window, numel * unit, start=base.start + offset * unit
            )

    def read_tensors(self, source: ByteSource) -> None:
        """A count; for each tensor a pickle `(key, storage, class)`, then its dimensions, strides and
        offset as binary numbers.
        """
        stream = read_pickle(source, 0, self._budget, label="tensors")
        position = stream.end
        for _ in range(_count(stream.root, source, 0)):
            stream = read_pickle(source, position, self._budget, label="tensors")
            key, storage_key, _ = _fields(stream.root, 3, source, position)
            (dimensions,) = struct.unpack("<i", read(source, stream.end, 4))
            if not 0 <= dimensions <= _MAX_DIMENSIONS:
                raise _bad_table(
                    "torch-tar-dimensions", f"a tensor claims {dimensions} dimensions", source, stream.end
                )
            # Four bytes are skipped: the writer once took the count for eight bytes wide.
            numbers = struct.unpack(
                f"<{2 * dimensions + 1}q", read(source, stream.end + 8, 8 * (2 * dimensions + 1))
            )
            position = stream.end + 8 + 8 * (2 * dimensions + 1)
            storage = self.storages.get(_text(storage_key))
            if storage is None:
                raise _bad_table("torch-tar-tensor", "a tensor refers to no storage", source, stream.start)
            shape, strides = numbers[:dimensions], numbers[dimensions:-1]
            self.tensors[_text(key)] = strided_view(
                storage, storage.dtype, numbers[-1], shape, strides or contiguous_strides(shape), None
            )


class TarTensors:
    """The walker's view of a tar checkpoint: tensors are persistent ids."""

    def __init__(self, tables: TarTables, source: ByteSource) -> None:
        self._tables = tables
        self._source = source

    def is_tensor(self, record: object) -> bool:
        """A reference to an entry of the tensor table, or a numpy array."""
        if isinstance(record, PersistentId):
            return _text(record.value) in self._tables.tensors
        return is_array(record)

    def plan(self, call: TensorCall) -> None:  # noqa: ARG002 - records of this form have no place here
        """Nothing is planned: tensors come from the table."""
        return

    def rebuild(self, record: object) -> Rebuilt:
        """The tensor a reference stands for."""
        if isinstance(record, PersistentId):
            found = self._tables.tensors.get(_text(record.value))
            if found is None:
                raise BadTensor("torch-tar-tensor", "it is not in the table of tensors")
            return found
        return rebuild_array(record, self._source)


def _text(key: object) -> str:
    """Keys are numbers in the tables and may be text in the pickle."""
    return str(key) if isinstance(key, int) else key if isinstance(key, str) else ""


def _count(root: object, source: ByteSource, position: int) -> int:
    # Every entry takes at least its 8-byte count, so the file's length bounds them.
    if type(root) is not int or not 0 <= root <= source.size() // 8:
        raise _bad_table(
            "torch-tar-count", "the number of entries is not one the file can hold", source, position
        )
    return root


def _fields(record: object, count: int, source: ByteSource, position: int) -> list[object]:
    items = sequence_items(record)
    if items is None or len(items) != count:
        raise _bad_table("torch-tar-entry", f"an entry does not have {count} fields", source, position)
    return items


def _bad_table(code: str, cause: str, source: ByteSource, position: int) -> Malformed:
    return Malformed(code, cause, path=source.name, offset=file_offset(source, position))
