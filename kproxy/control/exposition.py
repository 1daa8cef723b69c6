"""The metrics page: totals in, Prometheus text out."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from kproxy.control.worker_counts import Samples
from kproxy.model import metrics


class _Collector:
    """Gives the registry the values of one scrape."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        for metric in metrics.METRICS.values():
            yield build_family(metric, self._samples.get(metric.name, {}))


def build_page(samples: Samples) -> bytes:
    """Every metric of the table, those without samples as a name with its meaning."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(samples))
    return generate_latest(registry)


def build_family(metric: metrics.Metric, values: dict[tuple[str, ...], Any]) -> Metric:
    """One metric with its samples, in the order of their labels."""
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        bounds = [*(repr(bound) for bound in metric.buckets), "+Inf"]
        for labels, value in sorted(values.items()):
            counted = list(zip(bounds, accumulate(value[:-1]), strict=True))
            histogram.add_metric(labels, counted, value[-1])
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family
