"""What Kafka's rules say of a request, read a second time: a line for each served API, and the codes that follow.

A new API needs its lines here; tests/property/test_two_tenants.py fails until it has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.tenant_fields import Path
from tests.support.tenants import NAMES, may, topics_of_group

#: API -> what the whole request needs, in this order: (field or resource, kind, operation, code).
WHOLE: dict[int, tuple[tuple[str, str, str, int], ...]] = {
    8: (("group_id", "group", "read", 30),), 9: (("group_id", "group", "describe", 30),),
    **dict.fromkeys((11, 12, 13, 14, 68, 76, 78, 79, 91), (("group_id", "group", "read", 30),)),
    22: (("transactional_id", "transactional_id", "write", 53),),
    24: (("v3_and_below_transactional_id", "transactional_id", "write", 53),),
    25: (("transactional_id", "transactional_id", "write", 53), ("group_id", "group", "read", 30)),
    26: (("transactional_id", "transactional_id", "write", 53),),
    28: (("transactional_id", "transactional_id", "write", 53), ("group_id", "group", "read", 30)),
    **dict.fromkeys((47, 92), (("group_id", "group", "delete", 30),)),
    **dict.fromkeys((35, 46, 55), (("kafka-cluster", "cluster", "describe", 31),)),
    **dict.fromkeys((43, 45), (("kafka-cluster", "cluster", "alter", 31),)),
    **dict.fromkeys((48, 74), (("kafka-cluster", "cluster", "describe_configs", 31),)),
    49: (("kafka-cluster", "cluster", "alter_configs", 31),),
}
_GROUP_DESCRIBE, _TOPIC_READ = {"group": (("describe",), 30)}, {"topic": (("read",), 29)}
_TOPIC_DESCRIBE, _TOPIC_ALTER = {"topic": (("describe",), 29)}, {"topic": (("alter",), 29)}


def _configs(operation: str) -> dict[str, tuple[tuple[str, ...], int]]:
    return {"topic": ((operation,), 29), "group": ((operation,), 30), "cluster": ((operation,), 31)}


#: API -> kind -> what each item needs: (operations, code).
ITEMS: dict[int, dict[str, tuple[tuple[str, ...], int]]] = {
    0: {"topic": (("write",), 29)}, 24: {"topic": (("write",), 29)},
    **dict.fromkeys((1, 8, 28, 47, 61, 78, 79, 91, 92), _TOPIC_READ),
    **dict.fromkeys((2, 3, 23, 75), _TOPIC_DESCRIBE),
    9: _TOPIC_DESCRIBE | _GROUP_DESCRIBE, 10: {**_GROUP_DESCRIBE, "transactional_id": (("describe",), 53)},
    **dict.fromkeys((15, 69, 77), _GROUP_DESCRIBE), 90: _TOPIC_DESCRIBE | _GROUP_DESCRIBE,
    42: {"group": (("delete",), 30)},
    19: {"topic": (("create",), 29)}, 20: {"topic": (("describe", "delete"), 29)}, 21: {"topic": (("delete",), 29)},
    32: _configs("describe_configs"), 33: _configs("alter_configs"), 44: _configs("alter_configs"),
    **dict.fromkeys((37, 43, 45), _TOPIC_ALTER), 55: _TOPIC_DESCRIBE, 65: {"transactional_id": (("describe",), 53)},
}
#: APIs whose answers list things of their own accord: kind -> what is to be seen of it.
LISTED = {16: ("group", "describe"), 66: ("transactional_id", "describe"), 74: ("topic", "describe_configs")}
#: A group whose members' topics may not all be described is not shown.
DESCRIBED_WITH_TOPICS = {69, 77}
#: Of what these name it is left out that may not be described: their answers have no code for it.
LEFT_OUT = {35, 46}
#: Nothing of these depends on anybody's rights.
FREE = {17, 18, 36, 60}
#: Of these the whole answer follows the rights there are when it is given.
JUDGED_AGAIN = {1, 3, 15, 16, 32, 65, 66, 69, 74, 75, 77, 78}
UNKNOWN_TOPIC_ID, OPERATION_NOT_ATTEMPTED = 100, 55

Rights = Mapping[str, int]


def whole_code(api: int, rights: Rights, asked: dict[str, Any]) -> int:
    """The code that refuses all of a request; 0 if none does."""
    for field, _, operation, code in WHOLE.get(api, ()):
        name = field if field == "kafka-cluster" else asked.get(field)
        if api == 22 and name is None:
            return 0 if any(may(rights, topic, "write") for topic in NAMES["topic"]) or may(
                rights, "kafka-cluster", "idempotent_write") else 31
        if name is not None and not may(rights, name, operation):
            return code
    if api in (68, 76) and not all(may(rights, name, "describe") for name in asked.get("subscribed_topic_names") or ()):
        return 29
    if api == 10 and "key" in asked:
        return path_code(api, rights, ((("group", "transactional_id")[asked.get("key_type", 0)], asked["key"]),))
    return 0


def path_code(api: int, rights: Rights, path: Path) -> int:
    """The code of one item of a request that is not refused as a whole."""
    for kind, name in path:
        if name.startswith("gone "):
            return UNKNOWN_TOPIC_ID
        operations, code = ITEMS.get(api, {}).get(kind, ((), 0))
        if not all(may(rights, name, operation) for operation in operations):
            return code
        if api in DESCRIBED_WITH_TOPICS and not all(may(rights, topic, "describe") for topic in topics_of_group(name)):
            return 29
    return 0


def item_codes(api: int, rights: Rights, asked: dict[str, Any], paths: set[Path]) -> dict[Path, int]:
    """Each item's, where the request as a whole is refused or not."""
    whole = whole_code(api, rights, asked)
    codes = {path: whole or path_code(api, rights, path) for path in paths}
    if api == 24 and not whole and any(codes.values()):
        codes = {path: code or OPERATION_NOT_ATTEMPTED for path, code in codes.items()}
    return codes


def has_row(api: int) -> bool:
    return api in WHOLE or api in ITEMS or api in LISTED or api in FREE
