"""An issuer that misbehaves on demand, each way under a name, and certificates for the ones that speak https."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import ipaddress
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kproxy.demo.issuer import IssuerServer, Receive, Send, SigningKey, send_json

DISCOVERY, JWKS = "/.well-known/openid-configuration", "/jwks.json"


class FaultIssuer(IssuerServer):
    """``mode`` is ``ok`` or a word of MODES and may change while it serves. ``asked`` lists the paths asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.mode = "ok"
        self.asked: list[str] = []
        self.elsewhere = "http://192.0.2.1/jwks.json"

    async def answer(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        self.asked.append(path)
        fault = MODES.get(self.mode)
        if fault is None or not await fault(self, path, send):
            await super().answer(scope, receive, send)


Fault = Callable[[FaultIssuer, str, Send], Any]


def _status(status: int) -> Fault:
    async def fault(server: FaultIssuer, path: str, send: Send) -> bool:
        await send_json(send, status, {"error": "down"})
        return True

    return fault


def _keys(change: Callable[[FaultIssuer], Any]) -> Fault:
    """The key set is what ``change`` makes of it: a value to be sent as JSON, or bytes."""

    async def fault(server: FaultIssuer, path: str, send: Send) -> bool:
        if path != JWKS:
            return False
        await send_json(send, 200, change(server))
        return True

    return fault


def _discovery(change: Callable[[FaultIssuer], dict[str, Any]]) -> Fault:
    async def fault(server: FaultIssuer, path: str, send: Send) -> bool:
        if path != DISCOVERY:
            return False
        await send_json(send, 200, {**server.issuer.discovery(), **change(server)})
        return True

    return fault


def _redirect(target: Callable[[FaultIssuer], str]) -> Fault:
    async def fault(server: FaultIssuer, path: str, send: Send) -> bool:
        if path != JWKS:
            return False
        await send_json(send, 302, {}, ((b"location", target(server).encode()),))
        return True

    return fault


async def _stall(server: FaultIssuer, path: str, send: Send) -> bool:
    if path != JWKS:
        return False
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b'{"keys":', "more_body": True})
    await asyncio.Event().wait()
    return True


async def _moved(server: FaultIssuer, path: str, send: Send) -> bool:
    """Three redirects, and the keys at the end of them."""
    if path == JWKS:
        await send_json(send, 302, {}, ((b"location", b"/1"),))
    elif path in ("/1", "/2"):
        await send_json(send, 307, {}, ((b"location", f"{server.url}/{int(path[1]) + 1}".encode()),))
    elif path == "/3":
        await send_json(send, 200, server.issuer.jwks())
    else:
        return False
    return True


async def _compressed(server: FaultIssuer, path: str, send: Send) -> bool:
    if path != JWKS:
        return False
    body = gzip.compress(json.dumps(server.issuer.jwks()).encode())
    await send_json(send, 200, body, ((b"content-encoding", b"gzip"),))
    return True


async def _endless(server: FaultIssuer, path: str, send: Send) -> bool:
    if path != JWKS:
        return False
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(64):
        await send({"type": "http.response.body", "body": b" " * 16384, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    return True


def _bare(server: FaultIssuer) -> Any:
    """Keys that do not say what they are for."""
    return {"keys": [{name: value for name, value in key.public_jwk().items() if name not in ("alg", "use")}
                     for key in server.issuer.keys]}


MODES: dict[str, Fault] = {
    "404": _status(404),
    "500": _status(500),
    "503": _status(503),
    "401": _status(401),
    "204": _status(204),
    "stall": _stall,
    "compressed": _compressed,
    "endless": _endless,
    "garbage": _keys(lambda server: b"<html>down for maintenance</html>"),
    "array": _keys(lambda server: []),
    "no_list": _keys(lambda server: {"keys": {"k1": {}}}),
    "too_many": _keys(lambda server: {"keys": [{"kty": "RSA"}] * 101}),
    "empty": _keys(lambda server: {"keys": []}),
    "twice": _keys(lambda server: b'{"keys":[],"keys":[]}'),
    "duplicate_kid": _keys(lambda server: {
        "keys": [key.public_jwk() for key in (*server.issuer.keys,
        SigningKey.create(kid=server.issuer.keys[-1].kid))]}),
    "bare_keys": _keys(_bare),
    "private_keys": _keys(lambda server: {"keys": [key.private_jwk() for key in server.issuer.keys]}),
    "odd_keys": _keys(lambda server: {"keys": [
        *server.issuer.jwks()["keys"], 5, {"kty": "oct", "k": "c2VjcmV0"}, {"kty": "oct"}, {"kty": "RSA", "kid": 5},
        {"kty": "RSA", "n": 5}, {"kty": "RSA", "key_ops": "verify"}, {"kty": "RSA", "kid": "a\nb"}]}),
    "wrong_issuer": _discovery(lambda server: {"issuer": "https://evil.example.com"}),
    "other_slash": _discovery(lambda server: {"issuer": server.issuer.url + "/"}),
    "no_jwks_uri": _discovery(lambda server: {"jwks_uri": None}),
    "plain_jwks_uri": _discovery(lambda server: {"jwks_uri": server.elsewhere}),
    "file_jwks_uri": _discovery(lambda server: {"jwks_uri": "file:///etc/passwd"}),
    "redirect_to_http": _redirect(lambda server: server.elsewhere),
    "moved": _moved,
    "redirect_loop": _redirect(lambda server: server.url + JWKS),
    "redirect_nowhere": _redirect(lambda server: "//"),
}


def write_certificate(path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key, in one PEM file. It is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
