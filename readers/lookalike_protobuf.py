"""Models that are one protocol buffer: ONNX, Core ML, TensorFlow. They have no fixed bytes, only fields."""

from __future__ import annotations

from typing import Final, NamedTuple

from .lookalike_signatures import Lookalike
from .source import ByteSource, read

_MOST_FIELDS: Final = 40
_LONGEST_VARINT: Final = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIRST_MESSAGE: Final = 0x0A
"""Tag of field 1 where it is a message or a text."""

_ADVICE: Final = "save its weights as safetensors with the library that wrote it"
_ONNX: Final = Lookalike("format-onnx", "by its fields an ONNX model", _ADVICE)
_CORE_ML: Final = Lookalike("format-coreml", "by its fields a Core ML model", _ADVICE)
_SAVED_MODEL: Final = Lookalike(
    "format-tensorflow-saved-model",
    "by its fields the graph of a TensorFlow SavedModel",
    "its values lie in the folder 'variables' beside it",
)
_GRAPH: Final = Lookalike("format-tensorflow-graph", "by its fields a TensorFlow graph", _ADVICE)
_SENTENCEPIECE: Final = Lookalike("file-tokenizer", "a SentencePiece vocabulary, which holds no weights")

_ONNX_FIELDS: Final = {1: _VARINT, 5: _VARINT, **dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25), _BYTES)}
"""ModelProto of onnx.proto: number of each field and its wire type."""

_ONNX_GRAPH: Final = 7
_GRAPH_STARTS: Final = frozenset(b"\x0a\x12\x2a\x52\x5a\x62\x6a")
"""First byte of a GraphProto: node, name, initializer, doc_string, input, output, value_info."""

_CORE_ML_FIRST_KIND: Final = 200
"""Model.proto of Core ML: the oneof with the model's kind begins with this field."""


class _Field(NamedTuple):
    number: int
    wire: int
    value: int
    """Of a varint; otherwise the length."""

    begin: int
    """Offset of the content."""


def protobuf_lookalike(source: ByteSource) -> Lookalike | None:
    """What kind of model the top-level fields speak of, or None. Reads a few bytes for each field."""
    fields, complete = _top_fields(source)
    if not fields:
        return None
    first = fields[0]
    if first.number == 1 and first.wire == _VARINT:
        return _versioned(source, fields, complete)
    if first.number == 1 and first.wire == _BYTES:
        return _repeated(source, fields)
    return None


def _versioned(source: ByteSource, fields: list[_Field], complete: bool) -> Lookalike | None:
    """All three formats begin with a small version number."""
    version = fields[0].value
    kinds = {(field.number, field.wire) for field in fields}
    if not 1 <= version <= 100 or len(fields) < 2:
        return None
    if (2, _BYTES) in kinds and any(field.number >= _CORE_ML_FIRST_KIND for field in fields):
        return _CORE_ML
    as_onnx = all(_ONNX_FIELDS.get(number) == wire for number, wire in kinds)
    graphs = [field for field in fields if field.number == _ONNX_GRAPH]
    if as_onnx and any(_first_byte(source, graph) in _GRAPH_STARTS for graph in graphs):
        return _ONNX
    only_graphs = kinds == {(1, _VARINT), (2, _BYTES)}
    if complete and version == 1 and only_graphs and _first_byte(source, fields[1]) == _FIRST_MESSAGE:
        return _SAVED_MODEL
    return None


def _repeated(source: ByteSource, fields: list[_Field]) -> Lookalike | None:
    """A graph is a list of nodes, a vocabulary one of pieces: both field 1, beginning with a text."""
    first = fields[0]
    text = _text_of(source, first)
    if text is None or {field.number for field in fields[:3]} != {1} or len(fields) < 3:
        return None
    return _SENTENCEPIECE if text == b"<unk>" else _GRAPH


def _content(source: ByteSource, field: _Field, length: int) -> bytes:
    """The first bytes of a field's content, `length` at most."""
    return read(source, field.begin, max(0, min(length, field.value, source.size() - field.begin)))


def _first_byte(source: ByteSource, field: _Field) -> int | None:
    content = _content(source, field, 1) if field.wire == _BYTES else b""
    return content[0] if content else None


def _text_of(source: ByteSource, field: _Field) -> bytes | None:
    """Field 1 of a message, if it is a short ASCII text that another field follows."""
    head = _content(source, field, 130)
    if len(head) < 3 or head[0] != _FIRST_MESSAGE:
        return None
    end = 2 + head[1]
    text = head[2:end]
    if head[1] >= 0x80 or end >= len(head) or head[end] not in (0x12, 0x15):
        return None
    return text if text.isascii() and text.decode("ascii").isprintable() else None


def _top_fields(source: ByteSource) -> tuple[list[_Field], bool]:
    """The first top-level fields, and whether the last one ends with the file.

    There are none where the bytes are no message; the end of the file may cut the last one.
    """
    fields: list[_Field] = []
    position, size = 0, source.size()
    while position < size and len(fields) < _MOST_FIELDS:
        field = _field_at(source, position)
        if field is None:
            return [], False
        fields.append(field)
        position = field.begin if field.wire == _VARINT else field.begin + field.value
    return fields, position == size


def _field_at(source: ByteSource, position: int) -> _Field | None:
    raw = read(source, position, min(2 * _LONGEST_VARINT, source.size() - position))
    tag = _varint(raw, 0)
    if tag is None or tag[0] >> 3 not in range(1, 1 << 29):
        return None
    number, wire = tag[0] >> 3, tag[0] & 7
    if wire in (_FIXED64, _FIXED32):
        return _Field(number, wire, 8 if wire == _FIXED64 else 4, position + tag[1])
    value = _varint(raw, tag[1]) if wire in (_VARINT, _BYTES) else None
    return None if value is None else _Field(number, wire, value[0], position + value[1])


def _varint(raw: bytes, begin: int) -> tuple[int, int] | None:
    """Value and end of a varint."""
    value = 0
    for index, byte in enumerate(raw[begin : begin + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, begin + index + 1
    return None
