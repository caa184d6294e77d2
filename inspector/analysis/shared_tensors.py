"""Tied and shared tensors: which names stand for the same bytes."""

from __future__ import annotations

from typing import TypedDict

from ...readers import ParameterTable


class SharedSet(TypedDict):
    """Tensors that use some of the same bytes."""

    names: list[str]
    kind: str
    """`same` when all use exactly the same bytes with one dtype and shape (tied weights); `overlapping`
    when some are views of others' parts."""

    nbytes: int
    """Bytes on disk that the set takes, each counted once."""

    repeated_nbytes: int
    """Bytes that would be added if each tensor had its own copy."""


def shared_sets(table: ParameterTable) -> list[SharedSet]:
    """Sets of tensors with common bytes, the one that saves most first."""
    sets = []
    for rows in table.overlaps:
        taken = table.take(rows)
        totals = taken.totals()
        first = (taken.dtypes[0], taken.shapes[0], taken.nbytes[0])
        same = totals.nbytes == taken.nbytes[0] and all(
            own == first for own in zip(taken.dtypes, taken.shapes, taken.nbytes, strict=True)
        )
        sets.append(
            SharedSet(
                names=taken.names,
                kind="same" if same else "overlapping",
                nbytes=totals.nbytes,
                repeated_nbytes=totals.repeated_nbytes,
            )
        )
    return sorted(sets, key=lambda shared: -shared["repeated_nbytes"])
