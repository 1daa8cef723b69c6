"""Certificates, keys and authorities as PEM bytes: what is wrong with them, and until when they are good.

Pure: the files and the clock are the caller's. RFC 5280 for the fields, RFC 7468 for PEM.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from kproxy.errors import KproxyError


class CertificateProblem(KproxyError):
    """A certificate, key or list of authorities that cannot be used. Never holds key material."""


class Chain(msgspec.Struct, frozen=True):
    """What a certificate chain says of itself. Times are Unix seconds; ``ends`` is the earliest end in the chain."""

    subject: str
    ends: float


def read_chain(certificates: bytes, key: bytes, now: float | None) -> Chain:
    """The chain, its own certificate first, with the key that belongs to it; ``now`` None takes one that has ended.
    Raises CertificateProblem."""
    # Imported late: a node without TLS starts without it.
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        chain = x509.load_pem_x509_certificates(certificates)
    except ValueError:
        raise CertificateProblem("the certificate file holds no PEM certificate that can be read") from None
    try:
        private = load_pem_private_key(key, None)
    except TypeError:
        raise CertificateProblem("the key is encrypted; keep it unencrypted in a file of mode 0600") from None
    except Exception:
        # The library's words differ by kind of key, and some quote what they could not parse.
        raise CertificateProblem("the key file holds no PEM private key that can be read") from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if chain[0].public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
        raise CertificateProblem("the key does not belong to the certificate")
    for certificate in chain:
        _check_time(certificate.not_valid_before_utc, certificate.not_valid_after_utc, now)
    return Chain(chain[0].subject.rfc4514_string(), min(_seconds(one.not_valid_after_utc) for one in chain))


def read_authorities(certificates: bytes, now: float | None) -> float:
    """When the last of the authorities ends: until then somebody can be trusted; ``now`` as for read_chain. Raises
    CertificateProblem."""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(certificates)
    except ValueError:
        raise CertificateProblem("the file of authorities holds no PEM certificate that can be read") from None
    latest = max(found, key=lambda one: one.not_valid_after_utc)
    _check_time(min(one.not_valid_before_utc for one in found), latest.not_valid_after_utc, now)
    return _seconds(latest.not_valid_after_utc)


def _check_time(begins: datetime, ends: datetime, now: float | None) -> None:
    if now is None:
        return
    if now >= _seconds(ends):
        raise CertificateProblem(f"the certificate ended on {ends:%Y-%m-%d %H:%M} UTC")
    if now < _seconds(begins):
        raise CertificateProblem(f"the certificate begins on {begins:%Y-%m-%d %H:%M} UTC")


def _seconds(time: datetime) -> float:
    return time.timestamp()
