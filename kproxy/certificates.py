"""Certificates, keys and authorities as PEM bytes: what is wrong with them, and until when they are good.

Pure: the files and the clock are the caller's. RFC 5280 for the fields, RFC 7468 for PEM.
"""

from __future__ import annotations

from collections.abc import Iterable
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


def check_server_names(certificates: bytes, bootstrap: str, before: str, behind: str, brokers: range) -> None:
    """Whether clients can verify the names they are led to by the subjectAltName of the first certificate (RFC 9525):
    ``bootstrap``, and one at least of ``before`` ID ``behind`` with an id of ``brokers``. A certificate may name some
    brokers only, those that there are. Raises CertificateProblem."""
    from cryptography import x509

    try:
        own = x509.load_pem_x509_certificates(certificates)[0]
        found = own.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = [name.lower() for name in found.value.get_values_for_type(x509.DNSName)]
    except x509.ExtensionNotFound:
        names = []
    except ValueError:
        return  # It is read_chain that tells of a file which cannot be read.
    told = ", ".join(names) or "no server"
    if not _is_named(bootstrap, names):
        raise CertificateProblem(f"the certificate does not name {bootstrap}, where clients begin; it names {told}")
    first = f"{before}{brokers.start}{behind}"
    if not _is_named(first, names) and not any(_id_in(name, before, behind) in brokers for name in names):
        raise CertificateProblem(f"the certificate names no broker, such as {first}; it names {told}")


def _is_named(name: str, names: Iterable[str]) -> bool:
    """A star stands for the whole first label and nothing else."""
    _, _, parent = name.partition(".")
    return any(one in (name, f"*.{parent}") for one in names)


def _id_in(name: str, before: str, behind: str) -> int:
    written = name.removeprefix(before).removesuffix(behind)
    return int(written) if name == f"{before}{written}{behind}" and written.isdecimal() else -1


def _check_time(begins: datetime, ends: datetime, now: float | None) -> None:
    if now is None:
        return
    if now >= _seconds(ends):
        raise CertificateProblem(f"the certificate ended on {ends:%Y-%m-%d %H:%M} UTC")
    if now < _seconds(begins):
        raise CertificateProblem(f"the certificate begins on {begins:%Y-%m-%d %H:%M} UTC")


def _seconds(time: datetime) -> float:
    return time.timestamp()
