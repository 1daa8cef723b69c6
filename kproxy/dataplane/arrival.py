"""What a worker is given when it starts: its configuration, its number, its sockets. By hand the number is enough."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from kproxy.config import load_config, unpack_config
from kproxy.model.settings import Config


@dataclass(frozen=True, slots=True)
class Arrival:
    """``sockets``: those of the listeners in their order, bound by the supervisor; None: the worker opens its own.
    ``ready``: the descriptor on which the supervisor waits for the word that the worker serves; −1: nobody waits."""

    config: Config
    worker: int
    sockets: tuple[int, ...] | None = None
    ready: int = -1

    def take_sockets(self) -> list[socket.socket] | None:
        return None if self.sockets is None else [socket.socket(fileno=number) for number in self.sockets]

    def tell_ready(self) -> None:
        if self.ready >= 0:
            os.write(self.ready, b"r")
            os.close(self.ready)


def read_arrival(program: str, arguments: Sequence[str]) -> Arrival:
    """From the command line, and the configuration from standard input where it is handed over. Raises ConfigError."""
    parser = argparse.ArgumentParser(prog=program)
    parser.add_argument("--config", required=True, help="the configuration file")
    parser.add_argument("--worker", required=True, type=int, help="this worker's number, from 0")
    parser.add_argument("--sockets", help="descriptors of the listening sockets")
    parser.add_argument("--handed", action="store_true", help="the configuration comes on standard input")
    parser.add_argument("--ready", type=int, default=-1, help="descriptor to write to when serving")
    options = parser.parse_args(arguments)
    config = (unpack_config(sys.stdin.buffer.read()) if options.handed
              else load_config(options.config, certificates=False))
    sockets = None if options.sockets is None else tuple(map(int, filter(None, options.sockets.split(","))))
    return Arrival(config, options.worker, sockets, options.ready)
