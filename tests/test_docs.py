"""Commands and code of the documentation run, and what it says of codes, columns and budgets is true."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from paraminspect.inspector.analysis.listing import LISTED_COLUMNS
from paraminspect.inspector.commands import main
from paraminspect.readers.limits import DEFAULT_LIMITS

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
COMMANDS = [
    line
    for page in PAGES
    for block in re.findall(r"```\n(.+?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for line in block.splitlines()
    if line.startswith("paraminspect ") and "MODEL" not in line
]


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 5


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(command: str) -> None:
    _, *arguments = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-m", "paraminspect", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_the_python_page_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
    monkeypatch.chdir(ROOT)
    scope: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.+?)```", text, flags=re.DOTALL):
        exec(compile(code, "python-api.md", "exec"), scope)
    printed = capsys.readouterr().out
    assert "<Checkpoint" in printed
    assert "plain-text" in printed


SAMPLES = sorted(
    path
    for folder in ("", "corrupt", "real")
    for path in (ROOT / "fixtures" / folder).iterdir()
    if path.suffix not in (".py", ".md", ".LICENSE") and path.name not in ("__pycache__", "corrupt", "real")
)


@pytest.mark.parametrize("verb", ["show", "ls", "memory"])
def test_reports_on_every_sample_follow_the_published_schema(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    jsonschema: Any = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "docs" / "schema" / f"{verb}-1.json").read_text(encoding="utf-8"))
    main([verb, *map(str, SAMPLES), "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schema).validate(found)
    assert len(found["models"]) + len(found["failures"]) == len(SAMPLES)
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    common = page[page.index("| key of a model |") : page.index("Totals are")]
    keys = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]+)", common, re.MULTILINE)))
    assert len(keys) > 5
    for model in found["models"]:
        assert set(keys) <= set(model)


def test_every_budget_is_described() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^\| `(\w+)` \| [^|]+ \|", text, flags=re.MULTILINE))
    assert set(DEFAULT_LIMITS.names()) <= described


def test_every_column_is_described() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    table = text[text.index("| column | meaning |") : text.index("## Memory")]
    described = set(re.findall(r"`(\w+)`", table))
    assert {
        name for name in LISTED_COLUMNS if name not in ("section_inferred", "parameters_basis")
    } <= described


def test_codes_that_are_mentioned_exist() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "readers").glob("*.py"))
    for page in PAGES:
        for code in re.findall(
            r"`((?:safetensors|index|shard|zip|npy|pickle|wrong)-[a-z-]+)`", page.read_text("utf-8")
        ):
            assert f'"{code}"' in source, f"{page.name}: {code}"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
