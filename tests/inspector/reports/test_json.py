"""JSON: valid against the published schemas, strict, exact."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import paraminspect
import pytest
from builders import report_samples as samples
from paraminspect.inspector.reports.blocks import Document, Look
from paraminspect.inspector.reports.json import encoded, plain, write

jsonschema = pytest.importorskip("jsonschema")

SCHEMAS = Path(paraminspect.__file__).parent / "docs" / "schema"


def refuse(word: str) -> None:
    raise AssertionError(f"bare {word} is not JSON")


def parsed(document: Document) -> Any:
    stream = io.StringIO()
    write(document, stream, Look())
    assert stream.getvalue().isascii()
    return json.loads(stream.getvalue(), parse_constant=refuse)


@pytest.mark.parametrize("view", ["show", "ls", "groups", "memory"])
def test_documents_follow_their_schema(view: str) -> None:
    document = samples.document(view, *samples.CHECKPOINTS, failures=(samples.FAILURE,))
    found = parsed(document)
    name, version = found["schema"].split("/")[1:]
    schema = json.loads((SCHEMAS / f"{name}-{version}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(found)
    assert [model["location"] for model in found["models"]] == [
        make().location for make in samples.CHECKPOINTS.values()
    ]
    assert found["failures"][0]["code"] == "not-found"


def test_the_schemas_notice_a_missing_and_an_added_key() -> None:
    schema = json.loads((SCHEMAS / "show-1.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    found = parsed(samples.document("show", "decoder"))
    assert validator.is_valid(found)
    found["models"][0]["surprise"] = 1
    assert not validator.is_valid(found)
    del found["models"][0]["surprise"], found["models"][0]["totals"]
    assert not validator.is_valid(found)


def test_names_come_back_exactly() -> None:
    found = parsed(samples.document("ls", "evil"))
    names = [row[0] for row in found["models"][0]["rows"]]
    assert names == list(samples.EVIL_NAMES)


def test_what_json_has_no_word_for() -> None:
    assert json.loads(encoded([float("nan"), float("inf"), -float("inf"), 0.1])) == [
        "NaN",
        "Infinity",
        "-Infinity",
        0.1,
    ]
    assert plain(1 << 5000) == "integer of 5001 bits"
    assert plain({1: (2, None), "1": b"x"}) == {"1": [2, None], "1 (2)": "b'x'"}


def test_nesting_is_cut_off_rather_than_followed_without_end() -> None:
    value: object = 1
    for _ in range(100_000):
        value = [value]
    assert encoded(value).count("[") == 40


def test_an_empty_document() -> None:
    assert parsed(Document("paraminspect/show/1", [], [])) == {
        "schema": "paraminspect/show/1",
        "models": [],
        "failures": [],
    }
