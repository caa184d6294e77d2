"""`paraminspect ls MODEL`: the table of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...readers import COLUMN_NAMES, Checkpoint, ParameterTable
from ...readers.untrusted import printable
from ..analysis.listing import (
    DEFAULT_COLUMNS,
    GROUP_COLUMNS,
    LISTED_COLUMNS,
    Listing,
    list_groups,
    list_tensors,
)
from ..exits import ExitCode
from ..reports.view_ls import SCHEMA, report
from .models import Settings, run, tell

if TYPE_CHECKING:
    import click

EXAMPLES = """
paraminspect ls model.safetensors --sort nbytes --descending --limit-rows 20
paraminspect ls model.safetensors --match '*.bias' --match '*norm*'
paraminspect ls checkpoint.pt --section optimizer --group 2
paraminspect ls model.safetensors --group dtype --sort nbytes --descending
paraminspect ls model.safetensors --columns name,role,shape --format csv -o tensors.csv
"""


class Query(NamedTuple):
    """What to list."""

    match: Sequence[str] = ()
    section: Sequence[str] = ()
    dtype: Sequence[str] = ()
    columns: Sequence[str] = DEFAULT_COLUMNS
    group: str | int | None = None
    sort: str | None = None
    descending: bool = False
    limit_rows: int | None = None


def ls(models: Sequence[str], settings: Settings | None = None, query: Query | None = None) -> ExitCode:
    """List the tensors of each model in turn."""
    wanted = query or Query()
    return run(
        models,
        settings or Settings(),
        SCHEMA,
        lambda checkpoint: report(_listing(checkpoint, wanted)),
    )


def _listing(checkpoint: Checkpoint, query: Query) -> Listing:
    matched = checkpoint.parameters.filter(
        query.match or None, section=query.section or None, dtype=query.dtype or None
    )
    if not len(matched) and len(checkpoint.parameters):
        tell(
            f"{printable(checkpoint.location)}: no tensor matches{_dtype_hint(checkpoint.parameters, query)}"
        )
    if query.group is not None:
        return list_groups(
            checkpoint, matched, by=query.group, sort=query.sort, descending=query.descending,
            limit=query.limit_rows,
        )  # fmt: skip
    return list_tensors(
        checkpoint, matched, columns=query.columns, sort=query.sort, descending=query.descending,
        limit=query.limit_rows,
    )  # fmt: skip


def _dtype_hint(table: ParameterTable, query: Query) -> str:
    labels = list(dict.fromkeys(dtype.label for dtype in table.dtypes))
    known = {dtype.name for dtype in table.dtypes} | set(labels)
    if all(name in known for name in query.dtype):
        return ""
    return f"; its dtypes are {', '.join(printable(label, 24) for label in labels[:20])}"


def command() -> click.Command:
    """The click command."""
    import click

    from ...readers import Section
    from .options import ColumnList, ColumnName, GroupBy, settings_options, verb

    @verb("ls", EXAMPLES)
    @click.option("--match", multiple=True, metavar="GLOB", help="Names that match; * also crosses dots.")
    @click.option(
        "--section", multiple=True, type=click.Choice([section.value for section in Section]),
        help="Only this section; may be repeated.",
    )  # fmt: skip
    @click.option(
        "--dtype", multiple=True, metavar="NAME", help="Only this dtype (bf16 or bfloat16); may be repeated."
    )
    @click.option(
        "--columns", type=ColumnList(LISTED_COLUMNS), default=",".join(DEFAULT_COLUMNS), metavar="A,B,...",
        show_default=True, help=f"Columns to list, or all: {', '.join(LISTED_COLUMNS)}.",
    )  # fmt: skip
    @click.option(
        "--group", type=GroupBy(COLUMN_NAMES), metavar="N|COLUMN",
        help="One row for each group: by the first N parts of the name, or by a column.",
    )  # fmt: skip
    @click.option(
        "--sort", type=ColumnName([*COLUMN_NAMES, *GROUP_COLUMNS[:2], GROUP_COLUMNS[-1]]),
        metavar="COLUMN", help="Sort by this column; without it, in the file's order.",
    )  # fmt: skip
    @click.option("--descending/--ascending", help="Largest first, or smallest first (the default).")
    @click.option("--limit-rows", type=click.IntRange(0), metavar="N", help="List at most N rows.")
    @settings_options
    def ls_command(models: tuple[str, ...], settings: Settings, **options: object) -> int:
        """List the tensors of each MODEL: name, dtype, shape, parameters, bytes."""
        query = Query(**options)  # type: ignore[arg-type]
        allowed = COLUMN_NAMES if query.group is None else GROUP_COLUMNS
        if query.sort is not None and query.sort not in allowed:
            kind = "tensors" if query.group is None else "groups"
            raise click.UsageError(f"{kind} cannot be sorted by {query.sort!r}, only by {', '.join(allowed)}")
        return ls(models, settings, query)

    return ls_command
