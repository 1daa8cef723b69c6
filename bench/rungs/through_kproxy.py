"""A node before the blackhole, on the proxy's core, one worker; variants.py says which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.rig import HERE, BenchFailed, Rig, Running, pinned
from bench.rungs import haproxy_tls
from kproxy.demo.issuer import DevelopmentIssuer, IssuerServer, SigningKey
from tests.support.certificates import Authority
from tests.support.kproxy_node import Cluster, KproxyNode, Listener

#: A run takes longer than a short-lived token should; the load logs in once per connection and keeps it.
TOKEN_SECONDS = 3600
TOKENS = ("OAUTHBEARER", "PLAIN")
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
def kproxy(rig: Rig, name: str, *, policy: str = POLICY, mode: str = "enforce",
           login: bool = True, tls: bool = False, tls_behind: bool = False, program: str = "kproxy",
           more: Mapping[str, Any] | None = None) -> Iterator[Running]:
    """The node, and a token for the load. ``more`` goes into its configuration; ``program`` is the module it runs.
    ``tls_behind``: the blackhole speaks TLS too, by an HAProxy before it that nobody measures."""
    with IssuerServer() as server, _broker(rig, tls_behind) as cluster:
        server.issuer = DevelopmentIssuer(server.url, [SigningKey.create("ES256")])
        token = rig.folder / f"{name}.token"
        claims = {"groups": ["bench"], "actor": "bench", "run_id": "bench-1", "model_uri": "models:/bench/1"}
        token.write_text(server.issuer.issue("bench", "kproxy", claims, lifetime=TOKEN_SECONDS))
        ca, files = _certificates(rig, name) if tls else (None, None)
        node = KproxyNode(
            clusters={"blackhole": cluster},
            listeners={"bench": Listener("blackhole", mode=mode, authenticate=TOKENS if login else ("none",),
                                         tls=files)},
            issuer=server.url, policy=policy, more=more, program=program,
            prefix=[*pinned(rig.proxy_core, []), "env", f"PYTHONPATH={HERE.parent}"])
        try:
            node.start()
            workers = node.workers()
            if len(workers) != 1:
                raise BenchFailed(f"kproxy runs {len(workers)} workers, not one: {node.log_tail()}")
            yield Running(node.bootstrap("bench"), workers, [node.supervisor, node.control()], token_file=token,
                          sasl="PLAIN" if login else "", load_options=["--tls", str(ca)] if ca else [],
                          metrics=node.metrics_address, audit=node.folder / "state/audit/audit.jsonl")
        finally:
            node.close()


@contextmanager
def _broker(rig: Rig, with_tls: bool) -> Iterator[Cluster]:
    if not with_tls:
        yield Cluster(("127.0.0.1", rig.direct))
        return
    with haproxy_tls.start(rig) as front:
        host, _, port = front.bootstrap.rpartition(":")
        yield Cluster((host, int(port)), tls={"ca": front.load_options[1]})


def _certificates(rig: Rig, name: str) -> tuple[Path, dict[str, str]]:
    """(file of the authority, the listener's ``tls``)."""
    authority = Authority("bench")
    certificate, key = authority.write(rig.folder, name)
    return authority.write_own(rig.folder, f"{name}-ca"), {"cert": str(certificate), "key": str(key)}
