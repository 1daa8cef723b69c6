"""Reads YAML documents into nodes that know their line; ``kproxy.yaml_nodes`` says what stands in them.

Plain documents are composed natively (``kproxy._ext.yaml_tree``). Anything else goes the slow way of
``kproxy.yaml_faults``, which tells what is wrong.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from kproxy._ext.yaml_tree import compose
from kproxy.yaml_nodes import MAX_DEPTH, Report, Value

#: A policy of ten thousand rules takes about 2 MiB.
MAX_SOURCE = 16 * 1024 * 1024


@contextmanager
def uncollected() -> Iterator[None]:
    """Holds the cyclic collector still while many long-lived nodes are made. It would walk them again and again and
    find nothing: composing 20,000 rules takes 0.2 s with it held and 2.2 s without."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_document(source: bytes, file: str) -> tuple[Value | None, Report]:
    """The root of a YAML document. None with the problem reported if it cannot be read; None alone if it is empty."""
    report = Report(file)
    if len(source) > MAX_SOURCE:
        report.add(f"the file is larger than {MAX_SOURCE} bytes")
        return None, report
    try:
        source.decode("utf-8")
    except UnicodeDecodeError as error:
        report.add(f"not UTF-8 at byte {error.start}", source.count(b"\n", 0, error.start) + 1)
        return None, report
    with uncollected():
        is_plain, root = compose(source, MAX_DEPTH)
        if not is_plain:
            # Imported late: nobody needs PyYAML while files are as they should be.
            from kproxy.yaml_faults import compose_or_tell

            root = compose_or_tell(source, report)
    return (None if root is None else Value(root, report)), report
