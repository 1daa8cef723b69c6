"""Codecs of record batches: the Python face of what the native rewriter calls."""

from typing_extensions import Buffer

CODECS: tuple[str, ...]

def decompress(codec: str, data: Buffer, most: int) -> bytes: ...
def compress(codec: str, data: Buffer) -> bytes: ...
