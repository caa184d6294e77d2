"""The order in which people expect rows: layer 2 before layer 10, sections and widths in their own order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from .dtypes import DType
from .sections import Section

_DIGITS: Final = re.compile("[0-9]+")
_RANK_OF_SECTION: Final = {section: rank for rank, section in enumerate(Section)}


def natural_key(text: str) -> str:
    """Sort key under which `layers.2` comes before `layers.10`."""
    return _DIGITS.sub(_encoded_number, text)


def _encoded_number(match: re.Match[str]) -> str:
    # Before any letter; numbers of fewer digits before those of more.
    digits = match[0].lstrip("0")
    return f"\0{chr(min(len(digits), 0xD000))}{digits}"


class _KeysOfParts(dict[str, str]):
    """Natural keys of the parts of names, each worked out once."""

    def __missing__(self, part: str) -> str:
        key = self[part] = natural_key(part)
        return key


def sort_keys(values: Sequence[object]) -> Sequence[object]:
    """Keys for a column of one type: unknown (None) first, sections in their own order, dtypes by width,
    text naturally, anything else as it is.
    """
    distinct = dict.fromkeys(values)  # in order of rows: their keys then lie side by side in memory
    is_text = any(isinstance(value, str) and not isinstance(value, Section) for value in distinct)
    ranks = _text_ranks(distinct) if is_text else {value: _rank(value) for value in distinct}
    return [ranks[value] for value in values]


def _text_ranks(texts: Iterable[object]) -> dict[object, object]:
    # One text for each, not a tuple: comparing tuples takes three times as long.
    parts = _KeysOfParts()
    return {
        text: "" if text is None else "\1" + ".".join([parts[part] for part in str(text).split(".")])
        for text in texts
    }


def _rank(value: object) -> tuple[object, ...]:
    if value is None:
        return (0,)
    if isinstance(value, Section):
        return (1, _RANK_OF_SECTION[value])
    if isinstance(value, DType):
        return (1, value.bits, value.name)
    return (1, value)
