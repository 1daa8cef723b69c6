"""How quotas are written."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kproxy.model.policy import Quota
from kproxy.policy.rule_values import place
from kproxy.yaml_nodes import SIZES, Section, Value, Wrong, boolean, integer, some_text

_RATE = re.compile(r"([0-9]{1,15})([A-Za-z]*)/s")
LIMITS = ("produce", "consume", "requests", "connections")


def quota(value: Value) -> Quota:
    """One quota; what is wrong with it is reported."""
    section = Section(value)
    role, principal, each = "", "", False
    whose = section.section("for")
    if whose is None:
        value.complain("'for' is missing: write for: {role: NAME} or for: {principal: ISSUER:SUBJECT}")
    else:
        named = whose.entries.keys() & {"role", "principal"}
        role, principal = whose.take("role", some_text, ""), whose.take("principal", _principal, "")
        each = whose.take("each", boolean, False)
        whose.close()
        if len(named) != 1:
            value.complain("a quota is for one role or for one principal")
        elif each and principal:
            value.complain("each is about the members of a role; a principal is one")
    written = section.entries.keys() & set(LIMITS)
    rule = Quota(
        role=role, principal=principal, each=each,
        produce=section.take("produce", _bytes_a_second, 0.0),
        consume=section.take("consume", _bytes_a_second, 0.0),
        requests=section.take("requests", _requests_a_second, 0.0),
        connections=section.take("connections", integer(1), 0),
        at=place(value),
    )
    section.close()
    if not written:
        value.complain(f"the quota limits nothing: write {', '.join(LIMITS[:-1])} or {LIMITS[-1]}")
    return rule


def _principal(value: Value) -> str:
    found = some_text(value)
    issuer, colon, subject = found.partition(":")
    if not (issuer and colon and subject):
        raise Wrong(value, f"a principal is ISSUER:SUBJECT, with the issuer's alias of kproxy.yaml; found {found!r}")
    return found


def _bytes_a_second(value: Value) -> float:
    return _rate(value, SIZES, "10MB/s")


def _requests_a_second(value: Value) -> float:
    return _rate(value, {"": 1}, "1000/s")


def _rate(value: Value, units: Mapping[str, int], example: str) -> float:
    written = some_text(value)
    match = _RATE.fullmatch(written)
    if match is None or match[2] not in units:
        raise Wrong(value, f"expected so much a second, as {example}, found {written!r}")
    found = float(int(match[1]) * units[match[2]])
    if not found:
        raise Wrong(value, "a quota of nothing would hold everything up for ever; take the right away instead")
    return found
