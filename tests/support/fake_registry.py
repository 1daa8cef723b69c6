"""A schema registry for its faults: what a real one does, the integration tests see of Apicurio."""

from __future__ import annotations

import asyncio
from typing import Any

from kproxy.demo.issuer import IssuerServer, Receive, Send, send_json

USER = ('{"type":"record","name":"User","fields":[{"name":"name","type":"string"},'
        '{"name":"email","type":"string","confluent:tags":["PII"]}]}')


class FakeRegistry(IssuerServer):
    """``answers`` are (status, body) by path, a body of bytes going out as it is; ``mode`` is ``ok``, ``stall``,
    ``redirect`` or a status for all. ``asked`` lists the paths asked for, ``shown`` the authorisation that came."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.answers: dict[str, tuple[int, Any]] = {"/schemas/ids/7": (200, {"schema": USER})}
        self.mode: str | int = "ok"
        self.asked: list[str] = []
        self.shown: list[str] = []

    async def answer(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        self.asked.append(path)
        self.shown.append(dict(scope["headers"]).get(b"authorization", b"").decode())
        if self.mode == "stall":
            await asyncio.Event().wait()
        elif self.mode == "redirect":
            await send_json(send, 302, {}, ((b"location", b"/elsewhere"),))
        elif self.mode != "ok":
            await send_json(send, int(self.mode), {"error_code": self.mode})
        else:
            status, body = self.answers.get(path, (404, {"error_code": 40403}))
            await send_json(send, status, body)
