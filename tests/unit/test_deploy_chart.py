"""The Helm chart: what it demands, what it renders (where helm is installed), and the script that copies secrets."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kproxy.config import parse_config
from kproxy.policy import load

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/kproxy"
HELM = shutil.which("helm")
needs_helm = pytest.mark.skipif(HELM is None, reason="helm is not installed; the schema is held all the same")

#: The least that an operator sets, as docs/deployment.md shows it.
LEAST: dict[str, Any] = next(
    values for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/deployment.md").read_text(), re.DOTALL)
    if "config" in (values := yaml.safe_load(block)))


def render(folder: Path, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    assert HELM is not None
    file = folder / "values.yaml"
    file.write_text(json.dumps(values))
    return subprocess.run([HELM, "template", "edge", str(CHART), "--kube-version", "1.31", "--values", str(file)],
                          capture_output=True, text=True, timeout=60, check=False)


def documents(folder: Path, values: dict[str, Any]) -> dict[tuple[str, str], Any]:
    done = render(folder, values)
    assert done.returncode == 0, done.stderr
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(done.stdout) if one}


@needs_helm
def test_default_values_render_nothing_and_say_what_to_set(tmp_path: Path) -> None:
    done = render(tmp_path, {})
    assert (done.returncode, done.stdout) == (1, "")
    for wanted in ("config.clusters.prod.bootstrap:", "config.identity.issuers.corp.issuer:",
                   "config.listeners.public.advertise.ports.host:", "tls.secretName:"):
        assert f"  - {wanted}" in done.stderr


@needs_helm
@pytest.mark.parametrize(("change", "wanted"), [
    ({"tls": {"secretName": ""}}, "tls.secretName: a secret with tls.crt and tls.key"),
    ({"tls": {"secretName": "s", "certManager": {"issuer": "i"}}}, "not both"),
    ({"service": {"ports": [{"name": "a", "port": 9093}]}}, "service.ports: the port 9092"),
    ({"service": {"brokerPorts": {"first": 9100, "count": 2}}}, "service.brokerPorts: first and count that cover 9100"),
    ({"secrets": [{"name": "tls", "secretName": "s"}]}, "secrets: another name than tls"),
])
def test_what_cannot_run_is_not_rendered(tmp_path: Path, change: dict[str, Any], wanted: str) -> None:
    done = render(tmp_path, LEAST | change)
    assert done.returncode == 1
    assert wanted in done.stderr


@needs_helm
@pytest.mark.parametrize("tls", [{"secretName": "kproxy-tls"}, {"certManager": {"issuer": "letsencrypt"}}])
def test_the_least_values_give_a_node_that_kproxy_can_run(tmp_path: Path, tls: dict[str, Any]) -> None:
    found = documents(tmp_path, LEAST | {"tls": tls})
    source = found["ConfigMap", "edge-kproxy"]["data"]["kproxy.yaml"].encode()
    config = parse_config(source, "kproxy.yaml", tmp_path, {}, certificates=False)
    listener = config.listeners["public"]
    assert listener.tls is not None
    own = "/etc/kproxy/secrets/tls"
    assert (listener.tls.cert, listener.tls.key) == (f"{own}/tls.crt", f"{own}/tls.key")
    policies = found["ConfigMap", "edge-kproxy-policy"]["data"]
    assert [role.name for role in load({name: text.encode() for name, text in policies.items()}).roles] == ["analyst"]
    pod = found["StatefulSet", "edge-kproxy"]["spec"]["template"]["spec"]
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    assert secrets == {"secret-tls": tls.get("secretName", "edge-kproxy-tls")}
    assert [one["name"] for one in pod["containers"]] == ["kproxy", "secrets"]
    for container in (*pod["initContainers"], pod["containers"][1]):
        assert {"name": "secret-tls", "mountPath": "/mounted/tls", "readOnly": True} in container["volumeMounts"]
    open_ports = {port["port"] for port in found["Service", "edge-kproxy"]["spec"]["ports"]}
    assert open_ports == {9092, 9100, 9101, 9102}


@needs_helm
def test_a_certificate_is_asked_for_the_names_that_clients_use(tmp_path: Path) -> None:
    manager = {"issuer": "letsencrypt", "dnsNames": ["edge.example.com"]}
    found = documents(tmp_path, LEAST | {"tls": {"certManager": manager}})
    wanted = found["Certificate", "edge-kproxy"]["spec"]
    assert (wanted["secretName"], wanted["dnsNames"], wanted["issuerRef"]) == (
        "edge-kproxy-tls", ["edge.example.com", "kproxy.example.com"], {"name": "letsencrypt", "kind": "ClusterIssuer"})


@needs_helm
def test_a_listener_that_says_plaintext_needs_no_certificate(tmp_path: Path) -> None:
    values = json.loads(json.dumps(LEAST | {"tls": {}}))
    values["config"]["listeners"]["public"]["allow_plaintext"] = True
    found = documents(tmp_path, values)
    config = yaml.safe_load(found["ConfigMap", "edge-kproxy"]["data"]["kproxy.yaml"])
    assert "tls" not in config["listeners"]["public"]
    assert len(found["StatefulSet", "edge-kproxy"]["spec"]["template"]["spec"]["containers"]) == 1


def test_the_least_values_are_what_the_schema_says() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(LEAST) <= set(values)
    jsonschema.validate(values | LEAST, schema)
    for wrong in ({"tls": {"secret": "s"}}, {"tls": {"certManager": {"issuerKind": "Other"}}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(values | LEAST | wrong, schema)


def copy_secrets(folder: Path) -> subprocess.CompletedProcess[str]:
    """The chart's script, over folders of the test's."""
    names = (CHART / "templates/_names.tpl").read_text()
    found = re.search(r'define "kproxy.copySecrets" -\}\}\n(.*?)\{\{- end', names, re.DOTALL)
    assert found
    script = "umask 077\n" + found[1].replace("/mounted", f"{folder}/mounted").replace("/own", f"{folder}/own")
    return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=30, check=False)


def test_secrets_are_copied_for_one_user_and_again_when_they_change(tmp_path: Path) -> None:
    mounted, own = tmp_path / "mounted/tls", tmp_path / "own/secrets/tls"
    for version in ("one", "two"):
        (mounted / f"..{version}").mkdir(parents=True)
        (mounted / f"..{version}/tls.key").write_text(version)
    (mounted / "tls.key").symlink_to("..one/tls.key")
    assert (copy_secrets(tmp_path).returncode, (own / "tls.key").read_text()) == (0, "one")
    assert ((own / "tls.key").stat().st_mode & 0o777, own.stat().st_mode & 0o777) == (0o600, 0o700)
    before = (own / "tls.key").stat().st_ino
    assert (copy_secrets(tmp_path).returncode, (own / "tls.key").stat().st_ino) == (0, before)
    (mounted / "tls.key").unlink()
    (mounted / "tls.key").symlink_to("..two/tls.key")
    assert (copy_secrets(tmp_path).returncode, (own / "tls.key").read_text()) == (0, "two")
    assert sorted(entry.name for entry in own.iterdir()) == ["tls.key"]


def test_no_secrets_are_nothing_to_copy(tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    assert (copy_secrets(tmp_path).returncode, (tmp_path / "own").exists()) == (0, False)
