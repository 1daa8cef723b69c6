"""Each check is seen to fail: a fault is planted in a copy of the tree, and the check must name it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.house.checks import CHECKS, tree

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
Plant = Callable[[Path], None]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project's own files, in a folder without git."""
    for path in tree.files(ROOT):
        target = tmp_path / "copy" / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    return tmp_path / "copy"


def write(where: str, text: str) -> Plant:
    def plant(root: Path) -> None:
        target = root / where
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return plant


def append(where: str, text: str) -> Plant:
    def plant(root: Path) -> None:
        with open(root / where, "a") as opened:
            opened.write(text)
    return plant


def replace(where: str, old: str, new: str) -> Plant:
    def plant(root: Path) -> None:
        text = (root / where).read_text()
        assert old in text
        (root / where).write_text(text.replace(old, new))
    return plant


def without(pattern: str, word: str) -> Plant:
    """Takes a word out of every document that ``pattern`` matches."""
    def plant(root: Path) -> None:
        for path in [root / "README.md", root / "ARCHITECTURE.md", *root.glob(pattern)]:
            path.write_text(path.read_text().replace(word, "gone"))
    return plant


def without_files(*places: str) -> Plant:
    def plant(root: Path) -> None:
        for where in places:
            (root / where).unlink()
    return plant


def not_executable(where: str) -> Plant:
    return lambda root: (root / where).chmod(0o644)


BIG_FUNCTION = "def grow():\n" + "    x = 1\n" * 60
FAKE_KEY = "-----BEGIN " + "PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj" * 2 + "\n"

#: (check, what is planted, what the check must say)
FAULTS: list[tuple[str, Plant, str]] = [
    ("file-sizes", append("kproxy/errors.py", "# one more line\n" * 400), "kproxy/errors.py"),
    ("file-sizes", append("_ext/frame.pyx", "# one more line\n" * 500), "_ext/frame.pyx"),
    ("function-sizes", append("kproxy/errors.py", BIG_FUNCTION), "grow has 61 lines"),
    ("function-sizes", append("_ext/frame.pyx", "\n\nc" + BIG_FUNCTION.replace("grow()", "int grow()")), "grow has 61"),
    ("cimport-order", append("_ext/frame.pyx", "\nfrom kproxy._ext.session cimport Session\n"),
     "may not import session"),
    ("cimport-order", append("kproxy/_ext/wire.pxd", "\ncimport kproxy._ext.mask\n"), "may not import mask"),
    ("cimport-order", append("_ext/mask.pyx", "\nfrom kproxy._ext cimport wire, protocol\n"),
     "may not import protocol"),
    ("cimport-order", write("_ext/stray.pyx", "x = 1\n"), "stray has no place"),
    ("order-told", replace("ARCHITECTURE.md", "→ ledger → session", "→ session → ledger"), "native order is told as"),
    ("order-told", replace("ARCHITECTURE.md", "| `slots` |", "| slots |"), "table of native modules"),
    ("order-told", without_files("_ext/tls.pyx", "kproxy/_ext/tls.pxd"),
     "tls has a place in the native order and is not there"),
    ("native-purity", append("_ext/session.pyx", "\nimport time\n"), "import time"),
    ("native-purity", append("_ext/frame.pyx", "\nfrom asyncio import Protocol\n"), "import asyncio"),
    ("native-purity", append("_ext/mask.pyx", "\nfrom kproxy.policy import load\n"), "import kproxy.policy"),
    ("stubs", append("kproxy/_ext/frame.pyi", "\ndef not_there() -> int: ...\n"), "not_there is not in the module"),
    ("stubs", lambda root: (root / "kproxy/_ext/frame.pyi").unlink(), "frame.pyi is missing"),
    ("names", append("kproxy/errors.py", "\n\ndef process_data() -> None:\n    pass\n"), "process_data"),
    ("names", append("_ext/frame.pyx", "\n\ncdef class FrameManager:\n    pass\n"), "FrameManager"),
    ("names", write("kproxy/utils.py", "\n"), "kproxy/utils.py"),
    ("raw-pointers", append("kproxy/_ext/session.pxd", "\n\ncdef class Loose:\n    cdef const unsigned char* loose\n"),
     "session.pxd"),
    ("raw-pointers", append("kproxy/_ext/slots.pxd", "\n\ncdef class Loose:\n    cdef Slot* loose    # a slot\n"),
     "slots.pxd:"),
    ("raw-pointers", append("_ext/frame.pyx", "\n\ncdef struct Loose:\n    int count\n    const char* loose\n"),
     "_ext/frame.pyx:"),
    ("kernels", append("_ext/frame.pyx", "\n\ncdef int careless(int x) nogil:\n    return x\n"),
     "nogil without noexcept"),
    ("negative-indices", append("_ext/frame.pyx", "\n\ncdef object careless(list x):\n    return x[-1]\n"),
     "a negative index"),
    ("environment", append("kproxy/errors.py", "\nimport os\nHOME = os.environ['HOME']\n"), "kproxy/errors.py"),
    ("prints", append("kproxy/errors.py", "\nprint('here')\n"), "kproxy/errors.py"),
    ("comments", append("kproxy/errors.py", "\n# TO" + "DO: later\n"), "kproxy/errors.py"),
    ("comments", append("kproxy/errors.py", "\nX = 1  # no" + "qa\n"), "a silenced rule is named"),
    ("test-names", write("tests/unit/test_twice.py", "def test_a():\n    assert 1\n\n\ndef test_a():\n    assert 2\n"),
     "test_a is defined 2 times"),
    ("tests-assert", write("tests/unit/test_idle.py", "def test_a():\n    print(1)\n"), "test_a asserts nothing"),
    ("sleeps", write("tests/unit/test_nap.py",
     "import time\n\n\ndef test_a():\n    time.sleep(1)\n    assert 1\n"),
     "sleeps"),
    ("machine-paths", append("README.md", "\nSee /ho" + "me/alice/kproxy/README.md\n"), "README.md"),
    ("machine-paths", append("requirements.lock", "--index-" + "url https://pypi.example.com/simple\n"),
     "package index"),
    ("secrets", write("examples/key.pem", FAKE_KEY), "examples/key.pem"),
    ("make-targets", append("Makefile", "\nfrobnicate:\n\t@true\n"), "make frobnicate"),
    ("make-targets", append("README.md", "\nRun `make nonsense`.\n"), "make nonsense"),
    ("commands", without("docs/**/*.md", "kproxy check"), "kproxy check"),
    ("shown-commands", append("README.md", "\n```sh\nkproxy frobnicate\n```\n"), "no such command"),
    ("shown-commands", append("README.md", "\n```sh\nkproxy run --nonsense\n```\n"), "no such option"),
    ("metrics", without("docs/**/*.md", "kproxy_loop_lag_seconds"), "kproxy_loop_lag_seconds"),
    ("close-causes", without("docs/**/*.md", "`tls_broken`"), "the cause tls_broken is told 0 times"),
    ("close-causes", replace("kproxy/errors.py", 'IDLE = "idle"', 'IDLE = "lazy"'), "the cause lazy is told 0 times"),
    ("close-causes", append("kproxy/errors.py", '\n    BORED = "bored"\n'), "the cause bored is told 0 times"),
    ("close-causes", replace("docs/operations.md", "the audit says who, and why |", "|"),
     "the row of `session_killed` does not say when"),
    ("served", append("_ext/apis.pyx", '\nserve(88, "StreamsGroupHeartbeat", 0, 1, admin.open_request, NULL)\n'),
     "what StreamsGroupHeartbeat needs is told 0 times, not 1"),
    ("served", replace("docs/policy.md", "| DeleteGroups |", "| DropGroups |"), "what DropGroups needs is told 1"),
    ("config-keys", without("docs/**/*.md", "socket.request.max.bytes"), "socket.request.max.bytes"),
    ("reference", replace("kproxy/model/settings.py", "clock_skew: Duration = 30.0", "clock_skew: Duration = 60.0"),
     "docs/configuration.md: its tables of keys are not"),
    ("reference", replace("docs/policy.md", "| how long a request waits |", "| how long it waits |"),
     "docs/policy.md: its tables of keys are not"),
    ("reference", replace("kproxy/model/settings.py", '    """by how much the issuer\'s clock may differ"""\n', ""),
     "no text says what these mean: clock_skew"),
    ("reference", replace("docs/configuration.md", "keys of audit:", "keys of nothing:"), "places for keys are"),
    ("reference", replace("kproxy/dataplane/supervisor.py", '"restart_abandoned"', '"restart_given_up"'),
     "docs/operations.md: its table of log events is not"),
    ("files-named", append("ARCHITECTURE.md", "\nSee `kproxy/nowhere.py`.\n"), "kproxy/nowhere.py"),
    ("files-named", append("README.md", "\nSee [this](docs/nowhere.md).\n"), "docs/nowhere.md"),
    ("journey", lambda root: (root / "_ext/mask.pyx").unlink(), "mask"),
    ("journey", replace("ARCHITECTURE.md", "`_ext/policy_table.pyx`", "the table"), "policy_table"),
    ("dockerfile", replace("Dockerfile", "RUN scripts/setup.sh ", "RUN scripts/nowhere.sh "), "nowhere.sh"),
    ("dockerfile", append("Dockerfile", "\nRUN curl example.com\n"), "RUN curl"),
    ("dockerfile", not_executable("scripts/setup.sh"), "may not be executed"),
    ("scripts", not_executable("scripts/lint.sh"), "scripts/lint.sh"),
    ("scripts", write("scripts/careless.sh", "#!/bin/sh\necho hello\n"), "careless.sh"),
    ("lock", replace("pyproject.toml", '"structlog>=', '"left-out-of-lock>=1",\n    "structlog>='), "left-out-of-lock"),
    ("lock", append("requirements.lock", "loose>=1\n"), "loose>=1"),
]


@pytest.mark.parametrize(("name", "plant", "said"), FAULTS, ids=[f"{name}-{said}" for name, _, said in FAULTS])
def test_check_names_a_planted_fault(copy: Path, name: str, plant: Plant, said: str) -> None:
    before = CHECKS[name](copy)
    plant(copy)
    tree.files.cache_clear()
    fresh = [problem for problem in CHECKS[name](copy) if problem not in before]
    assert any(said in problem for problem in fresh), fresh


def test_every_check_has_a_planted_fault() -> None:
    assert {name for name, _, _ in FAULTS} == set(CHECKS)


#: (a module that breaks a rule, its text, the contract that must be broken)
IMPORT_FAULTS = [
    ("kproxy/control/astray.py", "import kproxy.dataplane\n", "Each layer imports what lies below"),
    ("kproxy/policy/astray.py", "import kproxy.control\n", "Each layer imports what lies below"),
    ("kproxy/identity/astray.py", "import time\n", "Identity, policy and schemas are pure"),
    ("kproxy/model/astray.py", "import asyncio\n", "Values, configuration and errors"),
    ("kproxy/control/busy.py", "import kproxy._ext.session\n", "stays off the hot path"),
    ("kproxy/_ext/astray.py", "import kproxy.model.access\n", "nothing of kproxy but errors"),
]


@pytest.mark.parametrize(("where", "text", "contract"), IMPORT_FAULTS, ids=[fault[0] for fault in IMPORT_FAULTS])
def test_import_linter_names_a_planted_fault(copy: Path, where: str, text: str, contract: str) -> None:
    if "_ext" in text:
        write("kproxy/_ext/session.py", "")(copy)
    write(where, text)(copy)
    done = subprocess.run([BIN / "lint-imports", "--no-cache"], cwd=copy, capture_output=True, text=True, timeout=100,
                          env=os.environ | {"PYTHONPATH": str(copy), "COLUMNS": "200"})
    broken = [line for line in done.stdout.splitlines() if "BROKEN" in line]
    assert done.returncode != 0
    assert any(contract in line for line in broken), done.stdout


def test_ruff_names_a_planted_fault(copy: Path) -> None:
    write("kproxy/astray.py", "import os\n")(copy)
    done = subprocess.run([BIN / "ruff", "check", "--no-cache", "kproxy/astray.py"], cwd=copy, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 1
    assert "F401" in done.stdout


def test_mypy_names_a_planted_fault(copy: Path) -> None:
    append("kproxy/errors.py", "\nWRONG: int = 'text'\n")(copy)
    done = subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", str(copy / ".mypy_cache"), "kproxy/errors.py"],
                          cwd=copy, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "kproxy/errors.py" in done.stdout
