"""What requests of administrators must be like; see the .pxd."""

from typing import Any

from kproxy.model.policy import SafeguardInForce

def judge(safeguards: tuple[SafeguardInForce, ...], api: int,
          values: dict[str, Any]) -> tuple[list[tuple[SafeguardInForce, str, str]], list[str], bool]: ...
