"""``kproxy run`` as a whole: three kinds of process, one of which is killed at a time, before a scripted broker."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from kproxy.errors import EXIT_CONFIG
from tests.support.kproxy_node import Cluster, KproxyNode, Listener
from tests.support.scripted_control import until
from tests.support.scripted_node import ISSUER, POLICY, log_in, produce, running


async def run_node(node: KproxyNode) -> tuple[int | None, str]:
    """Another ``kproxy run`` with the node's configuration, until it ends: its exit code and what it said."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kproxy", "run", "--config", str(node.config), stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        _, said = await child.communicate()
    return child.returncode, said.decode()


async def test_it_serves_through_every_death_and_stops_clean(tmp_path):
    async with running(tmp_path) as (node, _):
        client = await log_in(node)
        assert await produce(client) == 0
        assert await produce(client, "secrets") == 29

        control = node.control()
        os.kill(control, signal.SIGKILL)
        assert await produce(client) == 0, "the data path does not need the control process"
        await until(lambda: node.control() not in (0, control), 15)

        workers = node.workers()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        assert await client.closed()
        await until(lambda: len(node.workers()) == 2 and not set(node.workers()) & set(workers), 15)
        await until(lambda: node.get("/readyz")[0] == 200, 15)
        client = await log_in(node)
        assert await produce(client) == 0
        client.close()

        assert await asyncio.to_thread(node.stop) == 0
        flows = [event for event in node.audit() if event["kind"] == "flow"]
        assert sum(event["records"] for event in flows) == 3, "what the killed worker had answered is not lost"
        assert "eyJ" not in node.log.read_text()


async def test_a_reloaded_policy_rules_an_open_connection(tmp_path):
    async with running(tmp_path, workers=1) as (node, _):
        client = await log_in(node)
        assert await produce(client) == 0
        node.reload(POLICY.replace("[orders]", "[other]"))
        codes = []

        async with asyncio.timeout(10):
            while (codes := [*codes, await produce(client)])[-1] == 0:
                await asyncio.sleep(0.02)
        assert codes[-1] == 29
        node.reload("roles: [broken")
        await until(lambda: "policy_refused" in node.log_tail(), 10)
        assert await produce(client) == 29, "a bad policy leaves the old one in force"


async def test_a_second_node_in_the_same_place_is_refused(tmp_path):
    async with running(tmp_path, workers=1) as (node, _):
        code, said = await run_node(node)
        assert code == 1
        assert said.startswith(f"kproxy: kproxy already runs in {node.folder / 'run'} (process ")


async def test_a_policy_that_cannot_be_used_ends_the_start(tmp_path):
    node = KproxyNode(clusters={"prod": Cluster(("127.0.0.1", 1))}, listeners={"public": Listener("prod")},
                      issuer=ISSUER, policy="roles: [broken")
    try:
        code, said = await run_node(node)
        assert code == EXIT_CONFIG
        assert "configuration_refused" in said
        assert f"{node.policy}:" in said, said
        node.config.write_text("node: {workers: 0}")
        code, said = await run_node(node)
        assert code == EXIT_CONFIG
        assert said.startswith(f"kproxy: {node.config}:1: ") and "0 is not between 1 and 1024" in said
    finally:
        node.close()
