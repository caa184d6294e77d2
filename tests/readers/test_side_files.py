"""Names from files stay inside their folder; JSON beside the weights is bounded."""

from __future__ import annotations

import os
from pathlib import Path

import paraminspect
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paraminspect.readers.errors import LimitExceeded, Malformed
from paraminspect.readers.limits import DEFAULT_LIMITS
from paraminspect.readers.side_files import name_fault, read_json
from paraminspect.readers.source import MemorySource


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../x",
        "a/../../x",
        "a/..",
        "..",
        "/etc/passwd",
        "C:\\x",
        "C:x",
        "\\\\host\\share",
        "a\\b",
        "http://host/x",
        "file:///etc/passwd",
        "s3://b/x",
        "a\0b",
        "x" * 1025,
        "é" * 513,
        "\ud800.safetensors",
    ],
)
def test_names_that_are_refused(name: str) -> None:
    assert name_fault(name) is not None


@pytest.mark.parametrize(
    "name", ["a", "a/b", "a..b", "...", ".hidden", "x" * 1024, "a b", "ünï", "a:b", "./a"]
)
def test_names_that_are_paths_inside(name: str) -> None:
    fault = name_fault(name)
    assert (fault is None) != (name == "a:b")  # `a:` could be a drive


@given(st.text(st.sampled_from("a/.\\:\0"), max_size=12))
def test_what_is_accepted_stays_inside(name: str) -> None:
    if name_fault(name) is None:
        inside = os.path.normpath(os.path.join("/some/folder", name))
        assert inside == "/some/folder" or inside.startswith("/some/folder/")


@pytest.mark.parametrize(
    ("raw", "offset"),
    [
        (b'{"a": }', 6),
        (b"\xff", 0),
        ('{"é": }'.encode(), 7),
        (b"[" * 100_000, 0),
        (b'{"a": ' + b"1" * 5000 + b"}", 0),
        (b"", 0),
    ],
)
def test_broken_json(raw: bytes, offset: int) -> None:
    with pytest.raises(Malformed) as caught:
        read_json(MemorySource(raw, "x.json"), DEFAULT_LIMITS)
    assert (caught.value.code, caught.value.path, caught.value.offset) == ("json", "x.json", offset)


def test_the_size_budget() -> None:
    raw = b'{"a": 1}'
    assert read_json(MemorySource(raw), DEFAULT_LIMITS.changed(index_bytes=8)) == {"a": 1}
    with pytest.raises(LimitExceeded) as caught:
        read_json(MemorySource(raw), DEFAULT_LIMITS.changed(index_bytes=7))
    assert caught.value.code == "limit-index-bytes"


def test_a_byte_order_mark_is_allowed() -> None:
    assert read_json(MemorySource(b"\xef\xbb\xbf[1]"), DEFAULT_LIMITS) == [1]


def test_errors_are_exported(tmp_path: Path) -> None:
    with pytest.raises(paraminspect.ParamInspectError):
        paraminspect.open(tmp_path / "nothing")
