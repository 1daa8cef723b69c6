"""APIs that no client of kproxy may use; see the .pxd."""

REFUSED: dict[int, tuple[int, str, int]]
