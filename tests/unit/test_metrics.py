"""What Prometheus scrapes: the names of the contract, totals that never go down, and who is ready."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kproxy.control.exposition import build_page
from kproxy.control.worker_counts import WorkerCounts
from kproxy.model.metrics import DURATION_BOUNDS, METRICS
from tests.support.control_rig import ControlRig, ScriptedWorker, running, session, until

#: The contract with dashboards: a name, type or label that changes here breaks them.
CONTRACT = {
    "kproxy_build_info": ("gauge", ("version",)),
    "kproxy_connections": ("gauge", ("listener", "state")),
    "kproxy_sessions": ("gauge", ("listener", "mechanism")),
    "kproxy_requests_total": ("counter", ("listener", "api", "decision")),
    "kproxy_request_duration_seconds": ("histogram", ("api",)),
    "kproxy_bytes_total": ("counter", ("listener", "direction")),
    "kproxy_records_total": ("counter", ("direction",)),
    "kproxy_fields_masked_total": ("counter", ("rule", "entity")),
    "kproxy_guard_hits_total": ("counter", ("rule",)),
    "kproxy_safeguard_hits_total": ("counter", ("rule", "action")),
    "kproxy_throttled_requests_total": ("counter", ("quota",)),
    "kproxy_throttled_seconds_total": ("counter", ("quota",)),
    "kproxy_policy_errors_total": ("counter", ("rule",)),
    "kproxy_approvals": ("gauge", ("state",)),
    "kproxy_token_checks_total": ("counter", ("issuer", "result")),
    "kproxy_config_last_reload_successful": ("gauge", ()),
    "kproxy_config_last_reload_success_timestamp_seconds": ("gauge", ()),
    "kproxy_policy_info": ("gauge", ("version", "mode")),
    "kproxy_audit_lag_seconds": ("gauge", ()),
    "kproxy_audit_spool_bytes": ("gauge", ()),
    "kproxy_audit_refusing": ("gauge", ("worker",)),
    "kproxy_broker_connections": ("gauge", ("cluster", "node")),
    "kproxy_broker_errors_total": ("counter", ("cluster", "cause")),
    "kproxy_close_total": ("counter", ("cause",)),
    "kproxy_loop_lag_seconds": ("gauge", ("worker",)),
    "kproxy_certificate_expiry_timestamp_seconds": ("gauge", ("use",)),
    "kproxy_certificate_reload_successful": ("gauge", ("use",)),
}
GUARD = "kproxy_guard_hits_total"


def test_the_names_types_and_labels_are_those_of_the_contract() -> None:
    assert {name: (metric.kind, metric.labels) for name, metric in METRICS.items()} == CONTRACT


def test_buckets_are_those_the_workers_count_in() -> None:
    ledger = pytest.importorskip("kproxy._ext.ledger")
    assert METRICS["kproxy_request_duration_seconds"].buckets == DURATION_BOUNDS == ledger.BOUNDS


def test_the_page_is_what_prometheus_reads() -> None:
    counts = [0] * (len(DURATION_BOUNDS) + 1)
    counts[0], counts[2], counts[-1] = 4, 3, 1
    page = build_page({
        GUARD: {("secrets",): 2, ('odd "rule"\n',): 1},
        "kproxy_request_duration_seconds": {("Produce",): [*counts, 70.5]},
        "kproxy_connections": {("public", "open"): 7},
    }).decode()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    assert {(sample.labels["rule"], sample.value) for sample in families["kproxy_guard_hits"].samples} == {
        ("secrets", 2), ('odd "rule"\n', 1)}
    samples = {(sample.name.rpartition("_")[2], sample.labels.get("le")): sample.value
               for sample in families["kproxy_request_duration_seconds"].samples}
    assert (samples["bucket", "0.0001"], samples["bucket", "0.0005"], samples["bucket", "60.0"]) == (4, 7, 7)
    assert (samples["bucket", "+Inf"], samples["count", None], samples["sum", None]) == (8, 8, 70.5)
    assert {f"{name.removesuffix('_total')}" for name in CONTRACT} == set(families)


def told(guard: int, connections: int = 0) -> dict[str, list[tuple[tuple[str, ...], int]]]:
    return {GUARD: [(("secrets",), guard)], "kproxy_connections": [(("public", "open"), connections)]}


def test_a_dead_workers_counts_stay_and_its_gauges_go(tmp_path: Path) -> None:
    counts = WorkerCounts(tmp_path / "counters")
    counts.keep(0, 100, told(5, 3))
    counts.keep(1, 101, told(2, 4))
    both = counts.totals([(0, 100), (1, 101)])
    assert (both[GUARD][("secrets",)], both["kproxy_connections"][("public", "open")]) == (7, 7)
    alone = counts.totals([(1, 101)])
    assert (alone[GUARD][("secrets",)], alone["kproxy_connections"][("public", "open")]) == (7, 4)
    counts.greet(0, 200)
    counts.keep(0, 200, told(1, 1))
    again = counts.totals([(0, 200), (1, 101)])
    assert (again[GUARD][("secrets",)], again["kproxy_connections"][("public", "open")]) == (8, 5)
    counts.greet(0, 200)
    assert counts.totals([])[GUARD][("secrets",)] == 8, "coming again under the same process counts nothing twice"


def test_totals_survive_the_control_process(tmp_path: Path) -> None:
    counts = WorkerCounts(tmp_path / "counters")
    counts.keep(0, 100, {**told(5), "kproxy_request_duration_seconds": [(("Fetch",), [1] * 20)]})
    counts.greet(0, 200)
    counts.keep(0, 200, {**told(1), "kproxy_request_duration_seconds": [(("Fetch",), [2] * 20)]})
    counts.path.write_bytes(counts.pack())
    after = WorkerCounts(tmp_path / "counters")
    assert after.totals([]) [GUARD][("secrets",)] == 6
    after.greet(0, 200)
    after.keep(0, 200, {**told(2), "kproxy_request_duration_seconds": [(("Fetch",), [3] * 20)]})
    total = after.totals([(0, 200)])
    assert (total[GUARD][("secrets",)], total["kproxy_request_duration_seconds"][("Fetch",)]) == (7, [4] * 20)


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x93\x01\x02\x03"])
def test_unreadable_counts_are_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "counters").write_bytes(content)
    assert WorkerCounts(tmp_path / "counters").totals([]) == {}


def test_what_is_not_in_the_table_is_not_shown(tmp_path: Path) -> None:
    counts = WorkerCounts(tmp_path / "counters")
    counts.keep(0, 1, {"kproxy_topics_total": [(("orders",), 1)], GUARD: [(("a", "b"), 1), (("c",), 1)],
                       "kproxy_request_duration_seconds": [(("Fetch",), [1, 2])]})
    assert counts.totals([(0, 1)]) == {GUARD: {("c",): 1}}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[ControlRig]:
    async with running(ControlRig(tmp_path)) as one:
        yield one


async def test_a_scrape_adds_all_workers_and_the_control_process(rig: ControlRig) -> None:
    check = ("corp", "accepted")
    async with ScriptedWorker(rig) as one, ScriptedWorker(rig, 1, 4001) as other:
        one.values = {**told(5), "kproxy_token_checks_total": [(check, 2)]}
        other.values = told(2)
        assert (await rig.call("GET", "/v1/status", rig.token("bob", "viewers")))[0] == 200
        assert await rig.metric('kproxy_guard_hits_total{rule="secrets"}') == 7
        assert await rig.metric('kproxy_token_checks_total{issuer="corp",result="accepted"}') == 3
    await until(lambda: not rig.node.links.links())
    assert await rig.metric('kproxy_guard_hits_total{rule="secrets"}') == 7
    async with ScriptedWorker(rig, 0, 5000) as reborn:
        reborn.values = told(1)
        assert await rig.metric('kproxy_guard_hits_total{rule="secrets"}') == 8
        await reborn.ask_approval()
        assert await rig.metric('kproxy_approvals{state="pending"}') == 1


async def test_totals_do_not_go_down_when_the_control_process_restarts(tmp_path: Path) -> None:
    rig = ControlRig(tmp_path)
    async with running(rig), ScriptedWorker(rig) as worker:
        worker.values = told(5)
        assert await rig.metric('kproxy_guard_hits_total{rule="secrets"}') == 5
    async with running(rig):
        assert await rig.metric('kproxy_guard_hits_total{rule="secrets"}') == 5
        async with ScriptedWorker(rig) as worker:
            worker.values = told(6)
            assert await rig.metric('kproxy_guard_hits_total{rule="secrets"}') == 6


async def test_ready_means_that_a_worker_serves_by_a_snapshot(rig: ControlRig) -> None:
    assert await rig.call("GET", "/healthz", over="metrics") == (200, "ok\n")
    assert await rig.call("GET", "/readyz", over="metrics") == (503, "no worker serves by a snapshot\n")
    async with ScriptedWorker(rig) as worker:
        worker.sessions = [session(1)]
        await until(lambda: rig.node.links.is_ready())
        assert await rig.call("GET", "/readyz", over="metrics") == (200, "ready\n")
        rig.node._draining = True
        assert await rig.call("GET", "/readyz", over="metrics") == (503, "draining\n")
        rig.node._draining = False
    assert (await rig.call("GET", "/v1/status", over="metrics"))[0] == 404
    assert (await rig.call("POST", "/metrics", over="metrics"))[0] == 405
