"""Tokens for tests, honest and hostile: every part is under the test's control, nothing is checked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import jwt.algorithms
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from kproxy.errors import TokenRefused
from kproxy.identity.jwt import ValidatedToken, validate
from kproxy.identity.refusals import REASONS
from kproxy.model.settings import Issuer
from kproxy.model.snapshot import IssuerKeys

ISS = "https://idp.example.com"
NOW = 1_800_000_000
Signer = Callable[[bytes], bytes]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@cache
def rsa_key(name: str = "k1", bits: int = 2048) -> rsa.RSAPrivateKey:
    """One key per name and size for the whole test run: making them is the slow part."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(name: str = "e1", curve: str = "P-256") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key({"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}[curve])


@cache
def ed_key(name: str = "d1") -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def public_jwk(key: Any, **members: Any) -> dict[str, Any]:
    """A JWKS entry of a private key's public half; a member given as None is left out."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        jwk = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        jwk = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        jwk = jwt.algorithms.OKPAlgorithm.to_jwk(public, as_dict=True)
    jwk.pop("key_ops", None)
    jwk |= members
    return {name: value for name, value in jwk.items() if value is not None}


def public_pem(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def rs(key: rsa.RSAPrivateKey | None = None, digest: Any = None) -> Signer:
    return lambda data: (key or rsa_key()).sign(data, padding.PKCS1v15(), digest or hashes.SHA256())


def ps(key: rsa.RSAPrivateKey) -> Signer:
    pad = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    return lambda data: key.sign(data, pad, hashes.SHA256())


def es(key: ec.EllipticCurvePrivateKey, digest: Any = None) -> Signer:
    size = (key.curve.key_size + 7) // 8

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest or hashes.SHA256())))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return sign


def hs(secret: bytes) -> Signer:
    return lambda data: hmac.new(secret, data, hashlib.sha256).digest()


def raw(header: Any, claims: Any, sign: Signer) -> str:
    """A compact JWS of any header and payload; bytes are taken as they are."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    signed = ".".join(b64(part) for part in parts)
    return f"{signed}.{b64(sign(signed.encode()))}"


def claims(without: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    honest = {"iss": ISS, "aud": "kafka", "sub": "w1", "exp": NOW + 300, "iat": NOW, "nbf": NOW, "jti": "j1"}
    return {name: value for name, value in {**honest, **changes}.items() if name not in without}


def header(**changes: Any) -> dict[str, Any]:
    """An honest access token's header; a member given as None is left out."""
    members = {"alg": "RS256", "kid": "k1", "typ": "at+jwt", **changes}
    return {name: value for name, value in members.items() if value is not None}


def token(head: dict[str, Any] | None = None, without: tuple[str, ...] = (), **changes: Any) -> str:
    return raw(head or header(), claims(without, **changes), rs())


def issuer(alias: str = "corp", **changes: Any) -> Issuer:
    return Issuer(**{"alias": alias, "issuer": ISS, "audience": ("kafka",), **changes})


def issuer_keys(*keys: dict[str, Any], alias: str = "corp", stale_at: float = NOW + 3600) -> IssuerKeys:
    listed = keys or (public_jwk(rsa_key(), kid="k1", use="sig", alg="RS256"),)
    return IssuerKeys(alias, tuple(listed), fetched_at=NOW, stale_at=stale_at)


def refuse(tested: str | bytes, *, keys: Any = None, issuers: Any = None, **settings: Any) -> TokenRefused:
    """The refusal of a token, after making sure that it names a reason of the table and quotes nothing of the token."""
    known = issuers or {ISS: issuer(**settings)}
    listed = keys or {"corp": issuer_keys()}
    with pytest.raises(TokenRefused) as caught:
        validate(tested, known, listed, NOW)
    error = caught.value
    assert error.reason in REASONS
    assert "eyJ" not in f"{error} {error!r} {error.detail} {error.args}"
    return error


def accept(tested: str | bytes, *, keys: Any = None, **settings: Any) -> ValidatedToken:
    return validate(tested, {ISS: issuer(**settings)}, keys or {"corp": issuer_keys()}, NOW)
