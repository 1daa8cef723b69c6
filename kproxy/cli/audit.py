"""``kproxy audit query|tail``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from kproxy.cli.node import NodeClient, on_node, parse_moment, say_time, show_json, show_table
from kproxy.control.audit.query import Filter, Question, answer, read_events
from kproxy.model.audit_event import KINDS

FOLLOW_SECONDS = 0.5
LAUNCHED = {
    "launcher": lambda row: row["launcher"], "run": lambda row: row["run"], "model": lambda row: row["model"],
    "commit": lambda row: row["commit"], "principal": lambda row: row["principal"],
    "read": lambda row: row["consumed"], "wrote": lambda row: row["produced"],
    "first seen": lambda row: say_time(row["first_seen"]), "last seen": lambda row: say_time(row["last_seen"]),
}
WROTE = {
    "partition": lambda row: row["partition"],
    "offsets": lambda row: f"{row['first_offset']}-{row['last_offset']}", "model": lambda row: row["model"],
    "run": lambda row: row["run"], "launcher": lambda row: row["launcher"], "principal": lambda row: row["principal"],
    "policy": lambda row: row["policy_version"][:12],
}
EMITTED = {
    "topic": lambda row: row["topic"],
    "field": lambda row: row["field"] if row["inspected"] else "(not inspected: any)",
    "unmasked": lambda row: row["unmasked"], "masked": lambda row: row["masked"], "rules": lambda row: row["rules"],
    "last seen": lambda row: say_time(row["last_seen"]),
}
EVENTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "time": lambda row: say_time(row["ts"]), "kind": lambda row: row["kind"],
    "principal": lambda row: row.get("principal", "") or row.get("actor", ""),
    "by": lambda row: row.get("actor", "") if row.get("principal", "") else "",
    "what": lambda row: _what(row), "decision": lambda row: row.get("decision", "") or row.get("cause", ""),
    "would": lambda row: row.get("would", ""), "rule": lambda row: row.get("rule", "") or list(row.get("rules", ())),
    "reason": lambda row: row.get("reason", ""),
    "id": lambda row: row.get("error_id", "") or row.get("request_id", ""),
    "address": lambda row: row.get("address", ""),
}


def register(app: typer.Typer) -> None:
    audit = typer.Typer(no_args_is_help=True, help="What happened.")
    app.add_typer(audit, name="audit")
    audit.command("query")(on_node(query))
    audit.command("tail")(on_node(tail))


def query(
    node: NodeClient,
    launched: Annotated[str, typer.Option(metavar="RUN|SESSION|TOPIC[:PARTITION[:A-B]]", help="Who launched it?")] = "",
    wrote: Annotated[str, typer.Option(metavar="TOPIC:PARTITION:A-B", help="Which model, run and launcher wrote these"
                                       " offsets?")] = "",
    emitted_to: Annotated[str, typer.Option(metavar="PRINCIPAL", help="Which fields left unmasked to whom?")] = "",
    principal: Annotated[str, typer.Option(help="Only this principal's lines.")] = "",
    kind: Annotated[list[str], typer.Option(help="Only these kinds of lines.")] = [],  # noqa: B006 - typer reads it
    topic: Annotated[str, typer.Option(help="Only lines about this topic.")] = "",
    session: Annotated[str, typer.Option(help="Only lines of this session.")] = "",
    run: Annotated[str, typer.Option(help="Only lines of this run.")] = "",
    error_id: Annotated[str, typer.Option(help="Only the line of the refusal that a client was shown this number of.")
                        ] = "",
    since: Annotated[str, typer.Option(help="A time, or how long ago: 2h.")] = "",
    until: Annotated[str, typer.Option(help="A time, or how long ago: 5m.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many lines, the last ones.")] = 1000,
    file: Annotated[list[Path], typer.Option(help="Read these files (JSON Lines) instead of asking a node.")] = [],  # noqa: B006
    *, as_json: bool,
) -> None:
    """Answer a question from the audit."""
    now = time.time()
    _check_kinds(kind)
    where = Filter(principal=principal, kinds=tuple(kind), topic=topic, session=session, run=run, error_id=error_id,
                   since=parse_moment(since, now) if since else 0.0,
                   until=parse_moment(until, now) if until else 0.0)
    question = Question(launched, wrote, emitted_to, where, limit)
    rows = answer(read_events(file), question) if file else node.ask("POST", "/v1/audit/query", question)
    if as_json:
        show_json(rows)
    else:
        columns = LAUNCHED if launched else WROTE if wrote else EMITTED if emitted_to else EVENTS
        show_table(rows, columns, "nothing in the audit answers this" + _hint(principal or emitted_to))


def tail(
    node: NodeClient,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="So many of the last lines.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
    *, as_json: bool,
) -> None:
    """Show the last lines of the audit."""
    after = -1
    while True:
        told = node.ask("GET", "/v1/audit/tail", count=count if after < 0 else 1000, after=after)
        after = told["next"]
        for event in told["events"]:
            show_json(event) if as_json else typer.echo(_line(event))
        if not follow:
            return
        if not told["events"]:
            time.sleep(FOLLOW_SECONDS)


def _check_kinds(kinds: list[str]) -> None:
    unknown = [one for one in kinds if one not in KINDS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is no kind of line; kinds: {', '.join(sorted(KINDS))}")


def _hint(principal: str) -> str:
    """Principals are named with their issuer; a bare subject finds nothing, which would read as an answer."""
    return "" if not principal or ":" in principal else f"; a principal is ISSUER:SUBJECT, as corp:{principal}"


def _what(row: dict[str, Any]) -> str:
    if row["kind"] == "flow":
        count = row.get("records", 0)
        return f"{row.get('direction', '')} {row.get('topic', '')}: {count} record{'' if count == 1 else 's'}"
    if row["kind"] == "node_started":
        return f"{row['node']} worker {row['worker']}" if "worker" in row else row["node"]
    named = row.get("name", "") or row.get("topic", "") or row.get("session", "")
    details = row.get("details", {})
    place = f" p{details['partition']}@{details['offset']}" if {"partition", "offset"} <= details.keys() else ""
    return f"{row.get('operation', '') or row.get('api', '')} {named}{place}".strip()


def _line(event: dict[str, Any]) -> str:
    cells = [str(cell(event)) for cell in EVENTS.values()]
    return "  ".join("".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in cell)
                     for cell in cells if cell)
