"""What one Produce costs between bytes and bytes: framing, header, walk, decision, notes, slot, flow. No sockets.

``python -m bench.micro.session`` prints the least of many rounds: what else runs on the machine only ever adds.
"""

from __future__ import annotations

import time

from kproxy._ext import playbook
from kproxy._ext.ledger import Counters, Ledger
from kproxy._ext.login import advertised
from kproxy._ext.opening import Addresses
from kproxy._ext.session import Epoch, Session
from kproxy.model.access import Facts, Principal, Verdict
from tests.support.frames import batch, request, response

RANGES = advertised({0: (0, 12), 1: (4, 12), 3: (0, 12)})
FACTS = Facts(principal=Principal(name="p", issuer="i", subject="s"), mechanism="none", listener="l")
#: As in the ladder: topics, partitions of each, bytes of a record, requests that come at once.
TOPICS, PARTITIONS, SIZE, TOGETHER = 10, 4, 120, 8
ROUNDS = 3000


class Spool:
    """Forgets everything."""

    refusing = False

    def append(self, kind: int, payload: bytes) -> None: ...

    def commit(self) -> None: ...


def pair(number: int) -> tuple[bytes, bytes]:
    """A request and its answer."""
    topic, index = f"bench-{number % TOPICS}", number // TOPICS % PARTITIONS
    asked = {"index": index, "records": batch([b"x" * SIZE])}
    told = {"index": index, "error_code": 0, "base_offset": number}
    return (request(0, 9, number, {"acks": 1, "timeout_ms": 1,
                                   "topic_data": [{"name": topic, "partition_data": [asked]}]}),
            response(0, 9, number, {"responses": [{"name": topic, "partition_responses": [told]}]}))


def main() -> None:
    ledger = Ledger(Spool())
    session = Session(1, (), Addresses("h", 0, 9, 9100), lambda *asked: (Verdict(effect="allow"), None), Epoch(1),
                      ledger, Counters("l"), lambda *told: None, FACTS)
    session.resume_versions(RANGES)
    playbook.receive_client(session, pair(0)[0], 1.0)
    session.resume_broker(RANGES, 1.0)
    turns = []
    for first in range(0, TOPICS * PARTITIONS, TOGETHER):
        asked, told = zip(*(pair(number) for number in range(first, first + TOGETHER)), strict=True)
        turns.append((b"".join(asked), b"".join(told)))
    least_in = least_out = least_commit = float("inf")
    for turn in range(ROUNDS):
        asked_bytes, told_bytes = turns[turn % len(turns)]
        began = time.perf_counter_ns()
        playbook.receive_client(session, asked_bytes, 1.0)
        middle = time.perf_counter_ns()
        playbook.receive_broker(session, told_bytes, 1.0)
        noted = time.perf_counter_ns()
        ledger.commit()
        least_commit = min(least_commit, time.perf_counter_ns() - noted)
        least_in, least_out = min(least_in, middle - began), min(least_out, noted - middle)
    assert session.cause is None and session.slots.count == 0
    print(f"request {least_in / TOGETHER:.0f} ns, answer {least_out / TOGETHER:.0f} ns, "
          f"commit {least_commit / TOGETHER:.0f} ns a request")


if __name__ == "__main__":
    main()
