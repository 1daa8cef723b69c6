"""Schemas for workers: what is fetched of a registry, what is kept, and what a registry may do wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from kproxy.control.schemas import MISSING_SECONDS, PAUSE_SECONDS, ClusterSchemas, Schemas
from kproxy.control.schemas_fetch import MAX_DOCUMENT, HttpFetch, RegistryFailed, SchemaMissing
from kproxy.model.messages import SchemasWanted
from kproxy.model.settings import SchemaRegistry
from kproxy.schemas.avro import read_avro
from tests.support.fake_registry import USER, FakeRegistry


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def running() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        yield server  # type: ignore[misc]


@pytest.fixture
def server(running: FakeRegistry) -> FakeRegistry:
    running.mode = "ok"
    running.answers = {"/schemas/ids/7": (200, {"schema": USER})}
    running.asked.clear()
    running.shown.clear()
    return running


async def fetch(server: FakeRegistry, schema_id: int = 7, **more: Any) -> Any:
    source = HttpFetch(SchemaRegistry(server.url, **more))
    try:
        return await source.fetch(schema_id)
    finally:
        await source.aclose()


async def failure(server: FakeRegistry, **more: Any) -> str:
    with pytest.raises(RegistryFailed) as caught:
        await fetch(server, **more)
    return caught.value.reason


async def test_a_schema_comes_with_all_that_it_refers_to_each_behind_its_own(server: FakeRegistry) -> None:
    refers = [{"name": "B", "subject": "b/value", "version": 3}]
    server.answers |= {
        "/schemas/ids/9": (200, {"schema": "A", "schemaType": "PROTOBUF", "references": refers}),
        "/subjects/b/value/versions/3": (200, {"schema": "B text", "references": [
            {"name": "C", "subject": "c", "version": 1}]}),
        "/subjects/c/versions/1": (200, {"schema": "C text"}),
    }
    assert await fetch(server, 9) == ("PROTOBUF", "A", (("C", "C text"), ("B", "B text")))
    assert await fetch(server) == ("AVRO", USER, ())


@pytest.mark.parametrize(("mode", "reason"), [
    (500, "http_status"), (503, "http_status"), (401, "http_status"), (204, "http_status"), ("redirect", "http_status"),
    ("stall", "timeout"),
])
async def test_a_registry_that_fails(server: FakeRegistry, mode: str | int, reason: str) -> None:
    server.mode = mode
    assert await failure(server, timeout=0.3 if mode == "stall" else 10.0) == reason


@pytest.mark.parametrize(("body", "reason"), [
    (b"no json", "bad_answer"), ([], "bad_answer"), ({"id": 7}, "bad_answer"), ({"schema": 5}, "bad_answer"),
    ({"schema": "x", "references": [{"name": "x"}]}, "bad_answer"), ({"schema": "x" * MAX_DOCUMENT}, "too_large"),
    ({"schema": "x", "references": [{"name": "x", "subject": "s", "version": 1}]}, "references"),
])
async def test_an_answer_that_is_no_schema(server: FakeRegistry, body: Any, reason: str) -> None:
    server.answers["/schemas/ids/7"] = (200, body)
    assert await failure(server, timeout=20.0) == reason


async def test_references_without_end_are_not_followed(server: FakeRegistry) -> None:
    itself = {"schema": "x", "references": [{"name": "x", "subject": "s", "version": 1}]}
    server.answers |= {"/schemas/ids/7": (200, itself), "/subjects/s/versions/1": (200, itself)}
    assert await failure(server, timeout=20.0) == "references"
    for number in range(200):
        server.answers[f"/subjects/s{number}/versions/1"] = (200, {"schema": "x", "references": [
            {"name": f"n{number + 1}", "subject": f"s{number + 1}", "version": 1}]})
    server.answers["/schemas/ids/7"] = server.answers["/subjects/s0/versions/1"]
    assert await failure(server, timeout=20.0) == "references"


async def test_who_asks_is_shown(server: FakeRegistry) -> None:
    await fetch(server, username="ann", password="pw")
    await fetch(server, token="t0ken")
    assert server.shown == ["Basic YW5uOnB3", "Bearer t0ken"]


async def test_an_id_that_is_not_there(server: FakeRegistry) -> None:
    with pytest.raises(SchemaMissing):
        await fetch(server, 8)


def schemas_of(server: FakeRegistry, clock: Clock, most: int = 10) -> ClusterSchemas:
    return ClusterSchemas("main", HttpFetch(SchemaRegistry(server.url, timeout=20.0)), monotonic=clock, most=most)


async def test_what_was_read_is_kept_and_asked_for_once_by_all(server: FakeRegistry) -> None:
    schemas = schemas_of(server, Clock())
    answers = await asyncio.gather(*(schemas.find((7,), 20.0) for _ in range(5)))
    assert answers == [({7: read_avro(USER)}, ())] * 5
    assert await schemas.find((7,), 20.0) == ({7: read_avro(USER)}, ())
    assert server.asked == ["/schemas/ids/7"]
    await schemas.aclose()


async def test_what_is_missing_is_missing_for_a_moment(server: FakeRegistry) -> None:
    clock = Clock()
    schemas = schemas_of(server, clock)
    assert await schemas.find((8,), 20.0) == ({}, (8,))
    server.answers["/schemas/ids/8"] = server.answers["/schemas/ids/7"]
    assert await schemas.find((8,), 20.0) == ({}, (8,))
    clock.now += MISSING_SECONDS
    assert await schemas.find((8,), 20.0) == ({8: read_avro(USER)}, ())
    assert server.asked == ["/schemas/ids/8"] * 2
    await schemas.aclose()


async def test_a_failure_is_no_answer_and_gives_the_registry_a_pause(server: FakeRegistry) -> None:
    clock = Clock()
    schemas = schemas_of(server, clock)
    server.mode = 503
    assert await schemas.find((7,), 20.0) == ({}, ())
    server.mode = "ok"
    assert await schemas.find((7,), 20.0) == ({}, ())
    assert server.asked == ["/schemas/ids/7"]
    clock.now += PAUSE_SECONDS
    assert await schemas.find((7,), 20.0) == ({7: read_avro(USER)}, ())
    await schemas.aclose()


@pytest.mark.parametrize("written", [
    {"schema": "{"}, {"schema": '{"type":"nonsense"}'}, {"schema": "x", "schemaType": "XSD"},
    {"schema": json.dumps({"type": "record", "name": "R", "fields": [{"name": "a", "type": "Other"}]})},
    {"schema": '{"type":' * 10_000}, {"schema": "[" * 300 + "]" * 300},
])
async def test_a_schema_that_cannot_be_read_is_missing(server: FakeRegistry, written: dict[str, Any]) -> None:
    server.answers["/schemas/ids/7"] = (200, written)
    schemas = schemas_of(server, Clock())
    assert await schemas.find((7,), 20.0) == ({}, (7,))
    await schemas.aclose()


async def test_a_storm_of_ids_is_bounded_and_the_oldest_schema_makes_room(server: FakeRegistry) -> None:
    schemas = schemas_of(server, Clock(), most=2)
    found, missing = await schemas.find(range(1000, 2000), 20.0)
    assert found == {} and len(missing) == len(server.asked) == 256
    for one in (1, 2, 3):
        server.answers[f"/schemas/ids/{one}"] = (200, {"schema": USER})
        assert list((await schemas.find((one,), 20.0))[0]) == [one]
    server.asked.clear()
    await schemas.find((2, 3), 20.0)
    await schemas.find((1,), 20.0)
    assert server.asked == ["/schemas/ids/1"]
    await schemas.aclose()


async def test_a_worker_is_answered_by_its_cluster(server: FakeRegistry) -> None:
    schemas = Schemas({"main": schemas_of(server, Clock())}, {"main": 20.0})
    answer = await schemas.answer(SchemasWanted(5, "main", (7, 8)))
    assert (answer.ask, answer.schemas, answer.missing) == (5, {7: read_avro(USER)}, (8,))
    assert (await schemas.answer(SchemasWanted(6, "other", (7,)))).schemas == {}
    await schemas.aclose()
