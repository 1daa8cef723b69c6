"""How long a policy of 10,000 rules on 10,000 topics takes from SIGHUP until every worker decides by it, under load.

    python -m bench.reload [--rules 10000] [--rounds 5]

The two policies that take turns differ in a rule and a topic at their beginning, so every place behind has moved.
Meanwhile a load produces to topics that both allow, at a fixed rate; no request of it may fail. Its latency is held
against that of the same load just before, with no reload.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench import loads
from bench.ladder import FORWARDERS
from bench.micro.policy_table import a_policy
from bench.rig import BINARIES, Rig, pinned
from kproxy.demo.issuer import DevelopmentIssuer, IssuerServer, SigningKey
from tests.support.children import cpu_seconds
from tests.support.kproxy_node import Cluster, KproxyNode, Listener
from tests.support.ports import wait_for

BENCH_ROLE = """\
  bench:
    members: '"bench" in principal.groups'
    allow: [{operations: [read, write], topics: ["bench-*"]}]
"""
PATIENCE_SECONDS = 60
LOAD_SECONDS = 4
#: What a load needs to log in and be under way.
UNDER_WAY_SECONDS = 1.0


def policies(rules: int) -> tuple[str, str]:
    """Of which neither leaves a rule of the other in its place."""
    source = a_policy(rules).decode() + BENCH_ROLE
    more = source.replace("topics:\n", "topics:\n  - {match: 'more.*', labels: {class: c1}}\n", 1)
    return source, more.replace("    allow:\n", "    allow:\n      - {operations: [read], topics: ['more.*']}\n", 1)


class Bench:
    """A node before a blackhole, and the load on it."""

    def __init__(self, rig: Rig, node: KproxyNode, token: str, viewer: str) -> None:
        self.node = node
        self._viewer = viewer
        self._token = rig.folder / "token"
        self._token.write_text(token)
        self._core = rig.load_core

    @contextmanager
    def load(self, found: list[dict[str, Any]]) -> Iterator[None]:
        """What it measured is added to ``found``."""
        child = subprocess.Popen(pinned(self._core, [
            str(BINARIES / "load"), "--target", self.node.bootstrap("bench"), "--sasl", "PLAIN", "--token-file",
            str(self._token), "--seconds", str(LOAD_SECONDS), "--warmup", "0.2",
            *loads.LOADS["latency-1k"].arguments()]), stdout=subprocess.PIPE, text=True)
        try:
            yield
            found.append(json.loads(child.communicate(timeout=PATIENCE_SECONDS)[0]))
        finally:
            child.kill()

    def reload(self, policy: str) -> tuple[float, float]:
        """Seconds until the policy is in force in every worker, and CPU seconds that the whole node used for it, those
        of the load in that time included."""
        [(epoch, _)] = wait_for("one epoch everywhere", lambda: len(found := self._epochs()) == 1 and found)
        pids = [self.node.control(), *self.node.workers()]
        used, began = sum(map(cpu_seconds, pids)), time.monotonic()
        self.node.reload(policy)
        wait_for("the new policy", lambda: self._epochs() == {(epoch + 1, True)}, PATIENCE_SECONDS)
        return time.monotonic() - began, sum(map(cpu_seconds, pids)) - used

    def _epochs(self) -> set[tuple[int, bool]]:
        found = self.node.admin("GET", "/v1/status", self._viewer)[1]
        return {(found["epoch"], worker["in_force"]) for worker in found["workers"]}


def spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    before, after = policies(options.rules)
    took: list[tuple[float, float]] = []
    quiet: list[dict[str, Any]] = []
    during: list[dict[str, Any]] = []
    with Rig(FORWARDERS) as rig, IssuerServer() as server:
        issuer = server.issuer = DevelopmentIssuer(server.url, [SigningKey.create("ES256")])
        viewer = issuer.issue("olga", "kproxy", {"groups": ["operators"]}, lifetime=3600)
        token = issuer.issue("bench", "kproxy", {"groups": ["bench"], "run_id": "b"}, lifetime=3600)
        with KproxyNode(clusters={"blackhole": Cluster(("127.0.0.1", rig.direct))}, workers=2,
                        listeners={"bench": Listener("blackhole")}, issuer=server.url, policy=before) as node:
            bench = Bench(rig, node, token, viewer)
            for turn in range(options.rounds):
                with bench.load(quiet):
                    pass
                with bench.load(during):
                    time.sleep(UNDER_WAY_SECONDS)
                    took.append(bench.reload(after if turn % 2 == 0 else before))
    tell(options.rules, took, quiet, during)
    sys.exit(1 if any(one[kind] for one in (*quiet, *during) for kind in ("failed", "misordered", "lost")) else 0)


Measured = list[dict[str, Any]]


def tell(rules: int, took: list[tuple[float, float]], quiet: Measured, during: Measured) -> None:
    print(f"{rules} rules on as many topics, in force in 2 workers after {spread([one for one, _ in took], '.2f')} s;"
          f" {spread([used for _, used in took], '.2f')} s of CPU; {len(took)} rounds")
    for name, found in (("without a reload", quiet), ("with one", during)):
        lost = sum(one["failed"] + one["misordered"] + one["lost"] for one in found)
        figures = ", ".join(f"{key.replace('_', '.')} {spread([one['latency_us'][key] / 1000 for one in found], '.2f')}"
                            for key in ("p50", "p99", "p99_9", "max"))
        print(f"  latency in ms {name}: {figures}; {lost} of {sum(one['requests'] for one in found)} requests failed")


if __name__ == "__main__":
    main()
