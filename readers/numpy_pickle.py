"""numpy arrays as pickles describe them, whatever the protocol."""

from __future__ import annotations

from typing import Final

from .dtypes import DType, opaque
from .numpy_types import array_type
from .pickle_payloads import payload_source
from .record_graph import sequence_items
from .records import MISSING, Call, Global
from .source import ByteSource
from .tensor import ByteOrder, TensorRef
from .torch_rebuild import Rebuilt, dimensions
from .torch_storage import BadTensor

_MULTIARRAY: Final = frozenset({"numpy.core.multiarray", "numpy._core.multiarray"})
_NUMERIC: Final = frozenset({"numpy.core.numeric", "numpy._core.numeric"})


def is_array(record: object) -> bool:
    """Whether a record describes a numpy array."""
    if not isinstance(record, Call) or not isinstance(record.function, Global):
        return False
    function = record.function
    if function.name == "_reconstruct":
        return function.module in _MULTIARRAY
    return function.name == "_frombuffer" and function.module in _NUMERIC


def rebuild_array(record: object, source: ByteSource) -> Rebuilt:
    """The array a record describes.

    Args:
        record: one for which `is_array` holds.
        source: the pickle's bytes, for payloads that were left in place.

    Raises:
        BadTensor: not even its shape and type can be told.
    """
    assert isinstance(record, Call) and isinstance(record.function, Global)
    if record.function.name == "_frombuffer":
        shape_record, dtype_record, order, payload = _frombuffer_fields(record)
    else:
        shape_record, dtype_record, order, payload = _state_fields(record)
    shape = dimensions(shape_record)
    dtype, byteorder = _element_type(dtype_record)
    ref = TensorRef(None, 0, dtype, shape, _fortran_strides(shape) if order == "F" else None, byteorder)
    if dtype.name == "object":
        count = len(sequence_items(payload) or ())
        problem = f"it is an array of {count:,} Python objects, not of numbers"
        return Rebuilt(ref.without_values(problem), holds_objects=True)
    found = payload_source(payload, source)
    expected = dtype.span(ref.elements)
    if found is None or found.size() != expected:
        held = "none" if found is None else f"{found.size():,}"
        fault = BadTensor("array-size", f"its shape needs {expected:,} bytes, and {held} are stored")
        return Rebuilt(ref.without_values(fault.message), fault=fault)
    return Rebuilt(
        TensorRef(found, 0, dtype, shape, ref.strides, byteorder),
    )


def _frombuffer_fields(record: Call) -> tuple[object, object, str, object]:
    """`(buffer, dtype, shape, order)`: protocol 5."""
    if not isinstance(record.args, tuple) or len(record.args) != 4:
        raise BadTensor("array-arguments", "the description of this array is incomplete")
    payload, dtype, shape, order = record.args
    return shape, dtype, "F" if order == "F" else "C", payload


def _state_fields(record: Call) -> tuple[object, object, str, object]:
    """BUILD with `(version, shape, dtype, is_fortran, data)`."""
    state = None if record.state is MISSING else record.state
    if not isinstance(state, tuple) or len(state) != 5:
        raise BadTensor("array-arguments", "the description of this array is incomplete")
    _, shape, dtype, is_fortran, payload = state
    return shape, dtype, "F" if is_fortran is True else "C", payload


def _element_type(record: object) -> tuple[DType, ByteOrder]:
    """`dtype(name, align, copy)` with BUILD `(version, endian, subdtype, names, fields, itemsize, ...)`;
    types of other packages come as a class.
    """
    if isinstance(record, Call) and isinstance(record.args, tuple) and record.args:
        state = record.state if isinstance(record.state, tuple) else ()
        endian = state[1] if len(state) > 1 and isinstance(state[1], str) else "<"
        itemsize = state[5] if len(state) > 5 and type(state[5]) is int else 0
        name = record.args[0]
        if isinstance(name, Global):
            name = name.name
        if isinstance(name, bytes):
            name = name.decode("latin-1")
        if isinstance(name, str):
            if len(state) > 4 and state[3] is not None and itemsize > 0:
                return opaque(f"record{itemsize}", 8 * itemsize), "little"
            return _known_type(name, endian)
    raise BadTensor("array-dtype", "its element type is not one that numpy writes")


def _known_type(name: str, endian: str) -> tuple[DType, ByteOrder]:
    try:
        return array_type(name, endian)
    except ValueError as error:
        raise BadTensor("array-dtype", str(error)) from None


def _fortran_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = []
    step = 1
    for dimension in shape:
        strides.append(step)
        step *= max(1, dimension)
    return tuple(strides)
