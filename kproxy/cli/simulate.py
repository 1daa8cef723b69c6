"""``kproxy policy simulate``: what a policy would have made of what the audit tells."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from kproxy import policy as policies
from kproxy.cli.node import parse_moment, say_time, show_json, show_table
from kproxy.config import load_config, read_policy
from kproxy.control.audit.query import read_events
from kproxy.policy.simulate import Finding, as_rows, simulate

COLUMNS: dict[str, Callable[[Finding], object]] = {
    "would be": lambda row: row.what, "principal": lambda row: row.principal, "operation": lambda row: row.operation,
    "what": lambda row: row.name, "field": lambda row: row.field, "count": lambda row: row.count,
    "rule": lambda row: row.rule or row.reason, "last seen": lambda row: say_time(row.last_seen),
}


def simulate_command(
    policy: Annotated[Path | None, typer.Option(help="The policy to try, a file or folder; the configuration's if not"
                                                     " given.")] = None,
    audit: Annotated[list[Path], typer.Option(help="A file of the audit, oldest first; may be given again. The"
                                                   " configuration's if not given.")] = [],  # noqa: B006
    since: Annotated[str, typer.Option(help="Only what happened since: 7d, 2h, or a date.")] = "",
    config: Annotated[Path, typer.Option("--config", "-c", envvar="KPROXY_CONFIG",
                                         help="The configuration file.")] = Path("kproxy.yaml"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Replay the audit under a policy on disk: what would be refused, let pass, masked or shown that was not."""
    settings = load_config(config)
    decider = policies.compile(policies.load(read_policy(policy or settings.policy_path)))
    default = Path(settings.audit.file or Path(settings.node.state_dir) / "audit" / "audit.jsonl")
    start = parse_moment(since, time.time()) if since else 0.0
    # Who a session is was told when it began, however long ago.
    told = (event for event in read_events(audit or [default])
            if event.ts >= start or event.kind in ("connect", "reauthenticated"))
    found = simulate(decider, told)
    rest = {"sessions": found.sessions, "lines": found.lines, "untold": found.untold}
    if as_json:
        answer: dict[str, Any] = {"policy": decider.version, **rest, "findings": as_rows(found)}
        show_json(answer)
        return
    show_table(found.findings, COLUMNS, "nothing would have gone another way")
    untold = f"; {found.untold} lines are of sessions whose beginning is not in these files" if found.untold else ""
    typer.echo(f"policy {decider.version[:12]}: {found.lines} lines of {found.sessions} sessions{untold}")
