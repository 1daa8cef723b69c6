"""A pytest plugin: under CI=true a skipped integration or client test is a failed one.

A skip is honest on a laptop without Java. On CI it would hide that a whole suite has stopped running, so there a skip
fails with its own reason, and so does a run of the whole suite in which one of these folders ran no test at all.
Loaded by ``scripts/test.sh`` with ``-p tests.support.ci_guard``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

#: Folders below tests/ whose tests must run.
MUST_RUN = ("integration", "clients")
_ran: Counter[str] = Counter()


def on_ci() -> bool:
    return os.environ.get("CI") == "true"


def suite_of(path: Path) -> str:
    """The guarded folder that ``path`` lies in, or an empty string."""
    below_tests = path.parts[path.parts.index("tests") + 1:] if "tests" in path.parts else ()
    return below_tests[0] if below_tests and below_tests[0] in MUST_RUN else ""


def _is_guarded(item: pytest.Item) -> bool:
    return bool(suite_of(item.path)) or item.get_closest_marker("integration") is not None


def _make_failed(report: Any) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"skipped on CI, where it must run: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and on_ci() and _is_guarded(item):
        _make_failed(report)
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Counts in the process that tells the outcome, which need not be the one that ran the test (pytest-xdist)."""
    if report.when == "call" and not report.skipped:
        _ran[suite_of(Path(report.fspath))] += 1


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and on_ci() and suite_of(collector.path):
        _make_failed(report)
    return report


def _whole_suite(config: pytest.Config) -> bool:
    """Whether nothing was named on the command line, so that every folder was to run."""
    return config.args_source is not pytest.Config.ArgsSource.ARGS and not config.option.keyword


def missing_suites(ran: Counter[str], tests: Path) -> list[str]:
    """The guarded folders that have tests of which none ran."""
    return [name for name in MUST_RUN if any((tests / name).rglob("test_*.py")) and not ran[name]]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    is_part = hasattr(session.config, "workerinput")
    if is_part or exitstatus != pytest.ExitCode.OK or not on_ci() or not _whole_suite(session.config):
        return
    missing = missing_suites(_ran, session.config.rootpath / "tests")
    if missing:
        print(f"\nno test ran in tests/{', tests/'.join(missing)}: on CI that is a failure")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
