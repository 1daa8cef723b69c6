"""What deploy/ ships, held against kproxy itself: a file that no kproxy would take helps nobody."""

from __future__ import annotations

import configparser
import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kproxy.config import parse_config
from kproxy.errors import EXIT_CONFIG
from kproxy.model.settings import Config
from kproxy.policy import load

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def read(path: str) -> Any:
    return yaml.safe_load((DEPLOY / path).read_text())


@pytest.fixture
def compose_folder(tmp_path: Path) -> Path:
    """The folder that the container sees as /etc/kproxy."""
    shutil.copy(DEPLOY / "compose/kproxy.yaml", tmp_path)
    shutil.copytree(ROOT / "examples/quickstart/policy", tmp_path / "policy")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/issuer.jwks.json").write_text('{"keys": []}')
    key = tmp_path / "secrets/mask.key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    return tmp_path


def test_compose_runs_a_configuration_and_a_policy_that_kproxy_takes(compose_folder: Path) -> None:
    source = (compose_folder / "kproxy.yaml").read_bytes()
    config: Config = parse_config(source, "kproxy.yaml", compose_folder, {})
    policy = load({str(file): file.read_bytes() for file in (compose_folder / "policy").iterdir()})
    assert (config.listeners["public"].port, config.metrics) == (19092, ("0.0.0.0", 9465))
    assert "analyst" in {role.name for role in policy.roles}


def test_compose_publishes_every_port_clients_are_led_to(compose_folder: Path) -> None:
    config = parse_config((compose_folder / "kproxy.yaml").read_bytes(), "kproxy.yaml", compose_folder, {})
    published: set[int] = set()
    for port in read("compose/compose.yaml")["services"]["kproxy"]["ports"]:
        first, _, last = port.split(":")[1].partition("-")
        published |= set(range(int(first), int(last or first) + 1))
    advertise = config.listeners["public"].advertise
    brokers = range(advertise.first_port, advertise.first_port + advertise.last_broker - advertise.first_broker + 1)
    assert published == {config.listeners["public"].port, config.metrics[1], *brokers}


def test_compose_mounts_files_that_are_there() -> None:
    made_by_the_operator = {"./secrets", "./state"}
    sources = {volume.split(":")[0] for service in read("compose/compose.yaml")["services"].values()
               for volume in service.get("volumes", [])}
    assert {source for source in sources - made_by_the_operator
            if not (DEPLOY / "compose" / source).resolve().exists()} == set()


def test_the_unit_gives_kproxy_its_folders_and_the_time_to_drain() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "systemd/kproxy.service")
    service = unit["Service"]
    assert service["ExecStart"] == "/opt/kproxy/bin/kproxy run --config /etc/kproxy/kproxy.yaml"
    assert [service[key] for key in ("RuntimeDirectory", "StateDirectory", "KillMode")] == ["kproxy", "kproxy", "mixed"]
    assert service["RestartPreventExitStatus"] == str(EXIT_CONFIG)
    # systemd holds that against the main process only: a check that fails before it would be tried again for ever.
    assert "ExecStartPre" not in service
    assert int(service["TimeoutStopSec"]) > 30 + 20


def test_the_charts_values_are_what_its_schema_says() -> None:
    schema = json.loads((DEPLOY / "helm/kproxy/values.schema.json").read_text())
    values = read("helm/kproxy/values.yaml")
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(values, schema)
    for wrong in ({"replica": 2}, {"service": {**values["service"], "type": "Other"}},
                  {"config": {**values["config"], "node": {}}}, {"replicas": 0}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**values, **wrong}, schema)
