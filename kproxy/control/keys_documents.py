"""What an issuer publishes, read strictly: the discovery document and the key set. Only public members of keys are
kept.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from kproxy.errors import KproxyError, TokenRefused
from kproxy.identity.check import check_address
from kproxy.identity.jwk import MAX_KEY_ID, PUBLIC_MEMBERS
from kproxy.identity.strict_json import parse_object

MAX_DOCUMENT: Final = 256 * 1024  # Entra ID's common key set is 20 KiB.
MAX_KEYS: Final = 100
_PRIVATE_MEMBERS: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
_KINDS: Final = ("RSA", "EC", "OKP")


class KeysUnusable(KproxyError):
    """An issuer's keys could not be fetched or read. ``reason`` is a fixed word, ``status`` an HTTP status or 0."""

    def __init__(self, reason: str, detail: str, status: int = 0) -> None:
        self.reason = reason
        self.status = status
        super().__init__(detail)


class KeySet(NamedTuple):
    """``dropped`` counts the entries that were left out, by a word for why."""

    keys: tuple[dict[str, Any], ...]
    dropped: dict[str, int]


def parse_discovery(data: bytes, issuer: str, secure: bool) -> str:
    """The address of the key set. ``secure``: the document came over https, and what it names must too.

    Raises KeysUnusable: a document that names another issuer than the one configured is not this issuer's.
    """
    document = _parse(data, "the discovery document")
    if document.get("issuer") != issuer:
        raise KeysUnusable("wrong_issuer", "the discovery document names another issuer")
    address = document.get("jwks_uri")
    if not isinstance(address, str) or not address:
        raise KeysUnusable("no_jwks_uri", "the discovery document names no key set")
    check_key_address(address, secure)
    return address


def check_key_address(address: str, secure: bool) -> None:
    """Raises KeysUnusable for an address that keys must not come from."""
    problem = check_address(address)
    if problem or (secure and not address.lower().startswith("https:")):
        raise KeysUnusable("address_refused", f"an address of the key set {problem or 'must be https'}")


def parse_jwks(data: bytes) -> KeySet:
    """The keys that may check signatures. An empty set is an answer too: the issuer says that it has no key."""
    entries = _parse(data, "the key set").get("keys")
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise KeysUnusable("bad_jwks", f"the key set has no list of at most {MAX_KEYS} keys")
    keys: list[dict[str, Any]] = []
    dropped: dict[str, int] = {}
    for entry in entries:
        why = _find_fault(entry)
        if why:
            dropped[why] = dropped.get(why, 0) + 1
        else:
            keys.append({name: entry[name] for name in PUBLIC_MEMBERS if name in entry})
    return KeySet(tuple(keys), dropped)


def _find_fault(entry: Any) -> str:
    if not isinstance(entry, dict):
        return "no_object"
    if any(name in entry for name in _PRIVATE_MEMBERS):
        return "private_key"
    if entry.get("kty") not in _KINDS:
        return "unknown_type"
    kid = entry.get("kid", "k")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KEY_ID or not kid.isprintable():
        return "bad_kid"
    text = (name for name in PUBLIC_MEMBERS if name != "key_ops")
    if not all(isinstance(entry.get(name, ""), str) for name in text):
        return "bad_member"
    operations = entry.get("key_ops", [])
    if not isinstance(operations, list) or not all(isinstance(one, str) for one in operations):
        return "bad_member"
    return ""


def _parse(data: bytes, what: str) -> dict[str, Any]:
    try:
        return parse_object(data)
    except TokenRefused as refused:
        raise KeysUnusable("not_json", f"{what} is unreadable: {refused.detail}") from None
