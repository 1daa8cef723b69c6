"""Budgets that workers share: what is waited for, and what is left when a worker dies."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy._ext.quota import Budgets, SharedQuotas, Tally, is_alive
from kproxy.dataplane.quotas import Quotas
from kproxy.model.policy import Quota, QuotaInForce


def one(shared: SharedQuotas, key: int = 7, *, produce: float = 0, consume: float = 0, requests: float = 0,
        tally: Tally | None = None) -> Budgets:
    return Budgets(shared, [(key, tally or Tally("role r"), produce, consume, requests)])


def test_a_seconds_worth_is_free_and_what_is_more_is_waited_for() -> None:
    tally = Tally("role r")
    budgets = one(SharedQuotas(), produce=1000, tally=tally)
    assert budgets.spend("produce", 1000) == 0
    assert budgets.spend("produce", 500) == pytest.approx(0.5, abs=0.2)
    assert budgets.spend("produce", 500) == pytest.approx(1.0, abs=0.2)
    assert budgets.spend("consume", 1e12) == 0, "there is no limit to that"
    assert tally.throttled == 2 and tally.seconds == pytest.approx(1.5, abs=0.4)


def test_the_one_furthest_behind_is_waited_for_and_all_are_used() -> None:
    shared = SharedQuotas()
    both = Budgets(shared, [(1, Tally("a"), 0, 1000, 0), (2, Tally("b"), 0, 100, 0)])
    assert both.spend("consume", 1000) == pytest.approx(9, abs=0.2)
    assert one(shared, 1, consume=1000).spend("consume", 100) == pytest.approx(0.1, abs=0.1), "used by the other one"


def test_nobody_waits_longer_than_clients_wait_for_an_answer() -> None:
    budgets = one(SharedQuotas(), produce=1)
    assert budgets.spend("produce", 1e15) == pytest.approx(25, abs=0.2)
    assert budgets.spend("produce", 1e15) == pytest.approx(25, abs=0.2)
    late = one(SharedQuotas(), requests=1)
    assert max(late.spend("requests", 1) for _ in range(50)) == pytest.approx(1, abs=0.2), "a heartbeat is not lost"


@given(st.lists(st.integers(1, 4000), max_size=40), st.integers(100, 5000))
def test_what_was_used_at_once_is_owed_in_full(amounts: list[int], rate: int) -> None:
    budgets = one(SharedQuotas(), produce=rate)
    began = time.monotonic()
    delays = [budgets.spend("produce", amount) for amount in amounts]
    slack = time.monotonic() - began + 0.001
    total = 0
    for amount, delay in zip(amounts, delays, strict=True):
        total += amount
        assert min(total / rate - 1, 25) - slack <= delay <= min(max(total / rate - 1, 0), 25) + 1e-6 * len(amounts)


def _spend(path: Path, count: int) -> None:
    budgets = one(SharedQuotas(path), produce=2000)
    for _ in range(count):
        budgets.spend("produce", 1)


def test_processes_lose_nothing_of_what_each_other_use(tmp_path: Path) -> None:
    path = tmp_path / "quotas"
    own = one(SharedQuotas(path), produce=2000)
    workers = [multiprocessing.get_context("spawn").Process(target=_spend, args=(path, 20_000)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    # 40,000 at 2,000 a second are twenty seconds, less the one that is free and those the test itself took.
    assert 5 < own.spend("produce", 1) <= 19.1


def test_a_place_is_taken_once_and_given_back() -> None:
    shared = SharedQuotas()
    assert [shared.enter(5, 2) for _ in range(3)] == [True, True, False]
    assert shared.enter(6, 1) and not shared.enter(6, 1)
    shared.leave(5)
    assert shared.enter(5, 2) and not shared.enter(5, 2)
    for _ in range(5):
        shared.leave(5)
    assert [shared.enter(5, 1), shared.enter(5, 1)] == [True, False], "never below nothing"


def _enter_and_die(path: Path) -> None:
    shared = SharedQuotas(path)
    assert all(shared.enter(5, 3) for _ in range(3)) and not shared.enter(5, 3)
    os._exit(9)


def test_places_of_a_process_that_died_are_free_again(tmp_path: Path) -> None:
    path = tmp_path / "quotas"
    shared = SharedQuotas(path)
    worker = multiprocessing.get_context("spawn").Process(target=_enter_and_die, args=(path,))
    worker.start()
    worker.join()
    assert worker.exitcode == 9
    assert [shared.enter(5, 3) for _ in range(4)] == [True, True, True, False]


def test_a_process_does_not_inherit_places_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "quotas"
    former = SharedQuotas(path)
    assert [former.enter(5, 3), former.enter(6, 3), former.enter(5, 3)] == [True] * 3
    # As it is for a worker that is started under the number of one that died: the kernel gives numbers again.
    again = SharedQuotas(path)
    assert [again.enter(5, 3) for _ in range(4)] == [True, True, True, False]
    assert [again.enter(6, 1), again.enter(6, 1)] == [True, False]


def test_places_of_other_live_processes_count(tmp_path: Path) -> None:
    path = tmp_path / "quotas"
    SharedQuotas(path).enter(5, 3)
    child = subprocess.Popen(["sleep", "60"])
    try:
        # As if the child had one: the row of this process, under its number.
        data = bytearray(path.read_bytes())
        at = data.index((os.getpid() << 32 | 1).to_bytes(8, "little"))
        data[at:at + 8] = (child.pid << 32 | 3).to_bytes(8, "little")
        path.write_bytes(data)
        shared = SharedQuotas(path)
        assert is_alive(child.pid) and not shared.enter(5, 3)
    finally:
        child.kill()
        child.wait()
    assert not is_alive(child.pid) and shared.enter(5, 3)


def test_a_row_that_another_worker_is_about_to_take_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "quotas"
    first = SharedQuotas(path)
    assert first.enter(5, 3)
    # As it is between the two steps in which a worker takes a row: the key is written, and nobody's number yet.
    data = bytearray(path.read_bytes())
    at = data.index((os.getpid() << 32 | 1).to_bytes(8, "little"))
    data[at:at + 8] = bytes(8)
    path.write_bytes(data)
    assert SharedQuotas(path).enter(5, 3)
    data = path.read_bytes()
    assert data[at:at + 8] == bytes(8), "the other worker would go on to count in a row of this one"
    assert data.index((os.getpid() << 32 | 1).to_bytes(8, "little")) > at


def test_another_rate_begins_without_what_is_owed_at_the_former_one() -> None:
    shared = SharedQuotas()
    before = one(shared, produce=100, requests=1)
    assert [before.spend("produce", 1500), before.spend("requests", 30)] == pytest.approx([14, 1], abs=0.2)
    after = one(shared, produce=100, requests=1000)
    assert after.spend("requests", 1) == 0
    assert after.spend("produce", 100) == pytest.approx(15, abs=0.5), "this rate is what it was"
    assert one(shared, produce=100, requests=1000).spend("produce", 100) == pytest.approx(16, abs=0.5)


def test_a_full_table_counts_for_this_process_alone() -> None:
    shared = SharedQuotas()
    for key in range(1, 20_000):
        one(shared, key << 14 | 1, requests=10)
    last = one(shared, 20_000 << 14 | 1, requests=10)
    assert last.spend("requests", 20) == pytest.approx(1, abs=0.2)


def in_force(**limits: float) -> QuotaInForce:
    return QuotaInForce("role r", Quota(role="r", **limits))


def test_a_quota_of_connections_alone_costs_a_session_nothing() -> None:
    quotas = Quotas(None)
    assert quotas.budgets([in_force(connections=1)]) is None and quotas.budgets([]) is None
    assert quotas.budgets([in_force(requests=1)]) is not None


def test_a_connection_that_one_quota_refuses_is_counted_by_none() -> None:
    quotas = Quotas(None)
    wide = QuotaInForce("role wide", Quota(role="wide", connections=2))
    assert quotas.enter([in_force(connections=1), wide]) is None
    assert quotas.enter([wide, in_force(connections=1)]) == in_force(connections=1)
    assert quotas.enter([wide]) is None and quotas.enter([wide]) == wide


def test_an_open_connection_keeps_its_place_under_another_quota() -> None:
    quotas = Quotas(None)
    before, after = in_force(connections=5), QuotaInForce("role s", Quota(role="s", connections=1))
    assert quotas.enter([after]) is None and quotas.enter([before]) is None
    quotas.move([before], [after])
    quotas.leave([after])
    assert quotas.enter([after]) == after, "the first one is still there"
    quotas.leave([after])
    assert quotas.enter([after]) is None


def test_where_no_file_can_be_had_each_worker_counts_for_itself(tmp_path: Path) -> None:
    quotas = Quotas(tmp_path / "missing" / "quotas")
    assert quotas.enter([in_force(connections=1)]) is None
    assert quotas.enter([in_force(connections=1)]) == in_force(connections=1)
