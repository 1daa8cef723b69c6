"""Authorities and certificates made for one test, with names, times and kinds of key as it wants them."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Authority:
    """``issue`` makes certificates; ``pem`` is what those who trust it are given."""

    def __init__(self, name: str = "kproxy test authority", *, days: float = 30) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(self.name, self.name, self.key.public_key(), days)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = builder.sign(self.key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(self, name: str = "kproxy", hosts: Sequence[str] = ("localhost", "127.0.0.1"), *, days: float = 10,
              kind: str = "ec", password: bytes | None = None) -> tuple[bytes, bytes]:
        """(certificate, key) in PEM. ``days`` may be negative: a certificate that has ended."""
        key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, self.name, key.public_key(), days)
        builder = builder.add_extension(x509.ExtendedKeyUsage(
            [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), False)
        certificate = builder.sign(self.key, hashes.SHA256())
        locked = BestAvailableEncryption(password) if password else NoEncryption()
        return certificate.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)

    def write(self, folder: Path, name: str, *hosts: str, **more: object) -> tuple[Path, Path]:
        """Issues and writes ``NAME.crt`` and ``NAME.key``; their paths."""
        return write_pair(folder, name, *self.issue(name, hosts or ("localhost", "127.0.0.1"), **more))

    def write_own(self, folder: Path, name: str = "ca") -> Path:
        path = folder / f"{name}.pem"
        path.write_bytes(self.pem)
        return path


def write_pair(folder: Path, name: str, certificate: bytes, key: bytes) -> tuple[Path, Path]:
    """As a careful operator does: each file whole, the key for its owner only."""
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    for path, content in zip(paths, (certificate, key), strict=True):
        fresh = path.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.chmod(0o600)
        fresh.rename(path)
    return paths


def _builder(subject: x509.Name, issuer: x509.Name, key: object, days: float) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    ends = now + datetime.timedelta(days=days)
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
            .serial_number(x509.random_serial_number()).not_valid_before(min(now, ends) - datetime.timedelta(hours=1))
            .not_valid_after(ends))


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
