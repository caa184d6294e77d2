"""Zip archives: honest ones agree with zipfile, lying ones have one reading or a named error."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from builders.zip_builder import Built, Entry, ZipBytes, extra_field
from hypothesis import given, settings
from hypothesis import strategies as st
from paraminspect.readers.errors import (
    Ambiguous,
    LimitExceeded,
    Malformed,
    ParamInspectError,
    Truncated,
    Unsupported,
)
from paraminspect.readers.findings import Finding, Severity
from paraminspect.readers.limits import DEFAULT_LIMITS, Limits
from paraminspect.readers.source import InflatedSource, MemorySource, read
from paraminspect.readers.zip_archive import ZipArchive, open_archive

A = Entry("archive/a", b"first member" * 3)
B = Entry("archive/b", b"second member" * 40, deflated=True)
C = Entry("archive/c", b"", comment=b"a note that is long enough for one more entry")
THREE = (A, B, C)


def opened(data: bytes, limits: Limits = DEFAULT_LIMITS) -> ZipArchive:
    return open_archive(MemorySource(data, "some.zip"), limits)


def refused(data: bytes) -> ParamInspectError:
    """The error of an archive that has no reading; what it holds is asked for too."""
    with pytest.raises(ParamInspectError) as caught:
        archive = opened(data)
        for member in archive.members:
            archive.content(member)
    assert caught.value.path == "some.zip"
    assert caught.value.cause
    return caught.value


def told(error: ParamInspectError) -> tuple[type[ParamInspectError], str, int | None]:
    return type(error), error.code, error.offset


def contents(archive: ZipArchive) -> list[tuple[str, bytes]]:
    return [(member.name, archive.read_member(member)) for member in archive.members]


def by_zipfile(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def differences(archive: ZipArchive) -> list[Finding]:
    return [finding for member in archive.members for finding in archive.check_local_header(member)]


# --- honest archives ---

names = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=12)
entries = st.lists(
    st.builds(
        Entry,
        names,
        st.binary(max_size=300),
        deflated=st.booleans(),
        descriptor=st.booleans(),
        wide=st.booleans(),
        comment=st.binary(max_size=20).filter(lambda text: b"PK" not in text),
        extra=st.sampled_from([b"", extra_field(0x4246, b"ZZZZ")]),
        local_extra=st.sampled_from([b"", extra_field(0x4246, b"Z" * 40)]),
    ),
    max_size=6,
    unique_by=lambda entry: entry.raw_name,
)


@settings(deadline=None, max_examples=150)
@given(entries, st.binary(max_size=30).filter(lambda text: b"PK" not in text), st.booleans())
def test_what_is_written_here_is_read_as_zipfile_reads_it(
    members: list[Entry], comment: bytes, wide: bool
) -> None:
    built = ZipBytes(tuple(members), comment, wide).build()
    archive = opened(built.data)
    assert contents(archive) == [(entry.name, entry.data) for entry in members] == by_zipfile(built.data)
    assert [member.size for member in archive.members] == [len(entry.data) for entry in members]
    assert [member.compressed_size for member in archive.members] == [len(entry.stream) for entry in members]
    assert [member.local_offset for member in archive.members] == list(built.locals)
    assert differences(archive) == []
    assert [archive.check_crc(member) for member in archive.members] == [None] * len(members)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(names, st.binary(max_size=300), st.booleans(), st.booleans()), max_size=5,
             unique_by=lambda item: item[0]),
    st.binary(max_size=30).filter(lambda text: b"PK" not in text),
    st.booleans(),
)  # fmt: skip
def test_what_zipfile_writes_is_read_here(
    members: list[tuple[str, bytes, bool, bool]], comment: bytes, seekable: bool
) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return seekable

        def seek(self, *position: int) -> int:
            if not seekable:
                raise OSError("a pipe")
            return super().seek(*position)

        def tell(self) -> int:
            if not seekable:
                raise OSError("a pipe")
            return super().tell()

    stream = Pipe()
    with zipfile.ZipFile(stream, "w") as writer:
        writer.comment = comment
        for name, data, deflated, wide in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
            with writer.open(info, "w", force_zip64=wide) as handle:
                handle.write(data)
    archive = opened(stream.getvalue())
    assert contents(archive) == [(name, data) for name, data, _, _ in members]
    assert differences(archive) == []
    assert [archive.check_crc(member) for member in archive.members] == [None] * len(members)


def test_zero_bytes_are_read_without_a_byte_of_data() -> None:
    archive = opened(ZipBytes((Entry("a"), Entry("b", deflated=True))).data)
    assert contents(archive) == [("a", b""), ("b", b"")]


def test_an_empty_archive() -> None:
    assert opened(ZipBytes().data).members == []


@pytest.mark.parametrize("count", [65_535, 65_536])
def test_as_many_members_as_fit_without_zip64_and_one_more(count: int) -> None:
    data = ZipBytes(tuple(Entry(f"{number:x}") for number in range(count)), wide=count > 65_535).data
    assert len(opened(data).members) == count
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.filelist) == count


def test_a_member_tells_where_its_bytes_lie() -> None:
    built = ZipBytes(THREE).build()
    archive = opened(built.data)
    stored, deflated, _ = (archive.content(member) for member in archive.members)
    assert stored.base == built.locals[0] + 30 + len(A.raw_name)
    assert built.data[stored.base :].startswith(A.data)
    assert deflated.base is None
    late = archive.open(archive.by_name["archive/a"])
    assert (late.size(), late.name) == (len(A.data), "some.zip")
    bases = [late.base]
    assert read(late, 6, 6) == b"member"
    assert [*bases, late.base] == [None, stored.base]
    with pytest.raises(Truncated):
        read(late, 30, 7)


def test_any_part_of_a_member_is_read() -> None:
    archive = opened(ZipBytes(THREE).data)
    for entry in THREE:
        content = archive.open(archive.by_name[str(entry.name)])
        for begin in range(0, len(entry.data), 7):
            assert read(content, begin, min(5, len(entry.data) - begin)) == entry.data[begin : begin + 5]


def test_comment_and_trailing_bytes_are_told() -> None:
    built = ZipBytes(THREE, b"written by hand", suffix=b"junk").build()
    archive = opened(built.data)
    assert [(finding.code, finding.severity, finding.offset) for finding in archive.findings] == [
        ("trailing-bytes", Severity.WARNING, len(built.data) - 4),
        ("zip-comment", Severity.INFO, built.end),
    ]
    assert opened(ZipBytes(THREE).data).findings == []


@pytest.mark.parametrize(("count", "ignored"), [(0x10000, True), (0x10001, False)])
def test_trailing_bytes_beyond_what_loaders_search(count: int, ignored: bool) -> None:
    data = ZipBytes(THREE, suffix=bytes(count)).data
    [finding] = opened(data).findings
    assert ("loaders ignore them" in finding.message) is ignored
    if ignored:
        assert by_zipfile(data) == contents(opened(data))
    else:
        with pytest.raises(zipfile.BadZipFile):
            by_zipfile(data)


@pytest.mark.parametrize("wide", [False, True])
def test_trailing_bytes_behind_either_kind_of_end(wide: bool) -> None:
    assert len(contents(opened(ZipBytes(THREE, b"note", wide, suffix=b"x" * 50).data))) == 3


# --- classes 35 to 38: members that overlap, share a name, or belong to another archive ---


def test_members_of_one_place_overlap() -> None:
    built = ZipBytes((A, replace(B, central={"offset": 0}), C)).build()
    assert told(refused(built.data)) == (Malformed, "zip-overlap", 0)


def test_a_member_that_reaches_into_the_next() -> None:
    longer = {"size": len(A.data) + 1, "compressed": len(A.data) + 1}
    built = ZipBytes((B, replace(A, central=longer), C)).build()
    assert told(refused(built.data)) == (Malformed, "zip-overlap", built.locals[1])


def test_a_member_that_reaches_into_the_directory() -> None:
    longer = {"size": len(A.data) + 1, "compressed": len(A.data) + 1}
    built = ZipBytes((B, replace(A, central=longer))).build()
    assert told(refused(built.data)) == (Malformed, "zip-overlap", built.locals[1])


@pytest.mark.parametrize("field", ["extra_length", "name_length"])
@pytest.mark.parametrize("entries", [(A, C), (C, A)])
def test_a_local_header_that_quotes_what_follows(field: str, entries: tuple[Entry, ...]) -> None:
    """The directory alone looks right; the local header moves the data into the next record."""
    length = len(A.raw_name) + 1 if field == "name_length" else 1
    lying = tuple(replace(entry, local={field: length}) if entry is A else entry for entry in entries)
    built = ZipBytes(lying).build()
    archive = opened(built.data)
    with pytest.raises(Malformed) as caught:
        archive.read_member(archive.by_name["archive/a"])
    assert told(caught.value) == (Malformed, "zip-overlap", built.locals[entries.index(A)])


def test_a_gap_between_members_is_no_overlap() -> None:
    assert contents(opened(ZipBytes((replace(A, stored_data=A.data + b"gap"), B)).data)) == [
        ("archive/a", A.data),
        ("archive/b", B.data),
    ]


def test_a_place_where_no_member_begins() -> None:
    built = ZipBytes(
        (replace(A, stored_data=A.data + bytes(9)), replace(B, local={"signature": b"PK\3\5"}))
    ).build()
    assert told(refused(built.data)) == (Malformed, "zip-local-signature", built.locals[1])


@pytest.mark.parametrize(
    "names",
    [("data/0", "data/0"), (b"\xff", b"\xff"), ("data/0", "data/0\0x"), ("data/0\0x", "data/0\0y")],
)
def test_duplicate_names(names: tuple[str | bytes, ...]) -> None:
    built = ZipBytes((C, *(Entry(name, b"data") for name in names))).build()
    error = refused(built.data)
    assert told(error) == (Ambiguous, "zip-duplicate", built.directory)
    assert "two members called" in str(error)


def test_bytes_that_are_no_utf8_stay_different_names() -> None:
    archive = opened(ZipBytes((Entry(b"\xff"), Entry(b"\xfe"), Entry("\xff"))).data)
    assert [member.name for member in archive.members] == ["\udcff", "\udcfe", "\xff"]


def test_two_archives_one_behind_the_other() -> None:
    first, second = ZipBytes((A,)).build(), ZipBytes((B,))
    built = second.build()
    assert told(refused(first.data + built.data)) == (
        Ambiguous,
        "zip-two-ends",
        len(first.data) + built.end,
    )
    fitted = ZipBytes((B,), prefix=first.data, shift=len(first.data)).build()
    assert told(refused(fitted.data)) == (Ambiguous, "zip-two-ends", fitted.end)


@pytest.mark.parametrize("comment_length", [1, 5, 0xFFFF])
def test_a_second_archive_whose_comment_is_cut_off(comment_length: int) -> None:
    """zipfile and torch both read the second one here."""
    first = ZipBytes((A,)).data
    fitted = ZipBytes((B,), prefix=first, shift=len(first), end={"comment_length": comment_length}).build()
    assert by_zipfile(fitted.data) == [("archive/b", B.data)]
    assert told(refused(fitted.data)) == (Ambiguous, "zip-two-ends", fitted.end)


def test_a_first_archive_too_far_from_the_end_to_be_seen() -> None:
    first = ZipBytes((A,)).data
    large = (replace(A, data=bytes(200_000)),)
    built = ZipBytes(large, prefix=first).build()
    assert told(refused(built.data)) == (Ambiguous, "zip-prefix", built.directory_end - len(first))
    built = ZipBytes(large, prefix=first, shift=len(first)).build()
    assert told(refused(built.data)) == (Ambiguous, "zip-prefix", 0)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("sensible", [False, True])
def test_an_end_record_inside_the_comment(wide: bool, sensible: bool) -> None:
    """Loaders find the record in the comment, which ends the file or is followed by junk."""
    inner = ZipBytes((B,)).build()
    record = inner.data[inner.end :]
    built = ZipBytes((A,), record + b"" if sensible else record + b"more", wide).build()
    position = built.data.rindex(b"PK\5\6")
    assert told(refused(built.data)) == (Ambiguous, "zip-two-ends", position)
    followed = ZipBytes((A,), record, suffix=b"junk").build()
    assert told(refused(followed.data)) == (Ambiguous, "zip-two-ends", followed.end + 22)


def test_a_zip_inside_a_member_is_no_second_archive() -> None:
    inner = ZipBytes(THREE).data
    assert contents(opened(ZipBytes((Entry("inner.zip", inner), C)).data)) == [
        ("inner.zip", inner),
        ("archive/c", b""),
    ]


@pytest.mark.parametrize("head", [b"#!/bin/sh\nexec\n", b"GIF89a", b"<html>", b"\x80\x02.", b"\x00"])
@pytest.mark.parametrize("entries", [THREE, ()])
@pytest.mark.parametrize("wide", [False, True])
def test_bytes_before_the_archive(head: bytes, entries: tuple[Entry, ...], wide: bool) -> None:
    counted = ZipBytes(entries, prefix=head, shift=len(head), wide=wide).build()
    assert told(refused(counted.data)) == (Ambiguous, "zip-prefix", 0)
    uncounted = ZipBytes(entries, prefix=head, wide=wide).build()
    error = refused(uncounted.data)
    assert error.code in (("zip-prefix",) if not wide else ("zip64-end", "zip64-locator"))
    if not wide:
        assert told(error) == (Ambiguous, "zip-prefix", uncounted.directory_end - len(head))


def test_bytes_between_directory_and_end() -> None:
    built = ZipBytes(THREE, before_end=b"hidden").build()
    assert told(refused(built.data)) == (Ambiguous, "zip-prefix", built.directory_end)


# --- class 39 and 40: local headers and checksums ---


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (replace(A, local={"method": 8}), "its compression method is 8"),
        (replace(A, local={"size": 7}), "its size is 7"),
        (replace(A, local={"size": 0}), "its size is 0"),
        (replace(A, local={"compressed": 7}), "its compressed size is 7"),
        (replace(A, local={"size": 0xFFFFFFFF}), "its size is 4,294,967,295"),
        (replace(A, wide=True, local_extra=extra_field(1, bytes(16)), local={"extra_length": 0}),
         "its size is 4,294,967,295"),
        (replace(A, local={"crc": 7}), "its checksum is 7"),
        (replace(A, local={"crc": 0xFFFFFFFF}), "its checksum is 4,294,967,295"),
        (replace(A, local={"flags": 1}), "its flags claim encryption"),
        (replace(A, local={"flags": 0x20}), "its flags claim encryption"),
        (replace(A, local={"flags": 0x40}), "its flags claim encryption"),
        (replace(A, local={"flags": 0x2000}), "its flags claim encryption"),
        (replace(A, local={"flags": 0x800}), "its flags are 0x0800 where the directory has 0x0000"),
        (replace(A, descriptor=True, local={"flags": 0}), "its flags are 0x0000"),
    ],
)  # fmt: skip
def test_a_local_header_that_disagrees(entry: Entry, words: str) -> None:
    built = ZipBytes((B, entry, C)).build()
    [finding] = differences(opened(built.data))
    assert (finding.code, finding.severity) == ("zip-local-header", Severity.WARNING)
    assert finding.offset == built.locals[1]
    assert words in finding.message


def test_a_local_header_with_another_name() -> None:
    built = ZipBytes(THREE).build()
    data = built.data.replace(b"archive/a", b"archive/\x1b", 1)
    archive = opened(data)
    [finding] = differences(archive)
    assert "its name is 'archive/\\x1b'" in finding.message
    assert archive.read_member(archive.by_name["archive/a"]) == A.data


def test_how_hard_the_compressor_tried_is_no_difference() -> None:
    assert differences(opened(ZipBytes((replace(B, local={"flags": 6}),)).data)) == []


@pytest.mark.parametrize("deflated", [False, True])
def test_a_wrong_checksum_is_told_and_the_bytes_are_read(deflated: bool) -> None:
    entry = Entry("a", b"x" * 2_500_000, deflated=deflated, central={"crc": 5})
    built = ZipBytes((C, entry)).build()
    archive = opened(built.data)
    finding = archive.check_crc(archive.by_name["a"])
    assert finding is not None
    assert (finding.code, finding.severity, finding.offset) == ("zip-crc", Severity.WARNING, built.locals[1])
    assert f"{zlib.crc32(entry.data):08x}" in finding.message
    assert "00000005" in finding.message
    assert archive.read_member(archive.by_name["a"]) == entry.data


def test_a_checksum_of_zero_may_never_have_been_taken() -> None:
    """torch writes such members where it leaves the values out."""
    archive = opened(ZipBytes((replace(A, central={"crc": 0}),)).data)
    finding = archive.check_crc(archive.members[0])
    assert finding is not None
    assert finding.message.endswith("or no checksum was taken")


# --- class 41: what is recognised and not read; records that lie ---


@pytest.mark.parametrize(
    ("lie", "code", "words"),
    [
        ({"flags": 0x0001}, "zip-encrypted", "encrypted"),
        ({"flags": 0x0009}, "zip-encrypted", "encrypted"),
        ({"flags": 0x0041, "method": 14}, "zip-encrypted", "encrypted"),
        ({"flags": 0x0040}, "zip-encrypted", "encrypted"),
        ({"flags": 0x2000}, "zip-encrypted", "encrypted"),
        ({"flags": 0x0001, "method": 99}, "zip-encrypted", "encrypted"),
        ({"method": 99}, "zip-encrypted", "encrypted"),
        ({"flags": 0x0020}, "zip-patch", "patch"),
        ({"method": 9}, "zip-method", "method 9;"),
        ({"method": 12}, "zip-method", "method 12;"),
        ({"method": 93}, "zip-method", "method 93;"),
        ({"method": 0xFFFF}, "zip-method", "method 65535;"),
        ({"disk": 1}, "zip-disks", "several disks"),
    ],
)  # fmt: skip
def test_members_that_are_not_read(lie: dict[str, int], code: str, words: str) -> None:
    built = ZipBytes((C, replace(A, central=lie))).build()
    error = refused(built.data)
    assert told(error) == (Unsupported, code, built.centrals[1])
    assert words in str(error)
    assert ("decrypt it first" in str(error)) is (code == "zip-encrypted")


@pytest.mark.parametrize(
    "lie",
    [{"disk": 1}, {"first_disk": 1}, {"entries_here": 2}, {"disk": 0xFFFF}, {"first_disk": 0xFFFF}],
)
def test_archives_of_several_disks(lie: dict[str, int]) -> None:
    built = ZipBytes(THREE, end=lie).build()
    assert told(refused(built.data)) == (Unsupported, "zip-disks", built.end)


@pytest.mark.parametrize("lie", [{"disk": 1}, {"first_disk": 1}, {"entries_here": 2}])
def test_wide_archives_of_several_disks(lie: dict[str, int]) -> None:
    all_ones = {"disk": 0xFFFF, "first_disk": 0xFFFF}
    built = ZipBytes(THREE, wide=True, wide_end=lie, end=all_ones).build()
    assert told(refused(built.data)) == (Unsupported, "zip-disks", built.end)


@pytest.mark.parametrize(
    ("lie", "kind", "code", "at"),
    [
        ({"entries": 4, "entries_here": 4}, Malformed, "zip-directory", "directory_end"),
        ({"entries": 2, "entries_here": 2}, Malformed, "zip-directory", "third"),
        ({"entries": 0, "entries_here": 0}, Malformed, "zip-directory", "directory"),
        ({"entries": 0xFFFF, "entries_here": 0xFFFF}, Malformed, "zip-entries", "end"),
        ({"offset": 0xFFFFFFFE}, Malformed, "zip-directory-bounds", "end"),
        ({"size": 0xFFFFFFFE}, Malformed, "zip-directory-bounds", "end"),
        ({"offset": 0xFFFFFFFF}, Malformed, "zip64-missing", "end"),
        ({"size": 0xFFFFFFFF}, Malformed, "zip64-missing", "end"),
        ({"size": 10}, Malformed, "zip-entries", "end"),
    ],
)
def test_an_end_record_that_lies(
    lie: dict[str, int], kind: type[ParamInspectError], code: str, at: str
) -> None:
    built = ZipBytes(THREE, end=lie).build()
    assert told(refused(built.data)) == (kind, code, position(built, at))


def position(built: Built, at: str) -> int:
    places: dict[str, int | None] = {
        "end": built.end,
        "directory": built.directory,
        "directory_end": built.directory_end,
        "second": built.centrals[1],
        "third": built.centrals[2],
        "wide_end": built.wide_end,
        "locator": built.locator,
    }
    place = places[at]
    assert place is not None
    return place


def test_a_directory_that_begins_inside_itself() -> None:
    built = ZipBytes((C, Entry("d", comment=bytes(60)))).build()
    size = built.directory_end - built.directory
    lie = {"offset": built.directory + 1, "size": size - 1}
    built = ZipBytes((C, Entry("d", comment=bytes(60))), end=lie).build()
    assert told(refused(built.data)) == (Malformed, "zip-directory", built.directory + 1)


@pytest.mark.parametrize(
    ("lie", "code", "at"),
    [
        ({"signature": b"PK\x01\x03"}, "zip-directory", "second"),
        ({"name_length": 0xFFFF}, "zip-directory", "second"),
        ({"extra_length": 0xFFFF}, "zip-directory", "second"),
        ({"comment_length": 0xFFFF}, "zip-directory", "second"),
        ({"name_length": 0}, "zip-directory", None),
        ({"size": 5}, "zip-directory", "second"),
        ({"compressed": 5}, "zip-directory", "second"),
        ({"offset": 0xFFFFFFFE}, "zip-overlap", None),
        ({"size": 0xFFFFFFFF, "compressed": 0xFFFFFFFF}, "zip-directory", "second"),
        ({"offset": 0xFFFFFFFF}, "zip-directory", "second"),
    ],
)
def test_an_entry_that_lies(lie: dict[str, int | bytes], code: str, at: str | None) -> None:
    built = ZipBytes((B, replace(A, central=lie), C)).build()
    error = refused(built.data)
    assert (type(error), error.code) == (Malformed, code)
    if at is not None:
        assert error.offset == position(built, at)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "zip-directory"),
        (extra_field(1, bytes(23)), "zip-directory"),
        (extra_field(1, bytes(8)), "zip-directory"),
        (extra_field(2, bytes(24)), "zip-directory"),
        (extra_field(1, b"\xff" * 24), "zip-overlap"),
        (extra_field(1, b"\xff" * 16 + bytes(8)), "zip-overlap"),
        (b"\x01", "zip-directory"),
        (b"\x01\0\xff\xff" + bytes(8), "zip-directory"),
    ],
)
def test_wide_sizes_that_lie(body: bytes, code: str) -> None:
    built = ZipBytes((C, replace(A, wide=True, wide_extra=body))).build()
    error = refused(built.data)
    assert isinstance(error, Malformed)
    assert error.code == code


@pytest.mark.parametrize(
    ("part", "lie", "kind", "code", "at"),
    [
        ("locator", {"position": 2**64 - 1}, Malformed, "zip64-locator", "locator"),
        ("locator", {"position": 10**6}, Malformed, "zip64-locator", "locator"),
        ("locator", {"disk": 1}, Malformed, "zip64-locator", "locator"),
        ("locator", {"disks": 2}, Malformed, "zip64-locator", "locator"),
        ("locator", {"position": 0}, Malformed, "zip64-end", None),
        ("locator", {"signature": b"PK\x06\x08"}, Malformed, "zip64-missing", "end"),
        ("wide_end", {"signature": b"PK\x06\x05"}, Malformed, "zip64-end", "wide_end"),
        ("wide_end", {"record_size": 45}, Malformed, "zip64-end", "wide_end"),
        ("wide_end", {"record_size": 2**64 - 1}, Malformed, "zip64-end", "wide_end"),
        ("wide_end", {"entries": 2**63, "entries_here": 2**63}, Malformed, "zip-entries", "wide_end"),
        ("wide_end", {"size": 2**64 - 1}, Malformed, "zip-directory-bounds", "wide_end"),
        ("wide_end", {"offset": 2**64 - 1}, Malformed, "zip-directory-bounds", "wide_end"),
        ("wide_end", {"offset": 0}, Ambiguous, "zip-prefix", None),
        ("end", {"entries": 2}, Ambiguous, "zip64-disagrees", "wide_end"),
        ("end", {"entries_here": 2}, Ambiguous, "zip64-disagrees", "wide_end"),
        ("end", {"offset": 2}, Ambiguous, "zip64-disagrees", "wide_end"),
        ("end", {"size": 2}, Ambiguous, "zip64-disagrees", "wide_end"),
        ("end", {"disk": 2}, Ambiguous, "zip64-disagrees", "wide_end"),
        ("end", {"first_disk": 2}, Ambiguous, "zip64-disagrees", "wide_end"),
    ],
)
def test_zip64_records_that_lie(
    part: str, lie: dict[str, int | bytes], kind: type[ParamInspectError], code: str, at: str | None
) -> None:
    parts: dict[str, dict[str, int | bytes]] = {"end": {}, "wide_end": {}, "locator": {}, part: lie}
    built = ZipBytes(
        THREE, wide=True, end=parts["end"], wide_end=parts["wide_end"], locator=parts["locator"]
    ).build()
    error = refused(built.data)
    assert (type(error), error.code) == (kind, code)
    if at is not None:
        assert error.offset == position(built, at)


# --- class 34 and the limits ---

GIB = 1 << 30


@contextmanager
def at_most(peak_bytes: int) -> Iterator[None]:
    """What is done here takes no more memory than that."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < peak_bytes
    finally:
        tracemalloc.stop()


CLAIM = extra_field(1, (40 * GIB).to_bytes(8, "little") + (9).to_bytes(8, "little") + bytes(8))


def test_a_size_that_no_compression_gives_is_metadata_until_it_is_asked_for() -> None:
    """Nine bytes that claim to be 40 GiB."""
    liar = Entry("data/0", b"nine", deflated=True, stored_data=b"123456789", wide=True, wide_extra=CLAIM)
    built = ZipBytes((liar, C)).build()
    with at_most(1 << 18):
        archive = opened(built.data)
        member = archive.by_name["data/0"]
        assert (member.size, member.compressed_size) == (40 * GIB, 9)
        with pytest.raises(LimitExceeded):
            archive.read_member(member)
        with pytest.raises(Malformed) as caught:
            archive.read_member(member, 50 * GIB)
        assert told(caught.value) == (Malformed, "zip-size", 0)
        with pytest.raises(Malformed):
            read(archive.open(member), 0, 1)


def test_the_best_compression_there_is_passes() -> None:
    zeros = Entry("zeros", bytes(10_000_000), deflated=True)
    assert len(zeros.data) / len(zeros.stream) > 1000
    archive = opened(ZipBytes((zeros,)).data)
    assert archive.read_member(archive.members[0]) == zeros.data


def test_the_budget_inflate_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InflatedSource, "RATIO_GRACE", 1 << 20)
    built = ZipBytes((C, Entry("a", bytes(1 << 22), deflated=True))).build()
    archive = opened(built.data, DEFAULT_LIMITS.changed(inflate_ratio=100))
    member = archive.by_name["a"]
    for reading in (archive.read_member, archive.check_crc):
        with pytest.raises(LimitExceeded) as caught:
            reading(member)
        assert told(caught.value) == (LimitExceeded, "limit-inflate-ratio", built.locals[1] + 31)
        assert "--limit inflate_ratio" in str(caught.value)
    assert len(read(archive.open(member), 0, 1 << 20)) == 1 << 20
    assert opened(built.data, DEFAULT_LIMITS.changed(inflate_ratio=1100)).check_crc(member) is None


@pytest.mark.parametrize("deflated", [False, True])
def test_the_budget_inflated_bytes(deflated: bool) -> None:
    built = ZipBytes((C, Entry("a", bytes(101), deflated))).build()
    archive = opened(built.data, DEFAULT_LIMITS.changed(inflated_bytes=100))
    member = archive.by_name["a"]
    with pytest.raises(LimitExceeded) as caught:
        archive.read_member(member)
    assert told(caught.value) == (LimitExceeded, "limit-inflated-bytes", built.locals[1])
    assert "--limit inflated_bytes" in str(caught.value)
    assert archive.read_member(member, 101) == bytes(101)
    with pytest.raises(LimitExceeded):
        archive.read_member(member, 100)
    assert len(opened(built.data, DEFAULT_LIMITS.changed(inflated_bytes=101)).read_member(member)) == 101
    # Values are streamed: the budget is not theirs.
    assert read(archive.open(member), 0, 101) == bytes(101)


def test_a_checksum_is_compared_in_bounded_memory() -> None:
    archive = opened(ZipBytes((Entry("a", bytes(30 << 20), deflated=True),)).data)
    with at_most(4 << 20):
        assert archive.check_crc(archive.members[0]) is None


def test_compressed_data_shorter_than_declared() -> None:
    built = ZipBytes((replace(B, central={"size": len(B.data) + 1}), C)).build()
    archive = opened(built.data)
    with pytest.raises(Truncated) as caught:
        archive.read_member(archive.members[0])
    assert caught.value.code == "deflate-short"


def test_compressed_data_longer_than_declared_fail_their_checksum() -> None:
    archive = opened(ZipBytes((replace(B, central={"size": len(B.data) - 1}), C)).data)
    assert archive.read_member(archive.members[0]) == B.data[:-1]
    finding = archive.check_crc(archive.members[0])
    assert finding is not None
    assert finding.code == "zip-crc"


def test_compressed_data_that_are_none() -> None:
    built = ZipBytes((C, replace(B, stored_data=b"\xff" * 40))).build()
    archive = opened(built.data)
    with pytest.raises(Malformed) as caught:
        archive.read_member(archive.by_name["archive/b"])
    assert caught.value.code == "deflate-corrupt"
    assert caught.value.offset is not None
    assert built.locals[1] < caught.value.offset <= built.directory


# --- class 42: names are labels ---


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "..", "a\0b", "..\\x", "C:\\x", "a/.."])
def test_names_that_would_leave_the_folder(name: str) -> None:
    archive = opened(ZipBytes((A, Entry(name, b"data"))).data)
    [finding] = archive.findings
    assert (finding.code, finding.severity) == ("zip-odd-names", Severity.WARNING)
    assert repr(name) in finding.message
    assert archive.read_member(archive.by_name[name]) == b"data"


@pytest.mark.parametrize("name", ["a..b", "..a", "a/.b", "data/..x/y", "\x1b[31m", "", " ", "a/"])
def test_names_that_are_only_strange(name: str) -> None:
    archive = opened(ZipBytes((A, Entry(name, b"data"))).data)
    assert archive.findings == []
    assert archive.read_member(archive.by_name[name]) == b"data"


def test_names_that_differ_only_in_case() -> None:
    """torch looks members up without regard to case."""
    archive = opened(ZipBytes((Entry("m/data/0", b"one"), Entry("m/DATA/0", b"two"), A)).data)
    [finding] = archive.findings
    assert (finding.code, finding.severity) == ("zip-case-names", Severity.WARNING)
    assert "'m/data/0' and 'm/DATA/0'" in finding.message
    assert archive.read_member(archive.by_name["m/data/0"]) == b"one"
    assert archive.read_member(archive.by_name["m/DATA/0"]) == b"two"


def test_arrays_of_numpy_may_differ_in_case() -> None:
    assert opened(ZipBytes((Entry("w.npy"), Entry("W.npy"))).data).findings == []


def test_many_entries_that_share_one_place() -> None:
    """A directory of 20,000 entries over one byte of data."""
    lying = tuple(Entry(b"", central={"offset": 0}) for _ in range(20_000))
    assert refused(ZipBytes(lying).data).code == "zip-duplicate"
    lying = tuple(Entry(str(number), central={"offset": 0}) for number in range(20_000))
    assert refused(ZipBytes(lying).data).code == "zip-overlap"


# --- incomplete and damaged archives ---


def is_incomplete(error: ParamInspectError, size: int) -> bool:
    return isinstance(error, Truncated) and error.offset == size and "download" in str(error)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("comment", [b"", b"written by hand"])
def test_an_archive_cut_off_anywhere_is_called_incomplete(wide: bool, comment: bytes) -> None:
    data = ZipBytes((A, B, replace(C, wide=True, descriptor=True)), comment, wide).data
    assert len(opened(data).members) == 3
    for size in range(len(data)):
        assert is_incomplete(refused(data[:size]), size), size


def test_a_comment_cut_off_says_what_is_missing() -> None:
    data = ZipBytes(THREE, b"written by hand").data[:-4]
    error = refused(data)
    assert told(error) == (Truncated, "zip-comment-short", len(data))
    assert "4 bytes too early" in str(error)


def test_an_incomplete_archive_with_a_zip_inside() -> None:
    """The end record of the inner archive is not taken for the outer one's."""
    inner = ZipBytes((A, B)).data
    built = ZipBytes((Entry("inner.zip", inner), C)).build()
    inner_end = 30 + len("inner.zip") + len(inner)
    for size in range(len(built.data)):
        error = refused(built.data[:size])
        if size == inner_end:
            assert told(error)[:2] == (Ambiguous, "zip-prefix")
        else:
            assert is_incomplete(error, size), size


def test_a_part_lost_in_the_middle() -> None:
    built = ZipBytes(THREE).build()
    data = built.data[:40] + built.data[50:]
    error = refused(data)
    assert told(error) == (Malformed, "zip-directory-bounds", built.end - 10)
    assert "10 bytes are missing" in str(error)


def all_that_is_told(data: bytes) -> list[tuple[bytes, bytes]] | None:
    """Names and bytes, or None where the archive is refused; nothing else may come out."""
    try:
        archive = opened(data)
        for member in archive.members:
            archive.check_local_header(member)
            archive.check_crc(member)
        return [(member.raw_name, archive.read_member(member, 1 << 20)) for member in archive.members]
    except ParamInspectError as error:
        assert error.path == "some.zip"
        assert str(error)
        return None


def all_that_zipfile_tells(data: bytes) -> list[tuple[bytes, bytes]] | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [
                (
                    info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437"),
                    archive.read(info),
                )
                for info in archive.infolist()
            ]
    except Exception:
        return None


def same_reading(data: bytes) -> bool:
    """Read here as zipfile reads it, or refused by one of the two."""
    here, there = all_that_is_told(data), all_that_zipfile_tells(data)
    return here is None or there is None or here == there


SMALL = (Entry("a", b"stored"), Entry("b", b"deflated" * 9, True, descriptor=True), Entry("c", wide=True))


@pytest.mark.parametrize("wide", [False, True])
def test_every_bit_flipped(wide: bool) -> None:
    data = bytearray(ZipBytes(SMALL, b"note", wide).data)
    assert all_that_is_told(bytes(data)) == all_that_zipfile_tells(bytes(data)) is not None
    for place in range(len(data)):
        for bit in range(8):
            data[place] ^= 1 << bit
            assert same_reading(bytes(data)), (place, bit)
            data[place] ^= 1 << bit


@pytest.mark.parametrize("value", [0, 0xFF])
def test_every_byte_replaced_cut_out_and_put_in(value: int) -> None:
    data = ZipBytes(SMALL, b"note").data
    for place in range(len(data)):
        assert same_reading(data[:place] + bytes([value]) + data[place + 1 :]), place
        assert same_reading(data[:place] + data[place + 1 :]), place
        assert same_reading(data[:place] + bytes([value]) + data[place:]), place


@settings(deadline=None, max_examples=150)
@given(st.booleans(), st.lists(st.tuples(st.integers(0, 600), st.binary(min_size=1, max_size=8)), max_size=4))
def test_bytes_overwritten(wide: bool, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(ZipBytes(SMALL, b"note", wide).data)
    for place, replacement in changes:
        data[place : place + len(replacement)] = replacement
    assert same_reading(bytes(data))


FIRST = ZipBytes(SMALL[:1]).build()
PIECES = (
    FIRST.data,
    ZipBytes((Entry("z", b"other"),), b"note").data,
    ZipBytes((Entry("z", b"other"),), wide=True).data,
    ZipBytes((Entry("y", b"third"),), prefix=FIRST.data, shift=len(FIRST.data)).data,
    ZipBytes((Entry("y", b"third"),), b"note", prefix=FIRST.data, shift=len(FIRST.data),
             end={"comment_length": 40}).data,
    FIRST.data[: FIRST.directory],
    FIRST.data[FIRST.directory : FIRST.end],
    FIRST.data[FIRST.end :],
    ZipBytes(comment=b"note").data,
    b"PK",
    b"junk",
)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=5))
def test_archives_put_together(pieces: list[bytes]) -> None:
    assert same_reading(b"".join(pieces))


@settings(deadline=None, max_examples=100)
@given(
    st.binary(max_size=80), st.sampled_from([b"", b"PK\5\6", ZipBytes().data, FIRST.data[FIRST.directory :]])
)
def test_any_bytes(data: bytes, end: bytes) -> None:
    assert same_reading(data + end)
