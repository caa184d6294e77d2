"""Tensors and arrays as pickles describe them: torch's rebuild calls and numpy's."""

from __future__ import annotations

from .numpy_pickle import is_array, rebuild_array
from .records import TensorCall
from .source import ByteSource
from .torch_rebuild import Geometry, Rebuilt, TensorRebuilder, is_tensor
from .torch_storage import BadTensor, Storage, StorageFinder


class PickledTensors:
    """Reads the tensor records of one pickle stream."""

    def __init__(self, storages: StorageFinder, stream_source: ByteSource) -> None:
        self._rebuilder = TensorRebuilder(storages)
        self._source = stream_source

    def is_tensor(self, record: object) -> bool:
        """Whether a record describes a tensor or an array."""
        return is_tensor(record) or is_array(record)

    def plan(self, call: TensorCall) -> tuple[Storage, Geometry] | None:
        """Storage and geometry of a flawless tensor of the usual form, else None."""
        return self._rebuilder.plan(call)

    def rebuild(self, record: object) -> Rebuilt:
        """The tensor or array. Raises `BadTensor` when nothing can be told about it."""
        if is_tensor(record):
            return self._rebuilder.rebuild(record)
        return rebuild_array(record, self._source)


class NoStorages:
    """For pickles that have no storages: any reference to one is a fault."""

    def find(self, _: object) -> Storage:
        """Always a fault."""
        raise BadTensor("storage-id", "it refers to a storage, and this file has none")

    def find_parts(self, _storage_class: object, key: str, _location: str, _numel: int) -> Storage:
        """Always a fault."""
        raise BadTensor("storage-id", f"it refers to storage {key!r}, and this file has none")
