"""What a proxy costs before a real Kafka: its CPU seconds per GB, with Kafka's own performance tools as the clients.

    python -m bench.real_broker [--rounds 3] [--records 500000]

Everything shares the machine, so the clients' throughput says little; the proxy's own CPU time per GB does. HAProxy and
kproxy take turns, each round begins with the other one, and the ratio is taken within a round.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.idle import cpu_seconds
from bench.rungs.haproxy import CONFIG, find_haproxy
from kproxy.demo.issuer import DevelopmentIssuer, IssuerServer, SigningKey
from tests.support import children
from tests.support.kafka_broker import THOROUGH, KafkaBroker
from tests.support.kproxy_node import Cluster, KproxyNode, Listener
from tests.support.ports import accepts, wait_for

RECORD_BYTES = 1024
POLICY = """\
roles:
  bench:
    members: '"bench" in principal.groups'
    allow: [{operations: [read, write, describe], topics: ["bench-*"], groups: ["*"]}]
  other:
    members: '"other" in principal.groups'
    allow: [{operations: [read], topics: ["other-*"]}]
"""
LOGIN = """\
security.protocol=SASL_PLAINTEXT
sasl.mechanism=PLAIN
sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="token" password="{token}";
"""


@dataclass(frozen=True, slots=True)
class Way:
    """A proxy that is up: where clients begin, the processes that carry the bytes, and the clients' properties."""

    name: str
    bootstrap: str
    pids: list[int]
    properties: Path


@contextmanager
def haproxy(kafka: KafkaBroker, folder: Path) -> Iterator[Way]:
    config, properties = folder / "haproxy.cfg", folder / "haproxy.properties"
    port = kafka.address("haproxy")[1]
    config.write_text(CONFIG.format(front=port, behind=kafka.behind("haproxy")[1], bind=""))
    properties.write_text("")
    child = children.start([find_haproxy(), "-db", "-f", str(config)], folder / "haproxy.log")
    try:
        wait_for("HAProxy to listen", lambda: accepts("127.0.0.1", port))
        yield Way("haproxy", f"127.0.0.1:{port}", [child.pid], properties)
    finally:
        children.stop(child, 3)


@contextmanager
def kproxy(kafka: KafkaBroker, folder: Path) -> Iterator[Way]:
    """One worker, tokens, default-deny policy, audit on."""
    with IssuerServer() as server:
        server.issuer = DevelopmentIssuer(server.url, [SigningKey.create("ES256")])
        token = server.issuer.issue("bench", "kproxy", {"groups": ["bench"], "run_id": "bench-1"}, lifetime=7200)
        properties = folder / "kproxy.properties"
        properties.write_text(LOGIN.format(token=token))
        with KproxyNode(clusters={"real": Cluster(kafka.address("direct"))}, listeners={"bench": Listener("real")},
                        issuer=server.url, policy=POLICY) as node:
            yield Way("kproxy", node.bootstrap("bench"), node.workers(), properties)


def measure(kafka: KafkaBroker, way: Way, topic: str, records: int) -> dict[str, float]:
    """CPU seconds per GB of the proxy while the tools produce to a new topic and read it again."""
    gigabytes = records * RECORD_BYTES / 1e9
    kafka.run_tool("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", kafka.bootstrap(), "--create",
                   "--topic", topic, "--partitions", "4")
    before = cpu_seconds(way.pids)
    kafka.run_tool("org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--num-records", str(records),
                   "--record-size", str(RECORD_BYTES), "--throughput", "-1", "--command-config", str(way.properties),
                   "--bootstrap-server", way.bootstrap)
    between = cpu_seconds(way.pids)
    kafka.run_tool("org.apache.kafka.tools.ConsumerPerformance", "--topic", topic, "--num-records", str(records),
                   "--bootstrap-server", way.bootstrap, "--command-config", str(way.properties), "--timeout", "60000",
                   "--group", f"bench-{topic}")
    after = cpu_seconds(way.pids)
    return {"produce": (between - before) / gigabytes, "consume": (after - between) / gigabytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, default=500_000)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kproxy-bench-"))
    found: dict[str, list[dict[str, float]]] = {"haproxy": [], "kproxy": []}
    try:
        with ExitStack() as stack:
            kafka = stack.enter_context(KafkaBroker(taps=["haproxy"], jvm=THOROUGH))
            ways = [stack.enter_context(start(kafka, folder)) for start in (haproxy, kproxy)]
            for turn in range(options.rounds):
                for way in ways if turn % 2 == 0 else reversed(ways):
                    found[way.name].append(measure(kafka, way, f"bench-{way.name}-{turn}", options.records))
                    print(f"  round {turn + 1} {way.name}: {found[way.name][-1]}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for what in ("produce", "consume"):
        ratios = [mine[what] / theirs[what] for mine, theirs in zip(found["kproxy"], found["haproxy"], strict=True)]
        medians = {name: statistics.median(one[what] for one in rounds) for name, rounds in found.items()}
        print(f"{what}: kproxy {medians['kproxy']:.2f} CPU s/GB, HAProxy {medians['haproxy']:.2f}; ratio "
              f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})")


if __name__ == "__main__":
    main()
