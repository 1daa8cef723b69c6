"""The authorising API modules between a client and a broker that are both written by hand: values in, values out."""

from __future__ import annotations

import struct
from fnmatch import fnmatchcase
from typing import Any

from kproxy._ext.apis import SERVED
from kproxy._ext.opened import Opened
from kproxy._ext.opening import Addresses
from kproxy._ext.topic_ids import HIGHEST_BY_NAME
from kproxy.model.access import ApprovalWanted, Verdict
from tests.support import frames

CORRELATION = 77
#: What an API calls a topic's name in the versions before it named topics by id.
CALLED = {0: "name", 1: "topic", 8: "name", 9: "name", 28: "name"}


class Desk:
    """A client under a policy of plain lines, ``"read topic orders.*"``. Lines in ``forbid`` are explicit refusals,
    those in ``ask`` wait for an approval. ``plan`` is what is done to the
    records of every topic allowed. The listener has addresses for brokers 1 to 3: proxy:9001 to proxy:9003. Where a
    version names topics by id, requests and answers are written by name all the same: ``id_of(name)`` goes over the
    wire, and kproxy has learned it."""

    def __init__(self, *allow: str, forbid: tuple[str, ...] = (), ask: tuple[str, ...] = (),
                 observe: bool = False, plan: Any = None, addresses: Addresses | None = None) -> None:
        self.allow, self.plan = list(allow), plan
        self.forbid, self.ask, self.observe = forbid, ask, observe
        self.addresses = addresses or Addresses("proxy", 1, 3, 9001)
        self.opened = Opened(self.decide, self.addresses)

    def decide(self, resource: str, operation: str, name: str, now: float) -> tuple[Verdict, Any]:
        def covers(lines: list[str] | tuple[str, ...]) -> bool:
            for line in lines:
                wanted, kind, pattern = line.split(" ")
                same = kind == resource and fnmatchcase(name, pattern)
                if wanted == operation and (same or (kind == "topic" and resource == "any_topic")):
                    return True
            return False

        verdict = Verdict("deny", reason="nothing allows it")
        if covers(self.forbid):
            verdict = Verdict("deny", "a-forbid", "forbidden by a rule")
        elif covers(self.ask):
            verdict = Verdict("ask", "an-approval", wanted=ApprovalWanted("an-approval", operation, resource, name))
        elif covers(self.allow):
            verdict = Verdict("allow", "an-allow")
        if self.observe and verdict.effect != "allow":
            verdict = Verdict("allow", verdict.rule, verdict.reason, would=verdict.effect)
        return verdict, self.plan if verdict.effect == "allow" and resource == "topic" else None

    def request(self, api: int, version: int, values: dict[str, Any]) -> tuple[str, Any]:
        """("forward" | "replace", the request the broker gets) or ("answer", the answer the client gets), as values."""
        frame = frames.request(api, version, CORRELATION, self._by_id(api, version, values))[4:]
        treatment, out = self.opened.request(frame)
        if treatment == "wait" and self.opened.unknown == [bytes(16)]:
            # The names of all topics are wanted, and this desk has them.
            self.opened.looked_up()
            treatment, out = self.opened.request(frame)
        if treatment == "forward":
            assert out == frame
        if treatment == "answer":
            assert out is not None
            return treatment, self._answer(api, version, out)
        if out is None:
            return treatment, None
        assert out[:8] == struct.pack(">hhi", api, version, CORRELATION)
        return treatment, _by_name(api, version, frames.read_request(struct.pack(">i", len(out)) + out)[3])

    def response(self, api: int, version: int, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The same for the broker's answer."""
        frame = frames.response(api, version, CORRELATION, self._by_id(api, version, values))[4:]
        treatment, out = self.opened.response(frame)
        assert out is not None
        if treatment == "forward":
            assert out == frame
        return treatment, self._answer(api, version, out)

    def response_after(self, api: int, version: int, request: dict[str, Any],
                       answer: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """A request that is not of interest, then the broker's answer to it."""
        self.request(api, version, request)
        return self.response(api, version, answer)

    def teach(self, **ids: bytes) -> None:
        """Name → id of topics that an answer has told before."""
        for name, topic_id in ids.items():
            self.addresses.topic_ids.teach(topic_id, name)

    def denied(self) -> list[tuple[str, str, str]]:
        """What the audit is told of the last frame: (operation, resource, name)."""
        return [(operation, resource, name) for operation, resource, name, _ in self.opened.denials]

    def _answer(self, api: int, version: int, frame: bytes) -> dict[str, Any]:
        correlation, values = frames.read_response(api, version, struct.pack(">i", len(frame)) + frame)
        assert correlation == CORRELATION
        return _by_name(api, version, values)  # type: ignore[no-any-return]

    def _by_id(self, api: int, version: int, values: Any) -> Any:
        if api not in CALLED or version <= HIGHEST_BY_NAME[api]:
            return values
        if isinstance(values, list):
            return [self._by_id(api, version, one) for one in values]
        if not isinstance(values, dict):
            return values
        values = {field: self._by_id(api, version, one) for field, one in values.items()}
        if CALLED[api] in values:
            name = values.pop(CALLED[api])
            values["topic_id"] = id_of(name)
            self.teach(**{name: id_of(name)})
        return values


def id_of(name: str) -> bytes:
    return name.encode()[:16].ljust(16, b".")


def _by_name(api: int, version: int, values: Any) -> Any:
    if api not in CALLED or version <= HIGHEST_BY_NAME[api]:
        return values
    if isinstance(values, list):
        return [_by_name(api, version, one) for one in values]
    if not isinstance(values, dict):
        return values
    values = {field: _by_name(api, version, one) for field, one in values.items()}
    if "topic_id" in values:
        values[CALLED[api]] = values.pop("topic_id").rstrip(b".").decode()
    return values


def spanning(api: int) -> range:
    """All versions of an API that kproxy serves."""
    low, high = SERVED[api]
    return range(low, high + 1)
