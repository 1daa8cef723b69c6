"""How safeguards are written: reads one, and refuses what could not be kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from kproxy.model.policy import CODECS, ProduceLimits, Safeguard
from kproxy.policy.expressions import ACCESS_NAMES
from kproxy.policy.rule_values import condition, glob, place
from kproxy.yaml_nodes import Section, Value, Wrong, boolean, choice, size, some_text, text, tuple_of

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
    inner = section.section("produce")
    rule = Safeguard(
        name=section.need("name", some_text, ""),
        topics=section.need("topics", tuple_of(glob), ()),
        produce=None if inner is None else _produce(inner),
        action=section.take("action", choice("refuse", "override", "record"), "refuse"),
        roles=section.take("roles", tuple_of(some_text), ()),
        except_roles=section.take("except_roles", tuple_of(some_text), ()),
        when=section.take("when", condition(ACCESS_NAMES), None),
        message=section.take("message", text, ""),
        at=place(value),
    )
    section.close()
    if inner is None:
        value.complain("the safeguard says nothing of any request: write produce: {acks: all}, or another limit")
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
