"""``kproxy token``: tokens go where they were asked to go and nowhere else; inspecting shows no signature."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from typer.testing import CliRunner

from kproxy.cli.app import app
from kproxy.demo.issuer import DevelopmentIssuer, IssuerServer, Registered
from kproxy.errors import KproxyError
from kproxy.identity.jwt import build_token_id, parse, validate
from kproxy.model.settings import Issuer
from kproxy.model.snapshot import IssuerKeys

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
clusters: {{dev: {{bootstrap: ["127.0.0.1:9092"]}}}}
listeners:
  main: {{cluster: dev, bind: "127.0.0.1:19092", authenticate: [OAUTHBEARER],
         advertise: {{ports: {{host: 127.0.0.1, brokers: 0-3, first: 19100}}}}}}
identity:
  issuers:
    dev: {{issuer: "{issuer}", audience: [kproxy], {more}attest: {{launcher: actor}}}}
policy: {{path: policy}}
"""


class Ran(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str, cwd: Path, given: str = "") -> Ran:
    """The command in this process, with ``main``'s word for errors."""
    with contextlib.chdir(cwd):
        result = CliRunner().invoke(app, ["token", *arguments], input=given)
    if isinstance(result.exception, KproxyError):
        return Ran(1, result.stdout, f"{result.stderr}kproxy: {result.exception}\n")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a development issuer, its public keys and a configuration that trusts it."""
    folder = tmp_path_factory.mktemp("token")
    made = run("new-issuer", "--url", "https://dev.example.com", "--jwks", "jwks.json", "--json", cwd=folder)
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["issuer"] == "https://dev.example.com"
    (folder / "policy").mkdir()
    (folder / "kproxy.yaml").write_text(
        CONFIG.format(issuer="https://dev.example.com", more="jwks_file: jwks.json, "))
    return folder


def test_the_issuers_file_is_private_and_never_overwritten(home: Path):
    path = home / "dev-issuer.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    again = run("new-issuer", "--url", "https://other.example.com", cwd=home)
    assert (again.returncode, path.read_bytes()) == (1, before)
    assert "there already" in again.stderr
    public = json.loads((home / "jwks.json").read_text())["keys"]
    assert not {"d", "p", "q", "k"} & {name for key in public for name in key}


def test_a_token_on_stdout_is_accepted_by_its_issuers_keys(home: Path):
    made = run("issue", "-s", "scorer", "-a", "kproxy", "-g", "ml", "-c", "actor=ana", "-c", "run_id=42",
               "-c", 'realm_access.roles=["a"]', "--lifetime", "90s", cwd=home)
    assert (made.returncode, made.stderr) == (0, "")
    issuer = Issuer("dev", "https://dev.example.com", ("kproxy",), attest={"run": "run_id", "launcher": "actor"})
    claims = parse(made.stdout.strip()).claims
    keys = IssuerKeys("dev", tuple(json.loads((home / "jwks.json").read_text())["keys"]), 0, 1e12)
    found = validate(made.stdout.strip(), {issuer.issuer: issuer}, {"dev": keys}, claims["iat"])
    assert (found.principal.name, found.principal.groups) == ("dev:scorer", ("ml",))
    assert found.attested == {"run": "42", "launcher": "ana"}
    assert claims["realm_access"] == {"roles": ["a"]}
    assert claims["exp"] - claims["iat"] == 90


def test_a_token_in_a_file_is_nowhere_else(home: Path):
    made = run("issue", "-s", "scorer", "-a", "kproxy", "--out", "token", cwd=home)
    assert (made.returncode, made.stderr) == (0, "")
    path = home / "token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = path.read_text().strip()
    assert token.startswith("eyJ") and "eyJ" not in made.stdout
    ends = datetime.fromtimestamp(parse(token).claims["exp"], UTC)
    assert f"expires={ends:%Y-%m-%d %H:%M:%S} UTC (lifetime 10m)" in made.stdout
    assert build_token_id("https://dev.example.com", parse(token).claims["jti"]) in made.stdout


def test_inspect_shows_claims_and_no_signature(home: Path):
    token = run("issue", "-s", "scorer", "-a", "kproxy", cwd=home).stdout.strip()
    seen = run("inspect", "--json", cwd=home, given=token)
    said = json.loads(seen.stdout)
    assert (said["claims"]["sub"], said["verified"]) == ("scorer", False)
    plain = run("inspect", cwd=home, given=token)
    assert "scorer" in plain.stdout and "UTC" in plain.stdout
    for output in (seen, plain):
        assert token.rsplit(".", 1)[1] not in output.stdout + output.stderr
        assert token.split(".")[1] not in output.stdout + output.stderr


def test_inspect_takes_a_file_and_no_token_on_the_command_line(home: Path):
    token = run("issue", "-s", "fraud-job", "-a", "kproxy", cwd=home).stdout.strip()
    (home / "x.token").write_text(token)
    for given in (("x.token",), ("--token-file", "x.token")):
        assert json.loads(run("inspect", "--json", *given, cwd=home).stdout)["claims"]["sub"] == "fraud-job"
    told = run("inspect", token, cwd=home)
    assert told.returncode == 1 and "on standard input" in told.stderr and token[:20] not in told.stderr


def test_a_token_that_this_folders_node_would_refuse_is_warned_of(home: Path):
    said = run("issue", "-s", "x", "-a", "kproxy", "--lifetime", "3h", cwd=home)
    assert said.returncode == 0 and said.stdout.count(".") == 2
    assert "max_lifetime of its issuer is 3600 s" in said.stderr
    assert run("issue", "-s", "x", "-a", "kproxy", "--lifetime", "1h", cwd=home).stderr == ""


def test_inspect_checks_as_a_node_would(home: Path):
    token = run("issue", "-s", "scorer", "-a", "kproxy", "-c", "actor=ana", cwd=home).stdout
    seen = run("inspect", "--config", "kproxy.yaml", "--json", cwd=home, given=token)
    assert seen.returncode == 0, seen.stderr
    said = json.loads(seen.stdout)
    assert (said["verified"], said["principal"], said["attested"]) == (True, "dev:scorer", {"launcher": "ana"})
    stranger = run("issue", "-s", "scorer", "-a", "other", cwd=home).stdout
    seen = run("inspect", "--config", "kproxy.yaml", "--json", cwd=home, given=stranger)
    assert (seen.returncode, json.loads(seen.stdout)["refused"]) == (1, "wrong_audience")


def test_what_is_no_token_is_refused_in_one_line(home: Path):
    for given in ("", "secret", "a.b.c", "é"):
        seen = run("inspect", cwd=home, given=given)
        assert seen.returncode == 1
        assert len(seen.stderr.splitlines()) == 1 and "Traceback" not in seen.stderr


@pytest.mark.parametrize("arguments", [
    ("issue", "-s", "x"), ("issue", "-s", "x", "-a", "k", "--lifetime", "long"),
    ("issue", "-s", "x", "-a", "k", "-c", "novalue"),
    ("issue", "-s", "x", "-a", "k", "-c", "a=1", "-c", "a.b=2"), ("issue", "-s", "x", "-a", "k", "-c", "a..b=2"),
    ("nothing",),
])
def test_wrong_usage_exits_2(home: Path, arguments: tuple[str, ...]):
    assert run(*arguments, cwd=home).returncode == 2


def test_a_missing_issuer_file_is_one_clear_line(tmp_path: Path):
    seen = run("issue", "-s", "x", "-a", "k", cwd=tmp_path)
    assert seen.returncode == 1
    assert "new-issuer" in seen.stderr and len(seen.stderr.splitlines()) == 1


def test_the_program_itself_says_one_line_and_exits_1(tmp_path: Path):
    command = [sys.executable, "-c", "from kproxy.cli.app import main; main()", "token", "inspect"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    seen = subprocess.run(command, cwd=tmp_path, input="secret", capture_output=True, text=True, timeout=60,
                          env=environment)
    assert (seen.returncode, seen.stdout) == (1, "")
    assert seen.stderr == "kproxy: malformed_token: not three parts joined by dots\n"


def test_rotation_keeps_or_drops_old_keys(tmp_path: Path):
    path = tmp_path / "issuer.json"
    DevelopmentIssuer("https://dev.example.com").save(path)
    first = DevelopmentIssuer.load(path).keys[0].kid
    kept = json.loads(run("rotate", "-f", "issuer.json", "--json", cwd=tmp_path).stdout)
    assert (kept["keys"], kept["kid"] == first) == (2, False)
    dropped = json.loads(run("rotate", "-f", "issuer.json", "--drop-old", "--json", cwd=tmp_path).stdout)
    assert dropped["keys"] == 1
    assert [key.kid for key in DevelopmentIssuer.load(path).keys] == [dropped["kid"]]


def test_the_development_issuers_addresses():
    with IssuerServer(clients={"job": Registered("s3cret", "kproxy", {"actor": "ana"}, lifetime=60)}) as server:
        document = httpx.get(server.url + "/.well-known/openid-configuration").json()
        assert document["issuer"] == server.url
        listed = httpx.get(document["jwks_uri"]).json()["keys"]
        form = {"grant_type": "client_credentials", "client_id": "job", "client_secret": "s3cret"}
        granted = httpx.post(document["token_endpoint"], data=form).json()
        basic = httpx.post(document["token_endpoint"], data={"grant_type": "client_credentials"},
        auth=("job", "s3cret"))
        wrong = httpx.post(document["token_endpoint"], data={**form, "client_secret": "x"})
        other = httpx.post(document["token_endpoint"], data={**form, "grant_type": "password"})
        assert httpx.get(server.url + "/admin").status_code == 404
    assert (wrong.status_code, wrong.json()) == (401, {"error": "invalid_client"})
    assert (other.status_code, basic.status_code, granted["expires_in"]) == (400, 200, 60)
    issuer = Issuer("dev", server.url, ("kproxy",), attest={"launcher": "actor"})
    keys = {"dev": IssuerKeys("dev", tuple(listed), 0, 1e12)}
    now = parse(granted["access_token"]).claims["iat"]
    found = validate(granted["access_token"], {server.url: issuer}, keys, now)
    assert (found.principal.name, found.attested) == ("dev:job", {"launcher": "ana"})
