"""torch's names for element types and storages."""

from __future__ import annotations

from typing import Final

from .dtypes import DTYPES, DType
from .records import Global

_STORAGE_CLASSES: Final = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "QInt8Storage": "qint8",
    "QInt32Storage": "qint32",
    "QUInt8Storage": "quint8",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
}
"""torch/storage.py, `_dtype_to_storage_type_map`."""

_STORAGE_MODULES: Final = frozenset({"torch", "torch.cuda", "torch.storage"})

UNTYPED: Final = DTYPES["uint8"]
"""An untyped storage counts bytes."""

_DTYPE_ALIASES: Final = {
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "long": "int64",
    "int": "int32",
    "short": "int16",
    "chalf": "complex32",
    "cfloat": "complex64",
    "cdouble": "complex128",
    "float4_e2m1fn_x2": "float4_e2m1fn",
}


def storage_dtype(storage_class: object) -> DType | None:
    """The element type of a storage class, by its exact module and name; None for anything else."""
    if not isinstance(storage_class, Global) or storage_class.module not in _STORAGE_MODULES:
        return None
    if storage_class.name in ("UntypedStorage", "_UntypedStorage"):
        return UNTYPED
    name = _STORAGE_CLASSES.get(storage_class.name)
    return None if name is None else DTYPES[name]


def torch_dtype(record: object) -> DType | None:
    """The element type that a `torch.<dtype>` global names; None for anything else."""
    if not isinstance(record, Global) or record.module != "torch":
        return None
    return DTYPES.get(_DTYPE_ALIASES.get(record.name, record.name))


def torch_dtype_names() -> frozenset[str]:
    """Every name under `torch.` that means an element type."""
    return frozenset(DTYPES) | frozenset(_DTYPE_ALIASES)
