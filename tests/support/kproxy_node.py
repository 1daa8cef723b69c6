"""A whole kproxy node as an operator runs it: a folder with configuration and policy, and ``kproxy run`` as a child."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support import children
from tests.support.ports import free_port_run, free_ports, wait_for

START_SECONDS = 30
#: Broker ids the listeners stand for; the rig's brokers are number 1.
BROKERS = (1, 2)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Brokers behind kproxy, and the account it shows them (none: PLAINTEXT without SASL). ``tls`` goes into the
    configuration as it is."""

    bootstrap: tuple[str, int] | list[tuple[str, int]]
    username: str = ""
    password: str = ""
    mechanism: str = "PLAIN"
    tls: Mapping[str, str] | None = None
    proxy_protocol: str = ""
    registry: str = ""
    """URL of a schema registry"""


@dataclass(frozen=True, slots=True)
class Listener:
    """``advertise_host`` may be another loopback address, so that a relay can stand at the advertised ports.
    ``trusted``: networks whose PROXY headers are believed, and needed. ``names``: the pattern of the brokers' names and
    that of bootstrap, where they share a port."""

    cluster: str
    advertise_host: str = "127.0.0.1"
    mode: str = "enforce"
    authenticate: tuple[str, ...] = ("OAUTHBEARER", "PLAIN")
    tls: Mapping[str, str] | None = None
    trusted: tuple[str, ...] = ()
    names: tuple[str, str] | None = None


class KproxyNode(children.Served):
    """``issuer`` is the URL of a token issuer (alias ``dev``). ``more`` is merged into the configuration's top level.
    ``prefix`` goes before the command line (``taskset -c 1``); ``program`` is the module that is run."""

    def __init__(self, *, clusters: Mapping[str, Cluster], listeners: Mapping[str, Listener], issuer: str, policy: str,
                 workers: int = 1, more: Mapping[str, Any] | None = None, prefix: Sequence[str] = (),
                 program: str = "kproxy", clock_skew: str = "30s", brokers: tuple[int, int] = BROKERS) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kproxy-node-"))
        self.log = self.folder / "kproxy.log"
        self.policy = self.folder / "policy" / "policy.yaml"
        self.policy.parent.mkdir()
        self.policy.write_text(policy)
        self._prefix = list(prefix)
        self._program = program
        self._clock_skew = clock_skew
        self._admin, self._metrics = free_ports(2)
        self._brokers = brokers
        span = brokers[1] - brokers[0] + 1
        first = free_port_run((1 + span) * len(listeners))
        self.ports = {name: first + number * (1 + span) for number, name in enumerate(listeners)}
        self._listeners = dict(listeners)
        self._child: subprocess.Popen[bytes] | None = None
        self.config = self.folder / "kproxy.yaml"
        self._write_secret("mask.key", b"a key for masking in tests only, 32+")
        self.config.write_text(yaml.safe_dump(self._content(clusters, issuer, workers, dict(more or {}))))

    def bootstrap(self, listener: str) -> str:
        """Where clients begin, on the address kproxy itself listens on."""
        return f"127.0.0.1:{self.ports[listener]}"

    def ways(self, listener: str) -> list[tuple[tuple[str, int], tuple[str, int]]]:
        """For a relay before kproxy: from each address this listener advertises to where kproxy listens."""
        host = self._listeners[listener].advertise_host
        first, brokers = self.ports[listener], self._brokers[1] - self._brokers[0] + 1
        return [((host, port), ("127.0.0.1", port)) for port in range(first, first + 1 + brokers)]

    def command(self) -> list[str]:
        return [*self._prefix, sys.executable, "-m", self._program, "run", "--config", str(self.config)]

    def start(self) -> KproxyNode:
        self._child = children.start(self.command(), self.log, cwd=self.folder)
        wait_for("kproxy to be ready", self._is_ready, START_SECONDS)
        return self

    def stop(self) -> int:
        """SIGTERM and the drain; the exit code."""
        if self._child is None:
            return 0
        code = children.stop(self._child, 20)
        self._child = None
        return code

    def kill_supervisor(self) -> None:
        """Its children end by themselves; whoever starts the node again need not wait for that."""
        assert self._child is not None
        self._child.kill()
        self._child.wait()
        self._child = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def supervisor(self) -> int:
        assert self._child is not None
        return self._child.pid

    def workers(self) -> list[int]:
        """Process ids of the workers, by number."""
        found = {}
        for pid in children.children_of(self.supervisor):
            words = children.command_line(pid)
            if "--worker" in words:
                found[int(words[words.index("--worker") + 1])] = pid
        return [found[number] for number in sorted(found)]

    def control(self) -> int:
        """Process id of the control process; 0 while there is none."""
        pids = [pid for pid in children.children_of(self.supervisor) if "kproxy.control" in children.command_line(pid)]
        return pids[0] if pids else 0

    def reload(self, policy: str) -> None:
        """Puts a policy in place as an editor would, and asks for it."""
        fresh = self.policy.with_suffix(".new")
        fresh.write_text(policy)
        fresh.rename(self.policy)
        os.kill(self.supervisor, signal.SIGHUP)

    @property
    def metrics_address(self) -> str:
        return f"127.0.0.1:{self._metrics}"

    def get(self, path: str) -> tuple[int, str]:
        """Of the metrics port; status 0 where nobody answers."""
        return _request("GET", self._metrics, path)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(f'{key}="{want}"' in sample for key, want in labels.items()):
                total += float(value)
        return total

    def admin(self, method: str, path: str, token: str = "", body: Any = None) -> tuple[int, Any]:
        """Of the admin API, as whoever the token says: status and JSON."""
        status, text = _request(method, self._admin, path, token, body)
        return status, json.loads(text) if text else None

    def audit(self) -> list[dict[str, Any]]:
        """Every event shipped so far."""
        file = self.audit_file
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def audit_file(self) -> Path:
        return self.folder / "state" / "audit" / "audit.jsonl"

    def log_tail(self) -> str:
        return children.tail(self.log)

    def _is_ready(self) -> bool:
        assert self._child is not None
        if self._child.poll() is not None:
            raise AssertionError(f"kproxy ended with {self._child.returncode}:\n{self.log_tail()}")
        return self.get("/readyz")[0] == 200

    def _write_secret(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    def _content(self, clusters: Mapping[str, Cluster], issuer: str, workers: int, more: dict[str, Any]) -> Any:
        return {
            "node": {"name": "test", "workers": workers, "runtime_dir": "run", "state_dir": "state"},
            "clusters": {name: self._cluster(name, cluster) for name, cluster in clusters.items()},
            "listeners": {name: self._listener(name, listener) for name, listener in self._listeners.items()},
            "identity": {"issuers": {"dev": {
                "issuer": issuer, "audience": ["kproxy"], "algorithms": ["ES256", "RS256"], "max_lifetime": "2h",
                "clock_skew": self._clock_skew,
                "groups": "groups", "attributes": {"team": "team"},
                "attest": {"launcher": "actor", "run": "run_id", "model": "model_uri", "commit": "sha"}}}},
            "keys": {"k1": {"file": "mask.key"}},
            "policy": {"path": "policy"},
            "admin": {"bind": f"127.0.0.1:{self._admin}", "authenticate": ["oidc"],
                      "roles": {"approver": {"groups": ["approvers"]}, "operator": {"groups": ["operators"]}}},
            "metrics": {"bind": f"127.0.0.1:{self._metrics}"},
            "audit": {"durability": "request", "flow_interval": "500ms"},
            **more,
        }

    def _cluster(self, name: str, cluster: Cluster) -> dict[str, Any]:
        given = cluster.bootstrap
        bootstrap = [f"{host}:{port}" for host, port in (given if isinstance(given, list) else [given])]
        credential: dict[str, Any] = {"mechanism": "NONE"}
        if cluster.username:
            secret = self._write_secret(f"{name}.password", cluster.password.encode())
            credential = {"mechanism": cluster.mechanism, "username": cluster.username,
                          "password": {"file": str(secret)}}
        tls = {"tls": dict(cluster.tls)} if cluster.tls is not None else {}
        header: dict[str, Any] = {"proxy_protocol": cluster.proxy_protocol} if cluster.proxy_protocol else {}
        if cluster.registry:
            header["schema_registry"] = {"url": cluster.registry, "timeout": "20s"}
        return {"bootstrap": bootstrap, "credentials": [credential], **tls, **header}

    def _listener(self, name: str, listener: Listener) -> dict[str, Any]:
        first = self.ports[name]
        ports = {"host": listener.advertise_host, "brokers": "{}-{}".format(*self._brokers), "first": first + 1}
        advertise: dict[str, Any] = {"ports": ports}
        if listener.names is not None:
            advertise = {"sni": {"pattern": listener.names[0], "bootstrap": listener.names[1]}}
        return {"cluster": listener.cluster, "bind": f"127.0.0.1:{first}", "advertise": advertise,
                "authenticate": list(listener.authenticate), "mode": listener.mode,
                **({"tls": dict(listener.tls)} if listener.tls is not None else {}),
                **({"proxy_protocol": {"trusted": list(listener.trusted)}} if listener.trusted else {})}


def _request(method: str, port: int, path: str, token: str = "", body: Any = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    content = None
    if body is not None:
        content = json.dumps(body)
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()
