"""Reports: one writer a format, each from the same data to a stream it is given."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Final, TextIO

from .blocks import Document, Look

Writer = Callable[[Document, TextIO, Look], None]

FORMATS: Final = ("text", "json", "csv", "markdown")


def writer(name: str) -> Writer:
    """The writer of a format; its module is imported now.

    Raises:
        KeyError: there is no such format.
    """
    if name not in FORMATS:
        raise KeyError(name)
    write: Writer = import_module(f".{name}", __name__).write
    return write
