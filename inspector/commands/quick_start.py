"""Start-up for a lone path: what a process that only lists one file need not pay for."""

from __future__ import annotations

import gc
import sys
from types import ModuleType


def prepare() -> None:
    """Stop the garbage collector, and put off importing `inspect` until something uses it.

    A listing makes many objects and no cycles to speak of, and then ends: collecting only costs time.
    `dataclasses` imports `inspect` (with ast, dis, tokenize and linecache: 8 ms of the 60 that a start may
    take) for classes without docstrings, and ours have them. Whoever does use it gets the real one.
    """
    gc.disable()
    if "inspect" in sys.modules:
        return
    placeholder = ModuleType("inspect")

    def load(name: str) -> object:
        if sys.modules.get("inspect") is placeholder:
            del sys.modules["inspect"]
        import inspect

        value: object = getattr(inspect, name)
        return value

    placeholder.__getattr__ = load  # type: ignore[method-assign]
    sys.modules["inspect"] = placeholder
