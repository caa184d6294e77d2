"""`paraminspect memory MODEL`: bytes stored, and what loading and training would take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..analysis.memory_estimate import DEFAULT_DEPTH, estimate_memory
from ..exits import ExitCode
from ..reports.view_memory import SCHEMA, report
from .models import Settings, run

if TYPE_CHECKING:
    import click

EXAMPLES = """
paraminspect memory model.safetensors
paraminspect memory model.safetensors --depth 4
paraminspect memory a.safetensors b.safetensors --format csv -o memory.csv
"""


def memory(
    models: Sequence[str],
    settings: Settings | None = None,
    *,
    depth: int | None = DEFAULT_DEPTH,
    siblings: int | None = 40,
) -> ExitCode:
    """Tell the memory of each model in turn."""
    return run(
        models,
        settings or Settings(),
        SCHEMA,
        lambda checkpoint: report(estimate_memory(checkpoint, depth=depth, siblings=siblings)),
    )


def command() -> click.Command:
    """The click command."""
    from .options import depth_option, settings_options, siblings_option, verb

    @verb("memory", EXAMPLES)
    @depth_option(DEFAULT_DEPTH)
    @siblings_option
    @settings_options
    def memory_command(
        models: tuple[str, ...], settings: Settings, depth: int | None, siblings: int | None
    ) -> int:
        """Tell what each MODEL takes on disk, loaded in other types, and in training.

        Estimates follow from parameter counts; the report states what they assume.
        """
        return memory(models, settings, depth=depth, siblings=siblings)

    return memory_command
