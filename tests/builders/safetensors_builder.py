"""safetensors files written by hand, so that any field can lie."""

from __future__ import annotations

import json
import struct
from pathlib import Path


def safetensors_bytes(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A file from its header (bytes, text, or what json can write) and its data."""
    if isinstance(header, str):
        raw = header.encode()
    elif isinstance(header, bytes):
        raw = header
    else:
        raw = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def entry(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, object]:
    """One tensor of a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def entry_text(dtype: str = '"F32"', shape: str = "[1]", offsets: str = "[0,4]", more: str = "") -> str:
    """A header of one tensor named `a`, from JSON text for each field."""
    return '{"a":{' + more + f'"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}' + "}}"


def write_safetensors(
    path: Path, tensors: dict[str, tuple[str, tuple[int, ...], int]], metadata: dict[str, str] | None = None
) -> Path:
    """A valid file of zeros; tensors are (dtype, shape, bytes)."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    end = 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = entry(dtype, list(shape), [end, end + size])
        end += size
    path.write_bytes(safetensors_bytes(header, bytes(end)))
    return path
