"""What a client that means harm asks of topics and their configs, and what a broker that lies answers."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy._ext.apis import SERVED
from kproxy.errors import WireError
from tests.support import frames
from tests.support.desk import CORRELATION, Desk, spanning

TOPIC, BROKER = 2, 4
MOST_REFUSED = 1 << 16
EVERYTHING = tuple(f"{operation} {kind}" for operation in ("create", "delete", "alter", "describe", "describe_configs",
                                                          "alter_configs") for kind in ("topic *", "group *"))


def naming(api: int, *names: str | bytes) -> dict[str, Any]:
    """A request that names these topics."""
    return {
        20: {"topics": [{"name": name} for name in names]},
        21: {"topics": [{"name": name, "partitions": [{"partition_index": 0, "offset": -1}]} for name in names]},
        32: {"resources": [{"resource_type": TOPIC, "resource_name": name} for name in names]},
        37: {"topics": [{"name": name, "count": 2} for name in names]},
        44: {"resources": [{"resource_type": TOPIC, "resource_name": name} for name in names]},
    }[44 if api == 33 else api]


def items(api: int, answer: dict[str, Any]) -> list[dict[str, Any]]:
    return answer[{20: "responses", 21: "topics", 32: "results", 37: "results"}.get(api, "responses")]


def code(api: int, item: dict[str, Any]) -> int:
    return item["partitions"][0]["error_code"] if api == 21 else item["error_code"]


APIS = (20, 21, 32, 33, 37, 44)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("name", ["t", ""])
def test_one_name_a_million_times_is_not_worked_through(api: int, name: str) -> None:
    """It is refused once, or merged, but each cut costs; a byte may ask for one."""
    version = SERVED[api][1]
    frame = frames.request(api, version, CORRELATION, naming(api, *[name] * (MOST_REFUSED + 1)))[4:]
    desk = Desk()
    assert desk.opened.request(frame) == ("close", None) and desk.opened.cause == "malformed_request"


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("name", [b"open\xff", b"open\x00", b"OPEN", b" open", b"open ", b"\xd0\xbepen", b"open/.."])
def test_a_name_that_looks_like_an_allowed_one_is_another(api: int, name: bytes) -> None:
    """A Cyrillic letter among them; bytes that are no text are nobody's name."""
    desk = Desk(*(f"{one} topic open" for one in ("delete", "describe", "alter", "describe_configs", "alter_configs")))
    frame = frames.request(api, SERVED[api][1], CORRELATION, naming(api, name, b"open"))[4:]
    treatment, sent = desk.opened.request(frame)
    assert treatment == "replace" and sent is not None
    request = frames.read_request(len(sent).to_bytes(4, "big") + sent)[3]
    assert len(next(iter(request.values()))) == 1 and sent.count(b"open") == 1
    assert len(sent) == len(frames.request(api, SERVED[api][1], CORRELATION, naming(api, b"open"))) - 4


@pytest.mark.parametrize("api", APIS)
def test_more_approvals_than_one_may_ask_for_are_refused_all_the_same(api: int) -> None:
    operation = {20: "delete", 21: "delete", 32: "describe_configs", 37: "alter"}.get(api, "alter_configs")
    desk = Desk("describe topic *", ask=(f"{operation} topic *",))
    names = [f"t{n}" for n in range(150)]
    version = SERVED[api][1]
    answered: dict[Any, tuple[str, str]] = {}
    for _ in range(len(names)):
        treatment, answer = desk.request(api, version, naming(api, *names))
        if treatment != "wait":
            break
        answered |= {desk.decide("topic", operation, name, 0)[0].wanted: (f"R-{name}", "pending")
                     for name in names[len(answered):len(answered) + 10]}
        desk.opened.answered(answered)
    assert treatment == "answer" and len(answered) == 100
    assert [code(api, item) for item in items(api, answer)] == [44] * 150
    if api != 21:
        assert "none could be asked for" in items(api, answer)[-1]["error_message"]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("names", [("hidden", "open", "missing"), ("missing", "hidden", "open"), ("open", "missing")])
def test_neither_places_nor_words_tell_what_is_there(api: int, names: tuple[str, ...]) -> None:
    """T46. What is refused stands in the order of the request, behind what the broker said, whatever exists."""
    desk = Desk(*(f"{one} topic open" for one in ("delete", "describe", "alter", "describe_configs", "alter_configs")))
    version = SERVED[api][1]
    assert desk.request(api, version, naming(api, *names))[0] == "replace"
    array = {20: "responses", 21: "topics", 32: "results", 37: "results"}.get(api, "responses")
    told: dict[str, Any] = {"name": "open", "partitions": []} if api == 21 else {"name": "open"} \
        if api in (20, 37) else {"resource_type": TOPIC, "resource_name": "open"}
    _, answer = desk.response(api, version, {array: [told]})
    got = [item.get("name") or item["resource_name"] for item in answer[array]]
    assert got == ["open", *(name for name in names if name != "open")]
    assert {code(api, item) for item in answer[array][1:]} == {29}
    assert len({item.get("error_message") for item in answer[array][1:]}) == 1


@pytest.mark.parametrize("version", spanning(32))
@pytest.mark.parametrize("kind", [BROKER, 8, 16])
def test_a_broker_is_not_described_under_the_name_of_a_topic(version: int, kind: int) -> None:
    """T32. Its values hold addresses, its synonyms hold them again, and one may ask for just the right key."""
    desk = Desk(*EVERYTHING, "describe_configs cluster kafka-cluster")
    asked = {"resource_type": kind, "resource_name": "open", "configuration_keys": ["advertised.listeners"]}
    fine = {"resource_type": TOPIC, "resource_name": "open", "configuration_keys": None}
    assert desk.request(32, version, {"resources": [asked, fine, asked], "include_synonyms": True})[0] == "forward"
    secret = {"name": "advertised.listeners", "value": "SASL://10.0.0.1:9092",
              "synonyms": [{"name": "listeners", "value": "SASL://10.0.0.1:9092"}]}
    lies = {"resource_type": kind, "resource_name": "open", "error_message": "of 10.0.0.1", "configs": [secret]}
    treatment, answer = desk.response(32, version, {"results": [lies, {"resource_type": TOPIC,
                                                                       "resource_name": "open"}]})
    assert treatment == "replace" and "10.0.0.1" not in str(answer)
    assert [len(item["configs"]) for item in answer["results"]] == [1, 0]
    desk = Desk(*EVERYTHING)
    treatment, sent = desk.request(32, version, {"resources": [asked, fine, asked], "include_synonyms": True})
    assert treatment == "replace" and [one["resource_type"] for one in sent["resources"]] == [TOPIC]
    treatment, answer = desk.response(32, version, {"results": [lies, {"resource_type": TOPIC,
                                                                       "resource_name": "open"}]})
    assert treatment == "replace" and "10.0.0.1" not in str(answer)
    assert [item["error_code"] for item in answer["results"]] == [31, 0, 31, 31]


@pytest.mark.parametrize("version", spanning(44))
def test_the_configs_of_all_brokers_are_not_changed_beside_a_topics(version: int) -> None:
    """An empty broker name is the whole cluster's default, where a listener or a log directory could be put."""
    desk = Desk(*EVERYTHING, "alter_configs cluster kafka-cluster")
    change = [{"name": "advertised.listeners", "config_operation": 0, "value": "SASL://evil:9092"}]
    resources = [{"resource_type": kind, "resource_name": name, "configs": change}
                 for kind, name in ((BROKER, ""), (TOPIC, "open"), (BROKER, "1"))]
    treatment, sent = desk.request(44, version, {"resources": resources})
    assert treatment == "replace" and [one["resource_type"] for one in sent["resources"]] == [TOPIC]
    assert desk.denied() == [("alter_configs", "cluster", ""), ("alter_configs", "cluster", "1")]


def test_what_the_audit_is_told_of_a_resource_is_as_short_as_a_topics_name() -> None:
    desk = Desk("alter_configs cluster kafka-cluster")
    desk.request(44, 1, {"resources": [{"resource_type": BROKER, "resource_name": "x" * 30_000, "configs": [
        {"name": "listeners", "config_operation": 0, "value": "PLAINTEXT://evil:9092"}]}]})
    assert desk.denied() == [("alter_configs", "cluster", "x" * 249)]


@pytest.mark.parametrize("version", spanning(60))
def test_a_broker_nobody_can_reach_is_not_shown(version: int) -> None:
    """Ids and hosts as a broker gone wrong could tell them."""
    def a_broker(number: int, host: str = "10.0.0.1", port: int = 9092) -> dict[str, Any]:
        return {"broker_id": number, "host": host, "port": port}

    told = [a_broker(-1), a_broker(0), a_broker(4), a_broker(2**31 - 1), a_broker(-(2**31)), a_broker(2, "", -1),
            a_broker(2, "h" * 300, 0)]
    _, answer = Desk().response_after(60, version, {}, {"brokers": told})
    assert [(one["broker_id"], one["host"], one["port"]) for one in answer["brokers"]] == [(2, "proxy", 9002)] * 2
    with pytest.raises(WireError):
        Desk().response_after(60, version, {}, {"brokers": [{"broker_id": 1, "host": b"\xff", "port": 1}]})
