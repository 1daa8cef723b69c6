"""Names by which clients tell brokers apart at one port: what a ClientHello asks for (RFC 6066 section 3), and whom it
means by that."""

from __future__ import annotations

import re
from typing import Final

from kproxy.errors import CloseCause, KproxyError
from kproxy.model.settings import AdvertiseNames, Listener

#: One way to write an id: neither signs nor leading zeros, nor the digits of other scripts.
_ID = re.compile(rb"0|[1-9][0-9]{0,9}")
#: How much of a name that is not ours a log line repeats.
MOST_TOLD: Final = 80


class NameRefused(KproxyError):
    """A name that leads nowhere. ``cause`` is a CloseCause."""

    def __init__(self, cause: CloseCause, detail: str) -> None:
        self.cause = cause
        super().__init__(detail)


class ServerNames:
    """Those of one listener."""

    def __init__(self, advertise: AdvertiseNames) -> None:
        before, behind = advertise.parts()
        self._before, self._behind = before.encode("ascii"), behind.encode("ascii")
        self._bootstrap = advertise.bootstrap.encode("ascii")
        self._brokers = range(advertise.first_broker, advertise.last_broker + 1)

    def find(self, name: bytes) -> int | None:
        """The broker, None for bootstrap. DNS knows no case (RFC 4343). Raises NameRefused."""
        if not name:
            raise NameRefused(CloseCause.SERVER_NAME_MISSING, "the client named no server")
        asked = name.lower()
        if asked == self._bootstrap:
            return None
        end = len(asked) - len(self._behind)
        if asked.startswith(self._before) and asked.endswith(self._behind):
            written = asked[len(self._before):max(end, 0)]
            if _ID.fullmatch(written) is not None and int(written) in self._brokers:
                return int(written)
        told = name[:MOST_TOLD].decode("ascii", "backslashreplace")
        raise NameRefused(CloseCause.SERVER_NAME_UNKNOWN, f"no broker here is called {told!r}")


def names_of(listener: Listener) -> ServerNames | None:
    """None where each broker has a port of its own."""
    return ServerNames(listener.advertise) if isinstance(listener.advertise, AdvertiseNames) else None
