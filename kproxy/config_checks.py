"""What must hold between the parts of a configuration: no token in the clear, no shared names, no port twice."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from kproxy._ext.yaml_tree import MAPPING
from kproxy.model.settings import Advertise, AdvertiseNames, Config, Issuer, Listener
from kproxy.yaml_nodes import Report, Value

ANONYMOUS = "anonymous"
_ALIAS = re.compile(r"[A-Za-z0-9_-]+")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_issuer(issuer: Issuer, value: Value) -> None:
    """Reports what is wrong with one issuer by itself."""
    if _ALIAS.fullmatch(issuer.alias) is None:
        value.complain("an issuer's alias is made of letters, digits, '-' and '_'")
    claims = [name for name in _PLACEHOLDER.findall(issuer.principal) if name != "issuer"]
    if len(claims) != 1 or re.search(r"[{}]", _PLACEHOLDER.sub("", issuer.principal)):
        # Two claims in one name could be cut in two ways, so two people could share it.
        _place(value, "principal").complain(f"principal {issuer.principal!r} must hold one claim, such as {{sub}},"
                                            " besides {issuer}")
    for what, url in (("issuer", issuer.issuer), ("jwks_url", issuer.jwks_url)):
        is_fetched = what == "jwks_url" or not (issuer.jwks_url or issuer.jwks_file)
        if url and is_fetched and not _is_safe_url(url):
            _place(value, what).complain(f"{what} must be an https URL (http on loopback only), or name a jwks_file")
    if issuer.jwks_url and issuer.jwks_file:
        _place(value, "jwks_file").complain("jwks_url and jwks_file exclude each other")
    if not issuer.max_lifetime > 0:
        _place(value, "max_lifetime").complain("max_lifetime must be longer than nothing")
    if issuer.jwks_max_stale < issuer.jwks_refresh:
        _place(value, "jwks_max_stale").complain("jwks_max_stale is shorter than jwks_refresh: keys would lapse"
                                                 " between two fetches")


def check_together(config: Config, report: Report, root: Value) -> None:
    """Reports what is wrong between the parts."""
    for what, found in (("clusters", config.clusters), ("listeners", config.listeners)):
        if not found:
            report.add(f"no {what} are configured", root.line, what)
    for listener in config.listeners.values():
        _check_listener(config, listener, _place(root, "listeners", listener.name))
    for cluster in config.clusters.values():
        everybody = [index for index, credential in enumerate(cluster.credentials) if not credential.role]
        if everybody and everybody[0] < len(cluster.credentials) - 1:
            _place(root, "clusters", cluster.name, "credentials").complain(
                f"entry {everybody[0]} is for everybody, so those after it are never used")
    _check_names(config, root)
    _check_ports(config, root)


def _check_listener(config: Config, listener: Listener, value: Value) -> None:
    if listener.cluster and listener.cluster not in config.clusters:
        known = f"; known here: {', '.join(config.clusters)}" if config.clusters else ""
        _place(value, "cluster").complain(f"cluster {listener.cluster!r} is not configured{known}")
    if isinstance(listener.advertise, AdvertiseNames) and listener.tls is None:
        value.complain("advertise.sni needs tls: a client names the broker it wants in the handshake")
    loopback = is_loopback(listener.host)
    if "none" in listener.authenticate:
        if len(listener.authenticate) > 1:
            value.complain("authenticate: none cannot be combined with anything")
        if not loopback and not listener.allow_anonymous:
            value.complain("authenticate: [none] off loopback lets everybody in: bind to loopback or set"
                           " allow_anonymous: true")
    elif listener.authenticate:
        if not loopback and listener.tls is None and not listener.allow_plaintext:
            value.complain("tokens would travel in the clear: set tls, bind to loopback or set allow_plaintext: true")
        if not config.issuers:
            value.complain("tokens are asked for, but identity.issuers is empty: nobody could log in")


def _check_names(config: Config, root: Value) -> None:
    """Two issuers whose principals could bear one name would let the one speak for the people of the other."""
    issuers = list(config.issuers.values())
    fixed = {issuer.alias: issuer.principal.replace("{issuer}", issuer.alias).partition("{")[0] for issuer in issuers}
    for index, issuer in enumerate(issuers):
        place = _place(root, "identity", "issuers", issuer.alias)
        for other in issuers[:index]:
            if issuer.issuer == other.issuer:
                place.complain(f"{issuer.issuer!r} is also the issuer {other.alias!r}")
            mine, theirs = fixed[issuer.alias], fixed[other.alias]
            if mine.startswith(theirs) or theirs.startswith(mine):
                place.complain(f"principal {issuer.principal!r} can collide with {other.principal!r} of"
                               f" {other.alias!r}; begin both with '{{issuer}}:'")
        has_anonymous = any("none" in listener.authenticate for listener in config.listeners.values())
        if has_anonymous and ANONYMOUS.startswith(fixed[issuer.alias]):
            place.complain(f"principal {issuer.principal!r} can collide with the fixed principal {ANONYMOUS!r}")


def _check_ports(config: Config, root: Value) -> None:
    taken: list[tuple[str, int, int, str]] = []
    for host, first, last, what, place in _ports(config, root):
        for other_host, other_first, other_last, other in taken:
            if first <= other_last and other_first <= last and _may_share(host, other_host):
                place.complain(f"{what} (port {first if first == last else f'{first}-{last}'}) overlaps {other}")
        taken.append((host, first, last, what))


def _ports(config: Config, root: Value) -> Iterator[tuple[str, int, int, str, Value]]:
    for listener in config.listeners.values():
        place = _place(root, "listeners", listener.name)
        advertise = listener.advertise
        if listener.port > 1:
            yield listener.host, listener.port, listener.port, f"bind of listener {listener.name}", place
        if isinstance(advertise, Advertise) and advertise.first_port > 1:
            last = advertise.first_port + advertise.last_broker - advertise.first_broker
            yield listener.host, advertise.first_port, last, f"the brokers of listener {listener.name}", place
    for what, bound in (("admin", config.admin), ("metrics", config.metrics)):
        if bound is not None:
            yield bound[0], bound[1], bound[1], what, _place(root, what)


def _may_share(host: str, other: str) -> bool:
    anywhere = ("0.0.0.0", "::")
    return host == other or host in anywhere or other in anywhere


def _is_safe_url(url: str) -> bool:
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0].rpartition("@")[2]
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return bool(host) and (scheme == "https" or (scheme == "http" and is_loopback(host)))


def _place(root: Value, *path: str) -> Value:
    """The node at ``path``, or the deepest one there is. Says nothing of what is wrong on the way; the reader has."""
    here = root
    for name in path:
        if here.node.kind != MAPPING:
            break
        found = next((value for key, value in here.node.value if key.value == name), None)
        if found is None:
            break
        here = Value(found, here.report, here, name)
    return here
