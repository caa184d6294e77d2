"""What the pickle interpreter holds while it runs, and how it reports a fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

from .errors import Ambiguous, Malformed, ParamInspectError, Truncated
from .pickle_opcodes import OPCODE_NAMES
from .pickle_stream import EventKind, PickleBudget, PickleEvent, PickleStream
from .pickle_tensors import NOTHING, Reinterpret, TensorRecords
from .pickle_window import INLINE_LIMIT, MARGIN, Window
from .records import Call, Global, PersistentId, TensorCall
from .source import ByteSource, file_offset

AfterBuild = Callable[[Call, int], int | None]
"""Called after a BUILD with the object and the offset behind the opcode; returns where the pickle goes on if
something other than opcodes lies there, else None."""

_CHECK_EVERY: Final = 65_536
"""Bytes, and so opcodes at most, between two looks at the clock and the budgets."""

_REBUILD_TENSOR: Final = ("torch._utils", "_rebuild_tensor_v2")
_HOOKS: Final = ("collections", "OrderedDict")


class Machine:
    """Stack, memo, window and event list of one stream.

    The stack is split at the marks: `stack` holds what is above the topmost mark, `marks` the parts below
    it. Positions (`pos`) count in `data`; offsets count in the source.
    """

    __slots__ = (
        "_charged",
        "_frame_end",
        "_globals",
        "_noted",
        "after_build",
        "budget",
        "checkpoint",
        "containers",
        "data",
        "marks",
        "memo",
        "out_of_band",
        "skipped",
        "stack",
        "stream",
        "tensors",
        "trigger",
        "window",
    )

    def __init__(
        self,
        source: ByteSource,
        offset: int,
        budget: PickleBudget,
        after_build: AfterBuild | None,
        collapse_tensors: bool,
    ) -> None:
        self.window = Window(source, offset)
        self.data = b""
        self.checkpoint = 0
        """Position at which `advance` must be called before the next opcode."""
        self.stack: list[object] = []
        self.marks: list[list[object]] = []
        self.memo: dict[int, object] = {}
        self.stream = PickleStream(None, offset, offset)
        self.budget = budget
        self.after_build = after_build
        self.containers = 0
        """Created since the budget was last charged."""
        self.skipped = 0
        """Payload bytes left in place since the budget was last charged."""
        self.out_of_band = 0
        self.tensors = TensorRecords(self.memo) if collapse_tensors else None
        self.trigger: object = NOTHING
        """The memoised record whose BINGET may begin a whole tensor record."""
        self._charged = offset
        self._frame_end: int | None = None
        self._globals: dict[tuple[str, str], Global] = {}
        self._noted: dict[tuple[EventKind, int], PickleEvent] = {}

    # --- moving forward ---

    def offset(self, pos: int) -> int:
        """Offset in the source of a position."""
        return self.window.base + pos

    def advance(self, pos: int) -> int:
        """Called between two opcodes once `pos` has reached the checkpoint: ends the frame, charges the
        budgets, moves the window. Returns the position of the same byte in the new `data`.
        """
        offset = self.offset(pos)
        self._leave_frame(offset)
        self.charge(offset)
        if offset >= self.window.size:
            raise self.fault(Truncated, "truncated", "the pickle ends before its STOP opcode", None, _ADVICE)
        pos = self.window.move_to(offset)
        self.data = self.window.data
        self._set_checkpoint(pos)
        return pos

    def charge(self, offset: int) -> None:
        """Charge the budgets for all work up to `offset`."""
        source = self.window.source
        containers, self.containers = self.containers, 0
        hidden = 0
        if self.tensors is not None:
            hidden = self.tensors.hidden
            containers += self.tensors.containers
            self.tensors.containers = 0
        interpreted = offset - self._charged - self.skipped
        self._charged, self.skipped = offset, 0
        place = file_offset(source, offset)
        held = max(len(self.memo) + hidden, len(self.stack))
        self.budget.charge(containers, held, interpreted, source.name, place)

    def _set_checkpoint(self, pos: int) -> None:
        room = len(self.data) - (0 if self.window.at_end else MARGIN)
        checkpoint = min(pos + _CHECK_EVERY, room)
        if self._frame_end is not None:
            checkpoint = min(checkpoint, self._frame_end - self.window.base)
        self.checkpoint = checkpoint

    def _leave_frame(self, offset: int) -> None:
        if self._frame_end is None or offset < self._frame_end:
            return
        if offset > self._frame_end:
            self.straddled(self._frame_end)
        self._frame_end = None

    def enter_frame(self, pos: int, begin: int, length: int) -> None:
        """A FRAME opcode at `pos` announces `length` bytes from position `begin`."""
        start = self.offset(begin)
        if self._frame_end is not None and start != self._frame_end:
            self.straddled(self.offset(pos))
        if length > self.window.size - start:
            raise self.fault(Truncated, "truncated", f"a frame of {length:,} bytes is cut", pos, _ADVICE)
        self._frame_end = start + length
        self.trigger = NOTHING
        self._set_checkpoint(begin)

    def finish_frame(self, end: int) -> None:
        """STOP must be the last byte of its frame: readers differ on where the next pickle begins."""
        if self._frame_end is not None and self.offset(end) != self._frame_end:
            self.straddled(self.offset(end))

    def straddled(self, offset: int) -> NoReturn:
        """Refuse a frame whose end is not the end of an opcode."""
        raise Ambiguous(
            "pickle-frame",
            "a frame ends inside an opcode or begins inside another frame: loaders disagree on such bytes",
            path=self.window.source.name,
            offset=file_offset(self.window.source, offset),
        )

    # --- faults ---

    def fault(
        self, kind: type[ParamInspectError], code: str, cause: str, pos: int | None, advice: str | None = None
    ) -> ParamInspectError:
        """The error for the opcode at `pos`, or for the end of the data when `pos` is None."""
        source = self.window.source
        offset = source.size() if pos is None else self.offset(pos)
        name = "" if pos is None else self.opcode_name(pos) + ": "
        return kind(code, name + cause, path=source.name, offset=file_offset(source, offset), advice=advice)

    def malformed(self, code: str, cause: str, pos: int) -> ParamInspectError:
        """`fault` of the most frequent kind."""
        return self.fault(Malformed, code, cause, pos)

    def cut_short(self, pos: int) -> ParamInspectError:
        """The error for an opcode at `pos` whose argument reaches past the end of the data."""
        return self.fault(
            Truncated, "truncated", "its argument is cut off by the end of the data", pos, _ADVICE
        )

    def opcode_name(self, pos: int) -> str:
        """Name of the opcode at `pos`."""
        opcode = self.data[pos] if pos < len(self.data) else -1
        return OPCODE_NAMES.get(opcode, "pickle")

    # --- arguments ---

    def argument(self, pos: int, length: int) -> bytes:
        """The fixed argument of the opcode at `pos`."""
        argument = self.data[pos + 1 : pos + 1 + length]
        if len(argument) < length:
            raise self.cut_short(pos)
        return argument

    def payload(self, pos: int, begin: int, length: int) -> bytes | None:
        """`length` bytes from position `begin`, or None where they are too many to be copied."""
        available = max(0, self.window.size - self.offset(begin))
        if length > available:
            cause = f"it announces {length:,} bytes, and {available:,} follow"
            raise self.fault(Truncated, "truncated", cause, pos, _ADVICE)
        if length > INLINE_LIMIT:
            self.skipped += length
            return None
        return self.data[begin : begin + length]

    def line(self, pos: int, begin: int) -> tuple[bytes, int]:
        """A short text argument from position `begin`, and the position behind its line feed."""
        end = self.data.find(b"\n", begin, begin + INLINE_LIMIT + 1)
        if end >= 0:
            return self.data[begin:end], end + 1
        if len(self.data) <= begin + INLINE_LIMIT:
            raise self.cut_short(pos)
        raise self.malformed("pickle-line", f"its text is longer than {INLINE_LIMIT:,} bytes", pos)

    def long_line(self, pos: int) -> tuple[bytes, int]:
        """The text argument of the opcode at `pos`, however long the budget allows it to be."""
        searched = pos + 1
        end = self.data.find(b"\n", searched)
        while end < 0:
            searched = len(self.data)
            if not self.window.grow(self.budget.pickle_bytes):
                self._no_line_feed(pos)
            self.budget.deadline.check()
            self.data = self.window.data
            end = self.data.find(b"\n", searched)
        return self.data[pos + 1 : end], end + 1

    def _no_line_feed(self, pos: int) -> NoReturn:
        if self.window.at_end:
            raise self.cut_short(pos)
        self.charge(self.offset(len(self.data)))
        raise self.malformed("pickle-line", f"its text is longer than {len(self.data):,} bytes", pos)

    # --- what would be done ---

    def intern(self, module: str, name: str) -> Global:
        """The one record for a (module, name)."""
        found = self._globals.get((module, name))
        if found is None:
            found = self._globals[module, name] = Global(module, name)
            self.containers += 1
        return found

    def note(self, kind: EventKind, pos: int, target: object, identity: int | None = None) -> None:
        """Append an event, or count one more of those with the same `identity`."""
        key = (kind, id(target) if identity is None else identity)
        event = self._noted.get(key)
        if event is not None:
            event.count += 1
            return
        event = PickleEvent(self.offset(pos), kind, target)
        self.stream.events.append(event)
        self._noted[key] = event
        self.containers += 1
        if kind == "call" and self.tensors is not None:
            self._look_for_tensors()

    def persistent_id(self, pos: int, value: object) -> None:
        """Push a reference to something outside the pickle."""
        record = PersistentId(value, self.offset(pos))
        self.containers += 1
        self.stack.append(record)
        self.stream.persistent_ids.append(record)
        self.note("persistent-id", pos, record, 0)

    def _look_for_tensors(self) -> None:
        """Once one tensor was interpreted opcode by opcode, further ones may be recognised whole: every
        event that such a record stands for exists and only needs counting.
        """
        assert self.tensors is not None
        rebuild, hooks = self._globals.get(_REBUILD_TENSOR), self._globals.get(_HOOKS)
        if rebuild is None or hooks is None or self._frame_end is not None or self.trigger is rebuild:
            return
        events = [
            self._noted.get(("persistent-id", 0)),
            self._noted.get(("call", id(hooks))),
            self._noted.get(("call", id(rebuild))),
        ]
        if all(event is not None for event in events):
            self.tensors.begin(hooks, [event for event in events if event is not None])
            self.trigger = rebuild

    # --- collapsed tensors ---

    def recall(self, pos: int, index: int) -> object:
        """The memo's entry `index`, which is not in `memo`: hidden in a collapsed tensor, or missing."""
        found = NOTHING if self.tensors is None else self.tensors.recall(index)
        if found is NOTHING:
            raise self.malformed("pickle-memo", f"nothing was stored in the memo under {index:,}", pos)
        return found

    def forbid_collapsed(self, target: object) -> None:
        """Start again without collapsing if `target`, which is about to change, is a collapsed tensor."""
        if isinstance(target, TensorCall):
            raise Reinterpret


_ADVICE: Final = "the file is incomplete: download or copy it again"
