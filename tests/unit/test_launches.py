"""What the supervisor hands its children: the configuration, a worker's part of the connections, listening sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from kproxy.config import unpack_config
from kproxy.dataplane.launches import Launch, Launches
from kproxy.dataplane.listener import shut
from kproxy.errors import KproxyError
from kproxy.model.settings import Advertise, Config, Limits, Listener, Node
from tests.support.ports import free_port_run

WORKERS = 3


@pytest.fixture
def config(tmp_path: Path) -> Config:
    port = free_port_run(3)
    public = Listener("public", "prod", "127.0.0.1", port, Advertise("localhost", 1, 2, port + 1), ("none",))
    return Config(file="kproxy.yaml", node=Node(runtime_dir=str(tmp_path / "run"), state_dir=str(tmp_path / "state")),
                  clusters={}, listeners={"public": public}, issuers={}, policy_path="", mode="enforce",
                  limits=Limits(max_connections=1000))


def launch(config: Config, reread: Callable[[], Config] | None = None) -> Launches:
    return Launches(config, ("python", "-m"), "kproxy.dataplane", WORKERS, reread or (lambda: config))


def handed(one: Launch) -> Config:
    return unpack_config(one.stdin)


def test_the_connections_of_the_node_are_parted_among_its_workers(config: Config) -> None:
    launches = launch(config)
    try:
        workers = [handed(launches.worker(slot, slot)) for slot in range(WORKERS)]
        assert [one.limits.max_connections for one in workers] == [334, 334, 334], "rounded up"
        whole = [msgspec.structs.replace(one, limits=config.limits) for one in workers]
        assert [*whole, handed(launches.control())] == [config] * 4
    finally:
        launches.close()


def test_each_worker_has_sockets_of_its_own_and_its_successor_the_same(config: Config) -> None:
    launches = launch(config)
    try:
        sockets = [launches.worker(slot, slot).descriptors for slot in range(WORKERS)]
        assert len({one for mine in sockets for one in mine}) == 9
        assert launches.worker(1, 4).descriptors == sockets[1]
    finally:
        launches.close()


def test_a_port_on_which_another_node_listens_is_not_shared_with_it(config: Config) -> None:
    other = launch(config)
    try:
        taken = socket.socket(fileno=os.dup(other.worker(0, 0).descriptors[2]))
        with taken:
            taken.listen()
            host, port = taken.getsockname()
            with pytest.raises(KproxyError, match=f"^cannot listen on {host}:{port}: Address already in use$"):
                launch(config)
            shut(taken)
        launch(config).close()
    finally:
        other.close()


def test_files_are_taken_and_given_back(config: Config) -> None:
    files = msgspec.structs.replace(config, limits=Limits(max_connections=9), node=Node(name="other"))
    launches = launch(config, lambda: files)
    try:
        launches.take_files()
        assert handed(launches.control()).limits.max_connections == 9
        assert handed(launches.worker(0, 3)).limits.max_connections == 3
        assert handed(launches.control()).node == config.node, "directories and the number of workers stay"
        launches.go_back()
        assert handed(launches.control()) == config
    finally:
        launches.close()
