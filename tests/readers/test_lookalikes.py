"""Files that are no checkpoint: each is named, and none escapes as anything but one error."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from builders.torch_builder import TorchZip
from hypothesis import given, settings
from hypothesis import strategies as st
from paraminspect.readers.errors import ParamInspectError, Truncated, UnknownFormat, Unsupported
from paraminspect.readers.lookalike_signatures import SIGNATURES
from paraminspect.readers.lookalikes import HEAD_BYTES, unrecognised
from paraminspect.readers.opening import open_checkpoint
from paraminspect.readers.source import MemorySource

OID = "4665a5ea423c2713d436b5ee50593a9640e0018c1550b5a0002f74190d6caea8"
LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 5485432100\n".encode()


def zip_of(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"content of " + name.encode())
    return stream.getvalue()


def tar_of(name: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return stream.getvalue()


def field(number: int, content: bytes | int) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def encrypted_zip() -> bytes:
    raw = bytearray(zip_of("model/data.pkl"))
    directory = raw.index(b"PK\x01\x02")
    raw[directory + 8] |= 1
    return bytes(raw)


NODE = field(1, b"input") + field(2, b"Placeholder")
ONNX = (
    field(1, 8)
    + field(2, b"pytorch")
    + field(3, b"2.1")
    + field(7, field(1, b"node"))
    + field(8, b"\x10\x11")
)

SAMPLES: dict[str, tuple[bytes, type[ParamInspectError], str]] = {
    "empty": (b"", Truncated, "empty-file"),
    "one zero": (b"\0", Truncated, "all-zeros"),
    "zeros": (bytes(100_000), Truncated, "all-zeros"),
    "zeros, then data": (bytes(200_000) + b"data", Truncated, "zeros-at-start"),
    "git lfs": (LFS, UnknownFormat, "git-lfs-pointer"),
    "git lfs, Windows": (LFS.replace(b"\n", b"\r\n"), UnknownFormat, "git-lfs-pointer"),
    "git lfs, first version": (b"version https://hawser.github.com/spec/v1\noid sha256:" + OID.encode()
        + b"\nsize 12\n", UnknownFormat, "git-lfs-pointer"),
    "xet": (f"# xet version 0\nfilesize = 3000\nhash = '{OID}'\n".encode(), UnknownFormat, "xet-pointer"),
    "html": (b"<!DOCTYPE html>\n<html><head><title>Sign in</title>", UnknownFormat, "html-page"),
    "html, upper case": (b"\n  <HTML>\n<HEAD>", UnknownFormat, "html-page"),
    "xhtml": (b'\xef\xbb\xbf<?xml version="1.0"?>\n<html xmlns="x"><title>t</title></html>',
        UnknownFormat, "html-page"),
    "json error": (b'{"error": "Repository not found"}', UnknownFormat, "json-error"),
    "json, nested error": (b'{"error": {"code": 404, "message": "no file"}}', UnknownFormat, "json-error"),
    "json detail": (b'\n{"detail":"Not found."}', UnknownFormat, "json-error"),
    "json": (b'{"hidden_size": 768}', UnknownFormat, "file-json"),
    "json list": (b"[1, 2]", UnknownFormat, "file-json"),
    "json with late error": (json.dumps({"text": "x" * 70_000, "error": "no"}).encode(), UnknownFormat,
        "file-json"),
    "s3 error": (b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code>'
        b"<Message>Request has expired</Message></Error>", UnknownFormat, "xml-error"),
    "s3 error, bare": (b"<Error><Code>NoSuchKey</Code></Error>", UnknownFormat, "xml-error"),
    "openvino": (b'<?xml version="1.0"?>\n<net name="m" version="10"></net>', Unsupported, "format-openvino"),
    "xml": (b"<svg xmlns='x'></svg>", UnknownFormat, "file-xml"),
    "text": (b"epoch 1: loss 0.5\n", UnknownFormat, "plain-text"),
    "text, cut in a character": (b"a" * (HEAD_BYTES - 1) + "é".encode() * 10, UnknownFormat, "plain-text"),
    "text, UTF-16": ("weights".encode("utf-16"), UnknownFormat, "plain-text"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", Unsupported, "archive-7z"),
    "rar": (b"Rar!\x1a\x07\x01\0", Unsupported, "archive-rar"),
    "tar": (tar_of("notes.txt"), Unsupported, "archive-tar"),
    "gzip": (gzip.compress(b"weights"), Unsupported, "compressed-gzip"),
    "bzip2": (bz2.compress(b"weights"), Unsupported, "compressed-bzip2"),
    "xz": (lzma.compress(b"weights"), Unsupported, "compressed-xz"),
    "lzma": (lzma.compress(b"weights", lzma.FORMAT_ALONE), Unsupported, "compressed-lzma"),
    "zstd": (b"\x28\xb5\x2f\xfd\x24\x07\x39\0\0weights", Unsupported, "compressed-zstd"),
    "lz4": (b"\x04\x22\x4d\x18\x64\x40\xa7", Unsupported, "compressed-lz4"),
    **{f"zlib {level}": (zlib.compress(b"weights", level), Unsupported, "compressed-zlib")
        for level in (0, 1, 6, 9)},
    "old joblib": (b"ZF0x1f               x\x9c", Unsupported, "compressed-joblib"),
    "zip": (zip_of("a.txt", "b.txt"), UnknownFormat, "archive-zip"),
    "empty zip": (zip_of(), UnknownFormat, "archive-zip"),
    "keras zip": (zip_of("metadata.json", "config.json", "model.weights.h5"), Unsupported, "format-keras"),
    "word": (zip_of("[Content_Types].xml", "word/document.xml"), UnknownFormat, "file-office"),
    "jar": (zip_of("META-INF/MANIFEST.MF"), UnknownFormat, "file-program"),
    "truncated zip": (zip_of("a.txt", "b.txt")[:-30], Truncated, "zip-no-end"),
    "encrypted zip": (encrypted_zip(), Unsupported, "zip-encrypted"),
    "gguf": (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), Unsupported, "format-gguf"),
    "ggml": (b"tjgg\x03\0\0\0", Unsupported, "format-ggml"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(8), Unsupported, "format-hdf5"),
    "hdf5, user block": (b"user".ljust(512, b"\1") + b"\x89HDF\r\n\x1a\n", Unsupported, "format-hdf5"),
    "tflite": (b"\x1c\0\0\0TFL3", Unsupported, "format-tflite"),
    "onnx": (ONNX, Unsupported, "format-onnx"),
    "onnx, cut": (ONNX[:-8], Unsupported, "format-onnx"),
    "core ml": (field(1, 4) + field(2, field(1, b"x")) + field(500, b"net"), Unsupported, "format-coreml"),
    "saved model": (field(1, 1) + field(2, field(1, field(5, b"x"))), Unsupported,
        "format-tensorflow-saved-model"),
    "tensorflow graph": (field(1, NODE) * 3, Unsupported, "format-tensorflow-graph"),
    "sentencepiece": (field(1, field(1, b"<unk>") + b"\x15\0\0\0\0") * 3, UnknownFormat, "file-tokenizer"),
    "tensorflow index": (b"\0\1\2" * 20 + bytes.fromhex("57fb808b247547db"), Unsupported,
        "format-tensorflow-checkpoint"),
    "flax": (b"\x81\xa6params\x81\xa5Dense\x80", Unsupported, "format-msgpack"),
    "paddle": (bytes(16) + struct.pack("<i", 6) + b"\x08\x05\x10\x02\x10\x03" + bytes(24), Unsupported,
        "format-paddle"),
    "mxnet": (struct.pack("<QQQ", 0x112, 0, 1), Unsupported, "format-mxnet"),
    "catboost": (b"CBM1\x10\0\0\0", Unsupported, "format-catboost"),
    "catboost json": (b'{"features_info": {}, "oblivious_trees": []}', Unsupported, "format-catboost"),
    "xgboost json": (b'{"learner": {"attributes": {}}}', Unsupported, "format-xgboost"),
    "xgboost ubjson": (b"{L\0\0\0\0\0\0\0\x07learner{", Unsupported, "format-xgboost"),
    "lightgbm": (b"tree\nversion=v4\nnum_class=1\n", Unsupported, "format-lightgbm"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", UnknownFormat, "file-pdf"),
    "png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", UnknownFormat, "file-image"),
    "jpeg": (b"\xff\xd8\xff\xe0\0\x10JFIF", UnknownFormat, "file-image"),
    "elf": (b"\x7fELF\x02\x01\x01", UnknownFormat, "file-program"),
    "mach-o": (b"\xcf\xfa\xed\xfe\x07\0\0\x01", UnknownFormat, "file-program"),
    "windows": (b"MZ\x90\0\x03\0\0\0", UnknownFormat, "file-program"),
    "script": (b"#!/bin/sh\necho\n", UnknownFormat, "file-program"),
    "sqlite": (b"SQLite format 3\0\x10\0", UnknownFormat, "file-sqlite"),
    "parquet": (b"PAR1\x15\x04\x15", UnknownFormat, "file-parquet"),
    "arrow": (b"ARROW1\0\0", UnknownFormat, "file-arrow"),
    "tensorboard": (struct.pack("<QI", 24, 7) + b"\x09" + bytes(8) + b"\x1a\x0dbrain.Event:2", UnknownFormat,
        "file-tfevents"),
    "eight bytes": (struct.pack("<Q", 4_096), Truncated, "truncated"),
    "noise": (b"\xc3\x28\x01\xfe\x02\x9f", UnknownFormat, "unknown-format"),
}  # fmt: skip


def told(raw: bytes, name: str = "model.bin") -> ParamInspectError:
    return unrecognised(MemorySource(raw, name))


@pytest.mark.parametrize("sample", SAMPLES)
def test_each_kind_is_named(sample: str) -> None:
    raw, kind, code = SAMPLES[sample]
    error = told(raw)
    assert type(error) is kind
    assert (error.code, error.path) == (code, "model.bin")
    assert error.cause
    assert error.cause.isprintable()


@pytest.mark.parametrize("sample", SAMPLES)
def test_no_reader_claims_what_is_named(sample: str, tmp_path: Path) -> None:
    raw, kind, code = SAMPLES[sample]
    path = tmp_path / "model.bin"
    path.write_bytes(raw)
    with pytest.raises(ParamInspectError) as caught:
        open_checkpoint(path)
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.path) == (code, str(path))


def test_signatures_are_told_apart() -> None:
    for offset, magic, found in SIGNATURES:
        error = told(b"\x01" * offset + magic + b"\x01" * 40)
        assert error.code == found.code
        assert found.what in error.cause
        assert isinstance(error, Unsupported) == found.may_hold_a_model


def test_a_pointer_tells_what_it_stands_for() -> None:
    error = told(LFS)
    assert "5.49 GB (5,485,432,100 bytes)" in error.cause
    assert OID in error.cause
    assert error.advice is not None
    assert "git lfs pull" in error.advice
    xet = told(f"# xet version 0\nfilesize = 3000\nhash = '{OID}'\n".encode())
    assert "3.00 kB (3,000 bytes)" in xet.cause


def test_titles_and_messages_are_shown() -> None:
    assert '"Sign in"' in told(SAMPLES["html"][0]).cause
    assert '"Repository not found"' in told(SAMPLES["json error"][0]).cause
    assert '"no file"' in told(SAMPLES["json, nested error"][0]).cause
    cause = told(SAMPLES["s3 error"][0]).cause
    assert '"AccessDenied"' in cause
    assert '"Request has expired"' in cause


@pytest.mark.parametrize(
    "raw",
    [
        "<html><title>\x1b[2J\u202e\n\0evil</title>".encode(),
        b'{"error": "\\u001b[2J\\u202e\\nevil"}',
        '{"error": "\x1b[2J\u202eevil"}'.encode(),
        "<Error><Code>\x1b[2J\u202e</Code></Error>".encode(),
        "\x1b[2J\u202eevil".encode(),
        zip_of("\x1b[2J\u202e"),
        b"\xc3\x28\x1b[2J\x01\x02",
    ],
)
def test_text_from_the_file_is_escaped(raw: bytes) -> None:
    assert told(raw).cause.isprintable()


def test_long_texts_are_clipped() -> None:
    for raw in (
        b"<html><title>" + b"long " * 10_000,
        b'{"error": "' + b"long " * 150 + b'"}',
        b"<Error><Code>" + b"long" * 10_000,
        b"long" * 10_000,
        zip_of("n" * 60_000),
    ):
        assert len(told(raw).cause) < 600


def test_what_is_inside_a_compressed_file_is_told() -> None:
    inner = pickle.dumps([1, 2, 3])
    for raw in (gzip.compress(inner), zlib.compress(inner), bz2.compress(inner), lzma.compress(inner)):
        assert "pickle" in told(raw).cause
    assert "of a tar archive" in told(gzip.compress(tar_of("x"))).cause
    assert "of a GGUF file" in told(bz2.compress(b"GGUF")).cause


def test_compressed_data_take_no_memory() -> None:
    bomb = bytearray(lzma.compress(b"x", lzma.FORMAT_ALONE))
    bomb[1:5] = b"\0\0\0\x80"  # a dictionary of 2 GiB
    assert told(bytes(bomb)).code == "compressed-lzma"
    assert told(gzip.compress(bytes(100 << 20))).code == "compressed-gzip"


def test_damaged_compressed_data_are_named_all_the_same() -> None:
    for raw in (gzip.compress(b"x" * 100), bz2.compress(b"x" * 100), lzma.compress(b"x" * 100)):
        for length in range(10, len(raw)):
            assert told(raw[:length]).code.startswith("compressed-")


def test_part_files_of_tensorflow_by_their_name() -> None:
    error = told(b"\xc3\x28\x01\xfe" * 9, "model.ckpt.data-00000-of-00001")
    assert (error.code, "by its name" in error.cause) == ("format-tensorflow-checkpoint", True)


def test_unknown_bytes_are_shown() -> None:
    cause = told(b"\xc3\x28\x01\xfe<b>").cause
    assert "c3 28 01 fe 3c 62 3e" in cause
    assert ".(..<b>" in cause


def test_a_safetensors_name_without_a_header() -> None:
    raw = struct.pack("<Q", 200) + b"\xc3\x28" * 30
    assert told(raw, "model.safetensors").code == "safetensors-no-header"
    assert told(raw).code == "unknown-format"


def test_zeros_are_looked_for_without_reading_everything() -> None:
    class Zeros:
        name = "zeros"
        base = 0
        taken = 0

        def size(self) -> int:
            return 1 << 40

        def pread_into(self, offset: int, buffer: memoryview) -> None:
            assert 0 <= offset <= self.size() - len(buffer)
            self.taken += len(buffer)

    source = Zeros()
    error = unrecognised(source)
    assert error.code == "all-zeros"
    assert "places" in error.cause
    assert source.taken < 1 << 20


def test_a_truncated_torch_file_says_that_the_rest_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(TorchZip().build()[:-40])
    with pytest.raises(Truncated) as caught:
        open_checkpoint(path)
    assert caught.value.code == "zip-no-end"
    assert "nothing tells how much" in caught.value.cause


def test_a_real_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = sqlite3.connect(path)
    connection.execute("create table weights (value)")
    connection.commit()
    connection.close()
    with pytest.raises(UnknownFormat, match="SQLite"):
        open_checkpoint(path)


class Unreadable:
    """A source whose bytes cannot be had."""

    name = "gone"
    base = 0

    def size(self) -> int:
        return 100

    def pread_into(self, offset: int, _: memoryview) -> None:
        raise Truncated("truncated", "gone", path=self.name, offset=offset)


def test_a_file_that_cannot_be_read_is_that_error() -> None:
    assert unrecognised(Unreadable()).code == "truncated"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_one_error(raw: bytes) -> None:
    error = told(raw)
    assert error.code
    assert error.cause.isprintable()


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.integers(0, 400), st.integers(0, 255))
def test_changed_and_cut_samples_give_one_error(sample: str, place: int, byte: int) -> None:
    raw = bytearray(SAMPLES[sample][0][:1000])
    assert told(bytes(raw[:place])).cause.isprintable()
    if raw:
        raw[place % len(raw)] = byte
    assert told(bytes(raw)).cause.isprintable()
