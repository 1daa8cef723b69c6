"""The ``kproxy`` program, also as ``python -m kproxy``."""

from __future__ import annotations

from kproxy.lean import begin


def main() -> None:
    """Runs a command."""
    with begin("structlog"):
        from kproxy.cli import app
    app.main()


if __name__ == "__main__":
    main()
