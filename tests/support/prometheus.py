"""A real Prometheus that scrapes one metrics port, and answers queries."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.support import children
from tests.support.ports import free_ports, wait_for

RULES = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs promtool among the rule files."""
    return subprocess.run(["promtool", *words], cwd=RULES, capture_output=True, text=True, timeout=60, check=False)


class Prometheus(children.Served):
    """``target``: host:port of what is scraped, every second."""

    def __init__(self, target: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="kproxy-prometheus-"))
        [self._port] = free_ports(1)
        self._config = self._folder / "prometheus.yml"
        self._config.write_text(yaml.safe_dump({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES / "kproxy.rules.yml")],
            "scrape_configs": [{"job_name": "kproxy", "static_configs": [{"targets": [target]}]}]}))
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._child = children.start(
            ["prometheus", f"--config.file={self._config}", f"--storage.tsdb.path={self._folder / 'data'}",
             f"--web.listen-address=127.0.0.1:{self._port}"], self._folder / "prometheus.log")
        wait_for("Prometheus to scrape the node", lambda: self.query("kproxy_build_info"), 30)

    def close(self) -> None:
        if self._child is not None:
            children.stop(self._child)
        shutil.rmtree(self._folder, ignore_errors=True)

    def get(self, path: str, **query: str) -> Any:
        """``data`` of the answer; None while Prometheus is not there. Raises AssertionError where it refuses."""
        words = f"?{urllib.parse.urlencode(query)}" if query else ""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/{path}{words}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return None
            raise AssertionError(f"{path} {query}: {error.read().decode()}") from None
        except OSError:
            return None

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query."""
        found = self.get("query", query=expression)
        return found["result"] if found else []
