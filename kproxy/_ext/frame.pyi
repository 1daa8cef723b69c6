from collections.abc import Buffer
from typing import Literal

def scan(data: Buffer, limit: int) -> tuple[Literal["frame", "need_data", "too_big", "bad_length"], int]: ...
