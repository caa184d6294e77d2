"""What a person holds when no reader recognises the bytes: the error that names it, and what to do."""

from __future__ import annotations

import re
from typing import Final

from .errors import ParamInspectError, Truncated, UnknownFormat, Unsupported
from .limits import DEFAULT_LIMITS
from .lookalike_inflated import first_inflated
from .lookalike_protobuf import protobuf_lookalike
from .lookalike_signatures import (
    HDF5,
    MSGPACK,
    PADDLE,
    SIGNATURES,
    TF_DATA,
    ZIP_MEMBERS,
    ZLIB,
    Lookalike,
)
from .lookalike_text import text_lookalike
from .source import ByteSource, file_offset, read
from .units import format_bytes
from .untrusted import printable
from .zip_archive import open_archive

HEAD_BYTES: Final = 64 << 10
"""Most bytes from the start of a file that are looked at."""

_SHOWN: Final = 16
"""Bytes shown of a file that nothing is known about."""

_SAMPLES: Final = 64
_SAMPLE_BYTES: Final = 4 << 10
"""How a file that begins with zero bytes is searched for others, beside its last bytes."""

_INCOMPLETE: Final = "the file is incomplete: download or copy it again"


def unrecognised(source: ByteSource) -> ParamInspectError:
    """The error for a file that no reader recognises. Never raises one.

    Returns:
        Truncated: a file that was not written to its end.
        Unsupported: a format or wrapper that is known and not read here.
        UnknownFormat: anything else, by name where it is known, else with its first bytes.
        ParamInspectError: of another kind, where the file could not be read at all.
    """
    try:
        return _named(source)
    except ParamInspectError as error:
        return error


def _named(source: ByteSource) -> ParamInspectError:
    size = source.size()
    if size == 0:
        return Truncated(
            "empty-file", "the file is empty (0 bytes)", path=source.name, offset=0, advice=_INCOMPLETE
        )
    head = read(source, 0, min(size, HEAD_BYTES))
    if not head.strip(b"\0"):
        return _zeros(source)
    if head[:2] == b"PK" and head[2:4] in (b"\x03\x04", b"\x05\x06", b"\x07\x08"):
        return _zip(source)
    found = _by_signature(source, head) or _by_structure(source, head)
    if found is not None:
        return _not_read(source, found, _inside(found, head))
    return (
        text_lookalike(source, head, whole=size == len(head))
        or _by_guess(source, head)
        or _unknown(source, head)
    )


# --- zero bytes ---


def _zeros(source: ByteSource) -> ParamInspectError:
    """The head is zero; what follows decides whether the file was only reserved or partly written."""
    size = source.size()
    step = max(_SAMPLE_BYTES, size // _SAMPLES)
    places = [*range(0, size, step), max(0, size - _SAMPLE_BYTES)]
    for place in places:
        if read(source, place, min(_SAMPLE_BYTES, size - place)).strip(b"\0"):
            return Truncated(
                "zeros-at-start",
                f"the file begins with zero bytes, and data stand further on (near byte {place:,}): the "
                "beginning was never written",
                path=source.name,
                offset=file_offset(source, 0),
                advice=_INCOMPLETE,
            )
    looked = (
        "all" if size <= _SAMPLES * _SAMPLE_BYTES else f"wherever it was looked at ({len(places)} places)"
    )
    return Truncated(
        "all-zeros",
        f"the file holds only zero bytes, {looked} of {format_bytes(size)}: its space was reserved and never "
        "filled",
        path=source.name,
        offset=file_offset(source, 0),
        advice=_INCOMPLETE,
    )


# --- known bytes ---


def _by_signature(source: ByteSource, head: bytes) -> Lookalike | None:
    for offset, magic, found in SIGNATURES:
        if head.startswith(magic, offset):
            return found
    # HDF5 allows a block of any other content before its own signature.
    if any(_stands_at(source, offset, b"\x89HDF\r\n\x1a\n") for offset in (0, 512, 1024, 2048, 4096)):
        return HDF5
    if _stands_at(source, source.size() - 8, b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"):
        return TF_DATA  # the end of a table file: the index of a TensorFlow checkpoint
    return None


def _stands_at(source: ByteSource, offset: int, magic: bytes) -> bool:
    return 0 <= offset <= source.size() - len(magic) and read(source, offset, len(magic)) == magic


def _by_structure(source: ByteSource, head: bytes) -> Lookalike | None:
    """Formats without fixed bytes whose first fields hang together."""
    if head[0] == 0x78 and first_inflated(ZLIB.code, head):
        return ZLIB
    if _begins_like_paddle(head):
        return PADDLE
    return protobuf_lookalike(source)


def _begins_like_paddle(head: bytes) -> bool:
    """Version 0, no levels, version 0, then the length of a description that begins with the element type."""
    return (
        len(head) > 20
        and not any(head[:16])
        and 2 <= int.from_bytes(head[16:20], "little") <= 200
        and head[20] == 0x08
    )


def _not_read(source: ByteSource, found: Lookalike, inside: str) -> ParamInspectError:
    if found.may_hold_a_model:
        cause = f"this is {found.what}{inside}, which this version does not read"
        return Unsupported(found.code, cause, path=source.name, advice=found.advice)
    return UnknownFormat(
        found.code, f"this is {found.what}, not a checkpoint", path=source.name, advice=found.advice
    )


def _inside(found: Lookalike, head: bytes) -> str:
    """What a compressed file begins with, as far as a few bytes tell."""
    start = first_inflated(found.code, head)
    if start[:1] == b"\x80" and start[1:2] <= b"\x05":
        return " of a pickle (joblib.dump with compress writes such files)"
    for offset, magic, inner in SIGNATURES:
        if start.startswith(magic, offset):
            return f" of {inner.what}"
    return ""


# --- zip archives ---


def _zip(source: ByteSource) -> ParamInspectError:
    """An archive that is damaged, or has no members that a reader knows."""
    names = [member.name for member in open_archive(source, DEFAULT_LIMITS).members]
    inner = {name.partition("/")[2] for name in names}  # torch writes everything under one folder
    for members, found in ZIP_MEMBERS:
        if members.issubset(names) or members.issubset(inner):
            return _not_read(source, found, "")
    listed = ", ".join(printable(name, 60) for name in names[:3])
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return UnknownFormat(
        "archive-zip",
        f"this is a zip archive of {listed}{more}: it is not torch's, and holds no .npy arrays"
        if names
        else "this is an empty zip archive",
        path=source.name,
        advice="unpack it first, and open what was inside" if names else None,
    )


# --- guesses ---


def _by_guess(source: ByteSource, head: bytes) -> ParamInspectError | None:
    """Bytes that are told apart from others by likelihood only."""
    if _begins_like_msgpack(head):
        return _not_read(source, MSGPACK, "")
    if re.search(r"\.data-\d{5}-of-\d{5}$", source.name):
        return _not_read(source, TF_DATA, " (by its name)")
    return _cut_safetensors(source, head)


_MSGPACK_CONTAINERS: Final = frozenset(
    bytes([byte]) for byte in (*range(0x80, 0xA0), *range(0xC7, 0xCA), *range(0xDC, 0xE0))
)


def _begins_like_msgpack(head: bytes) -> bool:
    """A small map whose first key is a short word, and its value a map, a list or an array."""
    if len(head) < 3 or not 0x81 <= head[0] <= 0x8F or not 0xA1 <= head[1] <= 0xBF:
        return False
    end = 2 + (head[1] & 0x1F)
    is_word = head[2:end].isascii() and head[2:end].decode("ascii").isidentifier()
    return is_word and head[end : end + 1] in _MSGPACK_CONTAINERS


def _cut_safetensors(source: ByteSource, head: bytes) -> ParamInspectError | None:
    length = int.from_bytes(head[:8], "little")
    if not 2 <= length <= DEFAULT_LIMITS.header_bytes or len(head) < 8:
        return None
    if len(head) == 8:
        return Truncated(
            "truncated",
            f"8 bytes are all there is; perhaps the start of a safetensors file, whose header has {length:,} "
            "bytes",
            path=source.name,
            offset=file_offset(source, 8),
            advice=_INCOMPLETE,
        )
    if not source.name.endswith(".safetensors"):
        return None
    return UnknownFormat(
        "safetensors-no-header",
        f"the name says safetensors, but no header stands behind the length: {_shown(head[8 : 8 + _SHOWN])}",
        path=source.name,
        offset=file_offset(source, 8),
        advice=_INCOMPLETE,
    )


def _unknown(source: ByteSource, head: bytes) -> ParamInspectError:
    return UnknownFormat(
        "unknown-format",
        f"no known format begins like this: {_shown(head[:_SHOWN])}",
        path=source.name,
        offset=file_offset(source, 0),
    )


def _shown(raw: bytes) -> str:
    """Bytes in hexadecimal and as ASCII, with a dot for what cannot be printed."""
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in raw)
    return f"{raw.hex(' ')} ({text})"
