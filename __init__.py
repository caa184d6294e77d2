"""paraminspect: see what is in a saved model, without running it and without its framework.

    >>> import paraminspect
    >>> with paraminspect.open("model.safetensors") as checkpoint:  # doctest: +SKIP
    ...     print(checkpoint)
    ...     weight = checkpoint.parameters["layers.0.weight"].numpy()

The names are loaded when they are first used, so importing the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .readers import (
        Checkpoint,
        Finding,
        Limits,
        NamedTensor,
        ParameterTable,
        Section,
        Severity,
        TensorRef,
    )
    from .readers import open_checkpoint as open
    from .readers.errors import *  # noqa: F403

__version__ = "0.1.0"

_ERRORS = (
    "ParamInspectError",
    "CannotOpen",
    "UnknownFormat",
    "Malformed",
    "Truncated",
    "Ambiguous",
    "Unsupported",
    "LimitExceeded",
    "ChangedWhileReading",
    "NoValues",
    "MissingExtra",
)
_HOME = {
    "open": "open_checkpoint",
    **{
        name: name
        for name in (
            "Checkpoint",
            "Finding",
            "Limits",
            "NamedTensor",
            "ParameterTable",
            "Section",
            "Severity",
            "TensorRef",
            *_ERRORS,
        )
    },
}

__all__ = ["__version__", *sorted(_HOME)]  # noqa: PLE0604


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    # By absolute name: a test runner may import this file under the checkout folder's name, and a
    # relative import would then load a second copy of every module.
    value: object = getattr(import_module("paraminspect.readers"), _HOME[name])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
