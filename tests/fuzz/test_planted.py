"""Every harness finds an off-by-one that is planted in what it guards, within a minute, under the sanitizers.

A copy of the tree is built once; each plant builds again only the modules named. Slow: part of ``make test-full``.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TREE = Path(os.environ.get("PLANTED_TREE", ROOT / "build" / "planted"))

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Plant:
    """``right`` becomes ``wrong`` in ``file``; ``modules`` are those that hold the harm once they are built again."""

    harness: str
    file: str
    right: str
    wrong: str
    modules: str = ""


PLANTS = (
    Plant("wire", "kproxy/_ext/wire.pxd", "n > c.end - c.at:", "n > c.end - c.at + 1:", "schema,request"),
    Plant("records", "_ext/cpp/record_cursor.hpp", "length > end - at", "length > end - at + 1", "mask,record_batch"),
    Plant("avro", "_ext/cpp/avro_fields.hpp", "static_cast<size_t>(index) >= type.branches.size()",
          "static_cast<size_t>(index) > type.branches.size()", "mask"),
    Plant("wire_api", "_ext/authorise.pyx", 'item.whole_length, b""))\n            if code',
          'item.whole_length - 1, b""))\n            if code', "authorise"),
    Plant("session", "_ext/session.pyx", "if self.slots.count == 0:\n            return self.to_client.add(frame)",
          "if self.slots.count <= 1:\n            return self.to_client.add(frame)", "session"),
    Plant("tls", "_ext/tls_records.pyx", "    if count > size:", "    if count > size + 1:", "tls_records"),
    Plant("yaml", "_ext/yaml_tree.pyx", "(self.open) >= self.most_depth", "(self.open) > self.most_depth", "yaml_tree"),
    Plant("scram", "kproxy/identity/scram.py", "not LEAST_ITERATIONS <=", "not LEAST_ITERATIONS - 1 <="),
    Plant("identity", "kproxy/identity/sasl.py", "if len(parts) != 3:", "if len(parts) < 3:"),
)


def sanitize(*words: str, seconds: int, modules: str = "") -> subprocess.CompletedProcess[str]:
    more = {"SANITIZE_TREE": str(TREE), "FUZZ_SECONDS": str(seconds)}
    if modules:
        more["KPROXY_MODULES"] = modules
    return subprocess.run(["scripts/sanitize.sh", "--fuzz", *words], cwd=ROOT, env={**os.environ, **more},
                          capture_output=True, text=True, timeout=1200, check=False)


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.harness)
def test_a_planted_off_by_one_is_found_within_a_minute(plant: Plant) -> None:
    sound = sanitize(plant.harness, seconds=2)
    assert sound.returncode == 0, sound.stderr[-2000:]
    edges = re.search(r"; (\d+) edges, \d+ inputs kept", sound.stdout)
    assert edges and int(edges[1]) > 0, sound.stdout
    original = (ROOT / plant.file).read_text()
    assert original.count(plant.right) == 1
    try:
        (TREE / plant.file).write_text(original.replace(plant.right, plant.wrong))
        harmed = sanitize(plant.harness, seconds=60, modules=plant.modules)
    finally:
        (TREE / plant.file).write_text(original)
        sanitize(plant.harness, seconds=0, modules=plant.modules)
    assert harmed.returncode != 0, harmed.stdout
    assert "break the invariant" in harmed.stderr or "AddressSanitizer" in harmed.stderr, harmed.stderr[-2000:]
