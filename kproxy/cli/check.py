"""``kproxy check``: the configuration and the policy resolved, and every problem of both in one run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import msgspec
import typer

from kproxy import policy as policies
from kproxy.cli.node import DEFAULT_CONFIG, ConfigOption, JsonOption
from kproxy.config import examine_config, read_policy
from kproxy.control.loading import find_issuer_problems
from kproxy.errors import ConfigError, PolicyError, Problem
from kproxy.model.policy import Approval, Guard, Mask, Policy, Resources
from kproxy.model.settings import Advertise, AdvertiseNames, Config
from kproxy.policy.agreement import in_order
from kproxy.policy.quotas import say_quota
from kproxy.policy.record_words import say_fields
from kproxy.policy.safeguards import say_limits


class Examined(msgspec.Struct, frozen=True):
    """What could be read, and everything that is wrong with it."""

    config: Config | None
    policy: Policy | None
    problems: list[Problem]


def examine(path: Path) -> Examined:
    """Reads the configuration at ``path`` and the policy it names, as far as either can be read."""
    try:
        source = path.read_bytes()
    except OSError as error:
        return Examined(None, None, [Problem(f"cannot be read: {error.strerror}", str(path))])
    config, problems = examine_config(source, str(path), path.resolve().parent, dict(os.environ))
    policy = None
    if config is not None:
        told = {problem.path for problem in problems}
        problems = [*problems, *(one for one in find_issuer_problems(config) if one.path not in told)]
    if config is not None and config.policy_path:
        try:
            policy = policies.load(read_policy(config.policy_path))
            problems = [*problems, *policies.check(policy, config)]
        except PolicyError as error:
            # One run tells all of it: what could be read is looked at for what only a second look finds.
            found = [*error.problems, *policies.check(cast(Policy, error.readable), config, whole=False,
                                                      declared_lost=error.declared_lost)]
            problems = [*problems, *in_order(found)]
        except ConfigError as error:
            problems = [*problems, *error.problems]
    return Examined(config, policy, problems)


def register(app: typer.Typer) -> None:
    @app.command()
    def check(
        config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False,
    ) -> None:
        """Resolve configuration and policy and report every problem. Exit 1 if there is any."""
        examined = examine(config)
        if as_json:
            typer.echo(msgspec.json.encode(summary(examined)).decode())
        else:
            typer.echo("\n".join(lines(examined)))
        raise typer.Exit(1 if examined.problems else 0)


def summary(examined: Examined) -> dict[str, Any]:
    """The resolved node without its secrets."""
    return {
        "ok": not examined.problems,
        "problems": [
            {"file": problem.file, "line": problem.line, "path": problem.path, "message": problem.message}
            for problem in examined.problems
        ],
        "listeners": _listeners(examined.config),
        "policy": _rules(examined.policy),
    }


def _listeners(config: Config | None) -> list[dict[str, Any]]:
    if config is None:
        return []
    return [
        {
            "name": listener.name,
            "bind": f"{listener.host}:{listener.port}",
            "cluster": listener.cluster,
            "brokers": _say_brokers(listener.advertise),
            "authenticate": list(listener.authenticate),
            "tls": listener.tls is not None,
            "balancers": list(listener.proxy_protocol.trusted) if listener.proxy_protocol is not None else [],
            "mode": listener.mode,
        }
        for listener in config.listeners.values()
    ]


def _say_brokers(advertise: Advertise | AdvertiseNames) -> str:
    brokers = f"{advertise.first_broker}-{advertise.last_broker}"
    if isinstance(advertise, AdvertiseNames):
        return f"{brokers} at {advertise.pattern}:{advertise.port}, first {advertise.bootstrap}"
    return f"{brokers} at {advertise.host}:{advertise.first_port}+"


def _rules(policy: Policy | None) -> dict[str, Any] | None:
    if policy is None:
        return None
    return {
        "version": policy.version,
        "topics": len(policy.topics),
        "roles": [role.name for role in policy.roles],
        "rules": [
            *({"kind": "allow", "name": rule.name, "operations": rule.operations, "resources": _words(rule.resources),
               "condition": rule.when.text if rule.when else ""} for rule in policy.allows()),
            *({"kind": "forbid", "name": rule.name, "operations": rule.operations,
               "resources": _words(rule.resources), "condition": rule.when.text if rule.when else ""}
              for rule in policy.forbid),
            *({"kind": "approval", "name": rule.name, "operations": rule.operations, "resources": rule.topics,
               "condition": _approval_condition(rule)} for rule in policy.approvals),
        ],
        "safeguards": [
            {"name": rule.name, "topics": rule.topics, "limits": say_limits(rule), "action": rule.action,
             "roles": rule.roles, "except_roles": rule.except_roles,
             "condition": rule.when.text if rule.when else ""} for rule in policy.safeguards],
        "records": [_record_rule(rule) for rule in policy.record_rules()],
        "quotas": [{"for": rule.name, "each": rule.each, "limits": say_quota(rule)} for rule in policy.quotas],
    }


def _approval_condition(rule: Approval) -> str:
    when = [rule.when.text] if rule.when is not None else []
    unless = [f"unless {rule.unless.text}"] if rule.unless is not None else []
    return " ".join((*when, *unless))


def _say_condition(text: str) -> str:
    return "" if not text else f" {text}" if text.startswith("unless ") else f" where {text}"


def _words(resources: Resources) -> list[str]:
    return [f"{kind} {pattern}" if kind != "cluster" else "cluster"
            for kind in resources.kinds() for pattern in resources.patterns(kind)]


def lines(examined: Examined) -> list[str]:
    """The same for people: one line for each problem, or else for each thing as it will be in force."""
    if examined.problems:
        count = len(examined.problems)
        return [*map(str, examined.problems), f"{count} problem{'s' if count > 1 else ''}"]
    found = summary(examined)
    out = [f"listener {row['name']}: {row['bind']} to {row['cluster']}, brokers {row['brokers']},"
           f" {'+'.join(row['authenticate'])}{' over TLS' if row['tls'] else ''},"
           + (f" behind {', '.join(row['balancers'])}," if row["balancers"] else "")
           + f" {'enforcing' if row['mode'] == 'enforce' else 'OBSERVING ONLY'}"
           for row in found["listeners"]]
    if found["policy"] is not None:
        out += [f"{row['kind']} {row['name']}: {', '.join(row['operations'])} on {', '.join(row['resources'])}"
                + _say_condition(row["condition"]) for row in found["policy"]["rules"]]
        out += [f"{row['kind']} {row['name']}: {', '.join((*row['fields'], *row['detect']))} {row['action']}"
                f" in {', '.join(row['topics'])}, {' and '.join(row['directions'])}"
                + (f", except {', '.join(row['except_roles'])}" if row["except_roles"] else "")
                for row in found["policy"]["records"]]
        out += [f"safeguard {row['name']}: {', '.join(row['limits'])} on {', '.join(row['topics'])}, else"
                f" {row['action']}" + (f", for {', '.join(row['roles'])}" if row["roles"] else "")
                + (f", except {', '.join(row['except_roles'])}" if row["except_roles"] else "")
                + _say_condition(row["condition"]) for row in found["policy"]["safeguards"]]
        out += [f"quota of {'each of ' if row['each'] else ''}{row['for']}: {', '.join(row['limits'])}"
                for row in found["policy"]["quotas"]]
        out.append(f"good: policy {found['policy']['version']}")
    return out


def _record_rule(rule: Mask | Guard) -> dict[str, Any]:
    return {
        "kind": type(rule).__name__.lower(),
        "name": rule.name,
        "topics": rule.topics,
        "directions": rule.directions,
        "fields": say_fields(rule) if isinstance(rule, Mask) else [],
        "detect": rule.detect,
        "parts": rule.parts,
        "action": rule.action.kind if isinstance(rule, Mask) else "block",
        "except_roles": rule.except_roles if isinstance(rule, Mask) else (),
        "condition": rule.when.text if rule.when else "",
    }
