"""Every error kproxy raises on purpose, and the closed table of causes for which it closes a connection."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class KproxyError(Exception):
    """The root of every error raised on purpose. ``str(error)`` is one clear line that is safe to show a user."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file, worded so that its owner can mend it."""

    message: str
    file: str = ""
    line: int = 0
    path: str = ""

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        place = f"{self.file}{line}: " if self.file else ""
        return f"{place}{self.path + ': ' if self.path else ''}{self.message}"


#: sysexits.h EX_CONFIG: the files cannot be used, so starting again changes nothing. A node ends with it, and so do the
#: children that its supervisor starts; deploy/systemd names it.
EXIT_CONFIG = 78


class ProblemsFound(KproxyError):
    """A configuration or policy that is refused, with every problem found in one run."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class ConfigError(ProblemsFound):
    """The configuration file cannot be used."""


class PolicyError(ProblemsFound):
    """The policy cannot be used; the one in force stays in force. ``readable`` is what could be read of it: fit to be
    looked at for further mistakes, and for nothing else. ``declared_lost`` is whether a file or a list that may declare
    facts is not in it, so that nothing can be said of a fact that seems not to be declared."""

    def __init__(self, problems: list[Problem], readable: object = None, declared_lost: bool = False) -> None:
        super().__init__(problems)
        self.readable = readable
        self.declared_lost = declared_lost


class TokenRefused(KproxyError):
    """A token that proves nothing. ``reason`` is a fixed word for logs and metrics and holds no token material;
    ``issuer`` is the alias of the configured issuer, empty where the token named none of them. ``error_id`` is what the
    client may be told: it leads an operator to the reason in the log and the audit."""

    error_id: str = ""

    def __init__(self, reason: str, detail: str = "", issuer: str = "") -> None:
        self.reason = reason
        self.detail = detail
        self.issuer = issuer
        super().__init__(f"{reason}: {detail}" if detail else reason)


class WireError(KproxyError):
    """Bytes that are not what the Kafka protocol says they must be."""


class RefusalTooLongError(WireError):
    """A request names more of what is refused than one answer will say."""


class ControlUnavailable(KproxyError):
    """The control process did not answer in time; whatever rests on its answer is refused."""


class BrokerUnreachable(KproxyError):
    """No connection to a broker could be opened, or it could not be learned where the broker is. ``cause`` is the label
    of ``kproxy_broker_errors_total``."""

    def __init__(self, text: str, cause: str = "broker_unreachable") -> None:
        self.cause = cause
        super().__init__(text)


class BrokerRefusedLogin(KproxyError):
    """The broker did not take the credentials kproxy showed it. The text is the broker's own. ``cause`` is the label of
    ``kproxy_broker_errors_total``."""

    def __init__(self, text: str, cause: str = "broker_refused_login") -> None:
        self.cause = cause
        super().__init__(text)


class SpoolFull(KproxyError):
    """The audit spool takes no more; what cannot be audited is refused."""


class CloseCause(StrEnum):
    """Why a client connection was closed: a log key and the label of ``kproxy_close_total``."""

    CLIENT_CLOSED = "client_closed"
    BROKER_CLOSED = "broker_closed"
    BROKER_UNREACHABLE = "broker_unreachable"
    BROKER_REFUSED_LOGIN = "broker_refused_login"
    BAD_LENGTH = "bad_length"
    TOO_BIG = "too_big"
    NOT_KAFKA = "not_kafka"
    SERVER_NAME_MISSING = "server_name_missing"
    SERVER_NAME_UNKNOWN = "server_name_unknown"
    PROXY_UNTRUSTED = "proxy_untrusted"
    PROXY_HEADER_MISSING = "proxy_header_missing"
    PROXY_HEADER_MALFORMED = "proxy_header_malformed"
    PROXY_HEADER_TIMEOUT = "proxy_header_timeout"
    TLS_ON_PLAINTEXT = "tls_on_plaintext"
    PLAINTEXT_ON_TLS = "plaintext_on_tls"
    TLS_HANDSHAKE_FAILED = "tls_handshake_failed"
    TLS_HANDSHAKE_TIMEOUT = "tls_handshake_timeout"
    TLS_CLIENT_CERTIFICATE = "tls_client_certificate"
    TLS_REFUSED_BY_PEER = "tls_refused_by_peer"
    TLS_BROKEN = "tls_broken"
    MALFORMED_REQUEST = "malformed_request"
    MALFORMED_RESPONSE = "malformed_response"
    UNKNOWN_API = "unknown_api"
    UNEXPECTED_RESPONSE = "unexpected_response"
    NOT_AUTHENTICATED = "not_authenticated"
    ILLEGAL_SASL_STATE = "illegal_sasl_state"
    UNSUPPORTED_MECHANISM = "unsupported_mechanism"
    LOGIN_FAILED = "login_failed"
    LOGIN_TIMEOUT = "login_timeout"
    REAUTHENTICATION_FAILED = "reauthentication_failed"
    PRINCIPAL_CHANGED = "principal_changed"
    MECHANISM_CHANGED = "mechanism_changed"
    SESSION_EXPIRED = "session_expired"
    SESSION_KILLED = "session_killed"
    ACCESS_ENDED = "access_ended"
    DENIED_WITHOUT_ANSWER = "denied_without_answer"
    IDLE = "idle"
    DRAINED = "drained"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    CONNECTION_QUOTA = "connection_quota"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    INTERNAL = "internal"
