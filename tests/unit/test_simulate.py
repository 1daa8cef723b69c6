"""``kproxy policy simulate``: the audit's lines decided anew under another policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer import Typer
from typer.testing import CliRunner

from kproxy import policy as policies
from kproxy.cli import policy
from kproxy.model.access import Client, Facts, Principal
from kproxy.model.audit_event import AuditEvent, about, roles_rest_on
from kproxy.policy.simulate import Finding, Simulation, rule_about, simulate
from tests.support.policies import EXAMPLE
from tests.unit.test_cli_check import CONFIG

ANN = Facts(Principal("corp:ann", "corp", "ann", ("analysts",), {"team": "risk"}), "OAUTHBEARER", "l",
            client=Client("ann-client", "tests", "10.0.0.7"))
POLICY = """
roles:
  analysts: {members: {groups: [analysts]}, allow: [{operations: [read], topics: [orders, scores]}]}
"""


def line(kind: str, session: str = "s1", facts: Facts = ANN, ts: float = 100.0, **more: Any) -> AuditEvent:
    told = {**about(facts), **more}
    return AuditEvent(id=f"{kind}.{session}.{ts}", kind=kind, ts=ts, node="n", session=session, **told)


def begin(session: str = "s1", facts: Facts = ANN, ts: float = 90.0) -> AuditEvent:
    return line("connect", session, facts, ts, details=roles_rest_on(facts))


def flow(topic: str = "orders", records: int = 5, **more: Any) -> AuditEvent:
    return line("flow", topic=topic, records=records, **{"direction": "consume", "fields": "inspected", **more})


def run(text: str, *events: AuditEvent) -> Simulation:
    return simulate(policies.compile(policies.load({"p.yaml": text.encode()})), events)


def findings(text: str, *events: AuditEvent) -> list[tuple[str, str, str, str, int]]:
    return [(one.what, one.name, one.rule, one.field, one.count) for one in run(text, begin(), *events).findings]


def test_under_the_same_policy_nothing_goes_another_way():
    assert findings(POLICY, flow(fields_emitted={"id": 5}), line("denied", operation="write", resource="topic",
                                                                 name="orders", decision="deny")) == []


def test_what_would_be_refused_is_summed_up():
    forbidding = POLICY + "forbid: [{name: no-orders, operations: [read], topics: [orders]}]"
    found = run(forbidding, begin(), flow(), flow(records=7, ts=120.0), flow("scores"))
    assert found.findings == (Finding("denied", "corp:ann", "read", "topic orders", "no-orders",
                                      "forbidden by no-orders", "", 12, 120.0),)
    assert (found.sessions, found.lines, found.untold) == (1, 3, 0)


def test_what_was_refused_and_would_not_be():
    wider = POLICY.replace("[read]", "[read, write]")
    refused = line("denied", operation="write", resource="topic", name="orders", decision="deny",
                   details={"repeated": 3})
    assert findings(wider, refused) == [("allowed", "topic orders", "analysts.allow[0]", "", 4)]
    observed = line("would", operation="write", resource="topic", name="orders", decision="allow", would="deny")
    assert findings(wider, observed) == [("allowed", "topic orders", "analysts.allow[0]", "", 1)]


def test_roles_rest_on_what_the_line_of_the_session_says():
    by_team = POLICY.replace("{groups: [analysts]}", "'principal.attributes.team == \"risk\"'")
    assert findings(by_team, flow()) == []
    assert findings(by_team.replace("risk", "other"), flow())[0][0] == "denied"
    renewed = msgspec.structs.replace(ANN, principal=Principal("corp:ann", "corp", "ann", ("others",)))
    later = line("reauthenticated", facts=renewed, ts=95.0, details=roles_rest_on(renewed))
    assert findings(POLICY, later, flow())[0][:2] == ("denied", "topic orders")


def test_a_session_without_a_beginning_is_untold():
    old = line("connect", "s2", details={"software": "x"})
    found = run(POLICY, old, line("flow", "s2", topic="orders", direction="consume"), begin(), flow())
    assert (found.lines, found.untold, found.findings) == (1, 1, ())


MASKS = POLICY + """
masks:
  - {name: mails, topics: [orders], fields: ["user.email", "items[*].phone"], action: redact}
  - {name: cards, topics: [orders], detect: [credit_card], action: redact}
"""


def test_fields_that_would_be_hidden_or_shown():
    moved = flow(fields_emitted={"user.email": 4, "items[*].phone": 9, "id": 5, "items[*].phone.area": 1},
                 fields_masked={"note": 2}, rules={"cards": 2})
    assert findings(MASKS, moved) == [
        ("masked", "topic orders", "mails", "items[*].phone", 9),
        ("masked", "topic orders", "mails", "items[*].phone.area", 1),
        ("masked", "topic orders", "mails", "user.email", 4)]
    assert findings(POLICY, flow(fields_masked={"user.email": 4})) == [("shown", "topic orders", "", "user.email", 4)]


def test_what_the_audit_cannot_tell_is_said():
    assert findings(MASKS, flow(fields_emitted={"id": 5})) == [("unknown", "topic orders", "cards", "", 5)]
    assert findings(MASKS, flow(fields="not_inspected")) == [
        ("unknown", "topic orders", "cards", "", 5), ("unknown", "topic orders", "mails", "", 5)]


@pytest.mark.parametrize(("field", "rule"), [
    ("id", None), ("user.email", None), ("user.name", "only"), ("…", "only"), ("a.<detected>", "only"),
    ("key:id", "keys"), ("key:other", None), ("a[", None),
])
def test_rules_of_lists_and_keys(field: str, rule: str | None):
    made = policies.compile(policies.load({"p.yaml": (POLICY + """
masks:
  - {name: only, topics: [orders], fields_except: [id, user.email], action: redact}
  - {name: keys, topics: [orders], key_fields: [id], action: {hmac: {key: k}}}
""").encode()}))
    plan = made.plan_records(ANN, "orders", "consume", mode="enforce", now=0.0, count_fields=False)
    assert rule_about(plan, field) == rule


def test_the_command_reads_the_audit_and_says_what_it_found(tmp_path: Path):
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "main.yaml").write_bytes(EXAMPLE)
    (tmp_path / "mask.key").write_bytes(b"0123456789abcdef")
    (tmp_path / "mask.key").chmod(0o600)
    (tmp_path / "kproxy.yaml").write_text(CONFIG.replace("MODE", "enforce"))
    (tmp_path / "try.yaml").write_text(POLICY)
    lines = (begin(), flow("features.a"), flow("orders"), flow("orders", ts=5.0))
    (tmp_path / "audit.jsonl").write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in lines) + b"cut off")
    app = Typer()
    policy.register(app)
    given = ["policy", "simulate", "--config", str(tmp_path / "kproxy.yaml"), "--policy", str(tmp_path / "try.yaml"),
             "--audit", str(tmp_path / "audit.jsonl"), "--since", "1970-01-01T00:01:00Z"]
    shown = CliRunner().invoke(app, given)
    assert shown.exit_code == 0, shown.output
    assert "features.a" in shown.output and "denied" in shown.output and "2 lines of 1 sessions" in shown.output
    found = json.loads(CliRunner().invoke(app, [*given, "--json"]).output)
    assert [(one["what"], one["name"], one["count"]) for one in found["findings"]] == [
        ("denied", "topic features.a", 5)]
    missing = CliRunner().invoke(app, [*given[:-4], "--audit", str(tmp_path / "none")])
    assert missing.exit_code == 1 and "none cannot be read: No such file or directory" in str(missing.exception)
