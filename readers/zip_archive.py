"""Zip archives read by hand: the central directory is believed, whatever could be read two ways refused.

torch's reader and Python's `zipfile` disagree on duplicates, prefixes, checksums and local headers; here an
archive has one reading or none. Layout: APPNOTE.TXT 6.3.10 (PKWARE), sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from .errors import Ambiguous, LimitExceeded, Malformed, Unsupported
from .findings import Finding, Severity
from .limits import Limits
from .source import ByteSource, InflatedSource, SpanSource, file_offset, out_of_bounds, read
from .untrusted import text_from_bytes
from .zip_directory import Directory, find_directory

STORED: Final = 0
DEFLATED: Final = 8

_ENTRY: Final = struct.Struct("<4s4xHH4xIIIHHHH6xI")
"""Signature, flags, method, CRC, both sizes, lengths of name, extra field and comment, disk, offset."""
_ENTRY_SIZE: Final = 46
_LOCAL: Final = struct.Struct("<4s2xHH4xIIIHH")
_LOCAL_SIZE: Final = 30
_ENCRYPTED_FLAGS: Final = 0x2041
"""Encrypted, strongly encrypted, masked local headers."""
_PATCHED_FLAG: Final = 0x0020
_ALL_ONES: Final = 0xFFFFFFFF
_CRC_STEP: Final = 1 << 20


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
        return self.local_offset + _LOCAL_SIZE + len(self.raw_name) + self.compressed_size


class ZipArchive:
    """Members of an archive, and how to get their bytes."""

    def __init__(
        self, source: ByteSource, members: list[ZipMember], directory: Directory, limits: Limits
    ) -> None:
        self.source = source
        self.members = members
        """In the order of the central directory."""
        self.by_name = {member.name: member for member in members}
        self.findings: list[Finding] = list(directory.findings)
        self._limits = limits
        self._offsets = sorted(member.local_offset for member in members)
        self._directory_offset = directory.offset

    def open(self, member: ZipMember) -> ByteSource:
        """The member's bytes; its local header is read and checked at the first access."""
        return _MemberSource(self, member)

    def read_member(self, member: ZipMember, max_bytes: int | None = None) -> bytes:
        """A whole member, for headers and small texts.

        Raises:
            LimitExceeded: it is larger than `max_bytes` (default: the budget `inflated_bytes`).
        """
        limit = self._limits.inflated_bytes if max_bytes is None else max_bytes
        if member.size > limit:
            raise LimitExceeded(
                "limit-inflated-bytes",
                f"member {member.name!r} has {member.size:,} bytes, more than the budget of {limit:,}",
                path=self.source.name,
                offset=file_offset(self.source, member.local_offset),
                advice="raise it with --limit inflated_bytes=N if you trust the file",
            )
        return read(self.open(member), 0, member.size)

    def content(self, member: ZipMember) -> ByteSource:
        """The member's bytes, with its local header read now.

        Raises:
            Malformed: the local header is not where the directory says, or its data reach into what
                follows.
        """
        span = SpanSource(self.source, self._data_offset(member), member.compressed_size)
        if member.method == STORED:
            return span
        return InflatedSource(span, member.size, self._limits.inflate_ratio)

    def check_local_header(self, member: ZipMember) -> list[Finding]:
        """What the local header says differently; loaders believe the central directory."""
        header = self._local_header(member)
        _, flags, method, crc, compressed, size, name_length, _ = header
        name = read(self.source, member.local_offset + _LOCAL_SIZE, name_length)
        told = []
        if name != member.raw_name:
            told.append(f"its name is {text_from_bytes(name)!r}")
        if (flags ^ member.flags) & (_ENCRYPTED_FLAGS | _PATCHED_FLAG):
            told.append("its flags claim encryption")
        if method != member.method:
            told.append(f"its compression method is {method}")
        # Sizes of zero with flag bit 3 stand in a descriptor behind the data; all ones, in an extra field.
        for what, local, central in (
            ("size", size, member.size),
            ("compressed size", compressed, member.compressed_size),
            ("checksum", crc, member.crc),
        ):
            if local not in (0, _ALL_ONES, central):
                told.append(f"its {what} is {local:,}")
        if not told:
            return []
        return [
            Finding(
                "zip-local-header",
                Severity.WARNING,
                f"the local header of member {member.name!r} disagrees with the directory: {', '.join(told)}",
                self.source.name,
                file_offset(self.source, member.local_offset),
            )
        ]

    def check_crc(self, member: ZipMember) -> Finding | None:
        """Read the whole member and compare its checksum; torch does not, so a mismatch is a finding."""
        content = self.content(member)
        buffer = bytearray(min(_CRC_STEP, max(1, member.size)))
        crc = position = 0
        while position < member.size:
            count = min(len(buffer), member.size - position)
            view = memoryview(buffer)[:count]
            content.pread_into(position, view)
            crc = zlib.crc32(view, crc)
            position += count
        if crc == member.crc:
            return None
        return Finding(
            "zip-crc",
            Severity.WARNING,
            f"the checksum of member {member.name!r} is {crc:08x}, and {member.crc:08x} is recorded: "
            "its bytes were changed after it was written",
            self.source.name,
            file_offset(self.source, member.local_offset),
        )

    def _local_header(self, member: ZipMember) -> tuple[bytes, int, int, int, int, int, int, int]:
        header: tuple[bytes, int, int, int, int, int, int, int] = _LOCAL.unpack(
            read(self.source, member.local_offset, _LOCAL_SIZE)
        )
        if header[0] != b"PK\x03\x04":
            raise Malformed(
                "zip-local-signature",
                f"the directory says that member {member.name!r} begins here, and nothing does",
                path=self.source.name,
                offset=file_offset(self.source, member.local_offset),
            )
        return header

    def _data_offset(self, member: ZipMember) -> int:
        *_, name_length, extra_length = self._local_header(member)
        begin = member.local_offset + _LOCAL_SIZE + name_length + extra_length
        place = bisect_right(self._offsets, member.local_offset)
        limit = self._offsets[place] if place < len(self._offsets) else self._directory_offset
        if begin + member.compressed_size > limit:
            raise Malformed(
                "zip-overlap",
                f"the data of member {member.name!r} reach into what follows it",
                path=self.source.name,
                offset=file_offset(self.source, member.local_offset),
            )
        return begin


class _MemberSource:
    """A member's bytes, found when they are first asked for."""

    __slots__ = ("_archive", "_content", "_member")

    def __init__(self, archive: ZipArchive, member: ZipMember) -> None:
        self._archive = archive
        self._member = member
        self._content: ByteSource | None = None

    @property
    def name(self) -> str:
        """The archive's file."""
        return self._archive.source.name

    @property
    def base(self) -> int | None:
        """Where the bytes begin in the file, once that is known; None for compressed ones."""
        return None if self._content is None else self._content.base

    def size(self) -> int:
        """Bytes, as the directory says."""
        return self._member.size

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the whole `buffer` from `offset`."""
        if offset < 0 or offset + buffer.nbytes > self._member.size:
            raise out_of_bounds(self, offset, buffer.nbytes)
        content = self._content
        if content is None:
            # Two threads may both look the header up; either result serves.
            content = self._content = self._archive.content(self._member)
        content.pread_into(offset, buffer)


def open_archive(source: ByteSource, limits: Limits) -> ZipArchive:
    """Read the central directory of an archive that has one reading.

    Raises:
        Truncated: there is no end record: the archive is incomplete.
        Malformed: the directory contradicts itself, or members overlap.
        Ambiguous: loaders would find different members.
        Unsupported: encryption, patches, several disks, or a compression method other than deflate.
    """
    directory = find_directory(source)
    members = _members(source, directory)
    _refuse_duplicates(source, members, directory)
    _refuse_overlaps(source, members, directory)
    archive = ZipArchive(source, members, directory, limits)
    odd = [member.name for member in members if _is_odd(member.name)]
    if odd:
        archive.findings.append(
            Finding(
                "zip-odd-names",
                Severity.WARNING,
                f"{len(odd)} members have names that would leave the folder if they were unpacked: "
                f"{', '.join(map(repr, odd[:3]))}; nothing is unpacked here",
                source.name,
            )
        )
    return archive


def _members(source: ByteSource, directory: Directory) -> list[ZipMember]:
    raw = read(source, directory.offset, directory.size)
    members: list[ZipMember] = []
    position = 0
    unpack_from = _ENTRY.unpack_from
    for _ in range(directory.entries):
        if position + _ENTRY_SIZE > len(raw):
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
        name_end = position + _ENTRY_SIZE + name_length
        following = name_end + extra_length + comment_length
        if signature != b"PK\x01\x02" or following > len(raw):
            raise _bad_entry(source, directory, position, "an entry of the directory is damaged")
        if flags & 0x2061 or method not in (STORED, DEFLATED) or disk not in (0, 0xFFFF):
            raise _unsupported(source, directory, position, flags, method)
        if _ALL_ONES in (compressed, size, offset):
            extra = raw[name_end : name_end + extra_length]
            size, compressed, offset = _wide_fields(
                extra, size, compressed, offset, source, directory, position
            )
        if method == STORED and compressed != size:
            raise _bad_entry(source, directory, position, "a stored member has two different sizes")
        raw_name = raw[position + _ENTRY_SIZE : name_end]
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
    values: Iterable[int] = ()
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, place)
        if kind == 1:
            body = extra[place + 4 : place + 4 + length]
            values = struct.unpack(f"<{len(body) // 8}Q", body[: len(body) // 8 * 8])
            break
        place += 4 + length
    wide = iter(values)
    try:
        return (
            next(wide) if size == _ALL_ONES else size,
            next(wide) if compressed == _ALL_ONES else compressed,
            next(wide) if offset == _ALL_ONES else offset,
        )
    except StopIteration:
        raise _bad_entry(source, directory, position, "an entry's ZIP64 sizes are missing") from None


def _bad_entry(source: ByteSource, directory: Directory, position: int, cause: str) -> Malformed:
    return Malformed(
        "zip-directory", cause, path=source.name, offset=file_offset(source, directory.offset + position)
    )


def _unsupported(
    source: ByteSource, directory: Directory, position: int, flags: int, method: int
) -> Unsupported:
    offset = file_offset(source, directory.offset + position)
    if flags & _ENCRYPTED_FLAGS:
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


def _refuse_duplicates(source: ByteSource, members: list[ZipMember], directory: Directory) -> None:
    if len({member.name for member in members}) == len(members):
        return
    seen: set[str] = set()
    for member in members:
        if member.name in seen:
            raise Ambiguous(
                "zip-duplicate",
                f"there are two members called {member.name!r}: torch would read one, zipfile the other",
                path=source.name,
                offset=file_offset(source, directory.offset),
            )
        seen.add(member.name)


def _refuse_overlaps(source: ByteSource, members: list[ZipMember], directory: Directory) -> None:
    ordered = sorted(members, key=lambda member: member.local_offset)
    if ordered and ordered[0].local_offset != 0:
        raise Ambiguous(
            "zip-prefix",
            f"{ordered[0].local_offset:,} bytes stand before the first member: another program may read "
            "this file as something else",
            path=source.name,
            offset=file_offset(source, 0),
        )
    previous: ZipMember | None = None
    for member in ordered:
        if previous is not None and previous.least_end > member.local_offset:
            raise _overlap(source, previous, member.local_offset)
        previous = member
    if previous is not None and previous.least_end > directory.offset:
        raise _overlap(source, previous, directory.offset)


def _overlap(source: ByteSource, member: ZipMember, limit: int) -> Malformed:
    return Malformed(
        "zip-overlap",
        f"member {member.name!r} needs the bytes up to {member.least_end:,}, and something else begins at "
        f"{limit:,}",
        path=source.name,
        offset=file_offset(source, member.local_offset),
    )


def _is_odd(name: str) -> bool:
    if ".." not in name and "\\" not in name and name[:1] != "/" and "\0" not in name:
        return False
    return name[:1] == "/" or "\\" in name or "\0" in name or ".." in name.split("/")
