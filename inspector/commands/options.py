"""Options that verbs share, and the value types they need."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from ...readers import DEFAULT_LIMITS, Limits
from ..analysis.summary import DEFAULT_SIBLINGS
from ..reports import FORMATS
from .models import Settings

Function = Callable[..., Any]
_NUMBER: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE | re.ASCII)
_UNITS: Final = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
    "s": 1,
    "min": 60,
    "h": 3600,
}
_TIME_UNITS: Final = frozenset({"s", "min", "h"})


def verb(name: str, examples: str) -> Callable[[Function], click.Command]:
    """A command that takes models, with worked examples at the end of its help."""

    def decorate(function: Function) -> click.Command:
        models = click.argument(
            "models", metavar="MODEL...", nargs=-1, required=True, type=click.Path(allow_dash=True)
        )
        epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples.strip().splitlines())
        return click.command(name, epilog=epilog)(models(function))

    return decorate


def settings_options(function: Function) -> Function:
    """Add the options of `Settings`, and hand them over as one argument `settings`."""

    @functools.wraps(function)
    def with_settings(
        *args: object, format_name: str, output: str | None, color: str,
        limit: Sequence[tuple[str, float]], no_follow: bool, **kwargs: object,
    ) -> object:  # fmt: skip
        limits = DEFAULT_LIMITS.changed(**dict(limit))
        settings = Settings(format_name, output, color, limits, not no_follow)
        return function(*args, settings=settings, **kwargs)

    options = (
        click.option(
            "--format", "format_name", type=click.Choice(FORMATS), default="text", show_default=True,
            help="How the report is written.",
        ),
        click.option(
            "-o", "--output", type=click.Path(dir_okay=False), metavar="FILE",
            help="Write to FILE, which is replaced only once the report is whole.",
        ),
        click.option(
            "--color", type=click.Choice(("auto", "always", "never")), default="auto", show_default=True,
            help="Colour; auto means on a terminal, unless NO_COLOR is set or TERM is dumb.",
        ),
        click.option(
            "--limit", multiple=True, type=LimitValue(), metavar="NAME=VALUE",
            help=f"Change a resource budget (200MB, 30s); names: {', '.join(Limits.names())}.",
        ),
        click.option(
            "--no-follow", is_flag=True, help="Refuse parts that are links out of the checkpoint's folder."
        ),
    )  # fmt: skip
    for option in reversed(options):
        with_settings = option(with_settings)
    return with_settings


def depth_option(default: int) -> Callable[[Function], Function]:
    """`--depth`."""
    return click.option(
        "--depth", type=CountOrAll(), default=str(default), metavar="N|all", show_default=True,
        help="Levels of the layer tree; 0 leaves it out.",
    )  # fmt: skip


def siblings_option(function: Function) -> Function:
    """`--siblings`."""
    return click.option(
        "--siblings", type=CountOrAll(1), default=str(DEFAULT_SIBLINGS), metavar="N|all", show_default=True,
        help="Lines under one module of the tree before the rest become one line.",
    )(function)  # fmt: skip


class CountOrAll(click.ParamType):  # type: ignore[type-arg]  # not subscriptable before 8.2
    """A count, or `all` (None)."""

    name = "count"

    def __init__(self, least: int = 0) -> None:
        self._least = least

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """The number, or None for all."""
        text = str(value)
        if text == "all":
            return None
        if _is_count(text) and int(text) >= self._least:
            return int(text)
        raise click.BadParameter(f"{value!r} is neither a number from {self._least} nor 'all'", ctx, param)


class ColumnList(click.ParamType):  # type: ignore[type-arg]  # not subscriptable before 8.2
    """Column names with commas between them, or `all`."""

    name = "columns"

    def __init__(self, known: Sequence[str]) -> None:
        self._known = known

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The names, checked."""
        if isinstance(value, tuple):
            return value
        text = str(value)
        names = tuple(self._known) if text == "all" else tuple(part.strip() for part in text.split(","))
        for name in names:
            if name not in self._known:
                raise click.BadParameter(unknown_word("column", name, self._known), ctx, param)
        return names


class ColumnName(click.ParamType):  # type: ignore[type-arg]  # not subscriptable before 8.2
    """One of several column names."""

    name = "column"

    def __init__(self, known: Sequence[str]) -> None:
        self._known = known

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, checked."""
        text = str(value)
        if text not in self._known:
            raise click.BadParameter(unknown_word("column", text, self._known), ctx, param)
        return text

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Names that begin as the word does."""
        return [CompletionItem(name) for name in self._known if name.startswith(incomplete)]


class GroupBy(click.ParamType):  # type: ignore[type-arg]  # not subscriptable before 8.2
    """A number of name parts, or a column."""

    name = "group"

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        """The number or the column's name."""
        text = str(value)
        if text in self._columns:
            return text
        if _is_count(text) and int(text):
            return int(text)
        raise click.BadParameter(unknown_word("column", text, self._columns), ctx, param)


class LimitValue(click.ParamType):  # type: ignore[type-arg]  # not subscriptable before 8.2
    """`NAME=VALUE` for a budget of `Limits`."""

    name = "limit"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """Name and number."""
        if isinstance(value, tuple):
            return value
        name, equals, amount = str(value).partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE", ctx, param)
        if name not in Limits.names():
            raise click.BadParameter(unknown_word("limit", name, Limits.names()), ctx, param)
        number = parsed_amount(amount, seconds=name == "seconds")
        if number is None:
            unit = "30s or 5min" if name == "seconds" else "5000 or 200MB"
            raise click.BadParameter(f"{amount!r} is not a value such as {unit}", ctx, param)
        return name, number


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def parsed_amount(text: str, *, seconds: bool) -> float | None:
    """`200MB` as 200000000, `64KiB` as 65536, `5min` as 300; None when it is neither."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None or len(match[1]) > 18:
        return None
    unit = match[2].lower()
    if unit not in _UNITS or (unit != "" and (unit in _TIME_UNITS) is not seconds):
        return None
    amount = float(match[1]) * _UNITS[unit]
    return amount if seconds else int(amount)


def unknown_word(kind: str, word: str, known: Sequence[str]) -> str:
    """`no column 'nbyte'; did you mean 'nbytes'?`, or the list of what there is."""
    import difflib

    close = difflib.get_close_matches(word, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
    return f"no {kind} {word!r}; {hint}"
