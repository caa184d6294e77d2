"""Sums as plain data: the form in which every face shows a total."""

from __future__ import annotations

from typing import TypedDict

from ...readers import Totals


class TotalsData(TypedDict):
    """Sums over some tensors; bytes that several of them use are counted once."""

    tensors: int
    parameters: int
    """Logical parameters: packed weights unpacked."""

    elements: int
    """Stored elements."""

    nbytes: int
    """Bytes on disk."""

    repeated_nbytes: int
    """Bytes that a further tensor uses again (tied weights, views); not part of `nbytes`."""


def totals_data(totals: Totals) -> TotalsData:
    """The plain form of a table's totals."""
    return TotalsData(
        tensors=totals.tensors,
        parameters=totals.parameters,
        elements=totals.elements,
        nbytes=totals.nbytes,
        repeated_nbytes=totals.repeated_nbytes,
    )
