"""The torch zip format: what `torch.save` has written since 1.6, and TorchScript archives."""

from __future__ import annotations

from .columns import Columns
from .columns_builder import ColumnsBuilder
from .columns_joined import joined
from .entry import Checkpoint
from .errors import ParamInspectError
from .findings import Finding, Severity
from .pickle_account import accounting, report_pickles
from .pickle_machine import PickleBudget
from .pickled_tensors import PickledTensors
from .registry import OpenContext
from .sections import Section
from .source import ByteSource
from .state_dict import Walker
from .table import ParameterTable
from .torch_archive import ArchiveStorages, TorchArchive, torch_archive, walk_archive
from .zip_archive import ZipArchive, open_archive

_CHECKED_PICKLE_BYTES = 64 << 20
_TEXT_RECORDS = ("version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id")


def recognises(source: ByteSource, head: bytes) -> bool:
    """A zip archive with a `data.pkl` in it, one folder deep in whole files."""
    # The name of the first member stands in the first local header.
    if b"data.pkl" in head[:300]:
        return True
    from .limits import DEFAULT_LIMITS

    try:
        names = open_archive(source, DEFAULT_LIMITS).by_name
    except ParamInspectError:
        # A damaged archive: torch's own padding field tells its files from other zips.
        return b"FB" in head[:300] and b"ZZZZ" in head[:300]
    return any(name == "data.pkl" or name.endswith("/data.pkl") for name in names)


def open_checkpoint(source: ByteSource, context: OpenContext) -> Checkpoint:
    """Read the pickle of a torch archive; storages are found, not read."""
    archive = open_archive(source, context.limits)
    found = torch_archive(archive, source)
    is_script = found.root + "constants.pkl" in archive.by_name
    budget = PickleBudget(context.limits, context.deadline)
    with accounting(budget):
        walked = walk_archive(found, source, budget)
        columns = walked.columns
        findings = [*archive.findings, *walked.findings]
        if is_script:
            columns = joined([columns, _constants(found, source, budget, findings)], file_counts=[0, 0])
            columns.files = None
            findings.append(_program(found, source))
    imports, import_findings = report_pickles(budget, source.name, is_script=is_script)
    findings += import_findings
    findings += _check_archive(archive, found)
    for record in _TEXT_RECORDS:
        text = found.text(record)
        if text is not None:
            walked.metadata[f"archive.{record.lstrip('.')}"] = text
    return Checkpoint(
        context.location,
        "TorchScript" if is_script else "torch zip",
        ParameterTable(columns),
        metadata=walked.metadata,
        hyperparameters=walked.hyperparameters,
        progress=walked.progress,
        findings=tuple(findings),
        imports=tuple(imports),
    )


def _constants(
    found: TorchArchive, source: ByteSource, budget: PickleBudget, findings: list[Finding]
) -> Columns:
    """Tensors that the program of a TorchScript archive has as literals."""
    stream, pickle_source = found.pickle("constants.pkl", budget)
    reader = PickledTensors(ArchiveStorages(found, "constants"), pickle_source)
    if not isinstance(stream.root, tuple) or not stream.root:
        return ColumnsBuilder().build()
    walked = Walker(reader, budget.deadline, source.name).walk(stream.root, ("constants",), Section.OTHER)
    findings += walked.findings
    return walked.columns


def _program(found: TorchArchive, source: ByteSource) -> Finding:
    code = [name for name in found.names() if name.startswith("code/") and name.endswith(".py")]
    listed = ", ".join(code[:3]) + (f" and {len(code) - 3} more" if len(code) > 3 else "")
    return Finding(
        "program-inside",
        Severity.INFO,
        f"this archive holds a program beside its tensors: {len(code)} files of TorchScript code ({listed})",
        source.name,
    )


def _check_archive(archive: ZipArchive, found: TorchArchive) -> list[Finding]:
    """What torch does not look at: local headers, and the checksum of the pickle."""
    findings = archive.check_local_headers()
    content = archive.by_name[found.root + "data.pkl"]
    if content.size <= _CHECKED_PICKLE_BYTES:
        mismatch = archive.check_crc(content)
        if mismatch is not None:  # tensors may be missing from what a damaged pickle lists
            findings.append(mismatch._replace(severity=Severity.ERROR))
    return findings
