"""The SASL messages that carry a token: OAUTHBEARER (RFC 7628) and PLAIN (RFC 4616, the password is the token).

    OAUTHBEARER   "n," [ "a=" authzid ] "," SOH *( key "=" value SOH ) SOH      one key is auth: "Bearer " token
    PLAIN         [ authzid ] NUL user NUL password

The regular expressions are Kafka's own (OAuthBearerClientInitialResponse), so whatever a Kafka client may send is
understood. Extensions are what the client says of itself: they become declared facts and never touch the attested
ones.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Final

from kproxy.identity.jwt import MAX_TOKEN
from kproxy.identity.refusals import build_refusal
from kproxy.model.access import Principal

MAX_EXTENSIONS: Final = 32
MAX_EXTENSION_KEY: Final = 64
MAX_EXTENSION_VALUE: Final = 1024
MAX_MESSAGE: Final = MAX_TOKEN + MAX_EXTENSIONS * (MAX_EXTENSION_KEY + MAX_EXTENSION_VALUE + 2) + 2048
MAX_NAME: Final = 1024

_AUTHZID = r"(?:[\x01-\x2B\x2D-\x3C\x3E-\x7F]|=2C|=3D)+"
_PAIR = r"[A-Za-z]+=[\x21-\x7E \t\r\n]+\x01"
_FIRST = re.compile(rf"n,(?:a=({_AUTHZID}))?,\x01((?:{_PAIR})*)\x01")
_AUTH = re.compile(r"([A-Za-z0-9_]+) +([-_.A-Za-z0-9]+)")


@dataclass(frozen=True, slots=True)
class OAuthBearerMessage:
    """A client's first OAUTHBEARER message. ``extensions`` are its own words; the token stays out of ``repr``."""

    token: str = field(repr=False)
    authzid: str = ""
    extensions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlainMessage:
    """A PLAIN message. ``password`` is meant to be a token and stays out of ``repr``; ``username`` proves nothing."""

    authzid: str
    username: str
    password: str = field(repr=False)


def parse_oauthbearer(initial: bytes) -> OAuthBearerMessage:
    """Raises TokenRefused: sasl_malformed, too_large or extension_refused."""
    if len(initial) > MAX_MESSAGE:
        raise build_refusal("too_large", "a SASL message of this size holds no token")
    try:
        # ASCII is narrower than Kafka's UTF-8 by nothing: every class of the grammar is ASCII.
        text = bytes(initial).decode("ascii")
    except UnicodeDecodeError:
        raise build_refusal("sasl_malformed", "bytes outside ASCII") from None
    match = _FIRST.fullmatch(text)
    if match is None:
        raise build_refusal("sasl_malformed", "not an OAUTHBEARER client message")
    authzid = (match.group(1) or "").replace("=2C", ",").replace("=3D", "=")
    if len(authzid) > MAX_NAME:
        raise build_refusal("sasl_malformed", "the authorisation id is too long")
    pairs = [tuple(pair.split("=", 1)) for pair in match.group(2).split("\x01")[:-1]]
    values = [value for key, value in pairs if key == "auth"]
    if len(values) != 1:
        raise build_refusal("sasl_malformed", "exactly one auth is needed")
    auth = _AUTH.fullmatch(values[0].strip(" \t\r\n"))
    if auth is None or auth.group(1).lower() != "bearer":
        raise build_refusal("sasl_malformed", "auth is not a bearer token")
    return OAuthBearerMessage(auth.group(2), authzid, _read_extensions([pair for pair in pairs if pair[0] != "auth"]))


def _read_extensions(pairs: list[tuple[str, ...]]) -> dict[str, str]:
    if len(pairs) > MAX_EXTENSIONS:
        raise build_refusal("extension_refused", f"more than {MAX_EXTENSIONS} extensions")
    extensions: dict[str, str] = {}
    for key, value in pairs:
        if key.lower() == "auth":
            raise build_refusal("extension_refused", "auth is reserved, however it is written")
        if key in extensions:
            raise build_refusal("extension_refused", "an extension is given twice")
        if len(key) > MAX_EXTENSION_KEY or len(value) > MAX_EXTENSION_VALUE:
            raise build_refusal("extension_refused", "an extension is too long")
        # The grammar allows line ends; a fact that lands in logs and on terminals may not hold any.
        if not value.isprintable():
            raise build_refusal("extension_refused", "an extension holds a control character")
        extensions[key] = value
    return extensions


def parse_plain(message: bytes) -> PlainMessage:
    """Raises TokenRefused: sasl_malformed or too_large. The password is not looked at here: ``jwt.validate`` judges
    it.
    """
    if len(message) > MAX_MESSAGE:
        raise build_refusal("too_large", "a SASL message of this size holds no token")
    try:
        text = bytes(message).decode("utf-8")
    except UnicodeDecodeError:
        raise build_refusal("sasl_malformed", "not UTF-8") from None
    parts = text.split("\0")
    if len(parts) != 3:
        raise build_refusal("sasl_malformed", "PLAIN has three parts")
    authzid, username, password = parts
    if not username or not password:
        raise build_refusal("sasl_malformed", "PLAIN needs a user name and a password")
    if len(username) > MAX_NAME or len(authzid) > MAX_NAME:
        raise build_refusal("sasl_malformed", "the user name is too long")
    if not username.isprintable():
        raise build_refusal("sasl_malformed", "the user name holds a control character")
    if authzid and authzid != username:
        raise build_refusal("authzid_refused")
    return PlainMessage(authzid, username, password)


def check_authzid(message: OAuthBearerMessage, principal: Principal) -> None:
    """A client may name the principal it acts as; it may name no other. Raises TokenRefused authzid_refused."""
    if message.authzid and message.authzid not in (principal.name, principal.subject):
        raise build_refusal("authzid_refused", issuer=principal.issuer)


def oauthbearer_error_json(error_id: str = "", scope: str = "", openid_configuration: str = "") -> bytes:
    """The answer to a refused token: RFC 7628's words and the id under which the operator finds the reason, no more."""
    answer = {"status": "invalid_token"}
    if scope:
        answer["scope"] = scope
    if openid_configuration:
        answer["openid-configuration"] = openid_configuration
    if error_id:
        answer["error_id"] = error_id
    return json.dumps(answer, separators=(",", ":")).encode("ascii")


def client_message(error_id: str) -> str:
    """All a refused client is told: that it was, and the id under which the operator finds the reason."""
    return f"Authentication failed (error id {error_id})" if error_id else "Authentication failed"
