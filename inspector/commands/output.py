"""Where a report goes: standard output or a file, with or without colour."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, TextIO

from ...readers.untrusted import printable
from ..reports import writer
from ..reports.blocks import Document, Look
from ..reports.layout import in_ascii

STANDARD_OUTPUT: Final = "standard output"


class CannotWrite(Exception):
    """The report could not be written; the message is one line."""

    def __init__(self, message: str, *, to_standard_output: bool = False) -> None:
        super().__init__(message)
        self.to_standard_output = to_standard_output


class _NothingWritten(Exception):
    """No model could be read, so there is no report: a file that stood there before stays."""


class OutputClosed(Exception):
    """Whoever reads standard output has stopped reading."""


def emit(document: Document, *, format_name: str, path: str | None, color: str) -> None:
    """Write a document to `path`, or to standard output when it is None or `-`.

    A file gets its name only once it is whole; where it stood before, the old one stays until then.

    Args:
        document: what to write.
        format_name: one of `reports.FORMATS`.
        path: a file, or None.
        color: `auto`, `always` or `never`.

    Raises:
        CannotWrite: the disk is full, the folder is missing, ...
        OutputClosed: standard output was closed (`| head`).
    """
    write = writer(format_name)
    if path is None or path == "-":
        if sys.stdout is None:  # closed before the start (`>&-`)
            raise CannotWrite("standard output is closed, so there is nowhere to write to")
        look = look_of(sys.stdout, color)
        guarded = _Guarded(sys.stdout, STANDARD_OUTPUT, ascii_only=not _takes_glyphs(sys.stdout))
        write(document, guarded, look)  # type: ignore[arg-type]
        guarded.flush()
        return
    with suppress(_NothingWritten), new_file(path) as stream:
        guarded = _Guarded(stream, path)
        write(document, guarded, Look(colour=color == "always"))  # type: ignore[arg-type]
        if not guarded.used:
            raise _NothingWritten


def look_of(stream: TextIO, color: str) -> Look:
    """What a stream can show."""
    return Look(wants_colour(stream, color), terminal_width(stream))


def wants_colour(stream: TextIO, color: str) -> bool:
    """`always` and `never` decide; else NO_COLOR, then FORCE_COLOR, then TERM=dumb, then whether it is a
    terminal.
    """
    if color != "auto":
        return color == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and stream.isatty()


def terminal_width(stream: TextIO) -> int | None:
    """COLUMNS where it is set, else the terminal's own; None for anything else (nothing is clipped)."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns[:6]) > 0:
        return int(columns[:6])
    try:
        return os.get_terminal_size(stream.fileno()).columns or None if stream.isatty() else None
    except (OSError, ValueError):
        return None


def _takes_glyphs(stream: TextIO) -> bool:
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("_", "-")
    return encoding.startswith("utf")


class _Guarded:
    """A stream whose failures say that it was the writing that failed, not the reading of a model."""

    def __init__(self, stream: TextIO, name: str, *, ascii_only: bool = False) -> None:
        self._stream = stream
        self._name = name
        self._ascii_only = ascii_only
        self.used = False

    def write(self, text: str) -> int:
        self.used = True
        with _output_errors(self._name):
            return self._stream.write(in_ascii(text) if self._ascii_only else text)

    def writelines(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with _output_errors(self._name):
            self._stream.flush()


@contextmanager
def _output_errors(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise OutputClosed(name) from None
    except OSError as error:
        raise CannotWrite(
            f"cannot write to {printable(name)}: {error.strerror or error}",
            to_standard_output=name == STANDARD_OUTPUT,
        ) from None


def silence_standard_output() -> None:
    """Send what is still buffered nowhere, so that the flush at exit says nothing."""
    with suppress(OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)


@contextmanager
def new_file(path: str) -> Iterator[TextIO]:
    """A text file that appears under its name when the context ends well, and not at all otherwise.

    A device or pipe is written to directly. A link is followed: the file behind it is replaced.
    """
    target = os.path.realpath(path)
    with _output_errors(path):
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "w", encoding="utf-8") as stream:
                yield stream
            return
        temporary = f"{target}.{os.getpid()}.tmp"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with open(descriptor, "w", encoding="utf-8") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            with suppress(FileNotFoundError):
                os.chmod(temporary, os.stat(target).st_mode & 0o7777)
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
