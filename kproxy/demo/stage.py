"""Who is on stage: the people and jobs of the demo with their tokens, the broker, the issuer and the node."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kproxy.demo.clients import common
from kproxy.demo.embedded import EmbeddedBroker
from kproxy.demo.issuer import DevelopmentIssuer, IssuerServer, write_secret
from kproxy.demo.node import Node

TOPICS = ["features.fraud", "scores.fraud", "orders", "prompts.support"]
OLD_MODEL, NEW_MODEL = "models:/fraud/7", "models:/fraud/8"
#: Who there is: groups, and what their tokens attest besides.
PEOPLE: dict[str, dict[str, Any]] = {
    "shop": {"groups": ["shop"]},
    "fraud-job": {"groups": ["fraud-scoring"], "actor": "maya@example.com", "run_id": "run-2041",
                  "model_uri": OLD_MODEL, "sha": "9f2c1ab"},
    "fraud-job-next": {"groups": ["fraud-scoring"], "actor": "maya@example.com", "run_id": "run-2042",
                       "model_uri": NEW_MODEL, "sha": "c04d77e"},
    "ana": {"groups": ["analytics"]},
    "olga": {"groups": ["privacy"]},
    "assistant": {"groups": ["assistants"]},
    "maya@example.com": {"groups": ["ml-risk"]},
    "rita": {"groups": ["ml-risk"]},
    "theo": {"groups": ["audit"]},
}
ORDERS = [
    {"id": 1, "customer": {"name": "Ada", "email": "ada@example.com"}, "note": "card 4111111111111111, ring twice"},
    {"id": 2, "customer": {"name": "Ben", "email": "ben@example.org"}, "note": "leave at the door"},
]
FEATURES = [{"order": number, "amount": 10 * number, "country": "NL"} for number in range(1, 6)]


class Stage:
    """Everything that runs. ``token_files`` holds each person's token where commands read it from."""

    def __init__(self, folder: Path, broker: EmbeddedBroker, issuer: DevelopmentIssuer, node: Node) -> None:
        self.broker = broker
        self.issuer = issuer
        self.node = node
        self.folder = folder
        self._tokens = {name: issuer.issue(name, "kproxy", claims, lifetime=600) for name, claims in PEOPLE.items()}
        for name, token in self._tokens.items():
            write_secret(folder / f"{name}.token", token.encode())

    def settings(self, who: str, declared: dict[str, str] | None = None, *, trial: bool = False) -> dict[str, Any]:
        """Client settings of one of PEOPLE, towards the public listener or the observing one."""
        return common(self.node.trial if trial else self.node.public, self._tokens[who], who, declared)

    def token_file(self, who: str) -> Path:
        return self.folder / f"{who}.token"

    def audit(self, *question: str) -> list[dict[str, Any]]:
        """What ``kproxy audit query`` answers Theo, who has the node's role ``auditor``."""
        return list(self.node.ask("audit", "query", *question, token_file=self.token_file("theo")))

    def direct(self) -> dict[str, Any]:
        """Settings of a client that goes to the broker itself, to see what really arrived there."""
        host, port = self.broker.bootstrap
        return {"bootstrap.servers": f"{host}:{port}", "client.id": "witness"}


def build_stage(folder: Path, running: ExitStack) -> Stage:
    """Starts broker, issuer and node; ``running`` ends them. Raises KproxyError."""
    broker = running.enter_context(EmbeddedBroker(TOPICS))
    issuer = running.enter_context(IssuerServer())
    node = running.enter_context(Node(folder, broker.bootstrap, issuer.url))
    return Stage(folder, broker, issuer.issuer, node)
