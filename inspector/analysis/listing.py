"""The rows that `ls` prints: filtered, sorted or grouped, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...readers import COLUMN_NAMES, Checkpoint, ParameterTable
from ...readers.ordering import natural_key
from .figures import TotalsData, totals_data
from .summary import FindingData, Identity, finding_data, identity

GROUP_COLUMNS: Final = ("key", "tensors", "parameters", "elements", "nbytes", "repeated_nbytes")
"""The columns of a grouped listing."""

DEFAULT_COLUMNS: Final = ("name", "dtype", "shape", "parameters", "nbytes")

LISTED_COLUMNS: Final = (*COLUMN_NAMES, "section_inferred", "parameters_basis")
"""The columns of a listing of tensors."""


class Listing(Identity):
    """Everything `ls` tells."""

    columns: list[str]
    grouped_by: str | int | None
    sorted_by: str | None
    descending: bool
    rows: list[list[object]]
    """One list a row, in the order of `columns`."""

    omitted_rows: int
    """Rows that matched and were cut off by the row limit."""

    matched: TotalsData
    """Over every tensor that matched, listed or not."""

    all: TotalsData
    """Over the whole checkpoint."""

    findings: list[FindingData]


def list_tensors(
    checkpoint: Checkpoint,
    matched: ParameterTable,
    *,
    columns: Sequence[str] = DEFAULT_COLUMNS,
    sort: str | None = None,
    descending: bool = False,
    limit: int | None = None,
) -> Listing:
    """One row a tensor.

    Args:
        checkpoint: an open one.
        matched: the rows of its table to list.
        columns: names out of `LISTED_COLUMNS`.
        sort: one of `COLUMN_NAMES`, or None for the file's order.
        descending: the largest first.
        limit: rows to list, None for all.
    """
    table = matched if sort is None else matched.sort(sort, descending=descending)
    shown = table if limit is None else table[:limit]
    lists = [_plain_column(shown, name) for name in columns]
    return Listing(
        **identity(checkpoint),
        columns=list(columns),
        grouped_by=None,
        sorted_by=sort,
        descending=descending,
        rows=[list(row) for row in zip(*lists, strict=True)],
        omitted_rows=len(table) - len(shown),
        matched=totals_data(matched.totals()),
        all=totals_data(checkpoint.parameters.totals()),
        findings=finding_data(checkpoint.findings),
    )


def list_groups(
    checkpoint: Checkpoint,
    matched: ParameterTable,
    *,
    by: str | int,
    sort: str | None = None,
    descending: bool = False,
    limit: int | None = None,
) -> Listing:
    """One row a group of tensors.

    Args:
        checkpoint: an open one.
        matched: the rows of its table to group.
        by: a column, or the number of leading parts of the name.
        sort: one of `GROUP_COLUMNS`, or None for the order in which the groups first appear.
        descending: the largest first.
        limit: groups to list, None for all.
    """
    groups = [(group.key, totals_data(group.totals)) for group in matched.group(by)]
    if sort == "key":
        groups.sort(key=lambda group: natural_key(group[0]), reverse=descending)
    elif sort is not None:
        groups.sort(key=lambda group: _figure(group[1], sort), reverse=descending)
    shown = groups if limit is None else groups[:limit]
    return Listing(
        **identity(checkpoint),
        columns=list(GROUP_COLUMNS),
        grouped_by=by,
        sorted_by=sort,
        descending=descending,
        rows=[[key, *(_figure(totals, name) for name in GROUP_COLUMNS[1:])] for key, totals in shown],
        omitted_rows=len(groups) - len(shown),
        matched=totals_data(matched.totals()),
        all=totals_data(checkpoint.parameters.totals()),
        findings=finding_data(checkpoint.findings),
    )


def _figure(totals: TotalsData, name: str) -> int:
    return {key: value for key, value in totals.items() if isinstance(value, int)}[name]


def _plain_column(table: ParameterTable, name: str) -> list[object]:
    """A column as JSON has it."""
    rows = range(len(table))
    if name == "section_inferred":
        return list(map(table.section_is_inferred, rows))
    if name == "parameters_basis":
        return list(map(table.parameters_basis, rows))
    if name == "dtype":
        return [dtype.name for dtype in table.dtypes]
    if name == "shape":
        return list(map(list, table.shapes))
    if name == "section":
        return [section.value for section in table.sections]
    return list(table.values_of(name))
