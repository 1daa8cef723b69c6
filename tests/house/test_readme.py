"""The README's way to a node before a real Kafka works as it is written, up to where a Kafka is needed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def shell_blocks(heading: str) -> list[str]:
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", (ROOT / "README.md").read_text(), re.M | re.S)
    assert section is not None
    return re.findall(r"^```sh\n(.*?)^```", section[1], re.M | re.S)


def test_readme_opens_with_the_two_commands() -> None:
    first = re.search(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert first is not None
    assert [line.split("#")[0].strip() for line in first[1].splitlines()] == ["make demo", "make test"]


def test_the_quick_start_can_be_typed(tmp_path: Path) -> None:
    first, second = shell_blocks("Before a real Kafka")
    setup, *lines = first.splitlines()
    assert setup == "make setup && export PATH=$PWD/.venv/bin:$PATH"
    assert lines[-1] == "kproxy run --config kproxy.yaml"
    tokens = [line for line in second.splitlines() if line.startswith("kproxy token")]
    script = "\n".join(["set -e", *lines[:-1], *tokens]).replace("examples/", f"{ROOT}/examples/")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=100,
                          env=os.environ | {"PATH": path})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "good: policy" in done.stdout
    node = tmp_path / "my-node"
    assert (node / "mask.key").stat().st_mode & 0o777 == 0o600
    for name, groups in (("shop", "shop"), ("ana", "analytics")):
        told = subprocess.run([Path(sys.executable).parent / "kproxy", "token", "inspect", "--token-file",
                               f"{name}.token", "--config", "kproxy.yaml"], cwd=node, capture_output=True, text=True)
        assert (told.returncode, groups in told.stdout) == (0, True), told.stdout + told.stderr
