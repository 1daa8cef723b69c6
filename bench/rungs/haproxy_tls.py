"""HAProxy terminating TLS on one thread: the reference for TLS. Certificate, versions and ciphers are those of kproxy's
rung, both on the system's OpenSSL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.rig import Rig, Running
from bench.rungs import haproxy
from tests.support.certificates import Authority

ABOUT = "HAProxy terminating TLS 1.3 for clients, one thread, tune.bufsize 131072"
WAY = "haproxy-tls"


@contextmanager
def start(rig: Rig) -> Iterator[Running]:
    authority = Authority("bench")
    certificate, key = authority.issue()
    pair = rig.folder / "haproxy.pem"
    pair.write_bytes(certificate + key)
    ca = rig.folder / "haproxy-ca.pem"
    ca.write_bytes(authority.pem)
    with haproxy.forwarding(rig, WAY, bind=f" ssl crt {pair} ssl-min-ver TLSv1.2") as running:
        running.load_options = ["--tls", str(ca)]
        yield running
