"""A kproxy node for the demo: its configuration in a folder of its own, and ``kproxy run`` as a child process."""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from kproxy.demo.issuer import write_secret
from kproxy.errors import KproxyError

START_SECONDS = 30.0
STOP_SECONDS = 20.0
COMMAND_SECONDS = 30.0
LOG_LINES, LOG_LINE = 12, 700

CONFIG = """\
node: {{name: demo, workers: 2, runtime_dir: run, state_dir: state}}
clusters:
  embedded:
    bootstrap: ["{broker}"]
    credentials: [{{mechanism: NONE}}]
listeners:
  public:
    cluster: embedded
    bind: 127.0.0.1:{public}
    advertise: {{ports: {{host: 127.0.0.1, brokers: 1-1, first: {public_broker}}}}}
    authenticate: [OAUTHBEARER, PLAIN]
  trial:                                    # the same policy, observing only
    cluster: embedded
    bind: 127.0.0.1:{trial}
    advertise: {{ports: {{host: 127.0.0.1, brokers: 1-1, first: {trial_broker}}}}}
    authenticate: [OAUTHBEARER, PLAIN]
    mode: observe
identity:
  issuers:
    dev: {{issuer: "{issuer}", audience: [kproxy], algorithms: [RS256], max_lifetime: 15m, groups: groups,
          attest: {{launcher: actor, run: run_id, model: model_uri, commit: sha}}}}
keys: {{k1: {{file: mask.key}}}}
policy: {{path: policy, mode: enforce}}
audit: {{durability: request, when_full: refuse, fields: true, flow_interval: 1s}}
admin:
  bind: 127.0.0.1:{admin}
  authenticate: [oidc]
  roles: {{approver: {{groups: [ml-risk]}}, auditor: {{groups: [audit]}}}}
metrics: {{bind: 127.0.0.1:{metrics}}}
"""


LISTENED = range(20000, 32000)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now, below those that the kernel gives to connections: one of these could be somebody's by
    the time the node listens. Raises KproxyError."""
    found: list[int] = []
    for port in random.SystemRandom().sample(LISTENED, 500):
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise KproxyError(f"no {count} ports between {LISTENED[0]} and {LISTENED[-1]} of 127.0.0.1 are free")


class Node:
    """``kproxy run`` with two workers; a context manager. ``public`` and ``trial`` are its listeners' addresses."""

    def __init__(self, folder: Path, broker: tuple[str, int], issuer: str) -> None:
        self.folder = folder
        names = ("public", "public_broker", "trial", "trial_broker", "admin", "metrics")
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.public = f"127.0.0.1:{ports['public']}"
        self.trial = f"127.0.0.1:{ports['trial']}"
        self.admin_url = f"http://127.0.0.1:{ports['admin']}"
        self.metrics_url = f"http://127.0.0.1:{ports['metrics']}"
        self.config = folder / "kproxy.yaml"
        self._child: subprocess.Popen[bytes] | None = None
        (folder / "policy").mkdir()
        policy = importlib.resources.files("kproxy.demo").joinpath("policy.yaml").read_bytes()
        (folder / "policy" / "policy.yaml").write_bytes(policy)
        write_secret(folder / "mask.key", secrets.token_bytes(32))
        self.config.write_text(CONFIG.format(broker=f"{broker[0]}:{broker[1]}", issuer=issuer, **ports))

    def __enter__(self) -> Node:
        with open(self.folder / "kproxy.log", "ab") as log:
            self._child = subprocess.Popen([sys.executable, "-m", "kproxy", "run", "--config", str(self.config)],
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                                           start_new_session=True)
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """Drains the node and gives its exit code; kills what has not ended in time."""
        child = self._child
        if child is None:
            return 0
        if child.poll() is None:
            child.terminate()
        try:
            code = child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            code = 1
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        self._child = None
        return code

    def log_tail(self) -> str:
        """The last lines of the node's log, cut to a readable length, for a failure."""
        log = self.folder / "kproxy.log"
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
        return "\n".join(line[:LOG_LINE] + (" …" if len(line) > LOG_LINE else "") for line in lines)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an address on the metrics port; status 0 where nobody answers."""
        try:
            with urllib.request.urlopen(self.metrics_url + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode("utf-8", "replace")
        except OSError:
            return 0, ""

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self.get("/readyz")[0] != 200:
            if self._child is not None and self._child.poll() is not None:
                raise KproxyError(f"kproxy run ended by itself:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise KproxyError(f"kproxy was not ready after {START_SECONDS:.0f} s:\n{self.log_tail()}")
            time.sleep(0.05)

    def command(self, *words: str, token_file: Path | None = None) -> tuple[int, str, str]:
        """Runs a kproxy command against this node: exit code, output, errors."""
        more = [] if token_file is None else ["--token-file", str(token_file)]
        done = subprocess.run([sys.executable, "-m", "kproxy", *words, *more], cwd=self.folder, capture_output=True,
                              text=True, timeout=COMMAND_SECONDS, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout, done.stderr

    def ask(self, *words: str, token_file: Path | None = None) -> Any:
        """The JSON a command answers. Raises KproxyError where it refuses."""
        code, output, errors = self.command(*words, "--json", token_file=token_file)
        if code != 0:
            raise KproxyError(f"kproxy {' '.join(words)}: {errors.strip() or output.strip()}")
        return json.loads(output)
