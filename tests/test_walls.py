"""The import rules, and what a start loads: both are promises, so both are tested from outside."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "fixtures" / "real" / "silero_vad_16k.safetensors"
HEAVY = {"numpy", "click", "rich", "textual", "torch", "safetensors", "inspect", "asyncio", "unittest"}


def modules_after(code: str) -> set[str]:
    """Top-level names of the modules that a fresh process has loaded after some code.

    A module without a specification is a placeholder that was never replaced by the real one.
    """
    report = (
        "import sys; "
        "names = sorted({name.split('.')[0] for name, one in sys.modules.items()"
        " if getattr(one, '__spec__', None)}); "
        "import json; "
        "print(json.dumps(names), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


BARE = modules_after("pass")


def test_importing_the_package_loads_next_to_nothing() -> None:
    assert (
        modules_after("import paraminspect") - BARE
        <= {"paraminspect", "typing", "re", "__future__"} | STDLIB_SMALL
    )


STDLIB_SMALL = {
    "collections",
    "copyreg",
    "enum",
    "functools",
    "keyword",
    "operator",
    "reprlib",
    "types",
    "contextlib",
    "warnings",
} | {name for name in sys.stdlib_module_names if name.startswith("_")}


def test_opening_a_safetensors_file_loads_nothing_heavy() -> None:
    loaded = modules_after(f"import paraminspect; paraminspect.open({str(MODEL)!r})") - BARE
    assert not loaded & (HEAVY - {"inspect"})


def test_the_command_that_shows_a_file_loads_nothing_heavy() -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['paraminspect', {str(MODEL)!r}]\n"
        "try:\n    runpy.run_module('paraminspect', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "assert 'paraminspect.readers.safetensors' in sys.modules"
    )
    assert not (modules_after(code) - BARE) & HEAVY


def test_the_import_contracts_hold() -> None:
    pytest.importorskip("importlinter")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"]
    done = subprocess.run(
        [*command, "--config", str(ROOT / "pyproject.toml"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stdout


SHOWING = {"units", "untrusted", "ordering", "table"}
"""Modules of the readers that everything above may use beside their face: they only show or sort."""


@pytest.mark.parametrize("room", ["inspector", "tui"])
def test_the_rooms_above_use_the_readers_face(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("readers."):
                assert node.module.removeprefix("readers.") in SHOWING, (path.name, node.module)


def test_every_format_module_is_in_the_contracts() -> None:
    from paraminspect.readers.registry import FORMATS

    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for row in FORMATS:
        assert text.count(f'"paraminspect.readers.{row.module}"') == 2, row.module
