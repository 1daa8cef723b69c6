"""The loads of the ladder: what is sent, how much of it at a time."""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB = 1024, 1024 * 1024
#: Sizes of the record batches that the blackhole keeps for fetches.
FETCH_BYTES = (64 * KIB, MIB)


@dataclass(frozen=True, slots=True)
class Load:
    """``in_flight`` requests wait on each of ``connections``; with ``rate`` (requests a second) the loop is open."""

    name: str
    api: str
    size: int
    connections: int
    in_flight: int
    rate: float = 0.0
    secrets: bool = False
    """Whether records hold an e-mail address and a card number for a mask to find."""
    codec: str = "none"

    def arguments(self) -> list[str]:
        given = ["--api", self.api, "--size", str(self.size), "--connections", str(self.connections),
                 "--in-flight", str(self.in_flight), "--rate", str(self.rate), "--codec", self.codec]
        return [*given, "--secrets"] if self.secrets else given


LOADS = {
    load.name: load
    for load in (
        Load("produce-200", "produce", 200, 8, 8),
        Load("produce-1k", "produce", KIB, 8, 8),
        Load("produce-64k", "produce", 64 * KIB, 8, 4),
        Load("produce-1m", "produce", MIB, 4, 2),
        Load("fetch-64k", "fetch", 64 * KIB, 8, 4),
        Load("fetch-1m", "fetch", MIB, 4, 2),
        Load("latency-1k", "produce", KIB, 8, 1, rate=2000.0),
        Load("login", "connect", 0, 1, 1),
        Load("produce-64k-secrets", "produce", 64 * KIB, 8, 4, secrets=True),
        Load("produce-64k-lz4", "produce", 64 * KIB, 8, 4, secrets=True, codec="lz4"),
        Load("produce-64k-zstd", "produce", 64 * KIB, 8, 4, secrets=True, codec="zstd"),
    )
}
#: What runs when nothing is chosen.
USUAL = ("produce-200", "produce-1k", "produce-64k", "produce-1m", "fetch-64k", "fetch-1m", "latency-1k")
