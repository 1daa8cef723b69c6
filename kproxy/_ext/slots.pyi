"""The order of answers; see the .pxd."""

class Slots:
    count: int
    waiting: int
