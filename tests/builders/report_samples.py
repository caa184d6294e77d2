"""The checkpoints whose reports are kept as golden files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from builders.made_up import Row, checkpoint_of, transformer
from paraminspect.inspector.analysis.listing import LISTED_COLUMNS, list_groups, list_tensors
from paraminspect.inspector.analysis.memory_estimate import estimate_memory
from paraminspect.inspector.analysis.summary import summarize
from paraminspect.inspector.reports import view_ls, view_memory, view_show
from paraminspect.inspector.reports.blocks import Document, Failure, Report
from paraminspect.readers import Checkpoint, Finding, PickleImport, Section, Severity

EVIL_NAMES: Final = (
    "\x1b[31mred\x1b[0m.weight",
    "right\u202eto\u2066left.weight",
    "line\nbreak\r.weight",
    "pipe|tick`star*<b>.weight",
    "=HYPERLINK(1).weight",
    "日本語.重み",
    "lone\udcff.weight",
    "nul\x00bell\x07.weight",
    "very." + "long" * 300 + ".weight",
)


def decoder() -> Checkpoint:
    return checkpoint_of(
        transformer(blocks=4, tied=True),
        location="models/decoder.bin",
        metadata={"format": "pt", "note": "日本語"},
    )


def training() -> Checkpoint:
    rows = [
        Row("model.fc.weight", (10, 4), section=Section.MODEL, trainable=True),
        Row("model.fc.bias", (10,), section=Section.MODEL, trainable=False),
        Row("model.bn.running_mean", (10,), section=Section.BUFFER),
    ]
    for number, shape in enumerate([(10, 4), (10,)]):
        rows += [
            Row(f"optimizer.state.{number}.{moment}", shape, section=Section.OPTIMIZER)
            for moment in ("exp_avg", "exp_avg_sq")
        ]
    return checkpoint_of(
        rows,
        location="runs/last.ckpt",
        progress={"epoch": 3, "global_step": 1200},
        hyperparameters={
            "optimizer": {"param_groups": [{"lr": 0.001, "betas": (0.9, 0.999), "params": [0, 1]}]},
            "args": {"scale": float("inf"), "shift": float("nan"), "huge": 1 << 5000},
        },
        findings=[
            Finding(
                "many-globals", Severity.INFO, "the pickle names a class of its own", path="runs/last.ckpt"
            ),
            Finding("trailing-bytes", Severity.WARNING, "12 bytes belong to nothing", offset=4096),
        ],
        imports=[PickleImport("torch._utils", "_rebuild_tensor_v2", 10, called=True)],
    )


def evil() -> Checkpoint:
    return checkpoint_of(
        [Row(name, (2, 3)) for name in EVIL_NAMES],
        location="evil\x1b[2J\n.bin",
        metadata={"\x1b]0;title\x07": "\u202egnirts", "long": "x" * 5000},
        findings=[
            Finding("missing-shard", Severity.ERROR, "shard \x1b[31m\n is missing", tensor=EVIL_NAMES[0])
        ],
    )


CHECKPOINTS: Final[dict[str, Callable[[], Checkpoint]]] = {
    "decoder": decoder,
    "training": training,
    "evil": evil,
}
VIEWS: Final[dict[str, tuple[str, Callable[[Checkpoint], Report]]]] = {
    "show": (view_show.SCHEMA, lambda checkpoint: view_show.report(summarize(checkpoint))),
    "ls": (
        view_ls.SCHEMA,
        lambda checkpoint: view_ls.report(
            list_tensors(checkpoint, checkpoint.parameters, columns=LISTED_COLUMNS, limit=12)
        ),
    ),
    "groups": (
        view_ls.SCHEMA,
        lambda checkpoint: view_ls.report(list_groups(checkpoint, checkpoint.parameters, by=2)),
    ),
    "memory": (view_memory.SCHEMA, lambda checkpoint: view_memory.report(estimate_memory(checkpoint))),
}
FAILURE: Final = Failure("gone|.bin", "not-found", "there is no such file", "gone|.bin", None, None)


def document(view: str, *names: str, failures: tuple[Failure, ...] = ()) -> Document:
    schema, report_on = VIEWS[view]
    return Document(schema, [report_on(CHECKPOINTS[name]()) for name in names], list(failures))
