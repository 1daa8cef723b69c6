"""The worker's end of the control socket, against a real unix socket and a scripted control process."""

from __future__ import annotations

import asyncio

import pytest

from kproxy.dataplane.suspend import ApprovalQuestions, SingleFlight
from kproxy.errors import ControlUnavailable
from kproxy.model.access import ApprovalWanted, Facts, Principal
from kproxy.model.messages import (
    ApprovalAnswer,
    ApprovalAsked,
    Hello,
    KeyAnswer,
    KeyWanted,
    Published,
    Stats,
    StatsAsked,
    pack,
)
from tests.support.scripted_control import linked, until

WANTED = ApprovalWanted("new-model-version", "write", "topic", "scores.fraud")
FACTS = Facts(Principal("corp:job", "corp", "job"), "OAUTHBEARER", "public")


async def test_hello_comes_first(tmp_path):
    async with linked(tmp_path) as (link, control):
        assert control.received == [Hello(3, 4711)]
        assert link.connected


async def test_an_answer_finds_its_question_in_any_order(tmp_path):
    async with linked(tmp_path) as (link, control):
        held: list[KeyWanted] = []

        def answer(message):
            held.append(message)
            if len(held) == 2:
                for asked in reversed(held):
                    control.send(pack(KeyAnswer(asked.ask, True, int(asked.kid))))

        control.answer = answer
        first, second = await asyncio.gather(
            link.ask(lambda number: KeyWanted(number, "corp", "11"), 5),
            link.ask(lambda number: KeyWanted(number, "corp", "22"), 5))
        assert (first.epoch, second.epoch) == (11, 22)


async def test_no_answer_in_time(tmp_path):
    async with linked(tmp_path) as (link, control):
        with pytest.raises(ControlUnavailable, match=r"did not answer within 0\.05 s"):
            await link.ask(lambda number: KeyWanted(number, "corp", "1"), 0.05)
        # The late answer is dropped and the link lives on.
        control.send(pack(KeyAnswer(control.received[-1].ask, True, 9)))
        control.answer = lambda message: KeyAnswer(message.ask, True, 10)
        assert (await link.ask(lambda number: KeyWanted(number, "corp", "1"), 5)).epoch == 10


async def test_questions_fail_at_once_while_control_is_away(tmp_path):
    async with linked(tmp_path, started=False) as (link, _):
        with pytest.raises(ControlUnavailable, match="away"):
            await link.ask(lambda number: KeyWanted(number, "corp", "1"), 60)


async def test_a_lost_link_fails_what_waits_and_comes_back(tmp_path):
    async with linked(tmp_path) as (link, control):
        asked = asyncio.create_task(link.ask(lambda number: KeyWanted(number, "corp", "1"), 60))
        await until(lambda: len(control.received) == 2)
        control.cut()
        with pytest.raises(ControlUnavailable, match="went away"):
            await asked
        await until(lambda: control.connections == 2 and len(control.received) == 3)
        assert control.received[2] == Hello(3, 4711)
        control.answer = lambda message: KeyAnswer(message.ask, False, 0, "no such key")
        assert (await link.ask(lambda number: KeyWanted(number, "corp", "1"), 5)).reason == "no such key"


async def test_questions_of_control_are_answered(tmp_path):
    seen = []

    async def receive(message):
        seen.append(message)
        return Stats(message.ask, 3, {}) if isinstance(message, StatsAsked) else None

    async with linked(tmp_path, receive) as (_, control):
        control.send(pack(Published(5)) + pack(StatsAsked(77)))
        await until(lambda: len(control.received) == 2)
        assert seen == [Published(5), StatsAsked(77)]
        assert control.received[1] == Stats(77, 3, {})


async def test_a_question_of_control_is_not_taken_for_an_answer(tmp_path):
    async with linked(tmp_path) as (link, control):
        asked = asyncio.create_task(link.ask(lambda number: KeyWanted(number, "corp", "1"), 5))
        await until(lambda: len(control.received) == 2)
        number = control.received[1].ask
        control.send(pack(StatsAsked(number)) + pack(KeyAnswer(number, True, 4)))
        assert await asked == KeyAnswer(number, True, 4)


@pytest.mark.parametrize("garbage", [b"\x7f\xff\xff\xff", b"\x00\x00\x00\x03abc"])
async def test_garbage_ends_the_connection_and_not_the_worker(tmp_path, garbage):
    async with linked(tmp_path) as (link, control):
        control.send(garbage)
        await until(lambda: control.connections == 2)
        await until(lambda: link.connected)


async def test_an_approval_is_asked_once_for_all_who_wait(tmp_path):
    async with linked(tmp_path) as (link, control):
        control.answer = lambda message: ApprovalAnswer(message.ask, "r-1", "pending")
        desk = ApprovalQuestions(link)
        answers = await asyncio.gather(*(desk.ask(FACTS, WANTED) for _ in range(50)))
        assert set(answers) == {("r-1", "pending")}
        assert [type(message) for message in control.received[1:]] == [ApprovalAsked]
        assert control.received[1].facts == FACTS and control.received[1].wanted == WANTED


async def test_two_runs_of_one_principal_ask_each_for_itself(tmp_path):
    async with linked(tmp_path) as (link, control):
        control.answer = lambda message: ApprovalAnswer(message.ask, message.facts.attested["model"], "pending")
        desk = ApprovalQuestions(link)
        one, other = (Facts(FACTS.principal, "OAUTHBEARER", "public", attested={"model": model}) for model in "ab")
        assert await asyncio.gather(desk.ask(one, WANTED), desk.ask(other, WANTED)) == [
            ("a", "pending"), ("b", "pending")]


@pytest.mark.parametrize("answer", [None, lambda message: ApprovalAnswer(message.ask, "", "", "log is read only")])
async def test_an_approval_that_cannot_be_asked_is_unavailable(tmp_path, answer):
    async with linked(tmp_path) as (link, control):
        control.answer = answer or (lambda message: None)
        assert await ApprovalQuestions(link, timeout=0.05).ask(FACTS, WANTED) == ("", "unavailable")


async def test_single_flight_forgets_a_failure_and_survives_a_caller():
    flights: SingleFlight[int] = SingleFlight()
    gate = asyncio.Event()
    asked = 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await gate.wait()
        if asked == 1:
            raise ControlUnavailable("first")
        return asked

    impatient, patient = (asyncio.create_task(flights.run("k", ask)) for _ in range(2))
    await until(lambda: asked == 1)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    gate.set()
    with pytest.raises(ControlUnavailable):
        await patient
    assert await flights.run("k", ask) == 2
