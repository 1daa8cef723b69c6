"""The admin API, the same over TCP and over the operator socket:

    GET    /v1/status                 POST /v1/restart
    GET    /v1/requests[?state=]      POST /v1/requests                    GET /v1/requests/{id}
    POST   /v1/requests/{id}/approve | deny | cancel
    GET    /v1/grants                 POST /v1/grants/{id}/revoke
    GET    /v1/sessions               GET | DELETE /v1/sessions/{id}
    POST   /v1/audit/query            GET /v1/audit/tail[?count=&after=]

Who it is comes first: without a caller not even an unknown path is told from a known one. What is refused is one JSON
object with ``status`` and one clear line in ``detail``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Protocol

import msgspec
import structlog
from litestar import Litestar, Request, Response, delete, get, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from kproxy.control.approval_desk import ApprovalDesk, Wish
from kproxy.control.audit.query import Question
from kproxy.control.callers import Caller
from kproxy.control.http_server import App, Receive, Scope, Send, peer_of, problem_of, send_bytes
from kproxy.control.listening import Peer
from kproxy.control.refusals import Refused
from kproxy.errors import KproxyError
from kproxy.model.approval import ApprovalRequest, Grant
from kproxy.model.messages import SessionView

log = structlog.get_logger("kproxy.admin")

BODY_BYTES = 64 * 1024
Asked = Request[Any, Any, Any]
#: ``state`` itself is a word of Litestar's own.
StatesParameter = Annotated[str, QueryParameter(name="state")]
Greet = Callable[[str | None, str, Peer | None], Awaitable[Caller]]


class ReviewBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``for`` are the seconds the reviewer would grant; left out or 0: as long as the rule allows."""

    reason: str = ""
    duration: float = msgspec.field(name="for", default=0.0)


class ReasonBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: str = ""


class Office(Protocol):
    """What the API is a face of."""

    desk: ApprovalDesk

    async def status(self) -> dict[str, Any]: ...

    async def restart(self, caller: Caller) -> None: ...

    async def sessions(self) -> list[SessionView]: ...

    async def kill(self, caller: Caller, session: str, reason: str) -> int: ...

    async def ask_audit(self, question: Question) -> list[dict[str, Any]]: ...

    async def tail_audit(self, count: int, after: int) -> dict[str, Any]: ...


def build_admin_app(office: Office, greet: Greet) -> App:
    """``greet`` finds out who calls."""
    inner = Litestar(
        route_handlers=[*_status_routes(office), *_request_routes(office.desk), *_grant_routes(office.desk),
                        *_session_routes(office), *_audit_routes(office)],
        openapi_config=None, request_max_body_size=BODY_BYTES, logging_config=None, debug=False,
        exception_handlers={KproxyError: _tell_refusal, HTTPException: _tell_http, Exception: _tell_failure})

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        address, peer = peer_of(scope)
        headers = [value for name, value in scope["headers"] if name == b"authorization"]
        try:
            # Two of them would let a proxy in between and us believe different things.
            scope["kproxy.caller"] = await greet(
                b" ".join(headers).decode("latin-1") if headers else None, address, peer)
        except Refused as refused:
            await send_bytes(send, refused.status, problem_of(refused))
            return
        await inner(scope, receive, send)  # type: ignore[arg-type]

    return serve


def _caller(request: Asked) -> Caller:
    found = request.scope["kproxy.caller"]  # type: ignore[typeddict-item]
    assert isinstance(found, Caller)
    return found


def _status_routes(office: Office) -> list[HTTPRouteHandler]:
    @get("/v1/status")
    async def status(request: Asked) -> dict[str, Any]:
        _caller(request).need("see status")
        return await office.status()

    @post("/v1/restart", status_code=202)
    async def restart(request: Asked) -> dict[str, bool]:
        caller = _caller(request)
        caller.need("restart")
        await office.restart(caller)
        return {"asked": True}

    return [status, restart]


def _request_routes(desk: ApprovalDesk) -> list[HTTPRouteHandler]:
    @get("/v1/requests")
    async def list_requests(request: Asked, states: StatesParameter = "") -> list[dict[str, Any]]:
        return [desk.view(one) for one in desk.requests(_caller(request), tuple(states.split(",")) if states else ())]

    @post("/v1/requests")
    async def create(request: Asked, data: JSONBody[Wish]) -> ApprovalRequest:
        return desk.ask(_caller(request), data)

    @get("/v1/requests/{request_id:str}")
    async def show(request: Asked, request_id: FromPath[str]) -> dict[str, Any]:
        return desk.view(desk.request(_caller(request), request_id))

    @post("/v1/requests/{request_id:str}/approve", status_code=200)
    async def approve(request: Asked, request_id: FromPath[str], data: JSONBody[ReviewBody]) -> dict[str, Any]:
        return await desk.review(_caller(request), request_id, "approve", data.reason, data.duration)

    @post("/v1/requests/{request_id:str}/deny", status_code=200)
    async def deny(request: Asked, request_id: FromPath[str], data: JSONBody[ReasonBody]) -> dict[str, Any]:
        return await desk.review(_caller(request), request_id, "deny", data.reason, 0.0)

    @post("/v1/requests/{request_id:str}/cancel", status_code=200)
    async def cancel(request: Asked, request_id: FromPath[str], data: JSONBody[ReasonBody]) -> ApprovalRequest:
        return desk.cancel(_caller(request), request_id, data.reason)

    return [list_requests, create, show, approve, deny, cancel]


def _grant_routes(desk: ApprovalDesk) -> list[HTTPRouteHandler]:
    @get("/v1/grants")
    async def list_grants(request: Asked) -> list[Grant]:
        return desk.grants(_caller(request))

    @post("/v1/grants/{grant_id:str}/revoke", status_code=200)
    async def revoke(request: Asked, grant_id: FromPath[str], data: JSONBody[ReasonBody]) -> dict[str, Any]:
        return await desk.revoke(_caller(request), grant_id, data.reason)

    return [list_grants, revoke]


def _session_routes(office: Office) -> list[HTTPRouteHandler]:
    @get("/v1/sessions")
    async def list_sessions(request: Asked, principal: FromQuery[str] = "") -> list[SessionView]:
        _caller(request).need("see sessions")
        return [one for one in await office.sessions() if principal in ("", one.principal)]

    @get("/v1/sessions/{session:str}")
    async def show(request: Asked, session: FromPath[str]) -> SessionView:
        _caller(request).need("see sessions")
        for one in await office.sessions():
            if one.id == session:
                return one
        raise Refused(404, f"there is no session {session}")

    @delete("/v1/sessions/{session:str}", status_code=200)
    async def kill(request: Asked, session: FromPath[str], reason: FromQuery[str] = "") -> dict[str, int]:
        caller = _caller(request)
        caller.need("kill sessions")
        return {"closed": await office.kill(caller, session, reason)}

    return [list_sessions, show, kill]


def _audit_routes(office: Office) -> list[HTTPRouteHandler]:
    @post("/v1/audit/query", status_code=200)
    async def query(request: Asked, data: JSONBody[Question]) -> list[dict[str, Any]]:
        _caller(request).need("see the audit")
        return await office.ask_audit(data)

    @get("/v1/audit/tail")
    async def tail(request: Asked, count: FromQuery[int] = 20, after: FromQuery[int] = -1) -> dict[str, Any]:
        _caller(request).need("see the audit")
        return await office.tail_audit(count, after)

    return [query, tail]


def _answer(refused: Refused) -> Response[bytes]:
    return Response(problem_of(refused), status_code=refused.status, media_type="application/problem+json")


def _tell_refusal(_request: Asked, error: KproxyError) -> Response[bytes]:
    return _answer(error if isinstance(error, Refused) else Refused(503, str(error)))


def _tell_http(_request: Asked, error: HTTPException) -> Response[bytes]:
    """Litestar's own: an unknown path, a body of another shape. Its detail may quote the request's URL, so it goes."""
    extra = error.extra if isinstance(error.extra, list) else []
    what = "; ".join(str(one.get("message", "")) for one in extra if isinstance(one, dict))
    line = what or {404: "there is nothing at this path", 405: "this path does not take this method",
                    400: "the request's body or query is not what this path takes"}.get(error.status_code, "refused")
    return _answer(Refused(error.status_code, line))


def _tell_failure(_request: Asked, error: Exception) -> Response[bytes]:
    log.error("admin_request_failed", exc_info=error)
    return _answer(Refused(500, "something went wrong here; the log says what"))
