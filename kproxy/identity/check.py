"""What can be said about the issuers of a configuration before any token comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from kproxy.identity.jwk import ALGORITHMS
from kproxy.identity.template import check_alias, check_template, parse_path
from kproxy.model.settings import Issuer

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
MAX_SKEW: Final = 300.0


class IssuerProblem(NamedTuple):
    """``path`` is below ``identity.issuers``, as ``corp.algorithms``."""

    path: str
    message: str


def check_issuers(issuers: Mapping[str, Issuer]) -> list[IssuerProblem]:
    """Every problem of the issuers (by alias), all in one run."""
    problems = []
    names: dict[str, str] = {}
    for alias, issuer in issuers.items():
        for field, message in _check_issuer(issuer, only=len(issuers) == 1):
            problems.append(IssuerProblem(f"{alias}.{field}" if field else alias, message))
        if issuer.issuer in names:
            problems.append(IssuerProblem(f"{alias}.issuer", f"is the issuer of {names[issuer.issuer]!r} too"))
        names.setdefault(issuer.issuer, alias)
    return problems


def _check_issuer(issuer: Issuer, only: bool) -> list[tuple[str, str]]:
    found = [("", check_alias(issuer.alias)), ("principal", check_template(issuer.principal, only))]
    if not issuer.audience or not all(issuer.audience):
        found.append(("audience", "name at least one audience, or tokens made for others would be taken"))
    if not issuer.algorithms:
        found.append(("algorithms", "name at least one algorithm"))
    found += [("algorithms", f"{name!r} is not one of {', '.join(ALGORITHMS)}") for name in issuer.algorithms
              if name not in ALGORITHMS]
    if not issuer.max_lifetime > 0:
        found.append(("max_lifetime", "must be longer than nothing"))
    if not 0 <= issuer.clock_skew <= MAX_SKEW:
        found.append(("clock_skew", "is between 0 and 5 minutes"))
    if not 0 < issuer.jwks_refresh <= issuer.jwks_max_stale:
        found.append(("jwks_max_stale", "is shorter than jwks_refresh: good keys would go stale between two fetches"))
    found += _check_paths(issuer) + _check_addresses(issuer)
    return [(field, message) for field, message in found if message]


def _check_paths(issuer: Issuer) -> list[tuple[str, str]]:
    named = {f"attributes.{key}": path for key, path in issuer.attributes.items()}
    named |= {f"attest.{key}": path for key, path in issuer.attest.items()}
    if issuer.groups:
        named["groups"] = issuer.groups
    found = []
    for field, path in named.items():
        try:
            names = parse_path(path)
        except ValueError as error:
            found.append((field, str(error)))
            continue
        if "://" in path and len(names) > 1:
            found.append((field, f"dots divide a claim path; write a dot inside a name as \\. in {path!r}"))
    return found


def _check_addresses(issuer: Issuer) -> list[tuple[str, str]]:
    if issuer.jwks_url and issuer.jwks_file:
        return [("jwks_file", "jwks_url and jwks_file exclude each other")]
    if issuer.jwks_url:
        return [("jwks_url", check_address(issuer.jwks_url))]
    # Where keys come from a file the issuer is a mere name, as Kubernetes' often is.
    return [] if issuer.jwks_file else [("issuer", check_address(issuer.issuer))]


def check_address(url: str) -> str:
    """What is wrong with an address that keys are to be fetched from, or an empty string. Plain http is for loopback
    only.
    """
    # A sign that two parsers of addresses may read differently has no business in one that decides who gets in.
    if not url.isprintable() or " " in url or "\\" in url:
        return "is no address"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no address"
    if not host or parts.scheme not in ("https", "http"):
        return "must be an https address"
    if parts.username or parts.password or parts.fragment:
        return "may hold neither a user nor a fragment"
    if parts.scheme == "http" and host not in _LOOPBACK:
        return "must be https; plain http is for loopback only"
    return ""
