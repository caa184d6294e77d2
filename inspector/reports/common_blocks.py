"""Blocks that several reports share: the title, findings, the layer tree, totals by dtype and section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ...readers.units import format_bytes, format_count, format_shape
from ...readers.untrusted import VALUE_LIMIT, printable
from ..analysis.figures import TotalsData
from ..analysis.layer_tree import LayerRow
from ..analysis.summary import DTypeData, FindingData, Identity, SectionData
from .blocks import Branch, Cell, Column, Facts, Remark, Remarks, Share, Style, Table, Title

MAX_FINDINGS: Final = 20
MAX_SETTINGS: Final = 24
_SEVERITY_STYLES: Final[Mapping[str, Style]] = {"error": "error", "warning": "warning", "info": "faint"}
_TOTALS_COLUMNS: Final = (
    Column("tensors", right=True),
    Column("parameters", right=True),
    Column("bytes", right=True),
    Column("share", dispensable=True),
)


def title(identity: Identity) -> Title:
    """Location, format, files and size."""
    files = identity["files"]
    count = "1 file" if len(files) == 1 else f"{len(files):,} files"
    return Title(
        printable(identity["location"]),
        f"{printable(identity['format'])} · {count} · {format_bytes(identity['nbytes'])}",
        "" if identity["complete"] else "INCOMPLETE: what follows is not all there should be",
    )


def counted(count: int, singular: str) -> str:
    """`1 tensor`, `1,204 tensors`."""
    return f"{count:,} {singular}" if count == 1 else f"{count:,} {singular}s"


def findings_block(findings: Sequence[FindingData]) -> Remarks:
    """What the reader noticed, the worst first."""
    items = []
    for finding in findings[:MAX_FINDINGS]:
        where = [printable(finding["tensor"])] if finding["tensor"] else []
        where += [f"{printable(finding['path'])}"] if finding["path"] else []
        where += [f"byte {finding['offset']:,}"] if finding["offset"] is not None else []
        place = f" ({', '.join(where)})" if where else ""
        severity = finding["severity"]
        text = f"{printable(finding['message'], VALUE_LIMIT)}{place} [{finding['code']}]"
        items.append(Remark(severity, text, _SEVERITY_STYLES.get(severity, "")))
    more = len(findings) - MAX_FINDINGS
    return Remarks(items, "Findings", f"… {more:,} more in --format json" if more > 0 else "")


def section_block(sections: Sequence[SectionData], whole: TotalsData, inferred: int) -> Table:
    """Totals by section; `inferred` is the number of tensors whose section is a guess."""
    rows = [[row["section"], *totals_cells(row["totals"], whole)] for row in sections]
    note = "sections are inferred from names; this file does not record them"
    if 0 < inferred < whole["tensors"]:
        note = f"the section of {counted(inferred, 'tensor')} is inferred from its name"
    together = sum(row["totals"]["nbytes"] for row in sections)
    notes = [note] if inferred else []
    if together > whole["nbytes"]:
        notes.append(f"{format_bytes(together - whole['nbytes'])} are used by more than one section")
    return Table((Column("section"), *_TOTALS_COLUMNS), rows, "Sections", "; ".join(notes))


def dtype_block(dtypes: Sequence[DTypeData], whole: TotalsData) -> Table:
    """Totals by element type."""
    rows = [[row["label"], *totals_cells(row["totals"], whole)] for row in dtypes]
    return Table((Column("dtype", style="type"), *_TOTALS_COLUMNS), rows, "Memory by dtype")


def totals_cells(totals: TotalsData, whole: TotalsData) -> list[Cell]:
    """Tensors, parameters, bytes, share of the bytes."""
    return [
        f"{totals['tensors']:,}",
        format_count(totals["parameters"]),
        format_bytes(totals["nbytes"]),
        Share(totals["nbytes"], whole["nbytes"]),
    ]


def layer_block(layers: Sequence[LayerRow], whole: TotalsData) -> Table:
    """The layer tree with subtotals."""
    columns = (
        Column("layer", code=True, flexible=True),
        Column("shape", dispensable=True),
        Column("dtype", style="type"),
        Column("params", right=True),
        Column("bytes", right=True),
        Column("share", dispensable=True),
    )
    rows: list[list[Cell]] = [
        [
            Branch(layer_label(row), last),
            _shape(row),
            _dtypes(row["dtypes"]),
            format_count(row["totals"]["parameters"]),
            format_bytes(row["totals"]["nbytes"]),
            Share(row["totals"]["nbytes"], whole["nbytes"]),
        ]
        for row, last in zip(layers, _lasts(layers), strict=True)
    ]
    styles: list[Style] = [_layer_style(row) for row in layers]
    example = next((f"({row['repeats']:,}x)" for row in layers if row["repeats"] > 1), "")
    note = f"{example}: identical blocks; figures are sums over all of them, shapes are of one"
    return Table(columns, rows, "Layers", note if example else "", styles)


def layer_label(row: LayerRow) -> str:
    """`layers.0-31 (32x)`, `lm_head.weight (shared)`."""
    label = printable(row["label"]) or "(no name)"
    tied = " (shared)" if row["kind"] == "tensor" and row["shared"] else ""
    return f"{label} ({row['repeats']:,}x){tied}" if row["repeats"] > 1 else label + tied


def _layer_style(row: LayerRow) -> Style:
    if row["kind"] == "rest":
        return "faint"
    return "strong" if row["kind"] == "module" and row["depth"] == 1 else ""


def _shape(row: LayerRow) -> str:
    if row["shape"] is not None:
        return format_shape(tuple(row["shape"]))
    return counted(row["totals"]["tensors"], "tensor")


def _dtypes(labels: Sequence[str]) -> str:
    shown = printable(" ".join(labels[:2]), 24)
    return shown if len(labels) <= 2 else f"{shown} +{len(labels) - 2}"


def _lasts(layers: Sequence[LayerRow]) -> list[tuple[bool, ...]]:
    """For each row and each level down to it, whether the row's ancestor there is the last sibling."""
    lasts: list[tuple[bool, ...]] = [()] * len(layers)
    has_later: list[bool] = []
    for number in range(len(layers) - 1, -1, -1):
        depth = layers[number]["depth"]
        del has_later[depth:]
        has_later += [False] * (depth - len(has_later))
        lasts[number] = tuple(not later for later in has_later)
        has_later[depth - 1] = True
    return lasts


def settings_block(name: str, settings: Mapping[str, object]) -> Facts | None:
    """Nested settings as one line a value, or None when there are none."""
    if not settings:
        return None
    lines = flattened(settings, MAX_SETTINGS + 1)
    pairs = [(printable(key, 60), printable(value, 240)) for key, value in lines[:MAX_SETTINGS]]
    note = "… more in --format json" if len(lines) > MAX_SETTINGS else ""
    return Facts(pairs, name, note)


def flattened(settings: Mapping[str, object], limit: int) -> list[tuple[str, str]]:
    """`a.b.c` and the value's text, in order, at most `limit` of them."""
    lines: list[tuple[str, str]] = []
    pending: list[tuple[str, object]] = list(reversed([(str(key), value) for key, value in settings.items()]))
    while pending and len(lines) < limit:
        key, value = pending.pop()
        if isinstance(value, Mapping) and value:
            inner = [(f"{key}.{name}", item) for name, item in value.items()]
        elif isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, list)) for item in value):
            inner = [(f"{key}.{index}", item) for index, item in enumerate(value)]
        else:
            lines.append((key, _value_text(value)))
            continue
        pending += reversed(inner)
    return lines


def _value_text(value: object) -> str:
    if isinstance(value, str):
        return value if value else '""'
    if isinstance(value, int) and value.bit_length() > 256:
        return f"integer of {value.bit_length():,} bits"
    if isinstance(value, (list, tuple)):
        shown = ", ".join(map(_value_text, value[:16]))
        return f"[{shown}{', …' if len(value) > 16 else ''}]"
    return str(value)
