"""What interpreting a pickle yields: its root record, and what it would have done while being loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from .errors import LimitExceeded
from .findings import Finding
from .limits import Deadline, Limits
from .records import Call, Extension, Global, PersistentId, UnresolvedGlobal
from .source import ByteSource

EventKind = Literal["global", "call", "build", "persistent-id", "extension", "buffer"]

NOT_A_NAME: Final = "<computed>"
"""Shown for a module or name that the stream builds from something other than text."""

EXTENSION_REGISTRY: Final = "<extension registry>"
"""Shown for the module of what an EXT opcode refers to by number."""

NESTED_LOADERS: Final = frozenset(
    {
        ("torch.storage", "_load_from_bytes"),
        ("pickle", "loads"),
        ("_pickle", "loads"),
        ("cPickle", "loads"),
        ("dill", "loads"),
        ("dill._dill", "loads"),
        ("cloudpickle", "loads"),
    }
)
"""Functions that load a pickle from their first argument."""


@dataclass(slots=True)
class PickleEvent:
    """Something the real loader would have done, noted when the opcode was executed, so that what is
    discarded from the stack afterwards is told all the same.

    Events of one kind about one `Global` are one event with a count; so are those about one extension
    code, all persistent ids together and all buffers together.
    """

    offset: int
    """Offset in the source of the first such opcode."""

    kind: EventKind
    target: object
    """The `Global`, `UnresolvedGlobal`, `Extension`, `PersistentId` or `OutOfBand`; for calls and builds the
    `Global` that is called or whose result is built, or whatever record stands in its place."""

    count: int = 1


class Import(NamedTuple):
    """One name that the real loader would import."""

    module: str
    """`<computed>` where the stream builds the name from something other than text."""

    name: str
    offset: int
    """Offset in the source where it is first named."""

    called: bool


@dataclass(slots=True)
class PickleStream:
    """One pickle, as records."""

    root: object
    """What STOP returned; None where the stream could not be read to its end."""

    start: int
    end: int
    """Offset in the source one past STOP, or where the reading ended."""

    events: list[PickleEvent] = field(default_factory=list)
    protocol: int = 0
    """Of the last PROTO opcode; 0 without one."""

    findings: list[Finding] = field(default_factory=list)
    persistent_ids: list[PersistentId] = field(default_factory=list)
    """In order; those inside a `TensorCall` are told by it and not repeated here."""

    complete: bool = False
    """Whether STOP was reached."""

    label: str = ""
    """Which pickle of the file it is: the member's name, or empty for a file that is one pickle."""

    nested_calls: list[Call] = field(default_factory=list)
    """Calls of `NESTED_LOADERS`, in the order of execution."""

    nested: list[NestedPickle] = field(default_factory=list)
    """What those calls would load; empty for a stream that was not read to its end."""

    @property
    def imports(self) -> list[Import]:
        """Each distinct name that is imported, in order of first mention."""
        called = {_identity(event.target) for event in self.events if event.kind == "call"}
        return [
            Import(*_shown_name(event.target), event.offset, _identity(event.target) in called)
            for event in self.events
            if event.kind in ("global", "extension")
        ]


@dataclass(slots=True)
class NestedPickle:
    """What a call would load from bytes inside a pickle."""

    call: Call
    source: ByteSource | None = None
    """The bytes; None where they are not stored as bytes."""

    streams: list[PickleStream] = field(default_factory=list)
    """The pickles that were read in it; the last one may be incomplete."""

    problem: str | None = None
    """Why it could not be read to its end."""


def _identity(target: object) -> tuple[str, int]:
    return ("code", target.code) if isinstance(target, Extension) else ("id", id(target))


def _shown_name(target: object) -> tuple[str, str]:
    if isinstance(target, Global):
        return target.module, target.name
    if isinstance(target, Extension):
        return EXTENSION_REGISTRY, str(target.code)
    assert isinstance(target, UnresolvedGlobal)
    module, name = target.module, target.name
    return (
        module if isinstance(module, str) else NOT_A_NAME,
        name if isinstance(name, str) else NOT_A_NAME,
    )


class PickleBudget:
    """What all pickles of one file together may use."""

    __slots__ = ("_limits", "bytes_read", "containers", "deadline", "nested_streams", "streams")

    def __init__(self, limits: Limits, deadline: Deadline) -> None:
        self._limits = limits
        self.deadline = deadline
        self.containers = 0
        """Records, tuples and marks created so far."""
        self.bytes_read = 0
        """Bytes interpreted so far; payloads left in place do not count."""
        self.nested_streams = 0
        self.streams: list[PickleStream] = []
        """What was read, in order; nested pickles hang at the one they lie in."""

    def enter_nested(self, depth: int, path: str | None = None) -> None:
        """Account for one pickle inside a pickle, `depth` levels below the file's own.

        Raises:
            LimitExceeded: it lies too deep, or there have been too many.
        """
        if depth > self._limits.nested_depth:
            raise LimitExceeded(
                "limit-nested-depth",
                f"pickles lie inside pickles more than {self._limits.nested_depth} deep",
                path=path,
                advice="raise it with --limit nested_depth=N if you trust the file",
            )
        self.nested_streams += 1
        if self.nested_streams > self._limits.nested_streams:
            raise LimitExceeded(
                "limit-nested-streams",
                f"the file holds more than {self._limits.nested_streams:,} pickles inside pickles",
                path=path,
                advice="raise it with --limit nested_streams=N if you trust the file",
            )

    def charge(self, containers: int, held: int, interpreted: int, path: str, offset: int | None) -> None:
        """Account for work done by a stream since the last charge, and look at the clock.

        Args:
            containers: newly created.
            held: entries of the memo or of the stack, whichever is longer.
            interpreted: bytes, newly.
            path: for the error.
            offset: in that file.

        Raises:
            LimitExceeded: the budget it exceeds is named.
        """
        self.deadline.check()
        self.containers += containers
        self.bytes_read += interpreted
        limits = self._limits
        if max(self.containers, held) > limits.containers:
            raise LimitExceeded(
                "limit-containers",
                f"the pickle creates more than {limits.containers:,} objects",
                path=path,
                offset=offset,
                advice="raise it with --limit containers=N if you trust the file",
            )
        if self.bytes_read > limits.pickle_bytes:
            raise LimitExceeded(
                "limit-pickle-bytes",
                f"the pickle has more than {limits.pickle_bytes:,} bytes of instructions",
                path=path,
                offset=offset,
                advice="raise it with --limit pickle_bytes=N if you trust the file",
            )

    @property
    def pickle_bytes(self) -> int:
        """The most bytes that may be interpreted."""
        return self._limits.pickle_bytes
