"""What a pickle would import and call, told as facts. No verdict: the word `safe` is not used."""

from __future__ import annotations

import sys
from typing import Final

from .entry import PickleImport
from .findings import Finding, Severity
from .pickle_stream import EXTENSION_REGISTRY, NOT_A_NAME
from .record_graph import TYPED_LISTS
from .records import Global
from .torch_types import storage_dtype, torch_dtype_names

# Names that torch.load(weights_only=True) maps to constructors of data
# (torch/_weights_only_unpickler.py, `_get_allowed_globals`), and numpy's own array constructors.
_DATA_NAMES: Final = frozenset(
    {
        ("collections", "OrderedDict"),
        ("collections", "Counter"),
        ("collections", "defaultdict"),
        ("_codecs", "encode"),
        ("argparse", "Namespace"),
        ("datetime", "datetime"),
        ("datetime", "date"),
        ("datetime", "timedelta"),
        ("pathlib", "Path"),
        ("pathlib", "PosixPath"),
        ("pathlib", "WindowsPath"),
        ("types", "SimpleNamespace"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy.core.numeric", "_frombuffer"),
        ("numpy._core.numeric", "_frombuffer"),
        ("torch.serialization", "_get_layout"),
        ("torch", "Size"),
        ("torch", "device"),
        ("torch", "Tensor"),
        ("torch.nn.parameter", "Parameter"),
        ("torch.nn.parameter", "Buffer"),
        ("torch.nn.parameter", "UninitializedParameter"),
        ("torch._tensor", "_rebuild_from_type_v2"),
        ("torch.distributed.tensor", "DTensor"),
    }
)
_DISTRIBUTED_RECORDS: Final = frozenset(
    {
        "Metadata",
        "TensorStorageMetadata",
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "TensorProperties",
        "_MEM_FORMAT_ENCODING",
        "MetadataIndex",
        "StorageMeta",
        "_StorageInfo",
    }
)
"""Plain records that `torch.distributed.checkpoint` describes a folder with."""

_TORCH_CONSTANTS: Final = frozenset(
    {
        "strided",
        "sparse_coo",
        "per_tensor_affine",
        "per_channel_affine",
        "per_channel_affine_float_qparams",
        "per_tensor_symmetric",
        "per_channel_symmetric",
        "contiguous_format",
        "preserve_format",
        "channels_last",
    }
)
_TENSOR_TYPES: Final = frozenset(
    f"{kind}Tensor"
    for kind in ("Float", "Double", "Half", "BFloat16", "Int", "Long", "Short", "Char", "Byte", "Bool")
)
_DATA_MODULES: Final = frozenset({"torch._utils"})
_BUILTIN_DATA: Final = frozenset(
    {"set", "frozenset", "bytearray", "complex", "slice", "object", "dict", "list", "int"}
)
_NEUTRAL_LIBRARY_NAMES: Final = frozenset(
    {
        ("copyreg", "_reconstructor"),
        ("copyreg", "__newobj__"),
        ("copy_reg", "_reconstructor"),
        ("collections", "deque"),
        ("datetime", "time"),
        ("datetime", "timezone"),
        ("decimal", "Decimal"),
        ("enum", "EnumMeta"),
        ("fractions", "Fraction"),
        ("functools", "partial"),
        ("inspect", "_empty"),
        ("logging", "getLogger"),
        ("random", "Random"),
        ("threading", "RLock"),
        ("uuid", "UUID"),
    }
)
"""Of the standard library, what objects in real checkpoints are made of."""

_OTHER_MODULES_THAT_RUN_CODE: Final = frozenset({"nt", "pip", "setuptools", "commands", "posix"})
_RUNS_CODE_BUILTINS: Final = frozenset(
    {"eval", "exec", "compile", "open", "getattr", "setattr", "__import__", "apply", "execfile", "globals"}
)
_NAMES_TOLD: Final = 8


def is_data_only(module: str, name: str) -> bool:
    """Whether torch's own restricted loader (or numpy's) builds only data from this name."""
    if "." in name:
        return False  # an attribute of that name, whatever it is
    if (module, name) in _DATA_NAMES or module in _DATA_MODULES:
        return name.startswith("_rebuild") if module in _DATA_MODULES else True
    if module in ("builtins", "__builtin__"):
        return name in _BUILTIN_DATA
    if module in ("torch", "torch.cuda", "torch.storage"):
        return (
            storage_dtype(Global(module, name)) is not None
            or name in ("TypedStorage", "_TypedStorage", "_LegacyStorage")
            or name in _TORCH_CONSTANTS
            or name in _TENSOR_TYPES
            or name in torch_dtype_names()
        )
    if module in ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem"):
        return name in _DISTRIBUTED_RECORDS
    if f"{module}.{name}" in TYPED_LISTS:
        return True
    return module.startswith("numpy.dtypes") or module == "ml_dtypes"


def runs_code(module: str, name: str) -> bool:
    """Whether calling this name can reach the system or run code: so can, one way or another, most of
    Python's standard library, and a model needs nothing of it but a few containers.
    """
    if module in ("builtins", "__builtin__"):
        return name.split(".", maxsplit=1)[0] in _RUNS_CODE_BUILTINS
    if NOT_A_NAME in (module, name) or module == EXTENSION_REGISTRY:
        return True  # it may be any name at all
    parts = name.split(".")
    if len(parts) > 1 and any(part.startswith("__") or part in sys.stdlib_module_names for part in parts):
        return True  # `torch.serialization`, `os.system`: what a module imports is an attribute of it
    package = module.split(".", maxsplit=1)[0]
    if package in _OTHER_MODULES_THAT_RUN_CODE:
        return True
    return package in sys.stdlib_module_names and (module, name) not in _NEUTRAL_LIBRARY_NAMES


def findings_about(imports: list[PickleImport], file: str, *, is_script: bool = False) -> list[Finding]:
    """Findings for those imports that are more than data.

    Args:
        imports: of all pickles of a file.
        file: its path.
        is_script: the file is a TorchScript archive: names under `__torch__` are types of the program in
            it, which its own loader compiles and does not import.
    """
    foreign = [
        one
        for one in imports
        if not is_data_only(one.module, one.name)
        and not (is_script and one.module.split(".", maxsplit=1)[0] == "__torch__")
    ]
    dangerous = [one for one in foreign if runs_code(one.module, one.name)]
    findings = []
    if dangerous:
        findings.append(
            Finding(
                "pickle-runs-code",
                Severity.WARNING,
                f"the pickle names {listed(dangerous)}: its own loader would run code with it; "
                "nothing was run here",
                file,
                _file_offset(dangerous[0]),
            )
        )
    others = [one for one in foreign if one not in dangerous]
    if others:
        findings.append(
            Finding(
                "pickle-imports",
                Severity.INFO,
                f"the pickle names {listed(others)}: its own loader would import "
                f"{'them' if len(others) > 1 else 'it'}; nothing was imported here",
                file,
                _file_offset(others[0]),
            )
        )
    return findings


def _file_offset(one: PickleImport) -> int | None:
    """Offsets count in the stream, which is the file only where the stream has no name of its own."""
    return None if one.stream else one.offset


def listed(imports: list[PickleImport]) -> str:
    """Their names, the first few of them."""
    names = [f"{one.module}.{one.name}" for one in imports[:_NAMES_TOLD]]
    more = len(imports) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more > 0 else "")
