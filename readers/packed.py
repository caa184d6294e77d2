"""How many parameters packed and quantised weights stand for."""

from __future__ import annotations

from collections.abc import Mapping

from .columns import Columns, LogicalCount


def logical_counts(columns: Columns) -> Mapping[int, LogicalCount]:
    """Rows whose logical count differs from their element count."""
    return {}
