"""What kproxy answers of itself before a client is known; see the .pxd."""

from collections.abc import Mapping
from typing import NamedTuple

FEATURES: dict[str, dict[int, dict[int, int]]]

class Promise(NamedTuple):
    ranges: Mapping[int, tuple[int, int]]
    levels: Mapping[str, int] = {}
    epoch: int = -1
    cluster_id: str = ""
    node: int = -1

def advertised(broker: Mapping[int, tuple[int, int]]) -> dict[int, tuple[int, int]]: ...
def levels_shown(levels: Mapping[str, int], ranges: Mapping[int, tuple[int, int]]) -> dict[str, int]: ...
