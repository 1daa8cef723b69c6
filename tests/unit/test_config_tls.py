"""TLS in kproxy.yaml: what is taken, and every problem with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from kproxy.config import parse_config
from kproxy.errors import ConfigError
from kproxy.model.settings import BrokerTls, Config, ListenerTls
from tests.support.certificates import Authority, write_pair

OURS = Authority()
SOURCE = """
clusters: {{c: {{bootstrap: ["h:1"]{cluster}}}}}
listeners:
  l: {{cluster: c, bind: "{host}:9092", authenticate: [PLAIN],
      advertise: {{ports: {{host: h, brokers: 0-3, first: 9100}}}}{listener}}}
identity: {{issuers: {{corp: {{issuer: "https://i", audience: k}}}}}}
policy: {{path: p}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    OURS.write(tmp_path, "good")
    OURS.write_own(tmp_path)
    OURS.write(tmp_path, "ended", days=-1)
    write_pair(tmp_path, "mixed", OURS.issue()[0], OURS.issue()[1])
    write_pair(tmp_path, "locked", *OURS.issue(password=b"pw"))
    write_pair(tmp_path, "open", *OURS.issue())[1].chmod(0o640)
    (tmp_path / "none.pem").write_text("nothing")
    return tmp_path


def parse(folder: Path, *, cluster: str = "", listener: str = "", host: str = "127.0.0.1",
          certificates: bool = True) -> Config:
    tls = [f", tls: {{{one}}}" if one else "" for one in (cluster, listener)]
    source = SOURCE.format(cluster=tls[0], listener=tls[1], host=host)
    return parse_config(source.encode(), "kproxy.yaml", folder, {}, certificates=certificates)


def test_what_is_taken(folder: Path) -> None:
    config = parse(folder, cluster="ca: ca.pem, cert: good.crt, key: good.key",
                   listener="cert: good.crt, key: good.key, client_ca: ca.pem, client_auth: required", host="0.0.0.0")
    good = (f"{folder}/good.crt", f"{folder}/good.key")
    assert config.clusters["c"].tls == BrokerTls(f"{folder}/ca.pem", *good)
    assert config.listeners["l"].tls == ListenerTls(*good, f"{folder}/ca.pem", "required")
    assert parse(folder).clusters["c"].tls is None


def test_the_systems_authorities_need_no_key(folder: Path) -> None:
    source = SOURCE.format(cluster=", tls: {}", listener="", host="127.0.0.1")
    assert parse_config(source.encode(), "kproxy.yaml", folder, {}).clusters["c"].tls == BrokerTls()


@pytest.mark.parametrize(("listener", "words"), [
    ("cert: good.crt", "listeners.l.tls: 'key' is missing"),
    ("cert: absent.crt, key: good.key", "listeners.l.tls.cert: {folder}/absent.crt cannot be read: No such file"),
    ("cert: ended.crt, key: ended.key", "listeners.l.tls.cert: the certificate ended on "),
    ("cert: mixed.crt, key: mixed.key", "the key does not belong to the certificate"),
    ("cert: locked.crt, key: locked.key", "the key is encrypted; keep it unencrypted in a file of mode 0600"),
    ("cert: open.crt, key: open.key", "listeners.l.tls.key: {folder}/open.key can be read by its group or by others"),
    ("cert: none.pem, key: good.key", "the certificate file holds no PEM certificate"),
    ("cert: good.crt, key: good.crt", "the key file holds no PEM private key"),
    ("cert: good.crt, key: good.key, client_auth: required", "client_auth: required needs a client_ca"),
    ("cert: good.crt, key: good.key, client_ca: ca.pem", "client_ca has no effect with client_auth: none"),
    ("cert: good.crt, key: good.key, client_ca: none.pem, client_auth: requested", "tls.client_ca: the file of author"),
    ("cert: good.crt, key: good.key, client_auth: sometimes", "'sometimes' is not one of none, requested, required"),
    ("cert: good.crt, key: good.key, ciphers: ALL", "unknown key 'ciphers'"),
])
def test_what_is_wrong_is_told_with_its_line(folder: Path, listener: str, words: str) -> None:
    if "open.key" in listener:
        (folder / "open.key").chmod(0o640)
    with pytest.raises(ConfigError) as caught:
        parse(folder, listener=listener)
    found = [str(problem) for problem in caught.value.problems]
    assert len(found) == 1 and found[0].startswith("kproxy.yaml:5: "), found
    assert words.format(folder=folder) in found[0]


def test_a_certificate_that_has_ended_keeps_nobody_from_a_new_policy(folder: Path) -> None:
    config = parse(folder, listener="cert: ended.crt, key: ended.key", certificates=False)
    assert config.listeners["l"].tls == ListenerTls(f"{folder}/ended.crt", f"{folder}/ended.key")


def test_tokens_off_loopback_need_tls(folder: Path) -> None:
    with pytest.raises(ConfigError, match="tokens would travel in the clear: set tls, bind to loopback"):
        parse(folder, host="0.0.0.0")
    assert parse(folder, host="0.0.0.0", listener="cert: good.crt, key: good.key").listeners["l"].tls is not None


@pytest.mark.parametrize(("credential", "words"), [
    ("mechanism: SCRAM-SHA-256, username: u", "SCRAM-SHA-256 needs a username and a password"),
    ('username: "a\\0b", password: {file: pw}', "the username holds a control character"),
])
def test_credentials(folder: Path, credential: str, words: str) -> None:
    (folder / "pw").write_text("secret")
    (folder / "pw").chmod(0o600)
    source = SOURCE.format(cluster=f", credentials: [{{{credential}}}]", listener="", host="127.0.0.1")
    with pytest.raises(ConfigError, match=words):
        parse_config(source.encode(), "kproxy.yaml", folder, {})
