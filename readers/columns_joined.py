"""Columns of several parts put one below the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, repeat
from typing import TypeVar

from .columns import Columns
from .tensor import TensorRef

Value = TypeVar("Value")


def joined(parts: Sequence[Columns], file_counts: Sequence[int]) -> Columns:
    """One table from several parts, made of `file_counts` files each: file indices go on from part to
    part, and storages stay apart.
    """
    ends = list(accumulate(len(part) for part in parts))
    first_files = accumulate(file_counts, initial=0)
    whole = Columns(
        names=_concatenated(part.names for part in parts),
        shapes=_concatenated(part.shapes for part in parts),
        dtypes=_concatenated(part.dtypes for part in parts),
        elements=_concatenated(part.elements for part in parts),
        nbytes=_concatenated(part.nbytes for part in parts),
        locate=_JoinedRows(parts, ends).locate,
        files=_concatenated(
            repeat(first, len(part)) if part.files is None else [first + index for index in part.files]
            for part, first in zip(parts, first_files, strict=False)
        ),
        sections=_joined_optional([part.sections for part in parts], parts),
        trainable=_joined_optional([part.trainable for part in parts], parts),
        owners=_joined_optional([part.owners for part in parts], parts),
        optimizer_groups=tuple(group for part in parts for group in part.optimizer_groups),
        in_module_order=all(part.in_module_order for part in parts),
        quantization=next((part.quantization for part in parts if part.quantization), None),
    )
    if any(part.paths is not None for part in parts):
        whole.paths = _concatenated(part.paths or [(name,) for name in part.names] for part in parts)
    if any(part.storages is not None for part in parts):
        _join_storages(whole, parts)
    return whole


def _join_storages(whole: Columns, parts: Sequence[Columns]) -> None:
    whole.storages, whole.starts, whole.spans = [], [], []
    first_free = 0
    own = -1
    for part in parts:
        storages = part.storages if part.storages is not None else [-1] * len(part)
        for storage in storages:
            whole.storages.append(storage + first_free if storage >= 0 else own)
            own -= storage < 0
        whole.starts += part.starts if part.starts is not None else [0] * len(part)
        whole.spans += part.spans if part.spans is not None else part.nbytes
        first_free += 1 + max(storages, default=-1)


@dataclass(frozen=True, slots=True)
class _JoinedRows:
    """Rows of several parts, found by number."""

    parts: Sequence[Columns]
    ends: list[int]

    def locate(self, row: int) -> TensorRef:
        index = bisect_right(self.ends, row)
        return self.parts[index].locate(row - (self.ends[index - 1] if index else 0))


def _concatenated(lists: Iterable[Iterable[Value]]) -> list[Value]:
    return list(chain.from_iterable(lists))


def _joined_optional(
    lists: Sequence[list[Value | None] | None], parts: Sequence[Columns]
) -> list[Value | None] | None:
    if all(values is None for values in lists):
        return None
    return _concatenated(
        values if values is not None else [None] * len(part)
        for values, part in zip(lists, parts, strict=True)
    )
