"""The story's end: the auditor's three questions, answered from what happened before, and the metrics."""

from __future__ import annotations

import re
from typing import Any

from kproxy.demo.narration import Narrator
from kproxy.demo.stage import NEW_MODEL, OLD_MODEL, Stage
from kproxy.demo.story import wait_for

SHOWN = ("kproxy_records_total", "kproxy_fields_masked_total", "kproxy_guard_hits_total", "kproxy_approvals",
         "kproxy_token_checks_total", "kproxy_policy_info")


def audit_answers(stage: Stage, tell: Narrator) -> None:
    tell.step("The auditor's three questions", "Theo has the node's role `auditor`; he asks `kproxy audit query`.")
    _who_launched(stage, tell)
    _which_model(stage, tell)
    _which_fields(stage, tell)


def _who_launched(stage: Stage, tell: Narrator) -> None:
    rows = wait_for(lambda: [row for row in stage.audit("--launched", "run-2041") if row["produced"]])
    tell.expect([(row["launcher"], row["model"]) for row in rows] == [("maya@example.com", OLD_MODEL)],
                "Who launched run-2041? maya@example.com, from the token's signed claims", rows)
    tell.table(("launcher", "run", "model", "commit", "read", "wrote"),
               [(row["launcher"], row["run"], row["model"], row["commit"], ", ".join(row["consumed"]),
                 ", ".join(row["produced"])) for row in rows])


def _which_model(stage: Stage, tell: Narrator) -> None:
    def look() -> list[dict[str, Any]]:
        rows = stage.audit("--wrote", "scores.fraud:0:0-5")
        return rows if {OLD_MODEL, NEW_MODEL} <= {row["model"] for row in rows} else []

    rows = wait_for(look)
    found = [(row["first_offset"], row["last_offset"], row["model"]) for row in rows]
    tell.expect(found == [(0, 4, OLD_MODEL), (5, 5, NEW_MODEL)],
                "Which model wrote offsets 0 to 5 of scores.fraud? Version 7 wrote 0–4, version 8 wrote 5", found)
    tell.table(("offsets", "model", "run", "principal"),
               [(f"{row['first_offset']}–{row['last_offset']}", row["model"], row["run"], row["principal"])
                for row in rows])


def _which_fields(stage: Stage, tell: Narrator) -> None:
    def look() -> dict[str, dict[str, Any]]:
        rows = {row["field"]: row for row in stage.audit("--emitted-to", "dev:ana")}
        return rows if "customer.email" in rows else {}

    rows = wait_for(look)
    email, name = rows.get("customer.email", {}), rows.get("customer.name", {})
    tell.expect((email.get("unmasked"), email.get("masked")) == (0, 2),
                "Which fields left unmasked to Ana? Not one e-mail", rows)
    tell.expect(name.get("unmasked") == 2, "but both names, which no rule hides", rows)
    tell.table(("topic", "field", "unmasked", "masked"),
               [(row["topic"], row["field"], row["unmasked"], row["masked"]) for row in rows.values()])


def metrics_show(stage: Stage, tell: Narrator) -> None:
    tell.step("What Prometheus scrapes", f"{stage.node.metrics_url}/metrics")
    status, text = stage.node.get("/metrics")
    tell.expect(status == 200, "the metrics port answers", status)
    lines = [line for line in text.splitlines() if line.startswith(SHOWN)]
    tell.expect(_value(text, "kproxy_guard_hits_total", 'rule="secrets"') == 1, "one guard hit, by its rule", lines)
    tell.expect(_value(text, "kproxy_fields_masked_total", 'rule="contact"') == 2, "two e-mail addresses masked", lines)
    tell.show("\n".join(lines))


def _value(text: str, name: str, label: str) -> float:
    """The sum of a metric's samples with this label."""
    return sum(float(found[1]) for found in re.finditer(rf"^{name}{{[^}}]*{label}[^}}]*}} (\S+)$", text, re.M))
