"""Resource budgets: how much a file may ask of the machine before it is refused."""

from __future__ import annotations

import time
from typing import NamedTuple

from .errors import LimitExceeded


class Limits(NamedTuple):
    """Budgets for one opening. Every one has its own error text, code and `--limit NAME=VALUE`."""

    header_bytes: int = 100_000_000
    """A safetensors header; the reference library's own limit."""

    index_bytes: int = 256 << 20
    """An index file or another JSON side file."""

    shards: int = 10_000
    """Files that one index may name."""

    npy_header_bytes: int = 64 << 10
    """The header of one .npy array."""

    containers: int = 10_000_000
    """Lists, dicts, tuples, sets and calls that one pickle may create."""

    pickle_bytes: int = 128 << 20
    """Instructions of all pickles of one file; payloads above 64 KiB are left in place and do not count."""

    nested_depth: int = 4
    """Pickles inside pickles."""

    nested_streams: int = 100_000
    """Pickles inside one file, all depths together."""

    inflated_bytes: int = 1 << 30
    """What one compressed member that must be read whole (a pickle, a header) may inflate to."""

    inflate_ratio: int = 1_000
    """Inflated bytes for each compressed byte, once 64 MiB have come out."""

    seconds: float = 0.0
    """Wall clock for one opening; 0 is no limit."""

    def changed(self, **values: float) -> Limits:
        """A copy with some budgets replaced."""
        return self._replace(**values)  # type: ignore[arg-type]

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names that `changed` and `--limit` accept."""
        return cls._fields


DEFAULT_LIMITS = Limits()


class Deadline:
    """The moment after which an opening gives up; asked every few thousand steps."""

    __slots__ = ("_end", "_path", "seconds")

    def __init__(self, seconds: float, path: str | None = None) -> None:
        self.seconds = seconds
        self._path = path
        self._end = time.monotonic() + seconds if seconds > 0 else None

    def check(self) -> None:
        """Raise `LimitExceeded` once the time is used up."""
        if self._end is not None and time.monotonic() > self._end:
            raise LimitExceeded(
                "limit-seconds",
                f"reading took longer than the budget of {self.seconds:g} s",
                path=self._path,
                advice="raise it with --limit seconds=N, or 0 for none",
            )
