"""Where the central directory of a zip archive lies: found from the end, if all records agree."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from .errors import Ambiguous, Malformed, Truncated, Unsupported
from .findings import Finding, Severity
from .source import ByteSource, file_offset, read

_END: Final = struct.Struct("<4sHHHHIIH")
_END_MARK: Final = b"PK\x05\x06"
_WIDE_END: Final = struct.Struct("<4sQ4xIIQQQQ")
_WIDE_LOCATOR: Final = struct.Struct("<4sIQI")
_TAIL_BYTES: Final = _END.size + 0xFFFF
"""The end record with the longest comment; as much may follow it and be ignored by loaders."""

_LEAST_ENTRY: Final = 46


@dataclass(frozen=True, slots=True)
class Directory:
    """The central directory of one archive."""

    offset: int
    size: int
    """Bytes."""

    entries: int
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class _End:
    """An end record."""

    position: int
    disk: int
    first_disk: int
    entries_here: int
    entries: int
    size: int
    offset: int
    comment_length: int

    @property
    def end(self) -> int:
        return self.position + _END.size + self.comment_length


def find_directory(source: ByteSource) -> Directory:
    """Find the one central directory that every loader would use.

    Raises:
        Truncated: no end record: the archive is incomplete.
        Ambiguous: several, or bytes between or before the parts that belong to no member.
        Malformed, Unsupported: the records contradict each other, or speak of several disks.
    """
    start = max(0, source.size() - _TAIL_BYTES - _END.size)
    tail = read(source, start, source.size() - start)
    end = _only_end(source, tail, start)
    wide_position = _wide_end_position(source, end)
    if wide_position is None:
        if 0xFFFF in (end.disk, end.entries) or 0xFFFFFFFF in (end.size, end.offset):
            raise _bad(source, end.position, "zip64-missing", "sizes are in ZIP64 records that are not there")
        directory = Directory(end.offset, end.size, end.entries)
        border, disks = end.position, (end.disk, end.first_disk, end.entries - end.entries_here)
    else:
        directory, disks = _wide_directory(source, wide_position, end)
        border = wide_position
    if any(disks):
        raise Unsupported(
            "zip-disks", "the archive is split over several disks", path=source.name,
            offset=file_offset(source, end.position),
        )  # fmt: skip
    _check_borders(source, directory, border)
    return Directory(directory.offset, directory.size, directory.entries, _trailing(source, end))


def _only_end(source: ByteSource, tail: bytes, start: int) -> _End:
    candidates: list[_End] = []
    place = tail.rfind(_END_MARK)
    while place >= 0:
        if place + _END.size <= len(tail):
            _, *fields = _END.unpack_from(tail, place)
            end = _End(start + place, *fields)
            if end.end <= source.size():
                candidates.append(end)
        place = tail.rfind(_END_MARK, 0, place)
    if not candidates:
        raise Truncated(
            "zip-no-end",
            "the archive has no end record: its last part is missing, and nothing tells how much that is",
            path=source.name,
            offset=file_offset(source, source.size()),
            advice="the file is incomplete: download or copy it again",
        )
    # The last one is what torch finds; others that make sense too mean that loaders may differ.
    sensible = [
        end for end in candidates if end.end == source.size() or end.offset + end.size == end.position
    ]
    if len(sensible) > 1:
        raise Ambiguous(
            "zip-two-ends",
            f"there are {len(sensible)} end records "
            f"(at {', '.join(f'{end.position:,}' for end in sensible[:4])}): "
            "loaders would read different archives",
            path=source.name,
            offset=file_offset(source, sensible[0].position),
        )
    return sensible[0] if sensible else candidates[0]


def _wide_end_position(source: ByteSource, end: _End) -> int | None:
    """Where the ZIP64 end record lies, by its locator just before the end record."""
    place = end.position - _WIDE_LOCATOR.size
    if place < 0:
        return None
    signature, disk, position, disks = _WIDE_LOCATOR.unpack(read(source, place, _WIDE_LOCATOR.size))
    if signature != b"PK\x06\x07":
        return None
    if disk != 0 or disks > 1 or position + _WIDE_END.size > place:
        raise _bad(source, place, "zip64-locator", "the ZIP64 locator points to no place in the archive")
    return int(position)


def _wide_directory(source: ByteSource, position: int, end: _End) -> tuple[Directory, tuple[int, int, int]]:
    fields = _WIDE_END.unpack(read(source, position, _WIDE_END.size))
    signature, record_size, disk, first_disk, entries_here, entries, size, offset = fields
    locator = end.position - _WIDE_LOCATOR.size
    if signature != b"PK\x06\x06" or position + 12 + record_size != locator:
        raise _bad(source, position, "zip64-end", "the ZIP64 end record is not where the locator says")
    for narrow, wide, ones in (
        (end.entries, entries, 0xFFFF),
        (end.size, size, 0xFFFFFFFF),
        (end.offset, offset, 0xFFFFFFFF),
    ):
        if narrow not in (wide, ones):
            raise Ambiguous(
                "zip64-disagrees",
                "the two end records give different directories: loaders would read different archives",
                path=source.name,
                offset=file_offset(source, position),
            )
    return Directory(offset, size, entries), (disk, first_disk, entries - entries_here)


def _check_borders(source: ByteSource, directory: Directory, border: int) -> None:
    if directory.entries * _LEAST_ENTRY > directory.size:
        raise _bad(
            source,
            border,
            "zip-entries",
            f"{directory.entries:,} entries cannot fit into a directory of {directory.size:,} bytes",
        )
    reached = directory.offset + directory.size
    if reached > border:
        raise _bad(source, border, "zip-directory-bounds", "the directory reaches past its end record")
    if reached < border:
        raise Ambiguous(
            "zip-prefix",
            f"{border - reached:,} bytes belong to no member: the archive has something before it, or two "
            "archives were put together; torch and zipfile would read different members",
            path=source.name,
            offset=file_offset(source, reached),
        )


def _trailing(source: ByteSource, end: _End) -> tuple[Finding, ...]:
    extra = source.size() - end.end
    found = []
    if extra:
        message = f"{extra:,} bytes follow the archive; loaders ignore them"
        found.append(
            Finding("trailing-bytes", Severity.WARNING, message, source.name, file_offset(source, end.end))
        )
    if end.comment_length:
        message = f"the archive carries a comment of {end.comment_length:,} bytes"
        found.append(
            Finding("zip-comment", Severity.INFO, message, source.name, file_offset(source, end.position))
        )
    return tuple(found)


def _bad(source: ByteSource, position: int, code: str, cause: str) -> Malformed:
    return Malformed(code, cause, path=source.name, offset=file_offset(source, position))
