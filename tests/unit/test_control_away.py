"""The control process is stopped, or killed again and again, and the workers serve on; the audit is shipped later."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from tests.support.kproxy_node import KproxyNode
from tests.support.scripted_control import until
from tests.support.scripted_node import log_in, produce, running

SESSION_SECONDS = 3.0


def spool_bytes(node: KproxyNode) -> int:
    return sum(path.stat().st_size for path in (node.folder / "state/spool").glob("w*.seg"))


def told(node: KproxyNode) -> int:
    return sum(event.get("records", 0) for event in node.audit() if event["kind"] == "flow")


async def answers_health(port: int) -> bool:
    """Whether /healthz is answered within half a second; a stopped process accepts and says nothing."""
    try:
        async with asyncio.timeout(0.5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            return (await reader.readline()).startswith(b"HTTP/1.1 200")
    except (OSError, TimeoutError):
        return False


async def test_a_stopped_control_process_harms_nobody(tmp_path: Path) -> None:
    limits = {"connections.max.reauth.ms": int(SESSION_SECONDS * 1000)}
    async with running(tmp_path, workers=1, limits=limits) as (node, _):
        control, port = node.control(), int(node.metrics_address.rpartition(":")[2])
        os.kill(control, signal.SIGSTOP)
        try:
            before, shipped = spool_bytes(node), told(node)
            sent = 0
            client = await log_in(node)
            began = time.monotonic()
            while time.monotonic() - began < SESSION_SECONDS / 2:
                assert await produce(client) == 0
                sent += 1
            assert await produce(client, "secrets") == 29
            assert await client.closed(), "sessions end on time"
            assert SESSION_SECONDS - 0.2 < time.monotonic() - began < SESSION_SECONDS + 1.0
            assert spool_bytes(node) > before + 45 * 2 * sent and told(node) == shipped
            assert not await answers_health(port)
        finally:
            os.kill(control, signal.SIGCONT)
        await until(lambda: told(node) == shipped + sent, 15)
        assert node.control() == control
        assert node.get("/healthz")[0] == 200
        again = await log_in(node)
        assert await produce(again) == 0


async def test_a_control_process_that_keeps_dying_harms_nobody(tmp_path: Path) -> None:
    async with running(tmp_path, workers=1) as (node, _):
        client = await log_in(node)
        sent = 0
        for _death in range(3):
            victim = node.control()
            os.kill(victim, signal.SIGKILL)
            while node.control() in (0, victim):
                assert await produce(client) == 0
                sent += 1
            # Before it is at work, in the middle of its start, and once more.
        assert await produce(client) == 0
        await until(lambda: node.get("/readyz")[0] == 200, 30)
        assert await asyncio.to_thread(node.stop) == 0
        assert told(node) == sent + 1
        ids = [event["id"] for event in node.audit()]
        assert len(ids) == len(set(ids))
