"""The issuer's public keys: which one a token means, whether it may be used for that, and its signature check.

Signatures are PyJWT's algorithm classes; the choice of key is ours. A key is found by the token's ``kid`` among the
keys of the token's own issuer and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import jwt.algorithms
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from kproxy.identity.refusals import KeyDoubtful, KeyMissing, build_refusal
from kproxy.model.snapshot import IssuerKeys

#: Algorithm to (key type, curve). HMAC and ``none`` are absent on purpose: no setting can bring them back.
ALGORITHMS: Final[dict[str, tuple[str, str]]] = {
    **{f"{family}{bits}": ("RSA", "") for family in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
MIN_RSA_BITS: Final = 2048  # NIST SP 800-131A.
MAX_RSA_BITS: Final = 8192  # Larger ones make every login dear.
MAX_KEY_ID: Final = 1000  # Kafka's own limit (RefreshingHttpsJwks).
#: The members of a public key. Nothing else is kept of a JWKS entry.
PUBLIC_MEMBERS: Final = ("kty", "use", "key_ops", "alg", "kid", "n", "e", "crv", "x", "y")
_MATERIAL: Final = ("kty", "n", "e", "crv", "x", "y")
_CHECKERS: Final = jwt.algorithms.get_default_algorithms()
_LOADERS: Final[dict[str, Callable[[Any], Any]]] = {
    "RSA": jwt.algorithms.RSAAlgorithm.from_jwk,
    "EC": jwt.algorithms.ECAlgorithm.from_jwk,
    "OKP": jwt.algorithms.OKPAlgorithm.from_jwk,
}

Jwk = dict[str, Any]


def choose_key(keys: IssuerKeys, algorithm: str, kid: str | None) -> Jwk:
    """The one key of the issuer a token means. Raises KeyMissing, or TokenRefused: ambiguous_kid, key_refused.

    A token without ``kid`` is taken only when exactly one of the issuer's keys fits its algorithm.
    """
    if kid is None:
        fitting = [key for key in keys.keys if not find_misfit(key, algorithm)]
        if not fitting:
            raise KeyMissing(keys.issuer, "")
        if len(fitting) > 1:
            raise build_refusal("ambiguous_kid", "the token names no key and several fit", keys.issuer)
        return fitting[0]
    named = [key for key in keys.keys if key.get("kid") == kid]
    if not named:
        raise KeyMissing(keys.issuer, kid)
    if len(named) > 1:
        raise build_refusal("ambiguous_kid", "the issuer lists this key id more than once", keys.issuer)
    misfit = find_misfit(named[0], algorithm)
    if misfit:
        raise build_refusal("key_refused", misfit, keys.issuer)
    return named[0]


def find_misfit(key: Jwk, algorithm: str) -> str:
    """Why a key may not check signatures of ``algorithm``, or an empty string."""
    kind, curve = ALGORITHMS[algorithm]
    if key.get("use", "sig") != "sig":
        return "the key is not for signatures"
    operations = key.get("key_ops")
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        return "the key is not for verifying"
    if key.get("kty") != kind or (curve and key.get("crv") != curve):
        return "the key's type does not fit the algorithm"
    if key.get("alg", algorithm) != algorithm:
        return "the key is for another algorithm"
    return ""


def check_signature(keys: IssuerKeys, key: Jwk, algorithm: str, signed: bytes, signature: bytes) -> None:
    """Raises KeyDoubtful when the signature does not verify, TokenRefused key_refused when the key cannot be used."""
    material = tuple(key.get(name, "") for name in _MATERIAL)
    if not all(isinstance(member, str) for member in material):
        raise build_refusal("key_refused", "the key's members are no text", keys.issuer)
    try:
        public = _load_public_key(material)
    except Exception:  # PyJWT and cryptography raise a dozen kinds for a bad key; all mean the same here.
        raise build_refusal("key_refused", "the key cannot be read", keys.issuer) from None
    if isinstance(public, RSAPublicKey) and not MIN_RSA_BITS <= public.key_size <= MAX_RSA_BITS:
        raise build_refusal("key_refused", f"an RSA key has {MIN_RSA_BITS} to {MAX_RSA_BITS} bits", keys.issuer)
    if isinstance(public, EllipticCurvePublicKey) and len(signature) != 2 * ((public.key_size + 7) // 8):
        raise KeyDoubtful(keys.issuer, _text(key.get("kid")))
    if not _CHECKERS[algorithm].verify(signed, public, signature):
        raise KeyDoubtful(keys.issuer, _text(key.get("kid")))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


@lru_cache(maxsize=256)
def _load_public_key(material: tuple[str, ...]) -> Any:
    """Loading costs as much as checking, and the same few keys come again with every login."""
    members = {name: value for name, value in zip(_MATERIAL, material, strict=True) if value}
    return _LOADERS[members["kty"]](members)
