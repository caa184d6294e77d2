"""Errors: what they say, and what they keep."""

from __future__ import annotations

import copy
import pickle

import pytest
from paraminspect.readers import errors
from paraminspect.readers.errors import Ambiguous, Malformed, ParamInspectError, Truncated

KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ParamInspectError)
]


def test_the_whole_message() -> None:
    error = Truncated("truncated", "the end is missing", path="a.bin", offset=12345, advice="copy it again")
    assert str(error) == "a.bin: byte 12,345: the end is missing (copy it again) [truncated]"


def test_only_what_is_known_is_said() -> None:
    assert str(Malformed("bad", "it is bad")) == "it is bad [bad]"
    assert str(Malformed("bad", "it is bad", offset=0)) == "byte 0: it is bad [bad]"


def test_text_of_the_file_is_escaped() -> None:
    error = Malformed("bad", "the name is \x1b[31m\nred", path="a\nb\udcff", advice="see \u202e")
    assert str(error) == "a\\nb\\udcff: the name is \\x1b[31m\\nred (see \\u202e) [bad]"
    assert error.path == "a\nb\udcff"


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_survives_a_trip_to_another_process(kind: type[ParamInspectError]) -> None:
    error = kind("some-code", "a cause", path="p", offset=3, advice="do this")
    error.partial = [1]
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
        assert (again.code, again.cause, again.path, again.offset, again.advice, again.partial) == (
            *("some-code", "a cause", "p", 3, "do this"),
            [1],
        )


def test_the_tree_in_the_docstring() -> None:
    assert errors.__doc__ is not None
    assert all(kind.__name__ in errors.__doc__ for kind in KINDS)
    assert {kind.__name__ for kind in KINDS if issubclass(kind, Malformed)} == {
        "Malformed",
        "Truncated",
        "Ambiguous",
    }
    assert not issubclass(Ambiguous, Truncated)
    assert ParamInspectError("a", "b").partial is None
