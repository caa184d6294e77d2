"""Reports as JSON with a versioned schema (docs/json.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Final, TextIO

from .blocks import Document, Look

DEEPEST: Final = 40
"""Levels of nested data out of a file before the rest is cut off."""

LARGEST_BITS: Final = 4096
"""Integers beyond this many bits are described, not printed: some parsers would choke on the digits."""


def write(document: Document, stream: TextIO, _look: Look) -> None:
    """One object: `schema`, `models`, `failures`. Long lists have one item a line."""
    stream.write(f'{{\n"schema": {json.dumps(document.schema)},\n"models": [')
    separator = "\n"
    for report in document.reports:
        stream.write(separator)
        stream.writelines(_object_lines(report.data))
        separator = ",\n"
    failures = [failure._asdict() for failure in document.failures]
    stream.write("\n],\n")
    stream.write(f'"failures": {encoded(failures)}\n}}\n')
    stream.flush()


def _object_lines(data: Mapping[str, object]) -> Iterator[str]:
    """The object with one entry a line, lists of containers with one item a line."""
    yield "{"
    separator = "\n"
    for key, value in data.items():
        yield f"{separator}{json.dumps(key)}: "
        separator = ",\n"
        if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
            yield from _list_lines(value)
        else:
            yield encoded(value)
    yield "\n}"


def _list_lines(items: list[object]) -> Iterator[str]:
    yield "["
    separator = "\n"
    for item in items:
        yield separator
        yield encoded(item)
        separator = ",\n"
    yield "\n]"


def encoded(value: object) -> str:
    """JSON in ASCII on one line; what JSON has no word for becomes text."""
    return json.dumps(plain(value), allow_nan=False)


def plain(value: object, depth: int = 0) -> object:
    """The value in JSON's own types: NaN and infinities as `"NaN"`, `"Infinity"`, `"-Infinity"`."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() <= LARGEST_BITS else f"integer of {value.bit_length()} bits"
    if isinstance(value, float):
        return value if isfinite(value) else _not_finite(value)
    if depth >= DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return _plain_mapping(value, depth + 1)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, depth + 1) for item in value]
    return str(value)


def _plain_mapping(value: Mapping[object, object], depth: int) -> dict[str, object]:
    """Keys as text; where two become the same text (1 and "1"), the later is numbered."""
    entries: dict[str, object] = {}
    for key, item in value.items():
        text = str(key)
        if text in entries:
            text = f"{text} ({len(entries) + 1})"
        entries[text] = plain(item, depth)
    return entries


def _not_finite(value: float) -> str:
    if value != value:
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
