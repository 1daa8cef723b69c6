"""What each child of the supervisor is started with: the configuration the node runs by, and listening sockets.

The supervisor reads the configuration once and hands it to every child it starts, over standard input. A file that is
being edited while a worker dies would otherwise decide whether there is a new one.

It also opens the listening sockets, one set of SO_REUSEPORT sockets for each worker. A worker that is killed or
replaced leaves its sockets, and the connections that wait in them, to its successor; closed, the kernel would reset
them.
"""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from kproxy.config import pack_config
from kproxy.dataplane.listener import open_all, plan_ports, refuse_taken, shut
from kproxy.model.settings import Config


class Launch(NamedTuple):
    """One start: the words of the command, what it reads on its standard input, and the descriptors it keeps."""

    words: tuple[str, ...]
    stdin: bytes = b""
    descriptors: tuple[int, ...] = ()


class Launches:
    """``reread`` gives the configuration as the files have it now; ``workers`` is how many there are, which stays."""

    def __init__(self, config: Config, python: tuple[str, ...], dataplane: str, workers: int,
                 reread: Callable[[], Config]) -> None:
        self._python = python
        self._dataplane = dataplane
        self._reread = reread
        self._sockets: list[dict[tuple[str, int], socket.socket]] = [{} for _ in range(workers)]
        self._config = self._former = config
        self._open(config)

    @property
    def workers(self) -> int:
        return len(self._sockets)

    @property
    def drain_timeout(self) -> float:
        return self._config.limits.drain_timeout

    def control(self) -> Launch:
        words = (*self._python, "kproxy.control", "--config", self._config.file, "--handed")
        return Launch(words, pack_config(self._config))

    def worker(self, slot: int, number: int) -> Launch:
        """``slot`` is whose sockets it gets; ``number`` is what it is called by."""
        mine = self._sockets[slot]
        descriptors = tuple(mine[address].fileno() for address in _addresses(self._config))
        words = (*self._python, self._dataplane, "--config", self._config.file, "--worker", str(number),
                 "--sockets", ",".join(map(str, descriptors)), "--handed")
        return Launch(words, pack_config(self._with_share()), descriptors)

    def take_files(self) -> None:
        """What is started from now on runs by the files as they are. Raises KproxyError, and then nothing changes."""
        wanted = msgspec.structs.replace(self._reread(), node=self._config.node)
        self._open(wanted)
        self._config, self._former = wanted, self._config

    def go_back(self) -> None:
        """``take_files`` undone."""
        self._config = self._former
        self.settle()

    def settle(self) -> None:
        """Everybody runs by the new configuration: what only the former one listened on is closed."""
        self._former = self._config
        wanted = set(_addresses(self._config))
        for mine in self._sockets:
            for address in [address for address in mine if address not in wanted]:
                gone = mine.pop(address)
                shut(gone)
                gone.close()

    def withdraw(self, slot: int) -> None:
        """Nobody serves these sockets for a while: clients are better refused, and come to another worker, than kept
        waiting. The next worker of the slot listens on them again."""
        for one in self._sockets[slot].values():
            shut(one)

    def close(self) -> None:
        for mine in self._sockets:
            for one in mine.values():
                one.close()

    def _open(self, config: Config) -> None:
        """What is missing. They are bound and do not listen: a node that never gets a policy refuses clients."""
        held = {address for mine in self._sockets for address in mine}
        refuse_taken(address for address in _addresses(config) if address not in held)
        missing = [(mine, address) for mine in self._sockets for address in _addresses(config) if address not in mine]
        opened = open_all(address for _, address in missing)
        for (mine, address), sock in zip(missing, opened, strict=True):
            mine[address] = sock

    def _with_share(self) -> Config:
        """``max.connections`` is the node's; a worker gets its part, rounded up. The kernel spreads connections by a
        hash, so at the limit one worker is full before another."""
        limits = self._config.limits
        share = -(-limits.max_connections // self.workers)
        return msgspec.structs.replace(self._config, limits=msgspec.structs.replace(limits, max_connections=share))


def _addresses(config: Config) -> list[tuple[str, int]]:
    """In the order in which a worker takes them: listener by listener, bootstrap first."""
    return [(listener.host, port) for listener in config.listeners.values() for port, _ in plan_ports(listener)]


def raise_descriptor_limit() -> None:
    """As many descriptors as the system allows: two for each client, and one for each advertised port and worker."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
