"""What a hot look-up in the policy table costs, and what a miss costs. Target of the hot one: 150 ns.

    .venv/bin/python -m bench.micro.policy_table

Prints the median of ten runs with the fastest and slowest. A hot look-up is measured without leaving C, over as many
names as given, so that the larger sets show what leaving the processor's caches costs.
"""

from __future__ import annotations

import statistics
import time

from kproxy import policy
from kproxy._ext.policy_table import PolicyTable
from kproxy.model.access import Access, Facts, Principal

RUNS = 10
LOOK_UPS = 1_000_000
FACTS = Facts(Principal("corp:job", "corp", "job", ("team",)), "OAUTHBEARER", "public")


def a_policy(rules: int) -> bytes:
    """One role with many allows, a third of them conditional, and as many labelled topics."""
    topics = "".join(f'  - {{match: "t.{i}.*", labels: {{class: c{i % 5}}}}}\n' for i in range(rules))
    allows = "".join(
        f'      - {{operations: [read, write], topics: ["t.{i}.*"]'
        + (", when: 'topic.labels.class != \"c9\"'" if i % 3 == 0 else "") + "}\n" for i in range(rules))
    return f"topics:\n{topics}roles:\n  r:\n    members: {{groups: [team]}}\n    allow:\n{allows}".encode()


def spread(samples: list[float], unit: str) -> str:
    return f"{statistics.median(samples):8.1f} {unit}  ({min(samples):.1f} to {max(samples):.1f})"


def main() -> None:
    source = a_policy(10_000)
    samples = []
    for _ in range(3):
        start = time.perf_counter()
        decider = policy.compile(policy.load({"bench.yaml": source}))
        samples.append((time.perf_counter() - start) * 1000)
    print("load and compile 10,000 rules on 10,000 topics ", spread(samples, "ms"))

    def decide(resource: str, operation: str, name: str, now: float) -> tuple[object, object]:
        access = Access(operation, resource, name)  # type: ignore[arg-type]
        return decider.decide_with_plan(FACTS, access, grants=(), mode="enforce", now=now, count_fields=False)

    for count in (1, 100, 10_000):
        names = [b"t.%d.orders.v2" % number for number in range(count)]
        table = PolicyTable(decide)
        start = time.perf_counter()
        table.repeat_look_up("topic", "write", names, 0.0, 1)
        filled = (time.perf_counter() - start) / count * 1e6
        rounds = LOOK_UPS // count
        hot = []
        for _ in range(RUNS):
            start = time.perf_counter()
            table.repeat_look_up("topic", "write", names, 0.0, rounds)
            hot.append((time.perf_counter() - start) / (rounds * count) * 1e9)
        print(f"{count:6} names: miss {filled:8.1f} us, hot   ", spread(hot, "ns"))


if __name__ == "__main__":
    main()
