"""Zip archives written by hand, so that any field of any record can lie."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

Lie = Mapping[str, int | bytes]
"""Values that replace the true ones, by field name."""

LOCAL = {
    "signature": "4s",
    "version": "H",
    "flags": "H",
    "method": "H",
    "time": "H",
    "date": "H",
    "crc": "I",
    "compressed": "I",
    "size": "I",
    "name_length": "H",
    "extra_length": "H",
}
CENTRAL = {
    "signature": "4s",
    "made_by": "H",
    "version": "H",
    "flags": "H",
    "method": "H",
    "time": "H",
    "date": "H",
    "crc": "I",
    "compressed": "I",
    "size": "I",
    "name_length": "H",
    "extra_length": "H",
    "comment_length": "H",
    "disk": "H",
    "internal": "H",
    "external": "I",
    "offset": "I",
}
END = {
    "signature": "4s",
    "disk": "H",
    "first_disk": "H",
    "entries_here": "H",
    "entries": "H",
    "size": "I",
    "offset": "I",
    "comment_length": "H",
}
WIDE_END = {
    "signature": "4s",
    "record_size": "Q",
    "made_by": "H",
    "version": "H",
    "disk": "I",
    "first_disk": "I",
    "entries_here": "Q",
    "entries": "Q",
    "size": "Q",
    "offset": "Q",
}
LOCATOR = {"signature": "4s", "disk": "I", "position": "Q", "disks": "I"}

DESCRIPTOR_FLAG = 0x0008
UTF8_FLAG = 0x0800
DATE = 0x21
"""1 January 1980, the first day there is."""


def packed(fields: Mapping[str, str], values: Lie, lie: Lie) -> bytes:
    """One record, its fields in the order of `fields`; what is not given is zero."""
    unknown = set(values) | set(lie)
    assert unknown <= set(fields), f"no such field: {sorted(unknown - set(fields))}"
    told = {**dict.fromkeys(fields, 0), **values, **lie}
    return struct.pack("<" + "".join(fields.values()), *(told[name] for name in fields))


def extra_field(kind: int, body: bytes) -> bytes:
    """One block of an extra field."""
    return struct.pack("<HH", kind, len(body)) + body


@dataclass(frozen=True)
class Entry:
    """One member: its local header, its data, its line in the directory."""

    name: str | bytes = "a"
    data: bytes = b""
    deflated: bool = False
    descriptor: bool = False
    """Sizes and checksum stand behind the data, and are zero before them."""

    wide: bool = False
    """Sizes and offset stand in a ZIP64 extra field."""

    comment: bytes = b""
    extra: bytes = b""
    local_extra: bytes = b""
    central: Lie = field(default_factory=dict)
    local: Lie = field(default_factory=dict)
    wide_extra: bytes | None = None
    """Replaces the ZIP64 block of the directory."""

    stored_data: bytes | None = None
    """Replaces the bytes in the file, whatever `data` says about sizes and checksum."""

    @property
    def raw_name(self) -> bytes:
        return self.name if isinstance(self.name, bytes) else self.name.encode()

    @property
    def stream(self) -> bytes:
        if self.stored_data is not None:
            return self.stored_data
        if not self.deflated:
            return self.data
        deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
        return deflater.compress(self.data) + deflater.flush()

    def _common(self) -> dict[str, int | bytes]:
        flags = 0 if self.raw_name.isascii() else UTF8_FLAG
        stream = self.data if self.stored_data is not None and not self.deflated else self.stream
        return {
            "version": 45 if self.wide else 20,
            "flags": flags | DESCRIPTOR_FLAG * self.descriptor,
            "method": 8 if self.deflated else 0,
            "date": DATE,
            "crc": zlib.crc32(self.data),
            "compressed": len(stream),
            "size": len(self.data),
            "name_length": len(self.raw_name),
        }

    def local_part(self) -> bytes:
        """Local header, data, data descriptor."""
        values = self._common()
        sizes = struct.pack("<QQ", values["size"], values["compressed"])
        extra = self.local_extra
        behind = b""
        if self.descriptor:
            form = "<4sIQQ" if self.wide else "<4sIII"
            behind = struct.pack(form, b"PK\x07\x08", values["crc"], values["compressed"], values["size"])
            values.update(crc=0, compressed=0, size=0)
        if self.wide:
            extra = extra_field(1, sizes if not self.descriptor else bytes(16)) + extra
            values.update(compressed=0xFFFFFFFF, size=0xFFFFFFFF)
        values.update(signature=b"PK\x03\x04", extra_length=len(extra))
        return packed(LOCAL, values, self.local) + self.raw_name + extra + self.stream + behind

    def central_part(self, offset: int) -> bytes:
        """The line in the directory."""
        values = self._common()
        extra = self.extra
        if self.wide or offset > 0xFFFFFFFF:
            block = extra_field(1, struct.pack("<QQQ", values["size"], values["compressed"], offset))
            extra = (block if self.wide_extra is None else self.wide_extra) + extra
            values.update(compressed=0xFFFFFFFF, size=0xFFFFFFFF)
            offset = 0xFFFFFFFF
        values.update(
            signature=b"PK\x01\x02",
            made_by=3 << 8 | 20,
            extra_length=len(extra),
            comment_length=len(self.comment),
            offset=offset,
        )
        return packed(CENTRAL, values, self.central) + self.raw_name + extra + self.comment


@dataclass(frozen=True)
class Built:
    """An archive and where its records lie."""

    data: bytes
    locals: tuple[int, ...]
    centrals: tuple[int, ...]
    directory: int
    directory_end: int
    wide_end: int | None
    locator: int | None
    end: int


@dataclass(frozen=True)
class ZipBytes:
    """An archive; `build` lays the records out and tells where they lie."""

    entries: tuple[Entry, ...] = ()
    comment: bytes = b""
    wide: bool = False
    """ZIP64 end record and locator; the end record holds all ones."""

    prefix: bytes = b""
    """Bytes that no offset counts."""

    shift: int = 0
    """Added to every offset, as if the archive had been written behind that many bytes."""

    before_end: bytes = b""
    """Between the directory and the end records."""

    suffix: bytes = b""
    end: Lie = field(default_factory=dict)
    wide_end: Lie = field(default_factory=dict)
    locator: Lie = field(default_factory=dict)

    def build(self) -> Built:
        """The archive's bytes and the positions of its records in them."""
        out = bytearray(self.prefix)
        hidden = len(self.prefix) - self.shift
        local_positions = []
        for entry in self.entries:
            local_positions.append(len(out))
            out += entry.local_part()
        directory = len(out)
        central_positions = []
        for entry, position in zip(self.entries, local_positions, strict=True):
            central_positions.append(len(out))
            out += entry.central_part(position - hidden)
        directory_end = len(out)
        out += self.before_end
        size, count = directory_end - directory, len(self.entries)
        values: dict[str, int | bytes] = {"entries_here": count, "entries": count, "size": size}
        values["offset"] = directory - hidden
        wide_end, locator = self._wide_records(out, values) if self.wide else (None, None)
        if self.wide:
            values = {"entries_here": 0xFFFF, "entries": 0xFFFF, "size": 0xFFFFFFFF, "offset": 0xFFFFFFFF}
        end = len(out)
        values.update(signature=b"PK\x05\x06", comment_length=len(self.comment))
        out += packed(END, values, self.end) + self.comment + self.suffix
        return Built(
            bytes(out), tuple(local_positions), tuple(central_positions), directory, directory_end,
            wide_end, locator, end,
        )  # fmt: skip

    def _wide_records(self, out: bytearray, values: Lie) -> tuple[int, int]:
        position = len(out)
        record: dict[str, int | bytes] = {"signature": b"PK\x06\x06", "record_size": 44, "version": 45}
        out += packed(WIDE_END, {**record, **values}, self.wide_end)
        locator = len(out)
        where = position - len(self.prefix) + self.shift
        values = {"signature": b"PK\x06\x07", "position": where, "disks": 1}
        out += packed(LOCATOR, values, self.locator)
        return position, locator

    @property
    def data(self) -> bytes:
        return self.build().data
