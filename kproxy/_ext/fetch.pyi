"""Fetch (key 1); no Python face: the session calls it natively."""

from typing import Any

def offset_of(edit: tuple[int, int, bytes]) -> Any: ...
