"""A plain pickle: a state dict saved with `pickle.dump`, arrays, or any object at all."""

from __future__ import annotations

from typing import Final

from .entry import Checkpoint, PickleImport
from .errors import ParamInspectError
from .findings import Finding, Severity
from .pickle_machine import PickleBudget, PickleStream, read_pickle
from .pickle_report import report_imports
from .pickled_tensors import PickledTensors
from .records import BytesRef, Call, Global, MutableBytes
from .registry import OpenContext
from .source import ByteSource, MemorySource, SpanSource, file_offset
from .state_dict import Walker
from .table import ParameterTable
from .torch_legacy_stream import read_legacy
from .torch_storage import BadTensor, Storage

_FIRST_OPCODES: Final = frozenset(b"(]})\x80cNIJKMLGFSUTVX\x8a\x8cd lit0q\x94")
_MAX_TRAILING_STREAMS: Final = 100


def recognises(source: ByteSource, head: bytes) -> bool:
    """A protocol byte, or an old text pickle: its first opcodes, and STOP as the last byte."""
    if len(head) >= 2 and head[0] == 0x80 and head[1] <= 5:
        return True
    if not head or head[0] not in _FIRST_OPCODES:
        return False
    return _is_old_pickle(source)


def _is_old_pickle(source: ByteSource) -> bool:
    """Text protocols have no magic number: the beginning must make sense as opcodes up to a STOP."""
    from .limits import DEFAULT_LIMITS, Deadline

    window = SpanSource(source, 0, min(source.size(), 1 << 16))
    try:
        stream = read_pickle(window, 0, PickleBudget(DEFAULT_LIMITS, Deadline(0)))
    except ParamInspectError as error:
        begun = error.partial
        return source.size() > window.size() and isinstance(begun, PickleStream) and bool(begun.events)
    return not isinstance(stream.root, (int, str, float)) and stream.root is not None


def open_checkpoint(source: ByteSource, context: OpenContext) -> Checkpoint:
    """Interpret the pickle (and any that follow it) and list the tensors and arrays in it."""
    budget = PickleBudget(context.limits, context.deadline)
    stream = read_pickle(source, 0, budget)
    reader = PickledTensors(NestedStorages(source, budget), source)
    walked = Walker(reader, context.deadline, source.name).walk(stream.root)
    imports, findings = report_imports(stream, source.name)
    more_imports, more_findings = _further_streams(source, stream.end, budget)
    return Checkpoint(
        context.location,
        "pickle",
        ParameterTable(walked.columns),
        metadata=walked.metadata,
        hyperparameters=walked.hyperparameters,
        progress=walked.progress,
        findings=(*walked.findings, *findings, *more_findings),
        imports=(*imports, *more_imports),
    )


def _further_streams(
    source: ByteSource, position: int, budget: PickleBudget
) -> tuple[list[PickleImport], list[Finding]]:
    """Loaders stop at the first STOP; what follows may be read by others."""
    imports: list[PickleImport] = []
    findings: list[Finding] = []
    streams = 0
    begin = position
    while position < source.size() and streams < _MAX_TRAILING_STREAMS:
        try:
            stream = read_pickle(source, position, budget)
        except ParamInspectError:
            break
        streams += 1
        further, told = report_imports(stream, source.name, f"stream {streams + 1}")
        imports += further
        findings += told
        position = stream.end
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
    return imports, findings


class NestedStorages:
    """Storages that are whole legacy streams inside the pickle: `torch.storage._load_from_bytes(...)`."""

    def __init__(self, source: ByteSource, budget: PickleBudget) -> None:
        self._source = source
        self._budget = budget
        self._known: dict[int, Storage] = {}

    def find(self, record: object) -> Storage:
        """The storage inside the bytes of a call. One call is one storage, however often it is used."""
        known = self._known.get(id(record))
        if known is not None:
            return known
        payload = _nested_bytes(record, self._source)
        self._budget.enter_nested(1)
        try:
            legacy = read_legacy(payload, 0, self._budget)
        except ParamInspectError as error:
            raise BadTensor("nested-storage", f"the stream inside it cannot be read: {error.cause}") from None
        inner = legacy.storages.find(legacy.content.root)
        number = len(self._known)
        storage = Storage(
            number, inner.dtype, inner.source, inner.nbytes, inner.byteorder, inner.problem, inner.fault
        )
        self._known[id(record)] = storage
        return storage

    def find_parts(self, _storage_class: object, key: str, _location: str, _numel: int) -> Storage:
        """A plain pickle has no persistent ids."""
        raise BadTensor("storage-id", f"it refers to storage {key!r} outside the pickle")


def _nested_bytes(record: object, source: ByteSource) -> ByteSource:
    if not isinstance(record, Call) or not isinstance(record.function, Global):
        raise BadTensor("storage-id", "its storage is not one that torch pickles")
    if record.function.qualified != "torch.storage._load_from_bytes" or not isinstance(record.args, tuple):
        raise BadTensor("storage-id", f"its storage comes from {record.function.qualified}")
    payload = record.args[0] if record.args else None
    if isinstance(payload, BytesRef) and payload.kind != "str":
        return SpanSource(source, payload.offset, payload.length)
    if isinstance(payload, MutableBytes):
        payload = payload.value
    if isinstance(payload, bytes):
        return MemorySource(payload, source.name)
    return latin1_payload(payload, source)


def latin1_payload(record: object, source: ByteSource) -> ByteSource:
    """`_codecs.encode(text, "latin1")`: how protocols before 3 write bytes."""
    from .numpy_pickle import payload_source

    found = payload_source(record, source)
    if found is None:
        raise BadTensor("nested-storage", "the bytes of its storage are not stored as bytes")
    return found
