"""``kproxy requests …``, ``approve``, ``deny``, ``revoke`` and ``grants list``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kproxy.cli.node import NodeClient, on_node, parse_duration, say_time, show_table

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `kproxy requests list` shows it.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; others read it.")]
COLUMNS = {
    "id": lambda row: row["id"], "state": lambda row: row["state"], "principal": lambda row: row["principal"],
    "asks for": lambda row: f"{row['operation']} {row['name']}", "model": lambda row: row["model"],
    "launcher": lambda row: row["launcher"], "rule": lambda row: row["rule"],
    "approvals": lambda row: _say_approvals(row),
    "waits until": lambda row: say_time(row["expires_at"]) if row["state"] == "pending" else "",
    "reason": lambda row: row["reason"],
}
GRANT_COLUMNS = {
    "id": lambda row: row["id"], "principal": lambda row: row["principal"],
    "allows": lambda row: f"{row['operation']} {row['name']}", "model": lambda row: row["model"],
    "until": lambda row: say_time(row["until"]),
    "approved by": lambda row: [one["name"] or one["subject"] for one in row["approvers"]],
}


def register(app: typer.Typer) -> None:
    requests = typer.Typer(no_args_is_help=True, help="Requests for approval.")
    app.add_typer(requests, name="requests")
    requests.command("list")(on_node(list_requests, lambda rows: show_table(rows, COLUMNS, "no requests")))
    requests.command("show")(on_node(show, _show_request))
    requests.command("create")(on_node(create, _say_state))
    requests.command("cancel")(on_node(cancel, _say_state))
    app.command("approve")(on_node(approve, _say_review))
    app.command("deny")(on_node(deny, _say_review))
    app.command("revoke")(on_node(revoke, _say_revoked))
    grants = typer.Typer(no_args_is_help=True, help="Approved requests in force.")
    app.add_typer(grants, name="grants")
    grants.command("list")(on_node(list_grants, lambda rows: show_table(rows, GRANT_COLUMNS, "no grants")))


def list_requests(
    node: NodeClient, state: Annotated[str, typer.Option(help="Only these states, separated by commas.")] = "",
) -> Any:
    """List requests, the newest first."""
    return node.ask("GET", "/v1/requests", state=state)


def show(node: NodeClient, request_id: IdArgument) -> Any:
    """Show one request with its reviews."""
    return node.ask("GET", f"/v1/requests/{request_id}")


def create(
    node: NodeClient,
    operation: Annotated[str, typer.Option(help="Kafka's operation: write, read, …")],
    topic: Annotated[str, typer.Option(help="The topic it is about.")],
    reason: ReasonOption = "",
) -> Any:
    """Ask for approval in the name of your token, or give the reason of the request that waits already."""
    return node.ask("POST", "/v1/requests", {"operation": operation, "name": topic, "reason": reason})


def cancel(node: NodeClient, request_id: IdArgument, reason: ReasonOption = "") -> Any:
    """Withdraw a request that waits."""
    return node.ask("POST", f"/v1/requests/{request_id}/cancel", {"reason": reason})


def approve(
    node: NodeClient, request_id: IdArgument, reason: ReasonOption = "",
    duration: Annotated[str, typer.Option("--for", help="How long it is granted, as 2h; at most what the rule allows.")
                        ] = "",
) -> Any:
    """Approve a request, as somebody else than who asks: with a token of your own."""
    seconds = parse_duration(duration) if duration else 0.0
    told = node.ask("POST", f"/v1/requests/{request_id}/approve", {"reason": reason, "for": seconds})
    grant = told["grant"]
    return {**told, "shorter_than_asked": grant is not None and grant["until"] - grant["since"] < seconds}


def deny(node: NodeClient, request_id: IdArgument, reason: ReasonOption = "") -> Any:
    """Deny a request; that ends it."""
    return node.ask("POST", f"/v1/requests/{request_id}/deny", {"reason": reason})


def revoke(node: NodeClient, either_id: IdArgument, reason: ReasonOption = "") -> Any:
    """End a grant now, named by its own id or its request's."""
    return node.ask("POST", f"/v1/grants/{either_id}/revoke", {"reason": reason})


def list_grants(node: NodeClient) -> Any:
    """List what is granted now."""
    return node.ask("GET", "/v1/grants")


def _show_request(row: dict[str, Any]) -> None:
    show_table([row], COLUMNS, "")
    show_table(row["reviews"], {
        "review": lambda one: one["decision"], "by": lambda one: one["by"]["name"] or one["by"]["subject"],
        "at": lambda one: say_time(one["at"]), "reason": lambda one: one["reason"]}, "nobody has reviewed it yet")


def _say_approvals(row: dict[str, Any]) -> str:
    if row["quorum"] is None:
        return f"{row['approvals']}, its rule is gone"
    return f"{row['approvals']} of {row['quorum']}, {row['approver_role']}"


def _say_state(row: dict[str, Any]) -> None:
    typer.echo(f"{row['id']} is {row['state']}")


def _say_revoked(told: dict[str, Any]) -> None:
    typer.echo(f"{told['grant']['id']} is revoked{_say_in_force(told)}")


def _say_review(told: dict[str, Any]) -> None:
    request, grant = told["request"], told["grant"]
    if grant is not None:
        most = ", the most that the rule or another approver allows" if told.get("shorter_than_asked") else ""
        typer.echo(f"{request['id']} is approved until {say_time(grant['until'])}{most}{_say_in_force(told)}")
    elif request["state"] == "pending":
        needed = told["approvals_needed"]
        typer.echo(f"{request['id']} is pending: {needed} more approval{' is' if needed == 1 else 's are'} needed")
    else:
        _say_state(request)


def _say_in_force(told: dict[str, Any]) -> str:
    return "" if told["in_force"] else ", but a worker has not confirmed it: see kproxy status"
