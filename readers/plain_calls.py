"""Well-known constructor calls of pickles, read as the values they stand for (none is called)."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable
from typing import Final

from .record_graph import TYPED_LISTS, sequence_items
from .records import MISSING, Call, Global, MutableBytes

_PYTHON2_MODULES: Final = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_MULTIARRAY: Final = frozenset({"numpy.core.multiarray", "numpy._core.multiarray"})
_NUMBERS: Final = {
    "f2": "e",
    "f4": "f",
    "f8": "d",
    "i1": "b",
    "i2": "h",
    "i4": "i",
    "i8": "q",
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
    "b1": "?",
    "c8": "ff",
    "c16": "dd",
}
"""numpy's codes of number types as formats of `struct`."""

_BYTES_CALLS: Final = frozenset({"_codecs.encode", "builtins.bytes", "builtins.bytearray"})
_LONGEST_PATH: Final = 1_000
Value = str | int | float | bool


def qualified_name(name: Global) -> str:
    """`module.name`, with Python 2's module names as they are called today."""
    return f"{_PYTHON2_MODULES.get(name.module, name.module)}.{name.name}"


def known_value(call: Call) -> Value | None:
    """The number or text that a call stands for; None for any call that is not known so well."""
    if not isinstance(call.function, Global) or not isinstance(call.args, tuple):
        return None
    if call.items or call.pairs:
        return None
    module, name = call.function.module, call.function.name
    reader = _READERS.get((_PYTHON2_MODULES.get(module, module), name))
    if reader is not None:
        return reader(call.args)
    if name == "scalar" and module in _MULTIARRAY:
        return _numpy_scalar(call.args)
    if module.startswith("pathlib") and name.endswith("Path"):
        return _path(call.args)
    if (module, name) == ("numpy", "dtype"):
        return _numpy_dtype(call)
    return _member(call)


def raw_bytes(record: object) -> bytes | None:
    """Short bytes, however a protocol spells them: as such, as a bytearray, as text of Python 2, or as text
    inside `_codecs.encode`.
    """
    for _ in range(2):  # a bytearray around encoded text
        if isinstance(record, MutableBytes):
            return record.value
        if not isinstance(record, Call) or not isinstance(record.function, Global):
            break
        if qualified_name(record.function) not in _BYTES_CALLS or not isinstance(record.args, tuple):
            return None
        record = record.args[0] if record.args else b""
    return raw_bytes_of_text(record)


def raw_bytes_of_text(record: object) -> bytes | None:
    """Text whose characters are bytes; None for anything else."""
    if isinstance(record, bytes):
        return record
    if not isinstance(record, str):
        return None
    try:
        return record.encode("latin-1")
    except UnicodeEncodeError:
        return None


def _integers(args: tuple[object, ...], low: int, high: int) -> list[int] | None:
    if not low <= len(args) <= high:
        return None
    numbers = [value for value in args if type(value) is int]
    return numbers if len(numbers) == len(args) else None


# --- numbers ---


def _complex(args: tuple[object, ...]) -> str | None:
    parts = [part for part in args if isinstance(part, (int, float))]
    if len(args) != 2 or len(parts) != 2:
        return None
    try:
        return str(complex(*parts))
    except OverflowError:
        return None


def _numpy_scalar(args: tuple[object, ...]) -> Value | None:
    """`scalar(dtype, bytes)`."""
    if len(args) != 2 or not isinstance(args[0], Call) or not isinstance(args[0].args, tuple):
        return None
    raw = raw_bytes(args[1])
    code = args[0].args[0] if args[0].args else None
    kind = _NUMBERS.get(code.lstrip("<>|=")) if isinstance(code, str) else None
    if raw is None or kind is None:
        return None
    layout = (">" if _byteorder(args[0]) == ">" else "<") + kind
    if struct.calcsize(layout) != len(raw):
        return None
    numbers = struct.unpack(layout, raw)
    return str(complex(*numbers)) if len(numbers) == 2 else _one(numbers)


def _one(numbers: tuple[int | float | bool, ...]) -> int | float | bool:
    return numbers[0]


def _byteorder(dtype: Call) -> str:
    state = dtype.state if isinstance(dtype.state, tuple) else ()
    return state[1] if len(state) > 1 and isinstance(state[1], str) else "<"


def _numpy_dtype(call: Call) -> str | None:
    code = call.args[0] if isinstance(call.args, tuple) and call.args else None
    if not isinstance(code, str) or (code.startswith("V") and isinstance(call.state, tuple)):
        return None
    order = _byteorder(call)
    return f"numpy.dtype({'' if order not in '<>' else order}{code})"


# --- dates ---


def _datetime(args: tuple[object, ...]) -> str | None:
    """`datetime(10 bytes[, tzinfo])`."""
    raw = raw_bytes(args[0]) if args else None
    if raw is None or len(raw) != 10 or len(args) > 2:
        return None
    zone = ""
    if len(args) == 2:
        zone = f" {_zone(args[1])}"
    month = raw[2] & 0x7F
    moment = (raw[0] << 8 | raw[1], month, raw[3], raw[4], raw[5], raw[6], int.from_bytes(raw[7:], "big"))
    try:
        return dt.datetime(*moment).isoformat(" ") + zone
    except ValueError:
        return None


def _zone(record: object) -> str:
    if isinstance(record, Call) and isinstance(record.function, Global):
        offset = record.args[0] if isinstance(record.args, tuple) and record.args else None
        if record.function.qualified == "datetime.timezone" and isinstance(offset, Call):
            return f"UTC{_hours(offset.args)}"
        return record.function.name
    return "in a time zone"


def _hours(args: object) -> str:
    """`(days, seconds, ...)` from UTC as hours and minutes."""
    numbers = _integers(args, 2, 3) if isinstance(args, tuple) else None
    if numbers is None or abs(numbers[0]) > 1 or abs(numbers[1]) > 86_400:
        return ""
    minutes = (numbers[0] * 86_400 + numbers[1]) // 60
    return (
        "" if minutes == 0 else f"{'+' if minutes > 0 else '-'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    )


def _date(args: tuple[object, ...]) -> str | None:
    """`date(4 bytes)`."""
    raw = raw_bytes(args[0]) if len(args) == 1 else None
    if raw is None or len(raw) != 4:
        return None
    try:
        return dt.date(raw[0] << 8 | raw[1], raw[2], raw[3]).isoformat()
    except ValueError:
        return None


def _timedelta(args: tuple[object, ...]) -> str | None:
    """`timedelta(days, seconds, microseconds)`."""
    numbers = _integers(args, 1, 3)
    if numbers is None:
        return None
    try:
        return str(dt.timedelta(*numbers))
    except OverflowError:
        return None


# --- names ---


def _path(args: tuple[object, ...]) -> str | None:
    """`Path(*parts)`; the first part of an absolute path ends in a slash."""
    parts = [part for part in args if isinstance(part, str)]
    if len(parts) != len(args) or len(parts) > _LONGEST_PATH:
        return None
    if parts and parts[0].endswith(("/", "\\")):
        return parts[0] + "/".join(parts[1:])
    return "/".join(parts) or "."


def _device(args: tuple[object, ...]) -> str | None:
    """`device(kind[, index])`."""
    if len(args) == 1 and isinstance(args[0], str):
        return args[0]
    if len(args) == 2 and isinstance(args[0], str) and type(args[1]) is int:
        return f"{args[0]}:{args[1]}"
    return None


def _layout(args: tuple[object, ...]) -> str | None:
    return args[0] if len(args) == 1 and isinstance(args[0], str) else None


def _attribute(args: tuple[object, ...]) -> str | None:
    """`getattr(class, name)`: how enum members and bound methods are pickled."""
    if len(args) == 2 and isinstance(args[0], Global) and isinstance(args[1], str):
        return f"<{qualified_name(args[0])}.{args[1]}>"
    return None


def _member(call: Call) -> str | None:
    """A class called with one plain value and given no state: enum members, decimals."""
    assert isinstance(call.function, Global)
    if call.kind != "reduce" or call.state is not MISSING:
        return None
    if not isinstance(call.args, tuple) or len(call.args) != 1:
        return None
    value = call.args[0]
    if value is None or isinstance(value, (str, int, float)):
        return f"{qualified_name(call.function)}({value!r})"
    return None


_READERS: Final[dict[tuple[str, str], Callable[[tuple[object, ...]], Value | None]]] = {
    ("builtins", "complex"): _complex,
    ("builtins", "getattr"): _attribute,
    ("datetime", "datetime"): _datetime,
    ("datetime", "date"): _date,
    ("datetime", "timedelta"): _timedelta,
    ("torch", "device"): _device,
    ("torch.serialization", "_get_layout"): _layout,
}

_SEQUENCES: Final = frozenset(
    {
        "builtins.set",
        "builtins.frozenset",
        "builtins.list",
        "builtins.tuple",
        "torch.Size",
        "collections.deque",
        *TYPED_LISTS,
    }
)


def known_sequence(call: Call) -> list[object] | None:
    """The items of a call that makes a set, list, deque or torch.Size; None for anything else."""
    if not isinstance(call.function, Global) or qualified_name(call.function) not in _SEQUENCES:
        return None
    first = call.args[0] if isinstance(call.args, tuple) and call.args else ()
    return [*(sequence_items(first) or ()), *(call.items or ())]
