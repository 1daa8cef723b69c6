"""Which kind of token an issuer hands out, and how an ID token is told from an access token.

* ``rfc9068``: the header says ``typ: at+jwt`` (RFC 9068 §4, the resource server's checks). The default.
* ``generic``: any other access token. Unless it says ``at+jwt`` it names the client it was issued to (client_id or
  azp).
* ``github``: GitHub Actions' workload tokens; they name repository and workflow.
* ``k8s``: Kubernetes service account tokens bound to a pod or a node; the subject must agree with the namespace and
  account.
* ``spiffe``: JWT-SVID: no headers but alg, kid and typ, and a SPIFFE ID as subject.

Whatever the profile, a token with nonce, at_hash, c_hash or s_hash, or whose payload calls itself an ID or refresh
token, was made for a login page, not for this door.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kproxy.identity.refusals import build_refusal
from kproxy.model.settings import Issuer

_LOGIN_CLAIMS: Final = ("nonce", "at_hash", "c_hash", "s_hash")
_LOGIN_TYPES: Final = frozenset({"id", "id_token", "refresh", "offline", "logout"})

Members = dict[str, Any]


def check_profile(header: Members, claims: Members, issuer: Issuer) -> None:
    """Raises TokenRefused: id_token, wrong_type, missing_claim, bad_claim or header_refused."""
    if any(name in claims for name in _LOGIN_CLAIMS):
        raise build_refusal("id_token", issuer=issuer.alias)
    kind = claims.get("typ")
    if isinstance(kind, str) and kind.lower() in _LOGIN_TYPES:
        raise build_refusal("id_token", issuer=issuer.alias)
    _PROFILES[issuer.token_profile](header, claims, issuer)


def _read_type(header: Members) -> str:
    """The header's typ in lower case, without the ``application/`` that RFC 7515 lets it omit."""
    return str(header.get("typ", "")).lower().removeprefix("application/")


def _check_rfc9068(header: Members, claims: Members, issuer: Issuer) -> None:
    if _read_type(header) != "at+jwt":
        raise build_refusal("wrong_type", "typ must be at+jwt", issuer.alias)


def _check_generic(header: Members, claims: Members, issuer: Issuer) -> None:
    kind = _read_type(header)
    if kind == "at+jwt":
        return
    if kind not in ("", "jwt", "jose"):
        raise build_refusal("wrong_type", issuer=issuer.alias)
    client = claims.get("client_id", claims.get("azp"))
    if not isinstance(client, str) or not client:
        raise build_refusal("id_token", "neither typ at+jwt nor a client_id or azp", issuer.alias)


def _check_github(header: Members, claims: Members, issuer: Issuer) -> None:
    if _read_type(header) not in ("", "jwt"):
        raise build_refusal("wrong_type", issuer=issuer.alias)
    _need_text(claims, ("repository", "job_workflow_ref"), issuer)


def _check_k8s(header: Members, claims: Members, issuer: Issuer) -> None:
    if _read_type(header) not in ("", "jwt"):
        raise build_refusal("wrong_type", issuer=issuer.alias)
    bound = claims.get("kubernetes.io")
    if not isinstance(bound, dict):
        raise build_refusal("missing_claim", "kubernetes.io", issuer.alias)
    account = bound.get("serviceaccount")
    name = account.get("name") if isinstance(account, dict) else None
    space = bound.get("namespace")
    if not isinstance(space, str) or not isinstance(name, str) or not space or not name:
        raise build_refusal("bad_claim", "kubernetes.io", issuer.alias)
    if claims.get("sub") != f"system:serviceaccount:{space}:{name}":
        raise build_refusal("bad_claim", "sub and kubernetes.io name different accounts", issuer.alias)


def _check_spiffe(header: Members, claims: Members, issuer: Issuer) -> None:
    if not header.keys() <= {"alg", "kid", "typ"}:
        raise build_refusal("header_refused", "a JWT-SVID has no headers but alg, kid and typ", issuer.alias)
    if _read_type(header) not in ("", "jwt", "jose"):
        raise build_refusal("wrong_type", issuer=issuer.alias)
    trust_domain = str(claims.get("sub", "")).removeprefix("spiffe://").partition("/")[0]
    if not str(claims.get("sub", "")).startswith("spiffe://") or not trust_domain:
        raise build_refusal("bad_subject", "not a SPIFFE ID", issuer.alias)


def _need_text(claims: Members, names: tuple[str, ...], issuer: Issuer) -> None:
    for name in names:
        if name not in claims:
            raise build_refusal("missing_claim", name, issuer.alias)
        if not isinstance(claims[name], str) or not claims[name]:
            raise build_refusal("bad_claim", name, issuer.alias)


_PROFILES: Final[dict[str, Callable[[Members, Members, Issuer], None]]] = {
    "rfc9068": _check_rfc9068,
    "generic": _check_generic,
    "github": _check_github,
    "k8s": _check_k8s,
    "spiffe": _check_spiffe,
}
