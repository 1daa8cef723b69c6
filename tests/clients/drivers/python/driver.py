"""confluent-kafka of another release as a child process: one command per line of JSON on standard input, one answer per
line on standard output, as tests/java/Driver.java has it. It is the same code that drives today's release in the tests'
own process; which release it is, PYTHONPATH says."""

from __future__ import annotations

import json
import sys
from typing import Any

import confluent_kafka

from tests.support.clients import ClientError, Login, Record, open_client
from tests.support.driver_handle import to_bytes, to_text
from tests.support.transactions import open_transactions


class Driver:
    def __init__(self) -> None:
        self._client = open_client("confluent", None)
        self._opened: dict[str, Any] = {}

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """What the command gives. Raises ClientError."""
        do, opened = command["do"], self._opened.get(command["handle"])
        if do == "version":
            return {"version": f"{confluent_kafka.__version__} (librdkafka {confluent_kafka.libversion()[0]})"}
        if do in ("producer", "consumer", "admin"):
            self._opened[command["handle"]] = self._open(do, Login(**command["login"]), command)
            return {}
        if do == "close":
            self._opened.pop(command["handle"]).close()
            return {}
        assert opened is not None, f"{command['handle']} is not open"
        work = getattr(self, f"_{do}")
        return dict(work(opened, command) or {})

    def _open(self, kind: str, login: Login, command: dict[str, Any]) -> Any:
        if kind == "admin":
            return self._client.admin(login)
        if kind == "consumer":
            return self._client.consumer(login, command["group"], isolation=command["isolation"],
                                         group_protocol=command["protocol"])
        if command.get("transactional"):
            return open_transactions("confluent", None, login, command["transactional"])
        return self._client.producer(login, codec=command["codec"], acks=command["acks"],
                                     idempotent=command["idempotent"])

    def _send(self, opened: Any, command: dict[str, Any]) -> dict[str, Any]:
        records = [
            Record(to_bytes(one["value"]), to_bytes(one["key"]),
                   tuple((name, to_bytes(value)) for name, value in one["headers"])) for one in command["records"]]
        producer = getattr(opened, "writer", opened)
        return {"results": [
            {"error": {"code": one.code, "message": one.message}} if one.code
            else {"partition": one.partition, "offset": one.offset}
            for one in producer.send(command["topic"], records, command["partition"])]}

    def _transaction(self, opened: Any, command: dict[str, Any]) -> None:
        {"begin": opened.begin, "commit": opened.commit, "abort": opened.abort}[command["step"]]()

    def _subscribe(self, opened: Any, command: dict[str, Any]) -> None:
        opened.subscribe(command["topic"])

    def _assign(self, opened: Any, command: dict[str, Any]) -> None:
        opened.assign(command["topic"], command["partition"], command["offset"])

    def _poll(self, opened: Any, command: dict[str, Any]) -> dict[str, Any]:
        return {"records": [
            {"topic": one.topic, "partition": one.partition, "offset": one.offset, "key": to_text(one.key),
             "value": to_text(one.value), "headers": [[name, to_text(value)] for name, value in one.headers]}
            for one in opened.poll(command["count"], command["seconds"])]}

    def _commit(self, opened: Any, _command: dict[str, Any]) -> None:
        opened.commit()

    def _create_topic(self, opened: Any, command: dict[str, Any]) -> None:
        opened.create_topic(command["topic"], command["partitions"])

    def _delete_topic(self, opened: Any, command: dict[str, Any]) -> None:
        opened.delete_topic(command["topic"])

    def _list_topics(self, opened: Any, _command: dict[str, Any]) -> dict[str, Any]:
        return {"topics": sorted(opened.list_topics())}


def main() -> None:
    driver = Driver()
    for line in sys.stdin:
        try:
            answer = {"ok": True, **driver.run(json.loads(line))}
        except ClientError as problem:
            answer = {"ok": False, "error": {"code": problem.code, "class": "ClientError", "message": problem.message}}
        except Exception as problem:
            answer = {"ok": False, "error": {"code": -1, "class": type(problem).__name__, "message": str(problem)}}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
