"""A node whose workers keep no audit, for the rungs below the one that has it. Only the ladder starts it:

    python -m bench.unaudited run --config F

The decisions, the notes and the metrics are made as ever; nothing is written and nothing waits for a disk.
"""

from __future__ import annotations

import argparse
import os
import sys

from kproxy.config import load_config
from kproxy.dataplane import supervisor, worker
from kproxy.dataplane.arrival import read_arrival
from kproxy.dataplane.spool import Spool

NOWHERE = os.open(os.devnull, os.O_WRONLY)


class NoSpool(Spool):
    """Takes everything and keeps nothing."""

    def append(self, kind: int, payload: bytes) -> None:
        return

    def _lend_pen(self) -> None:
        """Always, so that a turn of notes takes the short way here too: what it costs is not the audit's."""
        self._size = 0
        self.pen.fd, self.pen.room = NOWHERE, 1 << 62


def main() -> int:
    if sys.argv[1:2] == ["run"]:
        parser = argparse.ArgumentParser(prog="python -m bench.unaudited run", description=__doc__)
        parser.add_argument("--config", required=True)
        return supervisor.run(load_config(parser.parse_args(sys.argv[2:]).config), dataplane="bench.unaudited")
    worker.Spool = NoSpool  # type: ignore[misc]
    return worker.run(read_arrival("python -m bench.unaudited", sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
