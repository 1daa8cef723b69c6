"""What a worker knows of a registry, and how it asks for the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from kproxy.dataplane.schema_lookups import MISSING_SECONDS, MOST_AT_ONCE, SchemaLookups
from kproxy.errors import ControlUnavailable
from kproxy.model.messages import SchemasAnswer, pack, unpack
from kproxy.schemas.avro import read_avro
from tests.support.fake_registry import USER


class Link:
    """Answers by ``known``; what it was asked is in ``asked``."""

    def __init__(self, *known: int) -> None:
        self.known = known
        self.asked: list[tuple[int, ...]] = []
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self, build: Callable[[int], Any], timeout: float) -> SchemasAnswer:
        question = build(1)
        self.asked.append(question.ids)
        await self.gate.wait()
        if self.away:
            raise ControlUnavailable("away")
        answer = SchemasAnswer(1, {one: read_avro(USER) for one in question.ids if one in self.known},
                               tuple(one for one in question.ids if one not in self.known))
        return unpack(pack(answer)[4:])  # type: ignore[return-value]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lookups(link: Link, clock: Clock | None = None) -> SchemaLookups:
    return SchemaLookups("main", link, clock=clock or Clock(), seconds=3.0)  # type: ignore[arg-type]


async def test_what_is_found_is_known_and_asked_for_once() -> None:
    link = Link(7)
    some = lookups(link)
    link.gate.clear()
    waiting = [asyncio.create_task(some.look_up([7])) for _ in range(3)]
    while not link.asked:
        await asyncio.sleep(0)
    link.gate.set()
    await asyncio.gather(*waiting)
    assert 7 in some.known and len(some.known) == 1
    await some.look_up([7])
    assert link.asked == [(7,)]


async def test_what_is_missing_is_asked_for_again_after_a_while() -> None:
    clock, link = Clock(), Link()
    some = lookups(link, clock)
    await some.look_up([7])
    await some.look_up([7])
    assert link.asked == [(7,)] and 7 not in some.known
    clock.now += MISSING_SECONDS
    link.known = (7,)
    await some.look_up([7])
    assert link.asked == [(7,), (7,)] and 7 in some.known


async def test_while_nobody_answers_nothing_is_known_and_nothing_missing() -> None:
    link = Link(7)
    link.away = True
    some = lookups(link)
    await some.look_up([7])
    link.away = False
    await some.look_up([7])
    assert link.asked == [(7,), (7,)] and 7 in some.known


async def test_many_are_asked_for_in_parts() -> None:
    link = Link(*range(100))
    some = lookups(link)
    await some.look_up(range(40))
    assert len(some.known) == 40
    assert sorted(map(len, link.asked)) == [8, MOST_AT_ONCE, MOST_AT_ONCE]
