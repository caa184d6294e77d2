"""The root command: finds a verb's module when the verb is called, and takes any other word for a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module

import click
from click.exceptions import Exit
from click.shell_completion import CompletionItem

from ..exits import ExitCode
from . import VERBS
from .models import tell

EPILOG = """\b
A first argument that is no verb is a model to show:
  paraminspect model.safetensors
  paraminspect model.safetensors --depth 2 --format json
  paraminspect ls model.safetensors --sort nbytes --descending --limit-rows 20
  paraminspect memory model.safetensors

\b
Exit status: 0 read fully, 2 something could not be read or is incomplete, 130 interrupted.
"""
_ROOT_OPTIONS = ("-h", "--help", "--version")


class RootGroup(click.Group):
    """Verbs by name; their modules are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The verbs, in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The verb's command, made by its module."""
        if cmd_name not in VERBS:
            return None
        made: click.Command = import_module(f".{cmd_name}", __package__).command()
        return made

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `show` in front of what starts with a model or one of its options."""
        if args and args[0] not in VERBS and args[0] not in _ROOT_OPTIONS:
            args = ["show", *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The verbs' lines, without importing their modules."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs, and files: a first word may be either."""
        return [*super().shell_complete(ctx, incomplete), CompletionItem(incomplete, type="file")]


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from ... import __version__

        click.echo(f"paraminspect {__version__}")
        ctx.exit()


def group() -> RootGroup:
    """The root command."""
    return RootGroup(
        "paraminspect",
        help="See what is in a saved model, without running it and without its framework.",
        epilog=EPILOG,
        no_args_is_help=False,
        subcommand_metavar="VERB MODEL... | MODEL...",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        params=[
            click.Option(
                ["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_print_version,
                help="Print the version and leave.",
            )
        ],
    )  # fmt: skip


def run(arguments: Sequence[str]) -> int:
    """Parse the arguments and run the verb; a usage mistake is told and gives status 2."""
    if not arguments and "_PARAMINSPECT_COMPLETE" not in os.environ:
        run(["--help"])
        return ExitCode.UNREADABLE
    try:
        return _invoke(list(arguments))
    except Exit as ending:
        return ending.exit_code
    except click.UsageError as mistake:
        usage = mistake.ctx.command_path if mistake.ctx else "paraminspect"
        tell(f"{mistake.format_message()} (see {usage} --help)")
        return ExitCode.UNREADABLE
    except click.ClickException as problem:
        tell(problem.format_message())
        return ExitCode.UNREADABLE
    except OSError as error:
        from .output import CannotWrite, OutputClosed

        if isinstance(error, BrokenPipeError):
            raise OutputClosed("standard output") from None
        message = f"cannot write to standard output: {error.strerror or error}"
        raise CannotWrite(message, to_standard_output=True) from None


def _invoke(arguments: list[str]) -> int:
    """What click's own `main` does, without its words about Ctrl-C and closed pipes."""
    root = group()
    if "_PARAMINSPECT_COMPLETE" in os.environ:
        root.main(arguments, prog_name="paraminspect", complete_var="_PARAMINSPECT_COMPLETE")
    with root.make_context("paraminspect", arguments) as context:
        return int(root.invoke(context) or 0)
