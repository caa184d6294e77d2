"""Ground floor: bytes in, `Checkpoint` out. Knows no figures and no terminal.

The names below are this floor's face; everything above imports from here (or from `units`, `untrusted`
and `table` for what only shows things), never from a format's module.
"""

from __future__ import annotations

from .entry import Checkpoint, CheckpointFile, PickleImport
from .errors import (
    Ambiguous,
    CannotOpen,
    ChangedWhileReading,
    LimitExceeded,
    Malformed,
    MissingExtra,
    NoValues,
    ParamInspectError,
    Truncated,
    UnknownFormat,
    Unsupported,
)
from .findings import Finding, Severity
from .limits import DEFAULT_LIMITS, Limits
from .named_tensor import NamedTensor
from .opening import open_checkpoint
from .sections import Section
from .table import COLUMN_NAMES, Group, ParameterTable, Totals
from .tensor import TensorRef

__all__ = [
    "COLUMN_NAMES",
    "DEFAULT_LIMITS",
    "Ambiguous",
    "CannotOpen",
    "ChangedWhileReading",
    "Checkpoint",
    "CheckpointFile",
    "Finding",
    "Group",
    "LimitExceeded",
    "Limits",
    "Malformed",
    "MissingExtra",
    "NamedTensor",
    "NoValues",
    "ParamInspectError",
    "ParameterTable",
    "PickleImport",
    "Section",
    "Severity",
    "TensorRef",
    "Totals",
    "Truncated",
    "UnknownFormat",
    "Unsupported",
    "open_checkpoint",
]
