"""The closed table of reasons for which a token or a SASL message is refused.

The word is the ``result`` label of ``kproxy_token_checks_total`` and a log key, so it is fixed here and nowhere else.
The detail beside it is written by this package: it may name a claim or a limit, never a value that came in the token.
"""

from __future__ import annotations

from typing import Final

from kproxy.errors import TokenRefused

ACCEPTED: Final = "accepted"

REASONS: Final[dict[str, str]] = {
    "too_large": "the token is larger than 64 KiB",
    "malformed_token": "not three canonical base64url parts of a signed JWT, or not JSON objects inside",
    "encrypted_token": "an encrypted token (JWE), which cannot be checked here",
    "duplicate_member": "a JSON object in header or payload names a member twice",
    "too_deep": "the JSON is nested deeper than any honest token",
    "bad_number": "a number that is not finite or does not fit 64 bits",
    "header_refused": "the header brings its own key, its own key address, or a critical extension",
    "algorithm_refused": "the signature algorithm is not on the issuer's list",
    "bad_kid": "the key id is not a short printable string",
    "unknown_issuer": "no configured issuer has exactly this name",
    "unknown_kid": "the issuer lists no such key",
    "ambiguous_kid": "more than one of the issuer's keys could be meant",
    "key_refused": "the key named is for something else, or too weak",
    "keys_stale": "the issuer's keys could not be refreshed for too long",
    "bad_signature": "the signature does not verify",
    "missing_claim": "a required claim is absent",
    "bad_claim": "a claim has a wrong shape",
    "bad_time": "a time is not a plausible number of Unix seconds",
    "expired": "the token has expired",
    "not_yet_valid": "the token is not valid yet",
    "issued_in_future": "the token was issued in the future",
    "lifetime_too_long": "the token lives longer than max_lifetime allows",
    "wrong_audience": "the token is meant for somebody else",
    "bad_subject": "the subject is empty, too long, or not plain text",
    "wrong_type": "the token's type is not the one its issuer's profile asks for",
    "id_token": "an ID token, which says who logged in and grants nothing",
    "principal_refused": "no unambiguous principal can be made of the claims",
    "sasl_malformed": "the SASL message breaks its grammar",
    "extension_refused": "a SASL extension is reserved, repeated, too many or too large",
    "authzid_refused": "the client asks to act as somebody other than the token's principal",
}


class KeyMissing(TokenRefused):
    """The issuer is known and the key named is not, or all its keys are stale. The caller may have them refreshed and
    try once more.

    ``issuer`` and ``issuer_alias`` are the alias; ``kid`` is empty when the token names no key.
    """

    def __init__(self, issuer: str, kid: str, reason: str = "unknown_kid", detail: str = "") -> None:
        self.kid = kid
        self.issuer_alias = issuer
        super().__init__(reason, detail or REASONS[reason], issuer)


class KeyDoubtful(KeyMissing):
    """The key is known and the signature does not verify under it: the issuer may have reused the id for new
    material.
    """

    def __init__(self, issuer: str, kid: str) -> None:
        super().__init__(issuer, kid, "bad_signature")


def build_refusal(reason: str, detail: str = "", issuer: str = "") -> TokenRefused:
    """A refusal whose reason is certainly of the table. Raises KeyError on a word that is not."""
    meaning = REASONS[reason]
    return TokenRefused(reason, detail or meaning, issuer)
