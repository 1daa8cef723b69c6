"""``kproxy check`` and ``kproxy policy explain`` as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from kproxy.cli import check, policy
from tests.support.certificates import Authority
from tests.support.policies import EXAMPLE

CONFIG = """
clusters: {c: {bootstrap: ["h:1"]}}
listeners:
  l: {cluster: c, bind: "127.0.0.1:9092", authenticate: [OAUTHBEARER], mode: MODE,
      advertise: {ports: {host: h, brokers: 0-3, first: 9100}}}
identity: {issuers: {corp: {issuer: "https://idp.example.com", audience: [kproxy]}}}
keys: {k1: {file: mask.key}}
policy: {path: policy}
"""


@pytest.fixture
def app() -> Typer:
    made = Typer()
    check.register(made)
    policy.register(made)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "main.yaml").write_bytes(EXAMPLE)
    (tmp_path / "mask.key").write_bytes(b"0123456789abcdef-not-to-be-shown")
    (tmp_path / "mask.key").chmod(0o600)
    (tmp_path / "kproxy.yaml").write_text(CONFIG.replace("MODE", "enforce"))
    return tmp_path


def run(app: Typer, *arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_a_good_node_is_shown_as_it_will_run(app: Typer, folder: Path) -> None:
    code, output = run(app, "check", "--config", folder / "kproxy.yaml")
    assert code == 0, output
    lines = output.splitlines()
    assert lines[0] == "listener l: 127.0.0.1:9092 to c, brokers 0-3 at h:9100+, OAUTHBEARER, enforcing"
    assert "allow fraud-scoring.allow[0]: read on topic features.*, topic orders, group fraud-*" in lines
    assert "forbid no-weekend-deletes: delete on topic * where now.getDayOfWeek() in [0, 6]" in lines
    assert "approval new-model-version: write on scores.* unless attested.model in granted.models" in lines
    assert "mask contact: user.email, items[*].phone hmac in orders, consume, except privacy-officer" in lines
    assert "guard secrets: private_key, api_key block in prompts.*, produce" in lines
    assert lines[-1].startswith("good: policy ")
    assert "not-to-be-shown" not in output


def test_observing_is_said_loudly(app: Typer, folder: Path) -> None:
    (folder / "kproxy.yaml").write_text(CONFIG.replace("MODE", "observe"))
    assert "OBSERVING ONLY" in run(app, "check", "--config", folder / "kproxy.yaml")[1]


def test_problems_of_configuration_and_policy_are_told_together(app: Typer, folder: Path) -> None:
    (folder / "kproxy.yaml").write_text(CONFIG.replace("MODE", "enforce").replace("bootstrap", "bootstarp"))
    (folder / "policy" / "more.yaml").write_text("forbid: [{name: f, operations: [raed], topics: [t]}]\n")
    code, output = run(app, "check", "--config", folder / "kproxy.yaml")
    assert code == 1
    lines = output.splitlines()
    assert len(lines) == 4  # What is wrong, and not the rules that are right.
    assert [line.partition(": ")[0] for line in lines[:3]] == [
        f"{folder}/kproxy.yaml:2", f"{folder}/kproxy.yaml:2", f"{folder}/policy/more.yaml:1"]
    assert lines[-1] == "3 problems"


def test_what_only_a_second_look_finds_is_told_in_the_same_run(app: Typer, folder: Path) -> None:
    (folder / "policy" / "more.yaml").write_text("""
forbid:
  - {name: a, operations: [raed], topics: [orders]}
  - {name: b, operations: [read], topics: [orders], when: attested.modle == "x"}
  - {name: c, operations: [read], topics: [orders], when: 1 == 2}
  - {name: d, operations: [delete], topics: ["*"], when: nonsense(}
masks:
  - {name: unreachable, topics: [nowhere], fields: [a], action: {hmac: {key: k9}}}
""")
    code, output = run(app, "check", "--config", folder / "kproxy.yaml")
    said = [line.split(": ", 2)[-1] for line in output.splitlines()[:-1]]
    assert code == 1 and len(said) == 5, output
    assert said[1] == "attested.modle never has a value; known: commit, launcher, model, run"
    assert said[2] == "'c' can never fire: its condition is always false"
    assert "key 'k9' is not among the keys of" in said[4]


@pytest.mark.parametrize("lost", ["declared: [x\n", "declared: 5\n"])
def test_of_a_fact_that_a_lost_file_may_declare_nothing_is_said(app: Typer, folder: Path, lost: str) -> None:
    (folder / "policy" / "more.yaml").write_text("""
forbid:
  - {name: a, operations: [read], topics: [orders], when: declared.x == "1"}
  - {name: b, operations: [read], topics: [orders], when: attested.modle == "x"}
""")
    never = "never has a value"
    assert [name in run(app, "check", "--config", folder / "kproxy.yaml")[1]
            for name in (f"declared.x {never}", f"attested.modle {never}")] == [True, True]
    (folder / "policy" / "lost.yaml").write_text(lost)
    code, output = run(app, "check", "--config", folder / "kproxy.yaml")
    assert code == 1 and "lost.yaml" in output
    assert [f"{name} {never}" in output for name in ("declared.x", "attested.modle")] == [False, True]


def test_a_rule_that_can_never_fire_is_a_failure(app: Typer, folder: Path) -> None:
    (folder / "policy" / "more.yaml").write_text("forbid: [{name: f, operations: [read], topics: [orders]}]\n")
    code, output = run(app, "check", "--config", folder / "kproxy.yaml", "--json")
    found = json.loads(output)
    assert (code, found["ok"]) == (1, False)
    assert [problem["message"] for problem in found["problems"]] == [
        "read on 'orders' can never be allowed: 'f' always forbids it"] * 2
    assert [problem["line"] for problem in found["problems"]] == [7, 14]


def test_json_tells_the_same_without_secrets(app: Typer, folder: Path) -> None:
    code, output = run(app, "check", "--config", folder / "kproxy.yaml", "--json")
    found = json.loads(output)
    assert (code, found["ok"], found["problems"]) == (0, True, [])
    assert found["listeners"][0]["authenticate"] == ["OAUTHBEARER"]
    assert [rule["name"] for rule in found["policy"]["records"]] == ["contact", "cards", "secrets"]
    assert "not-to-be-shown" not in output


def test_a_file_that_is_not_there_is_one_clear_line(app: Typer, folder: Path) -> None:
    assert run(app, "check", "--config", folder / "absent.yaml") == (
        1, f"{folder}/absent.yaml: cannot be read: No such file or directory\n1 problem\n")


def test_issuers_that_are_unsafe_to_trust_are_problems(app: Typer, folder: Path) -> None:
    file = folder / "kproxy.yaml"
    sound = 'audience: [kproxy]}'
    assert sound in file.read_text()
    file.write_text(file.read_text().replace(sound, 'audience: [kproxy], groups: "realm..roles"}'))
    code, output = run(app, "check", "--config", file)
    assert code == 1
    assert f"{file}: identity.issuers.corp.groups: " in output and "1 problem\n" in output


def test_explain_tells_the_decision_and_its_reasons(app: Typer, folder: Path) -> None:
    code, output = run(app, "policy", "explain", "--config", folder / "kproxy.yaml", "--principal", "corp:job",
                       "--groups", "fraud-scoring,other", "--attested", "model=models:/fraud/7",
                       "--operation", "write", "--topic", "scores.fraud")
    lines = output.splitlines()
    assert code == 0
    assert lines[0] == ("ask: write on topic scores.fraud, by new-model-version: "
                        "new-model-version asks for an approval")
    assert lines[2:4] == ["roles held: fraud-scoring", "labels: model_output=fraud"]
    assert lines[4].endswith('main.yaml:15; condition holds: attested.model.startsWith("models:/fraud/")')
    assert lines[5].endswith("; approvers: 2 of ml-risk, for 8 h at most")
    assert lines[-1] == "records, produce: credit_card mask (cards), iban mask (cards)"


def test_explain_names_what_a_condition_misses(app: Typer, folder: Path) -> None:
    code, output = run(app, "policy", "explain", "--config", folder / "kproxy.yaml", "--groups", "fraud-scoring",
                       "--operation", "write", "--topic", "scores.fraud")
    assert (code, output.splitlines()[0]) == (0, "deny: write on topic scores.fraud: no rule allows write on topic")
    assert "(attested.model missing: see --attested, --declared)" in output


def test_explain_as_json(app: Typer, folder: Path) -> None:
    code, output = run(app, "policy", "explain", "--config", folder / "kproxy.yaml", "--groups", "privacy",
                       "--operation", "delete", "--topic", "orders", "--json")
    found = json.loads(output)
    assert (code, found["verdict"]["effect"], found["roles"]) == (0, "deny", ["privacy-officer"])
    assert [(rule["name"], rule["held"]) for rule in found["rules"]] == [
        ("cleaner.allow[0]", False), ("no-weekend-deletes", True)]


@pytest.mark.parametrize("arguments", [
    ["--operation", "read"], ["--operation", "read", "--topic", "a", "--group", "b"],
    ["--operation", "raed", "--topic", "a"],
    ["--operation", "read", "--topic", "a", "--attested", "x"], ["--topic", "a"],
    ["--operation", "read", "--topic", "a", "--listener", "nope"],
])
def test_wrong_usage_is_exit_code_two(app: Typer, folder: Path, arguments: list[str]) -> None:
    assert run(app, "policy", "explain", "--config", folder / "kproxy.yaml", *arguments)[0] == 2


SAFEGUARDS = """\
roles: {etl: {members: {groups: [etl]}}}
safeguards:
  - {name: sure, topics: ["scores.*"], produce: {acks: all, max_batch_bytes: 1MiB}, except_roles: [etl],
     when: 'listener == "l"', action: record}
"""


def test_safeguards_are_shown_and_explained(app: Typer, folder: Path) -> None:
    (folder / "policy" / "safeguards.yaml").write_text(SAFEGUARDS)
    code, output = run(app, "check", "--config", folder / "kproxy.yaml")
    assert code == 0 and ("safeguard sure: acks all, batches of 1048576 bytes at most on scores.*, else record, except"
                          ' etl where listener == "l"') in output.splitlines()
    about = ("--config", folder / "kproxy.yaml", "--operation", "write", "--topic", "scores.fraud")
    _, output = run(app, "policy", "explain", *about)
    line = next(line for line in output.splitlines() if line.startswith("  safeguard "))
    assert line.startswith("  safeguard sure at ") and line.endswith(
        'safeguards.yaml:3: acks all, batches of 1048576 bytes at most; else record; condition holds: listener == "l"')
    assert "else record; not for these roles;" in run(app, "policy", "explain", *about, "--groups", "etl")[1]
    (folder / "policy" / "safeguards.yaml").write_text(SAFEGUARDS.replace('listener == "l"', 'attested.run == "r"'))
    assert 'condition error: attested.run == "r" (attested.run missing: see' in run(app, "policy", "explain", *about)[1]
    (folder / "kproxy.yaml").write_text(CONFIG.replace("MODE", "observe"))
    assert "else record (observing)" in run(app, "policy", "explain", *about)[1]
    found = json.loads(run(app, "policy", "explain", *about, "--json")[1])["safeguards"][0]
    assert (found["name"], found["observed"], found["limits"][0]) == ("sure", True, "acks all")


def test_quotas_are_shown_and_explained(app: Typer, folder: Path) -> None:
    (folder / "policy" / "quotas.yaml").write_text(
        "quotas:\n  - {for: {principal: 'corp:job'}, produce: 10MB/s, requests: 50/s, connections: 3}\n"
        "  - {for: {role: fraud-scoring, each: true}, consume: 1KiB/s}\n")
    code, output = run(app, "check", "--config", str(folder / "kproxy.yaml"))
    assert code == 0
    assert ("quota of principal corp:job: 10000000 bytes produced a second, 50 requests a second, 3 connections"
            in output.splitlines())
    assert "quota of each of role fraud-scoring: 1024 bytes consumed a second" in output.splitlines()
    about = ("--config", str(folder / "kproxy.yaml"), "--principal", "corp:job", "--groups", "fraud-scoring",
             "--operation", "read", "--topic", "orders")
    lines = [line for line in run(app, "policy", "explain", *about)[1].splitlines() if line.startswith("  quota")]
    assert [line.partition(" at ")[0] for line in lines] == [
        "  quota of principal corp:job", "  quota of role fraud-scoring corp:job"]
    assert lines[0].endswith("quotas.yaml:2: 10000000 bytes produced a second, 50 requests a second, 3 connections")


def test_a_safeguard_that_cannot_be_kept_is_a_problem_with_its_place(app: Typer, folder: Path) -> None:
    (folder / "policy" / "safeguards.yaml").write_text(SAFEGUARDS.replace("record", "override"))
    code, output = run(app, "check", "--config", folder / "kproxy.yaml")
    assert code == 1 and "safeguards.yaml:3: safeguards[0]: produce.max_batch_bytes cannot be overridden" in output


def test_a_listener_says_what_stands_before_it(app: Typer, folder: Path) -> None:
    Authority().write(folder, "own")
    more = "tls: {cert: own.crt, key: own.key}, proxy_protocol: {trusted: [10.0.0.0/24, 10.0.1.7]}, mode: enforce"
    (folder / "kproxy.yaml").write_text(CONFIG.replace("mode: MODE", more))
    assert run(app, "check", "--config", folder / "kproxy.yaml")[1].splitlines()[0] == (
        "listener l: 127.0.0.1:9092 to c, brokers 0-3 at h:9100+, OAUTHBEARER over TLS, behind 10.0.0.0/24,"
        " 10.0.1.7/32, enforcing")


def test_an_issuers_problem_is_told_once_and_at_its_line(app: Typer, folder: Path) -> None:
    source = CONFIG.replace("MODE", "enforce").replace("https://idp", "http://idp").replace("[kproxy]", "[]")
    (folder / "kproxy.yaml").write_text(source)
    code, output = run(app, "check", "--config", folder / "kproxy.yaml")
    told = [line.removeprefix(f"{folder}/") for line in output.splitlines() if "issuers.corp" in line]
    assert (code, told) == (1, [
        "kproxy.yaml:6: identity.issuers.corp.audience: the list is empty",
        "kproxy.yaml:6: identity.issuers.corp.issuer: issuer must be an https URL (http on loopback only), or name a"
        " jwks_file"])


def test_the_environment_names_the_configuration(app: Typer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KPROXY_CONFIG", str(folder / "kproxy.yaml"))
    assert run(app, "check")[1].splitlines()[-1].startswith("good: policy ")
    assert run(app, "policy", "explain", "--operation", "read", "--topic", "orders")[1].startswith("deny: ")
