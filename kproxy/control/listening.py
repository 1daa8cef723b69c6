"""Sockets the control process listens on, and who is at the other end of a unix socket."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from typing import NamedTuple

from kproxy.errors import KproxyError

_BACKLOG = 1024


class Peer(NamedTuple):
    """What the kernel says of a process that connected over a unix socket."""

    pid: int
    uid: int
    gid: int


def bind_unix(path: Path) -> socket.socket:
    """A listening unix socket that only this user can connect to. What a dead process left at ``path`` is replaced."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    path.unlink(missing_ok=True)
    # The mask is the process's, and nothing else runs between these lines: the socket never exists with more rights.
    before = os.umask(0o177)
    try:
        found.bind(str(path))
    except OSError as error:
        found.close()
        raise KproxyError(f"cannot listen on {path}: {error.strerror}") from error
    finally:
        os.umask(before)
    found.listen(_BACKLOG)
    found.setblocking(False)
    return found


def bind_tcp(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises KproxyError with the address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise KproxyError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        found.bind(address)
    except OSError as error:
        found.close()
        raise KproxyError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    found.listen(_BACKLOG)
    found.setblocking(False)
    return found


def read_peer(connection: socket.socket) -> Peer:
    """Raises OSError where it is no unix socket."""
    return Peer(*struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)))
