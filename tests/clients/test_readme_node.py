"""README's node before a real Kafka, with its own commands: only the ports are others than it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import children
from tests.support.ports import accepts, free_port_run, free_ports, wait_for

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def blocks() -> list[str]:
    section = re.search(r"^## Before a real Kafka\n(.*?)(?=^## )", (ROOT / "README.md").read_text(), re.M | re.S)
    assert section is not None
    return re.findall(r"^```sh\n(.*?)^```", section[1], re.M | re.S)


class ReadmeNode:
    """The quick start in ``folder``, with free ports in place of those it names."""

    def __init__(self, folder: Path, kafka: int) -> None:
        self.folder = folder / "my-node"
        public, admin, metrics = free_ports(3)
        self.ports = {"127.0.0.1:9092": f"127.0.0.1:{kafka}", "127.0.0.1:19092": f"127.0.0.1:{public}",
                      "first: 19100": f"first: {free_port_run(10)}", "127.0.0.1:9464": f"127.0.0.1:{admin}",
                      "127.0.0.1:9465": f"127.0.0.1:{metrics}"}
        self.metrics = f"http://127.0.0.1:{metrics}"
        self.public = ("127.0.0.1", public)
        _, copy, *rest = blocks()[1].splitlines()
        assert copy.endswith("&& cd my-node") and rest[-1].startswith("kproxy run")
        self.run(copy.partition(" && ")[0].replace("examples/", f"{ROOT}/examples/"), folder)
        for name in ("kproxy.yaml", "kcat.conf"):
            file = self.folder / name
            file.write_text(self.with_ports(file.read_text()))
        self.run("\n".join(rest[:-1]))
        self.child = children.start([str(BIN / "kproxy"), *rest[-1].split()[1:]], self.folder / "log", cwd=self.folder)

    def with_ports(self, text: str) -> str:
        for told, real in self.ports.items():
            text = text.replace(told, real)
        return text

    def type(self, script: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", "-c", f"set -e\n{self.with_ports(script)}"], cwd=folder or self.folder,
                              env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}, capture_output=True, text=True,
                              timeout=120)

    def run(self, script: str, folder: Path | None = None) -> str:
        done = self.type(script, folder)
        assert done.returncode == 0, done.stdout + done.stderr + children.tail(self.folder / "log")
        return done.stdout

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.metrics}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture(scope="module")
def shown_kafka(tmp_path_factory: pytest.TempPathFactory, kafka_jars: None) -> Iterator[int]:
    """The port of a Kafka that the quick start's own script has started."""
    (port,) = free_ports(1)
    log = tmp_path_factory.mktemp("kafka") / "log"
    child = children.start([str(ROOT / blocks()[0].splitlines()[1]), str(port)], log)
    try:
        wait_for("Kafka to be there", lambda: accepts("127.0.0.1", port) and "Kafka is at" in log.read_text(), 120)
        yield port
    finally:
        children.stop(child)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, shown_kafka: int) -> Iterator[ReadmeNode]:
    started = ReadmeNode(tmp_path_factory.mktemp("quickstart"), shown_kafka)
    try:
        wait_for("the node is ready", lambda: started.is_ready() and accepts(*started.public), 60)
        yield started
    finally:
        children.stop(started.child)


def test_the_readme_s_commands_work_as_they_are_written(node: ReadmeNode) -> None:
    printed = node.run(blocks()[2].partition("\n")[2])
    received = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert len(received) == 1
    assert re.fullmatch(r"k1:[0-9a-f]{32}", received[0]["customer"]["email"])
    assert received[0]["customer"]["name"] == "Ada"
    assert received[0]["note"] == "card ************1111"
    status = node.run("kproxy status --json")
    assert [listener["mode"] for listener in json.loads(status)["listeners"]] == ["enforce"]


def test_the_readme_s_approval_lets_the_refused_write_pass(node: ReadmeNode) -> None:
    asked, refused, rest = re.split(r"^(echo .*)\n", blocks()[3], maxsplit=1, flags=re.M)
    node.run(asked)
    assert node.type(f"set -o pipefail; {refused}").returncode != 0
    (waiting,) = json.loads(node.run("kproxy requests list --json"))
    assert waiting["id"] in node.run("kproxy requests list")
    *approve, query = re.sub(r"req-\w+", waiting["id"], rest).strip().splitlines()
    assert query.startswith("kproxy audit query --wrote")
    node.run("\n".join(approve))
    told = wait_for("the audit to tell who wrote", lambda: json.loads(node.run(f"{query} --json")), 60)
    assert [(one["model"], one["run"], one["launcher"]) for one in told] == [("models:/fraud/8", "run-2041", "ana")]
