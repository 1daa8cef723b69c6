"""How a process of the node begins: with as little as it can.

A node of one worker is three processes, and what they import is nearly all of a start. Two things of it serve nobody:
structlog and httpx import rich and pygments wherever those are installed, to draw for people at a terminal, and the
cyclic collector looks for garbage among modules that stay.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

DRAWING = ("rich", "pygments")


@contextmanager
def begin(*undrawn: str) -> Iterator[None]:
    """Around the imports of a process. ``undrawn`` are modules to be imported as if nothing to draw with were
    installed; who imports that later has it."""
    gc.disable()
    try:
        hidden: dict[str, Any] = {name: None for name in DRAWING if name not in sys.modules}
        sys.modules.update(hidden)
        try:
            for name in undrawn:
                importlib.import_module(name)
        finally:
            for name in hidden:
                del sys.modules[name]
        yield
    finally:
        gc.enable()
        gc.freeze()
