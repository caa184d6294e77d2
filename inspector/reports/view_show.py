"""How `show` is laid out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ...readers.units import format_bytes, format_count, format_shape
from ...readers.untrusted import printable
from ..analysis.shared_tensors import SharedSet
from ..analysis.summary import ImportData, LargeData, Summary
from .blocks import Block, Cell, Column, Facts, Remark, Remarks, Report, Rows, Share, Table
from .common_blocks import (
    counted,
    dtype_block,
    findings_block,
    layer_block,
    section_block,
    settings_block,
    title,
)

SCHEMA: Final = "paraminspect/show/1"
MAX_SHARED: Final = 10
_MAX_NAMES: Final = 4
_MAX_IMPORTS: Final = 12


def report(summary: Summary) -> Report:
    """The report of one checkpoint."""
    return Report({**summary}, lambda: _blocks(summary), lambda: _rows(summary))


def _blocks(summary: Summary) -> Iterator[Block]:
    whole = summary["totals"]
    yield title(summary)
    if summary["findings"] and not summary["complete"]:
        yield findings_block(summary["findings"])
    yield Facts(_headline(summary))
    if len(summary["sections"]) > 1:
        yield section_block(summary["sections"], whole, summary["sections_inferred"])
    if summary["dtypes"]:
        yield dtype_block(summary["dtypes"], whole)
    if summary["layers"]:
        yield layer_block(summary["layers"], whole)
    if summary["largest"]:
        yield _largest(summary["largest"], whole["nbytes"])
    if summary["shared"]:
        yield _shared(summary["shared"])
    for name, settings in (
        ("Progress", summary["progress"]),
        ("Hyperparameters", summary["hyperparameters"]),
        ("Metadata", summary["metadata"]),
    ):
        block = settings_block(name, settings)
        if block is not None:
            yield block
    if summary["imports"]:
        yield _imports(summary["imports"])
    if summary["findings"] and summary["complete"]:
        yield findings_block(summary["findings"])


def _headline(summary: Summary) -> list[tuple[str, str]]:
    parameters, whole = summary["parameters"], summary["totals"]
    short = format_count(parameters)
    exact = f" ({parameters:,})" if parameters >= 1000 else ""
    pairs = [("parameters", f"{short}{exact}{_of_model(summary)}")]
    pairs += [("packed", text) for text in _packed(summary)]
    pairs += [("trainable", text) for text in _trainable(summary)]
    pairs.append(("tensors", f"{whole['tensors']:,}, {format_bytes(whole['nbytes'])} of values"))
    if whole["repeated_nbytes"]:
        pairs.append(
            ("shared", f"{format_bytes(whole['repeated_nbytes'])} are used more than once and counted once")
        )
    if summary["without_values"]:
        pairs.append(("no values", f"{counted(summary['without_values'], 'tensor')} listed without values"))
    return pairs


def _of_model(summary: Summary) -> str:
    """What the headline leaves out, if anything."""
    others = [row["section"] for row in summary["sections"] if row["section"] != "model"]
    if not others:
        return " (section inferred from names)" if summary["sections_inferred"] else ""
    if all(row["section"] != "model" for row in summary["sections"]):
        return f": no tensor is of the model section, only {', '.join(others)}"
    return f" in the model section; not counted: {', '.join(others)}"


def _packed(summary: Summary) -> Iterator[str]:
    for packed in summary["packed"]:
        yield (
            f"{format_count(packed['parameters'])} logical parameters stand in "
            f"{format_count(packed['elements'])} stored elements of {counted(packed['tensors'], 'tensor')} "
            f"({printable(packed['basis'])})"
        )


def _trainable(summary: Summary) -> Iterator[str]:
    flags = summary["trainable"]
    known = flags["trainable"] or flags["frozen"]
    if known:
        unknown = f", {format_count(flags['unknown'])} not recorded" if flags["unknown"] else ""
        yield f"{format_count(flags['trainable'])} trainable, {format_count(flags['frozen'])} frozen{unknown}"
    elif summary["parameters"]:
        yield "not recorded in this file"


def _largest(largest: Sequence[LargeData], whole: int) -> Table:
    columns = (
        Column("name", code=True, flexible=True),
        Column("shape", dispensable=True),
        Column("dtype", style="type"),
        Column("each", right=True),
        Column("together", right=True),
        Column("share", dispensable=True),
    )
    rows: list[list[Cell]] = [
        [
            printable(row["name"]) + (f" ({row['count']:,}x)" if row["count"] > 1 else ""),
            format_shape(tuple(row["shape"])),
            printable(row["label"], 24),
            format_bytes(row["nbytes"]),
            format_bytes(row["nbytes_together"]),
            Share(row["nbytes_together"], whole),
        ]
        for row in largest
    ]
    return Table(columns, rows, "Largest tensors")


def _shared(sets: Sequence[SharedSet]) -> Remarks:
    items = []
    for shared in sets[:MAX_SHARED]:
        names = ", ".join(printable(name, 120) for name in shared["names"][:_MAX_NAMES])
        more = len(shared["names"]) - _MAX_NAMES
        names += f", … {more:,} more" if more > 0 else ""
        label = "tied" if shared["kind"] == "same" else "overlapping"
        items.append(Remark(label, f"{names} · {format_bytes(shared['nbytes'])}", "type"))
    more = len(sets) - MAX_SHARED
    return Remarks(items, "Shared tensors", f"… {more:,} more sets in --format json" if more > 0 else "")


def _imports(imports: Sequence[ImportData]) -> Remarks:
    names = list(dict.fromkeys(f"{entry['module']}.{entry['name']}" for entry in imports))
    shown = ", ".join(printable(name, 80) for name in names[:_MAX_IMPORTS])
    more = f", … {len(names) - _MAX_IMPORTS:,} more" if len(names) > _MAX_IMPORTS else ""
    return Remarks([Remark("", shown + more)], "Named by the pickle (nothing was imported)")


def _rows(summary: Summary) -> Rows:
    header = (
        "layer", "depth", "kind", "repeats", "tensors", "parameters", "elements", "nbytes",
        "repeated_nbytes", "dtypes", "shape",
    )  # fmt: skip
    return Rows(
        header,
        (
            (
                row["name"],
                row["depth"],
                row["kind"],
                row["repeats"],
                row["totals"]["tensors"],
                row["totals"]["parameters"],
                row["totals"]["elements"],
                row["totals"]["nbytes"],
                row["totals"]["repeated_nbytes"],
                " ".join(row["dtypes"]),
                row["shape"],
            )
            for row in summary["layers"]
        ),
    )
