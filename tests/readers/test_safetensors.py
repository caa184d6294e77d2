"""The reader accepts and refuses what the reference library does; that library is the oracle."""

from __future__ import annotations

import json
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import paraminspect
import pytest
import safetensors
from builders.safetensors_builder import entry, entry_text, safetensors_bytes
from hypothesis import given
from hypothesis import strategies as st
from paraminspect.readers.errors import LimitExceeded, Malformed, ParamInspectError, Truncated
from paraminspect.readers.findings import Severity
from paraminspect.readers.limits import DEFAULT_LIMITS, Deadline, Limits
from paraminspect.readers.registry import OpenContext, detect
from paraminspect.readers.safetensors import open_checkpoint
from paraminspect.readers.safetensors_header import DTYPE_OF_NAME
from paraminspect.readers.source import MemorySource
from safetensors.numpy import save, save_file


def opened(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> paraminspect.Checkpoint:
    """The bytes as a checkpoint."""

    def no_part(path: str) -> paraminspect.Checkpoint:
        raise AssertionError(path)

    source = MemorySource(raw, "m.safetensors")
    return open_checkpoint(source, OpenContext("m.safetensors", limits, Deadline(0), True, no_part))


def code_of(raw: bytes) -> str | None:
    """The error code, or None for a file that opens."""
    try:
        opened(raw)
    except ParamInspectError as error:
        return error.code
    return None


def library_accepts(raw: bytes) -> bool:
    """Whether the reference library deserialises the bytes."""
    try:
        DESERIALIZE(raw)
    except safetensors.SafetensorError:
        return False
    return True


FOUR = bytes(4)
DESERIALIZE: Any = safetensors.deserialize
PLAIN = entry_text()

REFUSED = {
    "hole at the start": (safetensors_bytes({"a": entry(offsets=[4, 8])}, bytes(8)), "safetensors-offsets"),
    "hole between": (
        safetensors_bytes({"a": entry(), "b": entry(offsets=[8, 12])}, bytes(12)),
        "safetensors-offsets",
    ),
    "overlap": (
        safetensors_bytes({"a": entry(shape=[2], offsets=[0, 8]), "b": entry(offsets=[4, 8])}, bytes(8)),
        "safetensors-offsets",
    ),
    "two tensors on one span": (
        safetensors_bytes({"a": entry(), "b": entry()}, FOUR),
        "safetensors-offsets",
    ),
    "backwards": (safetensors_bytes({"a": entry(offsets=[4, 0])}, FOUR), "safetensors-span"),
    "one byte more": (safetensors_bytes({"a": entry()}, bytes(5)), "safetensors-trailing-bytes"),
    "one byte less": (safetensors_bytes({"a": entry()}, bytes(3)), "safetensors-truncated"),
    "no data": (safetensors_bytes({"a": entry()}), "safetensors-truncated"),
    "two metadata entries": (
        safetensors_bytes('{"__metadata__":{"a":"b"},"__metadata__":{"a":"b"}}'),
        "safetensors-metadata",
    ),
    "metadata null twice": (
        safetensors_bytes('{"__metadata__":null,"__metadata__":null}'),
        "safetensors-metadata",
    ),
    "field twice": (safetensors_bytes(entry_text(more='"dtype":"F32",'), FOUR), "safetensors-entry"),
    "metadata of a number": (safetensors_bytes('{"__metadata__":{"a":1}}'), "safetensors-metadata"),
    "metadata nested": (safetensors_bytes('{"__metadata__":{"a":{}}}'), "safetensors-metadata"),
    "metadata a string": (safetensors_bytes('{"__metadata__":"a"}'), "safetensors-metadata"),
    "metadata a list": (safetensors_bytes('{"__metadata__":[]}'), "safetensors-metadata"),
    "an entry that is no object": (safetensors_bytes('{"a":3}'), "safetensors-entry"),
    "a bad entry before a good one": (safetensors_bytes('{"a":3,' + PLAIN[1:], FOUR), "safetensors-entry"),
    "missing field": (
        safetensors_bytes('{"a":{"dtype":"F32","shape":[1],"x":[0,4]}}', FOUR),
        "safetensors-entry",
    ),
    "three offsets": (safetensors_bytes(entry_text(offsets="[0,4,4]"), FOUR), "safetensors-entry"),
    "shape 1.0": (safetensors_bytes(entry_text(shape="[1.0]"), FOUR), "safetensors-entry"),
    "shape 1e0": (safetensors_bytes(entry_text(shape="[1e0]"), FOUR), "safetensors-entry"),
    "shape true": (safetensors_bytes(entry_text(shape="[true]"), FOUR), "safetensors-entry"),
    "shape text": (safetensors_bytes(entry_text(shape='["1"]'), FOUR), "safetensors-entry"),
    "shape -1": (safetensors_bytes(entry_text(shape="[-1]"), FOUR), "safetensors-entry"),
    "shape -0": (safetensors_bytes(entry_text(shape="[-0]", offsets="[0,0]")), "safetensors-entry"),
    "offset -0": (safetensors_bytes(entry_text(offsets="[-0,4]"), FOUR), "safetensors-entry"),
    "shape 2^64": (
        safetensors_bytes(entry_text(shape="[0,18446744073709551616]", offsets="[0,0]")),
        "safetensors-entry",
    ),
    "offset 2^64": (safetensors_bytes(entry_text(offsets=f"[0,{2**64}]")), "safetensors-entry"),
    "elements overflow before the zero": (
        safetensors_bytes(entry_text(shape=f"[{2**63},{2**63},0]", offsets="[0,0]")),
        "safetensors-overflow",
    ),
    "bits overflow": (
        safetensors_bytes(entry_text(shape=f"[{2**60}]", offsets="[0,0]")),
        "safetensors-overflow",
    ),
    "lower-case dtype": (safetensors_bytes(entry_text(dtype='"f32"'), FOUR), "safetensors-dtype"),
    "dtype a number": (safetensors_bytes(entry_text(dtype="32"), FOUR), "safetensors-dtype"),
    "dtype an object with a list": (
        safetensors_bytes(entry_text(dtype='{"F32":[]}'), FOUR),
        "safetensors-dtype",
    ),
    "a list of four": (safetensors_bytes('{"a":["F32",[1],[0,4],1]}', FOUR), "safetensors-entry"),
    "a list of two": (safetensors_bytes('{"a":["F32",[1]]}', FOUR), "safetensors-entry"),
    "F4 of odd count": (
        safetensors_bytes(entry_text(dtype='"F4"', shape="[3]", offsets="[0,2]"), bytes(2)),
        "safetensors-sub-byte",
    ),
    "F6 of five": (
        safetensors_bytes(entry_text(dtype='"F6_E2M3"', shape="[5]"), FOUR),
        "safetensors-sub-byte",
    ),
    "span too long": (
        safetensors_bytes(entry_text(shape="[1]", offsets="[0,8]"), bytes(8)),
        "safetensors-span",
    ),
    "zero-size tensor in the middle of another": (
        safetensors_bytes(
            {"a": entry(), "z": entry(shape=[0], offsets=[2, 2])},
            FOUR,
        ),
        "safetensors-offsets",
    ),
    "zero-size tensor past the end": (
        safetensors_bytes({"a": entry(), "z": entry(shape=[0], offsets=[5, 5])}, FOUR),
        "safetensors-offsets",
    ),
    "BOM": (safetensors_bytes(b"\xef\xbb\xbf{}"), "safetensors-json"),
    "NaN": (safetensors_bytes(entry_text(more='"x":NaN,'), FOUR), "safetensors-json"),
    "Infinity": (safetensors_bytes(entry_text(more='"x":-Infinity,'), FOUR), "safetensors-json"),
    "number out of range": (safetensors_bytes(entry_text(more='"x":1e400,'), FOUR), "safetensors-json"),
    "integer out of range": (
        safetensors_bytes(entry_text(more='"x":' + "1" * 400 + ","), FOUR),
        "safetensors-json",
    ),
    "integer of 5000 digits": (
        safetensors_bytes(entry_text(more='"x":' + "1" * 5000 + ","), FOUR),
        "safetensors-json",
    ),
    "lone surrogate": (safetensors_bytes(entry_text(more='"x":"\\ud800",'), FOUR), "safetensors-json"),
    "lone surrogate in a name": (safetensors_bytes(r'{"\udc00":' + PLAIN[5:], FOUR), "safetensors-json"),
    "raw surrogate": (safetensors_bytes(b'{"\xed\xa0\x80":' + PLAIN[5:].encode(), FOUR), "safetensors-utf8"),
    "control character": (safetensors_bytes(entry_text(more='"x":"\x01",'), FOUR), "safetensors-json"),
    "NUL behind": (safetensors_bytes(b"{}\0"), "safetensors-json"),
    "two objects": (safetensors_bytes("{} {}"), "safetensors-json"),
    "a list": (safetensors_bytes("[]"), "safetensors-json"),
    "unfinished": (safetensors_bytes('{"a":'), "safetensors-json"),
    "nested 128 deep": (
        safetensors_bytes(entry_text(more='"x":' + "[" * 126 + "]" * 126 + ","), FOUR),
        "safetensors-json",
    ),
    "nested 100,000 deep": (safetensors_bytes('{"a":' + "[" * 100_000), "safetensors-json"),
    "objects nested 100,000 deep": (safetensors_bytes('{"a":' * 100_000), "safetensors-json"),
    "header past the end": (safetensors_bytes("{}", length=3), "safetensors-header-length"),
    "seven bytes": (b"\x02\0\0\0\0\0\0", "safetensors-too-small"),
}


@pytest.mark.parametrize(("raw", "code"), REFUSED.values(), ids=REFUSED)
def test_refused_as_by_the_reference(raw: bytes, code: str) -> None:
    assert not library_accepts(raw)
    assert code_of(raw) == code


ACCEPTED: dict[str, tuple[bytes, list[str]]] = {
    "plain": (safetensors_bytes(PLAIN + " ", FOUR), ["safetensors-unaligned"]),
    "no tensor": (safetensors_bytes("{}      "), []),
    "leading white space": (
        safetensors_bytes(" \n\t\r{}  "),
        ["safetensors-leading-space"],
    ),
    "tensor twice": (
        safetensors_bytes('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},' + PLAIN[1:], FOUR),
        ["safetensors-duplicate-name", "safetensors-unaligned"],
    ),
    "metadata key twice": (
        safetensors_bytes('{"__metadata__":{"a":"1","a":"2"}}      '),
        ["safetensors-duplicate-metadata"],
    ),
    "metadata null": (safetensors_bytes('{"__metadata__":null}   '), ["safetensors-metadata-null"]),
    "metadata name written with an escape": (
        safetensors_bytes(r'{"\u005f_metadata__":{"a":"b"}}  '),
        ["safetensors-unaligned"],
    ),
    "unknown field": (
        safetensors_bytes(entry_text(more='"x":-0,"x":[{}],'), FOUR),
        ["safetensors-unknown-field"],
    ),
    "entry a list": (
        safetensors_bytes('{"a":["F32",[1],[0,4]]} ', FOUR),
        ["safetensors-entry-list"],
    ),
    "dtype an object": (
        safetensors_bytes(entry_text(dtype='{"F32":null}'), FOUR),
        ["safetensors-dtype-object"],
    ),
    "empty name": (safetensors_bytes('{"":' + PLAIN[5:], FOUR), ["safetensors-empty-name"]),
    "NUL in a name": (
        safetensors_bytes('{"a\\u0000b":' + PLAIN[5:], FOUR),
        ["safetensors-nul-name"],
    ),
    "zero first": (
        safetensors_bytes(entry_text(shape=f"[0,{2**63},{2**63}]", offsets="[0,0]")),
        [],
    ),
    "zero-size tensor after another": (
        safetensors_bytes({"z": entry(shape=[0], offsets=[4, 4]), "a": entry()}, FOUR),
        [],
    ),
    "nested 127 deep": (
        safetensors_bytes(entry_text(more='"x":' + "[" * 125 + "]" * 125 + ","), FOUR),
        ["safetensors-unknown-field"],
    ),
    "surrogate pair": (
        safetensors_bytes(r'{"\ud83d\ude00":' + PLAIN[5:], FOUR),
        [],
    ),
    "number near the limit": (
        safetensors_bytes(entry_text(more='"x":[1e308,1e-400,' + "1" * 309 + "],"), FOUR),
        ["safetensors-unknown-field"],
    ),
    "fields in another order": (
        safetensors_bytes('{"a":{"shape":[1],"data_offsets":[0,4],"dtype":"F32"}}', FOUR),
        [],
    ),
}


@pytest.mark.parametrize(("raw", "codes"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_as_by_the_reference(raw: bytes, codes: list[str]) -> None:
    assert library_accepts(raw)
    checkpoint = opened(raw)
    found = {finding.code for finding in checkpoint.findings} - {"safetensors-unaligned"}
    assert found == set(codes) - {"safetensors-unaligned"}
    assert_same_tensors(raw, checkpoint)


def assert_same_tensors(raw: bytes, checkpoint: paraminspect.Checkpoint) -> None:
    """Names, shapes, dtypes and bytes are the reference library's."""
    expected = dict(DESERIALIZE(raw))
    assert set(checkpoint.parameters.names) == set(expected)
    for tensor in checkpoint.parameters:
        facts = expected[tensor.name]
        assert list(tensor.shape) == facts["shape"]
        assert tensor.dtype is DTYPE_OF_NAME[facts["dtype"]]
        assert tensor.nbytes == len(facts["data"])
        if tensor.elements < 2**20:
            stored = b"".join(block.tobytes() for block in tensor.blocks(raw=True))
            assert stored == bytes(facts["data"])


@pytest.mark.parametrize("name", DTYPE_OF_NAME)
def test_every_element_type(name: str) -> None:
    bits = DTYPE_OF_NAME[name].bits
    raw = safetensors_bytes({"a": entry(name, [2, 4], [0, bits])}, bytes(range(bits)))
    assert library_accepts(raw)
    assert_same_tensors(raw, opened(raw))


def test_the_library_knows_no_type_that_we_do_not() -> None:
    raw = safetensors_bytes({"a": entry("X")}, FOUR)
    with pytest.raises(safetensors.SafetensorError) as caught:
        DESERIALIZE(raw)
    told = str(caught.value).split("expected one of")[1].split(" at line")[0]
    assert {word.strip().strip("`") for word in told.split(",")} == set(DTYPE_OF_NAME)


def test_a_type_of_the_future_is_listed_and_marked() -> None:
    checkpoint = opened(safetensors_bytes({"a": entry("F2_E1M0", [16], [0, 4])}, FOUR))
    [tensor] = checkpoint.parameters
    assert (tensor.dtype.name, tensor.shape, tensor.nbytes) == ("F2_E1M0", (16,), 4)
    assert checkpoint.worst is Severity.ERROR
    with pytest.raises(paraminspect.NoValues):
        tensor.numpy()


def test_offsets_of_errors_point_at_the_entry() -> None:
    raw = safetensors_bytes({"first": entry(), "second": entry(offsets=[8, 12])}, bytes(12))
    with pytest.raises(Malformed) as caught:
        opened(raw)
    assert caught.value.offset == raw.index(b'"second"')
    with pytest.raises(Malformed) as caught:
        opened(safetensors_bytes('{"é":1]'))
    assert caught.value.offset == 8 + len('{"é":1'.encode())


def test_a_truncated_download_says_how_much_is_missing() -> None:
    raw = save({"a": np.arange(300, dtype=np.float32)})
    with pytest.raises(Truncated, match="1,000 bytes") as caught:
        opened(raw[:-1000])
    assert caught.value.offset == len(raw) - 1000


@pytest.mark.parametrize("length", [100_000_001, 2**63, 2**64 - 1])
def test_a_header_length_beyond_the_limit(length: int) -> None:
    raw = safetensors_bytes("{}", length=length)
    assert not library_accepts(raw)
    with pytest.raises(LimitExceeded) as caught:
        opened(raw)
    assert (caught.value.code, caught.value.offset) == ("limit-header-bytes", 0)
    found = detect(MemorySource(raw))
    assert found is not None and found[0].name == "safetensors"


def test_the_header_budget() -> None:
    raw = safetensors_bytes({"a": entry()}, FOUR)
    opened(raw, DEFAULT_LIMITS.changed(header_bytes=len(raw) - 12))
    with pytest.raises(LimitExceeded):
        opened(raw, DEFAULT_LIMITS.changed(header_bytes=len(raw) - 13))


def test_the_container_budget() -> None:
    raw = safetensors_bytes(entry_text(more='"x":[' + "[]," * 1000 + "[]],"), FOUR)
    opened(raw, DEFAULT_LIMITS.changed(containers=2000))
    with pytest.raises(LimitExceeded) as caught:
        opened(raw, DEFAULT_LIMITS.changed(containers=1000))
    assert caught.value.code == "limit-containers"


def test_metadata_and_header_order() -> None:
    raw = save({"b": np.zeros(2, np.int8), "a": np.zeros(2)}, metadata={"format": "np", "note": "é\n"})
    checkpoint = opened(raw)
    assert checkpoint.metadata == {"format": "np", "note": "é\n"}
    header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
    assert checkpoint.parameters.names == [name for name in header if name != "__metadata__"]


ARRAYS = st.sampled_from(
    ["<f2", "<f4", "<f8", "i1", "<i2", "<i4", "<i8", "u1", "<u2", "<u4", "<u8", "?", "<c8"]
)
SHAPES = st.lists(st.integers(0, 5), max_size=4)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(
    lambda name: name != "__metadata__"
)


@given(st.dictionaries(NAMES, st.tuples(ARRAYS, SHAPES), max_size=6), st.randoms(use_true_random=False))
def test_files_of_the_library_read_back(tensors: dict[str, tuple[str, list[int]]], random: Any) -> None:
    arrays = {}
    for name, (dtype, shape) in tensors.items():
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        data = bytes(random.choices(range(2) if dtype == "?" else range(256), k=size))
        arrays[name] = np.frombuffer(data, dtype).reshape(shape)
    checkpoint = opened(save(arrays))
    assert set(checkpoint.parameters.names) == set(arrays)
    for name, array in arrays.items():
        read_back = checkpoint.parameters[(name,)].numpy()
        assert read_back.dtype == array.dtype
        assert read_back.shape == array.shape
        assert read_back.tobytes() == array.tobytes()


# --- headers by chance: both accept, or both refuse ---

_NUMBER_TEXTS = st.sampled_from(
    ["0", "1", "2", "4", "-0", "-1", "1.0", "1e0", "true", "null", '"1"', str(2**64), "01"]
)
_DTYPE_TEXTS = st.sampled_from(
    ['"F32"', '"U8"', '"F4"', '"F6_E3M2"', '"f32"', '{"U8":null}', '"BF16"', "1", "null"]
)
_MORE = st.sampled_from(
    ['"x":1', '"x":[]', '"dtype":"U8"', '"shape":[]', '"x":{"a":[1,{}]}', '"x":1e999', '"x":NaN']
)


@st.composite
def _entry_texts(draw: st.DrawFn) -> str:
    plain = draw(st.integers(0, 3)) > 0
    numbers = st.sampled_from(["0", "1", "2", "4"]) if plain else _NUMBER_TEXTS
    dtype = draw(st.sampled_from(['"U8"', '"F32"', '"F4"']) if plain else _DTYPE_TEXTS)
    shape = "[" + ",".join(draw(st.lists(numbers, max_size=2))) + "]"
    offsets = "[" + ",".join(draw(st.lists(numbers, min_size=2, max_size=2 if plain else 3))) + "]"
    if not plain and draw(st.booleans()):
        return f"[{dtype},{shape},{offsets}]"
    fields = [f'"dtype":{dtype}', f'"shape":{shape}', f'"data_offsets":{offsets}']
    if not plain:
        fields += draw(st.lists(_MORE, max_size=2))
        fields = draw(st.permutations(fields))
    return "{" + ",".join(fields) + "}"


@st.composite
def _header_texts(draw: st.DrawFn) -> str:
    names = st.sampled_from(['"a"', '"b"', '""', r'"\u0061"', r'"\ud800"', '"__metadata__"', '"c"'])
    metadata = st.sampled_from(["null", "{}", '{"a":"b"}', '{"a":1}', "[]"])
    parts = []
    for name in draw(st.lists(names, max_size=3)):
        value = draw(metadata) if name == '"__metadata__"' else draw(_entry_texts())
        parts.append(f"{name}:{value}")
    space = st.sampled_from(["", " ", "\n", "  \t"])
    return draw(space) + "{" + ",".join(parts) + "}" + draw(space)


@given(_header_texts(), st.integers(0, 8))
def test_headers_by_chance(header: str, data_size: int) -> None:
    raw = safetensors_bytes(header, bytes(data_size))
    assert (code_of(raw) is None) == library_accepts(raw)
    if library_accepts(raw):
        assert_same_tensors(raw, opened(raw))


@given(st.data())
def test_damaged_files(data: st.DataObject) -> None:
    raw = bytearray(save({"a": np.arange(4, dtype=np.float32), "b": np.zeros((2, 0))}, metadata={"k": "v"}))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(raw) - 1))
        raw[position] = data.draw(
            st.sampled_from([0, 9, 34, 44, 45, 48, 57, 65, 91, 92, 93, 123, 125, 128, 255])
        )
    accepted = library_accepts(bytes(raw))
    code = code_of(bytes(raw))
    if not accepted:
        unknown_dtype = code is None and opened(bytes(raw)).worst is Severity.ERROR
        assert code is not None or unknown_dtype
    else:
        assert code is None


def test_every_truncation_is_refused() -> None:
    raw = save({"a": np.arange(4, dtype=np.float32), "b": np.zeros(3, np.int8)})
    for size in range(len(raw)):
        assert code_of(raw[:size]) is not None


def test_through_the_front_door(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"w": np.arange(6, dtype=np.float16).reshape(2, 3)}, path)
    with paraminspect.open(path) as checkpoint:
        assert checkpoint.format == "safetensors"
        assert checkpoint.findings == ()
        assert checkpoint.parameters["w"].numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
    misnamed = path.rename(tmp_path / "model.pt")
    with paraminspect.open(misnamed) as checkpoint:
        assert [finding.code for finding in checkpoint.findings] == ["wrong-suffix"]


def test_torch_types(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file
    from safetensors.torch import save_file as save_torch

    path = tmp_path / "m.safetensors"
    codes = torch.arange(256, dtype=torch.uint8)
    tensors = {
        str(dtype): codes.clone().view(dtype)
        for dtype in (
            torch.bfloat16,
            torch.float8_e4m3fn,
            torch.float8_e5m2,
            torch.float8_e4m3fnuz,
            torch.float8_e5m2fnuz,
            torch.float8_e8m0fnu,
            torch.float16,
            torch.complex64,
        )
    }
    save_torch(tensors, path)
    back = load_file(path)
    with warnings.catch_warnings(), paraminspect.open(path) as checkpoint:
        for name in tensors:
            wide = back[name] if back[name].is_complex() else back[name].to(torch.float32)
            ours = checkpoint.parameters[(name,)].numpy()
            if ours.dtype == np.float16:
                ours = ours.astype(np.float32)
            np.testing.assert_array_equal(ours, wide.numpy())
