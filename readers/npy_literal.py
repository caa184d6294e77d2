"""The grammar of a .npy header's text: the Python literals that numpy writes, read without Python's parser.

Known are text, integers, True, False, None, tuples, lists and dicts. Whatever Python would refuse is refused
here; what numpy never writes (comments, sums, sets, joined texts, octal escapes) is refused as well.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from .untrusted import printable

_MAX_DEPTH: Final = 200
"""Brackets inside each other; two for each level of records. Python's own parser reads no more either."""

_MAX_DIGITS: Final = 20
_TOKEN: Final = re.compile(
    r"(?P<text>[uU]?(?:'(?:[^'\\\r\n\0]|\\.)*'|\"(?:[^\"\\\r\n\0]|\\.)*\"))"
    r"|(?P<number>-?(?:0+|[1-9][0-9]*))(?P<long>L?)(?![\w.])"
    r"|(?P<word>True|False|None)\b"
    r"|(?P<sign>[()\[\]{},:])"
)
_SPACE: Final = re.compile(r"[ \t\f\r\n]*")
_INDENT: Final = re.compile(r"[ \t]*")
_ESCAPE: Final = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U(000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})|([\\'\"nrt]))"
)
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}


class LiteralFault(Exception):
    """What is wrong with the text, and at which character."""

    def __init__(self, cause: str, position: int) -> None:
        super().__init__(cause)
        self.cause = cause
        self.position = position


class Entries(NamedTuple):
    """A dict whose keys are texts."""

    values: dict[str, object]
    places: dict[str, int]
    """Characters at which the values begin."""

    key_places: dict[str, int]
    position: int
    """Character of its opening bracket."""


class _Open(NamedTuple):
    """A bracket whose partner has not come yet."""

    sign: str
    position: int
    values: list[object]
    """Values so far; in a dict, keys and values by turns."""

    places: list[int]
    separators: list[str]


def read_literal(text: str, *, allow_long: bool) -> object:
    """The value of a literal: texts, numbers, tuples and lists as they are, dicts as `Entries`.

    No recursion: the nesting is a list.

    Args:
        text: all of it, with the spaces that fill the header.
        allow_long: whether integers may end in L, as Python 2 wrote them.

    Raises:
        LiteralFault: it is not such a literal.
    """
    stack: list[_Open] = []
    position = _match_end(_INDENT, text, 0)
    while True:
        match = _TOKEN.match(text, position)
        if match is None or (match["long"] and not allow_long):
            shown = printable(text[position : position + 20])
            raise LiteralFault(
                f"the array's header has {shown!r} where a literal of numpy's is expected", position
            )
        sign = match["sign"]
        end = match.end()
        if sign is None:
            _put(stack, _atom(match), position)
        elif sign in _CLOSING:
            if len(stack) == _MAX_DEPTH:
                cause = f"more than {_MAX_DEPTH} brackets inside each other in the array's header"
                raise LiteralFault(cause, position)
            stack.append(_Open(sign, position, [], [], []))
        elif sign in ",:":
            _separate(stack, sign, position)
        else:
            group = _partner(stack, sign, position)
            value = _closed(group)
            if not stack:
                _refuse_more(text, end)
                return value
            _put(stack, value, group.position)
        if not stack:
            _refuse_more(text, end)
            return _atom(match)
        position = _match_end(_SPACE, text, end)


def _match_end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return position if match is None else match.end()


def _put(stack: list[_Open], value: object, position: int) -> None:
    if not stack:
        return
    group = stack[-1]
    if len(group.separators) != len(group.values):
        raise LiteralFault("a comma is missing in the array's header", position)
    group.values.append(value)
    group.places.append(position)


def _separate(stack: list[_Open], sign: str, position: int) -> None:
    if not stack or len(stack[-1].separators) >= len(stack[-1].values):
        raise LiteralFault(f"a {sign!r} too many in the array's header", position)
    group = stack[-1]
    expected = ":,"[len(group.separators) % 2] if group.sign == "{" else ","
    if sign != expected:
        raise LiteralFault(f"a {sign!r} where a {expected!r} belongs in the array's header", position)
    group.separators.append(sign)


def _partner(stack: list[_Open], sign: str, position: int) -> _Open:
    if not stack or _CLOSING[stack[-1].sign] != sign:
        raise LiteralFault(f"a {sign!r} without its partner in the array's header", position)
    group = stack.pop()
    if group.sign == "{" and len(group.values) % 2:
        raise LiteralFault("a key without a value in the array's header", position)
    return group


def _refuse_more(text: str, position: int) -> None:
    end = _match_end(_SPACE, text, position)
    if end != len(text):
        raise LiteralFault("something follows the array's header", end)


def _atom(match: re.Match[str]) -> object:
    if match["text"] is not None:
        quoted = match["text"].lstrip("uU")
        return _unescaped(quoted[1:-1], match.start())
    if match["number"] is not None:
        digits = match["number"]
        if len(digits.lstrip("-0")) > _MAX_DIGITS:
            raise LiteralFault("a number in the array's header is longer than 64 bits", match.start())
        return int(digits)
    return {"True": True, "False": False, "None": None}[match["word"]]


def _unescaped(text: str, position: int) -> str:
    if "\\" not in text:
        return text
    if "\\" in _ESCAPE.sub("", text):
        raise LiteralFault("a text in the array's header has an escape that numpy does not write", position)
    return _ESCAPE.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code is not None:
        return chr(int(code, 16))
    return {"n": "\n", "r": "\r", "t": "\t"}.get(match[4], match[4])


def _closed(group: _Open) -> object:
    if group.sign == "{":
        return _entries(group)
    if group.sign == "[":
        return group.values
    # (3) is the number 3, (3,) a tuple.
    return group.values[0] if len(group.values) == 1 and not group.separators else tuple(group.values)


def _entries(group: _Open) -> Entries:
    found = Entries({}, {}, {}, group.position)
    for index in range(0, len(group.values), 2):
        key, place = group.values[index], group.places[index]
        if not isinstance(key, str):
            raise LiteralFault("a key in the array's header is no text", place)
        if key in found.values:
            raise LiteralFault(f"the key {printable(key, 40)!r} stands twice in the array's header", place)
        found.values[key] = group.values[index + 1]
        found.places[key] = group.places[index + 1]
        found.key_places[key] = place
    return found
