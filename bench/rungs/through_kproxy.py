"""kproxy as it is meant to run: tokens, default-deny policy by topic, audit before each answer, metrics. One worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bench.rig import BenchFailed, Rig, Running, pinned
from kproxy.demo.issuer import DevelopmentIssuer, IssuerServer, SigningKey
from tests.support.kproxy_node import Cluster, KproxyNode, Listener

ABOUT = "kproxy, one worker: token login, default-deny policy, audit, metrics"
#: A run takes longer than a short-lived token should; the load logs in once per connection and keeps it.
TOKEN_SECONDS = 3600
POLICY = """\
topics:
  - {match: "bench-*", labels: {class: internal}}
  - {match: "payroll.*", labels: {class: pii}}
roles:
  bench:
    members: '"bench" in principal.groups'
    allow:
      - {operations: [read, write, describe], topics: ["bench-*"], groups: ["bench-*"]}
  payroll:
    members: '"payroll" in principal.groups'
    allow:
      - {operations: [read], topics: ["payroll.*"], when: 'attested.run.startsWith("payroll-")'}
forbid:
  - {name: no-deletes, operations: [delete], topics: ["*"]}
"""


@contextmanager
def start(rig: Rig) -> Iterator[Running]:
    with kproxy(rig, "kproxy") as running:
        yield running


@contextmanager
def kproxy(rig: Rig, name: str, *, policy: str = POLICY, mode: str = "enforce",
           more: Mapping[str, Any] | None = None) -> Iterator[Running]:
    """A node on the proxy's core before the blackhole, and a token for the load. ``more`` goes into its configuration.
    """
    with IssuerServer() as server:
        server.issuer = DevelopmentIssuer(server.url, [SigningKey.create("ES256")])
        token = rig.folder / f"{name}.token"
        claims = {"groups": ["bench"], "actor": "bench", "run_id": "bench-1", "model_uri": "models:/bench/1"}
        token.write_text(server.issuer.issue("bench", "kproxy", claims, lifetime=TOKEN_SECONDS))
        node = KproxyNode(
            clusters={"blackhole": Cluster(("127.0.0.1", rig.direct))},
            listeners={"bench": Listener("blackhole", mode=mode)},
            issuer=server.url, policy=policy, prefix=pinned(rig.proxy_core, []), more=more)
        try:
            node.start()
            workers = node.workers()
            if len(workers) != 1:
                raise BenchFailed(f"kproxy runs {len(workers)} workers, not one: {node.log_tail()}")
            yield Running(node.bootstrap("bench"), workers, [node.supervisor, node.control()], token_file=token)
        finally:
            node.close()
