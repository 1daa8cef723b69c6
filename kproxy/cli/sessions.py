"""``kproxy sessions list|show|kill``."""

from __future__ import annotations

from typing import Annotated

import typer

from kproxy.cli.node import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    NodeClient,
    SocketOption,
    TokenOption,
    UrlOption,
    read_token,
    say_time,
    show_json,
    show_table,
)

IdArgument = Annotated[str, typer.Argument(metavar="ID")]
COLUMNS = {
    "id": lambda row: row["id"], "principal": lambda row: row["principal"], "listener": lambda row: row["listener"],
    "mechanism": lambda row: row["mechanism"], "client": lambda row: row["client_id"],
    "address": lambda row: row["address"], "launcher": lambda row: row["attested"].get("launcher", ""),
    "model": lambda row: row["attested"].get("model", ""), "since": lambda row: say_time(row["connected_at"]),
    "requests": lambda row: row["requests"], "broker": lambda row: row["broker"],
}


def register(app: typer.Typer) -> None:
    sessions = typer.Typer(no_args_is_help=True, help="Open client connections.")
    app.add_typer(sessions, name="sessions")
    sessions.command("list")(list_sessions)
    sessions.command("show")(show)
    sessions.command("kill")(kill)


def list_sessions(
    principal: Annotated[str, typer.Option(help="Only this principal's.")] = "",
    config: ConfigOption = DEFAULT_CONFIG, socket: SocketOption = None, url: UrlOption = "",
    token_file: TokenOption = None, as_json: JsonOption = False,
) -> None:
    """List open sessions of all workers."""
    with NodeClient(config=config, socket=socket, url=url, token=read_token(token_file)) as node:
        rows = node.ask("GET", "/v1/sessions", principal=principal)
    if as_json:
        show_json(rows)
    else:
        show_table(rows, COLUMNS, "no sessions")


def show(
    session: IdArgument, config: ConfigOption = DEFAULT_CONFIG, socket: SocketOption = None, url: UrlOption = "",
    token_file: TokenOption = None, as_json: JsonOption = False,
) -> None:
    """Show one session: what is attested by its token, and what its client says of itself."""
    with NodeClient(config=config, socket=socket, url=url, token=read_token(token_file)) as node:
        row = node.ask("GET", f"/v1/sessions/{session}")
    if as_json:
        show_json(row)
        return
    show_table([row], COLUMNS, "")
    facts = [("attested", *fact) for fact in sorted(row["attested"].items())]
    facts += [("declared", *fact) for fact in sorted(row["declared"].items())]
    show_table(facts, {"by": lambda fact: fact[0], "name": lambda fact: fact[1], "value": lambda fact: fact[2]},
               "nothing is attested or declared")


def kill(
    session: IdArgument, reason: Annotated[str, typer.Option("--reason", help="Why; it goes into the audit.")] = "",
    config: ConfigOption = DEFAULT_CONFIG, socket: SocketOption = None, url: UrlOption = "",
    token_file: TokenOption = None, as_json: JsonOption = False,
) -> None:
    """Close a session now."""
    with NodeClient(config=config, socket=socket, url=url, token=read_token(token_file)) as node:
        told = node.ask("DELETE", f"/v1/sessions/{session}", reason=reason)
    if as_json:
        show_json(told)
    else:
        typer.echo(f"{session} is closed")
