"""A hidden topic's id in every request of every version that takes ids: no broker gets it, and whoever sent it learns
no name by it."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy._ext import schema
from kproxy._ext.apis import LOCAL, SERVED
from tests.support import frames
from tests.support.answer_probes import CANARY, EITHER, OPEN, leaves, trusting, values_of
from tests.support.desk import CORRELATION, spanning

HIDDEN, KNOWN, GONE = b"\x07" * 16, b"\x08" * 16, b"\x09" * 16
#: What a member says it owns, of which a broker looks at what it has given that member itself.
OWNED = {68}
#: What a share session is to forget, which a broker may be told that never had it.
FORGOTTEN = {78}
#: Versions of Metadata that have the field and no use for it.
UNUSED = {(3, 10), (3, 11)}


def taking_ids() -> list[tuple[int, int]]:
    return [(api, version) for api in sorted(set(SERVED) - set(LOCAL)) for version in spanning(api)
            if any(path.endswith("topic_id") for path, _ in leaves(schema.fields_of(api, False), version))]


def asking(api: int, version: int, topic_id: bytes) -> bytes:
    put: dict[str, Any] = {"topic_id": topic_id, "subscribed_topic_regex": None, **(
        {"name": None} if api in EITHER else {}), **(
        {"forgotten_topics_data": []} if api in FORGOTTEN else {}), **(
        {"records": frames.batch([b"v"])} if api == 0 else {})}
    values = values_of(schema.fields_of(api, False), version, put)
    return frames.request(api, version, CORRELATION, values)[4:]


def outcome(api: int, version: int, topic_id: bytes) -> tuple[str, bytes]:
    """What becomes of a request about this id: treatment, and the bytes for the broker or for the client."""
    desk = trusting()
    desk.teach(**{CANARY: HIDDEN, OPEN: KNOWN})
    frame = asking(api, version, topic_id)
    treatment, out = desk.opened.request(frame)
    if treatment == "wait":
        assert desk.opened.unknown == [topic_id] == [GONE]
        desk.opened.looked_up()
        treatment, out = desk.opened.request(frame)
    return treatment, out or b""


@pytest.mark.parametrize(("api", "version"), taking_ids())
def test_no_broker_gets_an_id_that_is_hidden_or_that_nobody_knows(api: int, version: int) -> None:
    if api in OWNED:
        assert outcome(api, version, HIDDEN) == ("forward", asking(api, version, HIDDEN))
        return
    for topic_id in (HIDDEN, GONE):
        treatment, out = outcome(api, version, topic_id)
        assert CANARY.encode() not in out
        if (api, version) in UNUSED:
            assert treatment == "answer"
        elif treatment == "answer":
            assert topic_id in out, "what is refused is told by the id it was asked for by"
        else:
            assert treatment == "replace" and topic_id not in out
    treatment, out = outcome(api, version, KNOWN)
    assert (treatment in ("forward", "replace") and KNOWN in out) or (api, version) in UNUSED


def test_the_apis_that_take_ids_are_found() -> None:
    assert {0, 1, 3, 8, 9, 20, 68} <= {api for api, _ in taking_ids()}
