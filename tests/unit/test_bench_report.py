"""The arithmetic of the ladder: ratios are taken within a round, spreads are the least and the most."""

from __future__ import annotations

from typing import Any

import pytest

from bench.bars import BARS, by_round, line
from bench.report import Measurement, Spread, build_rows


def measurement(rung: str, turn: int, cpu: float, requests: int, rate: float, beside: float = 0.0) -> Measurement:
    result: dict[str, Any] = {
        "proxy_cpu": cpu, "beside_cpu": beside, "ends_cpu": 1.5, "requests": requests, "seconds": 2.0,
        "per_second": rate, "latency_us": {"p50": 10.0 * turn, "p99": 20.0, "p99_9": 30.0}}
    return Measurement(rung, "produce-200", turn, result)


def test_ratios_compare_with_the_reference_of_the_same_round() -> None:
    rows = build_rows([
        measurement("haproxy", 1, 2.0, 1_000_000, 500.0), measurement("kproxy", 1, 3.0, 1_000_000, 250.0, beside=0.5),
        measurement("haproxy", 2, 1.0, 1_000_000, 400.0), measurement("kproxy", 2, 2.0, 1_000_000, 300.0),
        measurement("haproxy", 3, 4.0, 1_000_000, 100.0), measurement("kproxy", 3, 4.0, 1_000_000, 150.0),
    ])
    kproxy = next(row for row in rows if row.rung == "kproxy")
    assert kproxy.cpu_ratio == Spread(1.5, 1.0, 2.0)
    assert kproxy.rate_ratio == Spread(0.75, 0.5, 1.5)
    assert kproxy.cpu_us == Spread(3.0, 2.0, 4.0)
    assert kproxy.node_us == Spread(3.5, 2.0, 4.0)
    assert kproxy.p50 == Spread(20.0, 10.0, 30.0)
    assert kproxy.ends_busy == 0.75
    assert kproxy.rounds == 3


def test_without_the_reference_there_is_no_ratio() -> None:
    row, = build_rows([measurement("kproxy", 1, 1.0, 100, 50.0)])
    assert row.cpu_ratio is None and row.rate_ratio is None


def test_a_round_that_the_reference_lost_counts_for_no_ratio() -> None:
    rows = build_rows([measurement("haproxy", 1, 1.0, 100, 50.0), measurement("kproxy", 1, 2.0, 100, 50.0),
                       measurement("kproxy", 2, 9.0, 100, 50.0)])
    kproxy = next(row for row in rows if row.rung == "kproxy")
    assert kproxy.cpu_ratio == Spread(2.0, 2.0, 2.0)
    assert kproxy.cpu_us.most == pytest.approx(90_000)


def test_no_proxy_has_no_cost() -> None:
    row, = build_rows([measurement("direct", 1, 0.0, 100, 50.0)])
    assert row.cpu_us == Spread(0.0, 0.0, 0.0)


def with_latency(rung: str, turn: int, p50: float) -> Measurement:
    return Measurement(rung, "latency-1k", turn, {"latency_us": {"p50": p50, "p99": p50}})


def test_added_latency_is_compared_within_a_round_and_a_disturbed_round_is_told() -> None:
    bar = next(bar for bar in BARS if bar.name == "P4")
    figures = by_round(bar, [
        with_latency("direct", 1, 50.0), with_latency("haproxy", 1, 150.0), with_latency("kproxy", 1, 170.0),
        with_latency("haproxy", 2, 40.0), with_latency("kproxy", 2, 90.0), with_latency("direct", 2, 60.0),
        with_latency("direct", 3, 50.0), with_latency("haproxy", 3, 100.0)])
    assert figures == [1.2]
    assert line(bar, figures, 3) == (
        "P4   latency-1k   added p50 over HAProxy's: 1.20 (1.20–1.20), 1 of 3 rounds, bar ≤ 1.5: met")


def test_the_audit_costs_what_the_node_without_it_did_more() -> None:
    bar = next(bar for bar in BARS if bar.name == "P7" and bar.load == "produce-200")
    figures = by_round(bar, [
        measurement("kproxy-policy", 1, 1.0, 100, 400.0), measurement("kproxy", 1, 1.0, 100, 300.0),
        measurement("kproxy", 2, 1.0, 100, 500.0), measurement("kproxy-policy", 2, 1.0, 100, 400.0)])
    assert figures == [0.25, -0.25]
    assert line(bar, [0.25], 1).endswith("0.25 (0.25–0.25), bar ≤ 0.1: not met")


def test_a_bar_without_a_round_has_no_figure() -> None:
    with pytest.raises(ValueError, match="no round gave a figure"):
        line(BARS[0], [], 3)
