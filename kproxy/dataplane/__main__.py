"""``python -m kproxy.dataplane --config F --worker N``: one worker, as the supervisor starts it."""

from __future__ import annotations

import argparse
import sys

from kproxy.config import load_config
from kproxy.dataplane import worker
from kproxy.errors import ConfigError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m kproxy.dataplane", description=__doc__)
    parser.add_argument("--config", required=True, help="the configuration file")
    parser.add_argument("--worker", required=True, type=int, help="this worker's number, from 0")
    parser.add_argument("--listen-fds", default="", help="inherited listening sockets, separated by commas")
    parser.add_argument("--ready-fd", type=int, help="a descriptor that gets a byte once clients are served")
    options = parser.parse_args()
    try:
        config = load_config(options.config, certificates=False)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    inherited = [int(word) for word in options.listen_fds.split(",") if word]
    return worker.run(config, options.worker, inherited=inherited, ready_fd=options.ready_fd)


sys.exit(main())
