"""Every Kafka API kproxy serves; see the .pxd."""

NAMES: dict[int, str]
SERVED: dict[int, tuple[int, int]]
LOCAL: tuple[int, ...]
