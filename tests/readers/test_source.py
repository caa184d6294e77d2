"""Reading by offset: short reads, failing disks, files that change, and what is no file at all."""

from __future__ import annotations

import errno
import os
import socket
import threading
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paraminspect.readers import source as source_module
from paraminspect.readers.errors import (
    CannotOpen,
    ChangedWhileReading,
    LimitExceeded,
    Malformed,
    ParamInspectError,
    Truncated,
)
from paraminspect.readers.source import (
    ByteSource,
    FileSource,
    InflatedSource,
    MemorySource,
    SpanSource,
    file_offset,
    read,
)

DATA = bytes(range(256)) * 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "model.bin"
    file.write_bytes(DATA)
    return file


Preadv = Callable[[int, Sequence[memoryview], int], int]


def patched_preadv(monkeypatch: pytest.MonkeyPatch, preadv: Callable[[Preadv], Preadv]) -> None:
    monkeypatch.setattr(os, "preadv", preadv(os.preadv))


# --- reading ---


@given(st.integers(-5, len(DATA) + 5), st.integers(0, 700))
def test_memory_source(offset: int, length: int) -> None:
    source = MemorySource(DATA)
    if offset < 0 or offset + length > len(DATA):
        with pytest.raises(Truncated):
            read(source, offset, length)
    else:
        assert read(source, offset, length) == DATA[offset : offset + length]


def test_file_source(path: Path) -> None:
    source = FileSource(path)
    assert (source.size(), source.base, source.name) == (len(DATA), 0, str(path))
    assert read(source, 0, len(DATA)) == DATA
    assert read(source, 300, 5) == DATA[300:305]
    assert read(source, len(DATA), 0) == b""
    buffer = bytearray(12)
    source.pread_into(8, memoryview(buffer).cast("I"))
    assert buffer == DATA[8:20]


@pytest.mark.parametrize(("offset", "length"), [(-1, 2), (0, len(DATA) + 1), (len(DATA), 1), (1 << 70, 1)])
def test_reading_beyond_the_end(path: Path, offset: int, length: int) -> None:
    for source in (FileSource(path), MemorySource(DATA), SpanSource(MemorySource(DATA), 0, len(DATA))):
        with pytest.raises(Truncated) as caught:
            read(source, offset, length)
        assert caught.value.code == "truncated"
        with pytest.raises(Truncated):
            source.pread_into(offset, memoryview(bytearray(length)))


def test_a_claimed_length_takes_no_memory_before_it_is_checked(path: Path) -> None:
    with pytest.raises(Truncated) as caught:
        read(FileSource(path), 10, 1 << 60)
    assert caught.value.offset == 10


def test_short_reads_are_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seven_at_most(preadv: Preadv) -> Preadv:
        return lambda fd, buffers, offset: preadv(fd, [buffers[0][:7]], offset)

    patched_preadv(monkeypatch, seven_at_most)
    assert read(FileSource(path), 3, 1000) == DATA[3:1003]


def test_an_interrupted_read_is_continued(path: Path) -> None:
    """The interpreter retries a call that a signal interrupts; a reading thread must not notice."""
    import signal

    received: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: received.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        source = FileSource(path)
        while len(received) < 5:
            assert read(source, 0, len(DATA)) == DATA
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("failing_call", [0, 1, 5])
def test_a_disk_that_fails(path: Path, failing_call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def failing(preadv: Preadv) -> Preadv:
        def call(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
            nonlocal calls
            calls += 1
            if calls > failing_call:
                raise OSError(errno.EIO, "Input/output error")
            return preadv(fd, [buffers[0][:10]], offset)

        return call

    patched_preadv(monkeypatch, failing)
    with pytest.raises(CannotOpen) as caught:
        read(FileSource(path), 5, 1000)
    error = caught.value
    assert (error.code, error.path, error.offset) == ("io-error", str(path), 5 + 10 * failing_call)
    assert error.__suppress_context__


# --- files that change ---


def test_a_file_cut_while_it_is_read(path: Path) -> None:
    source = FileSource(path)
    os.truncate(path, 100)
    assert read(source, 0, 100) == DATA[:100]
    with pytest.raises(ChangedWhileReading) as caught:
        read(source, 0, 101)
    assert (caught.value.code, caught.value.offset) == ("changed-while-reading", 100)


def test_a_file_that_grows(path: Path) -> None:
    source = FileSource(path)
    source.check_unchanged()
    with path.open("ab") as file:
        file.write(b"more")
    assert read(source, len(DATA) - 3, 3) == DATA[-3:]
    with pytest.raises(Truncated):
        read(source, len(DATA), 1)
    with pytest.raises(ChangedWhileReading):
        source.check_unchanged()


def test_a_file_replaced_by_another(path: Path) -> None:
    source = FileSource(path)
    other = path.with_name("other")
    other.write_bytes(bytes(len(DATA)))
    other.replace(path)
    assert read(source, 0, 10) == DATA[:10], "the open descriptor still has the old bytes"
    with pytest.raises(ChangedWhileReading):
        source.check_unchanged()
    source.close()
    with pytest.raises(ChangedWhileReading) as caught:
        read(source, 0, 10)
    assert caught.value.path == str(path)


def test_a_file_written_in_place(path: Path) -> None:
    source = FileSource(path)
    path.write_bytes(DATA[::-1])
    os.utime(path, ns=(1, 1))
    with pytest.raises(ChangedWhileReading):
        source.check_unchanged()


def test_a_file_that_is_gone(path: Path) -> None:
    source = FileSource(path)
    path.unlink()
    assert read(source, 0, 4) == DATA[:4]
    source.close()
    for ask in (lambda: read(source, 0, 4), source.check_unchanged):
        with pytest.raises(CannotOpen) as caught:
            ask()
        assert caught.value.code == "not-found"


def test_a_closed_source_reads_again(path: Path) -> None:
    source = FileSource(path)
    source.close()
    source.close()
    assert read(source, 0, 4) == DATA[:4]


# --- what is no readable file ---


def test_things_that_are_no_files(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    cases = [(tmp_path, "a folder"), (fifo, "a named pipe"), (Path("/dev/zero"), "a character device")]
    for place, kind in cases:
        with pytest.raises(CannotOpen) as caught:
            FileSource(place)
        assert caught.value.code == "not-a-regular-file"
        assert kind in caught.value.cause


def test_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(CannotOpen):
            FileSource("socket")


def test_no_descriptor_is_lost_on_refusal(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(CannotOpen):
            FileSource(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def error_of(place: str | Path) -> CannotOpen:
    with pytest.raises(CannotOpen) as caught:
        FileSource(place)
    return caught.value


def test_a_missing_file(tmp_path: Path) -> None:
    assert error_of(tmp_path / "none").code == "not-found"
    (tmp_path / "file").touch()
    assert error_of(tmp_path / "file" / "inside").code == "not-found"
    (tmp_path / "broken").symlink_to("nowhere")
    assert error_of(tmp_path / "broken").code == "broken-link"


def test_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert error_of(tmp_path / "a").code == "symlink-loop"


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    assert error_of(tmp_path / ("x" * 5000)).code == "io-error"


@pytest.mark.parametrize("name", ["nul\0byte", "\ud800"])
def test_a_name_that_no_file_can_have(name: str) -> None:
    error = error_of(name)
    assert error.code == "not-found"
    assert str(error).isprintable()


def test_permission_denied(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        # Root may read everything: the refusal comes from the call itself.
        def refuse(*_: object) -> int:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
    path.chmod(0)
    assert error_of(path).code == "permission-denied"


def test_a_link_to_a_file_is_read(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(path)
    assert read(FileSource(tmp_path / "link"), 0, 4) == DATA[:4]


@pytest.mark.parametrize("name", [b"new\nline", b"\xff\xfe.bin", b"\x1b[31mred", "ünïcode".encode()])
def test_names_of_any_bytes(tmp_path: Path, name: bytes) -> None:
    place = os.fsdecode(os.fsencode(tmp_path) + b"/" + name)
    Path(place).write_bytes(b"")
    with pytest.raises(Truncated) as caught:
        read(FileSource(place), 0, 1)
    assert caught.value.path == place
    message = str(caught.value)
    assert "\n" not in message and message.isprintable()


# --- descriptors ---


class Watched:
    """Counts descriptors that are opened and closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open: set[int] = set()
        self.opened = 0
        self.limit: int | None = None
        really_open, really_close = os.open, os.close

        def open_one(name: str, flags: int) -> int:
            if self.limit is not None and len(self.open) >= self.limit:
                raise OSError(errno.EMFILE, "Too many open files")
            descriptor = really_open(name, flags)
            self.open.add(descriptor)
            self.opened += 1
            return descriptor

        def close_one(descriptor: int) -> None:
            self.open.discard(descriptor)
            really_close(descriptor)

        monkeypatch.setattr(source_module, "_POOL", source_module._DescriptorPool())
        monkeypatch.setattr(os, "open", open_one)
        monkeypatch.setattr(os, "close", close_one)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def sources_of(tmp_path: Path, count: int) -> list[FileSource]:
    sources = []
    for number in range(count):
        (tmp_path / f"{number}").write_bytes(bytes([number]) * 8)
        sources.append(FileSource(tmp_path / f"{number}"))
    return sources


def test_the_pool_keeps_the_most_recently_used(
    tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "MAX_OPEN_FILES", 3)
    sources = sources_of(tmp_path, 10)
    assert len(watched.open) == 3
    for number, source in enumerate(sources):
        assert read(source, 0, 8) == bytes([number]) * 8
        assert len(watched.open) <= 4
    before = watched.opened
    for source in sources[-3:]:
        read(source, 0, 8)
    assert watched.opened == before
    read(sources[0], 0, 8)
    assert watched.opened == before + 1


def test_a_descriptor_in_use_is_not_closed(
    tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "MAX_OPEN_FILES", 1)
    first, *others = sources_of(tmp_path, 4)
    with source_module._POOL.lease(first) as descriptor:
        with source_module._POOL.lease(first) as again:
            assert again == descriptor
        first.close()
        for source in others:
            read(source, 0, 8)
        assert descriptor in watched.open
        assert os.pread(descriptor, 8, 0) == bytes(8)
    read(others[0], 0, 8)
    assert descriptor not in watched.open


def test_when_the_system_has_no_descriptor_left_idle_ones_go(tmp_path: Path, watched: Watched) -> None:
    watched.limit = 2
    sources = sources_of(tmp_path, 5)
    assert [read(source, 0, 1)[0] for source in sources] == [0, 1, 2, 3, 4]
    watched.limit = 0
    for source in sources:
        source.close()
    with pytest.raises(CannotOpen) as caught:
        read(sources[0], 0, 1)
    assert caught.value.code == "io-error"


def test_many_threads_read_many_files(
    tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "MAX_OPEN_FILES", 2)
    sources = sources_of(tmp_path, 6)
    barrier = threading.Barrier(4)

    def work(start: int) -> bool:
        barrier.wait()
        return all(
            read(sources[number % 6], number % 4, 4) == bytes([number % 6]) * 4
            for number in range(start, start + 300)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    assert len(watched.open) <= 2


# --- windows ---


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 120), st.integers(0, 50))
def test_a_window_of_a_window(start: int, inner_start: int, offset: int, length: int) -> None:
    outer = SpanSource(MemorySource(DATA, "file"), start, 200)
    window = SpanSource(outer, inner_start, 100)
    assert (window.base, window.size(), window.name) == (start + inner_start, 100, "file")
    if offset + length > 100:
        with pytest.raises(Truncated) as caught:
            read(window, offset, length)
        assert caught.value.offset == start + inner_start + offset
    else:
        begin = start + inner_start + offset
        assert read(window, offset, length) == DATA[begin : begin + length]
    assert file_offset(window, 3) == start + inner_start + 3


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, -1), (0, len(DATA) + 1), (len(DATA), 1)])
def test_a_window_outside_its_parent(start: int, length: int) -> None:
    with pytest.raises(Truncated):
        SpanSource(MemorySource(DATA), start, length)


# --- inflated bytes ---


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@given(st.lists(st.tuples(st.integers(0, len(DATA)), st.integers(0, 3000)), max_size=6))
def test_inflated_bytes_in_any_order(reads: list[tuple[int, int]]) -> None:
    source = InflatedSource(MemorySource(deflated(DATA), "file"), len(DATA), 1000)
    assert (source.size(), source.base, source.name) == (len(DATA), None, "file")
    for offset, length in reads:
        if offset + length <= len(DATA):
            assert read(source, offset, length) == DATA[offset : offset + length]
        else:
            with pytest.raises(Truncated) as caught:
                read(source, offset, length)
            assert caught.value.offset is None


def test_data_larger_than_the_steps_it_is_read_in() -> None:
    import random

    data = random.Random(1).randbytes(1 << 20) + bytes(1 << 20)
    source = InflatedSource(MemorySource(deflated(data)), len(data), 1000)
    assert read(source, 0, len(data)) == data
    assert read(source, 700_001, 600_000) == data[700_001:1_300_001]


def test_fewer_bytes_than_declared() -> None:
    source = InflatedSource(MemorySource(deflated(DATA)), len(DATA) + 1, 1000)
    assert read(source, 0, len(DATA)) == DATA
    with pytest.raises(Truncated) as caught:
        read(source, 0, len(DATA) + 1)
    assert caught.value.code == "deflate-short"


def test_compressed_bytes_that_end_early() -> None:
    source = InflatedSource(MemorySource(deflated(DATA)[:-20]), len(DATA), 1000)
    with pytest.raises(Truncated) as caught:
        read(source, 0, len(DATA))
    assert caught.value.code == "deflate-short"


def test_damaged_compressed_bytes() -> None:
    source = InflatedSource(SpanSource(MemorySource(bytes(50) + b"\xff" * 50), 50, 50), 100, 1000)
    with pytest.raises(Malformed) as caught:
        read(source, 0, 100)
    assert caught.value.code == "deflate-corrupt"
    assert caught.value.offset is not None and 50 <= caught.value.offset <= 100


def test_an_archive_bomb_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InflatedSource, "RATIO_GRACE", 1 << 20)
    bomb = deflated(bytes(1 << 23))
    source = InflatedSource(MemorySource(bomb), 1 << 23, 100)
    assert read(source, 0, 1 << 20) == bytes(1 << 20)
    with pytest.raises(LimitExceeded) as caught:
        read(source, 0, 1 << 23)
    assert caught.value.code == "limit-inflate-ratio"
    assert read(InflatedSource(MemorySource(bomb), 1 << 23, 2000), 0, 1 << 23) == bytes(1 << 23)


def test_an_inflated_source_is_shared_between_threads() -> None:
    source: ByteSource = InflatedSource(MemorySource(deflated(DATA)), len(DATA), 1000)
    with ThreadPoolExecutor(4) as pool:
        pieces = pool.map(lambda offset: read(source, offset, 100), range(0, len(DATA) - 100, 97))
        assert all(piece == DATA[97 * k : 97 * k + 100] for k, piece in enumerate(pieces))


def test_after_a_failure_the_bytes_before_it_can_be_read() -> None:
    source = InflatedSource(MemorySource(deflated(DATA)[:-20]), len(DATA), 1000)
    with pytest.raises(ParamInspectError):
        read(source, 0, len(DATA))
    assert read(source, 0, 100) == DATA[:100]
