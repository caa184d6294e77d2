"""The facts that `show` tells about one checkpoint, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypedDict

from ...readers import Checkpoint, Finding, ParameterTable, Section, Severity
from .figures import TotalsData, totals_data
from .layer_tree import LayerRow, layer_rows
from .shared_tensors import SharedSet, shared_sets

DEFAULT_DEPTH: Final = 3
DEFAULT_SIBLINGS: Final = 40
DEFAULT_LARGEST: Final = 8


class FileData(TypedDict):
    """One file of the checkpoint."""

    path: str
    nbytes: int


class SectionData(TypedDict):
    """One section's totals."""

    section: str
    totals: TotalsData


class DTypeData(TypedDict):
    """Totals of the tensors of one element type."""

    dtype: str
    label: str
    bits: int
    totals: TotalsData


class TrainableData(TypedDict):
    """Parameters of the model section by requires_grad, as the file tells it."""

    trainable: int
    frozen: int
    unknown: int
    """Parameters for which the file does not say."""


class LargeData(TypedDict):
    """Tensors of one size and role: the same name but for block numbers."""

    name: str
    """With `*` for the numbers that differ."""

    count: int
    dtype: str
    label: str
    shape: list[int]
    parameters: int
    """Of each."""

    nbytes: int
    """Of each."""

    nbytes_together: int
    """Of all, bytes used twice counted once."""


class BasisData(TypedDict):
    """Why logical parameters differ from stored elements, for how many tensors."""

    basis: str
    tensors: int
    parameters: int
    elements: int


class FindingData(TypedDict):
    """One observation of the reader."""

    code: str
    severity: str
    message: str
    path: str | None
    offset: int | None
    tensor: str | None


class ImportData(TypedDict):
    """One global that the file's pickles name."""

    module: str
    name: str
    called: bool
    stream: str
    offset: int


class Identity(TypedDict):
    """What every document says about the checkpoint it is about."""

    location: str
    format: str
    files: list[FileData]
    nbytes: int
    """Of all files."""

    complete: bool
    """False when a finding is an error: what is listed is not all there should be."""

    sections_inferred: int
    """Tensors whose section is a guess from the name."""


class Summary(Identity):
    """Everything `show` tells."""

    parameters: int
    """The headline: logical parameters of the model section, shared ones once."""

    totals: TotalsData
    """Over all sections."""

    without_values: int
    """Tensors that are listed but have elements and no bytes in the file."""

    sections: list[SectionData]
    trainable: TrainableData
    dtypes: list[DTypeData]
    packed: list[BasisData]
    layers: list[LayerRow]
    largest: list[LargeData]
    shared: list[SharedSet]
    hyperparameters: Mapping[str, object]
    progress: Mapping[str, int | float]
    metadata: Mapping[str, object]
    imports: list[ImportData]
    findings: list[FindingData]


def summarize(
    checkpoint: Checkpoint,
    *,
    depth: int | None = DEFAULT_DEPTH,
    siblings: int | None = DEFAULT_SIBLINGS,
    largest: int = DEFAULT_LARGEST,
) -> Summary:
    """Everything `show` tells about a checkpoint; reads no tensor values.

    Args:
        checkpoint: an open one.
        depth: levels of the layer tree, None for all.
        siblings: lines under one parent of the tree before the rest become one, None for all.
        largest: rows in the list of the largest tensors.
    """
    table = checkpoint.parameters
    totals = totals_data(table.totals())
    return Summary(
        **identity(checkpoint),
        parameters=_section(table, Section.MODEL).totals().parameters,
        totals=totals,
        without_values=_count_without_values(table),
        sections=section_totals(table),
        trainable=_trainable(_section(table, Section.MODEL)),
        dtypes=dtype_totals(table),
        packed=_packed(table),
        layers=layer_rows(table, depth=depth, limit=siblings),
        largest=_largest(table, largest),
        shared=shared_sets(table),
        hyperparameters=checkpoint.hyperparameters,
        progress=checkpoint.progress,
        metadata=checkpoint.metadata,
        imports=[
            ImportData(module=i.module, name=i.name, called=i.called, stream=i.stream, offset=i.offset)
            for i in checkpoint.imports
        ],
        findings=finding_data(checkpoint.findings),
    )


def identity(checkpoint: Checkpoint) -> Identity:
    """Which checkpoint a document is about."""
    table = checkpoint.parameters
    return Identity(
        location=checkpoint.location,
        format=checkpoint.format,
        files=[FileData(path=file.path, nbytes=file.size) for file in checkpoint.files],
        nbytes=checkpoint.size,
        complete=checkpoint.worst is not Severity.ERROR,
        sections_inferred=sum(map(table.section_is_inferred, range(len(table)))),
    )


def finding_data(findings: Sequence[Finding]) -> list[FindingData]:
    """Findings as plain data, the worst first."""
    order = list(Severity)
    worst_first = sorted(findings, key=lambda finding: -order.index(finding.severity))
    return [
        FindingData(
            code=finding.code,
            severity=finding.severity.value,
            message=finding.message,
            path=finding.path,
            offset=finding.offset,
            tensor=finding.tensor,
        )
        for finding in worst_first
    ]


def section_totals(table: ParameterTable) -> list[SectionData]:
    """Totals of each section that has tensors, in the sections' own order."""
    present = frozenset(table.sections)
    return [
        SectionData(section=section.value, totals=totals_data(_section(table, section).totals()))
        for section in Section
        if section in present
    ]


def dtype_totals(table: ParameterTable) -> list[DTypeData]:
    """Totals of each element type, the one with most bytes first."""
    dtypes = {dtype.name: dtype for dtype in table.dtypes}
    figures = [
        DTypeData(
            dtype=group.key,
            label=dtypes[group.key].label,
            bits=dtypes[group.key].bits,
            totals=totals_data(group.totals),
        )
        for group in table.group("dtype")
    ]
    return sorted(figures, key=lambda figure: -figure["totals"]["nbytes"])


def _section(table: ParameterTable, section: Section) -> ParameterTable:
    return table.take([row for row, own in enumerate(table.sections) if own is section])


def _trainable(model: ParameterTable) -> TrainableData:
    flags = model.trainable
    counts = {
        flag: model.take([row for row, own in enumerate(flags) if own is flag]).totals().parameters
        for flag in (True, False, None)
    }
    return TrainableData(trainable=counts[True], frozen=counts[False], unknown=counts[None])


def _count_without_values(table: ParameterTable) -> int:
    return sum(
        1
        for nbytes, elements in zip(table.nbytes, table.elements, strict=True)
        if nbytes == 0 and elements > 0
    )


def _packed(table: ParameterTable) -> list[BasisData]:
    if table.parameters == table.elements:
        return []
    rows: dict[str, list[int]] = {}
    for row in range(len(table)):
        basis = table.parameters_basis(row)
        if basis is not None:
            rows.setdefault(basis, []).append(row)
    packed = []
    for basis, members in rows.items():
        totals = table.take(members).totals()
        packed.append(
            BasisData(
                basis=basis,
                tensors=totals.tensors,
                parameters=totals.parameters,
                elements=totals.elements,
            )
        )
    return packed


def _largest(table: ParameterTable, count: int) -> list[LargeData]:
    """The biggest tensors; those that differ only in the numbers of their names are one entry."""
    sizes = sorted(set(table.nbytes), reverse=True)[:count]
    least = sizes[-1] if sizes else 0
    groups: dict[tuple[str, str, tuple[int, ...]], list[int]] = {}
    for row, nbytes in enumerate(table.nbytes):
        if nbytes >= least and nbytes:
            key = (_pattern(table.names[row]), table.dtypes[row].name, table.shapes[row])
            groups.setdefault(key, []).append(row)
    largest = sorted(groups.items(), key=lambda item: -table.nbytes[item[1][0]])[:count]
    return [
        LargeData(
            name=pattern if len(rows) > 1 else table.names[rows[0]],
            count=len(rows),
            dtype=table.dtypes[rows[0]].name,
            label=table.dtypes[rows[0]].label,
            shape=list(table.shapes[rows[0]]),
            parameters=table.parameters[rows[0]],
            nbytes=table.nbytes[rows[0]],
            nbytes_together=table.take(rows).totals().nbytes,
        )
        for (pattern, _, _), rows in largest
    ]


def _pattern(name: str) -> str:
    """The name with `*` for block numbers."""
    if not any(map(str.isdigit, name)):
        return name
    return ".".join(["*" if part.isdigit() else part for part in name.split(".")])
