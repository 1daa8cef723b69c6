"""The program itself, whatever the command."""

from __future__ import annotations

from importlib.metadata import version

from typer.testing import CliRunner

from kproxy.cli.app import app


def test_the_version_is_the_packages() -> None:
    told = CliRunner().invoke(app, ["--version"])
    assert (told.exit_code, told.output) == (0, f"kproxy {version('kproxy')}\n")


def test_a_wrong_command_is_wrong_usage() -> None:
    assert CliRunner().invoke(app, ["forward"]).exit_code == 2
