"""House rules that a machine can check."""

from __future__ import annotations

import ast
import statistics
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ("__init__.py", "__main__.py", "readers", "inspector", "tui")
MODULE_LINES = 400
TEST_LINES = 1000
FUNCTION_LINES = 60
MEDIAN_LINES = 9
LONG_ON_PURPOSE = {"pickle_machine.py": "_run"}
"""The loop over opcodes: a call for each of three million opcodes would cost more than all the rest."""

VAGUE = {"utils", "helpers", "misc", "common", "tools", "manager"}


def modules(*places: str) -> list[Path]:
    found: list[Path] = []
    for place in places:
        path = ROOT / place
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return found


@pytest.mark.parametrize(
    "path", modules(*PACKAGE, "benchmarks", "fixtures"), ids=lambda path: str(path.relative_to(ROOT))
)
def test_modules_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert sum(1 for line in text.splitlines() if line.strip()) <= MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno is not None:
            is_short = node.end_lineno - node.lineno < FUNCTION_LINES
            assert is_short or LONG_ON_PURPOSE.get(path.name) == node.name, node.name


@pytest.mark.parametrize("room", ["readers", "inspector"])
def test_most_functions_are_a_few_lines(room: str) -> None:
    lengths = []
    for path in modules(room):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno is not None:
                body = node.body[ast.get_docstring(node) is not None :]
                lengths.append(node.end_lineno - body[0].lineno + 1 if body else 0)
    assert statistics.median(lengths) <= MEDIAN_LINES


def test_test_modules_are_not_endless() -> None:
    for path in modules("tests"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= TEST_LINES, path


def test_files_are_named_by_what_they_hold() -> None:
    for path in modules(*PACKAGE, "tests", "benchmarks", "fixtures"):
        assert path.stem not in VAGUE, path


def test_every_module_says_what_it_is_for() -> None:
    for path in modules(*PACKAGE):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_readers_and_analysis_do_not_print() -> None:
    for path in modules("readers", "inspector/analysis"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            ), path


def test_the_project_speaks_of_itself_alone() -> None:
    """No address of a package registry, no path of anyone's machine, nothing about who typed it."""
    words = [
        "/" + "work/",
        "/" + "home/",
        "/" + "root/",
        "/tmp" + "/",
        "files.python" + "hosted",
        "py" + "pi.org",
        "local" + "host:",
        "helper" + " agent",
        "ai-" + "generated",
        "language" + " model wrote",
    ]
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    for name in filter(None, listed.decode().split("\0")):
        path = ROOT / name
        if path.suffix not in (".py", ".md", ".toml", ".json", ".txt", ".sh", "") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace").lower()
        for word in words:
            assert word not in text, f"{name}: {word}"
