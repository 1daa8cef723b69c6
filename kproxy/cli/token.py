"""``kproxy token``: a development issuer on the command line, and a look into a token without giving it away.

A token goes to stdout or into ``--out`` (0600) and nowhere else. ``inspect`` never prints a signature, nor the token.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from kproxy.cli.node import DEFAULT_CONFIG
from kproxy.config import load_config
from kproxy.control.keys_documents import KeysUnusable
from kproxy.control.keys_fetch import choose_fetch
from kproxy.demo.issuer import ALGORITHMS, DevelopmentIssuer, IssuerServer, SigningKey, write_secret
from kproxy.errors import KproxyError, TokenRefused
from kproxy.identity.jwt import MAX_TOKEN, Parsed, build_token_id, parse, validate
from kproxy.identity.template import parse_path
from kproxy.model.snapshot import IssuerKeys

_DURATION = re.compile(r"(\d+)(s|m|h|d)")
#: A signed token's three parts, so that none is taken for a file name and printed in the error.
_TOKEN = re.compile(r"eyJ[\w-]*\.[\w-]+\.[\w-]*")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

IssuerFile = Annotated[Path, typer.Option("--issuer-file", "-f", help="The development issuer's keys (0600).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JwksFile = Annotated[Path | None, typer.Option("--jwks", help="Write the public keys here, for jwks_file.")]
Algorithm = Annotated[str, typer.Option(help=f"One of {', '.join(ALGORITHMS)}.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Issue tokens for development, and look into tokens.")
    for name, command in (("new-issuer", new_issuer), ("rotate", rotate), ("serve", serve), ("issue", issue),
                          ("inspect", inspect)):
        group.command(name)(command)
    app.add_typer(group, name="token")


def new_issuer(
    url: Annotated[str, typer.Option(help="The issuer's name (iss), and its address if it is to be served.")],
    issuer_file: IssuerFile = Path("dev-issuer.json"),
    jwks: JwksFile = None,
    algorithm: Algorithm = "RS256",
    as_json: AsJson = False,
) -> None:
    """Make a development issuer: a name and a signing key in one private file."""
    if algorithm not in ALGORITHMS:
        raise typer.BadParameter(f"one of {', '.join(ALGORITHMS)}", param_hint="--algorithm")
    if issuer_file.exists():
        raise KproxyError(f"{issuer_file} is there already; rotate it, or take another name")
    made = DevelopmentIssuer(url, [SigningKey.create(algorithm)])
    _save(made, issuer_file, jwks)
    _say({"issuer": url, "kid": made.keys[-1].kid, "file": str(issuer_file)}, as_json)


def rotate(
    issuer_file: IssuerFile = Path("dev-issuer.json"),
    jwks: JwksFile = None,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Forget the old keys: their tokens die.")] = False,
    as_json: AsJson = False,
) -> None:
    """Sign with a new key from now on."""
    loaded = _load(issuer_file)
    kid = loaded.rotate(keep_old=not drop_old)
    _save(loaded, issuer_file, jwks)
    _say({"issuer": loaded.url, "kid": kid, "keys": len(loaded.keys)}, as_json)


def serve(
    issuer_file: IssuerFile = Path("dev-issuer.json"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0: any.")] = 9080,
) -> None:
    """Serve discovery document and keys on loopback until interrupted."""
    loaded = _load(issuer_file)
    try:
        server = IssuerServer(loaded, port=port)
    except OSError as error:
        raise KproxyError(f"127.0.0.1:{port}: {error.strerror}") from None
    with contextlib.suppress(KeyboardInterrupt), server:
        typer.echo(f"serving {loaded.url} at {server.url}", err=True)
        server.wait()


def issue(
    subject: Annotated[str, typer.Option("--subject", "-s", help="Whom the token speaks for (sub).")],
    audience: Annotated[list[str], typer.Option("--audience", "-a", help="May be given again.")],
    issuer_file: IssuerFile = Path("dev-issuer.json"),
    lifetime: Annotated[str, typer.Option(help="Such as 90s, 10m or 1h.")] = "10m",
    group: Annotated[list[str], typer.Option("--group", "-g", help="A group; may be given again.")] = [],  # noqa: B006
    claim: Annotated[list[str], typer.Option("--claim", "-c", help="PATH=VALUE, the value JSON or text.")] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the token here (0600).")] = None,
    as_json: AsJson = False,
) -> None:
    """Issue a token. It goes to stdout, or into --out and nowhere else."""
    loaded = _load(issuer_file)
    claims = _build_claims(claim)
    if group:
        claims["groups"] = list(group)
    seconds = _read_lifetime(lifetime)
    _warn_of_lifetime(loaded.url, seconds)
    token = loaded.issue(subject, audience[0] if len(audience) == 1 else list(audience), claims, lifetime=seconds)
    said = parse(token).claims
    about = {"expires_at": said["exp"], "kid": loaded.keys[-1].kid, "token_id": build_token_id(loaded.url, said["jti"])}
    if out is not None:
        _write(out, token.encode() + b"\n")
        if not as_json:
            about = {"expires": f"{_time(about.pop('expires_at'))} (lifetime {lifetime})", **about}
        _say({"file": str(out), **about}, as_json)
    elif as_json:
        typer.echo(json.dumps({"access_token": token, "token_type": "Bearer", **about}))
    else:
        typer.echo(token)


def inspect(
    file: Annotated[str, typer.Argument(metavar="[FILE]", show_default=False,
                                        help="The token's file; -, or nothing: standard input.")] = "-",
    token_file: Annotated[str, typer.Option("--token-file", "-t", help="The same, as other commands name it.")] = "",
    config: Annotated[Path | None, typer.Option("--config", help="Check it as a node with this file would.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a token says, without its signature. With --config: who it would be, or why it is refused."""
    token = _read_token(token_file or file)
    parsed = parse(token)
    said = {"header": parsed.header, "claims": parsed.claims, "token_id": _name(parsed), "verified": False}
    if config is not None:
        said |= asyncio.run(_check(token, parsed, config))
    if as_json:
        typer.echo(json.dumps(said, ensure_ascii=False))
    else:
        typer.echo("\n".join(_lines(said)))
    if said.get("refused"):
        raise typer.Exit(1)


async def _check(token: str, parsed: Parsed, config: Path) -> dict[str, Any]:
    """What a node with this configuration would make of the token, with its issuer's keys as they are now."""
    issuers = {issuer.issuer: issuer for issuer in load_config(config).issuers.values()}
    name = parsed.claims.get("iss")
    issuer = issuers.get(name) if isinstance(name, str) else None
    now, keys = time.time(), {}
    if issuer is not None:
        source = choose_fetch(issuer, time.monotonic)
        try:
            keys[issuer.alias] = IssuerKeys(issuer.alias, (await source.fetch()).keys, now, now + 60)
        except KeysUnusable as error:
            raise KproxyError(f"the keys of {issuer.alias}: {error}") from None
        finally:
            await source.aclose()
    try:
        found = validate(token, issuers, keys, now)
    except TokenRefused as refusal:
        return {"refused": refusal.reason, "detail": refusal.detail}
    return {
        "verified": True,
        "principal": found.principal.name,
        "groups": list(found.principal.groups),
        "attributes": found.principal.attributes,
        "attested": found.attested,
        "session_ends": _time(found.expires_at),
    }


def _lines(said: dict[str, Any]) -> list[str]:
    lines = [f"{key:13} {json.dumps(value, ensure_ascii=False)}" for key, value in said["header"].items()]
    lines.append("")
    for key, value in said["claims"].items():
        when = f"   {_time(value)}" if key in ("exp", "iat", "nbf") else ""
        lines.append(f"{key:13} {json.dumps(value, ensure_ascii=False)}{when}")
    rest = {key: value for key, value in said.items() if key not in ("header", "claims")}
    return [*lines, "",
    *(f"{key:13} {value if isinstance(value, str) else json.dumps(value)}" for key, value in rest.items())]


def _time(value: Any) -> str:
    try:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (TypeError, ValueError, OverflowError, OSError):
        return ""


def _name(parsed: Parsed) -> str:
    issuer, jti = parsed.claims.get("iss"), parsed.claims.get("jti")
    return build_token_id(issuer, jti) if isinstance(issuer, str) and isinstance(jti, str) else ""


def _read_token(name: str) -> str:
    """Never from an argument: those stand in the shell's history and in the process list."""
    if _TOKEN.fullmatch(name):
        raise KproxyError("that is a token where its file's name belongs; a command line is seen by others, so let the"
                          " token end, and name a file or give it on standard input")
    try:
        data = sys.stdin.buffer.read(MAX_TOKEN + 2) if name == "-" else Path(name).read_bytes()[: MAX_TOKEN + 2]
        return data.decode("ascii").strip()
    except OSError as error:
        raise KproxyError(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise KproxyError("that is no token") from None


def _build_claims(given: list[str]) -> dict[str, Any]:
    """Nested objects from paths, so that ``realm_access.roles=["a"]`` is written as it is read."""
    claims: dict[str, Any] = {}
    for pair in given:
        path, sign, text = pair.partition("=")
        try:
            names = parse_path(path)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--claim") from None
        if not sign:
            raise typer.BadParameter(f"{pair!r} is not PATH=VALUE", param_hint="--claim")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        inner = claims
        for name in names[:-1]:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise typer.BadParameter(f"{path!r} leads through a claim that is no object", param_hint="--claim")
        inner[names[-1]] = value
    return claims


def _read_lifetime(text: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise typer.BadParameter("such as 90s, 10m or 1h", param_hint="--lifetime")
    return int(match[1]) * _SECONDS[match[2]]


def _warn_of_lifetime(issuer: str, seconds: int) -> None:
    """A node refuses a token that lives too long, and its client is told no reason, so it is said here."""
    try:
        issuers = load_config(DEFAULT_CONFIG).issuers.values() if DEFAULT_CONFIG.exists() else ()
    except KproxyError:
        return
    most = [one.max_lifetime for one in issuers if one.issuer == issuer]
    if most and seconds > max(most):
        typer.echo(f"kproxy: a node with this folder's {DEFAULT_CONFIG} will refuse this token: it lives {seconds} s,"
                   f" and max_lifetime of its issuer is {max(most):g} s", err=True)


def _load(path: Path) -> DevelopmentIssuer:
    try:
        return DevelopmentIssuer.load(path)
    except OSError as error:
        raise KproxyError(f"{path}: {error.strerror}; make one with kproxy token new-issuer") from None
    except ValueError as error:
        raise KproxyError(str(error)) from None


def _save(issuer: DevelopmentIssuer, path: Path, jwks: Path | None) -> None:
    try:
        issuer.save(path)
        if jwks is not None:
            jwks.write_text(json.dumps(issuer.jwks(), indent=2) + "\n")
    except OSError as error:
        raise KproxyError(f"{error.filename}: {error.strerror}") from None


def _write(path: Path, data: bytes) -> None:
    try:
        write_secret(path, data)
    except OSError as error:
        raise KproxyError(f"{path}: {error.strerror}") from None


def _say(facts: dict[str, Any], as_json: bool) -> None:
    typer.echo(json.dumps(facts) if as_json else "  ".join(f"{key}={value}" for key, value in facts.items()))
