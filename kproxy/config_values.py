"""The kinds of value that kproxy.yaml is written in: addresses, ranges, mechanisms, memberships."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Any, get_args, get_type_hints
from urllib.parse import urlsplit

from kproxy.model.settings import Algorithm, Issuer
from kproxy.yaml_nodes import Converter, Section, Value, Wrong, choice, integer, size, some_text, text, tuple_of

ALGORITHMS: tuple[str, ...] = get_args(Algorithm)
TOKEN_PROFILES: tuple[str, ...] = get_args(get_type_hints(Issuer)["token_profile"])
#: What kproxy can show a broker with a name and a password.
UPSTREAM_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
NODE_ROLES = ("viewer", "operator", "approver", "auditor")


def address(value: Value) -> tuple[str, int]:
    """``host:port``; an IPv6 host in brackets."""
    written = some_text(value)
    host, colon, port = written.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise Wrong(value, f"{written!r}: put an IPv6 host in brackets")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise Wrong(value, f"expected host:port, found {written!r}")
    return host, int(port)


def membership(value: Value) -> str:
    """Who holds a role of the node, as CEL over ``principal``: written so, or as ``{groups: [...]}``."""
    if value.kind() == "text":
        return some_text(value)
    section = Section(value)
    nobody: tuple[str, ...] = ()
    groups = section.need("groups", tuple_of(some_text), nobody)
    section.close()
    # ensure_ascii would write surrogate pairs, which CEL does not read.
    return " || ".join(f"{json.dumps(group, ensure_ascii=False)} in principal.groups" for group in groups)


def one_or_more(converter: Converter[str]) -> Converter[tuple[str, ...]]:
    """A list, or a single element written without brackets."""
    several = tuple_of(converter)

    def convert(value: Value) -> tuple[str, ...]:
        return several(value) if value.kind() == "a list" else (converter(value),)

    return convert


def workers(value: Value) -> Any:
    if value.kind() == "text":
        if text(value) != "auto":
            raise Wrong(value, f"expected auto or a whole number, found {value.node.value!r}")
        return "auto"
    return integer(1, 1024)(value)


def milliseconds(value: Value) -> float:
    return integer(1, 2**31 - 1)(value) / 1000


def size_up_to(most: int) -> Converter[int]:
    """Bytes, at least one."""

    def convert(value: Value) -> int:
        found = size(value)
        if not 1 <= found <= most:
            raise Wrong(value, f"{found} bytes are not between 1 and {most}")
        return found

    return convert


def upstream_mechanism(value: Value) -> Any:
    written = text(value)
    if written in ("OAUTHBEARER", "GSSAPI"):
        raise Wrong(value, f"{written} to the brokers is not supported yet")
    return choice("NONE", *UPSTREAM_MECHANISMS)(value)


def authentication(value: Value) -> str:
    written = text(value)
    if written in ("SCRAM-SHA-256", "SCRAM-SHA-512", "mtls"):
        raise Wrong(value, f"{written} is not supported yet")
    return str(choice("OAUTHBEARER", "PLAIN", "none")(value))


_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


def is_server_name(name: str) -> bool:
    """Whether TLS and DNS take it (RFC 1123 section 2.1, RFC 6066 section 3): no address, and in lower case."""
    labels = name.split(".")
    return (len(name) <= 253 and all(len(label) <= 63 and _LABEL.fullmatch(label) for label in labels)
            and not labels[-1].isdigit())


def server_name(value: Value) -> str:
    """In lower case, since DNS knows none."""
    name = some_text(value).lower()
    if not is_server_name(name):
        raise Wrong(value, f"expected the name of a server, found {value.node.value!r}")
    return name


def server_name_pattern(value: Value) -> str:
    pattern = some_text(value).lower()
    if pattern.count("{node}") != 1 or not is_server_name(pattern.replace("{node}", "0")):
        raise Wrong(value, f"expected a name with {{node}} once in it, such as b{{node}}.kafka.example.com, found"
                           f" {value.node.value!r}")
    return pattern


def network(value: Value) -> str:
    """An address or a network, as ``ipaddress`` writes it. Bits behind the prefix would be a typing error."""
    written = some_text(value)
    try:
        return str(ipaddress.ip_network(written))
    except ValueError as error:
        raise Wrong(value, f"expected a network such as 10.0.0.0/24: {error}") from None


def broker_range(value: Value) -> tuple[int, int]:
    first, dash, last = some_text(value).partition("-")
    are_numbers = first.isascii() and first.isdigit() and last.isascii() and last.isdigit()
    if not dash or not are_numbers or int(first) > int(last):
        raise Wrong(value, f"expected a range of broker ids such as 0-63, found {value.node.value!r}")
    if int(last) > 2**31 - 1:
        raise Wrong(value, "broker ids end at 2147483647")
    return int(first), int(last)


def service_url(value: Value) -> str:
    """Of a service that kproxy asks. What it answers decides what is hidden, and it is shown a secret: https, or
    loopback."""
    url = some_text(value)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise Wrong(value, f"{url!r} is no address") from None
    if parts.scheme not in ("https", "http") or not host or not url.isprintable() or " " in url or "\\" in url:
        raise Wrong(value, f"expected an https URL, found {url!r}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise Wrong(value, "the URL may hold neither a user nor a query nor a fragment")
    if parts.scheme == "http" and host not in LOOPBACK:
        raise Wrong(value, "must be https; plain http is for loopback only")
    return url
