#!/usr/bin/env python3
"""Writes requirements.lock: the exact versions that pip picks today for the package with its test and demo extras.

Versions only, no hashes and no addresses: a hash names one platform's file, and the index is the machine's own choice.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADER = "# Written by `make lock` from pyproject.toml; `make setup` installs exactly these.\n"


def wanted() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *extras["demo"], *extras["test"]]


def resolved(requirements: list[str]) -> list[tuple[str, str]]:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    report = json.loads(subprocess.run([*command, *requirements], check=True, capture_output=True, text=True).stdout)
    return sorted((item["metadata"]["name"].lower(), item["metadata"]["version"]) for item in report["install"])


def main() -> None:
    lines = [f"{name}=={version}\n" for name, version in resolved(wanted())]
    (ROOT / "requirements.lock").write_text(HEADER + "".join(lines))
    print(f"requirements.lock: {len(lines)} packages")


if __name__ == "__main__":
    main()
