"""The metrics port: /metrics for Prometheus, /healthz and /readyz for whoever sends traffic here. It tells no names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from kproxy.control.http_server import App, Receive, Scope, Send, send_bytes

PLAIN = "text/plain; charset=utf-8"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def build_metrics_app(page: Callable[[], Awaitable[bytes]], ready: Callable[[], str]) -> App:
    """``page`` gives the metrics; ``ready`` why the node is not ready, empty if it is."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] not in ("GET", "HEAD"):
            await send_bytes(send, 405, b"only GET here\n", PLAIN)
            return
        match scope["path"]:
            case "/metrics":
                await send_bytes(send, 200, await page(), CONTENT_TYPE)
            case "/healthz":
                await send_bytes(send, 200, b"ok\n", PLAIN)
            case "/readyz":
                why = ready()
                await send_bytes(send, 503 if why else 200, f"{why or 'ready'}\n".encode(), PLAIN)
            case _:
                await send_bytes(send, 404, b"/metrics, /healthz or /readyz\n", PLAIN)

    return serve
