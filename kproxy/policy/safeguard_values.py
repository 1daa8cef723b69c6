"""How safeguards are written: reads one, and refuses what could not be kept."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, Literal

from kproxy.model.policy import (
    ADMIN_REQUESTS,
    CODECS,
    AdminLimits,
    Bounds,
    ConfigLimit,
    ProduceLimits,
    Safeguard,
)
from kproxy.policy.expressions import ACCESS_NAMES
from kproxy.policy.rule_values import condition, glob, place
from kproxy.yaml_nodes import (
    Converter,
    Section,
    Value,
    Wrong,
    boolean,
    choice,
    integer,
    size,
    some_text,
    text,
    tuple_of,
)

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)
#: Configs that topics have or had since Kafka 2.8. Another name may be a newer one; what is nearly one of these is not.
_TOPIC_CONFIGS = (
    "cleanup.policy", "compression.type", "compression.gzip.level", "compression.lz4.level",
    "compression.zstd.level", "delete.retention.ms", "file.delete.delay.ms", "flush.messages", "flush.ms",
    "follower.replication.throttled.replicas", "index.interval.bytes", "leader.replication.throttled.replicas",
    "local.retention.bytes", "local.retention.ms", "max.compaction.lag.ms", "max.message.bytes",
    "message.downconversion.enable", "message.format.version", "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms", "message.timestamp.difference.max.ms", "message.timestamp.type",
    "min.cleanable.dirty.ratio", "min.compaction.lag.ms", "min.insync.replicas", "preallocate",
    "remote.copy.disable", "remote.log.delete.on.disable", "remote.storage.enable", "retention.bytes", "retention.ms",
    "segment.bytes", "segment.index.bytes", "segment.jitter.ms", "segment.ms", "unclean.leader.election.enable",
)

#: Limits of a produce that nobody but its client can keep, with the reason.
_CLIENTS_OWN = {
    "compression": "a batch would have to be compressed anew, and its sizes would be other ones than the client's",
    "idempotence": "a producer id is given to a client, which numbers its batches by it",
    "max_batch_bytes": "a batch cannot be cut in two without new sequence numbers",
    "max_record_bytes": "a record cannot be made smaller",
}


def safeguard(value: Value) -> Safeguard:
    """One safeguard; what is wrong with it is reported."""
    section = Section(value)
    inner, admin = section.section("produce"), section.section("admin")
    rule = Safeguard(
        name=section.need("name", some_text, ""),
        topics=section.need("topics", tuple_of(glob), ()),
        produce=None if inner is None else _produce(inner),
        admin=None if admin is None else _admin(admin),
        action=section.take("action", choice("refuse", "override", "record"), "refuse"),
        roles=section.take("roles", tuple_of(some_text), ()),
        except_roles=section.take("except_roles", tuple_of(some_text), ()),
        when=section.take("when", condition(ACCESS_NAMES), None),
        message=section.take("message", text, ""),
        at=place(value),
    )
    section.close()
    if inner is None and admin is None:
        value.complain("the safeguard says nothing of any request: write produce: {acks: all}, or another limit of"
                       " produce or admin")
    if rule.action == "override":
        for key, reason in _not_overridable(rule):
            value.complain(f"{key} cannot be overridden, because {reason}; make it a safeguard of its own with"
                           " action: refuse or record")
    return rule


def _produce(section: Section) -> ProduceLimits:
    written = section.entries.keys() - {"idempotence"}
    limits = ProduceLimits(
        acks=section.take("acks", _acks, 0),
        compression=section.take("compression", tuple_of(choice(*CODECS)), ()),
        idempotence=section.take("idempotence", boolean, False),
        max_batch_bytes=section.take("max_batch_bytes", _some_size, 0),
        max_record_bytes=section.take("max_record_bytes", _some_size, 0),
    )
    section.close()
    if not written and not limits.idempotence:
        section.value.complain("produce limits nothing: write acks, compression, idempotence, max_batch_bytes or"
                               " max_record_bytes")
    if set(limits.compression) == set(CODECS):
        section.value.complain("compression names every codec there is, so it limits nothing")
    return limits


def _acks(value: Value) -> Literal[1, -1]:
    written: Any = value.node.value
    if value.kind() not in ("text", "a number") or written not in ("1", "all", "-1"):
        raise Wrong(value, "acks is 1 (of the leader at least) or all")
    return 1 if written == "1" else -1


def _admin(section: Section) -> AdminLimits:
    if not section.entries:
        section.value.complain("admin limits nothing: write requests, names, partitions, replication_factor, configs or"
                               " other_configs")
    limits = AdminLimits(
        requests=section.take("requests", tuple_of(choice(*ADMIN_REQUESTS)), ()),
        names=section.take("names", tuple_of(glob), ()),
        partitions=section.take("partitions", _bounds(2**31 - 1), None),
        replication_factor=section.take("replication_factor", _bounds(2**15 - 1), None),
        configs=section.take("configs", _configs, ()),
        other_configs=section.take("other_configs", choice("pass", "refuse"), "pass"),
    )
    section.close()
    return limits


def _bounds(most: int) -> Converter[Bounds | None]:
    def convert(value: Value) -> Bounds:
        section = Section(value)
        found = Bounds(section.take("min", integer(1, most), None), section.take("max", integer(1, most), None))
        is_blank = not section.entries and found == Bounds()
        section.close()
        _refuse_empty(value, found, is_blank)
        return found

    return convert


def _refuse_empty(value: Value, found: Bounds | ConfigLimit, is_blank: bool) -> None:
    if is_blank:
        value.complain("nothing is within these bounds or outside them: write min, max or both")
    elif found.least is not None and found.most is not None and found.least > found.most:
        value.complain(f"no number is at least {found.least} and at most {found.most}")


def _configs(value: Value) -> tuple[ConfigLimit, ...]:
    found = []
    for name, written, _ in value.items():
        close = difflib.get_close_matches(name, _TOPIC_CONFIGS, 1, 0.85)
        if name not in _TOPIC_CONFIGS and close:
            written.complain(f"topics have no config {name!r}; did you mean {close[0]}?")
        found.append(_config(name, written))
    if not found:
        raise Wrong(value, "configs names no config")
    return tuple(found)


def _config(name: str, value: Value) -> ConfigLimit:
    if value.kind() == "text":
        if some_text(value) != "forbidden":
            raise Wrong(value, f"expected limits such as {{max: 4}}, or forbidden, found {some_text(value)!r}")
        return ConfigLimit(name, forbidden=True)
    section = Section(value)
    is_blank = not section.entries
    limit = ConfigLimit(
        name,
        least=section.take("min", _number, None),
        most=section.take("max", _number, None),
        allowed=section.take("allowed", tuple_of(some_text), ()),
        required=section.take("required", boolean, False),
    )
    section.close()
    if is_blank:
        value.complain("the config is not limited: write min, max, allowed, required: true, or forbidden in their"
                       " place")
    elif limit.allowed and (limit.least is not None or limit.most is not None):
        value.complain("either numbers are limited, by min and max, or the values are listed in allowed")
    else:
        _refuse_empty(value, limit, False)
    return limit


def _number(value: Value) -> int | float | None:
    written = str(value.node.value) if value.kind() == "a number" else ""
    if _NUMBER.fullmatch(written) is None:
        raise Wrong(value, f"expected a number such as 3 or 0.5, found {value.kind()}")
    return float(written) if "." in written else int(written)


def _some_size(value: Value) -> int:
    found = size(value)
    if not 0 < found < 2**31:
        raise Wrong(value, f"{found} bytes is no limit: write from 1 to 2147483647")
    return found


def _not_overridable(rule: Safeguard) -> Iterator[tuple[str, str]]:
    if rule.produce is not None:
        for key, reason in _CLIENTS_OWN.items():
            if getattr(rule.produce, key):
                yield f"produce.{key}", reason
        if rule.produce.acks == 1:
            yield "produce.acks: 1", "who asks for fewer (acks=0) reads no answer, and a broker would give one"
    if rule.admin is not None:
        yield from _not_overridable_admin(rule.admin)


def _not_overridable_admin(limits: AdminLimits) -> Iterator[tuple[str, str]]:
    if limits.requests:
        yield "admin.requests", "a request cannot be made into none"
    if limits.names:
        yield "admin.names", "who creates a topic looks for it under the name that was asked for"
    if limits.other_configs == "refuse":
        yield "admin.other_configs", "what was asked for would be dropped in silence"
    for limit in limits.configs:
        if limit.forbidden:
            yield f"admin.configs.{limit.name}", "what was asked for would be dropped in silence"
        elif limit.least is None and limit.most is None and len(limit.allowed) != 1:
            yield f"admin.configs.{limit.name}", "nothing says which value is to be set (allowed has not exactly one)"
