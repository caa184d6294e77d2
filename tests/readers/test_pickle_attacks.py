"""Known attacks on readers of pickles, numbered as a list of classes; each is one opened file."""

from __future__ import annotations

import io
import json
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from builders.pickle_builder import SYSTEM_CALL, called, framed, interpret, named, short_text, text
from builders.torch_builder import MAGIC, FakeTensor, TorchZip, legacy_file, state_dict
from paraminspect.readers import Checkpoint, ParamInspectError, Severity, open_checkpoint
from paraminspect.readers.errors import Ambiguous, LimitExceeded, Malformed, Truncated
from paraminspect.readers.limits import Limits
from paraminspect.readers.records import (
    Call,
    DictRecord,
    Extension,
    Global,
    HugeInt,
    ListRecord,
    OutOfBand,
    PersistentId,
)

STORAGE = struct.pack("<4f", 1, 2, 3, 4)


def opened(folder: Path, raw: bytes, **limits: float) -> Checkpoint:
    path = folder / "attack.pkl"
    path.write_bytes(raw)
    return open_checkpoint(path, limits=Limits().changed(**limits))


def refused(folder: Path, raw: bytes, **limits: float) -> ParamInspectError:
    with pytest.raises(ParamInspectError) as caught:
        opened(folder, raw, **limits)
    assert caught.value.path == str(folder / "attack.pkl")
    return caught.value


def imports(checkpoint: Checkpoint) -> list[tuple[str, str, bool]]:
    return [(one.module, one.name, one.called) for one in checkpoint.imports]


def warnings(checkpoint: Checkpoint) -> dict[str, int | None]:
    return {one.code: one.offset for one in checkpoint.findings if one.severity is not Severity.INFO}


def shown(folder: Path, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "paraminspect", str(folder / "attack.pkl"), *arguments]
    return subprocess.run(command, capture_output=True, timeout=timeout)


class Reduced:
    """Pickles as a call."""

    def __init__(self, function: object, *args: object) -> None:
        self.reduced = function, args

    def __reduce__(self) -> tuple[object, ...]:
        return self.reduced


# 1. A call of the system.


@pytest.mark.parametrize("protocol", range(6))
def test_01_a_call_of_the_system_is_told(protocol: int, tmp_path: Path) -> None:
    raw = pickle.dumps({"w": Reduced(__import__("os").system, "id")}, protocol)
    checkpoint = opened(tmp_path, raw)
    assert ("posix", "system", True) in imports(checkpoint)
    assert "pickle-runs-code" in warnings(checkpoint)


def test_01_where_it_is_named(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, b"\x80\x02K\x010" + SYSTEM_CALL + b".")
    assert warnings(checkpoint) == {"pickle-runs-code": 5}
    assert [one.offset for one in checkpoint.imports] == [5]


# 2. Names that STACK_GLOBAL finds on the stack.


@pytest.mark.parametrize(
    ("opcodes", "module", "name"),
    [
        (short_text("os") + b"q\x00" + short_text("system") + b"q\x010h\x00h\x01\x93", "os", "system"),
        (text("os") + b"p0\n0" + text("system") + b"g0\n2\x93", "os", "os"),
        (
            named("m", "f") + short_text("o") + b"\x85R" + short_text("system") + b"\x93",
            "<computed>",
            "system",
        ),
        (short_text("os") + named("m", "f") + b")R\x93", "os", "<computed>"),
        (b"K\x01K\x02\x93", "<computed>", "<computed>"),
        (b"]}\x93", "<computed>", "<computed>"),
    ],
)
def test_02_names_from_the_stack(opcodes: bytes, module: str, name: str, tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, b"\x80\x04" + opcodes + b")R.")
    assert (module, name, True) in imports(checkpoint)
    assert checkpoint.findings[0].code == "pickle-runs-code"
    assert checkpoint.findings[0].severity is Severity.WARNING


# 3. The memo: out of order, overwritten.


def test_03_the_last_memo_entry_counts(tmp_path: Path) -> None:
    harmless, harmful = text("collections"), text("os")
    raw = harmless + b"q\x05" + harmful + b"q\x05" + b"00" + b"h\x05" + text("system") + b"\x93)R."
    assert imports(opened(tmp_path, b"\x80\x04" + raw)) == [("os", "system", True)]


# 4. Calls whose result is thrown away.


@pytest.mark.parametrize(
    "call",
    [
        SYSTEM_CALL,
        b"(" + named("posix", "system") + text("id") + b"o",
        b"(" + text("id") + b"iposix\nsystem\n",
        named("posix", "system") + text("id") + b"\x85\x81",
        named("posix", "system") + text("id") + b"\x85}\x92",
    ],
)
@pytest.mark.parametrize("thrown_away", [b"0", b"q\x000Nq\x000", b"(1", b"\x850"])
def test_04_calls_are_told_when_they_are_made(call: bytes, thrown_away: bytes, tmp_path: Path) -> None:
    raw = b"\x80\x02" + call + thrown_away.replace(b"(1", b"0(N1") + b"}" + text("w") + b"K\x01s."
    checkpoint = opened(tmp_path, raw)
    assert imports(checkpoint) == [("posix", "system", True)]
    assert "pickle-runs-code" in warnings(checkpoint)


# 5. The payload, then garbage or the end.


@pytest.mark.parametrize(
    ("tail", "code", "offset"),
    [
        (b"\xff\xff\xff", "pickle-opcode", 33),
        (b"", "truncated", 33),
        (b"X\xff\0\0\0abc", "truncated", 33),
        (b"(R.", "pickle-stack", 34),
        (b"I010\n.", "pickle-number", 33),
    ],
)
@pytest.mark.parametrize("protocol", [b"\x80\x02", b"K\x01"])
def test_05_what_a_broken_pickle_would_have_done(
    protocol: bytes, tail: bytes, code: str, offset: int, tmp_path: Path
) -> None:
    assert len(protocol + SYSTEM_CALL) == 26
    error = refused(tmp_path, protocol + SYSTEM_CALL + b"0" + b"N0" * 3 + tail)
    assert (error.code, error.offset) == (code, offset)
    assert "posix.system" in error.cause
    done = shown(tmp_path)
    assert done.returncode == 2
    assert b"posix.system" in done.stderr
    assert done.stdout == b""


# 6. Something behind STOP.


def test_06_a_second_pickle(tmp_path: Path) -> None:
    first = pickle.dumps({"w": 1})
    checkpoint = opened(tmp_path, first + b"\x80\x02" + SYSTEM_CALL + b".")
    assert warnings(checkpoint)["further-pickles"] == len(first)
    assert "pickle-runs-code" in warnings(checkpoint)
    assert [(one.module, one.name, one.stream) for one in checkpoint.imports] == [
        ("posix", "system", "stream 2")
    ]


def test_06_a_broken_second_pickle(tmp_path: Path) -> None:
    first = pickle.dumps({"w": 1})
    checkpoint = opened(tmp_path, first + b"\x80\x02" + SYSTEM_CALL + b"\xff")
    assert warnings(checkpoint)["trailing-bytes"] == len(first)
    assert imports(checkpoint) == [("posix", "system", True)]


@pytest.mark.parametrize("junk", [b"\0", b"\0" * 1_000, b"junk", b"\xff"])
def test_06_junk_behind_stop(junk: bytes, tmp_path: Path) -> None:
    first = pickle.dumps({"w": 1})
    assert warnings(opened(tmp_path, first + junk)) == {"trailing-bytes": len(first)}


# 7. Frames that do not end where an opcode ends.


@pytest.mark.parametrize(
    ("body", "kind", "code", "offset"),
    [
        (framed(b"K\x01" + SYSTEM_CALL, 3) + b".", Ambiguous, "pickle-frame", 14),
        (framed(framed(b"N") + b"0N") + b".", Ambiguous, "pickle-frame", 11),
        (framed(b"N.", 1 << 40), Truncated, "truncated", 2),
        (framed(b"N.", (1 << 64) - 1), Truncated, "truncated", 2),
        (framed(b"N.N"), Ambiguous, "pickle-frame", 13),
    ],
)
def test_07_frames(
    body: bytes, kind: type[ParamInspectError], code: str, offset: int, tmp_path: Path
) -> None:
    error = refused(tmp_path, b"\x80\x04" + body)
    assert (type(error), error.code, error.offset) == (kind, code, offset)


# 8. Numbers that two loaders read differently.


@pytest.mark.parametrize(
    "number", [b"I010\n", b"I0x10\n", b"L\n", b"LL\n", b"F1_0\n", b"I1_0\n", b"I 1\n", b"I\xb2\n"]
)
def test_08_ambiguous_numbers(number: bytes, tmp_path: Path) -> None:
    error = refused(tmp_path, b"\x80\x02}" + text("lr") + number + b"s.")
    assert (type(error), error.code, error.offset) == (Ambiguous, "pickle-number", 10)


# 9. Extension codes.


@pytest.mark.parametrize(
    ("opcode", "code"), [(b"\x82\x07", 7), (b"\x83\x07\x01", 263), (b"\x84\x07\x01\0\0", 263)]
)
def test_09_extension_codes_stay_numbers(opcode: bytes, code: int, tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, b"\x80\x02" + opcode + b")R.")
    assert imports(checkpoint) == [("<extension registry>", str(code), True)]
    assert warnings(checkpoint) == {"pickle-runs-code": 2}
    root = interpret(opcode + b".").root
    assert isinstance(root, Extension)
    assert root.code == code


# 10. Names that lead elsewhere.


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "path.os.system"),
        ("builtins", "getattr"),
        ("builtins", "eval.__call__"),
        ("operator", "attrgetter"),
        ("pkgutil", "resolve_name"),
        ("importlib", "import_module"),
        ("_io", "FileIO"),
        ("torch.serialization", "os.system"),
        ("collections", "abc.sys.modules"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("numpy", "f2py.crackfortran.myeval"),
    ],
)
def test_10_dotted_names_are_told_as_they_are(module: str, name: str, tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, b"\x80\x04" + short_text(module) + short_text(name) + b"\x93)R.")
    assert imports(checkpoint) == [(module, name, True)]
    expected = "pickle-imports" if module == "numpy" else "pickle-runs-code"
    assert [finding.code for finding in checkpoint.findings] == [expected]
    root = interpret(called(module, name) + b".").root
    assert isinstance(root, Call)
    assert isinstance(root.function, Global)
    assert (root.function.module, root.function.name) == (module, name)


# 11 to 15. Bombs: what would be hashed, copied, descended into or written out without end.

DOUBLED = b"K\x01\x85" + b"2\x86" * 40
BOMBS = {
    "11 hash bomb": b"\x80\x02}" + DOUBLED + b"K\x01s.",
    "11 hash bomb in a set": b"\x80\x04\x8f(" + DOUBLED + b"\x90.",
    "12 equal hashes": pickle.dumps(dict.fromkeys(number * (2**61 - 1) for number in range(20_000)), 2),
    "13 deep tuple as a key": b"\x80\x02})" + b"\x85" * 200_000 + b"K\x01s.",
    "13 deep list": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "13 deep dict": b"\x80\x02" + (b"}" + text("k")) * 50_000 + b"N" + b"s" * 50_000 + b".",
    "13 deep state": b"\x80\x02" + called("m", "C") * 50_000 + b"b" * 49_999 + b".",
    "14 billion laughs": b"\x80\x02]" + b"".join(
        b"q%c](" % number + b"h%c" % number * 10 + b"e" for number in range(12)) + b".",
    "14 doubled lists": b"\x80\x02]" + b"2\x86" * 60 + b".",
    "15 a list in itself": b"\x80\x02]q\x00h\x00a.",
    "15 a dict in itself": b"\x80\x02}q\x00" + text("self") + b"h\x00s.",
    "15 a state of itself": b"\x80\x02" + called("m", "C") + b"q\x00}" + text("me") + b"h\x00sb.",
    "15 its own argument": b"\x80\x02]q\x00" + named("m", "f") + b"h\x00\x85Rah\x00.",
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("output", ["text", "json"])
def test_11_to_15_bombs_end(bomb: str, output: str, tmp_path: Path) -> None:
    (tmp_path / "attack.pkl").write_bytes(BOMBS[bomb])
    done = shown(tmp_path, "--format", output, timeout=20)
    assert done.returncode in (0, 2)
    assert b"Traceback" not in done.stderr
    assert len(done.stdout) < 2_000_000
    if output == "json" and done.returncode == 0:
        json.loads(done.stdout)


def test_11_keys_are_stored_and_not_hashed() -> None:
    root = interpret(BOMBS["11 hash bomb"]).root
    assert isinstance(root, DictRecord)
    assert len(root.pairs) == 1
    assert interpret(b"}]K\x01s](K\x02K\x03\x86eK\x04s.").complete


def test_12_equal_keys_are_kept_apart() -> None:
    root = interpret(b"}K\x01K\x02sK\x01K\x03s.").root
    assert isinstance(root, DictRecord)
    assert root.pairs == [(1, 2), (1, 3)]


def test_15_cycles_are_cycles() -> None:
    root = interpret(BOMBS["15 a list in itself"]).root
    assert isinstance(root, ListRecord)
    assert root.items == [root]


# 16 to 19. Sizes that lie.


@pytest.mark.parametrize("put", [b"r\xff\xff\xff\xff", b"p4294967295\n", b"p9223372036854775807\n"])
def test_16_a_memo_index_takes_no_room(put: bytes, tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, b"\x80\x02}" + put + text("w") + b"K\x01s.")
    assert checkpoint.hyperparameters or checkpoint.progress or checkpoint.metadata


@pytest.mark.parametrize(
    "opcode",
    [
        b"\x8e" + struct.pack("<Q", 1 << 40),
        b"\x8d" + struct.pack("<Q", 1 << 40),
        b"\x96" + struct.pack("<Q", 1 << 40),
        b"\x8e" + struct.pack("<Q", (1 << 64) - 1),
        b"\x8b" + struct.pack("<i", (1 << 31) - 1),
        b"B" + struct.pack("<I", (1 << 32) - 1),
        b"X" + struct.pack("<I", (1 << 32) - 1),
        b"T" + struct.pack("<i", (1 << 31) - 1),
    ],
)
def test_17_lengths_are_compared_with_what_is_there(opcode: bytes, tmp_path: Path) -> None:
    error = refused(tmp_path, b"\x80\x04" + opcode + b"abc.")
    assert (type(error), error.code, error.offset) == (Truncated, "truncated", 2)


@pytest.mark.parametrize(
    "number", [b"L" + b"9" * 100_000 + b"L\n", b"\x8b" + struct.pack("<i", 1 << 20) + bytes(1 << 20)]
)
def test_18_huge_numbers_stay_where_they_are(number: bytes, tmp_path: Path) -> None:
    root = interpret(b"\x80\x02" + number + b".").root
    assert isinstance(root, HugeInt)
    checkpoint = opened(tmp_path, b"\x80\x02}" + text("lr") + number + b"s.")
    assert len(repr(checkpoint.hyperparameters)) < 1_000


@pytest.mark.parametrize("unit", [b"\x85", b"(", b"]", b"2\x86", b"}", b")R", b"Q"])
def test_19_objects_are_counted(unit: bytes, tmp_path: Path) -> None:
    error = refused(tmp_path, b"\x80\x02" + named("m", "C") + unit * 70_000 + b".", containers=10_000)
    assert (type(error), error.code) == (LimitExceeded, "limit-containers")
    assert error.offset is not None
    assert error.advice is not None
    assert "--limit containers" in error.advice


# 20. Pickles inside pickles.


def nested(inner: bytes, loader: tuple[str, str] = ("torch.storage", "_load_from_bytes")) -> bytes:
    return called(*loader, b"B" + struct.pack("<I", len(inner)) + inner)


def tensor_of(storage: bytes) -> bytes:
    return called(
        "torch._utils", "_rebuild_tensor_v2", storage, b"K\x00", b"K\x02K\x02\x86", b"K\x02K\x01\x86",
        b"\x89", called("collections", "OrderedDict"),
    )  # fmt: skip


def legacy_storage(content: bytes | None = None) -> bytes:
    identity = text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + b"K\x04N"
    return legacy_file(content or b"\x80\x02(" + identity + b"tQ.", ["0"], [(4, STORAGE)])


EVIL = b"\x80\x02" + SYSTEM_CALL + b"."


@pytest.mark.parametrize(
    "inner",
    [
        EVIL,
        legacy_storage(EVIL),
        legacy_storage(b"\x80\x02" + SYSTEM_CALL + b"\xff"),
        legacy_file(legacy_storage(), ["0"], [(4, STORAGE)], magic=EVIL),
        legacy_storage() .replace(pickle.dumps(["0"], 2), EVIL),
        b"\x80\x02" + nested(EVIL) + b".",
        b"\x80\x02" + nested(EVIL, ("pickle", "loads")) + b"0N.",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["value", "popped", "storage", "torch zip"])
def test_20_nested_pickles_are_told(inner: bytes, place: str, tmp_path: Path) -> None:
    if place == "torch zip":
        raw = TorchZip({"w": FakeTensor(), "x": nested(inner)}).build()
    else:
        outer = {
            "value": nested(inner),
            "popped": nested(inner) + b"0N",
            "storage": tensor_of(nested(inner)),
        }[place]
        raw = b"\x80\x03}" + text("w") + outer + b"s."
    checkpoint = opened(tmp_path, raw)
    assert ("posix", "system", True) in imports(checkpoint)
    inside = next(one for one in checkpoint.imports if one.name == "system")
    assert "inside" in inside.stream
    assert "pickle-runs-code" in warnings(checkpoint)


def test_20_an_honest_nested_storage(tmp_path: Path) -> None:
    raw = b"\x80\x03}" + text("w") + tensor_of(nested(legacy_storage())) + b"s."
    checkpoint = opened(tmp_path, raw)
    assert checkpoint.parameters["w"].numpy().tolist() == [[1, 2], [3, 4]]
    assert warnings(checkpoint) == {}


def test_20_a_nested_pickle_that_cannot_be_read(tmp_path: Path) -> None:
    for inner in (TorchZip().build(), b"\x80\x02\xff", b""):
        checkpoint = opened(tmp_path, b"\x80\x03}" + text("w") + nested(inner) + b"s.")
        assert "nested-pickle-unread" in warnings(checkpoint)
    checkpoint = opened(tmp_path, b"\x80\x03}" + text("w") + called("pickle", "loads", b"K\x01") + b"s.")
    assert "nested-pickle-unread" in warnings(checkpoint)


def test_20_nesting_has_a_limit(tmp_path: Path) -> None:
    raw = EVIL
    for _ in range(5):
        raw = b"\x80\x02" + nested(raw) + b"."
    error = refused(tmp_path, raw)
    assert (type(error), error.code) == (LimitExceeded, "limit-nested-depth")
    checkpoint = opened(tmp_path, raw, nested_depth=5)
    assert ("posix", "system", True) in imports(checkpoint)


def test_20_nested_pickles_are_counted(tmp_path: Path) -> None:
    raw = b"\x80\x02(" + nested(b"N.") * 11 + b"l."
    assert refused(tmp_path, raw, nested_streams=10).code == "limit-nested-streams"
    assert opened(tmp_path, raw, nested_streams=11).format == "pickle"


# 21. States that would replace what an object is.


@pytest.mark.parametrize("key", ["__class__", "__dict__", "__setstate__", "__reduce__", "__getattr__"])
def test_21_states_are_data(key: str, tmp_path: Path) -> None:
    raw = b"\x80\x02" + called("m", "C") + b"}" + text(key) + named("posix", "system") + b"sb."
    root = interpret(raw).root
    assert isinstance(root, Call)
    assert isinstance(root.state, DictRecord)
    (pair,) = root.state.pairs
    assert pair[0] == key
    assert isinstance(pair[1], Global)
    assert ("posix", "system", False) in imports(opened(tmp_path, raw))


# 22. Names that are no text.

ODD_NAMES = ["\ud800", "\0", "\x1b[31mred\x1b[0m", "\u202eabc", "a\nb", "a\tb", "\u200b", "\x80", "\uffff"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_22_names_are_escaped_where_they_are_shown(name: str, tmp_path: Path) -> None:
    tensors = {name: FakeTensor()}
    (tmp_path / "attack.pkl").write_bytes(TorchZip(tensors).build())
    as_text = shown(tmp_path)
    assert as_text.returncode == 0
    shown_text = as_text.stdout.decode("utf-8")
    assert all(character.isprintable() or character == "\n" for character in shown_text)
    as_json = shown(tmp_path, "--format", "json")
    json.loads(as_json.stdout.decode("utf-8"))


def test_22_text_that_is_not_utf8(tmp_path: Path) -> None:
    error = refused(tmp_path, b"\x80\x02}X\x02\0\0\0\xff\xfeK\x01s.")
    assert (type(error), error.code, error.offset) == (Malformed, "pickle-text", 3)


# 23. A computed magic number.


@pytest.mark.parametrize(
    "magic",
    [
        b"\x80\x02" + called("m", "f") + b".",
        b"\x80\x02" + SYSTEM_CALL + pickle.dumps(MAGIC, 2)[2:-1] + b".",
        b"\x80\x02" + pickle.dumps(MAGIC, 2)[2:-1] + b"0" + SYSTEM_CALL + b".",
    ],
)
def test_23_a_magic_number_is_a_literal(magic: bytes, tmp_path: Path) -> None:
    content = state_dict({"w": FakeTensor()})
    checkpoint = opened(tmp_path, legacy_file(content, ["0"], [(4, STORAGE)], magic=magic))
    assert checkpoint.format == "pickle"
    assert imports(checkpoint)[0][2] is True
    assert len(checkpoint.parameters) == 0


@pytest.mark.parametrize("which", [0, 1, 2])
def test_23_payloads_in_the_other_pickles(which: int, tmp_path: Path) -> None:
    content = state_dict({"w": FakeTensor()})
    honest = legacy_file(content, ["0"], [(4, STORAGE)])
    parts = [pickle.dumps(1001, 2), content, pickle.dumps(["0"], 2)]
    hidden = parts[which][:2] + SYSTEM_CALL + b"0" + parts[which][2:]
    checkpoint = opened(tmp_path, honest.replace(parts[which], hidden, 1))
    assert checkpoint.format == "torch legacy"
    assert ("posix", "system", True) in imports(checkpoint)
    assert "pickle-runs-code" in warnings(checkpoint)
    assert checkpoint.parameters["w"].numpy().tolist() == [[1, 2], [3, 4]]


def test_23_a_refused_file_tells_what_it_would_have_run(tmp_path: Path) -> None:
    content = state_dict({"w": FakeTensor()})
    raw = legacy_file(content, ["0"], [(4, STORAGE)]).replace(pickle.dumps(1001, 2), EVIL, 1)
    error = refused(tmp_path, raw)
    assert error.code == "torch-legacy-protocol"
    assert "posix.system" in error.cause


# 24. Buffers and references to what is not there.


def test_24_buffers_that_are_not_there(tmp_path: Path) -> None:
    stream = interpret(b"\x80\x05\x97\x98.")
    assert isinstance(stream.root, OutOfBand)
    checkpoint = opened(tmp_path, b"\x80\x05}" + short_text("w") + b"\x97s.")
    assert len(checkpoint.parameters) == 0
    error = refused(tmp_path, b"\x80\x05N\x98.")
    assert (error.code, error.offset) == ("pickle-target", 3)


@pytest.mark.parametrize("identity", [b"Pname\n", b"NQ", b"]Q", b"(K\x01K\x02tQ", b"P\n", text("x") + b"QQ"])
def test_24_references_of_any_shape(identity: bytes, tmp_path: Path) -> None:
    root = interpret(identity + b".").root
    assert isinstance(root, PersistentId)
    opened(tmp_path, b"\x80\x02}" + text("w") + identity + b"s.")
    checkpoint = opened(tmp_path, TorchZip({"w": tensor_of(identity)}).build())
    assert len(checkpoint.parameters) == 0
    assert checkpoint.worst is Severity.ERROR


# 25. Names that only look like storages.


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("evil", "FloatStorage"),
        ("torch", "EvilStorage"),
        ("torch.evil", "FloatStorage"),
        ("os", "FloatStorage"),
    ],
)
def test_25_storages_go_by_their_whole_name(module: str, name: str, tmp_path: Path) -> None:
    tensor = FakeTensor(storage_module=module, storage=name)
    checkpoint = opened(tmp_path, TorchZip({"w": tensor}).build())
    assert len(checkpoint.parameters) == 0
    codes = {finding.code for finding in checkpoint.findings if finding.severity is Severity.ERROR}
    assert codes == {"storage-class"}
    assert (module, name, False) in imports(checkpoint)


def test_the_oracle_agrees_that_these_are_attacks() -> None:
    """The opcodes above are what a pickler writes, and not just any bytes."""
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, 2)
    pickler.dump(Reduced(__import__("os").system, "id"))
    assert interpret(stream.getvalue()).imports == [("posix", "system", 2, True)]
