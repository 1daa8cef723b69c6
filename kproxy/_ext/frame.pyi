from typing import Literal

from typing_extensions import Buffer

def scan(data: Buffer, limit: int) -> tuple[Literal["frame", "need_data", "too_big", "bad_length"], int]: ...
