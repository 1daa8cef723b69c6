"""Prints every API of Kafka: its versions, what kproxy does with it, and the tests that sent it. A row without a test,
or a version of a served API that no test sent, is a failure.

    python -m tests.api_table [--json] [--tests]      exit 0 if all is covered, 1 if not

The quick suites (the API modules, the playbook, the attacks) run first, with a note taken of each request they build.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from kproxy._ext import schema
from kproxy._ext.apis import LOCAL, NAMES, SERVED
from kproxy._ext.refused import REFUSED
from tests.support import frames

ROOT = Path(__file__).resolve().parents[1]
SUITES = (*sorted(str(path) for path in (ROOT / "tests/unit").glob("test_api_*.py")), str(ROOT / "tests/playbook"),
          str(ROOT / "tests/security"))
#: No broker of Kafka 4 has them any more, so neither has the table of facts: they close the connection.
REMOVED = {4: "LeaderAndIsr", 5: "StopReplica", 6: "UpdateMetadata", 7: "ControlledShutdown"}
ERRORS = {31: "CLUSTER_AUTHORIZATION_FAILED", 54: "SECURITY_DISABLED", 61: "DELEGATION_TOKEN_AUTH_DISABLED"}


def read_needs() -> dict[str, str]:
    """API -> what it needs, as docs/policy.md tells."""
    section = re.search(r"^## What each request needs\n(.*?)^## ", (ROOT / "docs/policy.md").read_text(), re.M | re.S)
    assert section is not None
    rows = re.findall(r"^\| ([A-Z][\w, ]*) \| (.*?) \|", section[1], re.M)
    return {name: needs for names, needs in rows for name in names.split(", ")}


def treatment(api: int, needs: dict[str, str]) -> str:
    """What becomes of a request of this API, in words."""
    if api in LOCAL:
        return "answered by kproxy"
    refused = f"refused with {REFUSED[api][2]} {ERRORS[REFUSED[api][2]]}" if api in REFUSED else ""
    if api in SERVED:
        return needs[NAMES[api]] + (f"; from version {REFUSED[api][0]} on {refused}" if refused else "")
    return refused or "neither advertised nor served: closes the connection"


def rows(sent: dict[tuple[int, int], set[str]]) -> list[dict[str, Any]]:
    needs = read_needs()
    found = []
    for api, name in sorted({**NAMES, **REMOVED}.items()):
        low, high = (-1, -1) if api in REMOVED else schema.versions(api)
        served = SERVED.get(api)
        tests = sorted({test for (key, _), tests in sent.items() if key == api for test in tests})
        bare = [] if served is None else [version for version in range(served[0], served[1] + 1)
                                          if not sent.get((api, version))]
        found.append({"key": api, "name": name, "kafka": [low, high], "served": served,
                      "treatment": treatment(api, needs), "tests": tests, "versions_without_test": bare})
    return found


def run_suites() -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main(["-q", "-p", "no:cacheprovider", "--no-header", *SUITES])
    return int(code), said.getvalue()


def span(versions: Any) -> str:
    return "–" if versions is None or versions[0] < 0 else "–".join(map(str, dict.fromkeys(versions)))


def lines(found: list[dict[str, Any]], all_tests: bool) -> list[str]:
    out = ["key  API                                     Kafka   served  tests  what is done"]
    for row in found:
        out.append(f"{row['key']:>3}  {row['name']:<38}  {span(row['kafka']):<6}  {span(row['served']):<6}  "
                   f"{len(row['tests']):>5}  {row['treatment']}")
        shown = row["tests"] if all_tests else sorted({test.partition("[")[0] for test in row["tests"]})[:3]
        out += [f"       {test}" for test in shown]
    return out


def problems(found: list[dict[str, Any]]) -> list[str]:
    return [f"{row['name']}: no test sends it" for row in found if not row["tests"]] + [
        f"{row['name']}: no test sends version {version}" for row in found for version in row["versions_without_test"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--tests", action="store_true", help="every test by its whole name")
    options = parser.parse_args()
    code, said = run_suites()
    if code != 0:
        print(said)
        return 1
    found = rows(frames.SENT)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print("\n".join(lines(found, options.tests)))
    faults = problems(found)
    for fault in faults:
        print(fault, file=sys.stderr)
    served = [high - low + 1 for low, high in (row["served"] for row in found if row["served"])]
    print(f"{len(found)} APIs, {len(served)} served in {sum(served)} versions, {len(faults)} without a test",
          file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
