"""The two edges of a node in kproxy.yaml: balancers, and where clients are led."""

from __future__ import annotations

from pathlib import Path

import pytest

from kproxy.config import examine_config, pack_config, parse_config, unpack_config
from kproxy.dataplane.listener import plan_ports
from kproxy.errors import ConfigError
from kproxy.model.settings import AdvertiseNames, Config, ProxyProtocol
from tests.support.certificates import Authority

SOURCE = """
clusters: {{c: {{bootstrap: ["h:1"]{cluster}}}}}
listeners:
  l: {{cluster: c, bind: "127.0.0.1:9092", authenticate: [none],
      advertise: {{ports: {{host: h, brokers: 0-3, first: 9100}}}}{listener}}}
policy: {{path: p}}
"""


def parse(*, cluster: str = "", listener: str = "") -> Config:
    source = SOURCE.format(cluster=f", {cluster}" if cluster else "", listener=f", {listener}" if listener else "")
    return parse_config(source.encode(), "kproxy.yaml", Path("/"), {})


def problems(**more: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        parse(**more)
    return [str(problem) for problem in refused.value.problems]


def test_balancers_that_are_trusted() -> None:
    config = parse(listener='proxy_protocol: {trusted: [10.0.0.0/24, 192.0.2.7, "fd00::/8"]}')
    assert config.listeners["l"].proxy_protocol == ProxyProtocol(("10.0.0.0/24", "192.0.2.7/32", "fd00::/8"))
    assert unpack_config(pack_config(config)) == config
    assert parse().listeners["l"].proxy_protocol is None


@pytest.mark.parametrize(("written", "words"), [
    ("{}", "proxy_protocol: 'trusted' is missing"),
    ("{trusted: []}", "proxy_protocol.trusted: the list is empty"),
    ("{trusted: [10.0.0.1/24]}", "expected a network such as 10.0.0.0/24: 10.0.0.1/24 has host bits set"),
    ("{trusted: [balancer.example.com]}", "expected a network such as 10.0.0.0/24"),
    ("{trusted: [10.0.0.0/33]}", "expected a network such as 10.0.0.0/24"),
    ("{trusted: [10.0.0.0/8], version: 1}", "unknown key 'version'; known here: trusted"),
    ("v2", "proxy_protocol: expected a mapping"),
])
def test_what_is_no_such_list(written: str, words: str) -> None:
    assert any(words in problem for problem in problems(listener=f"proxy_protocol: {written}"))


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_headers_for_brokers(version: str) -> None:
    config = parse(cluster=f"proxy_protocol: {version}")
    assert config.clusters["c"].proxy_protocol == version
    assert unpack_config(pack_config(config)) == config
    assert parse().clusters["c"].proxy_protocol is None


def test_a_version_that_is_none() -> None:
    assert problems(cluster="proxy_protocol: 2")[0].endswith('clusters.c.proxy_protocol: expected text, found a number;'
                                                             ' put it in quotes: "2"')
    assert problems(cluster="proxy_protocol: v3")[0].endswith("'v3' is not one of v1, v2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("names")
    authority = Authority()
    authority.write(found, "k", "kafka.example.com", "*.Kafka.example.com", "kafka", "*.kafka", "b.1002.kafka")
    authority.write(found, "start", "kafka.example.com", "b64.kafka.example.com", "bx.kafka.example.com")
    (found / "none.pem").write_text("nothing")
    return found


def examine(folder: Path, names: str, more: str = "tls: {cert: k.crt, key: k.key}") -> tuple[Config | None, list[str]]:
    source = SOURCE.format(cluster="", listener=f", {more}" if more else "").replace(
        "{ports: {host: h, brokers: 0-3, first: 9100}}", names)
    config, found = examine_config(source.encode(), "kproxy.yaml", folder, {})
    return config, [str(problem) for problem in found]


@pytest.mark.parametrize(("written", "names"), [
    ('{pattern: "b{node}.kafka.example.com", port: 9443}',
     AdvertiseNames("b{node}.kafka.example.com", "kafka.example.com", 9443, 0, 4095)),
    ('{pattern: "Broker-{node}.Kafka.example.com", bootstrap: Start.kafka.example.com, brokers: 0-63}',
     AdvertiseNames("broker-{node}.kafka.example.com", "start.kafka.example.com", 9092, 0, 63)),
    ('{pattern: "b.{node}.kafka", bootstrap: kafka, brokers: 1001-1003}',
     AdvertiseNames("b.{node}.kafka", "kafka", 9092, 1001, 1003)),
])
def test_brokers_by_name(folder: Path, written: str, names: AdvertiseNames) -> None:
    config, found = examine(folder, f"{{sni: {written}}}")
    assert found == [] and config is not None and config.listeners["l"].advertise == names
    assert unpack_config(pack_config(config)) == config
    assert plan_ports(config.listeners["l"]) == [(9092, None)]


@pytest.mark.parametrize(("written", "words"), [
    ("{}", "'pattern' is missing"),
    ('{pattern: "b.kafka.example.com"}', "expected a name with {node} once in it"),
    ('{pattern: "b{node}.{node}.example.com"}', "expected a name with {node} once in it"),
    ('{pattern: "b_{node}.example.com"}', "expected a name with {node} once in it"),
    ('{pattern: "-b{node}.example.com"}', "expected a name with {node} once in it"),
    ('{pattern: "b{node}..example.com"}', "expected a name with {node} once in it"),
    ('{pattern: "10.0.0.{node}"}', "expected a name with {node} once in it"),
    ('{pattern: "b{id}.example.com"}', "expected a name with {node} once in it"),
    ('{pattern: "b{node}"}', "'bootstrap' is missing"),
    ('{pattern: "b.{node}.kafka"}', "'bootstrap' is missing"),
    ('{pattern: "b{node}.kafka", bootstrap: "10.0.0.1"}', "expected the name of a server, found '10.0.0.1'"),
    ('{pattern: "b{node}.kafka", bootstrap: b7.kafka}', "bootstrap 'b7.kafka' could be the name of a broker"),
    ('{pattern: "b{node}.kafka", bootstrap: b007.kafka}', "bootstrap 'b007.kafka' could be the name of a broker"),
    ('{pattern: "b{node}.kafka", port: 0}', "0 is not between 1 and 65535"),
    ('{pattern: "b{node}.kafka", brokers: "63"}', "expected a range of broker ids"),
    ('{pattern: "b{node}.kafka", brokers: 0-2147483648}', "broker ids end at 2147483647"),
    ('{pattern: "b{node}.kafka", host: x}', "unknown key 'host'"),
    (f'{{pattern: "{"x" * 60}{{node}}.kafka"}}', "the name of broker 4095 would be longer than names may be"),
])
def test_names_that_are_none(folder: Path, written: str, words: str) -> None:
    _, [problem] = examine(folder, f"{{sni: {written}}}")
    assert words in problem


@pytest.mark.parametrize(("written", "pair", "problems"), [
    ('{pattern: "b{node}.kafka.example.com"}', "start", []),
    ('{pattern: "b{node}.kafka.example.com", brokers: 0-63}', "start", [
        "listeners.l.tls.cert: the certificate names no broker, such as b0.kafka.example.com; it names"
        " kafka.example.com, b64.kafka.example.com, bx.kafka.example.com"]),
    ('{pattern: "b{node}.mesh.example.com", bootstrap: kafka.example.com}', "start", [
        "listeners.l.tls.cert: the certificate names no broker, such as b0.mesh.example.com; it names"
        " kafka.example.com, b64.kafka.example.com, bx.kafka.example.com"]),
    ('{pattern: "b{node}.kafka.example.org"}', "start", [
        "listeners.l.tls.cert: the certificate does not name kafka.example.org, where clients begin; it names"
        " kafka.example.com, b64.kafka.example.com, bx.kafka.example.com"]),
    ('{pattern: "b.{node}.example.com", bootstrap: x.kafka.example.com}', "k", [
        "listeners.l.tls.cert: the certificate names no broker, such as b.0.example.com; it names"
        " kafka.example.com, *.kafka.example.com, kafka, *.kafka, b.1002.kafka"]),
    ('{pattern: "b{node}.kafka", bootstrap: x.y.kafka}', "k", [
        "listeners.l.tls.cert: the certificate does not name x.y.kafka, where clients begin; it names"
        " kafka.example.com, *.kafka.example.com, kafka, *.kafka, b.1002.kafka"]),
])
def test_the_certificate_names_where_clients_are_led(folder: Path, written: str, pair: str,
                                                     problems: list[str]) -> None:
    _, found = examine(folder, f"{{sni: {written}}}", f"tls: {{cert: {pair}.crt, key: {pair}.key}}")
    assert [one.partition(": ")[2] for one in found] == problems


@pytest.mark.parametrize("cert", ["none.pem", "absent.crt"])
def test_a_certificate_that_cannot_be_read_is_told_once(folder: Path, cert: str) -> None:
    _, found = examine(folder, '{sni: {pattern: "b{node}.kafka"}}', f"tls: {{cert: {cert}, key: k.key}}")
    assert len(found) == 1 and ".tls.cert: " in found[0]


def test_names_need_tls(folder: Path) -> None:
    _, [problem] = examine(folder, '{sni: {pattern: "b{node}.kafka"}}', "")
    assert "advertise.sni needs tls: a client names the broker it wants in the handshake" in problem


def test_ports_or_names(folder: Path) -> None:
    _, [problem] = examine(folder, '{sni: {pattern: "b{node}.kafka"}, ports: {host: h, brokers: 0-3, first: 9100}}')
    assert "one of 'ports' and 'sni' is needed, and only one" in problem
