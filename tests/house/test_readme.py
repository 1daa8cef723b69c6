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


def test_readme_says_what_kproxy_is_and_then_gives_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.startswith("# kproxy\n\nAn identity-aware proxy for Apache Kafka.")
    first = re.search(r"^```sh\n(.*?)^```", text, re.M | re.S)
    assert first is not None
    assert [line.split("#")[0].strip() for line in first[1].splitlines()] == ["make demo", "make test"]


def test_the_quick_start_can_be_typed(tmp_path: Path) -> None:
    broker, node, clients, approval = shell_blocks("Before a real Kafka")
    assert broker.splitlines() == ["make setup", "scripts/kafka.sh"]
    path, *lines = node.splitlines()
    assert path == "export PATH=$PWD/.venv/bin:$PATH"
    assert lines[-1] == "kproxy run --config kproxy.yaml"
    assert clients.splitlines()[0] == "cd my-node && export PATH=$PWD/../.venv/bin:$PATH"
    tokens = re.findall(r"^kproxy token (?:.*\\\n)*.*$", clients + approval, re.M)
    script = "\n".join(["set -e", *lines[:-1], *tokens]).replace("examples/", f"{ROOT}/examples/")
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=100,
                          env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "good: policy" in done.stdout
    folder = tmp_path / "my-node"
    assert (folder / "mask.key").stat().st_mode & 0o777 == 0o600
    for name, group in (("shop", "shop"), ("ana", "analytics"), ("job", "fraud-scoring"), ("rita", "ml-risk")):
        told = subprocess.run([Path(sys.executable).parent / "kproxy", "token", "inspect", "--token-file",
                               f"{name}.token", "--config", "kproxy.yaml"], cwd=folder, capture_output=True, text=True)
        assert (told.returncode, group in told.stdout) == (0, True), told.stdout + told.stderr
