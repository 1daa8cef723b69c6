"""Three real Kafkas that are one cluster: each broker and controller at an address of its own, so that it can be told
wherever it turns up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.support import children
from tests.support.kafka_broker import KafkaBroker, Seat
from tests.support.ports import free_ports, wait_for

NODES = (1, 2, 3)
#: What all their addresses begin with, and nothing else that a test starts.
NETWORK = "127.9.8."
#: A dead broker is noticed, and its partitions have other leaders, in about three seconds instead of ten.
SETTINGS = {
    "broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500",
    "controller.quorum.election.timeout.ms": "1000", "controller.quorum.fetch.timeout.ms": "2000",
    "default.replication.factor": "3", "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3", "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2", "auto.leader.rebalance.enable": "false",
    "controlled.shutdown.enable": "true", "replica.lag.time.max.ms": "5000",
}


class KafkaCluster(children.Served):
    """Plaintext on the ``direct`` way of each broker."""

    def __init__(self) -> None:
        controllers = {node: (f"{NETWORK}{node}", port) for node, port in zip(NODES, free_ports(3), strict=True)}
        self.brokers = {node: KafkaBroker(settings=SETTINGS, seat=Seat(node, controllers[node][0], controllers))
                        for node in NODES}

    def start(self) -> KafkaCluster:
        with ThreadPoolExecutor(len(NODES)) as pool:
            list(pool.map(KafkaBroker.format, self.brokers.values()))
        # Not by the threads of the pool: a child ends with the thread that started it.
        for broker in self.brokers.values():
            broker.launch()
        for broker in self.brokers.values():
            broker.wait_until_up()
        return self

    def close(self) -> None:
        for broker in self.brokers.values():
            broker.close()

    def addresses(self) -> list[tuple[str, int]]:
        return [broker.address() for broker in self.brokers.values()]

    def bootstrap(self) -> str:
        return ",".join(broker.bootstrap() for broker in self.brokers.values())

    def run_tool(self, tool: str, *arguments: str) -> str:
        return self.brokers[1].run_tool(tool, "--bootstrap-server", self.bootstrap(), *arguments)

    def elect_preferred(self) -> None:
        """Every partition goes back to the leader that it was made with."""
        self.run_tool("org.apache.kafka.tools.LeaderElectionCommand", "--election-type", "preferred",
                      "--all-topic-partitions")

    def wait_until_whole(self, seconds: float = 60) -> None:
        """Until every replica of every partition is in sync."""
        wait_for("all replicas to be in sync", lambda: not self.run_tool(
            "org.apache.kafka.tools.TopicCommand", "--describe", "--under-replicated-partitions").strip(), seconds, 0.5)
