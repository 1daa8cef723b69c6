"""``kproxy policy``: what a policy would decide, and why."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
import typer

from kproxy import policy as policies
from kproxy.cli.import_acls import import_command
from kproxy.cli.node import DEFAULT_CONFIG, ConfigOption, JsonOption
from kproxy.cli.preview import preview_command
from kproxy.cli.simulate import simulate_command
from kproxy.config import load_config, read_policy
from kproxy.model.access import Access, Client, Facts, Principal
from kproxy.model.policy import LEGAL_OPERATIONS
from kproxy.policy.record_words import say_plan

Pairs = Annotated[list[str], typer.Option(help="A fact as KEY=VALUE; may be given again.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="What a policy would decide, and why; a policy made from ACLs.")
    group.command("explain")(explain)
    group.command("preview")(preview_command)
    group.command("simulate")(simulate_command)
    group.command("import-acls")(import_command)
    app.add_typer(group, name="policy")


def explain(
    operation: Annotated[str, typer.Option(help="Kafka's ACL operation in lower case.")],
    config: ConfigOption = DEFAULT_CONFIG,
    principal: Annotated[str, typer.Option(help="The principal's name.")] = "somebody",
    issuer: Annotated[str, typer.Option(help="Alias of the issuer.")] = "",
    groups: Annotated[str, typer.Option(help="Groups, separated by commas.")] = "",
    attributes: Pairs = [],  # noqa: B006 - typer copies it
    attested: Pairs = [],  # noqa: B006
    declared: Pairs = [],  # noqa: B006
    address: Annotated[str, typer.Option(help="The client's address.")] = "127.0.0.1",
    listener: Annotated[str, typer.Option(help="The listener; the first one if not given.")] = "",
    topic: Annotated[str, typer.Option(help="The topic asked about.")] = "",
    consumer_group: Annotated[str, typer.Option("--group", help="The consumer group asked about.")] = "",
    transactional_id: Annotated[str, typer.Option(help="The transactional id asked about.")] = "",
    cluster: Annotated[bool, typer.Option(help="Ask about the cluster itself.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Decide one access by the policy on disk and show every rule that was looked at."""
    settings = load_config(config)
    decider = policies.compile(policies.load(read_policy(settings.policy_path)))
    name = listener or next(iter(settings.listeners))
    if name not in settings.listeners:
        raise typer.BadParameter(f"no listener {name!r}")
    facts = Facts(
        principal=Principal(principal, issuer, principal, tuple(group for group in groups.split(",") if group),
                            _pairs(attributes)),
        mechanism="OAUTHBEARER", listener=name, attested=_pairs(attested), declared=_pairs(declared),
        client=Client(address=address),
    )
    access = _access(operation, topic, consumer_group, transactional_id, cluster)
    found = policies.explain(decider, facts, access, mode=settings.listeners[name].mode, now=time.time())
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        typer.echo("\n".join(_lines(found)))


def _access(operation: str, topic: str, group: str, transactional_id: str, cluster: bool) -> Access:
    possible = {"topic": topic, "group": group, "transactional_id": transactional_id,
                "cluster": "kafka-cluster" if cluster else ""}
    asked: list[tuple[Any, str]] = [(kind, name) for kind, name in possible.items() if name]
    if len(asked) != 1:
        raise typer.BadParameter("ask about one of --topic, --group, --transactional-id, --cluster")
    kind, name = asked[0]
    if operation not in LEGAL_OPERATIONS[kind]:
        raise typer.BadParameter(f"{operation!r} does not exist on a {kind}; legal:"
                                 f" {', '.join(sorted(LEGAL_OPERATIONS[kind]))}")
    return Access(operation, kind, name)


def _pairs(given: list[str]) -> dict[str, Any]:
    found = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE")
        found[key] = value
    return found


def _lines(found: policies.Explanation) -> list[str]:
    verdict = found.verdict
    observed = "" if verdict.would is None else f" (observing; enforcing would {verdict.would})"
    lines = [
        f"{verdict.effect}{observed}: {found.access.operation} on {found.access.resource} {found.access.name}"
        + (f", by {verdict.rule}" if verdict.rule else "") + (f": {verdict.reason}" if verdict.reason else ""),
        f"policy {found.policy_version}",
        f"roles held: {', '.join(found.roles) or 'none'}",
    ]
    if found.labels:
        lines.append("labels: " + ", ".join(f"{key}={value}" for key, value in sorted(found.labels.items())))
    for rule in found.rules:
        whose = "" if not rule.role else f" of role {rule.role} ({'held' if rule.held else 'not held'})"
        condition = f"; condition {rule.outcome}: {rule.condition}" if rule.condition else ""
        if rule.outcome == "error":
            why = f"{', '.join(rule.missing)} missing" if rule.missing else "a fact that it names is of another type"
            condition += f" ({why}: see --attested, --declared)"
        elif rule.missing:
            condition += f" (its unless is in error, {', '.join(rule.missing)} missing: see --attested, --declared)"
        if rule.approvers:
            condition += f"; approvers: {rule.approvers}"
        lines.append(f"  {rule.kind} {rule.name}{whose} at {rule.at.file}:{rule.at.line}{condition}")
    for one in found.safeguards:
        condition = f"; condition {one.outcome}: {one.condition}" if one.condition else ""
        condition += f" ({', '.join(one.missing)} missing: see --attested, --declared)" if one.missing else ""
        lines.append(f"  safeguard {one.name} at {one.at.file}:{one.at.line}: {', '.join(one.limits)}; else"
                     f" {'record (observing)' if one.observed else one.action}"
                     f"{'' if one.held else '; not for these roles'}{condition}")
    for quota in found.quotas:
        lines.append(f"  quota of {quota.shared_by} at {quota.at.file}:{quota.at.line}: {', '.join(quota.limits)}")
    for plan in found.plans:
        hidden = ", ".join(say_plan(plan)) or "nothing is hidden; fields are counted"
        lines.append(f"records, {plan.direction}: {hidden}")
    return lines
