"""How long a node takes from ``kproxy run`` to the first request it serves.

    python -m bench.cold_start [--rounds 10]

The first request is a Metadata answer to a client that logged in with a token; a client tries again every few
milliseconds from the start. The broker is the ladder's blackhole, so no broker's own start is in it.
"""

from __future__ import annotations

import argparse
import statistics
import time

from bench.ladder import FORWARDERS
from bench.rig import Rig
from bench.rungs.through_kproxy import POLICY
from kproxy.demo.issuer import DevelopmentIssuer, IssuerServer, SigningKey
from tests.support import children
from tests.support.kproxy_node import Cluster, KproxyNode, Listener
from tests.support.raw_client import METADATA, RawClient, metadata

GIVE_UP_SECONDS = 30.0


def first_answer(bootstrap: str, token: str) -> None:
    """Returns once a logged-in client has its Metadata. Raises TimeoutError."""
    until = time.monotonic() + GIVE_UP_SECONDS
    while time.monotonic() < until:
        try:
            client = RawClient(bootstrap)
        except OSError:
            time.sleep(0.002)
            continue
        try:
            if client.log_in(token)["error_code"] == 0 and client.ask(METADATA, 9, metadata(["bench-0"])):
                return
        except (OSError, AssertionError):
            continue
        finally:
            client.socket.close()
    raise TimeoutError("the node never answered")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    took = []
    with Rig(FORWARDERS) as rig, IssuerServer() as server:
        server.issuer = DevelopmentIssuer(server.url, [SigningKey.create("ES256")])
        token = server.issuer.issue("bench", "kproxy", {"groups": ["bench"], "run_id": "bench-1"}, lifetime=3600)
        for _ in range(options.rounds):
            node = KproxyNode(clusters={"blackhole": Cluster(("127.0.0.1", rig.direct))},
                              listeners={"bench": Listener("blackhole")}, issuer=server.url, policy=POLICY)
            began = time.monotonic()
            child = children.start(node.command(), node.log, cwd=node.folder)
            try:
                first_answer(node.bootstrap("bench"), token)
                took.append(time.monotonic() - began)
            finally:
                children.stop(child, 20)
                node.close()
    print(f"cold start: {statistics.median(took):.2f} s ({min(took):.2f}–{max(took):.2f}), {len(took)} rounds")


if __name__ == "__main__":
    main()
