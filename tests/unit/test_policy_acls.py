"""ACLs as a policy file: what is said, what is told, and the command that writes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from kproxy.cli import policy
from kproxy.errors import KproxyError
from kproxy.model.access import Access
from kproxy.policy.acls import Acl, import_acls, read_listing
from tests.support.policies import decider, facts, loaded

LISTING = """Current ACLs for resource `ResourcePattern(resourceType=TOPIC, name=orders, patternType=LITERAL)`: \n \
\t(principal=User:alice, host=*, operation=READ, permissionType=ALLOW)
\t(principal=User:CN=bob, O=x, host=10.1.2.3, operation=WRITE, permissionType=DENY) \n
Current ACLs for resource `ResourcePattern(resourceType=GROUP, name=a, name=b, patternType=PREFIXED)`: \n \
\t(principal=User:*, host=*, operation=ALL, permissionType=ALLOW) \n
"""


def acl(principal: str = "User:alice", host: str = "*", permission: str = "ALLOW", resource: str = "TOPIC",
        pattern_type: str = "LITERAL", name: str = "t", operation: str = "READ") -> Acl:
    return Acl(principal, host, permission, resource, pattern_type, name, operation)


def effect(text: str, name: str, operation: str = "read", topic: str = "t", address: str = "127.0.0.1") -> str:
    return decider(text).decide(facts(name=name, address=address), Access(operation, "topic", topic), grants=(),
                                mode="enforce", now=1.0).effect


def test_what_kafka_acls_lists_is_read() -> None:
    assert read_listing(LISTING) == [
        acl(name="orders"),
        acl("User:CN=bob, O=x", "10.1.2.3", "DENY", name="orders", operation="WRITE"),
        acl("User:*", resource="GROUP", pattern_type="PREFIXED", name="a, name=b", operation="ALL"),
    ]


@pytest.mark.parametrize("line", ["\t(principal=User:a, host=*, operation=READ, permissionType=ALLOW)", "Done."])
def test_a_line_that_is_not_understood_may_be_a_denial(line: str) -> None:
    with pytest.raises(KproxyError, match="line 1 is not one"):
        read_listing(line)


def test_the_file_says_who_from_where_and_what() -> None:
    made = import_acls([
        acl(), acl(operation="WRITE"), acl(name="u"), acl(name="u", operation="WRITE"),
        acl(resource="CLUSTER", name="kafka-cluster", operation="IDEMPOTENT_WRITE"),
        acl(host="0:0:0:0:0:0:0:1", resource="GROUP", pattern_type="PREFIXED", name="g*"),
        acl("User:*", permission="DENY", operation="DELETE", name="*"), acl(permission="DENY", name="v"),
    ], "corp:{name}")
    assert made.unsaid == ()
    assert made.text.split("\n")[3:] == [
        "roles:",
        '  "User:alice":',
        "    members: 'principal.name == \"corp:alice\"'",
        "    allow:",
        "      - {operations: [idempotent_write], cluster: true}",
        '      - {operations: [read, write], topics: ["t", "u"]}',
        '      - {operations: [read], groups: ["g\\\\**"], when: \'client.address == "::1"\'}',
        "forbid:",
        '  - {name: denied-1, operations: [delete], topics: ["*"]}',
        "  - {name: denied-2, operations: [read], topics: [\"v\"], when: 'principal.name == \"corp:alice\"'}",
        "",
    ]


def test_no_name_leaves_its_place() -> None:
    odd = 'x"\n\'} # \\" || true || "\u2028\u0085'
    made = import_acls([acl(f"User:{odd}"), acl(f"User:{odd}", permission="DENY", resource="GROUP", name=odd),
                        acl(f"Group:{odd}")], "corp:{name}")
    assert effect(made.text, f"corp:{odd}") == "allow"
    assert effect(made.text, "corp:x") == "deny"
    assert loaded(made.text).forbid[0].resources.groups == (odd.replace("\\", "\\\\"),)
    assert "\n" not in made.unsaid[0]


def test_who_has_not_logged_in_keeps_his_name() -> None:
    made = import_acls([acl("User:ANONYMOUS")], "corp:{name}")
    assert (effect(made.text, "anonymous"), effect(made.text, "corp:ANONYMOUS")) == ("allow", "deny")


def test_an_allow_that_cannot_be_said_is_left_out_and_told() -> None:
    made = import_acls([acl("Group:staff"), acl(host="example.com"), acl(operation="UNKNOWN"),
                        acl(resource="DELEGATION_TOKEN", name="abc", operation="DESCRIBE"),
                        acl(pattern_type="UNKNOWN")], "corp:{name}")
    assert len(made.unsaid) == 5
    assert all(f"# NOT EQUIVALENT: {reason}" in made.text for reason in made.unsaid)
    assert all("(left out)" in reason for reason in made.unsaid)
    assert loaded(made.text).roles == ()


@pytest.mark.parametrize(("denied", "also"), [
    (acl("Group:staff", permission="DENY"), ("corp:bob", "read", "t")),
    (acl(host="example.com", permission="DENY"), ("corp:alice", "read", "t")),
    (acl(operation="UNKNOWN", permission="DENY"), ("corp:alice", "write", "t")),
    (acl(pattern_type="UNKNOWN", permission="DENY"), ("corp:alice", "read", "u")),
    (acl(permission="UNKNOWN"), ("corp:alice", "read", "t")),
])
def test_a_denial_that_cannot_be_said_exactly_denies_more(denied: Acl, also: tuple[str, str, str]) -> None:
    everything = acl("User:*", name="*", operation="ALL")
    assert effect(import_acls([everything], "corp:{name}").text, *also) == "allow"
    made = import_acls([everything, denied], "corp:{name}")
    assert effect(made.text, *also) == "deny"
    assert "denied instead" in made.unsaid[0]


@pytest.mark.parametrize("template", ["corp:alice", "{name}{name}", ""])
def test_a_template_names_the_user_once(template: str) -> None:
    with pytest.raises(KproxyError, match=r"one \{name\} in it"):
        import_acls([], template)


def run(*arguments: str) -> Result:
    made = Typer()
    policy.register(made)
    made.command("other")(lambda: None)
    return CliRunner().invoke(made, ["policy", "import-acls", "--principal", "corp:{name}", *arguments])


def test_the_command_writes_a_policy_and_no_file_twice(tmp_path: Path) -> None:
    (tmp_path / "listing").write_text(LISTING.replace("CN=bob, O=x", "bob"))
    out = tmp_path / "acls.yaml"
    done = run("--listing", str(tmp_path / "listing"), "--out", str(out), "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"acls": 3, "file": str(out), "unsaid": []})
    assert effect(out.read_text(), "corp:alice", topic="orders") == "allow"
    again = run("--listing", str(tmp_path / "listing"), "--out", str(out))
    assert (again.exit_code, str(again.exception)) == (1, f"{out} is there already: move it away, or name another file")


def test_a_cluster_without_acls_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "listing").write_text("\n")
    done = run("--listing", str(tmp_path / "listing"), "--out", str(tmp_path / "none.yaml"))
    assert done.exit_code == 0 and "there are no ACLs: this policy allows nobody anything" in done.stderr


def test_the_command_fails_over_what_it_cannot_say_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "listing").write_text(LISTING.replace("User:alice", "Group:staff"))
    done = run("--listing", str(tmp_path / "listing"), "--out", str(tmp_path / "one.yaml"))
    assert isinstance(done.exception, KproxyError)
    assert "not equivalent: ALLOW READ on TOPIC orders (LITERAL) for Group:staff from *" in done.stderr
    assert "# NOT EQUIVALENT: ALLOW READ" in (tmp_path / "one.yaml").read_text()
    partial = run("--listing", str(tmp_path / "listing"), "--out", str(tmp_path / "two.yaml"), "--allow-partial")
    assert partial.exit_code == 0
    assert (tmp_path / "two.yaml").read_text() == (tmp_path / "one.yaml").read_text()


def test_one_source_is_needed_and_no_two(tmp_path: Path) -> None:
    assert run("--out", str(tmp_path / "x")).exit_code == 2
    assert run("--out", str(tmp_path / "x"), "--bootstrap", "h:1", "--listing", "l").exit_code == 2
