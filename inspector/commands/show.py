"""`paraminspect MODEL`, `paraminspect show MODEL`: what is in a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..analysis.summary import DEFAULT_DEPTH, DEFAULT_LARGEST, DEFAULT_SIBLINGS, summarize
from ..exits import ExitCode
from ..reports.view_show import SCHEMA, report
from .models import Settings, run

if TYPE_CHECKING:
    import click

EXAMPLES = """
paraminspect model.safetensors
paraminspect show checkpoints/step-1000 --depth 2
paraminspect show model.safetensors --depth all
paraminspect show *.safetensors --format json -o facts.json
"""


def show(
    models: Sequence[str],
    settings: Settings | None = None,
    *,
    depth: int | None = DEFAULT_DEPTH,
    siblings: int | None = DEFAULT_SIBLINGS,
    largest: int = DEFAULT_LARGEST,
) -> ExitCode:
    """Show each model in turn."""
    return run(
        models,
        settings or Settings(),
        SCHEMA,
        lambda checkpoint: report(summarize(checkpoint, depth=depth, siblings=siblings, largest=largest)),
    )


def command() -> click.Command:
    """The click command."""
    import click

    from .options import depth_option, settings_options, siblings_option, verb

    @verb("show", EXAMPLES)
    @depth_option(DEFAULT_DEPTH)
    @siblings_option
    @click.option(
        "--largest", type=click.IntRange(0), default=DEFAULT_LARGEST, metavar="N", show_default=True,
        help="Rows in the list of the largest tensors.",
    )  # fmt: skip
    @settings_options
    def show_command(
        models: tuple[str, ...], settings: Settings, depth: int | None, siblings: int | None, largest: int
    ) -> int:
        """Show what is in each MODEL: format, totals, memory, layers, shared tensors, settings, findings.

        MODEL is a file, a folder, an index, a glob or - for standard input. Nothing in it is executed.
        """
        return show(models, settings, depth=depth, siblings=siblings, largest=largest)

    return show_command
