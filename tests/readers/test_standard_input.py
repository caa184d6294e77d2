"""`-`: whatever standard input is, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from builders.torch_builder import FakeTensor, TorchZip

Done = subprocess.CompletedProcess[bytes]
RAW = TorchZip().build()
SHOW = [sys.executable, "-m", "paraminspect", "-", "--format", "json"]


def shown(**how: Any) -> Any:
    done: Done = subprocess.run(SHOW, capture_output=True, timeout=60, **how)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    return json.loads(done.stdout)


def refused(**how: Any) -> str:
    done: Done = subprocess.run(SHOW, capture_output=True, timeout=60, **how)
    assert done.returncode == 2
    return done.stderr.decode()


def in_child(program: str, folder: Path, **how: Any) -> str:
    """Run a program that has `opened`, a checkpoint of standard input; returns what it prints."""
    script = "import os, resource, sys, paraminspect\n" + textwrap.dedent(program)
    environment = {**os.environ, "TMPDIR": str(folder)}
    done: Done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=60, env=environment, **how,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


PRINT_VALUES = """
    with paraminspect.open("-") as checkpoint:
        print(checkpoint.files[0].size, [finding.code for finding in checkpoint.findings])
        print(checkpoint.parameters["w"].numpy().tolist())
"""
VALUES = f"{len(RAW)} []\n[[1.0, 2.0], [3.0, 4.0]]\n"


def test_a_pipe() -> None:
    report = shown(input=RAW)
    assert report["schema"] == "paraminspect/show/1"
    assert "<standard input>" in json.dumps(report)


def test_the_values_of_a_pipe(tmp_path: Path) -> None:
    assert in_child(PRINT_VALUES, tmp_path, input=RAW) == VALUES


def test_a_long_pipe_that_comes_in_pieces(tmp_path: Path) -> None:
    count = 1_000_003
    raw = TorchZip(
        {"w": FakeTensor(storage="ByteStorage", numel=count, size=(count,), stride=(1,))},
        {"0": bytes(range(256)) * (count // 256) + b"\7" * (count % 256)},
    ).build()
    script = textwrap.dedent("""
        import paraminspect
        with paraminspect.open("-") as checkpoint:
            values = checkpoint.parameters["w"].numpy()
        print(len(values), values[258], values[-1])
    """)
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    for begin in range(0, len(raw), 70_001):
        child.stdin.write(raw[begin : begin + 70_001])
        child.stdin.flush()
    out, _ = child.communicate(timeout=60)
    assert out.decode().split() == [str(count), "2", "7"]


def test_a_redirected_file_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(RAW)
    program = """
        import tempfile
        tempfile.TemporaryFile = None
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    """
    with path.open("rb") as file:
        # Output goes into a pipe: the limit on written files does not concern it.
        assert (
            in_child(textwrap.dedent(program) + textwrap.dedent(PRINT_VALUES), tmp_path, stdin=file) == VALUES
        )


def test_a_redirected_file_is_read_from_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"six..." + RAW)
    with path.open("rb", buffering=0) as file:
        file.seek(6)
        assert in_child(PRINT_VALUES, tmp_path, stdin=file) == VALUES


def test_a_redirected_file_that_changes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(RAW)
    program = f"""
        checkpoint = paraminspect.open("-")
        with open({str(path)!r}, "ab") as file:
            file.write(b"more")
        os.utime({str(path)!r}, (1, 1))
        try:
            checkpoint.sources[0].check_unchanged()
        except paraminspect.ChangedWhileReading as error:
            print(error.code)
    """
    with path.open("rb") as file:
        assert in_child(program, tmp_path, stdin=file) == "changed-while-reading\n"


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    in_child(PRINT_VALUES, tmp_path, input=RAW)
    program = """
        checkpoint = paraminspect.open("-")
        print(os.listdir(os.environ["TMPDIR"]))
        sys.stdout.flush()
        os.kill(os.getpid(), 9)
    """
    script = "import os, sys, paraminspect\n" + textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-c", script], input=RAW, stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == -9
    assert done.stdout == b"[]\n"
    assert list(tmp_path.iterdir()) == []


def test_closing_gives_the_room_back(tmp_path: Path) -> None:
    program = """
        def descriptors():
            return len(os.listdir("/proc/self/fd"))

        before = descriptors()
        checkpoint = paraminspect.open("-")
        assert descriptors() > before
        checkpoint.close()
        print(descriptors() - before)
        try:
            checkpoint.parameters["w"].numpy()
        except paraminspect.CannotOpen as error:
            print(error.code)
        checkpoint.close()
    """
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    assert in_child(program, tmp_path, input=RAW) == "0\nstandard-input-closed\n"


def test_the_copy_lies_on_disk_and_not_in_memory(tmp_path: Path) -> None:
    program = """
        resource.setrlimit(resource.RLIMIT_DATA, (64 << 20, 64 << 20))
        try:
            paraminspect.open("-")
        except paraminspect.Truncated as error:
            print(error.code)
    """
    long_stream = subprocess.Popen(["head", "-c", "100M", "/dev/zero"], stdout=subprocess.PIPE)
    try:
        told = in_child(program, tmp_path, stdin=long_stream.stdout)
    finally:
        long_stream.kill()
        long_stream.communicate()
    assert told == "all-zeros\n"


def test_a_terminal_is_refused() -> None:
    leader, follower = pty.openpty()
    try:
        message = refused(stdin=follower)
    finally:
        os.close(leader)
        os.close(follower)
    assert "[standard-input-terminal]" in message
    assert "pipe a file into it" in message


def test_no_standard_input() -> None:
    assert "[standard-input-closed]" in refused(preexec_fn=lambda: os.close(0))


def test_an_empty_pipe() -> None:
    message = refused(stdin=subprocess.DEVNULL)
    assert "[empty-file]" in message
    assert "<standard input>" in message


def test_standard_input_that_can_only_be_written(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(RAW)
    for name in (os.devnull, path):
        descriptor = os.open(name, os.O_WRONLY)
        try:
            assert "[io-error]" in refused(stdin=descriptor)
        finally:
            os.close(descriptor)


def test_a_full_disk(tmp_path: Path) -> None:
    program = """
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            paraminspect.open("-")
        except paraminspect.CannotOpen as error:
            print(error.code, error.path, "after 100 bytes" in error.cause)
    """
    assert in_child(program, tmp_path, input=RAW) == "no-room <standard input> True\n"


def test_no_place_for_the_copy(tmp_path: Path) -> None:
    message = refused(input=RAW, env={**os.environ, "TMPDIR": str(tmp_path / "missing")})
    assert "[no-temporary-file]" in message
    assert "TMPDIR" in message


def test_the_deadline_ends_a_pipe_that_never_comes() -> None:
    reader, writer = os.pipe()
    try:
        done = subprocess.run(
            [*SHOW, "--limit", "seconds=0.3"], stdin=reader, stderr=subprocess.PIPE, timeout=60
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert done.returncode == 2
    assert b"[limit-seconds]" in done.stderr


def test_a_pipe_that_does_not_block(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    script = "import time, paraminspect\n" + textwrap.dedent(PRINT_VALUES)
    child = subprocess.Popen([sys.executable, "-c", script], stdin=reader, stdout=subprocess.PIPE)
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(RAW[:100])
        pipe.flush()
        pipe.write(RAW[100:])
    out, _ = child.communicate(timeout=60)
    assert out.decode() == VALUES


def test_no_finding_about_the_suffix() -> None:
    report = shown(input=RAW)
    assert "wrong-suffix" not in json.dumps(report)


def test_an_endless_stream_of_something_else_is_refused_before_its_end() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "paraminspect", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None and process.stderr is not None
    with contextlib.suppress(BrokenPipeError):
        for _ in range(64):  # and the pipe stays open: nothing says that this is all
            process.stdin.write(b"y\n" * (1 << 19))
    assert b"plain-text" in process.stderr.read()
    assert process.wait() == 2
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.stderr.close()
