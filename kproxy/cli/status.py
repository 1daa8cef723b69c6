"""``kproxy status``: what is in force on the node, and where."""

from __future__ import annotations

from typing import Any

import typer

from kproxy.cli.node import NodeClient, on_node, say_time, show_table

SAYS = {"enforce": "enforcing", "observe": "OBSERVING ONLY"}


def register(app: typer.Typer) -> None:
    app.command("status")(on_node(status, show_status))


def status(node: NodeClient) -> Any:
    """Show the policy in force, listeners, workers, upstreams and the audit's lag."""
    return node.ask("GET", "/v1/status")


def show_status(found: dict[str, Any]) -> None:
    typer.echo("\n".join(head_lines(found)))
    show_table(found["listeners"], {
        "listener": lambda row: row["name"], "bind": lambda row: row["bind"], "cluster": lambda row: row["cluster"],
        "policy is": lambda row: SAYS[row["mode"]], "logins": lambda row: row["authenticate"]}, "no listeners")
    typer.echo("")
    show_table(found["workers"], {
        "worker": lambda row: row["worker"], "pid": lambda row: row["pid"], "epoch": lambda row: row["epoch"],
        "state": say_worker, "since": lambda row: say_time(row["connected_at"])}, "no workers are connected")
    typer.echo("")
    show_table(found["upstreams"], {
        "cluster": lambda row: row["cluster"], "bootstrap": lambda row: row["bootstrap"],
        "connections": lambda row: [f"{node}: {count:g}" for node, count in row["connections"].items()] or 0,
        "errors": lambda row: [f"{cause}: {count:g}" for cause, count in row["errors"].items()] or 0,
        "last error": say_last_error},
        "no upstreams")
    typer.echo("")
    show_table(found["issuers"], {
        "issuer": lambda row: row["issuer"], "keys": lambda row: row["keys"],
        "fetched": lambda row: say_time(row["fetched_at"]) if row["fetched_at"] else "never",
        "error": lambda row: row["error"] or "none"}, "no issuers")


def head_lines(found: dict[str, Any]) -> list[str]:
    """What concerns the node as a whole, trouble included."""
    policy, reload, audit = found["policy"], found["last_reload"], found["audit"]
    lines = [
        f"node {found['node']}, kproxy {found['version']}, since {say_time(found['started_at'])}",
        f"policy {policy['version'][:12]} in force as epoch {found['epoch']},"
        f" files last taken {say_time(reload['taken_at'])}",
        f"approvals: {found['approvals']['pending']} pending, {found['approvals']['granted']} granted",
        f"audit: {audit['lag_seconds']:g} s behind, {audit['spool_bytes']} of {audit['spool_max_bytes']} bytes in the"
        " spool",
    ]
    if audit["refusing"]:
        lines.append(f"REFUSING: worker {', '.join(map(str, audit['refusing']))} cannot audit what it would do: the"
                     " audit spool or the disk is full, or nearly; see \"When the disk is full\" in docs/operations.md")
    if not reload["good"]:
        lines += [f"LAST RELOAD REFUSED at {say_time(reload['at'])}, the policy before stays in force:",
                  *(f"  {problem}" for problem in reload["problems"])]
    if reload["restart_needed"]:
        waiting = [name for name in reload["restart_needed"] if name != "node"]
        if waiting:
            lines.append(f"changed and not taken over before kproxy restart: {', '.join(waiting)}")
        if "node" in reload["restart_needed"]:
            lines.append("changed and not taken over before the node is stopped and started: node")
    return [*lines, ""]


def say_last_error(row: dict[str, Any]) -> str:
    last = row["last_error"]
    if last:
        return f"{last['cause']} at {say_time(last['at'])}"
    return "before this control process" if row["errors"] else "none"


def say_worker(row: dict[str, Any]) -> str:
    if row["error"]:
        return f"refused the snapshot: {row['error']}"
    return "draining" if row["draining"] else "in force" if row["in_force"] else "behind"
