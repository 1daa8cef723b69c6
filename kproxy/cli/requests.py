"""``kproxy requests …``, ``approve``, ``deny``, ``revoke`` and ``grants list``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kproxy.cli.node import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    NodeClient,
    SocketOption,
    TokenOption,
    UrlOption,
    parse_duration,
    read_token,
    say_time,
    show_json,
    show_table,
)

IdArgument = Annotated[str, typer.Argument(metavar="ID")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; others read it.")]
COLUMNS = {
    "id": lambda row: row["id"], "state": lambda row: row["state"], "principal": lambda row: row["principal"],
    "asks for": lambda row: f"{row['operation']} {row['name']}", "model": lambda row: row["model"],
    "launcher": lambda row: row["launcher"], "rule": lambda row: row["rule"],
    "approvals": lambda row: sum(one["decision"] == "approve" for one in row["reviews"]),
    "until": lambda row: say_time(row["expires_at"]), "reason": lambda row: row["reason"],
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
    requests.command("list")(list_requests)
    requests.command("show")(show)
    requests.command("create")(create)
    requests.command("cancel")(cancel)
    app.command("approve")(approve)
    app.command("deny")(deny)
    app.command("revoke")(revoke)
    grants = typer.Typer(no_args_is_help=True, help="Approved requests in force.")
    app.add_typer(grants, name="grants")
    grants.command("list")(list_grants)


def list_requests(
    state: Annotated[str, typer.Option(help="Only these states, separated by commas.")] = "",
    config: ConfigOption = DEFAULT_CONFIG, socket: SocketOption = None, url: UrlOption = "",
    token_file: TokenOption = None, as_json: JsonOption = False,
) -> None:
    """List requests, the newest first."""
    with NodeClient(config=config, socket=socket, url=url, token=read_token(token_file)) as node:
        rows = node.ask("GET", "/v1/requests", state=state)
    if as_json:
        show_json(rows)
    else:
        show_table(rows, COLUMNS, "no requests")


def show(
    request_id: IdArgument, config: ConfigOption = DEFAULT_CONFIG, socket: SocketOption = None, url: UrlOption = "",
    token_file: TokenOption = None, as_json: JsonOption = False,
) -> None:
    """Show one request with its reviews."""
    with NodeClient(config=config, socket=socket, url=url, token=read_token(token_file)) as node:
        row = node.ask("GET", f"/v1/requests/{request_id}")
    if as_json:
        show_json(row)
        return
    show_table([row], COLUMNS, "")
    show_table(row["reviews"], {
        "review": lambda one: one["decision"], "by": lambda one: one["by"]["name"] or one["by"]["subject"],
        "at": lambda one: say_time(one["at"]), "reason": lambda one: one["reason"]}, "nobody has reviewed it yet")


def create(
    operation: Annotated[str, typer.Option(help="Kafka's operation: write, read, …")],
    topic: Annotated[str, typer.Option(help="The topic it is about.")],
    reason: ReasonOption = "", config: ConfigOption = DEFAULT_CONFIG, socket: SocketOption = None, url: UrlOption = "",
    token_file: TokenOption = None, as_json: JsonOption = False,
) -> None:
    """Ask for approval in the name of your token, or give the reason of the request that waits already."""
    with NodeClient(config=config, socket=socket, url=url, token=read_token(token_file)) as node:
        row = node.ask("POST", "/v1/requests", {"operation": operation, "name": topic, "reason": reason})
    if as_json:
        show_json(row)
    else:
        typer.echo(f"{row['id']} is {row['state']}")


def cancel(
    request_id: IdArgument, reason: ReasonOption = "", config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None, url: UrlOption = "", token_file: TokenOption = None, as_json: JsonOption = False,
) -> None:
    """Withdraw a request that waits."""
    with NodeClient(config=config, socket=socket, url=url, token=read_token(token_file)) as node:
        row = node.ask("POST", f"/v1/requests/{request_id}/cancel", {"reason": reason})
    if as_json:
        show_json(row)
    else:
        typer.echo(f"{row['id']} is {row['state']}")


def approve(
    request_id: IdArgument, reason: ReasonOption = "",
    duration: Annotated[str, typer.Option("--for", help="How long it is granted, as 2h; at most what the rule allows.")
                        ] = "",
    config: ConfigOption = DEFAULT_CONFIG, socket: SocketOption = None, url: UrlOption = "",
    token_file: TokenOption = None, as_json: JsonOption = False,
) -> None:
    """Approve a request, as somebody else than who asks: with a token of your own."""
    seconds = parse_duration(duration) if duration else 0.0
    with NodeClient(config=config, socket=socket, url=url, token=read_token(token_file)) as node:
        told = node.ask("POST", f"/v1/requests/{request_id}/approve", {"reason": reason, "for": seconds})
    if as_json:
        show_json(told)
    else:
        typer.echo(_say_review(told))


def deny(
    request_id: IdArgument, reason: ReasonOption = "", config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None, url: UrlOption = "", token_file: TokenOption = None, as_json: JsonOption = False,
) -> None:
    """Deny a request; that ends it."""
    with NodeClient(config=config, socket=socket, url=url, token=read_token(token_file)) as node:
        told = node.ask("POST", f"/v1/requests/{request_id}/deny", {"reason": reason})
    if as_json:
        show_json(told)
    else:
        typer.echo(_say_review(told))


def revoke(
    either_id: IdArgument, reason: ReasonOption = "", config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None, url: UrlOption = "", token_file: TokenOption = None, as_json: JsonOption = False,
) -> None:
    """End a grant now, named by its own id or its request's."""
    with NodeClient(config=config, socket=socket, url=url, token=read_token(token_file)) as node:
        told = node.ask("POST", f"/v1/grants/{either_id}/revoke", {"reason": reason})
    if as_json:
        show_json(told)
    else:
        typer.echo(f"{told['grant']['id']} is revoked{_say_in_force(told)}")


def list_grants(
    config: ConfigOption = DEFAULT_CONFIG, socket: SocketOption = None, url: UrlOption = "",
    token_file: TokenOption = None, as_json: JsonOption = False,
) -> None:
    """List what is granted now."""
    with NodeClient(config=config, socket=socket, url=url, token=read_token(token_file)) as node:
        rows = node.ask("GET", "/v1/grants")
    if as_json:
        show_json(rows)
    else:
        show_table(rows, GRANT_COLUMNS, "no grants")


def _say_review(told: dict[str, Any]) -> str:
    request, grant = told["request"], told["grant"]
    if grant is not None:
        return f"{request['id']} is approved until {say_time(grant['until'])}{_say_in_force(told)}"
    if request["state"] == "pending":
        return f"{request['id']} is pending: {told['approvals_needed']} more approvals are needed"
    return f"{request['id']} is {request['state']}"


def _say_in_force(told: dict[str, Any]) -> str:
    return "" if told["in_force"] else ", but a worker has not confirmed it: see kproxy status"
