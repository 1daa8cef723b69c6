"""How long a policy of 10,000 rules on 10,000 topics takes from SIGHUP until every worker decides by it, under load.

    python -m bench.reload [--rules 10000] [--rounds 5]

Meanwhile a load produces to topics that both policies allow; no request of it may fail.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from bench import loads
from bench.ladder import FORWARDERS
from bench.micro.policy_table import a_policy
from bench.rig import BINARIES, Rig, pinned
from kproxy.demo.issuer import DevelopmentIssuer, IssuerServer, SigningKey
from tests.support.kproxy_node import Cluster, KproxyNode, Listener
from tests.support.ports import wait_for

BENCH_ROLE = """\
  bench:
    members: '"bench" in principal.groups'
    allow: [{operations: [read, write], topics: ["bench-*"]}]
"""
PATIENCE_SECONDS = 60


def policies(rules: int) -> tuple[str, str]:
    """Two that differ in a comment, so that each reload is one."""
    source = a_policy(rules).decode() + BENCH_ROLE
    return source, source + "# changed\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    before, after = policies(options.rules)
    took = []
    with Rig(FORWARDERS) as rig, IssuerServer() as server:
        issuer = server.issuer = DevelopmentIssuer(server.url, [SigningKey.create("ES256")])
        token, viewer = rig.folder / "token", issuer.issue("olga", "kproxy", {"groups": ["operators"]}, lifetime=3600)
        token.write_text(issuer.issue("bench", "kproxy", {"groups": ["bench"], "run_id": "b"}, lifetime=3600))
        with KproxyNode(clusters={"blackhole": Cluster(("127.0.0.1", rig.direct))}, workers=2,
                        listeners={"bench": Listener("blackhole")}, issuer=server.url, policy=before) as node:
            load = subprocess.Popen(pinned(rig.load_core, [
                str(BINARIES / "load"), "--target", node.bootstrap("bench"), "--sasl", "PLAIN", "--token-file",
                str(token), "--seconds", "3600", "--warmup", "0.1", *loads.LOADS["latency-1k"].arguments(),
            ]), stdout=subprocess.PIPE, text=True)

            def epochs() -> set[tuple[int, bool]]:
                found = node.admin("GET", "/v1/status", viewer)[1]
                return {(found["epoch"], worker["in_force"]) for worker in found["workers"]}

            for turn in range(options.rounds):
                [(epoch, _)] = wait_for("one epoch everywhere", lambda: len(found := epochs()) == 1 and found)
                began = time.monotonic()
                node.reload(after if turn % 2 == 0 else before)
                wait_for("the new policy", lambda epoch=epoch: epochs() == {(epoch + 1, True)}, PATIENCE_SECONDS)
                took.append(time.monotonic() - began)
            failed = load.poll() is not None
            load.terminate()
            told = load.communicate()[0]
    print(f"{options.rules} rules on as many topics, in force in 2 workers: {statistics.median(took):.2f} s "
          f"({min(took):.2f}–{max(took):.2f}), {options.rounds} rounds")
    if failed:
        print(f"the load ended early: {json.loads(told or '{}')}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
