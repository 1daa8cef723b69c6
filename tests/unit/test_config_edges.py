"""The two edges of a node in kproxy.yaml: balancers, and where clients are led."""

from __future__ import annotations

from pathlib import Path

import pytest

from kproxy.config import pack_config, parse_config, unpack_config
from kproxy.errors import ConfigError
from kproxy.model.settings import Config, ProxyProtocol

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
