"""Checkpoints made by hand, without a file: the waist that everything above the readers is tested on."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from paraminspect.readers import (
    Checkpoint,
    CheckpointFile,
    Finding,
    ParameterTable,
    PickleImport,
    Section,
    TensorRef,
)
from paraminspect.readers.columns_builder import ColumnsBuilder
from paraminspect.readers.dtypes import DTYPES


class NoBytes:
    """A source that must not be read: listing never does."""

    name = "made up"
    base = None

    def size(self) -> int:
        raise AssertionError("a listing asked for a source's size")

    def pread_into(self, offset: int, buffer: memoryview) -> None:  # noqa: ARG002
        raise AssertionError("a listing read tensor values")


class Row(NamedTuple):
    """One tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    section: Section | None = None
    trainable: bool | None = None
    storage: int | None = None
    start: int = 0
    has_values: bool = True


def table_of(rows: Sequence[Row]) -> ParameterTable:
    builder = ColumnsBuilder()
    for row in rows:
        ref = TensorRef(NoBytes() if row.has_values else None, 0, DTYPES[row.dtype], row.shape)
        builder.add(
            (row.name,),
            ref,
            storage=row.storage,
            start=row.start,
            section=row.section,
            trainable=row.trainable,
        )
    return ParameterTable(builder.build())


def checkpoint_of(
    rows: Sequence[Row],
    *,
    location: str = "made/up.bin",
    metadata: Mapping[str, object] | None = None,
    hyperparameters: Mapping[str, object] | None = None,
    progress: Mapping[str, int | float] | None = None,
    findings: Sequence[Finding] = (),
    imports: Sequence[PickleImport] = (),
) -> Checkpoint:
    table = table_of(rows)
    return Checkpoint(
        location,
        "made up",
        table,
        files=[CheckpointFile(location, table.totals().nbytes + 100)],
        metadata=metadata or {},
        hyperparameters=hyperparameters or {},
        progress=progress or {},
        findings=findings,
        imports=imports,
    )


def transformer(blocks: int = 3, width: int = 8, words: int = 50, *, tied: bool = False) -> list[Row]:
    """The rows of a small decoder."""
    rows = [Row("model.embed_tokens.weight", (words, width), "bfloat16", storage=0 if tied else None)]
    for block in range(blocks):
        prefix = f"model.layers.{block}"
        rows += [Row(f"{prefix}.self_attn.{part}_proj.weight", (width, width), "bfloat16") for part in "qkvo"]
        rows += [
            Row(f"{prefix}.mlp.up_proj.weight", (4 * width, width), "bfloat16"),
            Row(f"{prefix}.mlp.down_proj.weight", (width, 4 * width), "bfloat16"),
            Row(f"{prefix}.input_layernorm.weight", (width,)),
            Row(f"{prefix}.rotary_emb.inv_freq", (width // 2,)),
        ]
    rows.append(Row("model.norm.weight", (width,)))
    rows.append(Row("lm_head.weight", (words, width), "bfloat16", storage=0 if tied else None))
    return rows


_SAFETENSORS_DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16", "int64": "I64", "uint8": "U8"}


def write_safetensors(path: Path, rows: Sequence[Row], metadata: Mapping[str, str] | None = None) -> Path:
    """A real file with zeros for values."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for row in rows:
        nbytes = TensorRef(NoBytes(), 0, DTYPES[row.dtype], row.shape).nbytes
        header[row.name] = {
            "dtype": _SAFETENSORS_DTYPES[row.dtype],
            "shape": list(row.shape),
            "data_offsets": [end, end + nbytes],
        }
        end += nbytes
    text = json.dumps(header, ensure_ascii=False).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    return path
