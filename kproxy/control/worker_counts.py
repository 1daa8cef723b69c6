"""What the workers have counted, the dead ones included: totals that never go down while the node runs.

A worker counts from its own start. The last values of one that is gone are kept and added; so that a restart of the
control process loses nothing either, they are written down beside the sockets, in the directory that lives as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from kproxy.model.metrics import METRICS

log = structlog.get_logger("kproxy.control")

Labels = tuple[str, ...]
Samples = dict[str, dict[Labels, Any]]
Told = Mapping[str, Iterable[tuple[Labels, Any]]]


class _Kept(msgspec.Struct):
    """One life of a worker, or the sum of those that are over."""

    worker: int
    pid: int
    values: dict[str, list[tuple[Labels, Any]]]


class WorkerCounts:
    """``keep`` takes a worker's Stats; ``totals`` adds them all up. Gauges are those of connected workers only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lives: dict[tuple[int, int], Samples] = {}
        self._over: Samples = {}
        self._load()

    def keep(self, worker: int, pid: int, values: Told) -> None:
        """Replaces what this life of the worker had counted. Names and label counts outside the table are dropped."""
        self._lives[(worker, pid)] = _checked(values)

    def greet(self, worker: int, pid: int) -> None:
        """A worker says Hello: earlier lives under its number are over."""
        for life in [life for life in self._lives if life[0] == worker and life[1] != pid]:
            _add(self._over, _without_gauges(self._lives.pop(life)))

    def totals(self, connected: Iterable[tuple[int, int]]) -> Samples:
        """Values by metric and labels."""
        alive = set(connected)
        total: Samples = {}
        _add(total, self._over)
        for life, samples in self._lives.items():
            _add(total, samples if life in alive else _without_gauges(samples))
        return total

    def pack(self) -> bytes:
        """Everything, to be written to the file this was made from."""
        kept = [_Kept(worker, pid, _listed(samples)) for (worker, pid), samples in self._lives.items()]
        kept.append(_Kept(-1, 0, _listed(self._over)))
        return msgspec.msgpack.encode(kept)

    def _load(self) -> None:
        try:
            kept = msgspec.msgpack.decode(self.path.read_bytes(), type=list[_Kept])
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("counters_unreadable", file=str(self.path), error=str(error))
            return
        for one in kept:
            if one.worker < 0:
                self._over = _checked(one.values)
            else:
                self._lives[(one.worker, one.pid)] = _checked(one.values)


def _checked(values: Told) -> Samples:
    found: Samples = {}
    for name, samples in values.items():
        metric = METRICS.get(name)
        if metric is None:
            log.error("unknown_metric", reason=name)
            continue
        expected = len(metric.buckets) + 2 if metric.kind == "histogram" else 0
        for labels, value in samples:
            if len(labels) != len(metric.labels) or (len(value) if isinstance(value, list | tuple) else 0) != expected:
                log.error("metric_of_another_shape", reason=name)
                continue
            found.setdefault(name, {})[tuple(labels)] = list(value) if expected else value
    return found


def _without_gauges(samples: Samples) -> Samples:
    return {name: values for name, values in samples.items() if METRICS[name].kind != "gauge"}


def _add(total: Samples, samples: Samples) -> None:
    for name, values in samples.items():
        sums = total.setdefault(name, {})
        least = METRICS[name].merge == "least"
        for labels, value in values.items():
            if isinstance(value, list):
                before = sums.get(labels, [0] * len(value))
                sums[labels] = [one + more for one, more in zip(before, value, strict=True)]
            elif least:
                sums[labels] = min(sums.get(labels, value), value)
            else:
                sums[labels] = sums.get(labels, 0) + value


def _listed(samples: Samples) -> dict[str, list[tuple[Labels, Any]]]:
    return {name: list(values.items()) for name, values in samples.items()}
