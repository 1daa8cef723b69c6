"""The Dockerfile cannot be built where no engine runs, so what can be known of it is checked: its steps are scripts."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from tests.house.checks import tree

STAGES = ("builder", "test", "runtime")


def check_dockerfile(root: Path) -> list[str]:
    """Stages builder, test and runtime; every RUN calls scripts that exist and may be executed; COPY sources exist."""
    text = re.sub(r"\\\n\s*", " ", tree.text(root / "Dockerfile"))
    instructions = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    stages = tuple(match[1] for line in instructions if (match := re.match(r"FROM \S+ AS (\w+)$", line)))
    problems = [] if stages == STAGES else [f"Dockerfile: its stages are {stages}, wanted {STAGES}"]
    for line in instructions:
        word, _, rest = line.partition(" ")
        if word == "RUN":
            for step in rest.split("&&"):
                problems += _run_problems(root, step.strip())
        if word in {"COPY", "ADD"} and "--from=" not in rest:
            sources = [part for part in shlex.split(rest) if not part.startswith("--")][:-1]
            problems += [f"Dockerfile: COPY {source}: not there" for source in sources if not (root / source).exists()]
    return problems


def _run_problems(root: Path, step: str) -> list[str]:
    script = shlex.split(step)[0]
    if not script.startswith("scripts/"):
        return [f"Dockerfile: RUN {step}: a step is a script in scripts/, which the Makefile can run too"]
    if not (root / script).exists():
        return [f"Dockerfile: RUN {script}: not there"]
    return [] if os.access(root / script, os.X_OK) else [f"Dockerfile: RUN {script}: may not be executed"]


def check_scripts(root: Path) -> list[str]:
    """A shell script may be executed, stops at the first error, and says in its second line what it is for."""
    problems = []
    for path in tree.with_suffix(root, ".sh"):
        where, lines = tree.name(root, path), tree.text(path).splitlines()
        if not where.startswith("scripts/"):
            continue
        if not os.access(path, os.X_OK):
            problems.append(f"{where}: may not be executed")
        if len(lines) < 2 or not lines[1].startswith("# "):
            problems.append(f"{where}: its second line says what it is for")
        if "set -euo pipefail" not in lines:
            problems.append(f"{where}: does not stop at the first error")
    called = set(re.findall(r"scripts/[\w.-]+", tree.text(root / "Makefile")))
    return problems + [f"Makefile: {script} is not there" for script in sorted(called) if not (root / script).exists()]


def check_lock(root: Path) -> list[str]:
    """requirements.lock pins every direct dependency to one version, and nothing but versions stands in it."""
    import tomllib

    lines = [line for line in tree.text(root / "requirements.lock").splitlines() if line and not line.startswith("#")]
    problems = [f"requirements.lock: {line}: not NAME==VERSION" for line in lines
                if not re.fullmatch(r"[\w.-]+==[\w.!+]+", line)]
    pinned = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines}
    project = tomllib.loads(tree.text(root / "pyproject.toml"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(item for extra in extras for item in extra)]
    for requirement in wanted:
        name = re.sub(r"[-_.]+", "-", re.split(r"[<>=!~\[; ]", requirement)[0]).lower()
        if name not in pinned:
            problems.append(f"requirements.lock: {name} is not in it: run `make lock`")
    return problems
