"""``kproxy sessions list|show|kill``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kproxy.cli.node import NodeClient, on_node, say_time, show_table

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
    sessions.command("list")(on_node(list_sessions, lambda rows: show_table(rows, COLUMNS, "no sessions")))
    sessions.command("show")(on_node(show, _show_session))
    sessions.command("kill")(on_node(kill, lambda told: typer.echo(f"{told['session']} is closed")))


def list_sessions(
    node: NodeClient, principal: Annotated[str, typer.Option(help="Only this principal's.")] = "",
) -> Any:
    """List open sessions of all workers."""
    return node.ask("GET", "/v1/sessions", principal=principal)


def show(node: NodeClient, session: IdArgument) -> Any:
    """Show one session: what is attested by its token, and what its client says of itself."""
    return node.ask("GET", f"/v1/sessions/{session}")


def kill(
    node: NodeClient, session: IdArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes into the audit.")] = "",
) -> Any:
    """Close a session now."""
    return {"session": session, **node.ask("DELETE", f"/v1/sessions/{session}", reason=reason)}


def _show_session(row: dict[str, Any]) -> None:
    show_table([row], COLUMNS, "")
    facts = [("attested", *fact) for fact in sorted(row["attested"].items())]
    facts += [("declared", *fact) for fact in sorted(row["declared"].items())]
    show_table(facts, {"by": lambda fact: fact[0], "name": lambda fact: fact[1], "value": lambda fact: fact[2]},
               "nothing is attested or declared")
