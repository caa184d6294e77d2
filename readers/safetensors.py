"""safetensors files: header length, JSON header, data without holes (checks as in safetensors 0.8)."""

from __future__ import annotations

import re
from typing import Final

from .columns import Columns
from .entry import Checkpoint
from .errors import LimitExceeded, Malformed, Truncated
from .findings import Finding, Severity
from .registry import OpenContext
from .safetensors_header import (
    MAX_INTEGER,
    Entry,
    Header,
    HeaderFault,
    malformed,
    parse_header,
    position_of_name,
)
from .source import ByteSource, file_offset, read
from .table import ParameterTable
from .tensor import TensorRef
from .units import format_bytes
from .untrusted import printable

_LENGTH_BYTES: Final = 8
_START: Final = re.compile(rb"[ \t\r\n]*\{[ \t\r\n]*(?:[\"}]|$)")
_ALIGNMENT: Final = 8
_MAX_FINDINGS_OF_A_KIND: Final = 20


def recognises(source: ByteSource, head: bytes) -> bool:
    """A JSON object after eight bytes that are a length and not text."""
    length, start = head[:_LENGTH_BYTES], head[_LENGTH_BYTES:]
    if len(length) < _LENGTH_BYTES or _START.match(start) is None:
        return False
    is_text = all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in length)
    return not is_text or int.from_bytes(length, "little") <= source.size()


def open_checkpoint(source: ByteSource, context: OpenContext) -> Checkpoint:
    """Read and check the header; no tensor byte is touched."""
    raw = _header_bytes(source, context)
    context.deadline.check()
    try:
        header = parse_header(raw)
        columns = _columns(source, header, raw)
    except HeaderFault as fault:
        raise malformed(fault, source.name, _LENGTH_BYTES) from None
    context.deadline.check()
    return Checkpoint(
        location=context.location,
        format="safetensors",
        parameters=ParameterTable(columns),
        metadata=header.metadata,
        findings=tuple(_findings(header, raw, source.name)),
        sources=(),
    )


def _header_bytes(source: ByteSource, context: OpenContext) -> bytes:
    size = source.size()
    if size < _LENGTH_BYTES:
        raise Truncated(
            "safetensors-too-small",
            f"a safetensors file starts with eight bytes of length; this one has {size}",
            path=source.name,
            advice="the download or the copy stopped early: fetch the file again",
        )
    length = int.from_bytes(read(source, 0, _LENGTH_BYTES), "little")
    limit = context.limits.header_bytes
    if length > size - _LENGTH_BYTES and length <= limit:
        raise Truncated(
            "safetensors-header-length",
            f"the header is {length:,} bytes long, but only {size - _LENGTH_BYTES:,} bytes follow",
            path=source.name,
            offset=0,
            advice="the download or the copy stopped early, or the length is wrong: fetch the file again",
        )
    if length > limit:
        raise LimitExceeded(
            "limit-header-bytes",
            f"the header claims {length:,} bytes, more than the budget of {limit:,} "
            "(the reference library's limit is 100,000,000)",
            path=source.name,
            offset=0,
            advice="no safetensors library reads such a file",
        )
    raw = read(source, _LENGTH_BYTES, length)
    containers = raw.count(b"[") + raw.count(b"{")
    if containers > context.limits.containers:
        raise LimitExceeded(
            "limit-containers",
            f"the header may hold {containers:,} lists and objects, more than the budget of "
            f"{context.limits.containers:,}",
            path=source.name,
            offset=_LENGTH_BYTES,
            advice="raise it with --limit containers=N if you trust the file",
        )
    return raw


def _columns(source: ByteSource, header: Header, raw: bytes) -> Columns:
    data_start = _LENGTH_BYTES + len(raw)
    entries = list(header.entries.values())
    names = list(header.entries)
    elements = [_checked_elements(name, entry, raw) for name, entry in zip(names, entries, strict=True)]
    data_end = _check_layout(names, entries, raw)
    _check_size(source, data_start, data_end)

    def locate(row: int) -> TensorRef:
        dtype, shape, begin, _ = entries[row]
        ref = TensorRef(source, data_start + begin, dtype, shape)
        if dtype.bits == 0:
            return ref.without_values(f"the element type {dtype.name} is not known to this version")
        return ref

    return Columns(
        names=names,
        shapes=[entry.shape for entry in entries],
        dtypes=[entry.dtype for entry in entries],
        elements=elements,
        nbytes=[entry.end - entry.begin for entry in entries],
        locate=locate,
        in_module_order=False,
    )


def _checked_elements(name: str, entry: Entry, raw: bytes) -> int:
    """Number of elements, where shape, type and span agree; in the order of the reference's checks."""
    dtype, shape, begin, end = entry
    elements = 1
    for dimension in shape:
        elements *= dimension
        if elements > MAX_INTEGER:
            raise _fault("safetensors-overflow", name, raw, "the shape has more than 2^64-1 elements")
    bits = dtype.bits
    if bits == 0:  # a type of the future: its size cannot be checked
        return elements
    total = elements * bits
    if total > MAX_INTEGER:
        raise _fault("safetensors-overflow", name, raw, "the tensor has more than 2^64-1 bits")
    if total % 8:
        cause = f"{elements:,} values of {bits} bits do not fill whole bytes"
        raise _fault("safetensors-sub-byte", name, raw, cause)
    if end - begin != total // 8:
        cause = (
            f"the shape {list(shape)} of {dtype.name} takes {total // 8:,} bytes, "
            f"but data_offsets spans {end - begin:,}"
        )
        raise _fault("safetensors-span", name, raw, cause)
    return elements


def _check_layout(names: list[str], entries: list[Entry], raw: bytes) -> int:
    """Bytes of data that the header describes: tensors follow each other without hole or overlap."""
    end = 0
    for begin, next_end, row in sorted([(begin, end, row) for row, (_, _, begin, end) in enumerate(entries)]):
        if begin != end or next_end < begin:
            raise _fault("safetensors-offsets", names[row], raw, _offset_fault(entries[row], end))
        end = next_end
    return end


def _offset_fault(entry: Entry, expected: int) -> str:
    span = f"data_offsets [{entry.begin}, {entry.end}]"
    if entry.end < entry.begin:
        return f"{span} runs backwards"
    if entry.begin < expected:
        return f"{span} overlaps the tensor before, which ends at {expected}"
    return f"{span} leaves a hole: the data before ends at {expected}"


def _check_size(source: ByteSource, data_start: int, data_end: int) -> None:
    expected = data_start + data_end
    size = source.size()
    if size < expected:
        missing = expected - size
        raise Truncated(
            "safetensors-truncated",
            f"{missing:,} bytes ({format_bytes(missing)}) of tensor data are missing: "
            f"the file has {size:,} of {expected:,} bytes",
            path=source.name,
            offset=file_offset(source, size),
            advice="the download or the copy stopped early: fetch the file again",
        )
    if size > expected:
        raise Malformed(
            "safetensors-trailing-bytes",
            f"{size - expected:,} bytes follow the last tensor; a safetensors file must end with its data",
            path=source.name,
            offset=file_offset(source, expected),
            advice="the header was shortened, or something was appended to the file",
        )


def _fault(code: str, name: str, raw: bytes, cause: str) -> HeaderFault:
    return HeaderFault(code, f"tensor {printable(name)!r}: {cause}", position_of_name(raw, name))


_SEVERITY: Final = {
    "safetensors-duplicate-name": Severity.WARNING,
    "safetensors-duplicate-metadata": Severity.WARNING,
    "safetensors-unknown-dtype": Severity.ERROR,
    "safetensors-nul-name": Severity.WARNING,
}


def _findings(header: Header, raw: bytes, path: str) -> list[Finding]:
    oddities = header.oddities + _odd_names(header) + _unknown_dtypes(header)
    if raw[:1] != b"{":
        oddities.append(
            ("safetensors-leading-space", "white space stands before the header's first brace", None)
        )
    if (_LENGTH_BYTES + len(raw)) % _ALIGNMENT:
        oddities.append(
            ("safetensors-unaligned", "the tensor data do not start on a multiple of 8 bytes", None)
        )
    found = []
    seen: dict[str, int] = {}
    for code, message, tensor in oddities:
        seen[code] = seen.get(code, 0) + 1
        if seen[code] <= _MAX_FINDINGS_OF_A_KIND:
            offset = _LENGTH_BYTES + position_of_name(raw, tensor) if tensor is not None else _LENGTH_BYTES
            found.append(Finding(code, _SEVERITY.get(code, Severity.INFO), message, path, offset, tensor))
    for code, count in seen.items():
        if count > _MAX_FINDINGS_OF_A_KIND:
            message = f"the same in {count - _MAX_FINDINGS_OF_A_KIND:,} more places"
            found.append(Finding(code, _SEVERITY.get(code, Severity.INFO), message, path))
    return found


def _odd_names(header: Header) -> list[tuple[str, str, str | None]]:
    odd: list[tuple[str, str, str | None]] = []
    if "" in header.entries:
        odd.append(("safetensors-empty-name", "a tensor has an empty name", ""))
    odd += [
        ("safetensors-nul-name", "the tensor's name holds a NUL character; programs in C cut it there", name)
        for name in header.entries
        if "\0" in name
    ]
    return odd


def _unknown_dtypes(header: Header) -> list[tuple[str, str, str | None]]:
    return [
        (
            "safetensors-unknown-dtype",
            f"the element type {entry.dtype.name} is not in safetensors 0.8: "
            "the size is unchecked, and there are no values",
            name,
        )
        for name, entry in header.entries.items()
        if entry.dtype.bits == 0
    ]
