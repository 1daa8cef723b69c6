"""The story the demo tells: each step does something real and holds what was seen against what must be seen."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from kproxy.demo.clients import Writer, count_held, login_error, read, topics_seen
from kproxy.demo.narration import Narrator
from kproxy.demo.stage import FEATURES, NEW_MODEL, OLD_MODEL, ORDERS, Stage

TOPIC_AUTHORIZATION_FAILED = 29
POLICY_VIOLATION, INVALID_RECORD = 44, 87
AUDIT_SECONDS = 15.0
T = TypeVar("T")


def wait_for(look: Callable[[], T], seconds: float = AUDIT_SECONDS) -> T:
    """Looks again until there is something to see, at the latest until the deadline; returns the last look."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def shop_writes(stage: Stage, tell: Narrator) -> None:
    tell.step("A shop writes orders and features",
              "Its token names the group `shop`; the policy lets that group write `orders` and `features.fraud`.")
    writer = Writer(stage.settings("shop"))
    told = writer.write("orders", ORDERS) + writer.write("features.fraud", FEATURES)
    tell.expect([one.code for one in told] == [0] * 7, "seven records accepted through kproxy", told)
    arrived, _ = read(stage.direct(), "orders", len(ORDERS))
    tell.expect(arrived == ORDERS, "the broker holds them exactly as they were written", arrived)


def job_reads_and_writes(stage: Stage, tell: Narrator) -> None:
    tell.step("A model-serving job with a ten-minute token",
              f"Launched by maya@example.com as run-2041 with {OLD_MODEL}: reads its input, writes its output.")
    settings = stage.settings("fraud-job", {"team": "risk"})
    values, code = read(settings, "features.fraud", len(FEATURES), group="fraud-scorer", join=True)
    tell.expect(values == FEATURES, f"read {len(values)} features as consumer group fraud-scorer", (values, code))
    writer = Writer(settings)
    told = writer.write("scores.fraud", [{"order": row["order"], "score": row["amount"] / 100} for row in values])
    tell.expect([one.code for one in told] == [0] * len(FEATURES), "wrote its scores", told)
    told = writer.write("features.fraud", [{"order": 99}])
    tell.expect(told[0].code == TOPIC_AUTHORIZATION_FAILED, "writing its input: 29 TOPIC_AUTHORIZATION_FAILED", told)
    values, code = read(settings, "orders", 1, group="fraud-curious", join=True)
    tell.expect((values, code) == ([], TOPIC_AUTHORIZATION_FAILED), "reading orders: 29, and no record", (values, code))
    seen = topics_seen(settings)
    tell.expect(seen == {"features.fraud", "scores.fraud"}, "of four topics it is shown these two", seen)


def password_is_refused(stage: Stage, tell: Narrator) -> None:
    tell.step("The shared password everybody knows", "svc-fraud / hunter2, hard-coded since 2019.")
    error = login_error(stage.node.public, "svc-fraud", "hunter2")
    tell.expect(bool(error) and error != "no answer", "the login is refused", error)
    tell.show(error)


def masks_by_reader(stage: Stage, tell: Narrator) -> None:
    tell.step("One topic, two readers",
              "Ana is an analyst, Olga a privacy officer. Same topic, same offsets, same moment.")
    for_ana, code = read(stage.settings("ana"), "orders", len(ORDERS), group="analytics-demo")
    tell.expect(len(for_ana) == len(ORDERS), "Ana reads both orders", (for_ana, code))
    tell.show(json.dumps(for_ana[0]))
    emails = [order["customer"]["email"] for order in for_ana]
    tell.expect(all(re.fullmatch(r"k1:[0-9a-f]{32}", email) for email in emails),
                "e-mail addresses are keyed tokens for her: equal ones stay equal, none can be read", emails)
    tell.expect("4111111111111111" not in for_ana[0]["note"] and "1111, ring twice" in for_ana[0]["note"],
                "the card number in the free text shows its last four digits", for_ana[0]["note"])
    tell.expect(for_ana[1]["note"] == ORDERS[1]["note"], "what holds nothing to hide is unchanged", for_ana[1])
    for_olga, code = read(stage.settings("olga"), "orders", len(ORDERS), group="privacy-demo")
    tell.expect(for_olga == ORDERS, "Olga reads them in the clear", (for_olga, code))
    tell.show(json.dumps(for_olga[0]))


def guard_blocks(stage: Stage, tell: Narrator) -> None:
    tell.step("A prompt with a secret in it", "An assistant writes prompts; one of them carries a cloud access key.")
    writer = Writer(stage.settings("assistant"))
    told = writer.write("prompts.support", [{"prompt": "Summarise ticket 17, please."}])
    tell.expect(told[0].code == 0, "a harmless prompt passes", told)
    told = writer.write("prompts.support", [{"prompt": "Use key AKIAIOSFODNN7EXAMPLE to list the bucket."}])
    tell.expect(told[0].code in (POLICY_VIOLATION, INVALID_RECORD), f"the other is refused with {told[0].code}", told)
    tell.show(f"{told[0].code}: {told[0].text}")
    hits = wait_for(lambda: stage.audit("--kind", "guard_hit"))
    tell.expect([hit.get("rules") for hit in hits] == [{"secrets": 1}], "the audit names the rule", hits)
    tell.show(hits[0].get("reason", ""))
    held = count_held(stage.direct(), "prompts.support")
    tell.expect(held == 1, "the broker holds one prompt: it never saw the other", held)


def approval_lets_pass(stage: Stage, tell: Narrator) -> None:
    tell.step("A new model version",
              f"{NEW_MODEL} was deployed this morning. The policy wants somebody of ml-risk to agree first.")
    writer = Writer(stage.settings("fraud-job-next"))
    score = [{"order": 6, "score": 0.6}]
    told = writer.write("scores.fraud", score)
    tell.expect(told[0].code == POLICY_VIOLATION, "its first score is refused: 44 POLICY_VIOLATION", told)
    waiting = stage.node.ask("requests", "list", token_file=stage.token_file("rita"))
    tell.expect(len(waiting) == 1 and waiting[0]["model"] == NEW_MODEL,
                f"a request waits: {waiting[0]['id'] if waiting else ''}", waiting)
    request, sessions = waiting[0]["id"], _sessions(stage, "dev:fraud-job-next")
    for who, token_file in (("Maya, who launched it,", stage.token_file("maya@example.com")),
                            ("the node's own operator socket", None)):
        code, output, errors = stage.node.command("approve", request, "--for", "10m", "--reason", "trust me",
                                                  token_file=token_file)
        tell.expect(code == 1, f"{who} cannot approve it", (code, output))
        tell.show(errors.strip())
    stage.node.ask("approve", request, "--for", "10m", "--reason", "evaluated, ticket ML-311",
                   token_file=stage.token_file("rita"))
    told = wait_for(lambda: _passed(writer.write("scores.fraud", score)), 5.0)
    tell.expect(bool(told), "Rita approves for ten minutes: the unchanged retry passes", told)
    tell.expect(_sessions(stage, "dev:fraud-job-next") == sessions, "on the same open connections", sessions)
    tell.show(f"scores.fraud partition {told[0].partition} offset {told[0].offset}")


def _sessions(stage: Stage, principal: str) -> set[str]:
    rows = stage.node.ask("sessions", "list", "--principal", principal)
    return {row["id"] for row in rows}


def _passed(told: list[Any]) -> list[Any]:
    return told if all(one.code == 0 for one in told) else []


def observe_mode(stage: Stage, tell: Narrator) -> None:
    tell.step("Observe before you enforce",
              "The listener `trial` has the same policy in observe mode. Ana writes scores through it.")
    told = Writer(stage.settings("ana", trial=True)).write("scores.fraud", [{"order": 7, "score": 1.0}])
    tell.expect(told[0].code == 0, "it is let through", told)
    rows = wait_for(lambda: stage.audit("--kind", "would", "--principal", "dev:ana"))
    tell.expect(any(row.get("would") == "deny" and row.get("name") == "scores.fraud" for row in rows),
                "and the audit says what enforcing would have done: deny", rows)


STEPS: tuple[Callable[[Stage, Narrator], None], ...] = (
    shop_writes, job_reads_and_writes, password_is_refused, masks_by_reader, guard_blocks, approval_lets_pass,
    observe_mode,
)
