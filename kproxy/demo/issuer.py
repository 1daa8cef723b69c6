"""A development issuer: keys in memory or in one file, tokens to order, and the addresses clients of an issuer ask.

It is meant for a laptop, a test and ``make demo``: it listens on loopback only and gives a token to whoever knows a
registered client's secret. Never put it before anything of value.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

import jwt
import jwt.algorithms
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ALGORITHMS: Final = ("RS256", "ES256")
MAX_REQUEST: Final = 64 * 1024

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class SigningKey(NamedTuple):
    kid: str
    algorithm: str
    private: Any

    @classmethod
    def create(cls, algorithm: str = "RS256", kid: str = "") -> SigningKey:
        if algorithm not in ALGORITHMS:
            raise ValueError(f"a development issuer signs with one of {', '.join(ALGORITHMS)}")
        private: Any = (
            ec.generate_private_key(ec.SECP256R1())
            if algorithm == "ES256"
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )
        return cls(kid or f"dev-{secrets.token_hex(4)}", algorithm, private)

    def public_jwk(self) -> dict[str, Any]:
        jwk = _family(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        jwk.pop("key_ops", None)
        return {**jwk, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def private_jwk(self) -> dict[str, Any]:
        jwk = _family(self.algorithm).to_jwk(self.private, as_dict=True)
        jwk.pop("key_ops", None)
        return {**jwk, "kid": self.kid, "alg": self.algorithm}


def _family(algorithm: str) -> Any:
    return jwt.algorithms.ECAlgorithm if algorithm == "ES256" else jwt.algorithms.RSAAlgorithm


class DevelopmentIssuer:
    """Signs with the last of its keys and publishes all of them. ``url`` is its name (``iss``). ``now`` gives Unix
    seconds.
    """

    def __init__(self, url: str, keys: list[SigningKey] | None = None, *, now: Callable[[], float] = time.time) -> None:
        self.url = url
        self.keys = keys or [SigningKey.create()]
        self._now = now

    def issue(
        self,
        subject: str,
        audience: str | list[str],
        claims: Mapping[str, Any] | None = None,
        *,
        lifetime: float = 600.0,
        header: Mapping[str, Any] | None = None,
    ) -> str:
        """A signed access token (RFC 9068). ``claims`` are added last, so a test may spoil any of them."""
        now = int(self._now())
        payload = {
            "iss": self.url, "sub": subject, "aud": audience, "client_id": subject, "iat": now, "nbf": now,
            "exp": now + int(lifetime), "jti": secrets.token_hex(16), **(claims or {}),
        }
        key = self.keys[-1]
        headers = {"typ": "at+jwt", "kid": key.kid, **(header or {})}
        return jwt.encode(payload, key.private, algorithm=key.algorithm, headers=headers)

    def rotate(self, *, keep_old: bool = True, kid: str = "") -> str:
        """A new key signs from now on; returns its id. Without ``keep_old`` tokens of the old keys die with the next
        fetch.
        """
        fresh = SigningKey.create(self.keys[-1].algorithm, kid)
        self.keys = [*self.keys, fresh] if keep_old else [fresh]
        return fresh.kid

    def jwks(self) -> dict[str, Any]:
        return {"keys": [key.public_jwk() for key in self.keys]}

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "jwks_uri": self.url.rstrip("/") + "/jwks.json",
            "token_endpoint": self.url.rstrip("/") + "/token",
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "id_token_signing_alg_values_supported": sorted({key.algorithm for key in self.keys}),
        }

    def save(self, path: Path) -> None:
        """Writes name and private keys, readable by their owner only. Replaces a file that is there."""
        document = {"issuer": self.url, "keys": [key.private_jwk() for key in self.keys]}
        write_secret(path, json.dumps(document, indent=2).encode() + b"\n")

    @classmethod
    def load(cls, path: Path, *, now: Callable[[], float] = time.time) -> DevelopmentIssuer:
        """Raises OSError, or ValueError for a file that is no issuer's."""
        try:
            document = json.loads(path.read_bytes())
            keys = [SigningKey(jwk["kid"], jwk["alg"], _family(jwk["alg"]).from_jwk(jwk)) for jwk in document["keys"]]
            return cls(str(document["issuer"]), keys, now=now)
        except (ValueError, KeyError, TypeError, jwt.InvalidKeyError) as error:
            raise ValueError(f"{path} is no development issuer's file ({type(error).__name__})") from None


def write_secret(path: Path, data: bytes) -> None:
    """A file that is 0600 from its first moment, whole or not there."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
    os.replace(fresh, path)


class Registered(NamedTuple):
    """A client of the token endpoint: its secret and what its tokens say beside the usual."""

    secret: str
    audience: str
    claims: dict[str, Any]
    lifetime: float = 600.0


class IssuerServer:
    """Serves an issuer on loopback from its own thread: a context manager for tests, the demo and ``kproxy token
    serve``.

    The port is bound at once, so ``url`` is known before serving; without an issuer one of that name is made.
    ``certificate`` is a PEM file with a private key and its certificate, for https.
    """

    def __init__(
        self,
        issuer: DevelopmentIssuer | None = None,
        *,
        port: int = 0,
        clients: Mapping[str, Registered] | None = None,
        certificate: Path | None = None,
    ) -> None:
        self._socket = socket.create_server(("127.0.0.1", port))
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self._socket.getsockname()[1]}"
        self.issuer = issuer or DevelopmentIssuer(self.url)
        self.clients = dict(clients or {})
        self._server = uvicorn.Server(
            uvicorn.Config(self.answer, interface="asgi3", log_config=None, access_log=False, lifespan="off",
                           timeout_graceful_shutdown=1, ssl_certfile=certificate)
        )
        self._thread = threading.Thread(target=self._run, name="issuer", daemon=True)

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> IssuerServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()

    def wait(self) -> None:
        """Until the server ends."""
        while self._thread.is_alive():
            self._thread.join(timeout=1)

    async def answer(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One HTTP request (ASGI)."""
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        if method == "GET" and path == "/.well-known/openid-configuration":
            await send_json(send, 200, self.issuer.discovery())
        elif method == "GET" and path == "/jwks.json":
            await send_json(send, 200, self.issuer.jwks())
        elif method == "POST" and path == "/token":
            status, said = self._grant(await _read_form(receive), dict(scope["headers"]).get(b"authorization", b""))
            await send_json(send, status, said)
        else:
            await send_json(send, 404, {"error": "not_found"})

    def _grant(self, form: dict[str, str], authorization: bytes) -> tuple[int, dict[str, Any]]:
        """RFC 6749 §4.4, the client's credentials in the form or in the Authorization header."""
        if form.get("grant_type") != "client_credentials":
            return 400, {"error": "unsupported_grant_type"}
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
        if authorization[:6].lower() == b"basic ":
            try:
                name, _, secret = base64.b64decode(authorization[6:], validate=True).decode().partition(":")
            except ValueError:
                return 401, {"error": "invalid_client"}
        client = self.clients.get(name)
        if client is None or not hmac.compare_digest(client.secret.encode(), secret.encode()):
            return 401, {"error": "invalid_client"}
        token = self.issuer.issue(name, client.audience, client.claims, lifetime=client.lifetime)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": int(client.lifetime)}


async def _read_form(receive: Receive) -> dict[str, str]:
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if len(body) > MAX_REQUEST or not event.get("more_body"):
            break
    form = parse_qs(body[:MAX_REQUEST].decode("utf-8", "replace"))
    return {name: values[0] for name, values in form.items()}


async def send_json(send: Send, status: int, value: Any, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    common = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*common, *headers]})
    await send({"type": "http.response.body", "body": body})
