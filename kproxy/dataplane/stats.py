"""A worker's metrics: what it counted since it started, in the shape that the control process collects.

The hot path counts in native arrays, one set per listener; what is rare is counted here. Both are read only when asked
for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from kproxy._ext.apis import NAMES
from kproxy.model.audit_event import AuditEvent
from kproxy.model.metrics import METRICS

Labels = tuple[str, ...]
Values = dict[str, list[tuple[Labels, Any]]]

#: A session's phases as the label says them: one that proves itself anew serves on, one that ends only answers.
STATES = {"login": "login", "open": "open", "reauthenticating": "open", "ending": "closing", "closed": "closing"}


class Stats:
    """``add`` refuses names that are not in the closed table: a counter nobody shows is a bug."""

    def __init__(self, worker: int) -> None:
        self._worker = str(worker)
        self._counts: dict[str, Counter[Labels]] = {}
        self.loop_lag = 0.0
        self.gauges: list[Callable[[], Values]] = []
        """Asked for more values at every look."""

    def add(self, name: str, labels: Labels, count: int = 1) -> None:
        if len(labels) != len(METRICS[name].labels):
            raise ValueError(f"{name} has the labels {METRICS[name].labels}")
        self._counts.setdefault(name, Counter())[labels] += count

    def on_event(self, event: AuditEvent) -> None:
        """Counts what the audit is told anyway."""
        if event.kind == "guard_hit":
            for rule, hits in event.rules.items():
                self.add("kproxy_guard_hits_total", (rule,), hits)
        elif event.kind == "safeguard":
            for rule, hits in event.rules.items():
                self.add("kproxy_safeguard_hits_total", (rule, event.decision), hits)
        elif event.kind == "condition_error":
            self.add("kproxy_policy_errors_total", (event.rule,), 1 + event.details.get("repeated", 0))

    def collect(self, connections: Any) -> Values:
        """Everything, with the native counters and gauges of ``connections`` (kproxy.dataplane.connections)."""
        values: Values = {name: list(counts.items()) for name, counts in self._counts.items()}
        values["kproxy_loop_lag_seconds"] = [((self._worker,), self.loop_lag)]
        values["kproxy_close_total"] = [((cause,), count) for cause, count in connections.closes.items()]
        for read in self.gauges:
            values.update(read())
        values.update(_gauges(connections))
        values.update(_traffic({name: counters.read() for name, counters in connections.counters.items()}))
        return values


def _gauges(connections: Any) -> Values:
    states: Counter[Labels] = Counter()
    sessions: Counter[Labels] = Counter()
    brokers: Counter[Labels] = Counter()
    for gate in connections.at_gates:
        states[gate.listener.name, "header"] += 1
    for connection in connections.open.values():
        session, listener = connection.half.session, connection.listener
        state = STATES[session.phase]
        states[listener.name, state] += 1
        if state == "open":
            sessions[listener.name, session.facts.mechanism] += 1
        if connection.half.broker is not None and connection.half.broker.transport is not None:
            node = "bootstrap" if connection.node is None else str(connection.node)
            brokers[listener.cluster, node] += 1
    return {"kproxy_connections": list(states.items()), "kproxy_sessions": list(sessions.items()),
            "kproxy_broker_connections": list(brokers.items())}


def _traffic(read: dict[str, dict[str, Any]]) -> Values:
    """From each listener's native counters, as ``Counters.read`` gives them."""
    requests: list[tuple[Labels, Any]] = []
    octets: list[tuple[Labels, Any]] = []
    durations: dict[str, list[float]] = {}
    records = {"produce": 0, "consume": 0}
    for listener, counted in read.items():
        for (api, decision), count in counted["requests"].items():
            requests.append(((listener, name_api(api), decision), count))
        for api, row in counted["durations"].items():
            total = durations.setdefault(name_api(api), [0] * len(row))
            for column, count in enumerate(row):
                total[column] += count
        octets.append(((listener, "in"), counted["bytes_in"]))
        octets.append(((listener, "out"), counted["bytes_out"]))
        records["produce"] += counted["records_in"]
        records["consume"] += counted["records_out"]
    return {"kproxy_requests_total": requests, "kproxy_bytes_total": octets,
            "kproxy_request_duration_seconds": [((api,), row) for api, row in durations.items()],
            "kproxy_records_total": [((direction,), count) for direction, count in records.items()]}


def name_api(api: int) -> str:
    """Kafka's name; what is never served is one label, so that a client cannot make labels up."""
    return NAMES.get(api, "other")
