"""The way from a command to a running node: its operator socket or its admin API, as somebody.

With a token and an admin address, the token alone says who it is, over TCP; otherwise the operator socket is used,
whose user is recorded. ``--url`` and ``--socket`` choose by hand.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import httpx
import msgspec
import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from kproxy.config import examine_config
from kproxy.errors import KproxyError

ConfigOption = Annotated[Path, typer.Option("--config", "-c", envvar="KPROXY_CONFIG", help="The configuration file.")]
SocketOption = Annotated[Path | None, typer.Option("--socket", help="The node's operator socket.")]
UrlOption = Annotated[str, typer.Option("--url", help="The node's admin API, as http://127.0.0.1:9464.")]
TokenOption = Annotated[Path | None, typer.Option("--token-file", help="A file with the token that says who you are;"
                                                  " else KPROXY_TOKEN.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DEFAULT_CONFIG = Path("kproxy.yaml")
DEFAULT_SOCKET = Path("/run/kproxy/operator.sock")

#: Fields of the node's answers that are Unix seconds, 0 for never, and those that nobody else has a use for.
TIMES = frozenset(("at", "connected_at", "created_at", "expires_at", "fetched_at", "since", "started_at", "taken_at",
                   "until"))
INTERNAL = frozenset(("key",))
#: Whose names are chosen elsewhere, so that none of the above is meant by them.
FREE = frozenset(("attested", "declared", "connections", "errors"))

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:ms|[smhd]))+")
_T = TypeVar("_T")


class NodeRefused(KproxyError):
    """What the node said instead of doing it, with the HTTP ``status`` it said it by; 0 where no node answers."""

    def __init__(self, line: str, status: int = 0) -> None:
        super().__init__(line)
        self.status = status


class NodeClient:
    """A running node's admin API, looked for at the first question."""

    def __init__(self, *, config: Path = DEFAULT_CONFIG, socket: Path | None = None, url: str = "",
                 token_file: Path | None = None) -> None:
        self._place = config, socket, url, token_file
        self._where = ""
        self._client: httpx.Client | None = None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _connect(self) -> httpx.Client:
        config, socket, url, token_file = self._place
        token = read_token(token_file)
        socket, url = _choose(config, socket, url, token)
        self._where = str(socket) if socket else url
        return httpx.Client(
            base_url="http://kproxy" if socket else url, timeout=30.0, trust_env=False,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            transport=httpx.HTTPTransport(uds=str(socket) if socket else None))

    def ask(self, method: str, path: str, body: Any = None, **query: str | int) -> Any:
        """The JSON of the answer. Raises NodeRefused with one clear line."""
        if self._client is None:
            self._client = self._connect()
        try:
            answer = self._client.request(
                method, path, content=None if body is None else msgspec.json.encode(body), params=query,
                headers={"Content-Type": "application/json"} if body is not None else {})
        except httpx.HTTPError as error:
            if self._where == str(DEFAULT_SOCKET):
                raise NodeRefused(f"there is no {DEFAULT_CONFIG} in this folder, and no kproxy answers at "
                                  f"{self._where}: name a node with --config, --socket or --url") from None
            why = re.sub(r"^\[Errno -?\d+\] ", "", str(error))
            raise NodeRefused(f"no kproxy answers at {self._where}: {why}") from None
        try:
            found = msgspec.json.decode(answer.content)
        except msgspec.DecodeError:
            raise NodeRefused(f"{self._where} is not kproxy's admin API (HTTP {answer.status_code})") from None
        if answer.status_code >= 400:
            line = found.get("detail") if isinstance(found, dict) else None
            raise NodeRefused(str(line or f"HTTP {answer.status_code}"), answer.status_code)
        return found


def _options_of_all(config: ConfigOption = DEFAULT_CONFIG, socket: SocketOption = None, url: UrlOption = "",
                    token_file: TokenOption = None, as_json: JsonOption = False) -> None:
    """The options of every command that acts on a node: which node, as whom, and in which form to answer."""


def on_node(command: Callable[..., Any], say: Callable[[Any], None] | None = None) -> Callable[..., None]:
    """``command(node, …)`` with its own options, then those of all. What it gives is shown by ``say``, or printed as
    JSON; without ``say`` it takes ``as_json`` and prints by itself."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    shared = inspect.signature(_options_of_all, eval_str=True).parameters
    parameters = [one for one in own if one.name not in shared] + list(shared.values())

    def run(**given: Any) -> None:
        node = NodeClient(**{name: given.pop(name) for name in ("config", "socket", "url", "token_file")})
        as_json = given.pop("as_json")
        try:
            if say is None:
                command(node, **given, as_json=as_json)
                return
            told = command(node, **given)
        finally:
            node.close()
        if as_json:
            show_json(_with_times(told))
        else:
            say(told)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def read_token(file: Path | None) -> str:
    """From the file, else from KPROXY_TOKEN; empty where neither is given. Raises NodeRefused."""
    if file is None:
        return os.environ.get("KPROXY_TOKEN", "").strip()
    try:
        found = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise NodeRefused(f"no token can be read from {file}") from None
    if not found:
        raise NodeRefused(f"{file} is empty")
    return found


def parse_duration(text: str) -> float:
    """Seconds, from ``90s``, ``2h`` or ``1h30m``. Raises typer.BadParameter."""
    if not _DURATION.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is not a duration such as 90s, 2h or 1h30m")
    return sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)(ms|[smhd])", text))


def parse_moment(text: str, now: float) -> float:
    """Unix seconds, from a duration back from ``now`` or an ISO 8601 date or time. Raises typer.BadParameter."""
    if _DURATION.fullmatch(text):
        return now - parse_duration(text)
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a duration such as 2h nor a time such as 2026-01-31T12:00"
                                 ) from None


def say_time(seconds: float) -> str:
    """Local time of Unix seconds, to the second, with its zone."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def _with_times(found: Any) -> Any:
    """The node's answer for other programs: Unix seconds as ISO 8601 in UTC, null for never, and what is the node's own
    left out."""
    if isinstance(found, list):
        return [_with_times(one) for one in found]
    if not isinstance(found, dict):
        return found
    return {name: _iso(value) if name in TIMES else value if name in FREE else _with_times(value)
            for name, value in found.items() if name not in INTERNAL}


def _iso(seconds: Any) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds") if seconds else None


def show_json(found: Any) -> None:
    typer.echo(msgspec.json.encode(found).decode())


def show_table(rows: Iterable[_T], columns: dict[str, Callable[[_T], object]], nothing: str) -> None:
    """One line per row; on a terminal that is too narrow for that, one block per row and a line per cell that has
    something to say. ``nothing`` where there is no row."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_plain(cell(row)) for cell in columns.values()))
    found = console()
    if not table.row_count:
        typer.echo(nothing)
    elif Measurement.get(Console(width=10_000), found.options.update(width=10_000), table).maximum <= found.width:
        found.print(table)
    else:
        _show_blocks(found, table)


def _show_blocks(found: Console, table: Table) -> None:
    names = [str(column.header) for column in table.columns]
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        for name, cell in zip(names, cells, strict=True):
            if cell:
                found.print(f"{name:<{max(map(len, names))}}  {cell}", soft_wrap=True)
        found.print()


def console() -> Console:
    """Where tables go. Without a terminal nothing is folded, so that other programs find a row on one line."""
    found = Console(highlight=False, markup=False)
    return found if found.is_terminal else Console(highlight=False, markup=False, width=500)


def _plain(value: object) -> str:
    """Text from a client may hold control characters that would act on the operator's terminal."""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _choose(config: Path, socket: Path | None, url: str, token: str) -> tuple[Path | None, str]:
    if socket is not None or url:
        return socket, url
    if not config.exists() and config == DEFAULT_CONFIG:
        return DEFAULT_SOCKET, ""
    try:
        source = config.read_bytes()
    except OSError as error:
        raise NodeRefused(f"{config} cannot be read: {error.strerror}") from None
    # Only addresses are needed, so secrets that only the node can read are not missed.
    found, problems = examine_config(source, str(config), config.resolve().parent, dict(os.environ))
    if found is None:
        raise NodeRefused(str(problems[0]))
    if token and found.admin is not None:
        host, port = found.admin
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return None, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return Path(found.node.runtime_dir) / "operator.sock", ""
