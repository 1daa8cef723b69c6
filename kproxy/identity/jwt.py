"""A token in, a principal with its attested facts out, or a refusal with a word for it.

The order of the checks, each with its own reason (``refusals.REASONS``):

    size → three canonical base64url parts → strict JSON → header → algorithm → issuer → key → signature
    → times and lifetime → audience → subject → profile → principal, groups, attributes, attested facts

The signature is checked over the very bytes that were parsed here, by PyJWT's algorithm classes; PyJWT's own parser
is not used, so no second reading of the token exists that could differ from this one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from kproxy.errors import TokenRefused
from kproxy.identity.claims import (
    build_principal,
    check_audience,
    check_times,
    read_attested,
    read_subject,
    read_token_jti,
)
from kproxy.identity.jwk import ALGORITHMS, MAX_KEY_ID, check_signature, choose_key
from kproxy.identity.profiles import check_profile
from kproxy.identity.refusals import REASONS, KeyDoubtful, KeyMissing, build_refusal
from kproxy.identity.strict_json import parse_object
from kproxy.model.access import Principal
from kproxy.model.settings import Issuer
from kproxy.model.snapshot import IssuerKeys

MAX_TOKEN: Final = 64 * 1024
MAX_SIGNATURE: Final = 1024  # RSA 8192.
_FORBIDDEN_HEADERS: Final = ("jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc")
_PART: Final = re.compile(rb"[A-Za-z0-9_-]*")


class ValidatedToken(msgspec.Struct, frozen=True):
    """What a verified token proves until ``expires_at`` (Unix seconds). ``token_id`` is a digest, never token
    material.
    """

    principal: Principal
    attested: dict[str, str]
    expires_at: float
    token_id: str
    issuer: str
    """The issuer's alias in the configuration."""
    kid: str
    """The key it was checked with; empty when the issuer gives its key no id."""


class Parsed(NamedTuple):
    """A token taken apart and not yet believed."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def validate(
    token: str | bytes, issuers: Mapping[str, Issuer], keys: Mapping[str, IssuerKeys], now: float
) -> ValidatedToken:
    """Checks a token against the issuers (by their exact ``iss``) and their keys (by alias) at ``now`` (Unix seconds).

    Raises TokenRefused; its subclass KeyMissing when fresher keys could change the answer, so that the caller may fetch
    them and try once more.
    """
    parsed = parse(token)
    algorithm = _check_header(parsed.header)
    issuer = _choose_issuer(parsed.claims, issuers)
    if algorithm not in issuer.algorithms:
        raise build_refusal("algorithm_refused", "not on this issuer's list", issuer.alias)
    key = _check_signature(parsed, algorithm, issuer, keys, now)
    expires_at = check_times(parsed.claims, issuer, now)
    check_audience(parsed.claims, issuer)
    subject = read_subject(parsed.claims, issuer)
    check_profile(parsed.header, parsed.claims, issuer)
    jti = read_token_jti(parsed.claims, issuer)
    return ValidatedToken(
        principal=build_principal(parsed.claims, issuer, subject),
        attested=read_attested(parsed.claims, issuer),
        expires_at=expires_at,
        token_id=build_token_id(issuer.issuer, jti) if jti else _digest(b"token\0" + parsed.signed),
        issuer=issuer.alias,
        kid=key.get("kid", ""),
    )


async def validate_twice(
    attempt: Callable[[], ValidatedToken], fetch: Callable[[KeyMissing], Awaitable[bool]]
) -> ValidatedToken:
    """``attempt`` validates with the keys at hand; it is called once more where ``fetch`` found fresher ones that could
    change the answer. Raises TokenRefused.
    """
    try:
        return attempt()
    except KeyMissing as missing:
        if not await fetch(missing):
            raise
    return attempt()


def parse(token: str | bytes) -> Parsed:
    """Takes a token apart without believing any of it. Raises TokenRefused."""
    if len(token) > MAX_TOKEN:
        raise build_refusal("too_large")
    if isinstance(token, str):
        if not token.isascii():
            raise build_refusal("malformed_token", "characters that no token has")
        token = token.encode("ascii")
    parts = token.split(b".")
    if len(parts) == 5:
        raise build_refusal("encrypted_token")
    if len(parts) != 3:
        raise build_refusal("malformed_token", "not three parts joined by dots")
    header, claims, signature = (_decode_part(part) for part in parts)
    if len(signature) > MAX_SIGNATURE:
        raise build_refusal("malformed_token", "no algorithm has so long a signature")
    return Parsed(parse_object(header), parse_object(claims), token[: token.rindex(b".")], signature)


def build_token_id(issuer: str, jti: str) -> str:
    """The name of a token in logs, audit and locks: 32 hex digits of SHA-256 over the issuer and its jti."""
    return _digest(b"jti\0" + issuer.encode() + b"\0" + jti.encode())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _decode_part(part: bytes) -> bytes:
    """Canonical base64url only: one value has one spelling, so nothing can hide in padding, spaces or spare bits."""
    if not _PART.fullmatch(part):
        raise build_refusal("malformed_token", "a part is not base64url")
    try:
        data = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except binascii.Error:
        raise build_refusal("malformed_token", "a part is not base64url") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part:
        raise build_refusal("malformed_token", "a part is not canonical base64url")
    return data


def _check_header(header: dict[str, Any]) -> str:
    """The algorithm, once nothing in the header asks for trust it cannot have."""
    for name in _FORBIDDEN_HEADERS:
        if name in header:
            raise build_refusal("header_refused", name)
    if not isinstance(header.get("typ", ""), str):
        raise build_refusal("wrong_type", "typ is no text")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise build_refusal("algorithm_refused", "unsigned, symmetric or unknown")
    if "kid" in header:
        kid = header["kid"]
        if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KEY_ID or not kid.isprintable():
            raise build_refusal("bad_kid")
    return algorithm


def _choose_issuer(claims: dict[str, Any], issuers: Mapping[str, Issuer]) -> Issuer:
    if "iss" not in claims:
        raise build_refusal("missing_claim", "iss")
    name = claims["iss"]
    issuer = issuers.get(name) if isinstance(name, str) else None
    if issuer is None or issuer.issuer != name:
        raise build_refusal("unknown_issuer")
    return issuer


def _check_signature(
    parsed: Parsed, algorithm: str, issuer: Issuer, keys: Mapping[str, IssuerKeys], now: float
) -> dict[str, Any]:
    """The key that verifies the token."""
    kid = parsed.header.get("kid")
    if not parsed.signature:
        raise build_refusal("bad_signature", "no signature at all", issuer.alias)
    known = keys.get(issuer.alias)
    if known is None:
        raise KeyMissing(issuer.alias, kid or "")
    if now >= known.stale_at:
        raise KeyMissing(issuer.alias, kid or "", "keys_stale")
    key = choose_key(known, algorithm, kid)
    check_signature(known, key, algorithm, parsed.signed, parsed.signature)
    return key


__all__ = [
    "REASONS",
    "KeyDoubtful",
    "KeyMissing",
    "TokenRefused",
    "ValidatedToken",
    "build_token_id",
    "parse",
    "validate",
]
