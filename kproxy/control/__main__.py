"""``python -m kproxy.control --config FILE``: the node's control process, started and restarted by the supervisor."""

from __future__ import annotations

import sys

from kproxy.lean import begin


def main() -> int:
    with begin("structlog", "httpx"):
        from kproxy.control import process
    return process.main()


if __name__ == "__main__":
    sys.exit(main())
