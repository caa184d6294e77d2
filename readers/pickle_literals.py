"""Opcodes that push a plain value: numbers, text, bytes, and what travels outside the pickle.

Text arguments of protocol 0 are accepted only in the spellings that every reader takes for the same value
(the C and the Python unpickler and pickletools differ on `I010`, `I0x10`, `I-0`, `F1_0`, `L010L`).
"""

from __future__ import annotations

import codecs
import math
import re
import struct
from typing import Final, Literal

from .errors import Ambiguous
from .pickle_state import Machine
from .records import BytesRef, Extension, HugeInt, MutableBytes, OutOfBand

_INT_TEXT: Final = re.compile(rb"0|-?[1-9][0-9]*+")
_LONG_TEXT: Final = re.compile(rb"(-?(?:0|[1-9][0-9]*+))L?")
_FLOAT_TEXT: Final = re.compile(rb"[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?|-?(?:inf|nan)")
_ESCAPE: Final = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-3][0-7]{0,2}|[4-7][0-7]?(?![0-7])|[^x0-7])", re.DOTALL)
_KNOWN_ESCAPES: Final = frozenset(b"\n\\'\"abfnrtvx01234567")

_MAX_INT_BYTES: Final = 128
_MAX_INT_DIGITS: Final = 308
_MAX_FLOAT_TEXT: Final = 4_096

_BIG_ENDIAN_DOUBLE: Final = struct.Struct(">d")


# --- numbers ---


def load_int(machine: Machine, pos: int) -> int:
    """INT: decimal digits, or `00` and `01` for the booleans."""
    text, end = machine.long_line(pos)
    if text in (b"00", b"01"):
        machine.stack.append(text == b"01")
        return end
    if _INT_TEXT.fullmatch(text) is None:
        raise _ambiguous_number(machine, pos)
    machine.stack.append(_integer(machine, pos + 1, text))
    return end


def load_long(machine: Machine, pos: int) -> int:
    """LONG: decimal digits with an `L` behind them."""
    text, end = machine.long_line(pos)
    found = _LONG_TEXT.fullmatch(text)
    if found is None:
        raise _ambiguous_number(machine, pos)
    machine.stack.append(_integer(machine, pos + 1, found[1]))
    return end


def _integer(machine: Machine, begin: int, digits: bytes) -> int | HugeInt:
    if len(digits) <= _MAX_INT_DIGITS:
        return int(digits)
    machine.containers += 1
    return HugeInt(machine.offset(begin), len(digits), text=True)


def load_float(machine: Machine, pos: int) -> int:
    """FLOAT: decimal text."""
    text, end = machine.line(pos, pos + 1)
    if len(text) > _MAX_FLOAT_TEXT or _FLOAT_TEXT.fullmatch(text) is None:
        raise _ambiguous_number(machine, pos)
    value = float(text)
    if math.isinf(value) and not text.endswith(b"inf"):
        # Too large: the C unpickler raises, the Python one reads infinity.
        raise _ambiguous_number(machine, pos)
    machine.stack.append(value)
    return end


def _ambiguous_number(machine: Machine, pos: int) -> Exception:
    return machine.fault(
        Ambiguous, "pickle-number", "its text is not a number that every loader reads the same way", pos
    )


def load_binfloat(machine: Machine, pos: int) -> int:
    """BINFLOAT: 8 bytes, big-endian."""
    machine.stack.append(_BIG_ENDIAN_DOUBLE.unpack(machine.argument(pos, 8))[0])
    return pos + 9


def load_long1(machine: Machine, pos: int) -> int:
    """LONG1: little-endian two's complement of up to 255 bytes."""
    return _long_from(machine, pos, pos + 2, machine.argument(pos, 1)[0])


def load_long4(machine: Machine, pos: int) -> int:
    """LONG4: the same with a 4-byte length."""
    return _long_from(machine, pos, pos + 5, _signed_length(machine, pos))


def _long_from(machine: Machine, pos: int, begin: int, length: int) -> int:
    raw = machine.payload(pos, begin, length)
    if raw is None or length > _MAX_INT_BYTES:
        machine.containers += 1
        machine.stack.append(HugeInt(machine.offset(begin), length, text=False))
    else:
        machine.stack.append(int.from_bytes(raw, "little", signed=True))
    return begin + length


def load_none(machine: Machine, pos: int) -> int:
    """NONE."""
    machine.stack.append(None)
    return pos + 1


def load_true(machine: Machine, pos: int) -> int:
    """NEWTRUE."""
    machine.stack.append(True)
    return pos + 1


def load_false(machine: Machine, pos: int) -> int:
    """NEWFALSE."""
    machine.stack.append(False)
    return pos + 1


# --- text ---


def load_unicode(machine: Machine, pos: int) -> int:
    """UNICODE: a line of text with escapes of code points."""
    text, end = machine.long_line(pos)
    machine.stack.append(text.decode("raw-unicode-escape"))
    return end


def load_short_binunicode(machine: Machine, pos: int) -> int:
    """SHORT_BINUNICODE: UTF-8 of up to 255 bytes."""
    return _text(machine, pos, pos + 2, machine.argument(pos, 1)[0])


def load_binunicode(machine: Machine, pos: int) -> int:
    """BINUNICODE: UTF-8 with a 4-byte length."""
    return _text(machine, pos, pos + 5, _length(machine, pos, 4))


def load_binunicode8(machine: Machine, pos: int) -> int:
    """BINUNICODE8: UTF-8 with an 8-byte length."""
    return _text(machine, pos, pos + 9, _length(machine, pos, 8))


def _text(machine: Machine, pos: int, begin: int, length: int) -> int:
    raw = machine.payload(pos, begin, length)
    if raw is None:
        _leave_in_place(machine, "str", begin, length)
    else:
        machine.stack.append(raw.decode("utf-8", "surrogatepass"))
    return begin + length


# --- text of Python 2, which may be bytes ---


def load_string(machine: Machine, pos: int) -> int:
    """STRING: a quoted line with escapes."""
    text, end = machine.long_line(pos)
    if len(text) < 2 or text[0] != text[-1] or text[:1] not in (b"'", b'"'):
        raise machine.malformed("pickle-text", "its text is not in quotes", pos)
    inner = text[1:-1]
    machine.stack.append(_python2_text(_unescaped(machine, pos, inner) if b"\\" in inner else inner))
    return end


def _unescaped(machine: Machine, pos: int, text: bytes) -> bytes:
    """The bytes that backslash escapes stand for. Unknown escapes stand for themselves."""
    checked = _ESCAPE.sub(_protected, text)
    if _ESCAPE.sub(b"", text).find(b"\\") >= 0:
        raise machine.malformed("pickle-text", "its text has an escape that stands for nothing", pos)
    return codecs.escape_decode(checked)[0]


def _protected(escape: re.Match[bytes]) -> bytes:
    return escape[0] if escape[1][0] in _KNOWN_ESCAPES else b"\\" + escape[0]


def load_binstring(machine: Machine, pos: int) -> int:
    """BINSTRING: 4-byte signed length."""
    return _string(machine, pos, pos + 5, _signed_length(machine, pos))


def load_short_binstring(machine: Machine, pos: int) -> int:
    """SHORT_BINSTRING: 1-byte length."""
    return _string(machine, pos, pos + 2, machine.argument(pos, 1)[0])


def _string(machine: Machine, pos: int, begin: int, length: int) -> int:
    raw = machine.payload(pos, begin, length)
    if raw is None:
        _leave_in_place(machine, "bytes", begin, length)
    else:
        machine.stack.append(_python2_text(raw))
    return begin + length


def _python2_text(raw: bytes) -> str | bytes:
    """A `str` of Python 2: text where it is ASCII, as loaders take it by default, else its bytes."""
    return str(raw, "ascii") if raw.isascii() else raw


# --- bytes ---


def load_short_binbytes(machine: Machine, pos: int) -> int:
    """SHORT_BINBYTES: 1-byte length."""
    return _bytes(machine, pos, pos + 2, machine.argument(pos, 1)[0])


def load_binbytes(machine: Machine, pos: int) -> int:
    """BINBYTES: 4-byte length."""
    return _bytes(machine, pos, pos + 5, _length(machine, pos, 4))


def load_binbytes8(machine: Machine, pos: int) -> int:
    """BINBYTES8: 8-byte length."""
    return _bytes(machine, pos, pos + 9, _length(machine, pos, 8))


def _bytes(machine: Machine, pos: int, begin: int, length: int) -> int:
    raw = machine.payload(pos, begin, length)
    if raw is None:
        _leave_in_place(machine, "bytes", begin, length)
    else:
        machine.stack.append(raw)
    return begin + length


def load_bytearray8(machine: Machine, pos: int) -> int:
    """BYTEARRAY8: 8-byte length."""
    length = _length(machine, pos, 8)
    raw = machine.payload(pos, pos + 9, length)
    if raw is None:
        _leave_in_place(machine, "bytearray", pos + 9, length)
    else:
        machine.containers += 1
        machine.stack.append(MutableBytes(raw))
    return pos + 9 + length


def _leave_in_place(
    machine: Machine, kind: Literal["bytes", "bytearray", "str"], begin: int, length: int
) -> None:
    machine.containers += 1
    machine.stack.append(BytesRef(kind, machine.offset(begin), length))


def _length(machine: Machine, pos: int, width: int) -> int:
    return int.from_bytes(machine.argument(pos, width), "little")


def _signed_length(machine: Machine, pos: int) -> int:
    length = int.from_bytes(machine.argument(pos, 4), "little", signed=True)
    if length < 0:
        raise machine.malformed("pickle-length", f"its length is negative ({length:,})", pos)
    return length


# --- what lies outside the pickle ---


def load_persid(machine: Machine, pos: int) -> int:
    """PERSID: a line of ASCII text."""
    text, end = machine.line(pos, pos + 1)
    machine.persistent_id(pos, text.decode("ascii"))
    return end


def load_binpersid(machine: Machine, pos: int) -> int:
    """BINPERSID: the id is on the stack."""
    machine.persistent_id(pos, machine.stack.pop())
    return pos + 1


def load_ext1(machine: Machine, pos: int) -> int:
    """EXT1: a code of the writer's extension registry."""
    return _extension(machine, pos, machine.argument(pos, 1)[0], pos + 2)


def load_ext2(machine: Machine, pos: int) -> int:
    """EXT2: the same in two bytes."""
    return _extension(machine, pos, _length(machine, pos, 2), pos + 3)


def load_ext4(machine: Machine, pos: int) -> int:
    """EXT4: the same in four bytes, signed."""
    return _extension(machine, pos, int.from_bytes(machine.argument(pos, 4), "little", signed=True), pos + 5)


def _extension(machine: Machine, pos: int, code: int, end: int) -> int:
    record = Extension(code)
    machine.containers += 1
    machine.stack.append(record)
    machine.note("extension", pos, record, code)
    return end


def load_next_buffer(machine: Machine, pos: int) -> int:
    """NEXT_BUFFER: data that travelled beside the pickle."""
    record = OutOfBand(machine.out_of_band)
    machine.out_of_band += 1
    machine.containers += 1
    machine.stack.append(record)
    machine.note("buffer", pos, record, 0)
    return pos + 1


def load_readonly_buffer(machine: Machine, pos: int) -> int:
    """READONLY_BUFFER: a read-only view of the buffer on top takes its place."""
    buffer = machine.stack[-1]
    if isinstance(buffer, OutOfBand):
        view = OutOfBand(buffer.index)
        view.readonly = True
        machine.containers += 1
        machine.stack[-1] = view
    elif buffer is None or isinstance(buffer, (bool, int, float, str, tuple)):
        raise machine.malformed("pickle-target", f"a {type(buffer).__name__} is no buffer", pos)
    return pos + 1
