"""The reference pages against the code: their examples load, their defaults are those of the structs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kproxy import policy
from kproxy.config import parse_config
from kproxy.model.policy import Approval, Mask
from kproxy.model.record_plan import ENTITIES, Action
from kproxy.model.settings import Audit, Config, Issuer, Limits, Listener, Node
from kproxy.yaml_documents import read_document
from kproxy.yaml_nodes import duration, size

DOCS = Path(__file__).parents[2] / "docs"


def yaml_blocks(name: str) -> list[bytes]:
    return [block.encode() for block in re.findall(r"```yaml\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)]


def default_column(section: str) -> dict[str, str]:
    """Key to default, as the table under the heading says."""
    text = (DOCS / "configuration.md").read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {key.strip("`"): default for cells in rows for key in cells[0].split(", ") for default in [cells[1]]}


def meaning(written: str, example: Any) -> Any:
    """The default as written, in the type of the struct's."""
    if isinstance(example, str):
        return written.strip("`")
    root, _ = read_document(f"k: {written}".encode(), "docs")
    assert root is not None
    value = root.items()[0][1]
    if isinstance(example, bool):
        return written == "true"
    if isinstance(example, float):
        return duration(value)
    return size(value)


@pytest.mark.parametrize(("section", "struct", "keys"), [
    ("node", Node(), ("workers", "runtime_dir", "state_dir")),
    ("audit", Audit(), ("durability", "when_full", "fields", "max_spool_bytes", "flow_interval")),
    ("identity", Issuer("a", "i", ("k",)),
     ("max_lifetime", "principal", "groups", "token_profile", "clock_skew", "jwks_refresh", "jwks_max_stale")),
    ("listeners", Listener("l", "c", "h", 1, None, ()), ("allow_plaintext", "allow_anonymous")),  # type: ignore[arg-type]
])
def test_defaults_are_those_of_the_structs(section: str, struct: Any, keys: tuple[str, ...]) -> None:
    written = default_column(section)
    for key in keys:
        assert meaning(written[key], getattr(struct, key)) == getattr(struct, key), key


def test_limits_are_those_of_the_struct() -> None:
    written = default_column("limits")
    expected = {
        "connections.max.idle.ms": Limits().connections_max_idle * 1000,
        "socket.request.max.bytes": Limits().socket_request_max_bytes,
        "connections.max.reauth.ms": Limits().connections_max_reauth * 1000,
        "max.connections": Limits().max_connections,
        "login.timeout.ms": Limits().login_timeout * 1000,
        "drain.timeout.ms": Limits().drain_timeout * 1000,
        "queued.bytes.per.connection": Limits().queued_bytes_per_connection,
        "records.max.bytes": Limits().records_max_bytes,
        "records.max.ratio": Limits().records_max_ratio,
        "records.any.ratio.bytes": Limits().records_any_ratio_bytes,
    }
    assert {key: meaning(default, 1) for key, default in written.items()} == expected
    assert len(expected) == len(Limits.__struct_fields__)


def test_addresses_are_those_of_the_struct() -> None:
    config = Config("f", Node(), {}, {}, {}, "p", "enforce")
    for section, bind in (("admin", config.admin), ("metrics", config.metrics)):
        assert bind is not None
        assert default_column(section)["bind"] == f"{bind[0]}:{bind[1]}"


def test_the_example_configuration_and_policy_load_together() -> None:
    (config,) = yaml_blocks("configuration.md")
    (rules,) = yaml_blocks("policy.md")
    settings = parse_config(config, "docs/configuration.md", DOCS, {})
    loaded = policy.load({"docs/policy.md": rules})
    found = [str(problem) for problem in policy.check(loaded, settings)]
    assert found == ["docs/policy.md:17: masks[0]: key 'k1' is not among the keys of docs/configuration.md"]


def test_the_policy_page_names_what_there_is() -> None:
    text = (DOCS / "policy.md").read_text()
    assert all(f"`{entity}`" in text for entity in ENTITIES)
    approval = Approval("a", (), (), "r")
    assert (approval.request_ttl, approval.max_duration, approval.reason) == (3600.0, 8 * 3600.0, "none")
    assert "how long a request waits, 1h by default" in text
    assert "how long a grant may last, 8h by default" in text
    assert Mask("m", (), (), Action("redact")).parts == ("value", "headers")
