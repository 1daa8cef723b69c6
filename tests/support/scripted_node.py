"""A whole node before a scripted broker, without Java: three kinds of process, started in a second."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support import frames
from tests.support.async_client import RawClient
from tests.support.kproxy_node import Cluster, KproxyNode, Listener
from tests.support.scripted_broker import ScriptedBroker
from tests.support.tokens import claims, header, public_jwk, raw, rs, rsa_key

ISSUER = "https://idp.example.com"
POLICY = """
roles:
  workers:
    members: '"dev:w1" == principal.name'
    allow: [{operations: [write], topics: [orders]}]
"""


def fresh_token(**changes: Any) -> str:
    now = int(time.time())
    return raw(header(), claims(**{"aud": "kproxy", "exp": now + 300, "iat": now, "nbf": now, **changes}), rs())


def produced(version: int, request: dict) -> dict:
    return {"responses": [{"name": topic["name"], "partition_responses": [{"index": 0, "base_offset": 7}]}
                          for topic in request["topic_data"]]}


@asynccontextmanager
async def running(tmp_path: Path, workers: int = 2, answers=None, **more: Any):
    """``more`` goes into the configuration."""
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [public_jwk(rsa_key(), kid="k1", use="sig", alg="RS256")]}))
    identity = {"issuers": {"dev": {"issuer": ISSUER, "audience": ["kproxy"], "jwks_file": str(jwks)}}}
    async with ScriptedBroker(users={"svc": "pw-1"}, answers=answers or {0: produced}) as broker:
        node = KproxyNode(clusters={"prod": Cluster(("127.0.0.1", broker.port), "svc", "pw-1")},
                          listeners={"public": Listener("prod")}, issuer=ISSUER, policy=POLICY, workers=workers,
                          more={"identity": identity, **more})
        try:
            await asyncio.to_thread(node.start)
            yield node, broker
        except BaseException:
            print(node.log_tail())
            raise
        finally:
            await asyncio.to_thread(node.close)


async def produce(client: RawClient, topic: str = "orders") -> int:
    answer = await client.ask(0, 9, {"acks": 1, "timeout_ms": 1000, "topic_data": [
        {"name": topic, "partition_data": [{"index": 0, "records": frames.batch([b"a"])}]}]})
    return answer["responses"][0]["partition_responses"][0]["error_code"]


async def log_in(node: KproxyNode) -> RawClient:
    client = await RawClient.connect(node.ports["public"])
    assert (await client.log_in(fresh_token()))["error_code"] == 0
    return client
