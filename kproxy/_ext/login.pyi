"""What kproxy answers of itself before a client is known; see the .pxd."""

from collections.abc import Mapping

def advertised(broker: Mapping[int, tuple[int, int]]) -> dict[int, tuple[int, int]]: ...
