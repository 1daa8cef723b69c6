"""sdist and wheel: they hold all they need, and what is installed from them imports from another directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.house.checks import tree

ROOT = Path(__file__).resolve().parents[2]
#: One module without libraries of its own: enough to see that the layout builds outside the tree.
ONE_MODULE = "frame"


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of a copy, so that the build folder of the tree is left alone."""
    place = tmp_path_factory.mktemp("packaging")
    for path in tree.files(ROOT):
        target = place / "copy" / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    run([sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(place), str(place / "copy")],
        KPROXY_MODULES="none")
    return next(place.glob("kproxy-*.tar.gz"))


def run(command: list[str], cwd: Path | None = None, seconds: float = 110, **environment: str) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=seconds,
                          env=os.environ | environment)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def unpack(archive: Path, target: Path) -> Path:
    shutil.unpack_archive(archive, target)
    return next(target.iterdir())


def test_sdist_holds_all_sources(sdist: Path) -> None:
    with tarfile.open(sdist) as opened:
        inside = {name.partition("/")[2] for name in opened.getnames()}
    wanted = {tree.name(ROOT, path) for path in tree.files(ROOT)
              if tree.name(ROOT, path).startswith(("_ext/", "kproxy/", "scripts/"))}
    assert wanted - inside == set()
    assert {"LICENSE", "README.md", "setup.py", "pyproject.toml", "requirements.lock"} <= inside
    assert not [name for name in inside if name.endswith(".so")]


def test_wheel_from_the_sdist_imports_elsewhere(sdist: Path, tmp_path: Path) -> None:
    sources = unpack(sdist, tmp_path / "sources")
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(sources)],
        KPROXY_MODULES=ONE_MODULE)
    wheel = next(tmp_path.glob("kproxy-*.whl"))
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"kproxy/py.typed", "kproxy/_ext/wire.pxd", "kproxy/_ext/frame.pyi", "kproxy/demo/policy.yaml"} <= names
    assert [name for name in names if name.startswith(f"kproxy/_ext/{ONE_MODULE}.") and name.endswith(".so")]
    assert not [name for name in names if name.startswith(("tests/", "bench/", "scripts/", "_ext/"))]
    installed = tmp_path / "installed"
    run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(installed), str(wheel)])
    program = f"import kproxy._ext.{ONE_MODULE} as m, kproxy.model.policy as p; print(m.__file__, p.__file__)"
    told = run([sys.executable, "-c", program],
               cwd=tmp_path, PYTHONPATH=str(installed))
    assert all(Path(path).is_relative_to(installed) for path in told.split())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_whole_wheel_in_a_fresh_environment(sdist: Path, tmp_path: Path) -> None:
    """Everything compiled from the sdist, installed with its dependencies by the script of the runtime stage."""
    sources = unpack(sdist, tmp_path / "sources")
    dist = tmp_path / "dist"
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), str(sources)], seconds=1500)
    run([str(sources / "scripts/install_wheel.sh"), str(dist), str(tmp_path / "venv")], cwd=tmp_path, seconds=600)
    modules = sorted(path.stem for path in (ROOT / "_ext").glob("*.pyx"))
    program = f"import importlib; [importlib.import_module('kproxy._ext.' + m) for m in {modules}]; print('all')"
    python = str(tmp_path / "venv/bin/python")
    assert run([python, "-c", program], cwd=tmp_path) == "all\n"
    assert "Usage" in run([str(tmp_path / "venv/bin/kproxy"), "--help"], cwd=tmp_path)
