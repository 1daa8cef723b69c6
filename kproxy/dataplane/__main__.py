"""``python -m kproxy.dataplane --config F --worker N``: one worker, as the supervisor starts it."""

from __future__ import annotations

import sys

from kproxy.lean import begin


def main() -> int:
    with begin("structlog"):
        from kproxy.dataplane import worker
        from kproxy.dataplane.arrival import read_arrival
        from kproxy.errors import ConfigError
    try:
        arrival = read_arrival("python -m kproxy.dataplane", sys.argv[1:])
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    return worker.run(arrival)


if __name__ == "__main__":
    sys.exit(main())
