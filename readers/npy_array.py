"""One .npy array, wherever it lies: as a file of its own or as a member of an archive."""

from __future__ import annotations

from typing import Final, NamedTuple

from .columns import Columns, Path
from .columns_builder import ColumnsBuilder
from .errors import Truncated
from .findings import Finding, Severity
from .limits import Limits
from .npy_header import NpyHeader, read_npy_header
from .numpy_fields import FieldSource
from .numpy_records import RecordField
from .pickle_machine import read_pickle
from .pickle_stream import PickleBudget
from .pickled_tensors import NoStorages, PickledTensors
from .record_graph import sequence_items
from .records import Call
from .source import ByteSource, SpanSource, file_offset
from .state_dict import Walked, Walker
from .tensor import TensorRef, count_elements
from .units import format_bytes

_OBJECT_ARRAY: Final = "it is an array of Python objects, not of numbers"


class Listed(NamedTuple):
    """What one array adds to a table."""

    columns: Columns
    findings: list[Finding]
    inside: Walked | None
    """What the pickle of an object array holds; None for arrays of numbers."""

    header: NpyHeader


def list_array(source: ByteSource, path: Path, limits: Limits, budget: PickleBudget) -> Listed:
    """List the array that fills a source.

    Args:
        source: the whole .npy, header included.
        path: the array's path in the table.
        limits: `npy_header_bytes` bounds the header.
        budget: of the file's pickles, and the account of what they would import.

    Raises:
        ParamInspectError: the header cannot be read, or values are missing.
    """
    header = read_npy_header(source, limits)
    if header.record.has_objects:
        return _listed_objects(source, header, path, budget)
    findings = _check_size(source, header)
    builder = ColumnsBuilder()
    data_bytes = count_elements(header.shape) * header.record.itemsize
    records = SpanSource(source, header.data_offset, data_bytes)
    for field in header.record.fields:
        builder.add((*path, *field.path), _field_ref(header, field, records))
    return Listed(builder.build(), findings, None, header)


def _field_ref(header: NpyHeader, field: RecordField, records: ByteSource) -> TensorRef:
    shape = (*header.shape, *field.shape)
    strides = _fortran_strides(header.shape, field.shape) if header.is_fortran else None
    values = FieldSource(records, header.record.itemsize, field) if header.record.is_record else records
    if field.nbytes == 0:
        problem = "its elements have no bytes"
        return TensorRef(None, 0, field.dtype, shape, strides, field.byteorder, problem)
    return TensorRef(values, 0, field.dtype, shape, strides, field.byteorder)


def _fortran_strides(outer: tuple[int, ...], inner: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, where the first of the outer dimensions is the fastest."""
    inner_strides: list[int] = []
    step = 1
    for length in reversed(inner):
        inner_strides.insert(0, step)
        step *= max(1, length)
    outer_strides = []
    for length in outer:
        outer_strides.append(step)
        step *= max(1, length)
    return (*outer_strides, *inner_strides)


def _check_size(source: ByteSource, header: NpyHeader) -> list[Finding]:
    """The values must be there; what follows them is reported."""
    expected = header.data_offset + count_elements(header.shape) * header.record.itemsize
    size = source.size()
    if size < expected:
        missing = expected - size
        raise Truncated(
            "npy-truncated",
            f"{missing:,} bytes ({format_bytes(missing)}) of values are missing: the shape "
            f"{list(header.shape)} needs {expected:,} bytes, and {size:,} are there",
            path=source.name,
            offset=file_offset(source, size),
            advice="the download or the copy stopped early, or the shape is wrong: fetch the file again",
        )
    if size == expected:
        return []
    message = f"{size - expected:,} bytes follow the array's last value; numpy does not read them"
    return [
        Finding("npy-trailing-bytes", Severity.WARNING, message, source.name, file_offset(source, expected))
    ]


def _listed_objects(source: ByteSource, header: NpyHeader, path: Path, budget: PickleBudget) -> Listed:
    """An array of objects is a pickle: interpreted without making any of them."""
    label = ".".join(map(str, path))
    stream = read_pickle(source, header.data_offset, budget, label=label)
    builder = ColumnsBuilder()
    dtype = next(field.dtype for field in header.record.fields if field.dtype.name == "object")
    builder.add(path, TensorRef(None, 0, dtype, header.shape, problem=_OBJECT_ARRAY), elements=0)
    walker = Walker(PickledTensors(NoStorages(), source), budget.deadline, source.name, builder)
    walked = walker.walk(_content(stream.root), path)
    findings = list(walked.findings)
    if stream.end < source.size():
        message = f"{source.size() - stream.end:,} bytes follow the pickle of this array"
        offset = file_offset(source, stream.end)
        findings.append(Finding("npy-trailing-bytes", Severity.WARNING, message, source.name, offset))
    return Listed(walked.columns, findings, walked, header)


def _content(root: object) -> object:
    """The objects of a pickled array; the object itself where the array holds one only."""
    state = root.state if isinstance(root, Call) else None
    items = sequence_items(state[4]) if isinstance(state, tuple) and len(state) == 5 else None
    if items is None:
        return root
    return items[0] if len(items) == 1 else tuple(items)
