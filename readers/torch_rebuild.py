"""Calls of torch's rebuild functions, read as descriptions of tensors (none is called)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from .dtypes import DType, opaque
from .records import MISSING, Builds, Call, DictRecord, Global, ListRecord, TensorCall
from .tensor import TensorRef, is_c_order, span_of_view
from .torch_storage import BadTensor, Storage, StorageFinder
from .torch_types import UNTYPED, torch_dtype


@dataclass(slots=True)
class Rebuilt:
    """One tensor as its record describes it."""

    ref: TensorRef
    storage: int | None = None
    """Identity of the bytes; None when the tensor has none of its own."""

    start: int = 0
    """Byte offset of the first element in the storage."""

    requires_grad: bool | None = None
    is_parameter: bool = False
    """Saved as an `nn.Parameter`."""

    parts: tuple[tuple[str, object], ...] = ()
    """Tensors that this one is made of (values and indices of a sparse tensor, what a subclass wraps)."""

    fault: BadTensor | None = None
    """Why values are missing although the file should have them."""

    holds_objects: bool = False
    """An array of Python objects: it has no elements that are numbers."""

    @property
    def is_shell(self) -> bool:
        """It has no stored elements of its own: they are those of its parts, or objects."""
        return self.holds_objects or (bool(self.parts) and self.storage is None)


def is_tensor(record: object) -> bool:
    """Whether a record describes a tensor, cheaply."""
    if isinstance(record, TensorCall):
        return True
    return (
        isinstance(record, Call)
        and isinstance(record.function, Global)
        and (record.function.module, record.function.name) in _FUNCTIONS
    )


class Geometry(NamedTuple):
    """What a view of a storage of a given size comes to."""

    offset: int
    """Byte offset of the first element in the storage."""

    strides: tuple[int, ...] | None
    measures: tuple[int, int, int]
    """Elements, bytes, and bytes from the first to the last."""


def _geometry(built: Rebuilt, storage: Storage) -> Geometry | None:
    if built.fault is not None or built.ref.source is None:
        return None
    ref = built.ref
    measures = (ref.elements, ref.nbytes, ref.dtype.span(ref.span_elements))
    return Geometry(built.start - storage.start, ref.strides, measures)


class TensorRebuilder:
    """Reads tensor records of one file."""

    def __init__(self, storages: StorageFinder) -> None:
        self._storages = storages
        self._geometries: dict[tuple[object, ...], Geometry | None] = {}

    def plan(self, call: TensorCall) -> tuple[Storage, Geometry] | None:
        """Storage and geometry of a tensor record of the usual form, where nothing is wrong with it;
        None to have `rebuild` find out what is. Checkpoints repeat their shapes, so geometries are kept.
        """
        try:
            storage = self._storages.find_parts(call.storage_class, call.key, call.location, call.numel)
        except BadTensor:
            return None
        if storage.source is None:
            return None
        key = (storage.dtype.name, storage.nbytes, call.storage_offset, call.size, call.stride)
        if key in self._geometries:
            geometry = self._geometries[key]
        else:
            geometry = self._geometries[key] = _geometry(self.rebuild(call), storage)
        return None if geometry is None else (storage, geometry)

    def rebuild(self, record: object) -> Rebuilt:
        """The tensor a record describes. Fields that contradict each other give a tensor without
        values whose `fault` says why; only a record that tells not even a shape raises.

        Raises:
            BadTensor: nothing can be told about the tensor.
        """
        if isinstance(record, TensorCall):
            storage = self._storages.find_parts(
                record.storage_class, record.key, record.location, record.numel
            )
            return strided_view(
                storage,
                storage.dtype,
                record.storage_offset,
                record.size,
                record.stride,
                record.requires_grad,
            )
        depth = 0
        wrappers: list[Callable[[Rebuilt], Rebuilt]] = []
        while True:
            found = self._step(record)
            if isinstance(found, Rebuilt):
                for wrap in reversed(wrappers):
                    found = wrap(found)
                return found
            record, wrap = found
            wrappers.append(wrap)
            depth += 1
            if depth > _MAX_WRAPPERS:
                raise BadTensor("tensor-nesting", f"it is wrapped more than {_MAX_WRAPPERS} times")

    def _step(self, record: object) -> Rebuilt | tuple[object, Callable[[Rebuilt], Rebuilt]]:
        """One layer: a tensor, or the record inside with what to do to its result."""
        if isinstance(record, TensorCall):
            return self.rebuild(record)
        if not isinstance(record, Call) or not is_tensor(record):
            raise BadTensor("tensor-arguments", "a tensor is expected here, and something else is stored")
        assert isinstance(record.function, Global)
        if not isinstance(record.args, tuple):
            raise BadTensor("tensor-arguments", f"the arguments of {record.function.name} are not a tuple")
        reader = _FUNCTIONS[record.function.module, record.function.name]
        return reader(self, record, record.args)

    def strided(self, args: tuple[object, ...]) -> Rebuilt:
        """`(storage, offset, size, stride[, requires_grad, hooks[, metadata]])`."""
        storage = self._storages.find(_argument(args, 0))
        built = strided_view(storage, storage.dtype, args[1], *_size_and_stride(args), _flag(args, 4))
        return _with_lazy_bits(built, args[6] if len(args) > 6 else None)

    def strided_with_dtype(self, args: tuple[object, ...]) -> Rebuilt:
        """`(storage, offset, size, stride, requires_grad, hooks, dtype[, metadata])`, untyped storage."""
        storage = self._storages.find(_argument(args, 0))
        dtype = _dtype(_argument(args, 6))
        size, stride = _size_and_stride(args)
        if isinstance(args[6], Global) and args[6].name == "float4_e2m1fn_x2":
            return _view_of_pairs(storage, dtype, args[1], size, stride, _flag(args, 4))
        built = strided_view(storage, dtype, args[1], size, stride, _flag(args, 4))
        return _with_lazy_bits(built, args[7] if len(args) > 7 else None)

    def quantised(self, args: tuple[object, ...]) -> Rebuilt:
        """`(storage, offset, size, stride, quantizer, requires_grad, hooks)`."""
        storage = self._storages.find(_argument(args, 0))
        built = strided_view(storage, storage.dtype, args[1], *_size_and_stride(args), _flag(args, 5))
        quantization, parts = _quantizer(_argument(args, 4), built.ref.shape)
        built.parts = parts
        if quantization is not None:
            built.ref = replace(built.ref, quantization=quantization)
        else:
            built.fault = BadTensor("quantizer", "its quantiser is not one that torch writes")
        return built


_MAX_WRAPPERS: Final = 16
_Reader = Callable[
    [TensorRebuilder, Call, tuple[object, ...]], "Rebuilt | tuple[object, Callable[[Rebuilt], Rebuilt]]"
]


def _argument(args: tuple[object, ...], index: int) -> object:
    if len(args) <= index:
        raise BadTensor("tensor-arguments", f"argument {index + 1} of its rebuild function is missing")
    return args[index]


def _flag(args: tuple[object, ...], index: int) -> bool | None:
    value = args[index] if len(args) > index else None
    return value if isinstance(value, bool) else None


_MAX_DIMENSIONS: Final = 128
"""Far beyond any model, and few enough that the number of elements can be printed."""


def dimensions(record: object) -> tuple[int, ...]:
    """A shape: a tuple, list or `torch.Size` of natural numbers; `BadTensor` otherwise."""
    if isinstance(record, Call) and isinstance(record.function, Global) and record.function.name == "Size":
        record = record.args[0] if isinstance(record.args, tuple) and record.args else record
    if isinstance(record, ListRecord):
        record = tuple(record.items)
    if not isinstance(record, tuple):
        raise BadTensor("tensor-shape", "its shape is not a tuple of numbers")
    if len(record) > _MAX_DIMENSIONS:
        raise BadTensor("tensor-shape", f"its shape has {len(record):,} dimensions")
    sizes = []
    for dimension in record:
        if not isinstance(dimension, int) or isinstance(dimension, bool) or not 0 <= dimension < 1 << 63:
            raise BadTensor("tensor-shape", "its shape has a dimension that is not a natural number")
        sizes.append(dimension)
    return tuple(sizes)


def _size_and_stride(args: tuple[object, ...]) -> tuple[object, object]:
    return _argument(args, 2), _argument(args, 3)


def _dtype(record: object) -> DType:
    dtype = torch_dtype(record)
    if dtype is None:
        raise BadTensor("tensor-dtype", f"{record!r} is no element type of torch")
    return dtype


def strided_view(
    storage: Storage, dtype: DType, offset: object, size: object, stride: object, requires_grad: bool | None
) -> Rebuilt:
    """A strided view of a storage, checked against its bounds in unbounded integers."""
    shape = dimensions(size)
    ref = TensorRef(None, 0, dtype, shape, problem=storage.problem)
    built = Rebuilt(ref, requires_grad=requires_grad, fault=storage.fault)
    try:
        strides = dimensions(stride)
        first = dimensions((offset,))[0]
        if len(strides) != len(shape):
            raise BadTensor("tensor-stride", f"it has {len(shape)} dimensions and {len(strides)} strides")
        span = span_of_view(shape, strides)
        available = storage.nbytes * 8 // dtype.bits
        if span and first + span > available:
            raise BadTensor(
                "view-outside-storage",
                f"it reaches to element {first + span:,} of a storage that holds {available:,}",
            )
    except BadTensor as fault:
        built.ref, built.fault = ref.without_values(fault.message), fault
        return built
    start = storage.start + first * dtype.bits // 8
    built.storage, built.start = storage.number, start
    built.ref = TensorRef(
        storage.source,
        first * dtype.bits // 8,
        dtype,
        shape,
        None if is_c_order(shape, strides) else strides,
        storage.byteorder,
        storage.problem,
    )
    return built


def _view_of_pairs(
    storage: Storage, dtype: DType, offset: object, size: object, stride: object, requires_grad: bool | None
) -> Rebuilt:
    """float4_e2m1fn_x2: torch counts pairs; the logical last dimension is twice as long."""
    built = strided_view(storage, UNTYPED, offset, size, stride, requires_grad)
    shape = built.ref.shape
    logical = (*shape[:-1], 2 * shape[-1]) if shape else (2,)
    problem = built.ref.problem
    if problem is None and built.ref.strides is not None:
        problem = "its pairs of 4-bit values are not stored in order, which is not decoded"
    built.ref = replace(built.ref, dtype=dtype, shape=logical, strides=None)
    if problem is not None:
        built.ref = built.ref.without_values(problem)
    return built


def _with_lazy_bits(built: Rebuilt, metadata: object) -> Rebuilt:
    """A conjugated or negated view stores the values before that operation; readers of values do it."""
    bits = (
        {key for key, value in metadata.pairs if value is True and isinstance(key, str)}
        if isinstance(metadata, DictRecord)
        else set()
    )
    pending = tuple(sorted(bits & {"conj", "neg"}))
    if pending:
        built.ref = replace(built.ref, pending=pending)
    return built


def _quantizer(
    record: object, shape: tuple[int, ...]
) -> tuple[dict[str, object] | None, tuple[tuple[str, object], ...]]:
    """`(scheme, scale, zero_point)` or `(scheme, scales, zero_points, axis)`: what it says, and the
    tensors among it.
    """
    if not isinstance(record, tuple) or not record or not isinstance(record[0], Global):
        return None, ()
    scheme = record[0].name
    if scheme == "per_tensor_affine" and len(record) == 3:
        return {"scheme": scheme, "scale": record[1], "zero_point": record[2]}, ()
    if not scheme.startswith("per_channel_affine") or len(record) != 4:
        return None, ()
    axis = record[3]
    if type(axis) is not int or not 0 <= axis < max(1, len(shape)):
        return None, ()
    parts = (("scales", record[1]), ("zero_points", record[2]))
    return {"scheme": scheme, "axis": axis}, tuple(part for part in parts if is_tensor(part[1]))


# --- the functions, one reader each ---


def _strided(rebuilder: TensorRebuilder, _: Call, args: tuple[object, ...]) -> Rebuilt:
    return rebuilder.strided(args)


def _strided_with_dtype(rebuilder: TensorRebuilder, _: Call, args: tuple[object, ...]) -> Rebuilt:
    return rebuilder.strided_with_dtype(args)


def _quantised(rebuilder: TensorRebuilder, _: Call, args: tuple[object, ...]) -> Rebuilt:
    return rebuilder.quantised(args)


def _parameter(
    _: TensorRebuilder, __: Call, args: tuple[object, ...]
) -> tuple[object, Callable[[Rebuilt], Rebuilt]]:
    return _argument(args, 0), lambda built: replace(built, is_parameter=True, requires_grad=_flag(args, 1))


def _from_type(
    _: TensorRebuilder, call: Call, args: tuple[object, ...]
) -> tuple[object, Callable[[Rebuilt], Rebuilt]]:
    """`(function, type, args, state)`: a subclass, or a tensor with attributes of its own."""
    inner = Call("reduce", _argument(args, 0), _argument(args, 2), call.offset)
    state = args[3] if len(args) > 3 else MISSING

    def wrap(built: Rebuilt) -> Rebuilt:
        kind = args[1]
        named = isinstance(kind, Global) and kind.qualified.endswith("parameter.Parameter")
        return replace(
            built,
            is_parameter=built.is_parameter or named,
            parts=built.parts or tensors_in_state(state),
        )

    return inner, wrap


def _wrapper_subclass(_: TensorRebuilder, call: Call, args: tuple[object, ...]) -> Rebuilt:
    """`(class, dtype, size, stride, storage_offset, layout, device, requires_grad)`: a tensor without
    storage of its own; what it wraps lies in the state.
    """
    name = args[0].name if args and isinstance(args[0], Global) else "tensor subclass"
    ref = TensorRef(
        None,
        0,
        _dtype(_argument(args, 1)),
        dimensions(_argument(args, 2)),
        problem=f"it is a {name}: the values are those of the tensors it wraps, listed under it",
    )
    return Rebuilt(ref, requires_grad=_flag(args, 7), parts=tensors_in_state(call.state))


def _sparse(rebuilder: TensorRebuilder, __: Call, args: tuple[object, ...]) -> Rebuilt:
    """`(layout, (indices, values, size, ...))` or `(layout, (compressed, plain, values, size))`."""
    layout, fields = _layout_name(_argument(args, 0)), _argument(args, 1)
    names = ("indices", "values") if layout == "sparse_coo" else _compressed_names(layout)
    if not isinstance(fields, tuple) or len(fields) <= len(names):
        raise BadTensor("tensor-arguments", f"the fields of a {layout} tensor are incomplete")
    parts = tuple((name, field) for name, field in zip(names, fields, strict=False) if is_tensor(field))
    ref = TensorRef(
        None,
        0,
        _dtype_of_part(rebuilder, dict(parts).get("values")),
        dimensions(fields[len(names)]),
        problem=f"it is {layout}: its stored values and indices are listed under it",
    )
    return Rebuilt(ref, parts=parts)


def _compressed_names(layout: str) -> tuple[str, str, str]:
    if layout in ("sparse_csc", "sparse_bsc"):
        return ("ccol_indices", "row_indices", "values")
    return ("crow_indices", "col_indices", "values")


def _layout_name(record: object) -> str:
    if isinstance(record, Call) and isinstance(record.args, tuple) and record.args:
        record = record.args[0]
    if isinstance(record, Global):
        record = record.name
    known = ("sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc")
    name = record.removeprefix("torch.") if isinstance(record, str) else ""
    if name not in known:
        raise BadTensor("tensor-layout", "its sparse layout is not one that torch writes")
    return name


def _meta(_: TensorRebuilder, __: Call, args: tuple[object, ...]) -> Rebuilt:
    """`(dtype, size, stride, requires_grad)`."""
    ref = TensorRef(
        None,
        0,
        _dtype(_argument(args, 0)),
        dimensions(_argument(args, 1)),
        problem="it was saved on the meta device: the file holds a shape and no values",
    )
    return Rebuilt(ref, requires_grad=_flag(args, 3))


def _nested(rebuilder: TensorRebuilder, __: Call, args: tuple[object, ...]) -> Rebuilt:
    """`(buffer, sizes, strides, offsets)`: a ragged tensor."""
    names = ("buffer", "sizes", "strides", "offsets")
    parts = tuple((name, field) for name, field in zip(names, args, strict=False) if is_tensor(field))
    return _ragged(rebuilder, parts)


def _jagged(rebuilder: TensorRebuilder, __: Call, args: tuple[object, ...]) -> Rebuilt:
    """`(constructor arguments as a dict)`: a jagged nested tensor."""
    return _ragged(rebuilder, tensors_in_state(_argument(args, 0)))


def _ragged(rebuilder: TensorRebuilder, parts: tuple[tuple[str, object], ...]) -> Rebuilt:
    if not parts:
        raise BadTensor("tensor-arguments", "it is a nested tensor without the tensors it is made of")
    dtype = _dtype_of_part(rebuilder, parts[0][1])
    problem = "it is ragged: the tensors it is made of are listed under it"
    return Rebuilt(TensorRef(None, 0, dtype, (), problem=problem), parts=parts)


def _dtype_of_part(rebuilder: TensorRebuilder, part: object) -> DType:
    """Element type of a plain strided part. Anything more particular stays unknown: asking it could
    recurse as deep as the file likes.
    """
    if isinstance(part, TensorCall) or (
        isinstance(part, Call)
        and isinstance(part.function, Global)
        and part.function.name in ("_rebuild_tensor_v2", "_rebuild_tensor_v3")
    ):
        return rebuilder.rebuild(part).ref.dtype
    return opaque("unknown", 0)


def _from_cpu_tensor(
    _: TensorRebuilder, __: Call, args: tuple[object, ...]
) -> tuple[object, Callable[[Rebuilt], Rebuilt]]:
    """`(data, dtype, device, requires_grad)`: copied from the device into a plain tensor."""
    return _argument(args, 0), lambda built: replace(built, requires_grad=_flag(args, 3))


def tensors_in_state(state: object) -> tuple[tuple[str, object], ...]:
    """Named tensors among the attributes of an object (`__dict__`, or a pair of it and slots)."""
    states = state.states if isinstance(state, Builds) else [state]
    found: list[tuple[str, object]] = []
    for one in states:
        for record in one if isinstance(one, tuple) else (one,):
            if isinstance(record, DictRecord):
                found += [
                    (key, value) for key, value in record.pairs if isinstance(key, str) and is_tensor(value)
                ]
    return tuple(found)


_FUNCTIONS: Final[dict[tuple[str, str], _Reader]] = {
    ("torch._utils", "_rebuild_tensor"): _strided,
    ("torch._utils", "_rebuild_tensor_v2"): _strided,
    ("torch._utils", "_rebuild_tensor_v3"): _strided_with_dtype,
    ("torch._utils", "_rebuild_qtensor"): _quantised,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._utils", "_rebuild_sparse_tensor"): _sparse,
    ("torch._utils", "_rebuild_sparse_csr_tensor"): _sparse,
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _meta,
    ("torch._utils", "_rebuild_nested_tensor"): _nested,
    ("torch._utils", "_rebuild_wrapper_subclass"): _wrapper_subclass,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _from_cpu_tensor,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch._tensor", "_rebuild_from_type"): _from_type,
    ("torch.tensor", "_rebuild_from_type"): _from_type,
    ("torch.nested._internal.nested_tensor", "_rebuild_njt"): _jagged,
}
