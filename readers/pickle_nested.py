"""Pickles inside pickles: interpreted too, wherever a loader would load them, so that none hides anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .errors import LimitExceeded, ParamInspectError
from .pickle_payloads import payload_source
from .pickle_stream import NestedPickle, PickleBudget, PickleStream
from .records import Call
from .source import ByteSource, read

TORCH_MAGIC: Final = 0x1950A86A20F9469CFC6C
"""What the first pickle of torch's legacy layout holds."""

TORCH_PICKLES: Final = 5
"""Pickles that follow each other in that layout, the first included."""

ReadOne = Callable[[ByteSource, int, PickleBudget], PickleStream]


def read_nested(outer: PickleStream, source: ByteSource, budget: PickleBudget, read_one: ReadOne) -> None:
    """Interpret the pickles inside `outer`, and those inside them, and hang each where it was found.

    Raises:
        LimitExceeded: they lie too deep or are too many, or a budget is used up.
    """
    pending = [(outer, source, 1)]
    while pending:
        stream, holder, depth = pending.pop()
        for call in stream.nested_calls:
            budget.enter_nested(depth, source.name)
            nested = _interpreted(call, holder, budget, read_one)
            stream.nested.append(nested)
            if nested.source is not None:
                pending += [(inner, nested.source, depth + 1) for inner in nested.streams]


def _interpreted(call: Call, holder: ByteSource, budget: PickleBudget, read_one: ReadOne) -> NestedPickle:
    payload = call.args[0] if isinstance(call.args, tuple) and call.args else None
    nested = NestedPickle(call)
    try:
        nested.source = payload_source(payload, holder)
        if nested.source is None:
            nested.problem = "its bytes are not stored as bytes"
        elif nested.source.size() >= 2 and read(nested.source, 0, 2) == b"PK":
            nested.problem = "it is a zip archive"
        else:
            _read_streams(nested, nested.source, budget, read_one)
    except LimitExceeded:
        raise
    except ParamInspectError as error:
        if isinstance(error.partial, PickleStream):
            nested.streams.append(error.partial)
        nested.problem = error.cause
    return nested


def _read_streams(nested: NestedPickle, source: ByteSource, budget: PickleBudget, read_one: ReadOne) -> None:
    """One pickle, or the five that torch's legacy layout begins with."""
    nested.streams.append(read_one(source, 0, budget))
    magic = nested.streams[0].root
    if type(magic) is int and magic == TORCH_MAGIC:
        while len(nested.streams) < TORCH_PICKLES:
            nested.streams.append(read_one(source, nested.streams[-1].end, budget))
