"""What is held against each frame that leaves kproxy, to either side: no byte that is not the client's to see, and each
item's own code."""

from __future__ import annotations

from typing import Any, Protocol

from tests.support import frames
from tests.support.tenant_fields import Path, walk
from tests.support.tenant_messages import ALL
from tests.support.tenant_rules import (
    DESCRIBED_WITH_TOPICS,
    FREE,
    JUDGED_AGAIN,
    LEFT_OUT,
    LISTED,
    UNKNOWN_TOPIC_ID,
    item_codes,
    whole_code,
)
from tests.support.tenants import BROKER_CANARY, NAMES, NOTHING, Tenants, may, other, value_of

DESCRIBE_TOPIC_PARTITIONS, SHARE_FETCH = 75, 78
#: Their answers do not repeat what was asked about.
NAMELESS = {11, 12, 13, 14, 22, 25, 26, 35, 55, 68, 76}


class Request(Protocol):
    api: int
    version: int
    correlation: int
    values: dict[str, Any]
    frame: bytes
    rights: dict[str, int]


def hidden_words(tenants: Tenants, rights: dict[str, int]) -> list[bytes]:
    """Names and ids of everything that nothing may be done with."""
    names = [name for kind in NAMES.values() for name in kind if rights[name] == NOTHING]
    gone = [one for one, name in tenants.dead.items() if name in names]
    return [name.encode() for name in names] + [tenants.ids[name] for name in names if name in tenants.ids] + gone


def check_sent(tenants: Tenants, who: str, one: Request, frame: bytes) -> None:
    """A broker hears of nothing with which its client may do nothing, and nothing at all that is refused as a whole."""
    assert not whole_code(one.api, one.rights, one.values), f"{who} may not ask this: {one}"
    for word in hidden_words(tenants, one.rights):
        assert word not in frame, f"{word!r} reached the broker for {who}: {one}"


def check_answer(tenants: Tenants, who: str, one: Request, frame: bytes) -> None:
    rights = tenants.rights_now(who)
    check_bytes(tenants, who, one, rights, frame)
    _, values = frames.read_response(one.api, one.version, frame)
    if one.api in FREE:
        assert values.get("error_code", 0) == 0, f"{values}: {one}"
        return
    key_type = one.values.get("key_type", 0)
    found: dict[Path, set[int]] = {}
    for path, code in walk(values, tenants, key_type):
        found.setdefault(path, set()).update(() if code is None else (code,))
    asked = {path for path, _ in walk(one.values, tenants, key_type) if path}
    check_codes(one, rights, asked, found)


def check_bytes(tenants: Tenants, who: str, one: Request, rights: dict[str, int], frame: bytes) -> None:
    for word in (f"{other(who)}-canary".encode(), BROKER_CANARY.encode()):
        assert word not in frame, f"{who} sees {word!r} in the answer to {one}"
    both = {name: max(level, one.rights[name]) for name, level in rights.items()}
    for word in hidden_words(tenants, both):
        assert word not in frame or word in one.frame, f"{who} is told of {word!r} in the answer to {one}"
    for topic in NAMES["topic"]:
        assert may(rights, topic, "read") or value_of(topic) not in frame, f"{who} reads {topic}"


def check_codes(one: Request, rights: dict[str, int], asked: set[Path], found: dict[Path, set[int]]) -> None:
    """Each item has its own: that of the rights there were when it was asked for, or those there are now."""
    refused = whole_code(one.api, one.rights, one.values)
    if one.api == SHARE_FETCH and not refused:
        refused = whole_code(one.api, rights, one.values)
    if refused:
        told = set().union(*found.values())
        assert told == {refused} or not (told or has_codes(one)), f"{told}, not {refused}: {one}"
        return
    if one.api in LISTED or lists_all(one):
        check_listed(one, rights, found)
        return
    then, now = (item_codes(one.api, each, one.values, asked) for each in (one.rights, rights))
    for path in asked:
        if one.api in LEFT_OUT and not may(one.rights, path[-1][1], "describe"):
            assert path not in found, f"{path} is in the answer to {one}"
            continue
        # What a group's members read is known from its answer only.
        was_sent = not then[path] or (one.api in DESCRIBED_WITH_TOPICS and then[path] == 29)
        wanted = {now[path] if one.api in JUDGED_AGAIN and was_sent else then[path]}
        if any(name.startswith("gone ") for _, name in path):
            # Whether it had gone when it was asked for is not remembered here.
            wanted |= {0, 29, UNKNOWN_TOPIC_ID}
        if path in found:
            assert found[path] <= wanted, f"{path} has {found[path]}, not {wanted}: {one}"
        else:
            above = {code for end in range(1, len(path)) if (code := then.get(path[:end], 0))}
            assert above or one.api in NAMELESS or "key" in one.values, f"{path} is not answered: {one}"
    for path in set(found) - asked - {()}:
        name = path[-1][1]
        if name == "kafka-cluster":
            continue
        assert may(rights, name, "describe"), f"{name} is in the answer to {one}"


def has_codes(one: Request) -> bool:
    """Not every old version can say that all of it was refused."""
    return (one.api, one.version) not in {(35, 1), (35, 2), (43, 0)} and bool(one.values)


def lists_all(one: Request) -> bool:
    return any(one.api == api and name in one.values and not one.values[name] for api, name in ALL)


def check_listed(one: Request, rights: dict[str, int], found: dict[Path, set[int]]) -> None:
    if (one.api, one.version) == (74, 0):
        return          # The names of metrics only, which are the cluster's.
    kind, operation = LISTED.get(one.api, ("topic", "describe"))
    visible = {name for name in NAMES[kind] if may(rights, name, operation)}
    if one.api == DESCRIBE_TOPIC_PARTITIONS:
        visible = {name for name in visible if may(one.rights, name, operation)}
    listed = {path[-1][1] for path in found if path and path[-1][0] == kind}
    assert listed == visible, f"{sorted(listed)}, not {sorted(visible)}: {one}"
    assert set().union(*found.values()) <= {0}, f"{found}: {one}"


def check_refused(tenants: Tenants, one: Request, frame: bytes) -> None:
    """As ``check_answer``, of what is refused only: what a real broker says of the rest is its own."""
    _, values = frames.read_response(one.api, one.version, frame)
    found: dict[Path, set[int]] = {}
    for path, code in walk(values, tenants, one.values.get("key_type", 0)):
        found.setdefault(path, set()).update(() if code is None else (code,))
    refused = whole_code(one.api, one.rights, one.values)
    if refused:
        told = set().union(*found.values())
        assert told == {refused} or not (told or has_codes(one)), f"{told}, not {refused}: {one}"
    elif one.api not in LISTED and not lists_all(one) and one.api not in FREE:
        asked = {path for path, _ in walk(one.values, tenants, one.values.get("key_type", 0)) if path}
        for path, code in item_codes(one.api, one.rights, one.values, asked).items():
            if code in (29, 30, 31, 53) and path in found and one.api not in DESCRIBED_WITH_TOPICS:
                assert found[path] == {code}, f"{path} has {found[path]}, not {code}: {one}"
