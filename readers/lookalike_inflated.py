"""The first bytes inside a compressed file, for naming what it holds; never more than a few hundred."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

from .lookalike_signatures import BZIP2, GZIP, LZMA, XZ, ZLIB

_INFLATED: Final = 512
_MEMORY: Final = 64 << 20
"""Bytes that the decoder may take, whatever dictionary the file asks for."""


def first_inflated(code: str, head: bytes) -> bytes:
    """What the first bytes of compressed data inflate to; empty where that cannot be told.

    Args:
        code: of the kind of compression.
        head: the first bytes of the file.
    """
    inflate = _INFLATERS.get(code)
    if inflate is None:
        return b""
    try:
        return inflate(head)
    except (ImportError, zlib.error, OSError, EOFError, ValueError, MemoryError):
        return b""


def _gzip(head: bytes) -> bytes:
    return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, _INFLATED)


def _zlib(head: bytes) -> bytes:
    return zlib.decompressobj().decompress(head, _INFLATED)


def _bzip2(head: bytes) -> bytes:
    from bz2 import BZ2Decompressor

    return BZ2Decompressor().decompress(head, _INFLATED)


def _lzma(head: bytes) -> bytes:
    from lzma import LZMADecompressor, LZMAError

    try:
        return LZMADecompressor(memlimit=_MEMORY).decompress(head, _INFLATED)
    except LZMAError:
        return b""


_INFLATERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    GZIP.code: _gzip,
    ZLIB.code: _zlib,
    BZIP2.code: _bzip2,
    XZ.code: _lzma,
    LZMA.code: _lzma,
}
