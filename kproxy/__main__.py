"""``python -m kproxy``: the same as the ``kproxy`` program."""

from kproxy.cli.app import main

main()
