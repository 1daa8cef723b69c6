"""The examples of the reference pages load. Their tables of keys are held by test_reference.py."""

from __future__ import annotations

import re
from pathlib import Path

from kproxy import policy
from kproxy.config import parse_config
from kproxy.model.audit_event import KINDS

DOCS = Path(__file__).parents[2] / "docs"


def yaml_blocks(name: str) -> list[bytes]:
    return [block.encode() for block in re.findall(r"```yaml\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)]


def test_the_example_configuration_and_policy_pass_the_check_together(tmp_path: Path) -> None:
    (config,) = yaml_blocks("configuration.md")
    (rules,) = yaml_blocks("policy.md")
    key = tmp_path / "mask.key"
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    settings = parse_config(config, "docs/configuration.md", tmp_path, {})
    loaded = policy.load({"docs/policy.md": rules})
    assert [str(problem) for problem in policy.check(loaded, settings)] == []
    assert len(loaded.masks) == 2


def test_the_audits_page_tells_of_every_kind_once() -> None:
    table = (DOCS / "audit.md").read_text().split("\n## Kinds\n\n")[1].split("\n\n")[0]
    told = [kind for row in table.splitlines()[2:] for kind in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(told) == sorted(KINDS)
