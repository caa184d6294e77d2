"""A `torch.distributed.checkpoint` folder: `.metadata` lists tensors and chunks, `*.distcp` files hold them.

A `.distcp` file is many small torch archives in a row: opened as one archive it shows only its last tensor.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from .chunk_grid import Cell, ChunkGrid, GridSource
from .columns import Path
from .columns_builder import ColumnsBuilder
from .dtypes import DType
from .entry import Checkpoint, CheckpointFile
from .errors import Malformed, ParamInspectError
from .findings import Finding, Severity
from .moments import OptimizerGroups, assign_owners
from .pickle_account import accounting, report_pickles
from .pickle_machine import PickleBudget, read_pickle
from .record_graph import attributes, key_part, mapping_pairs, sequence_items
from .records import Call, Global
from .registry import OpenContext
from .sections import Section
from .settings import Settings
from .side_files import resolve_side_file
from .source import ByteSource, FileSource, SpanSource
from .table import ParameterTable
from .tensor import TensorRef
from .torch_chunks import Chunk, ChunkSource, walk_item
from .torch_rebuild import dimensions
from .torch_storage import BadTensor
from .torch_types import torch_dtype
from .training_state import section_of_key

METADATA_NAME: Final = ".metadata"
_MODULE: Final = "torch.distributed.checkpoint.metadata"
_MAX_OBJECT_BYTES: Final = 1 << 20
"""Objects beside the tensors larger than this are named, not read."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one stored item lies."""

    file: str
    offset: int
    length: int


@dataclass(slots=True)
class _Folder:
    """What is known while a checkpoint folder is read."""

    path: str
    metadata: ByteSource
    context: OpenContext
    places: dict[tuple[str, tuple[int, ...]], _Place] = field(default_factory=dict)
    sources: dict[str, FileSource | None] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    builder: ColumnsBuilder = field(default_factory=ColumnsBuilder)
    settings: Settings = field(default_factory=Settings)

    def open_sources(self) -> list[FileSource]:
        """The parts that could be opened."""
        return [source for source in self.sources.values() if source is not None]


def open_folder(path: str, context: OpenContext) -> Checkpoint:
    """Read `.metadata`; chunks are located, and opened when values are asked for."""
    source = FileSource(os.path.join(path, METADATA_NAME))
    budget = PickleBudget(context.limits, context.deadline)
    with accounting(budget):
        stream = read_pickle(source, 0, budget, label=METADATA_NAME)
    facts = _fields(stream.root)
    entries = mapping_pairs(facts.get("state_dict_metadata"))
    if not _is_named(stream.root, "Metadata") or entries is None:
        raise Malformed(
            "dcp-metadata",
            "the file is a pickle, but not the metadata of a torch.distributed.checkpoint",
            path=source.name,
            offset=0,
        )
    folder = _Folder(path, source, context)
    _locate(folder, facts.get("storage_data"))
    _list_entries(folder, entries, _planned_paths(facts.get("planner_data")))
    imports, import_findings = report_pickles(budget, source.name)
    folder.settings.finish()
    version = facts.get("version")
    if isinstance(version, str):
        folder.settings.metadata["dcp.version"] = version
    columns = folder.builder.build()
    columns.owners = assign_owners(columns, _optimizers(columns.paths or []))
    sources = (source, *folder.open_sources())
    return Checkpoint(
        context.location,
        "torch distributed checkpoint",
        ParameterTable(columns),
        files=tuple(CheckpointFile(one.name, one.size()) for one in sources),
        metadata=folder.settings.metadata,
        hyperparameters=folder.settings.hyperparameters,
        progress=folder.settings.progress,
        findings=(*folder.findings, *import_findings),
        imports=tuple(imports),
        sources=sources,
    )


def _fields(record: object) -> dict[str, object]:
    return {key: value for key, value in attributes(record) if isinstance(key, str)}


def _is_named(record: object, name: str) -> bool:
    if not isinstance(record, Call) or not isinstance(record.function, Global):
        return False
    return record.function.module == _MODULE and record.function.name == name


def _locate(folder: _Folder, storage_data: object) -> None:
    """The place of every stored item, by name and chunk offset."""
    for index, info in mapping_pairs(storage_data) or ():
        where, what = _fields(index), _fields(info)
        name, file = where.get("fqn"), what.get("relative_path")
        offset, length = what.get("offset"), what.get("length")
        if not isinstance(name, str) or not isinstance(file, str):
            continue
        if type(offset) is not int or type(length) is not int or offset < 0 or length < 0:
            continue
        if file not in folder.sources:
            folder.sources[file] = _open_part(folder, file)
        start = where.get("offset")
        folder.places[name, () if start is None else _numbers(start)] = _Place(file, offset, length)


def _open_part(folder: _Folder, file: str) -> FileSource | None:
    path = resolve_side_file(folder.path, file, folder.context, folder.metadata)
    try:
        return FileSource(path)
    except ParamInspectError as error:
        message = f"a part of the checkpoint cannot be opened: {error.cause}"
        folder.findings.append(Finding("part-missing", Severity.ERROR, message, path))
        return None


def _numbers(record: object) -> tuple[int, ...]:
    """Chunk offsets; a tuple that matches nothing where they are no natural numbers."""
    try:
        return dimensions(record)
    except BadTensor:
        return (-1,)


def _planned_paths(planner_data: object) -> Mapping[str, Path]:
    """The nested keys behind each flat name, as the saving planner recorded them."""
    paths: dict[str, Path] = {}
    for name, parts in mapping_pairs(planner_data) or ():
        items = sequence_items(parts)
        if isinstance(name, str) and items:
            paths[name] = tuple(map(key_part, items))
    return paths


def _list_entries(folder: _Folder, entries: list[tuple[object, object]], paths: Mapping[str, Path]) -> None:
    for name, entry in entries:
        if not isinstance(name, str):
            continue
        path = paths.get(name, (name,))
        outer = (section_of_key(part, None) for part in path[:-1])  # a Stateful wrapper may stand before
        section = next((found for found in outer if found is not None), None)
        if _is_named(entry, "TensorStorageMetadata"):
            _list_tensor(folder, name, path, section, _fields(entry))
        elif _is_named(entry, "BytesStorageMetadata"):
            _keep_object(folder, name, path, section)


def _list_tensor(
    folder: _Folder, name: str, path: Path, section: Section | None, facts: dict[str, object]
) -> None:
    try:
        shape = dimensions(facts.get("size"))
        dtype = _dtype_of(facts.get("properties"))
    except BadTensor as fault:
        folder.findings.append(
            Finding(fault.code, Severity.ERROR, f"this tensor is not listed: {fault.message}", tensor=name)
        )
        return
    ref = TensorRef(None, 0, dtype, shape)
    try:
        source = _values(folder, name, ref, facts.get("chunks"))
        ref = TensorRef(source, 0, dtype, shape)
    except BadTensor as fault:
        ref = ref.without_values(fault.message)
        folder.findings.append(
            Finding(
                fault.code,
                Severity.ERROR,
                f"this tensor has no readable values: {fault.message}",
                folder.path,
                tensor=".".join(map(str, path)),
            )
        )
    folder.builder.add(path, ref, section=section)


def _dtype_of(properties: object) -> DType:
    """TensorProperties pickles as `(dtype, layout, requires_grad, memory_format, pin_memory)`."""
    state = properties.state if isinstance(properties, Call) else None
    record = state[0] if isinstance(state, tuple) and state else _fields(properties).get("dtype")
    dtype = torch_dtype(record)
    if dtype is None:
        raise BadTensor("tensor-dtype", "its element type is not one that torch writes")
    return dtype


def _values(folder: _Folder, name: str, ref: TensorRef, chunks: object) -> ByteSource:
    """A source of the tensor's bytes in C order, from chunks that are a grid."""
    pieces = [
        (_numbers(fields.get("offsets")), _numbers(fields.get("sizes")))
        for fields in map(_fields, sequence_items(chunks) or ())
    ]
    try:
        grid = ChunkGrid(ref.shape, pieces)
    except ValueError as fault:
        raise BadTensor("dcp-chunk-layout", f"of its {len(pieces)} chunks: {fault}") from None
    sources: dict[Cell, ByteSource] = {}
    for offsets, cell in grid.cells.items():
        place = folder.places.get((name, offsets))
        if place is None:
            raise BadTensor("dcp-chunk-missing", f"the chunk at {offsets} is stored nowhere")
        file = folder.sources[place.file]
        if file is None or place.offset + place.length > file.size():
            raise BadTensor(
                "dcp-chunk-missing", f"the chunk at {offsets} lies outside the file {place.file!r}"
            )
        chunk = Chunk(file, place.offset, place.length, ref.dtype, grid.sizes_of(cell))
        sources[cell] = ChunkSource(chunk, folder.context.limits)
    if len(sources) == 1:
        return next(iter(sources.values()))
    try:
        return GridSource(grid, sources, ref.dtype, folder.path)
    except ValueError as fault:
        raise BadTensor("dcp-chunk-layout", str(fault)) from None


def _keep_object(folder: _Folder, name: str, path: Path, section: Section | None) -> None:
    """An object saved beside the tensors: a torch archive without storages."""
    place = folder.places.get((name, ()))
    file = None if place is None else folder.sources[place.file]
    if place is None or file is None or place.length > _MAX_OBJECT_BYTES:
        return
    try:
        walked = walk_item(SpanSource(file, place.offset, place.length), folder.context.limits)
    except ParamInspectError as error:
        message = f"the object {name!r} cannot be read: {error.cause}"
        folder.findings.append(Finding("dcp-object", Severity.WARNING, message, file.name, place.offset))
        return
    value = walked.hyperparameters.get("object", walked.hyperparameters or walked.metadata or walked.progress)
    folder.settings.keep_plain(value, path, section)


def _optimizers(paths: list[Path]) -> list[OptimizerGroups]:
    """Optimizers as they appear in the paths: `<optimizer>.state.<parameter name>.<moment>`."""
    roots = {path[:index] for path in paths for index, part in enumerate(path) if part == "state" and index}
    return [OptimizerGroups(root, (), {}) for root in sorted(roots, key=str)]
