"""Workers that are replaced or killed while clients come in all the time: nobody is refused, nobody is reset."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys

from tests.support.async_client import API_VERSIONS, RawClient
from tests.support.kproxy_node import KproxyNode
from tests.support.scripted_control import until
from tests.support.scripted_node import POLICY, fresh_token, log_in, produce, running

VERSIONS = {"client_software_name": "storm", "client_software_version": "1"}


class Storm:
    """Clients that connect, get answers and go, again and again. ``failures`` are those that were refused, reset or
    left without an answer."""

    def __init__(self, port: int, clients: int = 8) -> None:
        self.port = port
        self.clients = clients
        self.answered = 0
        self.failures: list[str] = []
        self.slowest = 0.0

    async def __aenter__(self) -> Storm:
        self._tasks = [asyncio.create_task(self._come_and_go(number)) for number in range(self.clients)]
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def more(self, count: int, seconds: float = 60) -> None:
        """Until so many more were answered."""
        enough = self.answered + count
        await until(lambda: self.answered >= enough or self.failures, seconds)

    async def _come_and_go(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                client = await RawClient.connect(self.port)
                try:
                    # Every eighth logs in as well: that takes several answers and a connection to the broker.
                    if number == 0:
                        assert (await client.log_in(fresh_token()))["error_code"] == 0
                    else:
                        assert (await client.ask(API_VERSIONS, 3, VERSIONS))["error_code"] == 0
                finally:
                    client.close()
            except (OSError, EOFError, TimeoutError, AssertionError) as error:
                self.failures.append(f"{type(error).__name__} {error} after {loop.time() - began:.3f} s")
                continue
            self.slowest = max(self.slowest, loop.time() - began)
            self.answered += 1


def restart(node: KproxyNode) -> subprocess.CompletedProcess[str]:
    words = ["-m", "kproxy", "restart", "--socket", str(node.folder / "run/operator.sock"), "--json"]
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=100)


def events(node: KproxyNode) -> list[str]:
    return [json.loads(line)["event"] for line in node.log.read_text().splitlines()]


async def test_a_rolling_restart_refuses_and_resets_nobody(tmp_path):
    async with running(tmp_path, limits={"drain.timeout.ms": 10_000}) as (node, _):
        before = {node.control(), *node.workers()}
        idle = await log_in(node)
        assert await produce(idle) == 0
        async with Storm(node.ports["public"]) as storm:
            await storm.more(300)
            done = await asyncio.to_thread(restart, node)
            assert done.returncode == 0, done.stderr
            await storm.more(300)
            # A second time: numbers that became free are used again.
            os.kill(node.supervisor, signal.SIGUSR2)
            await until(lambda: events(node).count("restarted") == 2, 60)
            await storm.more(300)
        assert storm.failures == []
        assert storm.answered > 900
        await until(lambda: len(node.workers()) == 2, 30)
        assert not before & {node.control(), *node.workers()}
        assert await idle.closed(), "the former worker drained"
        told = json.loads(done.stdout)["workers"]
        assert len(told) == 2 and not {row["pid"] for row in told} & before
        fresh = await log_in(node)
        assert await produce(fresh) == 0
        assert await asyncio.to_thread(node.stop) == 0
        (asked,) = [event for event in node.audit() if event["kind"] == "restart_asked"]
        assert asked["actor"].startswith(f"operator:{os.getuid()} ")


async def test_connections_wait_for_the_successor_of_a_killed_worker(tmp_path):
    async with running(tmp_path) as (node, _):
        for _round in range(2):
            victims = node.workers()
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            # All in the queues of workers that are dead, or that have just begun.
            clients = await asyncio.gather(*(RawClient.connect(node.ports["public"]) for _ in range(60)))
            for client in clients:
                client.send(API_VERSIONS, 3, VERSIONS)
            answers = await asyncio.gather(*(client.receive(30) for client in clients))
            assert [answer["error_code"] for answer in answers] == [0] * 60
            for client in clients:
                client.close()
            await until(lambda gone=victims: len(set(node.workers()) - set(gone)) == 2, 15)


async def test_a_restart_takes_over_the_whole_configuration(tmp_path):
    async with running(tmp_path, workers=1) as (node, _):
        text = node.config.read_text()
        node.config.write_text(text + "limits: {connections.max.idle.ms: 1200}\n")
        await until(lambda: "config_needs_restart" in events(node), 10)
        done = await asyncio.to_thread(restart, node)
        assert done.returncode == 0, done.stderr
        client = await log_in(node)
        assert await produce(client) == 0
        assert await client.closed(), "idle for longer than the new limit"


async def test_a_restart_with_broken_files_changes_nothing(tmp_path):
    async with running(tmp_path, workers=1) as (node, _):
        client = await log_in(node)
        before = {node.control(), *node.workers()}
        text = node.config.read_text()
        node.config.write_text(text + "nonsense: [\n")
        done = await asyncio.to_thread(restart, node)
        assert done.returncode == 1
        assert str(node.config) in done.stderr and "problems in the files" in done.stderr
        os.kill(node.supervisor, signal.SIGUSR2)
        await until(lambda: "restart_refused" in events(node), 10)
        assert await produce(client) == 0
        assert before == {node.control(), *node.workers()}
        # Nor do they come back worse: what is killed is started with what the node runs by.
        node.policy.write_text(POLICY.replace("[orders]", "[orders"))
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: node.get("/readyz")[0] == 200 and not before & {node.control(), *node.workers()}, 20)
        client = await log_in(node)
        assert await produce(client) == 0
        assert await produce(client, "secrets") == 29
        assert node.metric("kproxy_config_last_reload_successful") == 0
