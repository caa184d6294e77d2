"""A plain pickle: a state dict saved with `pickle.dump`, arrays, or any object at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from .entry import Checkpoint
from .errors import LimitExceeded, Malformed, ParamInspectError, Truncated, Unsupported
from .findings import Finding, Severity
from .pickle_account import accounting, report_pickles
from .pickle_machine import PickleBudget, PickleStream, read_pickle
from .pickle_nested import TORCH_PICKLES
from .pickle_stream import NestedPickle
from .pickled_tensors import PickledTensors
from .records import Call, Global
from .registry import OpenContext
from .source import ByteSource, SpanSource, file_offset
from .state_dict import Walker
from .table import ParameterTable
from .torch_legacy_stream import legacy_stream
from .torch_storage import BadTensor, Storage

_FIRST_OPCODES: Final = frozenset(
    b"(]})cNIJKMLGFSTUVXBCP\x80\x82\x83\x84\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x95\x96\x97"
)
"""Those that need nothing on the stack."""

_LOOKED_AT: Final = 64 << 10
"""Bytes that must make sense as opcodes where a file is longer."""

_MAX_TRAILING_STREAMS: Final = 100


def recognises(source: ByteSource, head: bytes) -> bool:
    """A protocol byte first, or opcodes up to a STOP, or to a call that a loader would make."""
    if len(head) >= 2 and head[0] == 0x80 and head[1] <= 5:
        return True
    return bool(head) and head[0] in _FIRST_OPCODES and _is_old_pickle(source)


def _is_old_pickle(source: ByteSource) -> bool:
    """Text protocols have no magic number: the beginning must make sense as opcodes."""
    from .limits import DEFAULT_LIMITS, Deadline

    window = SpanSource(source, 0, min(source.size(), _LOOKED_AT))
    try:
        stream = read_pickle(window, 0, PickleBudget(DEFAULT_LIMITS, Deadline(0)))
    except ParamInspectError as error:
        stream = error.partial if isinstance(error.partial, PickleStream) else PickleStream(None, 0, 0)
        cut_by_us = isinstance(error, Truncated) and source.size() > window.size()
        return _acts(stream) or (cut_by_us and bool(stream.events))
    return _acts(stream) or not (stream.root is None or isinstance(stream.root, (int, str, float)))


def _acts(stream: PickleStream) -> bool:
    """Whether loading it does more than making plain data, whatever becomes of it afterwards."""
    return any(event.kind in ("call", "build") for event in stream.events)


def open_checkpoint(source: ByteSource, context: OpenContext) -> Checkpoint:
    """Interpret the pickle (and any that follow it) and list the tensors and arrays in it."""
    budget = PickleBudget(context.limits, context.deadline)
    with accounting(budget):
        stream = _first_stream(source, budget)
        reader = PickledTensors(NestedStorages(stream), source)
        walked = Walker(reader, context.deadline, source.name).walk(stream.root)
        more = _further_streams(source, stream.end, budget)
    imports, findings = report_pickles(budget, source.name)
    return Checkpoint(
        context.location,
        "pickle",
        ParameterTable(walked.columns),
        metadata=walked.metadata,
        hyperparameters=walked.hyperparameters,
        progress=walked.progress,
        findings=(*walked.findings, *findings, *more),
        imports=tuple(imports),
    )


def _first_stream(source: ByteSource, budget: PickleBudget) -> PickleStream:
    try:
        return read_pickle(source, 0, budget)
    except Malformed as error:
        read = error.partial
        names = read.imports if isinstance(read, PickleStream) else []
        if not any(name == "NumpyArrayWrapper" and module.startswith("joblib") for module, name, *_ in names):
            raise
        raise Unsupported(
            "format-joblib",
            "this is a pickle of joblib with arrays between its opcodes, which this version does not read",
            path=source.name,
            offset=error.offset,
            advice="save it again with pickle.dump, or save its arrays with numpy.savez",
        ) from None


def _further_streams(source: ByteSource, position: int, budget: PickleBudget) -> list[Finding]:
    """Loaders stop at the first STOP; what follows may be read by others."""
    findings: list[Finding] = []
    streams = 0
    begin = position
    while position < source.size() and streams < _MAX_TRAILING_STREAMS:
        try:
            position = read_pickle(source, position, budget, label=f"stream {streams + 2}").end
        except LimitExceeded:
            raise
        except ParamInspectError:
            break
        streams += 1
    if streams:
        findings.append(
            Finding(
                "further-pickles",
                Severity.WARNING,
                f"{streams} more pickles follow the first one; their objects are not listed",
                source.name,
                file_offset(source, begin),
            )
        )
    if position < source.size():
        findings.append(
            Finding(
                "trailing-bytes",
                Severity.WARNING,
                f"{source.size() - position:,} bytes follow the pickle and are no pickle",
                source.name,
                file_offset(source, position),
            )
        )
    return findings


class NestedStorages:
    """Storages that are whole legacy streams inside the pickle: `torch.storage._load_from_bytes(...)`."""

    def __init__(self, stream: PickleStream) -> None:
        self._nested = {id(nested.call): nested for nested in stream.nested}
        self._known: dict[int, Storage] = {}

    def find(self, record: object) -> Storage:
        """The storage inside the bytes of a call. One call is one storage, however often it is used."""
        known = self._known.get(id(record))
        if known is None:
            inner = _inner_storage(_checked(self._nested.get(id(record)), record))
            known = self._known[id(record)] = replace(inner, number=len(self._known))
        return known

    def find_parts(self, _storage_class: object, key: str, _location: str, _numel: int) -> Storage:
        """A plain pickle has no persistent ids."""
        raise BadTensor("storage-id", f"it refers to storage {key!r} outside the pickle")


def _checked(nested: NestedPickle | None, record: object) -> NestedPickle:
    if not isinstance(record, Call) or not isinstance(record.function, Global):
        raise BadTensor("storage-id", "its storage is not one that torch pickles")
    if nested is None or record.function.qualified != "torch.storage._load_from_bytes":
        raise BadTensor("storage-id", f"its storage comes from {record.function.qualified}")
    return nested


def _inner_storage(nested: NestedPickle) -> Storage:
    problem = nested.problem
    if problem is None and (nested.source is None or len(nested.streams) != TORCH_PICKLES):
        problem = "it is not what torch writes there"
    if problem is not None or nested.source is None:
        raise BadTensor("nested-storage", f"the stream inside it cannot be read: {problem}")
    try:
        legacy = legacy_stream(nested.source, nested.streams)
    except ParamInspectError as error:
        raise BadTensor("nested-storage", f"the stream inside it cannot be read: {error.cause}") from None
    return legacy.storages.find(legacy.content.root)
