"""Bytes to read from: the only module that touches a file.

A source is read by offset (`pread`), never mapped: a file truncated under a mapping kills the process.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from .errors import CannotOpen, ChangedWhileReading, LimitExceeded, Malformed, Truncated

MAX_OPEN_FILES: Final = 64
"""Descriptors kept open at once, over all checkpoints of the process."""

_CHUNK: Final = 1 << 18


class ByteSource(Protocol):
    """Random access to a run of bytes whose length is known."""

    @property
    def name(self) -> str:
        """The file to name in an error message."""
        ...

    @property
    def base(self) -> int | None:
        """Offset of this source's first byte in the file `name`, or None where there is no such
        offset (inflated or decoded bytes).
        """
        ...

    def size(self) -> int:
        """Length in bytes."""
        ...

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the whole `buffer` from `offset`.

        Raises:
            Truncated: the source ends before the buffer is full.
            ChangedWhileReading, CannotOpen: the file is not what it was when it was opened.
        """
        ...


def read(source: ByteSource, offset: int, length: int) -> bytes:
    """`length` bytes from `offset`, checked against the size before any memory is taken."""
    if offset < 0 or length < 0 or offset + length > source.size():
        raise out_of_bounds(source, offset, length)
    buffer = bytearray(length)
    source.pread_into(offset, memoryview(buffer))
    return bytes(buffer)


def file_offset(source: ByteSource, offset: int) -> int | None:
    """Where `offset` of this source lies in its file, for error messages."""
    return None if source.base is None else source.base + offset


def out_of_bounds(source: ByteSource, offset: int, length: int) -> Truncated:
    """The error for bytes that a structure promises and the source does not have."""
    missing = offset + length - source.size()
    return Truncated(
        "truncated",
        f"{length:,} bytes are needed here, but the data ends {missing:,} bytes too early",
        path=source.name,
        offset=file_offset(source, offset),
        advice="the file is incomplete: download or copy it again",
    )


class _DescriptorPool:
    """Open descriptors, least recently used closed first; one in use is never closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: OrderedDict[FileSource, int] = OrderedDict()
        self._users: dict[FileSource, tuple[int, int]] = {}

    @contextmanager
    def lease(self, source: FileSource) -> Iterator[int]:
        """The descriptor of `source`, kept open while the context lasts."""
        descriptor = self._acquire(source)
        try:
            yield descriptor
        finally:
            self._release(source)

    def _acquire(self, source: FileSource) -> int:
        with self._lock:
            if source in self._users:
                descriptor, users = self._users[source]
                self._users[source] = (descriptor, users + 1)
                return descriptor
            idle = self._idle.pop(source, None)
            descriptor = source.open_descriptor() if idle is None else idle
            self._users[source] = (descriptor, 1)
            return descriptor

    def _release(self, source: FileSource) -> None:
        with self._lock:
            descriptor, users = self._users[source]
            if users > 1:
                self._users[source] = (descriptor, users - 1)
                return
            del self._users[source]
            self._idle[source] = descriptor
            while len(self._idle) > MAX_OPEN_FILES:
                os.close(self._idle.popitem(last=False)[1])

    def forget(self, source: FileSource) -> None:
        """Close the descriptor of `source` if nobody reads from it."""
        with self._lock:
            descriptor = self._idle.pop(source, None)
        if descriptor is not None:
            os.close(descriptor)

    def close_idle(self) -> bool:
        """Close what is not in use (called when the system has no descriptor left)."""
        closed = bool(self._idle)
        while self._idle:
            os.close(self._idle.popitem()[1])
        return closed


_POOL: Final = _DescriptorPool()


class FileSource:
    """A regular file, read with `pread`.

    The file's identity (device, inode, size, modification time) is taken when the source is made and
    asked again after each read that came out short and whenever the descriptor is opened anew.
    """

    __slots__ = ("__weakref__", "_identity", "_size", "path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._identity: tuple[int, int, int, int] | None = None
        self._size = 0
        with _POOL.lease(self):
            pass

    @property
    def name(self) -> str:
        """The path as it was given."""
        return self.path

    @property
    def base(self) -> int | None:
        """A file starts at its own first byte."""
        return 0

    @property
    def identity(self) -> tuple[int, int, int, int]:
        """(device, inode, size, modification time in ns) when the file was opened."""
        assert self._identity is not None
        return self._identity

    def size(self) -> int:
        """Length in bytes when the file was opened."""
        return self._size

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the whole `buffer` from `offset`."""
        view = buffer.cast("B")
        if offset < 0 or offset + len(view) > self._size:
            raise out_of_bounds(self, offset, len(view))
        with _POOL.lease(self) as descriptor:
            filled = 0
            while filled < len(view):
                try:
                    count = os.preadv(descriptor, [view[filled:]], offset + filled)
                except OSError as error:
                    raise _system_error(self.path, error, offset + filled) from None
                if count == 0:
                    raise _changed(self.path, offset + filled)
                filled += count

    def check_unchanged(self) -> None:
        """Raise `ChangedWhileReading` if the file behind the path is no longer the one opened."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise _system_error(self.path, error) from None
        if _identity(status) != self._identity:
            raise _changed(self.path)

    def close(self) -> None:
        """Release the descriptor; a later read opens the file again."""
        _POOL.forget(self)

    def open_descriptor(self) -> int:
        """A new descriptor, checked to be the regular file first seen (used by the pool)."""
        try:
            descriptor = _open_read_only(self.path)
        except OSError as error:
            raise _system_error(self.path, error) from None
        try:
            self._accept(os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _accept(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise CannotOpen(
                "not-a-regular-file", f"this is {_kind_of(status.st_mode)}, not a file", path=self.path
            )
        if self._identity is None:
            self._identity = _identity(status)
            self._size = status.st_size
        elif self._identity != _identity(status):
            raise _changed(self.path)


def _open_read_only(path: str) -> int:
    # O_NONBLOCK: opening a FIFO must not hang; it has no effect on regular files.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        return os.open(path, flags)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE) or not _POOL.close_idle():
            raise
        return os.open(path, flags)
    except ValueError:  # a zero byte, or text that is no file name: nothing is called so
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _kind_of(mode: int) -> str:
    names = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
    )
    return next((name for test, name in names if test(mode)), "a special file")


def _system_error(path: str, error: OSError, offset: int | None = None) -> CannotOpen:
    codes = {
        errno.ENOENT: ("not-found", "there is no such file"),
        errno.ENOTDIR: ("not-found", "there is no such file"),
        errno.EACCES: ("permission-denied", "permission to read it is denied"),
        errno.ELOOP: ("symlink-loop", "the symbolic links form a loop"),
        errno.EISDIR: ("not-a-regular-file", "this is a folder, not a file"),
    }
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno == errno.ENOENT and os.path.islink(path):
        return CannotOpen(
            "broken-link", "this is a link to a file that is not there", path=path, offset=offset
        )
    code, cause = codes.get(error.errno or 0, ("io-error", f"the system cannot read it: {reason}"))
    return CannotOpen(code, cause, path=path, offset=offset)


def _changed(path: str, offset: int | None = None) -> ChangedWhileReading:
    return ChangedWhileReading(
        "changed-while-reading",
        "the file was changed, cut or replaced while it was being read",
        path=path,
        offset=offset,
        advice="wait for the writer to finish and try again",
    )


class MemorySource:
    """Bytes already in memory."""

    __slots__ = ("_data", "_name")

    def __init__(self, data: bytes | bytearray | memoryview, name: str = "<memory>") -> None:
        self._data = memoryview(data).cast("B")
        self._name = name

    @property
    def name(self) -> str:
        """What to call these bytes in a message."""
        return self._name

    @property
    def base(self) -> int | None:
        """Offsets count from the first byte."""
        return 0

    def size(self) -> int:
        """Length in bytes."""
        return len(self._data)

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the whole `buffer` from `offset`."""
        view = buffer.cast("B")
        if offset < 0 or offset + len(view) > len(self._data):
            raise out_of_bounds(self, offset, len(view))
        view[:] = self._data[offset : offset + len(view)]


class SpanSource:
    """A window on another source: a stored archive member, one tensor of a container file."""

    __slots__ = ("_length", "_parent", "_start")

    def __init__(self, parent: ByteSource, start: int, length: int) -> None:
        if start < 0 or length < 0 or start + length > parent.size():
            raise out_of_bounds(parent, start, length)
        self._parent = parent
        self._start = start
        self._length = length

    @property
    def name(self) -> str:
        """The file behind the window."""
        return self._parent.name

    @property
    def base(self) -> int | None:
        """Where the window begins in the file."""
        return file_offset(self._parent, self._start)

    def size(self) -> int:
        """Length of the window in bytes."""
        return self._length

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the whole `buffer` from `offset` of the window."""
        view = buffer.cast("B")
        if offset < 0 or offset + len(view) > self._length:
            raise out_of_bounds(self, offset, len(view))
        self._parent.pread_into(self._start + offset, view)


class InflatedSource:
    """A deflated run of bytes, inflated as it is read, never held whole.

    Reading forward costs one pass; reading backward starts again from the beginning. More than the
    declared size, or a ratio that only an archive bomb reaches, stops the reading.
    """

    __slots__ = ("_inflater", "_lock", "_parent", "_position", "_ratio", "_size", "_tail", "_taken")

    RATIO_GRACE: Final = 64 << 20
    """Inflated bytes before the ratio is asked."""

    def __init__(self, parent: ByteSource, inflated_size: int, max_ratio: int) -> None:
        self._parent = parent
        self._size = inflated_size
        self._ratio = max_ratio
        self._lock = threading.Lock()
        self._restart()

    @property
    def name(self) -> str:
        """The file behind the compressed bytes."""
        return self._parent.name

    @property
    def base(self) -> int | None:
        """Inflated bytes have no offset in the file."""
        return None

    def size(self) -> int:
        """Inflated length as declared by the archive; checked while reading."""
        return self._size

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the whole `buffer` from `offset` of the inflated bytes."""
        view = buffer.cast("B")
        if offset < 0 or offset + len(view) > self._size:
            raise out_of_bounds(self, offset, len(view))
        with self._lock:
            if offset < self._position:
                self._restart()
            while self._position < offset:
                self._take(min(_CHUNK, offset - self._position))
            filled = 0
            while filled < len(view):
                piece = self._take(min(_CHUNK, len(view) - filled))
                view[filled : filled + len(piece)] = piece
                filled += len(piece)

    def _restart(self) -> None:
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._position = 0
        self._taken = 0
        self._tail = b""

    def _take(self, want: int) -> bytes:
        while True:
            if not self._tail and self._taken < self._parent.size():
                step = min(_CHUNK, self._parent.size() - self._taken)
                self._tail = read(self._parent, self._taken, step)
                self._taken += step
            try:
                piece = self._inflater.decompress(self._tail, want)
            except zlib.error as error:
                raise Malformed(
                    "deflate-corrupt",
                    f"the compressed data is damaged ({error})",
                    path=self.name,
                    offset=file_offset(self._parent, self._taken),
                ) from None
            self._tail = self._inflater.unconsumed_tail
            if piece:
                self._position += len(piece)
                self._check_ratio()
                return piece
            if self._inflater.eof or (not self._tail and self._taken >= self._parent.size()):
                raise Truncated(
                    "deflate-short",
                    f"the compressed data ends after {self._position:,} of {self._size:,} declared bytes",
                    path=self.name,
                    offset=file_offset(self._parent, self._taken),
                )

    def _check_ratio(self) -> None:
        if self._position > self.RATIO_GRACE and self._position > self._ratio * max(1, self._taken):
            raise LimitExceeded(
                "limit-inflate-ratio",
                f"{self._taken:,} compressed bytes have grown to {self._position:,}: "
                f"more than the budget of {self._ratio:,} to 1",
                path=self.name,
                offset=file_offset(self._parent, 0),
                advice="raise it with --limit inflate_ratio=N if you trust the file",
            )
