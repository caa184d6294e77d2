"""torch files written opcode by opcode, so that a test can make one field lie."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field

MAGIC = 0x1950A86A20F9469CFC6C


def text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: object) -> bytes:
    """An int, float or bool as one opcode; bytes pass as opcodes of their own."""
    if isinstance(value, bytes):
        return value
    if value is True or value is False:
        return b"\x88" if value else b"\x89"
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    assert isinstance(value, int)
    raw = pickle.encode_long(value)
    return b"\x8a" + bytes([len(raw)]) + raw


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def in_tuple(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def numbers(values: tuple[object, ...]) -> bytes:
    return in_tuple(*map(number, values))


@dataclass(frozen=True)
class FakeTensor:
    """A `_rebuild_tensor_v2` call; every field may lie."""

    key: str = "0"
    storage: str = "FloatStorage"
    storage_module: str = "torch"
    numel: object = 4
    offset: object = 0
    size: tuple[object, ...] = (2, 2)
    stride: tuple[object, ...] = (2, 1)
    location: str = "cpu"
    extra_id_fields: tuple[bytes, ...] = ()
    function: tuple[str, str] = ("torch._utils", "_rebuild_tensor_v2")

    def opcodes(self) -> bytes:
        identity = in_tuple(
            text("storage"),
            named(self.storage_module, self.storage),
            text(self.key),
            text(self.location),
            number(self.numel),
            *self.extra_id_fields,
        )
        return (
            named(*self.function)
            + in_tuple(
                identity + b"Q",
                number(self.offset),
                numbers(self.size),
                numbers(self.stride),
                b"\x89",
                named("collections", "OrderedDict") + b")R",
            )
            + b"R"
        )


def state_dict(entries: Mapping[str, FakeTensor | bytes]) -> bytes:
    """A whole pickle: a dict of tensors (or of ready opcodes)."""
    body = b"".join(
        text(name) + (entry if isinstance(entry, bytes) else entry.opcodes())
        for name, entry in entries.items()
    )
    return b"\x80\x02}(" + body + b"u."


@dataclass
class TorchZip:
    """A torch archive; every record may be changed or left out."""

    entries: Mapping[str, FakeTensor | bytes] = field(default_factory=lambda: {"w": FakeTensor()})
    storages: dict[str, bytes] = field(default_factory=lambda: {"0": struct.pack("<4f", 1, 2, 3, 4)})
    root: str = "archive"
    version: bytes | None = b"3\n"
    byteorder: bytes | None = b"little"
    pickle: bytes | None = None
    more: dict[str, bytes] = field(default_factory=dict)
    """Further members, by full name."""

    first: str | None = None
    """A member to put before all others."""

    compression: int = zipfile.ZIP_STORED

    def build(self) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", self.compression) as archive:
            if self.first is not None:
                archive.writestr(self.first, b"")
            archive.writestr(f"{self.root}/data.pkl", self.pickle or state_dict(self.entries))
            if self.byteorder is not None:
                archive.writestr(f"{self.root}/byteorder", self.byteorder)
            for key, raw in self.storages.items():
                archive.writestr(f"{self.root}/data/{key}", raw)
            for name, raw in self.more.items():
                archive.writestr(name, raw)
            if self.version is not None:
                archive.writestr(f"{self.root}/version", self.version)
        return stream.getvalue()


def legacy_file(
    content: bytes,
    keys: list[str],
    storages: list[tuple[int, bytes]],
    *,
    magic: bytes | None = None,
    protocol: int = 1001,
) -> bytes:
    """Five pickles, then `(claimed element count, bytes)` for each storage."""
    parts = [
        magic if magic is not None else pickle.dumps(MAGIC, 2),
        pickle.dumps(protocol, 2),
        pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}, 2),
        content,
        pickle.dumps(keys, 2),
    ]
    return b"".join(parts) + b"".join(struct.pack("<q", count) + raw for count, raw in storages)


def tar_file(members: Mapping[str, bytes]) -> bytes:
    """A tar archive of regular members, as old torch wrote it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return stream.getvalue()


def tar_checkpoint(
    storages: list[tuple[int, str, bytes, int]],
    tensors: list[tuple[int, int, tuple[int, ...], tuple[int, ...], int]],
    content: bytes,
    views: list[tuple[int, int, int, int]] | None = None,
) -> bytes:
    """`(key, storage class, bytes, element count)` and `(key, storage, size, stride, offset)`."""
    storage_table = pickle.dumps(len(storages), 2)
    for key, kind, raw, count in storages:
        entry = b"\x80\x02" + in_tuple(number(key), text("cpu"), named("torch", kind)) + b"."
        storage_table += entry + struct.pack("<q", count) + raw
    storage_table += pickle.dumps(views or [], 2)
    tensor_table = pickle.dumps(len(tensors), 2)
    for key, storage, size, stride, offset in tensors:
        entry = b"\x80\x02" + in_tuple(number(key), number(storage), named("torch", "FloatTensor")) + b"."
        dims = len(size)
        tensor_table += entry + struct.pack("<i4x", dims)
        tensor_table += struct.pack(f"<{2 * dims + 1}q", *size, *stride, offset)
    system = pickle.dumps({"protocol_version": 1000, "little_endian": True, "type_sizes": {}}, 2)
    return tar_file(
        {"sys_info": system, "pickle": content, "storages": storage_table, "tensors": tensor_table}
    )
