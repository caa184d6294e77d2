"""The central directory of a zip archive: found from the end, if all records agree, and read."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from .errors import Ambiguous, Malformed, Truncated, Unsupported
from .findings import Finding, Severity
from .source import ByteSource, file_offset, read
from .untrusted import text_from_bytes

_END: Final = struct.Struct("<4sHHHHIIH")
_END_MARK: Final = b"PK\x05\x06"
_WIDE_END: Final = struct.Struct("<4sQ4xIIQQQQ")
_WIDE_LOCATOR: Final = struct.Struct("<4sIQI")
_TAIL_BYTES: Final = _END.size + 0xFFFF
"""The end record with the longest comment; as much may follow it and be ignored by loaders."""

STORED: Final = 0
DEFLATED: Final = 8
_AES_METHOD: Final = 99

LOCAL_SIZE: Final = 30
"""Bytes of a local header without its name and extra field."""

_ENTRY: Final = struct.Struct("<4s4xHH4xIIIHHHH6xI")
"""Signature, flags, method, CRC, both sizes, lengths of name, extra field and comment, disk, offset."""
_LARGEST_ENTRY: Final = _ENTRY.size + 3 * 0xFFFF
"""With the longest name, extra field and comment."""

_ENCRYPTED_FLAGS: Final = 0x2041
"""Encrypted, strongly encrypted, masked local headers."""
_PATCHED_FLAG: Final = 0x0020
REFUSED_FLAGS: Final = _ENCRYPTED_FLAGS | _PATCHED_FLAG
_ALL_ONES: Final = 0xFFFFFFFF


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


class ZipMember:
    """One entry of the central directory."""

    __slots__ = ("compressed_size", "crc", "flags", "local_offset", "method", "name", "raw_name", "size")

    def __init__(
        self,
        raw_name: bytes,
        name: str,
        size: int,
        compressed_size: int,
        method: int,
        crc: int,
        local_offset: int,
        flags: int,
    ) -> None:
        self.raw_name = raw_name
        self.name = name
        """A label: it is never used as a path."""
        self.size = size
        self.compressed_size = compressed_size
        self.method = method
        self.crc = crc
        self.local_offset = local_offset
        self.flags = flags

    @property
    def least_end(self) -> int:
        """Where the member ends at the least: the local header's own extra field comes on top."""
        return self.local_offset + LOCAL_SIZE + len(self.raw_name) + self.compressed_size


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
        # 65,535 entries may well stand here: that is how many fit without ZIP64.
        if _ALL_ONES in (end.size, end.offset):
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
    """The last end record, which is the one loaders use, if no other could be meant."""
    last, *earlier = _end_records(source, tail, start)
    others = [end.position for end in earlier if end.end == source.size() or _is_adjacent(end)]
    if others:
        raise Ambiguous(
            "zip-two-ends",
            f"there are {len(others) + 1} end records "
            f"(at {', '.join(f'{position:,}' for position in (last.position, *others[:3]))}): "
            "loaders would read different archives",
            path=source.name,
            offset=file_offset(source, last.position),
        )
    if last.end > source.size():
        raise _incomplete(
            source,
            "zip-comment-short",
            f"the archive's comment ends {last.end - source.size():,} bytes too early",
        )
    # An end record of a zip inside a member, seen because the true one is missing, fits nowhere.
    fits = last.end == source.size() or _is_adjacent(last) or _wide_end_position(source, last) is not None
    if not fits and read(source, 0, 4) == b"PK\x03\x04":
        raise _incomplete(
            source, "zip-no-end", "the archive has no end record that fits it: its last part is missing"
        )
    return last


def _end_records(source: ByteSource, tail: bytes, start: int) -> list[_End]:
    """Whatever looks like an end record, the last one first.

    Loaders take the last signature with room for a record, whether or not its comment fits.
    """
    found: list[_End] = []
    place = tail.rfind(_END_MARK)
    while place >= 0:
        if place + _END.size <= len(tail):
            _, *fields = _END.unpack_from(tail, place)
            found.append(_End(start + place, *fields))
        place = tail.rfind(_END_MARK, 0, place)
    if not found:
        raise _incomplete(
            source,
            "zip-no-end",
            "the archive has no end record: its last part is missing, and nothing tells how much that is",
        )
    return found


def _is_adjacent(end: _End) -> bool:
    return end.offset + end.size == end.position


def _incomplete(source: ByteSource, code: str, cause: str) -> Truncated:
    return Truncated(
        code,
        cause,
        path=source.name,
        offset=file_offset(source, source.size()),
        advice="the file is incomplete: download or copy it again",
    )


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
        (end.disk, disk, 0xFFFF),
        (end.first_disk, first_disk, 0xFFFF),
        (end.entries_here, entries_here, 0xFFFF),
        (end.entries, entries, 0xFFFF),
        (end.size, size, _ALL_ONES),
        (end.offset, offset, _ALL_ONES),
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
    if directory.entries * _ENTRY.size > directory.size:
        raise _bad(
            source,
            border,
            "zip-entries",
            f"{directory.entries:,} entries cannot fit into a directory of {directory.size:,} bytes",
        )
    reached = directory.offset + directory.size
    if reached > border:
        cause = (
            f"{reached - border:,} bytes are missing before the end record: a part was lost, or the sizes lie"
        )
        raise _bad(source, border, "zip-directory-bounds", cause)
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
        seen = source.size() - end.position <= _END.size + (1 << 16)
        then = "loaders ignore them" if seen else "zipfile looks no further back and finds no archive"
        message = f"{extra:,} bytes follow the archive; {then}"
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


def read_members(source: ByteSource, directory: Directory) -> list[ZipMember]:
    """Every entry of the directory, in its order.

    Raises:
        Malformed: an entry is damaged, or there are more or fewer bytes than the entries need.
        Unsupported: encryption, patches, several disks, or a compression method other than deflate.
    """
    if directory.size > directory.entries * _LARGEST_ENTRY:
        cause = f"the directory claims {directory.size:,} bytes for {directory.entries:,} entries"
        raise _bad_entry(source, directory, 0, cause)
    raw = read(source, directory.offset, directory.size)
    members: list[ZipMember] = []
    position = 0
    unpack_from = _ENTRY.unpack_from
    for _ in range(directory.entries):
        if position + _ENTRY.size > len(raw):
            raise _bad_entry(source, directory, position, "the directory ends before its last entry")
        (
            signature,
            flags,
            method,
            crc,
            compressed,
            size,
            name_length,
            extra_length,
            comment_length,
            disk,
            offset,
        ) = unpack_from(raw, position)
        name_end = position + _ENTRY.size + name_length
        following = name_end + extra_length + comment_length
        if signature != b"PK\x01\x02" or following > len(raw):
            raise _bad_entry(source, directory, position, "an entry of the directory is damaged")
        if flags & REFUSED_FLAGS or method not in (STORED, DEFLATED) or disk not in (0, 0xFFFF):
            raise _unsupported(source, directory, position, flags, method)
        if _ALL_ONES in (compressed, size, offset):
            extra = raw[name_end : name_end + extra_length]
            size, compressed, offset = _wide_fields(
                extra, size, compressed, offset, source, directory, position
            )
        if method == STORED and compressed != size:
            raise _bad_entry(source, directory, position, "a stored member has two different sizes")
        raw_name = raw[position + _ENTRY.size : name_end]
        name = raw_name.decode("ascii") if raw_name.isascii() else text_from_bytes(raw_name)
        members.append(ZipMember(raw_name, name, size, compressed, method, crc, offset, flags))
        position = following
    if position != len(raw):
        raise _bad_entry(source, directory, position, "the directory is longer than its entries")
    return members


def _wide_fields(
    extra: bytes,
    size: int,
    compressed: int,
    offset: int,
    source: ByteSource,
    directory: Directory,
    position: int,
) -> tuple[int, int, int]:
    """ZIP64: each field that is all ones stands, in this order, in the extra field with id 1."""
    wide = iter(wide_values(extra))
    try:
        return (
            next(wide) if size == _ALL_ONES else size,
            next(wide) if compressed == _ALL_ONES else compressed,
            next(wide) if offset == _ALL_ONES else offset,
        )
    except StopIteration:
        raise _bad_entry(source, directory, position, "an entry's ZIP64 sizes are missing") from None


def wide_values(extra: bytes) -> tuple[int, ...]:
    """What the ZIP64 block of an extra field holds; nothing where there is none."""
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, place)
        if kind == 1:
            body = extra[place + 4 : place + 4 + length]
            return struct.unpack(f"<{len(body) // 8}Q", body[: len(body) // 8 * 8])
        place += 4 + length
    return ()


def _bad_entry(source: ByteSource, directory: Directory, position: int, cause: str) -> Malformed:
    return Malformed(
        "zip-directory", cause, path=source.name, offset=file_offset(source, directory.offset + position)
    )


def _unsupported(
    source: ByteSource, directory: Directory, position: int, flags: int, method: int
) -> Unsupported:
    offset = file_offset(source, directory.offset + position)
    if flags & _ENCRYPTED_FLAGS or method == _AES_METHOD:
        return Unsupported(
            "zip-encrypted", "the archive is encrypted", path=source.name, offset=offset,
            advice="decrypt it first",
        )  # fmt: skip
    if flags & _PATCHED_FLAG:
        return Unsupported(
            "zip-patch", "a member is a patch of another file", path=source.name, offset=offset
        )
    if method not in (STORED, DEFLATED):
        return Unsupported(
            "zip-method",
            f"a member is compressed with method {method}; checkpoints are stored or deflated",
            path=source.name,
            offset=offset,
        )
    return Unsupported(
        "zip-disks", "the archive is split over several disks", path=source.name, offset=offset
    )
