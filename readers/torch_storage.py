"""Storages: the runs of bytes that torch tensors are views of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from .dtypes import DType
from .records import PersistentId
from .source import ByteSource
from .tensor import ByteOrder
from .torch_types import UNTYPED, storage_dtype


class BadTensor(Exception):
    """The fields of one tensor or storage contradict each other; never leaves the readers.

    The tensor is listed without values and the message becomes a finding.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StorageId(NamedTuple):
    """What a persistent id says about a storage."""

    dtype: DType
    key: str
    location: str
    numel: int
    """Elements of the storage class; bytes for untyped and for packed quantised storages."""

    @property
    def nbytes(self) -> int:
        """Bytes the storage should hold."""
        unit = 1 if self.dtype.is_packed else self.dtype.bits // 8
        return self.numel * unit


@dataclass(slots=True)
class Storage:
    """A storage and where its bytes are. Never changed once made."""

    number: int
    """Identity within the file; tensors of equal number share bytes."""

    dtype: DType
    source: ByteSource | None
    """The storage's bytes from its first one; None when there are none (see `problem`)."""

    nbytes: int
    byteorder: ByteOrder = "little"
    problem: str | None = None
    """Why it has no bytes, or None."""

    fault: BadTensor | None = None
    """Set where it should have bytes and has not."""

    start: int = 0
    """Byte offset in the shared bytes, for a storage that is a view of another."""

    @classmethod
    def failing(cls, number: int, dtype: DType, nbytes: int, fault: BadTensor) -> Storage:
        """A storage whose bytes are missing or wrong; its tensors are listed without values."""
        return cls(number, dtype, None, nbytes, problem=fault.message, fault=fault)


class StorageFinder(Protocol):
    """How one container finds the bytes of a storage."""

    def find(self, record: object) -> Storage:
        """The storage a record stands for.

        Raises:
            BadTensor: the record is no storage, or contradicts another one.
        """
        ...

    def find_parts(self, storage_class: object, key: str, location: str, numel: int) -> Storage:
        """The same for an id already taken apart."""
        ...


def storage_id(record: object) -> tuple[StorageId, object]:
    """Take a storage's persistent id apart: `("storage", class, key, location, numel[, view])`.

    Returns:
        The id, and the view metadata of old files (None without).
    """
    value = record.value if isinstance(record, PersistentId) else None
    if not isinstance(value, tuple) or len(value) not in (5, 6) or not _is_word(value[0], "storage"):
        raise BadTensor("storage-id", "the reference to its storage is not one that torch writes")
    _, storage_class, key, location, numel = value[:5]
    return checked_id(storage_class, key, location, numel), value[5] if len(value) == 6 else None


def checked_id(storage_class: object, key: object, location: object, numel: object) -> StorageId:
    """A storage id whose fields have the right types; `BadTensor` otherwise."""
    dtype = storage_dtype(storage_class)
    if dtype is None:
        raise BadTensor("storage-class", f"{storage_class!r} is no storage class of torch")
    if type(key) is int:
        key = str(key)
    if not isinstance(key, str) or not isinstance(location, str):
        raise BadTensor("storage-id", "the key or location of its storage is not text")
    if type(numel) is not int or not 0 <= numel < 1 << 63:
        raise BadTensor("storage-size", "the element count of its storage is not a natural number")
    return StorageId(dtype, key, location, numel)


def _is_word(value: object, word: str) -> bool:
    return isinstance(value, str) and value == word


class KnownStorages:
    """Storages by key, and the rule that a key means one storage only."""

    def __init__(self) -> None:
        self.by_key: dict[str, tuple[StorageId | tuple[DType, str, str, int], Storage]] = {}
        """In the order in which keys were first seen; ids may be plain tuples."""

    def get(self, wanted: StorageId) -> Storage | None:
        """The storage already made for this key, or None.

        Raises:
            BadTensor: the key was used with another class, size or location.
        """
        known = self.by_key.get(wanted.key)
        if known is None:
            return None
        first, storage = StorageId(*known[0]), known[1]
        # A location may differ in spelling only for the same bytes; class and size may not.
        if first != wanted and not _same_bytes(first, wanted):
            raise BadTensor(
                "storage-conflict",
                f"its storage {wanted.key!r} is declared twice: {first.numel:,} of {first.dtype} on "
                f"{first.location!r}, then {wanted.numel:,} of {wanted.dtype} on {wanted.location!r}",
            )
        return storage if first.dtype is wanted.dtype else replace(storage, dtype=wanted.dtype)

    def put(self, wanted: StorageId, storage: Storage) -> Storage:
        """Remember and return a storage."""
        self.by_key[wanted.key] = (wanted, storage)
        return storage


def _same_bytes(first: StorageId, second: StorageId) -> bool:
    """torch writes one storage under two classes when one of them is untyped."""
    return (
        UNTYPED in (first.dtype, second.dtype)
        and first.nbytes == second.nbytes
        and first.location == second.location
    )
