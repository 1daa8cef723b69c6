"""What the signed claims must say, and the principal and attested facts that are read from them.

Lifetime, decided once for every issuer: a token whose exp − iat exceeds ``max_lifetime`` is refused rather than cut
short. A bearer token that lives for a year is a shared password with dots in it; cutting only the session would let
whoever holds it log in again all year. A session never ends later than the token's exp, nor later than now +
``max_lifetime``.
"""

from __future__ import annotations

import unicodedata
from typing import Any, Final

from kproxy.identity.refusals import build_refusal
from kproxy.identity.template import build_name, look_up, parse_path
from kproxy.model.access import Principal
from kproxy.model.settings import Issuer

MAX_TIME: Final = 253402300799.0  # The last second of the year 9999; milliseconds taken for seconds land beyond it.
MAX_TEXT: Final = 1024  # Kubernetes' longest subject is 341 characters, a distinguished name rarely more than 255.
MAX_NAME: Final = 4 * MAX_TEXT  # A template may join several claims.
MAX_GROUPS: Final = 1000  # Entra ID stops listing groups at 200, Keycloak has no limit.
MAX_AUDIENCES: Final = 100

Claims = dict[str, Any]


def check_times(claims: Claims, issuer: Issuer, now: float) -> float:
    """Unix seconds at which a session resting on these claims ends.

    A clock skew is granted on every comparison. A token already past its exp but within the skew ends with the skew:
    an end in the past would read as "never expires" to a Kafka client. Without iat the token counts as issued at nbf,
    and without both as issued now, so that a long remaining life is still refused.
    """
    skew = issuer.clock_skew
    exp, nbf, iat = (_read_time(claims, name, issuer) for name in ("exp", "nbf", "iat"))
    if exp is None:
        raise build_refusal("missing_claim", "exp", issuer.alias)
    if now >= exp + skew:
        raise build_refusal("expired", issuer=issuer.alias)
    if nbf is not None and nbf > now + skew:
        raise build_refusal("not_yet_valid", issuer=issuer.alias)
    if iat is not None and iat > now + skew:
        raise build_refusal("issued_in_future", issuer=issuer.alias)
    since = iat if iat is not None else nbf if nbf is not None else min(now, exp)
    if exp < since:
        raise build_refusal("bad_time", "exp lies before the token was issued", issuer.alias)
    if exp - since > issuer.max_lifetime:
        raise build_refusal("lifetime_too_long", issuer=issuer.alias)
    return min(exp if exp > now else exp + skew, now + issuer.max_lifetime)


def _read_time(claims: Claims, name: str, issuer: Issuer) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_TIME:
        raise build_refusal("bad_time", name, issuer.alias)
    return float(value)


def check_audience(claims: Claims, issuer: Issuer) -> None:
    """The token must name one of the issuer's audiences; others may stand beside it."""
    if "aud" not in claims:
        raise build_refusal("missing_claim", "aud", issuer.alias)
    named = claims["aud"]
    if isinstance(named, str):
        named = [named]
    if not isinstance(named, list) or len(named) > MAX_AUDIENCES or not all(isinstance(one, str) for one in named):
        raise build_refusal("bad_claim", "aud", issuer.alias)
    if not any(one in issuer.audience for one in named):
        raise build_refusal("wrong_audience", issuer=issuer.alias)


def read_subject(claims: Claims, issuer: Issuer) -> str:
    """The issuer's stable id of whom the token speaks for, as plain text compared code point by code point."""
    if "sub" not in claims:
        raise build_refusal("missing_claim", "sub", issuer.alias)
    subject = claims["sub"]
    if not isinstance(subject, str) or not is_plain(subject):
        raise build_refusal("bad_subject", issuer=issuer.alias)
    return subject


def is_plain(text: str, limit: int = MAX_TEXT) -> bool:
    """Whether text can name somebody: not empty, no controls, no invisible or direction-changing characters, no edge
    spaces, and its own NFKC form, so that no later normalisation turns one name into another."""
    if not text or len(text) > limit or text != text.strip():
        return False
    if text.isascii():
        return text.isprintable()
    if not unicodedata.is_normalized("NFKC", text):
        return False
    return not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for character in text)


def build_principal(claims: Claims, issuer: Issuer, subject: str) -> Principal:
    try:
        name = build_name(issuer.principal, issuer.alias, claims)
    except ValueError as error:
        raise build_refusal("principal_refused", str(error), issuer.alias) from None
    if not is_plain(name, MAX_NAME) or name == "anonymous":
        raise build_refusal("principal_refused", issuer=issuer.alias)
    attributes = {}
    for key, path in issuer.attributes.items():
        value = look_up(claims, parse_path(path))
        if value is not None:
            attributes[key] = value
    return Principal(name, issuer.alias, subject, _read_groups(claims, issuer), attributes)


def _read_groups(claims: Claims, issuer: Issuer) -> tuple[str, ...]:
    """No claim means no group. A claim of another shape is refused: a rule that forbids by group must not silently
    miss.
    """
    if not issuer.groups:
        return ()
    value = look_up(claims, parse_path(issuer.groups))
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or len(value) > MAX_GROUPS:
        raise build_refusal("bad_claim", "groups", issuer.alias)
    if not all(isinstance(group, str) and is_plain(group) for group in value):
        raise build_refusal("bad_claim", "groups", issuer.alias)
    return tuple(dict.fromkeys(value))


def read_attested(claims: Claims, issuer: Issuer) -> dict[str, str]:
    """The facts the issuer vouches for, as text. A claim that is absent or null gives no fact; other shapes are
    refused.
    """
    attested = {}
    for key, path in issuer.attest.items():
        value = look_up(claims, parse_path(path))
        if value is None:
            continue
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not is_plain(value):
            raise build_refusal("bad_claim", f"attest.{key}", issuer.alias)
        attested[key] = value
    return attested


def read_token_jti(claims: Claims, issuer: Issuer) -> str:
    """The token's own id, or an empty string when it has none."""
    if "jti" not in claims:
        return ""
    jti = claims["jti"]
    if not isinstance(jti, str) or not jti or len(jti) > MAX_TEXT:
        raise build_refusal("bad_claim", "jti", issuer.alias)
    return jti

