"""Standard input as a file that can be read by offset: used as it is, or copied to disk first."""

from __future__ import annotations

import errno
import os
import stat
import weakref
from select import select
from typing import Final

from .errors import CannotOpen, ParamInspectError
from .limits import Deadline
from .lookalikes import unrecognised
from .registry import OpenContext, may_be_checkpoint
from .source import FileSource, MemorySource

NAME: Final = "<standard input>"
"""What messages call it."""

_STANDARD_INPUT: Final = 0
_CHUNK: Final = 1 << 20
_LOOKED_AT: Final = 1 << 20
"""Bytes after which what comes is looked at."""

_PATIENCE: Final = 0.1
"""Seconds between two looks at the clock while nothing arrives."""

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def spooled_input(context: OpenContext) -> FileSource:
    """Standard input, from where it stands to its end.

    A redirected file is read where it lies. Anything else is copied into a temporary file without a name,
    so that nothing is left behind however the process ends; it lies in `TMPDIR` where that is set, else in
    `/var/tmp`, which unlike `/tmp` is not kept in memory. Closing the source gives its room back.

    Raises:
        CannotOpen: standard input is a terminal or closed, cannot be read, or there is no room for the copy.
        LimitExceeded: the time is used up.
    """
    try:
        status = os.fstat(_STANDARD_INPUT)
    except OSError:
        raise _cannot_open("standard-input-closed", "standard input is closed") from None
    if os.isatty(_STANDARD_INPUT):
        raise _cannot_open(
            "standard-input-terminal",
            "standard input is a terminal: no file is piped into it",
            "pipe a file into it, or give the file's name instead of -",
        )
    if stat.S_ISREG(status.st_mode) and os.lseek(_STANDARD_INPUT, 0, os.SEEK_CUR) == 0:
        return _DescriptorSource(os.dup(_STANDARD_INPUT))
    return _DescriptorSource(_copied(context.deadline))


class _DescriptorSource(FileSource):
    """An open file that has no path, or whose path is not known. Owns its descriptor."""

    __slots__ = ("_closer", "_descriptor")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._closer = weakref.finalize(self, os.close, descriptor)
        super().__init__(NAME)

    def open_descriptor(self) -> int:
        """A duplicate of the descriptor, for the pool."""
        if not self._closer.alive:
            raise _cannot_open("standard-input-closed", "the copy of standard input was closed")
        descriptor = os.dup(self._descriptor)
        try:
            self._accept(os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def check_unchanged(self) -> None:
        """Raise `ChangedWhileReading` if a redirected file was written to meanwhile."""
        self._accept(os.fstat(self._descriptor))

    def close(self) -> None:
        """Give the copy's room back; there is no reading afterwards."""
        super().close()
        self._closer()


def _copied(deadline: Deadline) -> int:
    """The descriptor of a temporary file that holds what standard input still gives."""
    descriptor = _temporary_file()
    try:
        copied = 0
        start = b""
        while chunk := _next_chunk(deadline):
            if copied < _LOOKED_AT <= copied + len(chunk):
                _refuse_hopeless(start + chunk)
            start = (start + chunk)[:_LOOKED_AT]
            _write(descriptor, chunk, copied)
            copied += len(chunk)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_hopeless(start: bytes) -> None:
    """An endless stream of something else must not fill the disk before anyone looks at it."""
    source = MemorySource(start, NAME)
    if not may_be_checkpoint(source):
        raise unrecognised(source)


def _temporary_file() -> int:
    import tempfile

    chosen = next(filter(None, map(os.environ.get, ("TMPDIR", "TEMP", "TMP"))), None)
    folder = chosen or ("/var/tmp" if os.access("/var/tmp", os.W_OK) else None)  # noqa: S108
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            return os.dup(file.fileno())
    except OSError as error:
        raise _no_copy(error, 0) from None


def _next_chunk(deadline: Deadline) -> bytes:
    while True:
        deadline.check()
        if deadline.seconds > 0 and not _arrives():
            continue
        try:
            return os.read(_STANDARD_INPUT, _CHUNK)
        except BlockingIOError:
            _arrives()
        except OSError as error:
            cause = f"standard input cannot be read: {error.strerror}"
            raise _cannot_open("io-error", cause) from None


def _arrives() -> bool:
    """Wait a moment for input; whether there is some, or its end."""
    return bool(select([_STANDARD_INPUT], [], [], _PATIENCE)[0])


def _write(descriptor: int, chunk: bytes, position: int) -> None:
    rest = memoryview(chunk)
    while rest:
        try:
            count = os.write(descriptor, rest)
        except OSError as error:
            raise _no_copy(error, position + len(chunk) - len(rest)) from None
        rest = rest[count:]


def _no_copy(error: OSError, position: int) -> ParamInspectError:
    if error.errno in _NO_ROOM:
        return _cannot_open(
            "no-room",
            f"there is no room for a copy of standard input: the disk is full after {position:,} bytes",
            "save it to a file on another disk and give that name, or set TMPDIR to a folder with more room",
        )
    return _cannot_open(
        "no-temporary-file",
        f"standard input cannot be copied to a temporary file: {error.strerror or error}",
        "set TMPDIR to a folder that can be written to",
    )


def _cannot_open(code: str, cause: str, advice: str | None = None) -> CannotOpen:
    return CannotOpen(code, cause, path=NAME, advice=advice)
