"""The semantics of deciding, one rule of interface.md after the other."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kproxy import policy
from kproxy.model.access import FOREVER, Access, ApprovalWanted, Facts, Verdict
from kproxy.model.approval import Grant
from kproxy.model.policy import Policy
from tests.support.policies import EXAMPLE, SATURDAY, decider, facts, loaded

FRAUD = {"model": "models:/fraud/7"}


def decide(made: policy.Decider, who: Facts, operation: str, resource: str, name: str, now: float = 100.0,
           grants: tuple[Grant, ...] = (), mode: Any = "enforce") -> Verdict:
    return made.decide(who, Access(operation, resource, name), grants=grants, mode=mode, now=now)  # type: ignore[arg-type]


def effect(made: policy.Decider, who: Facts, operation: str, topic: str, now: float = 100.0) -> str:
    return decide(made, who, operation, "topic", topic, now).effect


def role(allow: str, rest: str = "", members: str = "{groups: [g]}") -> policy.Decider:
    return decider(f"roles:\n  r:\n    members: {members}\n    allow:\n      - {allow}\n{rest}")


def test_what_no_rule_allows_is_denied() -> None:
    verdict = decide(decider(EXAMPLE), facts("fraud-scoring"), "write", "topic", "orders")
    assert verdict == Verdict("deny", "", "no rule allows write on topic")
    assert decide(decider(EXAMPLE), facts(), "read", "topic", "orders").effect == "deny"
    assert decide(policy.compile(Policy()), facts("g"), "read", "topic", "orders").effect == "deny"


def test_an_allow_covers_its_resources_and_operations_only() -> None:
    made, who = decider(EXAMPLE), facts("fraud-scoring")
    assert decide(made, who, "read", "topic", "features.user.v2") == Verdict("allow", "fraud-scoring.allow[0]")
    assert decide(made, who, "read", "group", "fraud-1").effect == "allow"
    assert decide(made, who, "read", "group", "other").effect == "deny"
    assert decide(made, who, "read", "transactional_id", "features.x").effect == "deny"
    assert decide(made, who, "create", "cluster", "kafka-cluster").effect == "deny"
    cluster = role("{operations: [create], cluster: true}")
    assert decide(cluster, facts("g"), "create", "cluster", "kafka-cluster").effect == "allow"
    assert decide(cluster, facts("g"), "create", "topic", "kafka-cluster").effect == "deny"


def test_a_condition_in_error_says_what_it_missed() -> None:
    made = role("{operations: [write], topics: [t], when: 'attested.model == \"m\" && declared.run != attested.run'}")
    verdict = decide(made, facts("g", attested={"run": "r"}), "write", "topic", "t")
    assert (verdict.effect, verdict.reason) == ("deny", "no rule allows write on topic"), "the client is told no more"
    assert (verdict.condition_errors, verdict.missing) == (("r.allow[0]",), ("attested.model", "declared.run"))
    wrong_type = role("{operations: [write], topics: [t], when: 'principal.attributes.level > 3'}")
    assert decide(wrong_type, facts("g"), "write", "topic", "t").missing == ("principal.attributes.level",)
    member = role("{operations: [write], topics: [t]}", members="'attested.model == \"x\"'")
    assert decide(member, facts(), "write", "topic", "t").missing == ("attested.model",)


def test_a_forbid_beats_every_allow() -> None:
    made = role("{operations: [all], topics: ['*']}",
                "forbid: [{name: no, operations: [write], topics: [orders], message: Not here.}]")
    assert decide(made, facts("g"), "write", "topic", "orders") == Verdict("deny", "no", "Not here.")
    assert effect(made, facts("g"), "write", "others") == "allow"


@pytest.mark.parametrize("granted", ["read", "write", "delete", "alter", "describe"])
def test_describe_is_implied_by_kafkas_four_operations(granted: str) -> None:
    made = role(f"{{operations: [{granted}], topics: [t]}}")
    assert effect(made, facts("g"), "describe", "t") == "allow"


def test_describe_configs_is_implied_by_alter_configs_and_nothing_else() -> None:
    assert effect(role("{operations: [alter_configs], topics: [t]}"), facts("g"), "describe_configs", "t") == "allow"
    assert effect(role("{operations: [alter_configs], topics: [t]}"), facts("g"), "describe", "t") == "deny"
    assert effect(role("{operations: [create], topics: [t]}"), facts("g"), "describe", "t") == "deny"
    assert effect(role("{operations: [describe], topics: [t]}"), facts("g"), "read", "t") == "deny"


def test_a_forbid_implies_nothing() -> None:
    made = role("{operations: [all], topics: [t]}", "forbid: [{name: no, operations: [read], topics: [t]}]")
    assert effect(made, facts("g"), "read", "t") == "deny"
    assert effect(made, facts("g"), "describe", "t") == "allow"
    hidden = role("{operations: [read], topics: [t]}", "forbid: [{name: no, operations: [describe], topics: [t]}]")
    assert effect(hidden, facts("g"), "read", "t") == "allow"
    assert effect(hidden, facts("g"), "describe", "t") == "deny"
    everything = role("{operations: [read], topics: [t]}", "forbid: [{name: no, operations: [all], topics: [t]}]")
    assert effect(everything, facts("g"), "describe", "t") == "deny"


@pytest.mark.parametrize(("condition", "expected"), [
    ("attested.model == 'm'", "deny"),                  # a claim that is not there
    ("principal.attributes.level > 3", "deny"),         # text compared with a number
    ("principal.attributes.flag", "deny"),              # text is not true
    ("attested.run == 'r'", "allow"),
    ("!(attested.model == 'm')", "deny"),               # the negation of an error is an error
    ("attested.model == 'm' || attested.run == 'r'", "allow"),
])
def test_an_allow_whose_condition_is_in_error_does_not_match(condition: str, expected: str) -> None:
    made = role(f'{{name: rule, operations: [read], topics: [t], when: "{condition}"}}')
    who = facts("g", attested={"run": "r"}, attributes={"level": "high", "flag": "yes"})
    verdict = decide(made, who, "read", "topic", "t")
    assert verdict.effect == expected
    assert verdict.condition_errors == (() if expected == "allow" else ("rule",))


def test_a_forbid_whose_condition_is_in_error_matches() -> None:
    made = role("{operations: [read], topics: [t]}",
                "forbid: [{name: no, operations: [read], topics: [t], when: 'attested.model == \"old\"'}]")
    assert decide(made, facts("g"), "read", "topic", "t") == Verdict(
        "deny", "no", "forbidden by no", condition_errors=("no",), missing=("attested.model",))
    assert effect(made, facts("g", attested={"model": "new"}), "read", "t") == "allow"
    assert effect(made, facts("g", attested={"model": "old"}), "read", "t") == "deny"


def test_membership_in_error_is_no_membership() -> None:
    made = role("{operations: [read], topics: [t]}", members="'principal.attributes.team == \"fraud\"'")
    assert made.roles_of(facts(), 0.0) == ()
    assert decide(made, facts(), "read", "topic", "t").condition_errors == ("r",)
    assert made.roles_of(facts(attributes={"team": "fraud"}), 0.0) == ("r",)
    assert effect(made, facts(attributes={"team": "fraud"}), "read", "t") == "allow"


def test_an_attribute_that_cel_cannot_hold_spoils_nothing_but_itself() -> None:
    made = role("{operations: [read], topics: [t]}", members="'principal.attributes.team == \"fraud\"'")
    assert made.roles_of(facts(attributes={"team": "fraud", "huge": 2**70, "odd": object()}), 0.0) == ("r",)


def test_roles_of_names_all_roles_held() -> None:
    held = decider(EXAMPLE).roles_of(facts("privacy", "fraud-scoring", "x"), 0.0)
    assert held == ("fraud-scoring", "privacy-officer")


def test_labels_of_all_matching_entries_merge() -> None:
    made = role("{operations: [read], topics: ['*'], when: 'topic.labels.a == \"1\" && topic.labels.b == \"2\"'}",
                "topics: [{match: 'x.*', labels: {a: '1'}}, {match: '*.y', labels: {b: '2'}}, {match: z}]")
    assert made.labels_of("x.y") == {"a": "1", "b": "2"}
    assert made.labels_of("other") == {}
    assert effect(made, facts("g"), "read", "x.y") == "allow"
    assert effect(made, facts("g"), "read", "x.z") == "deny"


def test_a_condition_on_the_time_holds_for_a_second_at_most() -> None:
    made, who = decider(EXAMPLE), facts("cleaner")
    assert decide(made, who, "delete", "topic", "t", now=SATURDAY - 1) == Verdict(
        "allow", "cleaner.allow[0]", valid_until=SATURDAY)
    assert decide(made, who, "delete", "topic", "t", now=SATURDAY) == Verdict(
        "deny", "no-weekend-deletes", "forbidden by no-weekend-deletes", valid_until=SATURDAY + 1)


def test_a_membership_that_depends_on_the_time_is_decided_anew() -> None:
    made = role("{operations: [read], topics: [t]}", members="'now < timestamp(\"1970-01-01T00:01:00Z\")'")
    who = facts()
    assert decide(made, who, "read", "topic", "t", now=59.5) == Verdict("allow", "r.allow[0]", valid_until=60.5)
    assert decide(made, who, "read", "topic", "t", now=60.5).effect == "deny"
    assert decide(made, who, "read", "topic", "t", now=10.0).effect == "allow"


@pytest.mark.parametrize(("address", "expected"), [
    ("10.1.2.3", "allow"), ("::ffff:10.1.2.3", "allow"), ("192.0.2.1", "deny"), ("", "deny"), ("10.1.2", "deny"),
])
def test_cidr(address: str, expected: str) -> None:
    made = role("{operations: [read], topics: [t], when: 'cidr(\"10.0.0.0/8\", client.address)'}")
    assert effect(made, facts("g", address=address), "read", "t") == expected


def test_declared_facts_never_pass_for_attested_ones() -> None:
    made = role("{operations: [read], topics: [t], when: 'attested.model == \"m\"'}")
    assert effect(made, facts("g", declared={"model": "m"}), "read", "t") == "deny"
    assert effect(made, facts("g", attested={"model": "m"}), "read", "t") == "allow"


WANTED = ApprovalWanted("new-model-version", "write", "topic", "scores.fraud", "models:/fraud/7", "required")


def grant(**changes: Any) -> Grant:
    plain = Grant("g1", WANTED.rule, "corp:job", "write", "topic", "scores.fraud", "models:/fraud/7", 50.0, 500.0)
    return msgspec.structs.replace(plain, **changes)


def test_an_approval_asks_where_the_access_would_be_allowed() -> None:
    made, who = decider(EXAMPLE), facts("fraud-scoring", attested=FRAUD)
    verdict = decide(made, who, "write", "topic", "scores.fraud")
    assert verdict == Verdict("ask", "new-model-version", "new-model-version asks for an approval", wanted=WANTED)
    assert decide(made, who, "write", "topic", "scores.other").effect == "deny"
    other = facts("fraud-scoring", attested={"model": "x"})
    assert decide(made, other, "write", "topic", "scores.fraud").effect == "deny"


def test_a_grant_lets_pass_until_it_ends() -> None:
    made, who = decider(EXAMPLE), facts("fraud-scoring", attested=FRAUD)
    passed = decide(made, who, "write", "topic", "scores.fraud", grants=(grant(),))
    assert passed == Verdict("allow", "fraud-scoring.allow[1]", valid_until=500.0)
    assert decide(made, who, "write", "topic", "scores.fraud", now=499.9, grants=(grant(),)).effect == "allow"
    assert decide(made, who, "write", "topic", "scores.fraud", now=500.0, grants=(grant(),)).effect == "ask"


@pytest.mark.parametrize("changes", [
    {"rule": "another"}, {"principal": "corp:other"}, {"model": "models:/fraud/8"}, {"model": ""}, {"since": 101.0},
])
def test_a_grant_of_something_else_does_not_cover(changes: dict[str, Any]) -> None:
    made, who = decider(EXAMPLE), facts("fraud-scoring", attested=FRAUD)
    assert decide(made, who, "write", "topic", "scores.fraud", grants=(grant(**changes),)).effect == "ask"


def test_unless_in_error_asks() -> None:
    made = role("{operations: [write], topics: [t]}",
                "approvals: [{name: a, operations: [write], topics: [t], approvers: {role: r},"
                " unless: 'attested.model in granted.models'}]")
    verdict = decide(made, facts("g"), "write", "topic", "t", grants=(grant(rule="a", model=""),))
    assert (verdict.effect, verdict.condition_errors) == ("ask", ("a",))
    views = policy.explain(made, facts("g"), Access("write", "topic", "t"), now=100.0).rules
    assert {view.name: view.missing for view in views} == {"a": ("attested.model",), "r.allow[0]": ()}


def test_without_unless_the_very_access_must_be_granted() -> None:
    made = role("{operations: [write, delete], topics: ['*']}",
                "approvals: [{name: a, operations: [all], topics: [t, u], approvers: {role: r}}]")
    exact = grant(rule="a", name="t", model="")
    assert decide(made, facts("g"), "write", "topic", "t", grants=(exact,)) == Verdict(
        "allow", "r.allow[0]", valid_until=500.0)
    assert decide(made, facts("g"), "delete", "topic", "t", grants=(exact,)).effect == "ask"
    other_model = facts("g", attested={"model": "m2"})
    assert decide(made, other_model, "write", "topic", "t", grants=(exact,)).effect == "ask"
    assert decide(made, facts("g"), "write", "topic", "u", grants=(exact,)).effect == "ask"
    assert decide(made, facts("g"), "write", "topic", "free").effect == "allow"


def test_an_approval_with_a_condition_asks_where_it_holds_or_fails() -> None:
    made = role("{operations: [write], topics: [t]}",
                "approvals: [{name: a, operations: [write], topics: [t], approvers: {role: r},"
                " when: 'attested.run == \"r1\"'}]")
    assert effect(made, facts("g", attested={"run": "r1"}), "write", "t") == "ask"
    assert effect(made, facts("g", attested={"run": "r2"}), "write", "t") == "allow"
    assert effect(made, facts("g"), "write", "t") == "ask"


def test_observing_lets_pass_and_says_what_it_would_have_done() -> None:
    made, who = decider(EXAMPLE), facts("fraud-scoring", attested=FRAUD)
    assert decide(made, who, "write", "topic", "scores.fraud", mode="observe") == Verdict(
        "allow", "new-model-version", "new-model-version asks for an approval", would="ask")
    assert decide(made, who, "write", "topic", "orders", mode="observe") == Verdict(
        "allow", "", "no rule allows write on topic", would="deny")
    assert decide(made, who, "read", "topic", "orders", mode="observe").would is None


@pytest.mark.parametrize(("allow", "rest", "expected"), [
    ("{operations: [write], topics: ['a.*']}", "", "allow"),
    ("{operations: [read], topics: ['a.*']}", "", "deny"),
    ("{operations: [write], topics: ['a.*']}", "forbid: [{name: f, operations: [write], topics: ['a*']}]", "deny"),
    ("{operations: [write], topics: ['a.*']}", "forbid: [{name: f, operations: [all], topics: ['*']}]", "deny"),
    ("{operations: [write], topics: ['a.*']}", "forbid: [{name: f, operations: [write], topics: ['a.b']}]", "allow"),
    ("{operations: [write], topics: ['a.*']}", "forbid: [{name: f, operations: [read], topics: ['*']}]", "allow"),
    ("{operations: [write], topics: [t], when: 'attested.model == \"m\"'}", "", "deny"),
    ("{operations: [write], topics: [t], when: 'topic.name == \"t\"'}", "", "allow"),
    ("{operations: [write], topics: [t]}",
     "forbid: [{name: f, operations: [write], topics: ['*'], when: 'attested.model == \"m\"'}]", "deny"),
])
def test_any_topic_asks_whether_some_topic_is_left(allow: str, rest: str, expected: str) -> None:
    assert decide(role(allow, rest), facts("g"), "write", "any_topic", "").effect == expected


def test_the_whole_policy_travels_as_msgpack() -> None:
    made = loaded(EXAMPLE)
    carried = msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Policy)
    assert carried == made
    assert policy.compile(carried).version == made.version
    assert decide(policy.compile(carried), facts("fraud-scoring"), "read", "topic", "orders") == Verdict(
        "allow", "fraud-scoring.allow[0]")


def test_forever_is_how_long_an_unconditional_verdict_holds() -> None:
    assert decide(decider(EXAMPLE), facts("fraud-scoring"), "read", "topic", "orders").valid_until == FOREVER


def test_explain_shows_every_rule_that_was_looked_at() -> None:
    found = policy.explain(decider(EXAMPLE), facts("fraud-scoring", attested=FRAUD),
                           Access("write", "topic", "scores.fraud"), now=100.0)
    assert [(rule.kind, rule.name, rule.held, rule.outcome) for rule in found.rules] == [
        ("allow", "fraud-scoring.allow[1]", True, "holds"), ("approval", "new-model-version", True, "holds")]
    assert found.rules[0].condition == 'attested.model.startsWith("models:/fraud/")'
    assert (found.rules[0].at.file, found.rules[0].at.line) == ("0.yaml", 15)
    assert found.verdict.wanted == WANTED
    assert found.roles == ("fraud-scoring",)
    assert found.labels == {"model_output": "fraud"}
    assert [plan.direction for plan in found.plans] == ["produce"]
    asked = Access("write", "topic", "scores.fraud")
    missing = policy.explain(decider(EXAMPLE), facts("fraud-scoring"), asked, now=1.0)
    assert missing.rules[0].outcome == "error"
    assert missing.verdict.effect == "deny"
    assert missing.plans == ()
