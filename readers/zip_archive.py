"""Zip archives read by hand: the central directory is believed, whatever could be read two ways refused.

torch's reader and Python's `zipfile` disagree on duplicates, prefixes, checksums and local headers; here an
archive has one reading or none. Layout: APPNOTE.TXT 6.3.10 (PKWARE), sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from typing import Final

from .errors import Ambiguous, LimitExceeded, Malformed, ParamInspectError
from .findings import Finding, Severity
from .limits import Limits
from .source import ByteSource, InflatedSource, SpanSource, file_offset, out_of_bounds, read
from .untrusted import text_from_bytes
from .zip_directory import (
    DEFLATED,
    LOCAL_SIZE,
    REFUSED_FLAGS,
    STORED,
    Directory,
    ZipMember,
    find_directory,
    read_members,
    wide_values,
)

__all__ = ["DEFLATED", "STORED", "ZipArchive", "ZipMember", "open_archive"]

_LOCAL: Final = struct.Struct("<4s2xHH4xIIIHH")
_DESCRIPTOR_FLAG: Final = 0x0008
"""Sizes and checksum follow the data; the local header has zeros."""
_LEVEL_FLAGS: Final = 0x0006
"""How hard the compressor tried."""
_MAX_DEFLATE_RATIO: Final = 1032
"""258 bytes for two bits."""
_ALL_ONES: Final = 0xFFFFFFFF
_HEADERS_CHECKED: Final = 1_000
_HEADER_FINDINGS: Final = 20
_CRC_STEP: Final = 1 << 20


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
        return read(self.content(member), 0, member.size)

    def content(self, member: ZipMember) -> ByteSource:
        """The member's bytes, with its local header read now.

        Raises:
            Malformed: the local header is not where the directory says, its data reach into what
                follows, or it claims a size that no compression gives.
        """
        span = SpanSource(self.source, self._data_offset(member), member.compressed_size)
        if member.method == STORED:
            return span
        most = _MAX_DEFLATE_RATIO * member.compressed_size
        if member.size > most:
            raise Malformed(
                "zip-size",
                f"member {member.name!r} claims {member.size:,} bytes, and its {member.compressed_size:,} "
                f"compressed ones cannot inflate to more than {most:,}",
                path=self.source.name,
                offset=file_offset(self.source, member.local_offset),
            )
        return InflatedSource(span, member.size, self._limits.inflate_ratio)

    def refuse_bomb(self, member: ZipMember) -> None:
        """For members that are read whole: a declared size beyond the ratio need not be inflated first.

        Raises:
            LimitExceeded: it is to inflate further than `inflate_ratio` allows.
        """
        if member.method != STORED and member.size > self._limits.inflated_bytes:
            raise LimitExceeded(
                "limit-inflated-bytes",
                f"member {member.name!r} is to inflate to {member.size:,} bytes, more than the budget of "
                f"{self._limits.inflated_bytes:,}",
                path=self.source.name,
                offset=file_offset(self.source, member.local_offset),
                advice="raise it with --limit inflated_bytes=N if you trust the file",
            )
        most = self._limits.inflate_ratio * max(1, member.compressed_size)
        if member.size > max(InflatedSource.RATIO_GRACE, most):
            raise LimitExceeded(
                "limit-inflate-ratio",
                f"member {member.name!r} is to inflate {member.compressed_size:,} bytes to {member.size:,}, "
                f"more than {self._limits.inflate_ratio:,} for each",
                path=self.source.name,
                offset=file_offset(self.source, member.local_offset),
                advice="raise it with --limit inflate_ratio=N if you trust the file",
            )

    def check_local_headers(self) -> list[Finding]:
        """What the local headers of the first thousand members say differently, and which are damaged."""
        findings: list[Finding] = []
        for member in self.members[:_HEADERS_CHECKED]:
            try:
                findings += self.check_local_header(member)
            except ParamInspectError as error:
                message = f"member {member.name!r} cannot be read: {error.cause}"
                findings.append(Finding(error.code, Severity.ERROR, message, self.source.name, error.offset))
            if len(findings) >= _HEADER_FINDINGS:
                break
        return findings

    def check_local_header(self, member: ZipMember) -> list[Finding]:
        """What the local header says differently; loaders believe the central directory."""
        told = self._local_differences(member)
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

    def _local_differences(self, member: ZipMember) -> list[str]:
        _, flags, method, crc, compressed, size, name_length, extra_length = self._local_header(member)
        told = []
        name_end = member.local_offset + LOCAL_SIZE + name_length
        name = read(self.source, name_end - name_length, name_length)
        if name != member.raw_name:
            told.append(f"its name is {text_from_bytes(name)!r}")
        if (flags ^ member.flags) & REFUSED_FLAGS:
            told.append("its flags claim encryption")
        elif (flags ^ member.flags) & ~_LEVEL_FLAGS:
            told.append(f"its flags are {flags:#06x} where the directory has {member.flags:#06x}")
        if method != member.method:
            told.append(f"its compression method is {method}")
        if _ALL_ONES in (size, compressed):
            wide = iter(wide_values(read(self.source, name_end, extra_length)))
            size = next(wide, size) if size == _ALL_ONES else size
            compressed = next(wide, compressed) if compressed == _ALL_ONES else compressed
        for what, local, central in (
            ("size", size, member.size),
            ("compressed size", compressed, member.compressed_size),
            ("checksum", crc, member.crc),
        ):
            if local != central and not (local == 0 and flags & _DESCRIPTOR_FLAG):
                told.append(f"its {what} is {local:,}")
        return told

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
        otherwise = "" if member.crc else ", or no checksum was taken"
        return Finding(
            "zip-crc",
            Severity.WARNING,
            f"the checksum of member {member.name!r} is {crc:08x}, and {member.crc:08x} is recorded: "
            f"its bytes were changed after it was written{otherwise}",
            self.source.name,
            file_offset(self.source, member.local_offset),
        )

    def _local_header(self, member: ZipMember) -> tuple[bytes, int, int, int, int, int, int, int]:
        header: tuple[bytes, int, int, int, int, int, int, int] = _LOCAL.unpack(
            read(self.source, member.local_offset, LOCAL_SIZE)
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
        begin = member.local_offset + LOCAL_SIZE + name_length + extra_length
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
    members = read_members(source, directory)
    _refuse_duplicates(source, members, directory)
    _refuse_overlaps(source, members, directory)
    archive = ZipArchive(source, members, directory, limits)
    archive.findings += _names_told(source, members)
    return archive


def _names_told(source: ByteSource, members: list[ZipMember]) -> list[Finding]:
    """Names that other programs take for other names."""
    odd = [member.name for member in members if _is_odd(member.name)]
    found = []
    if odd:
        message = (
            f"{len(odd)} members have names that would leave the folder if they were unpacked: "
            f"{', '.join(map(repr, odd[:3]))}; nothing is unpacked here"
        )
        found.append(Finding("zip-odd-names", Severity.WARNING, message, source.name))
    first_by_fold: dict[str, str] = {}
    alike = []
    for member in members:
        first = first_by_fold.setdefault(member.name.lower(), member.name)
        # Arrays of numpy may differ in case: numpy minds it, and torch reads no such member.
        if first is not member.name and not member.name.endswith(".npy"):
            alike.append(f"{first!r} and {member.name!r}")
    if alike:
        message = (
            f"{len(alike)} members have names that differ from others only in case: "
            f"{', '.join(alike[:3])}; torch ignores case and may read one for the other"
        )
        found.append(Finding("zip-case-names", Severity.WARNING, message, source.name))
    return found


def _refuse_duplicates(source: ByteSource, members: list[ZipMember], directory: Directory) -> None:
    # zipfile ends a name at its first zero byte.
    names = [member.name.partition("\0")[0] if "\0" in member.name else member.name for member in members]
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise Ambiguous(
                "zip-duplicate",
                f"there are two members called {name!r}: torch would read one, zipfile the other",
                path=source.name,
                offset=file_offset(source, directory.offset),
            )
        seen.add(name)


def _refuse_overlaps(source: ByteSource, members: list[ZipMember], directory: Directory) -> None:
    ordered = sorted(members, key=lambda member: member.local_offset)
    begin = ordered[0].local_offset if ordered else directory.offset
    if begin != 0:
        raise Ambiguous(
            "zip-prefix",
            f"{begin:,} bytes stand before the first member: another program may read this file as "
            "something else",
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
