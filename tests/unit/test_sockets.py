"""Bytes over real sockets: what a wire does when the kernel takes little, when a peer goes, at the end."""

from __future__ import annotations

import asyncio
import socket

import pytest

from kproxy._ext import chunk
from tests.support.bare_node import (
    MIB,
    Node,
    Shell,
    fetch,
    fetched,
    is_ended,
    produce,
    produced,
    receive,
    reset,
    serving,
)
from tests.support.scripted_control import until
from tests.support.world import on_uvloop


@on_uvloop
async def test_the_wire_moves_the_bytes_and_the_transport_none():
    async with serving() as node:
        shell, client, broker = await node.connect()
        asked = b"".join(produce(n, size) for n, size in enumerate((10, 70_000, 3, 300_000, MIB, 5), 1))
        sending = asyncio.ensure_future(node.loop.sock_sendall(client, asked))
        assert await receive(broker, len(asked)) == asked
        await sending
        answers = b"".join(produced(n) for n in range(1, 7))
        await node.loop.sock_sendall(broker, answers)
        assert await receive(client, len(answers)) == answers
        assert not shell.half.transport.is_reading() and not shell.half.broker.transport.is_reading()
        assert shell.half.session.slots.count == 0


@on_uvloop
async def test_a_broker_that_reads_nothing_stops_its_client_and_gets_everything_later():
    async with serving() as node:
        shell, client, broker = await node.connect()
        asked = b"".join(produce(n, 900_000) for n in range(1, 41))
        sending = asyncio.ensure_future(node.loop.sock_sendall(client, asked))
        await until(lambda: shell.half.broker.queued() > MIB)
        assert not sending.done() and shell.half.broker.queued() < 4 * MIB
        assert await receive(broker, len(asked)) == asked
        await sending
        await until(lambda: shell.half.broker.queued() == 0)


@on_uvloop
async def test_four_bytes_of_a_broker_do_not_take_gigabytes():
    async with serving() as node:
        shell, client, broker = await node.connect()
        await node.loop.sock_sendall(client, fetch(1))
        assert await receive(broker, len(fetch(1))) == fetch(1)
        await node.loop.sock_sendall(broker, (0x7FFFFF00).to_bytes(4, "big") + fetched(1)[4:])
        half = shell.half.broker
        await until(lambda: len(memoryview(half.get_buffer(-1))) > MIB)
        assert len(memoryview(half.get_buffer(-1))) <= 65 * MIB
        assert not client.fileno() < 0 and shell.ended == 0, "it may come yet"


@on_uvloop
async def test_an_answer_larger_than_what_is_believed_arrives_whole():
    async with serving() as node:
        _, client, broker = await node.connect()
        await node.loop.sock_sendall(client, fetch(1))
        assert await receive(broker, len(fetch(1))) == fetch(1)
        answer = fetched(1, 70 * MIB)
        sending = asyncio.ensure_future(node.loop.sock_sendall(broker, answer))
        assert await receive(client, len(answer)) == answer
        await sending


async def with_queue(node: Node) -> tuple[Shell, socket.socket, socket.socket, bytes]:
    """A client that was sent more than the kernel takes, and has read nothing of it."""
    shell, client, broker = await node.connect()
    await node.loop.sock_sendall(client, b"".join(fetch(n) for n in range(1, 31)))
    assert len(await receive(broker, 30 * len(fetch(1)))) == 30 * len(fetch(1))
    answers = b"".join(fetched(n, 900_000) for n in range(1, 31))
    node.tasks.append(asyncio.ensure_future(node.loop.sock_sendall(broker, answers)))
    await until(lambda: shell.half.queued() > MIB)
    return shell, client, broker, answers


@on_uvloop
async def test_a_client_that_reads_slowly_is_queued_for_within_bounds():
    async with serving() as node:
        shell, client, _, answers = await with_queue(node)
        assert not node.tasks[-1].done()
        assert shell.half.queued() < 4 * MIB
        assert await receive(client, len(answers)) == answers
        await until(lambda: shell.half.queued() == 0)


@on_uvloop
async def test_what_is_queued_leaves_before_a_closed_connection_does():
    async with serving() as node:
        shell, client, broker, answers = await with_queue(node)
        shell.half.close("drained")
        assert shell.half.queued() > MIB
        got = await receive(client, len(answers))
        assert len(got) > MIB and answers.startswith(got)
        assert await is_ended(client) and await is_ended(broker)
        await until(lambda: shell.ended == 1)
        assert shell.half.session.cause == "drained" and shell.half.queued() == 0


@pytest.mark.parametrize("how", ["abort", "cut"])
@on_uvloop
async def test_what_is_queued_is_dropped_with_an_aborted_connection(how: str):
    async with serving() as node:
        shell, client, broker, answers = await with_queue(node)
        shell.half.abort() if how == "abort" else shell.half.cut("session_expired")
        assert shell.half.queued() == 0
        assert len(await receive(client, len(answers))) < len(answers)
        assert await is_ended(broker)
        await until(lambda: shell.ended == 1)


@on_uvloop
async def test_a_client_that_resets_takes_its_queue_with_it():
    async with serving() as node:
        shell, client, broker, _ = await with_queue(node)
        reset(client)
        await until(lambda: shell.ended == 1)
        assert shell.half.queued() == 0 and shell.half.session.cause in ("client_closed", "broker_closed")
        node.tasks[-1].cancel()
        assert await is_ended(broker)


@on_uvloop
async def test_what_a_client_sent_before_its_end_still_reaches_the_broker():
    async with serving() as node:
        shell, client, broker = await node.connect()
        await node.loop.sock_sendall(client, produce(1, 30_000))
        client.shutdown(socket.SHUT_WR)
        assert await receive(broker, len(produce(1, 30_000))) == produce(1, 30_000)
        assert await is_ended(broker) and await is_ended(client)
        await until(lambda: shell.ended == 1)
        assert shell.half.session.cause == "client_closed"


@on_uvloop
async def test_what_a_broker_answered_before_its_end_still_reaches_the_client():
    async with serving() as node:
        shell, client, broker = await node.connect()
        await node.loop.sock_sendall(client, produce(1))
        assert await receive(broker, len(produce(1))) == produce(1)
        await node.loop.sock_sendall(broker, produced(1))
        broker.close()
        assert await receive(client, len(produced(1))) == produced(1)
        assert await is_ended(client)
        await until(lambda: shell.ended == 1)
        assert shell.half.session.cause == "broker_closed"


@pytest.mark.parametrize("side", ["client", "broker"])
@on_uvloop
async def test_a_reset_ends_both_connections(side: str):
    async with serving() as node:
        shell, client, broker = await node.connect()
        gone, left = (client, broker) if side == "client" else (broker, client)
        reset(gone)
        assert await is_ended(left)
        await until(lambda: shell.ended == 1)
        assert shell.half.session.cause == f"{side}_closed"


@on_uvloop
async def test_bytes_whose_notes_cannot_be_written_stay_here():
    async with serving() as node:
        shell, client, broker = await node.connect()
        node.spool.broken = True
        await node.loop.sock_sendall(client, produce(1))
        assert await is_ended(broker) and await is_ended(client)
        assert shell.half.session.cause == "audit_unavailable"


@on_uvloop
async def test_a_session_that_fails_costs_its_neighbours_nothing():
    async with serving() as node:
        first, client, _ = await node.connect()
        second, other, broker = await node.connect()
        await node.loop.sock_sendall(client, produce(1, topic="boom"))
        await node.loop.sock_sendall(other, produce(1))
        assert await receive(broker, len(produce(1))) == produce(1)
        assert await is_ended(client)
        assert [str(error) for error in first.failures] == ["the policy fell over"]
        assert first.half.session.cause == "internal" and second.half.session.cause is None


@on_uvloop
async def test_a_flood_on_one_connection_lets_others_through():
    async with serving() as node:
        _, client, broker = await node.connect()
        _, other, beside = await node.connect()
        frame = produce(1, 900_000)
        flood = asyncio.ensure_future(node.loop.sock_sendall(client, frame * 120))
        assert await receive(broker, len(frame)) == frame
        sink = asyncio.ensure_future(receive(broker, 119 * len(frame)))
        await node.loop.sock_sendall(other, produce(2))
        assert await receive(beside, len(produce(2))) == produce(2)
        assert not flood.done()
        assert len(await sink) == 119 * len(frame)


@on_uvloop
async def test_connections_come_and_go_on_the_same_descriptors():
    async with serving() as node:
        for turn in range(60):
            _, client, broker = await node.connect()
            await node.loop.sock_sendall(client, produce(1, turn))
            assert await receive(broker, len(produce(1, turn))) == produce(1, turn)
            reset(client) if turn % 2 else client.close()
            assert await is_ended(broker)
            broker.close()
        await until(lambda: all(shell.ended == 1 for shell in node.shells))
        assert {shell.half.session.cause for shell in node.shells} == {"client_closed"}


@pytest.mark.parametrize("sent", range(10))
def test_a_lane_gives_what_was_not_sent_yet(sent: int):
    parts = [b"abc", memoryview(b"xdefx")[1:4], bytearray(b"ghi")]
    assert b"".join(chunk.lane_parts(parts, sent)) == b"abcdefghi"[sent:]
