"""The configuration file: what is read, what is refused, and that every refusal has its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kproxy.config import load_config, parse_config, read_policy
from kproxy.errors import ConfigError
from kproxy.model.settings import (
    Advertise,
    Audit,
    Cluster,
    Config,
    Credential,
    Issuer,
    Limits,
    Listener,
    Node,
)

FULL = """
node: {name: edge-1, workers: 2, runtime_dir: run, state_dir: /var/lib/kproxy}
clusters:
  prod:
    bootstrap: ["kafka-1:9093", "[::1]:9094"]
    credentials:
      - {for: {role: fraud}, mechanism: PLAIN, username: svc, password: {env: FRAUD_PW}}
      - {mechanism: NONE}
listeners:
  public:
    cluster: prod
    bind: 0.0.0.0:9092
    advertise: {ports: {host: kproxy.example.com, brokers: 1-3, first: 9100}}
    authenticate: [OAUTHBEARER, PLAIN]
    allow_plaintext: true
    mode: observe
  inner: {cluster: prod, bind: "127.0.0.1:9292", authenticate: [none],
          advertise: {ports: {host: localhost, brokers: 0-0, first: 9293}}}
identity:
  issuers:
    corp: {issuer: https://idp.example.com, audience: kproxy, algorithms: [ES256], max_lifetime: 1h30m,
           principal: "{issuer}:{sub}", groups: realm_access.roles, attributes: {team: team},
           attest: {launcher: actor}, token_profile: generic, jwks_file: keys.json, clock_skew: 250ms}
keys: {k1: {file: mask.key}}
policy: {path: policy/, mode: enforce}
audit: {durability: interval, when_full: pass, fields: true, sinks: [{file: audit.jsonl}], max_spool_bytes: 64MiB}
admin: {bind: 127.0.0.1:9464, authenticate: [oidc],
        roles: {viewer: {groups: [sre, "o\\"ps"]}, approver: '"ml" in principal.groups'}}
metrics: {bind: 0.0.0.0:9465}
limits: {connections.max.idle.ms: 1500, socket.request.max.bytes: 2048, connections.max.reauth.ms: 60000,
         max.connections: 5, login.timeout.ms: 1000, drain.timeout.ms: 2000, queued.bytes.per.connection: 64KiB,
         records.max.bytes: 32MiB, records.max.ratio: 50, records.any.ratio.bytes: 1MiB}
"""

MINIMAL = """
clusters: {c: {bootstrap: ["h:1"]}}
listeners:
  l: {cluster: c, bind: "127.0.0.1:9092", authenticate: [none],
      advertise: {ports: {host: h, brokers: 0-3, first: 9100}}}
policy: {path: p}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    key = tmp_path / "mask.key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    return tmp_path


def parse(source: str, folder: Path, **environment: str) -> Config:
    return parse_config(source.encode(), "kproxy.yaml", folder, environment)


def problems(source: str, folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(source, folder)
    return [str(problem) for problem in caught.value.problems]


def test_everything_that_is_supported_is_read(folder: Path) -> None:
    assert parse(FULL, folder, FRAUD_PW="secret\n") == Config(
        file="kproxy.yaml",
        node=Node("edge-1", 2, f"{folder}/run", "/var/lib/kproxy"),
        clusters={"prod": Cluster("prod", (("kafka-1", 9093), ("::1", 9094)), (
            Credential("PLAIN", "fraud", "svc", "secret"), Credential("NONE")))},
        listeners={
            "public": Listener("public", "prod", "0.0.0.0", 9092, Advertise("kproxy.example.com", 1, 3, 9100),
                               ("OAUTHBEARER", "PLAIN"), "observe", allow_plaintext=True),
            "inner": Listener("inner", "prod", "127.0.0.1", 9292, Advertise("localhost", 0, 0, 9293), ("none",)),
        },
        issuers={"corp": Issuer(
            "corp", "https://idp.example.com", ("kproxy",), ("ES256",), 5400.0, "{issuer}:{sub}", "realm_access.roles",
            {"team": "team"}, {"launcher": "actor"}, "generic", jwks_file=f"{folder}/keys.json", clock_skew=0.25)},
        policy_path=f"{folder}/policy",
        mode="enforce",
        keys={"k1": b"k" * 32},
        audit=Audit("interval", "pass", True, f"{folder}/audit.jsonl", 64 << 20),
        admin=("127.0.0.1", 9464),
        node_roles={"viewer": '"sre" in principal.groups || "o\\"ps" in principal.groups',
                    "approver": '"ml" in principal.groups'},
        metrics=("0.0.0.0", 9465),
        limits=Limits(1.5, 2048, 60.0, 5, 1.0, 2.0, 64 << 10, 32 << 20, 50, 1 << 20),
    )


def test_what_is_left_out_has_its_default(folder: Path) -> None:
    config = parse(MINIMAL, folder)
    assert config.limits == Limits()
    assert config.audit == Audit()
    assert config.node == Node(name=os.uname().nodename)
    assert (config.mode, config.listeners["l"].mode, config.admin, config.metrics) == (
        "enforce", "enforce", ("127.0.0.1", 9464), ("127.0.0.1", 9465))


def test_a_listener_takes_the_mode_of_the_policy_unless_it_has_its_own(folder: Path) -> None:
    assert parse(MINIMAL.replace("{path: p}", "{path: p, mode: observe}"), folder).listeners["l"].mode == "observe"


def test_every_problem_is_told_in_one_run_with_its_line(folder: Path) -> None:
    assert problems("""\
node: {workers: 0, nme: x}
clusters:
  c: {bootstrap: [h], tls: {ca: x}}
  c: {bootstrap: ["h:1"]}
listeners:
  l: {cluster: d, bind: "0.0.0.0:9092", authenticate: [PLAIN, mtls],
      advertise: {ports: {host: h, brokers: 3-0, first: 9100}}}
policy: {path: p, mode: yes}
limits: {max.connections: many}
""", folder) == [
        "kproxy.yaml:1: node.workers: 0 is not between 1 and 1024",
        "kproxy.yaml:1: node.nme: unknown key 'nme'; known here: name, workers, runtime_dir, state_dir",
        "kproxy.yaml:3: clusters.c.bootstrap[0]: expected host:port, found 'h'",
        f"kproxy.yaml:3: clusters.c.tls.ca: {folder}/x cannot be read: No such file or directory",
        "kproxy.yaml:4: clusters: duplicate key 'c'",
        "kproxy.yaml:6: listeners.l.authenticate[1]: mtls is not supported yet",
        "kproxy.yaml:6: listeners.l.cluster: cluster 'd' is not configured; known here: c",
        "kproxy.yaml:6: listeners.l: tokens would travel in the clear: set tls, bind to loopback or set"
        " allow_plaintext: true",
        "kproxy.yaml:6: listeners.l: tokens are asked for, but identity.issuers is empty: nobody could log in",
        "kproxy.yaml:7: listeners.l.advertise.ports.brokers: expected a range of broker ids such as 0-63, found '3-0'",
        "kproxy.yaml:8: policy.mode: 'yes' is not one of enforce, observe",
        "kproxy.yaml:9: limits.max.connections: expected a whole number, found text 'many'",
    ]


@pytest.mark.parametrize(("before", "after", "words"), [
    ("policy: {path: p}", "policy: {path: p}\nquotas: []", "unknown key 'quotas'"),
    ("policy: {path: p}", "", "'policy' is missing"),
    ("policy: {path: p}", "policy: {path: p}\nidentity: {saml: {}}", "SAML is not supported yet"),
    ("policy: {path: p}", "policy: {path: p}\nidentity: {token_service: {}}", "the token service is not supported yet"),
    ("policy: {path: p}", "policy: {path: p}\naudit: {sinks: [{kafka: {topic: t}}]}", "audit sink is not supported"),
    ("policy: {path: p}", "policy: {path: p}\naudit: {sinks: [{file: /dev/full}]}", "/dev/full is no regular file"),
    ("policy: {path: p}", "policy: {path: p}\nadmin: {tls: {}}", "TLS on the admin API is not supported yet"),
    ("policy: {path: p}", "policy: {path: p}\nmetrics: {topics: [t]}", "a label of metrics is not supported yet"),
    ("policy: {path: p}", "policy: {path: p}\nadmin: {bind: 0.0.0.0:9464}", "tokens would travel in the clear"),
    ("policy: {path: p}", "policy: {path: p}\nadmin: {roles: {root: {groups: [x]}}}", "'root' is not one of viewer"),
    ("policy: {path: p}", "policy: {path: p}\nmetrics: {bind: 127.0.0.1:9464}", "metrics (port 9464) overlaps admin"),
    ("policy: {path: p}", "policy: {path: p}\nmetrics: {bind: 0.0.0.0:9101}", "overlaps the brokers of listener l"),
    ("bind: \"127.0.0.1:9092\"", "bind: \"127.0.0.1:9092\", tls: {cert: x}", "'key' is missing"),
    ("bind: \"127.0.0.1:9092\"", "bind: 0.0.0.0:9092", "lets everybody in"),
    ("bind: \"127.0.0.1:9092\"", "bind: 127.0.0.1:0", "expected host:port"),
    ("bind: \"127.0.0.1:9092\"", "bind: \"::1:9092\"", "put an IPv6 host in brackets"),
    ("[none]", "[none, PLAIN]", "none cannot be combined"),
    ("[none]", "[SCRAM-SHA-512]", "SCRAM-SHA-512 is not supported yet"),
    ("{ports: {host: h, brokers: 0-3, first: 9100}}", "{}", "one of 'ports' and 'sni' is needed, and only one"),
    ("first: 9100", "first: 65534", "past 65535"),
    ("bootstrap: [\"h:1\"]", "bootstrap: []", "the list is empty"),
    ("[\"h:1\"]", "[\"h:1\"], credentials: [{mechanism: SCRAM-SHA-512}]", "SCRAM-SHA-512 needs a username"),
    ("[\"h:1\"]", "[\"h:1\"], credentials: [{mechanism: GSSAPI}]", "GSSAPI to the brokers is not supported yet"),
    ("[\"h:1\"]", "[\"h:1\"], credentials: [{mechanism: PLAIN}]", "needs a username"),
    ("[\"h:1\"]", "[\"h:1\"], credentials: [{mechanism: NONE}, {mechanism: NONE}]", "those after it are never used"),
])
def test_what_cannot_be_honoured_is_refused(folder: Path, before: str, after: str, words: str) -> None:
    assert before in MINIMAL
    found = problems(MINIMAL.replace(before, after), folder)
    assert len(found) == 1, found
    assert words in found[0]


ISSUER = MINIMAL.replace("[none]", "[PLAIN]") + "identity:\n  issuers:\n"


@pytest.mark.parametrize(("issuers", "words"), [
    ("a: {issuer: 'http://idp.example.com', audience: [k]}", "must be an https URL"),
    ("a: {issuer: 'https://i', audience: [k], jwks_url: 'http://i/keys'}", "jwks_url must be an https URL"),
    ("a: {issuer: 'https://i', audience: [k], jwks_url: 'https://i/keys', jwks_file: f}", "exclude each other"),
    ("a: {issuer: 'https://i', audience: []}", "the list is empty"),
    ("a: {issuer: 'https://i'}", "'audience' is missing"),
    ("a: {issuer: 'https://i', audience: [k], algorithms: [HS256]}", "'HS256' is not one of RS256"),
    ("a: {issuer: 'https://i', audience: [k], algorithms: [none]}", "'none' is not one of RS256"),
    ("a: {issuer: 'https://i', audience: [k], principal: fixed}", "must hold one claim"),
    ("a: {issuer: 'https://i', audience: [k], principal: '{issuer}'}", "must hold one claim"),
    ("a: {issuer: 'https://i', audience: [k], principal: '{sub}{email}'}", "must hold one claim"),
    ("'a:b': {issuer: 'https://i', audience: [k]}", "alias is made of letters"),
    ("a: {issuer: 'https://i', audience: [k]}\n    b: {issuer: 'https://i', audience: [k]}", "is also the issuer 'a'"),
    ("a: {issuer: 'https://i', audience: [k], principal: '{sub}'}\n    b: {issuer: 'https://j', audience: [k]}",
     "can collide with"),
    ("a: {issuer: 'https://i', audience: [k], principal: '{issuer}{sub}'}\n"
     "    ab: {issuer: 'https://j', audience: [k], principal: '{issuer}{sub}'}", "can collide with"),
    ("a: {issuer: 'https://i', audience: [k], jwks_refresh: 2h}", "keys would lapse"),
])
def test_issuers_that_cannot_be_trusted_are_refused(folder: Path, issuers: str, words: str) -> None:
    found = problems(ISSUER + f"    {issuers}\n", folder)
    assert len(found) == 1, found
    assert words in found[0]


def test_two_issuers_whose_names_cannot_meet_are_fine(folder: Path) -> None:
    found = parse(ISSUER + "    a: {issuer: 'https://i', audience: [k]}\n"
                           "    ab: {issuer: 'http://127.0.0.1:8080/x', audience: [k]}\n", folder)
    assert list(found.issuers) == ["a", "ab"]


def test_a_name_that_could_be_anonymous_is_refused(folder: Path) -> None:
    found = problems(MINIMAL + "identity: {issuers: {a: {issuer: 'https://i', audience: [k], principal: '{sub}'}}}",
                     folder)
    assert len(found) == 1
    assert "can collide with the fixed principal 'anonymous'" in found[0]


@pytest.mark.parametrize(("secret", "words"), [
    ("plain", "never in this file"),
    ("{env: UNSET}", "the environment variable UNSET is not set"),
    ("{file: absent}", "cannot be read: No such file"),
    ("{file: open.key}", "can be read by its group or by others"),
    ("{file: short.key}", "shorter than 16 bytes"),
    ("{file: empty.key}", "is empty"),
    ("{file: mask.key, env: X}", "either {env: NAME} or {file: PATH}"),
])
def test_secrets_that_are_none_are_refused(folder: Path, secret: str, words: str) -> None:
    for name, content, mode in (("open.key", b"k" * 32, 0o640), ("short.key", b"k", 0o600), ("empty.key", b"", 0o600)):
        (folder / name).write_bytes(content)
        (folder / name).chmod(mode)
    found = problems(MINIMAL + f"keys: {{k: {secret}}}", folder)
    assert len(found) == 1, found
    assert words in found[0]


def test_no_problem_tells_a_secret(folder: Path) -> None:
    found = problems(MINIMAL + "keys: {k: hunter2-hunter2}\nclusters2: {password: hunter2}\n", folder)
    assert "hunter2" not in "".join(found)


def test_load_config_reads_a_file_and_its_folder(folder: Path) -> None:
    (folder / "kproxy.yaml").write_text(MINIMAL)
    assert load_config(folder / "kproxy.yaml").policy_path == str(folder / "p")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(folder / "absent.yaml")


def test_an_empty_file_is_refused(folder: Path) -> None:
    assert problems("# nothing\n", folder) == ["kproxy.yaml: the file is empty"]


def test_read_policy_takes_every_yaml_file_of_a_folder(folder: Path) -> None:
    (folder / "p").mkdir()
    with pytest.raises(ConfigError, match="no policy files"):
        read_policy(folder / "p")
    for name in ("b.yml", "a.yaml", ".hidden.yaml", "notes.txt"):
        (folder / "p" / name).write_text(name)
    assert read_policy(folder / "p") == {f"{folder}/p/a.yaml": b"a.yaml", f"{folder}/p/b.yml": b"b.yml"}
    assert read_policy(folder / "p" / "a.yaml") == {f"{folder}/p/a.yaml": b"a.yaml"}
    with pytest.raises(ConfigError, match="No such file"):
        read_policy(folder / "q")
