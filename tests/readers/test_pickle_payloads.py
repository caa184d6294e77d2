"""Bytes that a pickle carries inside, in every form that picklers give them."""

from __future__ import annotations

import pickle
import struct

import pytest
from builders.pickle_builder import called, interpret, text
from paraminspect.readers import pickle_payloads
from paraminspect.readers.pickle_payloads import payload_source
from paraminspect.readers.source import MemorySource, read

EVERY_BYTE = bytes(range(256))


def payload(raw: bytes) -> bytes | None:
    source = MemorySource(raw)
    found = payload_source(interpret(raw).root, source)
    return None if found is None else read(found, 0, found.size())


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", [b"", b"abc", EVERY_BYTE, EVERY_BYTE * 300])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_what_picklers_write(protocol: int, value: bytes, kind: type) -> None:
    assert payload(pickle.dumps(kind(value), protocol)) == value


def test_text_of_python_2() -> None:
    assert payload(b"U\x03abc.") == b"abc"
    assert payload(b"U\x02\x00\xff.") == b"\x00\xff"
    assert payload(b"T" + struct.pack("<i", 70_000) + b"\xff" * 70_000 + b".") == b"\xff" * 70_000


def test_text_stands_for_bytes_where_every_character_is_one() -> None:
    assert payload(text("a\xff") + b".") == b"a\xff"
    assert payload(text("\xff" * 70_000) + b".") == b"\xff" * 70_000
    assert payload(text("a\u0100") + b".") is None
    assert payload(text("\u0100" * 70_000) + b".") is None
    assert payload(text("\ud800") + b".") is None


def test_long_text_that_is_no_text() -> None:
    assert payload(b"X" + struct.pack("<I", 70_000) + b"\xff" * 70_000 + b".") is None


def test_text_that_is_too_long_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_payloads, "_LONGEST_TEXT", 80_000)
    assert payload(text("a" * 80_000) + b".") == b"a" * 80_000
    assert payload(text("a" * 80_001) + b".") is None


@pytest.mark.parametrize(
    "raw",
    [b"N.", b"K\x01.", b"].", b").", called("_codecs", "encode") + b".",
     called("builtins", "bytes", b"C\x01a") + b".", called("m", "encode", text("a")) + b".",
     called("_codecs", "encode", b"K\x01") + b".",
     called("builtins", "bytearray", b"K\x05") + b".",
     b"cbuiltins\nbytearray\n]R.", b"Pname\n."],
)  # fmt: skip
def test_what_is_no_payload(raw: bytes) -> None:
    assert payload(raw) is None


def test_a_million_bytearrays_in_each_other() -> None:
    raw = b"cbuiltins\nbytearray\nq\x00" + b"h\x00" * 100_000 + b"C\x02hi" + b"\x85R" * 100_001 + b"."
    assert payload(raw) == b"hi"
