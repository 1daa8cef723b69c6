"""The ``kproxy`` program: one Typer application, one file per group of commands."""

from __future__ import annotations

import importlib.util
import sys
from typing import Annotated

import typer

from kproxy import __version__
from kproxy.errors import KproxyError

#: Files of commands, in the order ``kproxy --help`` lists them, with the heading they stand under.
GROUPS = {
    "run": "The node", "check": "The node", "status": "The node", "restart": "The node",
    "policy": "Who may what", "token": "Who may what", "sessions": "Who may what", "audit": "Who may what",
    "requests": "Approvals",
    "demo": "To try and to measure", "bench": "To try and to measure",
}

app = typer.Typer(name="kproxy", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="An identity-aware Kafka proxy.")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"kproxy {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_print_version,
                                           help="Print the version and exit.")] = False,
) -> None:
    """An identity-aware Kafka proxy."""


def _register() -> None:
    # What all other commands import costs a node a third of its start.
    for group in ("run",) if sys.argv[1:2] == ["run"] else GROUPS:
        if importlib.util.find_spec(f"kproxy.cli.{group}") is not None:
            before = len(app.registered_commands), len(app.registered_groups)
            importlib.import_module(f"kproxy.cli.{group}").register(app)
            for command in app.registered_commands[before[0]:]:
                command.rich_help_panel = GROUPS[group]
            for commands in app.registered_groups[before[1]:]:
                commands.rich_help_panel = GROUPS[group]


_register()


def main() -> None:
    """Runs a command. Exit code 1 and one clear line for whatever was refused or failed."""
    try:
        app()
    except KproxyError as error:
        print(f"kproxy: {error}", file=sys.stderr)
        sys.exit(1)
