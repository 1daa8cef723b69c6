"""Kafka's StandardAuthorizer read a second time, without any index: what is allowed under a list of ACLs."""

from __future__ import annotations

from collections.abc import Iterable

from kproxy.policy.acls import Acl

IMPLIED = {"DESCRIBE": {"READ", "WRITE", "DELETE", "ALTER"}, "DESCRIBE_CONFIGS": {"ALTER_CONFIGS"}}


def is_allowed(acls: Iterable[Acl], user: str, host: str, operation: str, resource: str, name: str) -> bool:
    meant = [acl for acl in acls if acl.resource == resource and acl.principal in ("User:*", f"User:{user}")
             and acl.host in ("*", host) and covers(acl, name)]
    if any(acl.permission == "DENY" and acl.operation in ("ALL", operation) for acl in meant):
        return False
    return any(acl.permission == "ALLOW" and acl.operation in {"ALL", operation} | IMPLIED.get(operation, set())
               for acl in meant)


def covers(acl: Acl, name: str) -> bool:
    if acl.pattern_type == "PREFIXED":
        return name.startswith(acl.name)
    return acl.name in ("*", name)


def may_write_somewhere(acls: Iterable[Acl], user: str, host: str) -> bool:
    """Authorizer.authorizeByResourceType(WRITE, TOPIC): some allow that no single denial covers."""
    mine = [acl for acl in acls if acl.resource == "TOPIC" and acl.operation in ("ALL", "WRITE")
            and acl.principal in ("User:*", f"User:{user}") and acl.host in ("*", host)]
    denials = [acl for acl in mine if acl.permission == "DENY"]
    if any((acl.pattern_type, acl.name) == ("LITERAL", "*") for acl in denials):
        return False
    for acl in mine:
        if acl.permission != "ALLOW":
            continue
        if (acl.pattern_type, acl.name) == ("LITERAL", "*"):
            return True
        is_covered = any(acl.name.startswith(denial.name) if denial.pattern_type == "PREFIXED" else
                         (denial.pattern_type, denial.name) == (acl.pattern_type, acl.name) for denial in denials)
        if not is_covered:
            return True
    return False
