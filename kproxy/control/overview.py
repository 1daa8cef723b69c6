"""What the node says of itself: the status page and the control process's own metrics."""

from __future__ import annotations

import os
from typing import Any

from kproxy import __version__
from kproxy.control.approvals import Approvals
from kproxy.control.audit.ship import Shipper
from kproxy.control.callers import Reception
from kproxy.control.keys import KeyStore
from kproxy.control.publication import Publisher
from kproxy.control.reload import Reloader
from kproxy.control.worker_counts import Samples
from kproxy.control.worker_links import WorkerLinks

ERRORS = "kproxy_broker_errors_total"


class Overview:
    """Reads what the other parts hold; changes nothing."""

    def __init__(self, *, reloader: Reloader, publisher: Publisher, links: WorkerLinks, keys: KeyStore, book: Approvals,
                 shipper: Shipper, reception: Reception, started_at: float) -> None:
        self._reloader = reloader
        self._publisher = publisher
        self._links = links
        self._keys = keys
        self._book = book
        self._shipper = shipper
        self._reception = reception
        self._started_at = started_at
        self._errors: dict[tuple[str, ...], Any] = {}
        self._last_errors: dict[str, dict[str, Any]] = {}

    def remember(self, totals: Samples) -> None:
        """Counts of an earlier life, whose errors happened nobody knows when."""
        self._errors = dict(totals.get(ERRORS, {}))

    def look(self, totals: Samples, now: float) -> None:
        """Notes which brokers' errors have become more since the last look. It is made every few seconds."""
        errors = totals.get(ERRORS, {})
        for labels, count in errors.items():
            if count > self._errors.get(labels, 0):
                self._last_errors[labels[0]] = {"cause": labels[1], "at": now}
        self._errors = dict(errors)

    def status(self, totals: Samples, now: float) -> dict[str, Any]:
        """``totals`` are the workers' counts, for what only they know."""
        config, outcome = self._reloader.loaded.config, self._reloader.outcome
        return {
            "node": config.node.name, "version": __version__, "pid": os.getpid(), "started_at": self._started_at,
            "epoch": self._publisher.epoch, "policy": self._policy(),
            "last_reload": outcome, "listeners": self._listeners(), "workers": self._workers(),
            "upstreams": self._upstreams(totals), "issuers": self._keys.status(),
            "approvals": self._book.counts(now),
            "audit": {"lag_seconds": round(self._shipper.lag(now), 3), "spool_bytes": self._shipper.bytes,
                      "spool_max_bytes": config.audit.max_spool_bytes, "refusing": _find_refusing(totals)},
        }

    def samples(self, now: float) -> Samples:
        """The metrics that the control process itself gives."""
        loaded, outcome = self._reloader.loaded, self._reloader.outcome
        modes = sorted({*loaded.modes().values()} or {loaded.config.mode})
        checks: dict[tuple[str, ...], Any] = {labels: count for labels, count in self._reception.checks.items()}
        return {
            "kproxy_build_info": {(__version__,): 1},
            "kproxy_approvals": {(state,): count for state, count in self._book.counts(now).items()},
            "kproxy_config_last_reload_successful": {(): int(outcome.good)},
            "kproxy_config_last_reload_success_timestamp_seconds": {(): outcome.taken_at},
            "kproxy_policy_info": {(loaded.policy.version, mode): 1 for mode in modes},
            "kproxy_audit_lag_seconds": {(): self._shipper.lag(now)},
            "kproxy_audit_spool_bytes": {(): self._shipper.bytes},
            "kproxy_token_checks_total": checks,
        }

    def _policy(self) -> dict[str, Any]:
        policy = self._reloader.loaded.policy
        counted = ("roles", "forbid", "masks", "guards", "approvals")
        return {"version": policy.version, "path": self._reloader.loaded.config.policy_path,
                **{name: len(getattr(policy, name)) for name in counted}}

    def _listeners(self) -> list[dict[str, Any]]:
        config = self._reloader.loaded.config
        return [{"name": one.name, "cluster": one.cluster, "bind": f"{one.host}:{one.port}", "mode": one.mode,
                 "authenticate": one.authenticate} for one in config.listeners.values()]

    def _workers(self) -> list[dict[str, Any]]:
        return [{"worker": link.worker, "pid": link.pid, "epoch": link.epoch, "connected_at": link.connected_at,
                 "in_force": 0 < self._publisher.epoch == link.epoch, "draining": link.draining, "error": link.error}
                for link in self._links.links()]

    def _upstreams(self, totals: Samples) -> list[dict[str, Any]]:
        def of(name: str, metric: str) -> dict[str, Any]:
            return {labels[1]: value for labels, value in sorted(totals.get(metric, {}).items()) if labels[0] == name}

        return [{"cluster": one.name, "bootstrap": [f"{host}:{port}" for host, port in one.bootstrap],
                 "connections": of(one.name, "kproxy_broker_connections"),
                 "errors": of(one.name, ERRORS), "last_error": self._last_errors.get(one.name)}
                for one in self._reloader.loaded.config.clusters.values()]


def _find_refusing(totals: Samples) -> list[int]:
    """Numbers of the workers that refuse because the audit could not be written."""
    return sorted(int(worker) for (worker,), value in totals.get("kproxy_audit_refusing", {}).items() if value)
