"""Every report in every format, compared byte for byte with tests/inspector/golden.

After a wanted change: pytest tests/inspector/reports/test_golden.py --update-golden, then read the
difference before committing it.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from builders import report_samples as samples
from paraminspect.inspector.reports import FORMATS, writer
from paraminspect.inspector.reports.blocks import Look
from paraminspect.inspector.reports.layout import display_width

GOLDEN = Path(__file__).parent.parent / "golden"
SUFFIXES = {"text": "txt", "json": "json", "csv": "csv", "markdown": "md"}


CASES = [(view, name) for view in samples.VIEWS for name in samples.CHECKPOINTS]


def written(view: str, name: str, format_name: str, look: Look) -> str:
    stream = io.StringIO()
    writer(format_name)(samples.document(view, name), stream, look)
    return stream.getvalue()


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize(("view", "name"), CASES)
def test_reports_are_as_they_were(
    view: str, name: str, format_name: str, request: pytest.FixtureRequest
) -> None:
    path = GOLDEN / f"{view}-{name}.{SUFFIXES[format_name]}"
    made = written(view, name, format_name, Look(width=80)).encode()
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(made)
    assert made == path.read_bytes()


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize(("view", "name"), CASES)
def test_no_line_is_longer_than_the_terminal(view: str, name: str, width: int) -> None:
    if view == "ls":
        pytest.skip("all fifteen columns at once do not fit; see the default columns below")
    lines = written(view, name, "text", Look(width=width)).splitlines()
    assert max(map(display_width, lines)) <= width


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize(("view", "name"), CASES)
def test_nothing_a_terminal_would_obey_comes_through(view: str, name: str, format_name: str) -> None:
    text = written(view, name, format_name, Look(width=80))
    assert all(character.isprintable() or character == "\n" for character in text)


def test_colour_changes_nothing_but_colour() -> None:
    for view, name in CASES:
        plain = written(view, name, "text", Look(width=80))
        coloured = written(view, name, "text", Look(colour=True, width=80))
        assert "\x1b[" in coloured
        without = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
        assert [line.rstrip() for line in without.splitlines()] == plain.splitlines()
