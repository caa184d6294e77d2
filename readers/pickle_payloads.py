"""Bytes that a pickle carries inside: arrays, and whole pickles."""

from __future__ import annotations

from typing import Final, Protocol, TypeGuard

from .records import BytesRef, Call, Global, MutableBytes
from .source import ByteSource, MemorySource, SpanSource, read

_BUILTINS: Final = frozenset({"builtins", "__builtin__"})
_CODECS: Final = frozenset({"_codecs"})

_LONGEST_TEXT: Final = 512 << 20
"""Bytes of text that are turned back into the bytes it stands for, in memory."""


class _PositionalCall(Protocol):
    args: tuple[object, ...]


def payload_source(record: object, source: ByteSource) -> ByteSource | None:
    """The bytes of a payload: bytes, a bytearray, a view of one, or text whose characters are the bytes
    (alone in pickles of Python 2, inside a call of `_codecs.encode` in those of Python 3 with protocols
    before 3). None for anything else.

    Args:
        record: what stands where bytes are expected.
        source: the pickle's bytes, for payloads that were left in place.
    """
    while _is_call(record, "bytearray", _BUILTINS) and record.args:
        record = record.args[0]  # a tuple is older than the call it is given to: this ends
    if _is_call(record, "encode", _CODECS) and record.args:
        return _latin1(record.args[0], source)
    if any(_is_call(record, name, _BUILTINS) and not record.args for name in ("bytes", "bytearray")):
        return MemorySource(b"", source.name)
    if isinstance(record, str) or (isinstance(record, BytesRef) and record.kind == "str"):
        return _latin1(record, source)
    if isinstance(record, BytesRef):
        return SpanSource(source, record.offset, record.length)
    if isinstance(record, MutableBytes):
        return MemorySource(record.value, source.name)
    if isinstance(record, bytes):
        return MemorySource(record, source.name)
    return None


def _is_call(record: object, name: str, modules: frozenset[str]) -> TypeGuard[_PositionalCall]:
    if not isinstance(record, Call) or not isinstance(record.function, Global):
        return False
    return record.function.name == name and record.function.module in modules and type(record.args) is tuple


def _latin1(text: object, source: ByteSource) -> ByteSource | None:
    try:
        if isinstance(text, BytesRef) and text.kind == "str" and text.length <= _LONGEST_TEXT:
            # Read whole: the characters above 127 take two bytes, so no offset can be computed.
            text = read(source, text.offset, text.length).decode("utf-8")
        return MemorySource(text.encode("latin-1"), source.name) if isinstance(text, str) else None
    except UnicodeError:
        return None
