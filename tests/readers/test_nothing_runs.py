"""Nothing in a file is ever run or imported, and reading takes no more than it needs: proved from outside."""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from builders.pickle_builder import called, framed, named, text
from builders.safetensors_builder import entry, safetensors_bytes, write_safetensors
from builders.torch_builder import (
    FakeTensor,
    TorchZip,
    legacy_file,
    state_dict,
    tar_checkpoint,
    tar_file,
)
from paraminspect import readers
from paraminspect.readers.registry import FORMATS

READERS = Path(readers.__file__).parent
CHILD = Path(__file__).parent.parent / "builders" / "audited_reading.py"
STORAGE = struct.pack("<4f", 1, 2, 3, 4)


def is_read(module: str) -> bool:
    return find_spec(f"paraminspect.readers.{module}") is not None


# --- hostile files ---


class Evil:
    """What most attacks on pickles come down to."""

    def __init__(self, marker: Path) -> None:
        self.command = f"touch {marker}"

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


def evil_opcodes(marker: Path) -> bytes:
    """A call of os.system, as a value inside another pickle."""
    return called("posix", "system", text(f"touch {marker}"))


def evil_import() -> bytes:
    """An import of the module beside the files, which makes the marker when it is imported."""
    return named("hostile_module", "run") + b")R"


def torch_legacy(content: bytes) -> bytes:
    return legacy_file(content, ["0"], [(4, STORAGE)])


def torch_tar(content: bytes, evil: bytes = b"") -> bytes:
    views = pickle.dumps([], 2)
    raw = tar_checkpoint([(1, "FloatStorage", STORAGE, 4)], [(2, 1, (2, 2), (2, 1), 0)], content)
    if not evil:
        return raw
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        members = {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    assert members["storages"].endswith(views)
    members["storages"] = members["storages"].removesuffix(views) + b"\x80\x02]" + evil + b"0."
    return tar_file(members)


def torch_storage() -> bytes:
    """A whole legacy file whose content is one storage."""
    identity = text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + b"K\x04N"
    return torch_legacy(b"\x80\x02(" + identity + b"tQ.")


def nested_torch(inner: bytes) -> bytes:
    """A tensor whose storage is a whole legacy file inside the pickle, as `pickle.dump` writes it."""
    payload = b"B" + struct.pack("<I", len(inner)) + inner
    storage = named("torch.storage", "_load_from_bytes") + payload + b"\x85R"
    tensor = (
        named("torch._utils", "_rebuild_tensor_v2")
        + b"(" + storage + b"K\x00(K\x02K\x02t(K\x02K\x01t\x89" + named("collections", "OrderedDict") + b")Rt"
        + b"R"
    )  # fmt: skip
    return b"\x80\x03}(" + text("w") + tensor + b"u."


def npy_object(payload: bytes) -> bytes:
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload


def npy_expression(marker: Path) -> bytes:
    header = f"{{'descr': __import__('os').system('touch {marker}'), 'shape': (1,)}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(8)


def npz_of(*members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number, member in enumerate(members):
            archive.writestr(f"arr_{number}.npy", member)
    return stream.getvalue()


def npy_of(value: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(value))
    return stream.getvalue()


HARMLESS = (
    b"\x80\x02}(" + text("w") + FakeTensor().opcodes() + text("more") + named("some.module", "C") + b")Ru."
)
PLAIN = pickle.dumps({"weights": [1.0, 2.0], "when": {1, 2}, "what": pytest.raises})

Hostile = Callable[[Path], bytes]


def evil_object(protocol: int) -> Hostile:
    def hostile(marker: Path) -> bytes:
        return pickle.dumps({"w": Evil(marker), "x": 1.5}, protocol)

    return hostile


FILES: dict[str, tuple[str, bytes, Hostile]] = {
    **{f"pickle protocol {number}": ("plain_pickle", PLAIN, evil_object(number)) for number in range(6)},
    "pickle, then garbage": ("plain_pickle", PLAIN, lambda marker: evil_opcodes(marker) + b"\xff\xff"),
    "pickle of a hostile module": ("plain_pickle", PLAIN, lambda _: b"\x80\x02" + evil_import() + b"."),
    "torch zip": ("torch_zip", TorchZip(pickle=HARMLESS).build(), lambda marker: TorchZip(
        {"w": FakeTensor(), "x": evil_opcodes(marker), "y": evil_import()}).build()),
    "torch zip, computed size": ("torch_zip", TorchZip(pickle=HARMLESS).build(), lambda marker: TorchZip(
        {"w": FakeTensor(size=(evil_opcodes(marker), 2))}).build()),
    "torch zip, computed storage": ("torch_zip", TorchZip(pickle=HARMLESS).build(), lambda marker: TorchZip(
        {"w": FakeTensor(numel=evil_opcodes(marker))}).build()),
    "torch zip, own rebuild function": ("torch_zip", TorchZip(pickle=HARMLESS).build(), lambda _: TorchZip(
        {"w": FakeTensor(function=("hostile_module", "run")),
         "v": FakeTensor(storage_module="hostile_module")}
        ).build()),
    "torch legacy": ("torch_legacy", torch_legacy(HARMLESS), lambda marker: torch_legacy(
        state_dict({"w": FakeTensor(), "x": evil_opcodes(marker)}))),
    "torch legacy, computed magic": ("torch_legacy", torch_legacy(HARMLESS), lambda marker: legacy_file(
        HARMLESS, ["0"], [(4, STORAGE)], magic=b"\x80\x02" + evil_opcodes(marker) + b".")),
    "torch tar": ("torch_tar", torch_tar(state_dict({"w": b"K\x02Q"})), lambda marker: torch_tar(
        state_dict({"w": b"K\x02Q", "x": evil_opcodes(marker)}))),
    "torch legacy, in the last pickle": ("torch_legacy", torch_legacy(HARMLESS), lambda marker: torch_legacy(
        HARMLESS).replace(pickle.dumps(["0"], 2), b"\x80\x02](" + text("0") + evil_opcodes(marker) + b"0e.")),
    "torch tar, in a table": ("torch_tar", torch_tar(state_dict({"w": b"K\x02Q"})), lambda marker: torch_tar(
        state_dict({"w": b"K\x02Q"}), evil_opcodes(marker))),
    "nested": ("plain_pickle", nested_torch(torch_storage()), lambda marker: nested_torch(
        torch_legacy(b"\x80\x02" + evil_opcodes(marker) + b"."))),
    "npy of objects": ("npy", npy_of([1.0, 2.0]), lambda marker: npy_object(pickle.dumps([Evil(marker)]))),
    "npy with an expression": ("npy", npy_of([1.0, 2.0]), npy_expression),
    "npz of objects": ("npz", npz_of(npy_of([1.0])), lambda marker: npz_of(
        npy_of([1.0]), npy_object(pickle.dumps([Evil(marker)])))),
    "safetensors": ("safetensors",
        safetensors_bytes({"w": entry(), "v": entry("BF16", [2], [4, 8])}, bytes(8)),
        lambda marker: safetensors_bytes(
            {"__metadata__": {"eval": f"$(touch {marker})"}, "__import__('os')": entry()}, bytes(4))),
    "index": ("sharded", b'{"weight_map": {}}', lambda marker: json.dumps(
        {"weight_map": {"a": f"$(touch {marker})", "b": f"|touch {marker}", "c": "file:///x"}}).encode()),
    "unknown": ("lookalikes", b"\xc3\x28\x01", lambda marker: f"#!/bin/sh\ntouch {marker}\n".encode()),
}  # fmt: skip


def audited(folder: Path, warm_up: list[Path], files: list[Path]) -> tuple[list[str], list[str]]:
    """What happened while files were read, and what was read."""
    command = [sys.executable, str(CHILD), *map(str, warm_up), "--", *map(str, files)]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return (
        [line for line in lines if line.startswith("EVENT ")],
        [line for line in lines if line.startswith("READ ")],
    )


def test_reading_runs_and_imports_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (tmp_path / "hostile_module.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    warm_up, files = [], []
    for number, (module, harmless, hostile) in enumerate(FILES.values()):
        if not is_read(module):
            continue
        warm_up.append(tmp_path / f"harmless{number}")
        warm_up[-1].write_bytes(harmless)
        files.append(tmp_path / f"hostile{number}")
        files[-1].write_bytes(hostile(marker))
    for protocol in range(6):
        warm_up.append(tmp_path / f"protocol{protocol}")
        warm_up[-1].write_bytes(pickle.dumps({"a": [1.5, {2}, b"x", pytest.raises]}, protocol))
    events, read = audited(tmp_path, warm_up, files)
    assert events == []
    assert len(read) == len(files)
    assert not marker.exists()
    for (kind, _), line in zip(
        [(kind, sample) for kind, sample in FILES.items() if is_read(sample[0])], read, strict=True
    ):
        if kind not in TOLD_OTHERWISE:
            assert "system" in line or "hostile_module" in line, kind


TOLD_OTHERWISE = {"npy with an expression", "safetensors", "index", "unknown"}


def test_the_hook_notices(tmp_path: Path) -> None:
    """What the real loaders do with such files would be seen."""
    marker = tmp_path / "marker"
    (tmp_path / "hostile_module.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    for payload in (b"\x80\x02" + evil_opcodes(marker) + b".", b"\x80\x02" + evil_import() + b"."):
        script = f"""
            import pickle, sys
            sys.path.insert(0, {str(CHILD.parent)!r})
            import audited_reading
            sys.addaudithook(audited_reading.hook)
            audited_reading.Watch.armed = True
            try:
                pickle.loads({payload!r})
            except Exception:
                pass
            audited_reading.Watch.armed = False
            print(len(audited_reading.Watch.noticed))
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) > 0
        assert marker.exists()
        marker.unlink()


# --- what the code of the readers may use ---

LIBRARY = {
    "__future__", "array", "bisect", "bz2", "codecs", "collections", "contextlib", "dataclasses",
    "datetime",
    "difflib", "enum", "errno", "fnmatch", "functools", "gc", "glob", "importlib", "itertools", "json",
    "lzma", "math", "operator", "os", "re", "select", "stat", "string", "struct", "sys", "tempfile",
    "threading",
    "time", "types", "typing", "weakref", "zlib",
}  # fmt: skip
OTHERS = {"numpy", "nanoarrow", "pandas"}
OS_NAMES = {
    "DirEntry", "O_RDONLY", "PathLike", "SEEK_CUR", "W_OK", "access", "close", "dup", "environ",
    "fsdecode", "fsencode", "fspath", "fstat", "isatty", "listdir", "lseek", "lstat", "open", "path",
    "preadv", "read", "scandir", "sep", "stat", "stat_result", "strerror",
}  # fmt: skip
"""Of `os`, what only looks; `write` has one place."""

FORBIDDEN_NAMES = {
    "eval", "exec", "compile", "__import__", "open", "input", "globals", "locals", "vars", "breakpoint",
    "setattr", "delattr", "pickle", "marshal", "literal_eval", "__builtins__", "__loader__",
}  # fmt: skip
NUMPY_READERS = {"load", "save", "savez", "fromfile", "memmap", "loadtxt", "genfromtxt", "fromregex", "loads"}


def sources() -> list[Path]:
    found = sorted(READERS.glob("*.py"))
    assert len(found) > 40
    return found


def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.stem)
def test_a_reader_imports_only_what_is_listed(path: Path) -> None:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            imported = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            imported = {(node.module or "").split(".")[0]}
            assert not {alias.name for alias in node.names} & FORBIDDEN_NAMES
        else:
            continue
        assert imported <= LIBRARY | OTHERS, path.name


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.stem)
def test_a_reader_uses_no_name_that_runs_text(path: Path) -> None:
    for node in nodes(path):
        if isinstance(node, ast.Name):
            assert node.id not in FORBIDDEN_NAMES
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            where = node.value.id, node.attr
            assert where[0] != "os" or node.attr in OS_NAMES or where_allowed(path, node.attr), where
            assert where[0] not in ("np", "numpy") or node.attr not in NUMPY_READERS, where
            assert where[0] != "sys" or node.attr not in ("modules", "path", "meta_path", "path_hooks"), where
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("__globals__", "__subclasses__", "__builtins__", "__code__", "tofile")
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("getattr", "hasattr")
        ):
            name = node.args[1]
            assert isinstance(name, ast.Constant) and isinstance(name.value, str), path.name


def where_allowed(path: Path, name: str) -> bool:
    """A copy of standard input is the only thing that is ever written."""
    return path.stem == "standard_input" and name == "write"


def test_modules_are_imported_by_name_in_one_place_and_from_a_table() -> None:
    users = [path.stem for path in sources() if "import_module" in path.read_text()]
    assert users == ["registry"]
    for row in FORMATS:
        assert row.module.isidentifier()


# --- resources ---


def in_child(program: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_many_parts_need_few_descriptors_and_write_nothing(tmp_path: Path) -> None:
    names = [f"model-{number:05}-of-00060.safetensors" for number in range(1, 61)]
    for name in names:
        write_safetensors(tmp_path / name, {f"{name[6:11]}.weight": ("F32", (4,), 16)})
    index = {f"{name[6:11]}.weight": name for name in names}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    program = """
        import resource, sys
        resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        import paraminspect
        with paraminspect.open(sys.argv[1]) as checkpoint:
            rows = checkpoint.parameters
            print(len(rows), sum(rows[index].numpy().size for index in range(len(rows))))
    """
    assert in_child(program, tmp_path / "model.safetensors.index.json") == "60 240\n"


BOMBS = {
    "bytes of a terabyte": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",
    "text of a terabyte": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b".",
    "bytearray of a terabyte": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
    "number of two gigabytes": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "memo index": b"\x80\x02]r\xff\xff\xff\xff.",
    "billion laughs": b"\x80\x02]" + b"(2" + b"2" * 9 + b"l(2222222222l" * 12 + b".",
    "tuples of tuples": b"\x80\x02)" + b"2\x86" * 60 + b"}" + b"h" + b".",
    "deep tuple": b"\x80\x02)" + b"\x85" * 100_000 + b".",
    "deep list": b"\x80\x02" + b"](" * 200_000 + b"e" * 200_000 + b".",
    "deep calls": b"\x80\x02"
    + named("m", "f")
    + b"q\x00"
    + b"h\x00" * 100_000
    + b")R"
    + b"\x85R" * 99_999
    + b".",
    "frame": b"\x80\x04" + framed(b"N.", 1 << 62),
}
SPACE = 96 << 20


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_takes_little_memory(bomb: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pkl"
    path.write_bytes(BOMBS[bomb])
    program = f"""
        import resource, sys
        import paraminspect
        from paraminspect.readers import plain_pickle
        resource.setrlimit(resource.RLIMIT_DATA, ({SPACE}, {SPACE}))
        resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        try:
            with paraminspect.open(sys.argv[1]) as checkpoint:
                print(len(repr(checkpoint)) < 2_000, len(repr(checkpoint.hyperparameters)) < 1_000_000)
        except paraminspect.ParamInspectError as error:
            print(len(str(error)) < 2_000, True)
    """
    assert in_child(program, path) == "True True\n"


def test_listing_needs_no_numpy_and_no_framework(tmp_path: Path) -> None:
    torch_file = tmp_path / "model.pt"
    torch_file.write_bytes(TorchZip().build())
    program = """
        import sys
        import paraminspect
        with paraminspect.open(sys.argv[1]) as checkpoint:
            print(len(checkpoint.parameters), repr(checkpoint)[:11])
        print(sorted({"numpy", "torch", "pickle", "safetensors", "rich", "textual"} & set(sys.modules)))
    """
    expected = "1 <Checkpoint\n[]\n"
    assert in_child(program, torch_file) == expected
    weights = write_safetensors(tmp_path / "model.safetensors", {"w": ("F32", (2, 2), 16)})
    assert in_child(program, weights) == expected
