"""What the README shows is what the program prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def run(*arguments: str) -> str:
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "paraminspect", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_captured_output_is_what_is_printed() -> None:
    [(command, output)] = re.findall(r"```\n\$ paraminspect (.+)\n([^`]+)```", README)
    assert run(*command.split()).rstrip() == output.rstrip()


def test_as_little_is_read_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    import paraminspect

    counts: list[int] = []
    preadv = os.preadv

    def counted(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        counts.append(preadv(descriptor, buffers, offset))
        return counts[-1]

    monkeypatch.setattr(os, "preadv", counted)
    paraminspect.open(ROOT / "fixtures" / "real" / "silero_vad_16k.safetensors").close()
    [kilobytes] = re.findall(r"That read (\d+) kB of the file", README)
    assert round(sum(counts) / 1000) == int(kilobytes)


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = re.findall(r"```python\n(.+?)```", README, flags=re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})
    assert "lstm_cell.weight_ih (512, 128) float32 65536" in capsys.readouterr().out


@pytest.mark.parametrize("marker", ["install", "test"])
def test_the_lines_that_ci_extracts(marker: str) -> None:
    [line] = re.findall(rf"<!-- {marker} -->\n```\n(.+)\n```", README)
    assert line.startswith("python3 -m venv")


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_commands_in_the_table_exist() -> None:
    for command in re.findall(r"`paraminspect ((?:ls|memory) MODEL[^`]*)`", README):
        words = command.replace("'", "").split()
        model = "fixtures/real/silero_vad_16k.safetensors"
        assert run(*[model if word == "MODEL" else word for word in words])
