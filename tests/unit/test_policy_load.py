"""What loading refuses, with the place, and what check finds pointless; each fault is looked for by its words."""

from __future__ import annotations

import pytest

from kproxy import policy
from kproxy.errors import PolicyError
from kproxy.model.policy import Allow, Approval, Mask, Place, Resources
from kproxy.model.record_plan import Action
from kproxy.model.settings import Advertise, Cluster, Config, Credential, Issuer, Listener, Node
from kproxy.policy.expressions import SESSION_NAMES
from tests.support.policies import EXAMPLE, loaded

SESSION = ", ".join(sorted(SESSION_NAMES))
ROLE = "roles: {r: {members: {groups: [g]}, allow: [{operations: [all], topics: ['*']}]}}\n"


def problems(*sources: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        loaded(*sources)
    return [str(problem) for problem in caught.value.problems]


def config(**changes: object) -> Config:
    values: dict[str, object] = {
        "file": "kproxy.yaml", "node": Node(), "clusters": {"c": Cluster("c", (("h", 1),))},
        "listeners": {"l": Listener("l", "c", "127.0.0.1", 9092, Advertise("h", 0, 1, 9100), ("OAUTHBEARER",))},
        "issuers": {"corp": Issuer("corp", "https://i", ("a",), attributes={"team": "t"}, attest={"cluster": "c"})},
        "policy_path": "policy", "mode": "enforce", "keys": {"k1": bytes(32)},
    }
    return Config(**{**values, **changes})  # type: ignore[arg-type]


def test_the_example_is_read_as_written() -> None:
    made = loaded(EXAMPLE)
    allow = made.roles[4].allow[1]
    assert allow == Allow(
        "fraud-scoring.allow[1]", ("write",),
        Resources(topics=("scores.fraud",), transactional_ids=("fraud-*",)), allow.when,
        Place("0.yaml", 15, "roles.fraud-scoring.allow[1]"))
    assert made.masks[0] == Mask(
        "contact", ("orders",), ("consume",), Action("hmac", key="k1"), (("user", "email"), ("items", "[*]", "phone")),
        except_roles=("privacy-officer",), at=Place("0.yaml", 20, "masks[0]"))
    assert made.masks[1].action == Action("mask", keep_last=4)
    approval = made.approvals[0]
    assert isinstance(approval, Approval)
    assert (approval.approver_role, approval.quorum, approval.reason) == ("ml-risk", 2, "required")
    assert (approval.request_ttl, approval.max_duration) == (3600.0, 28800.0)
    assert policy.check(made) == []


def test_files_and_their_names_mean_nothing() -> None:
    one, two = b"topics: [{match: a}]\n", b"topics: [{match: b}]\n"
    assert policy.load({"x": one, "y": two}).version == policy.load({"p": two, "q": one}).version
    assert policy.load({"x": one}).version != policy.load({"x": two}).version
    assert len(policy.load({"x": one}).version) == 64


def test_every_problem_of_every_file_is_told_at_once() -> None:
    found = problems(
        "roles:\n  r:\n    members: 'principal.nme == \"x\" && true || zone'\n"
        "    allow:\n      - {operations: [raed], topics: [t]}\n",
        "forbid:\n  - {name: f, operations: [read], topic: [t]}\nforbidden: []\n",
    )
    assert found == [
        "0.yaml:3: roles.r.members: column 10: undeclared reference to 'principal.nme'; did you mean principal.name?;"
        f" known: {SESSION}",
        f"0.yaml:3: roles.r.members: column 33: undeclared reference to 'zone'; known: {SESSION}",
        "0.yaml:5: roles.r.allow[0].operations[0]: 'raed' is no operation; known: alter, alter_configs, cluster_action,"
        " create, delete, describe, describe_configs, idempotent_write, read, two_phase_commit, write, all",
        "1.yaml:2: forbid[0]: the rule names no resource: topics, groups, transactional_ids or cluster: true",
        "1.yaml:2: forbid[0].topic: unknown key 'topic'; known here: operations, topics, groups, transactional_ids,"
        " cluster, name, when, message",
        "1.yaml:3: forbidden: unknown key 'forbidden'; known here: topics, forbid, masks, guards, approvals,"
        " safeguards, quotas, roles, detectors, declared",
    ]


@pytest.mark.parametrize(("source", "words"), [
    ("quotas: [{for: {role: r}}]", "the quota limits nothing: write produce, consume, requests or connections"),
    ("quotas: [{connections: 1}]", "'for' is missing: write for: {role: NAME} or for: {principal: ISSUER:SUBJECT}"),
    ("quotas: [{for: {}, connections: 1}]", "a quota is for one role or for one principal"),
    ("quotas: [{for: {role: r, principal: 'a:b'}, connections: 1}]", "a quota is for one role or for one principal"),
    ("quotas: [{for: {principal: ada}, connections: 1}]", "a principal is ISSUER:SUBJECT"),
    ("quotas: [{for: {principal: 'a:b', each: true}, connections: 1}]", "each is about the members of a role"),
    ("quotas: [{for: {role: r}, produce: 10MB}]", "expected so much a second, as 10MB/s, found '10MB'"),
    ("quotas: [{for: {role: r}, produce: 10XB/s}]", "expected so much a second, as 10MB/s, found '10XB/s'"),
    ("quotas: [{for: {role: r}, requests: 1kB/s}]", "expected so much a second, as 1000/s, found '1kB/s'"),
    ("quotas: [{for: {role: r}, consume: 0/s}]", "a quota of nothing would hold everything up for ever"),
    ("quotas: [{for: {role: zz}, requests: 5/s}]", "role 'zz' is not defined"),
    ("quotas: [{for: {principal: 'a:b'}, requests: 5/s}, {for: {principal: 'a:b'}, consume: 1B/s}]",
     "principal a:b has a quota already, at "),
    ("approvals: [{name: a, operations: [read], topics: [t], approvers: {role: r}, while_pending: hold}]",
     "while_pending: hold is not supported yet"),
    ("approvals: [{name: a, operations: [read], topics: [t], approvers: {role: nobody}}]", "role 'nobody' is not"),
    ("approvals: [{name: a, operations: [read], topics: [t]}]", "'approvers' is missing"),
    ("approvals: [{name: a, operations: [read], topics: [t], approvers: {role: r}, max_duration: 0s}]",
     "must be longer than nothing"),
    ("masks: [{name: m, topics: [t], fields: [a], action: redact, except_roles: [nobody]}]",
     "role 'nobody' is not defined"),
    ("masks: [{name: m, topics: [t], action: redact}]", "no fields, tags or headers and nothing to detect"),
    ("masks: [{name: m, topics: [t], fields: [a]}]", "'action' is missing"),
    ("masks: [{name: m, topics: [t], fields: [a], action: hide}]", "'hide' is not one of redact, replace_with_type"),
    ("masks: [{name: m, topics: [t], fields: [a], action: {hmac: {}}}]", "'key' is missing"),
    ("masks: [{name: m, topics: [t], fields: [a], action: {mask: {}, hmac: {key: k}}}]", "an action is one of"),
    ("masks: [{name: m, topics: [t], fields: ['a.'], action: redact}]", "'a.' ends where a name is wanted"),
    ("masks: [{name: m, topics: [t], fields: ['a[0]'], action: redact}]", "is no path"),
    ("masks: [{name: m, topics: [t], fields: [a], parts: [headers], action: redact}]", "parts leaves value out"),
    ("masks: [{name: m, topics: [t], detect: [email], parts: [key], action: redact}]",
     "only hmac, token or block there"),
    ("masks: [{name: m, topics: [t], detect: [emial], action: redact}]", "'emial' is no entity; did you mean email"),
    ("masks: [{name: m, topics: [t], detect: [], action: redact}]", "the list is empty"),
    ("guards: [{name: g, topics: [t], detect: [email], action: redact}]", "'redact' is not one of block"),
    ("forbid: [{operations: [read], topics: [t]}]", "'name' is missing"),
    ("forbid: [{name: f, operations: [write], groups: [x]}]", "operation 'write' does not exist on groups"),
    ("forbid: [{name: f, operations: [read], topics: [t], transactional_ids: [x]}]",
     "no operation of this rule exists on transactional_ids"),
    ("forbid: [{name: f, operations: [read], topics: [t], groups: [x], when: 'topic.name == \"t\"'}]",
     "the condition reads topic, which a group does not have"),
    ("forbid: [{name: f, operations: [read], topics: ['a\\b']}]", "a backslash stands before"),
    ("forbid: [{name: f, operations: [read], topics: [t], when: 'attested.model in granted.models'}]",
     "'granted.models' is not known here"),
    ("forbid: [{name: f, operations: [read], topics: [t], when: 'topic.labels.cls == \"x\"'}]",
     "no topic has a label 'cls'"),
    ("forbid: [{name: f, operations: [read], topics: [t], when: '1 + 1'}]", "must be true or false, this is int"),
    ("forbid: [{name: f, operations: [read], topics: [t], when: 'cidr(\"10.0.0.0/33\", client.address)'}]",
     "does not appear to be an IPv4 or IPv6 network"),
    ("forbid: [{name: f, operations: [read], topics: [t], when: 'client.id.matches(\"(\")'}]",
     "invalid regular expression"),
    ("guards: [{name: g, topics: [t], detect: [email], when: 'record.value == \"\"'}]",
     "undeclared reference to 'record.value'"),
    ("topics: [{match: 'a.*', labels: {x: '1'}}, {match: a.b, labels: {x: '2'}}]",
     "some topic matches 'a.b' and 'a.*', and label 'x' is '2' here and '1' at"),
    ("topics: [{match: a, labels: {x: '1'}}, {match: a, labels: {x: '2'}}]", "label 'x' of 'a' is '2' here and '1' at"),
    ("topics: [{match: 1}]", "expected text, found a number; put it in quotes"),
    ("masks:\n  - {name: one, topics: ['a*'], fields: [u.e], action: redact}\n"
     "  - {name: two, topics: [ab], fields: [u], action: block}", "'one' and 'two' do two things to the field u.e"),
    ("masks:\n  - {name: one, topics: [a], detect: [email], action: redact}\n"
     "  - {name: two, topics: [a], detect: [email], action: block}", "'one' and 'two' do two things to email"),
    ("masks:\n  - {name: one, topics: [a], detect: [email], action: block}\n"
     "guards:\n  - {name: two, topics: [a], detect: [iban], parts: [key]}", "look at different parts"),
    ("forbid:\n  - {name: x, operations: [read], topics: [t]}\nmasks: [{name: x, topics: [t], fields: [a],"
     " action: redact}]", "rule 'x' is also defined at"),
    ("a: &x 1\nb: *x", "anchors and aliases are not allowed"),
])
def test_what_is_wrong_is_refused(source: str, words: str) -> None:
    found = problems(ROLE, source)
    assert [problem for problem in found if words in problem and problem.startswith("1.yaml:")], found
    assert len(found) == 1, found


def test_quotas_of_nobody_known_are_not_two_for_one() -> None:
    found = problems(ROLE, "quotas: [{for: {principal: ada}, requests: 5/s}, {for: {principal: bob}, requests: 5/s}]")
    assert [one.partition(", with")[0] for one in found] == [
        f"1.yaml:1: quotas[{number}].for.principal: a principal is ISSUER:SUBJECT" for number in (0, 1)]


def test_a_role_that_is_nearly_one_is_named() -> None:
    role = "roles: {scoring: {members: {groups: [g]}, allow: [{operations: [read], topics: [t]}]}}"
    assert problems(role, "quotas: [{for: {role: scorin}, requests: 5/s}]") == [
        "1.yaml:1: quotas[0]: role 'scorin' is not defined; did you mean scoring?"]


def test_a_role_defined_in_two_files_is_refused() -> None:
    assert problems(ROLE, ROLE) == [
        "1.yaml:1: roles.r: role 'r' is also defined at 0.yaml:1",
        "1.yaml:1: roles.r.allow[0]: rule 'r.allow[0]' is also defined at 0.yaml:1",
    ]


@pytest.mark.parametrize(("source", "words"), [
    ("roles: {r: {members: {groups: [g]}, allow: [{operations: [write], topics: [a.b, c]}]}}\n"
     "forbid: [{name: f, operations: [write], topics: ['a.*']}]",
     "write on 'a.b' can never be allowed: 'f' always forbids it"),
    ("roles: {r: {members: {groups: [g]}, allow: [{operations: [create], cluster: true}]}}\n"
     "forbid: [{name: f, operations: [all], cluster: true}]", "create on '*' can never be allowed: 'f' always"),
    ("roles: {r: {members: 'false'}}", "nobody can be in role 'r'"),
    ("roles: {r: {members: '1/0 == 1'}}", "nobody can be in role 'r'"),
    ("roles: {r: {members: {groups: [g]}, allow: [{operations: [read], topics: [t], when: '1 > 2'}]}}",
     "the rule can never fire: its condition is never true"),
    (ROLE + "forbid: [{name: f, operations: [read], topics: [t], when: 'false'}]", "'f' can never fire"),
    (ROLE + "masks: [{name: m, topics: [t], fields: [a], action: redact, when: 'false'}]", "'m' can never fire"),
    (ROLE + "masks: [{name: m, topics: [t], fields: [a], action: redact, except_roles: [r]}]",
     "'m' can never fire: nothing allows any role but those it excepts to write or read its topics"),
    ("roles: {r: {members: {groups: [g]}, allow: [{operations: [read], topics: [t]}]}}\n"
     "guards: [{name: m, topics: [t], detect: [email], directions: [produce]}]",
     "'m' can never fire: nothing allows any role to write its topics"),
    ("roles: {r: {members: {groups: [g]}, allow: [{operations: [read], topics: [t]}]}}\n"
     "approvals: [{name: m, topics: [t], operations: [write], approvers: {role: r}}]",
     "'m' can never fire: nothing allows any role what it asks about"),
    (ROLE + "approvals: [{name: m, topics: [t], operations: [write], approvers: {role: r}, unless: 'true'}]",
     "'m' can never fire: its unless is always true"),
])
def test_rules_that_can_never_fire_are_found(source: str, words: str) -> None:
    found = [str(problem) for problem in policy.check(loaded(source))]
    assert len(found) == 1, found
    assert words in found[0] and found[0].startswith("0.yaml:")


@pytest.mark.parametrize("source", [
    # Each looks like one of the above and can fire all the same.
    "roles: {r: {members: {groups: [g]}, allow: [{operations: [write], topics: ['a*']}]}}\n"
    "forbid: [{name: f, operations: [write], topics: ['a.*']}]",
    "roles: {r: {members: {groups: [g]}, allow: [{operations: [write], topics: [a]}]}}\n"
    "forbid: [{name: f, operations: [write], topics: [a], when: 'listener == \"l\"'}]",
    "roles: {r: {members: {groups: [g]}, allow: [{operations: [write, read], topics: [a]}]}}\n"
    "forbid: [{name: f, operations: [delete], topics: [a]}]",
    ROLE + "masks: [{name: m, topics: [t], fields: [a], action: redact, when: '1/0 == 1'}]",
    ROLE + "forbid: [{name: f, operations: [read], topics: [t], when: '1/0 == 1'}]",
    "roles: {r: {members: {groups: [g]}, allow: [{operations: [read], topics: ['a*b']}]},"
    " s: {members: {groups: [h]}, allow: [{operations: [read], topics: ['x']}]}}\n"
    "masks: [{name: m, topics: ['ac*'], fields: [a], action: redact, except_roles: [s]}]",
])
def test_rules_that_may_fire_are_not_reported(source: str) -> None:
    assert policy.check(loaded(source)) == []


def test_names_that_the_configuration_must_know() -> None:
    made = loaded("""
declared: [ticket]
roles:
  r:
    members: 'attested.cluster == "x" && principal.attributes.team == "y" && principal.attributes.tema == "y"'
    allow:
      - {operations: [all], topics: ["*"],
         when: 'attested["modle"] == "x" || "rnu" in declared || declared.ticket == ""'}
masks: [{name: m, topics: [t], fields: [a], action: {hmac: {key: k2}}}]
""")
    clusters = {"c": Cluster("c", (("h", 1),), (Credential("PLAIN", "nobody", "u", "p"),))}
    settings = config(clusters=clusters, node_roles={"viewer": "principal.x"})
    found = [str(problem) for problem in policy.check(made, settings)]
    assert found == [
        "0.yaml:5: roles.r.members: principal.attributes.tema never has a value; known: team",
        "0.yaml:8: roles.r.allow[0].when: attested.modle never has a value;"
        " known: cluster, commit, launcher, model, run",
        "0.yaml:8: roles.r.allow[0].when: declared.rnu never has a value;"
        " known: cluster, commit, launcher, model, run, ticket",
        "0.yaml:9: masks[0]: key 'k2' is not among the keys of kproxy.yaml",
        f"kproxy.yaml: admin.roles.viewer: column 10: undeclared reference to 'principal.x'; known: {SESSION}",
        "kproxy.yaml: clusters.c.credentials[0].for.role: role 'nobody' is not defined in the policy",
    ]
    assert policy.check(loaded(EXAMPLE), config()) == []


def test_field_paths() -> None:
    made = loaded(ROLE + "masks: [{name: m, topics: [t], action: redact,"
                         r"""fields: [a, a.b, "a[*]", "[*].b", "[*][*].c", 'a\.b.c\[d']}]""")
    assert made.masks[0].fields == (
        ("a",), ("a", "b"), ("a", "[*]"), ("[*]", "b"), ("[*]", "[*]", "c"), ("a.b", "c[d"))
