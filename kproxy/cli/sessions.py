"""``kproxy sessions list|show|kill``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kproxy.cli.node import NodeClient, NodeRefused, on_node, say_time, show_table

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `kproxy sessions list` shows it.")]
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
    sessions.command("kill")(on_node(kill, _say_closed))


def list_sessions(
    node: NodeClient, principal: Annotated[str, typer.Option(help="Only this principal's.")] = "",
) -> Any:
    """List open sessions of all workers."""
    return node.ask("GET", "/v1/sessions", principal=principal)


def show(node: NodeClient, session: IdArgument) -> Any:
    """Show one session: what is attested by its token, and what its client says of itself."""
    return node.ask("GET", f"/v1/sessions/{session}")


def kill(
    node: NodeClient, session: IdArgument = "",
    principal: Annotated[str, typer.Option(help="Close all of this principal's, instead of one.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes into the audit.")] = "",
) -> Any:
    """Close a session now, or all of a principal."""
    if bool(session) == bool(principal):
        raise typer.BadParameter("name either a session or a --principal")
    if session:
        return {"session": session, **node.ask("DELETE", f"/v1/sessions/{session}", reason=reason)}
    closed = []
    for row in list_sessions(node, principal):
        try:
            node.ask("DELETE", f"/v1/sessions/{row['id']}", reason=reason)
        except NodeRefused as error:
            if error.status != 404:
                raise
            continue  # It ended by itself meanwhile.
        closed.append(row["id"])
    return {"principal": principal, "sessions": closed, "closed": len(closed)}


def _say_closed(told: dict[str, Any]) -> None:
    if "session" in told:
        typer.echo(f"{told['session']} is closed")
    else:
        typer.echo(f"{told['principal']} has no session" if not told["closed"] else
                   f"closed {', '.join(told['sessions'])}")


def _show_session(row: dict[str, Any]) -> None:
    show_table([row], COLUMNS, "")
    groups = ", ".join(row.get("groups", ())) or "none"
    ends = say_time(row["expires_at"]) if row["expires_at"] else "when its client leaves"
    facts = [("token", "groups", groups), ("node", "ends", ends)] if row["principal"] else []
    facts += [("attested", *fact) for fact in sorted(row["attested"].items())]
    facts += [("declared", *fact) for fact in sorted(row["declared"].items())]
    show_table(facts, {"by": lambda fact: fact[0], "name": lambda fact: fact[1], "value": lambda fact: fact[2]},
               "nothing is attested or declared")
