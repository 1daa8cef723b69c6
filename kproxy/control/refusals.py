"""What the control process refuses to do for a caller, with the HTTP status that says so."""

from __future__ import annotations

from kproxy.errors import KproxyError

BAD_REQUEST, UNAUTHENTICATED, FORBIDDEN, UNKNOWN, CONFLICT, UNAVAILABLE = 400, 401, 403, 404, 409, 503


class Refused(KproxyError):
    """``str(error)`` is one clear line for the caller: no token, no other caller's data."""

    def __init__(self, status: int, line: str) -> None:
        self.status = status
        super().__init__(line)
