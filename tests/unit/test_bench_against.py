"""This tree against another commit: what is built, in whose name it runs, and what is divided by what."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import against


def test_a_ratio_is_of_one_round() -> None:
    pairs = [({"produce-200": 3.0, "fetch-64k": 8.0}, {"produce-200": 2.0, "fetch-64k": 10.0}),
             ({"produce-200": 1.0, "fetch-64k": 9.0}, {"produce-200": 4.0, "fetch-64k": 3.0})]
    assert against.ratios(pairs, "produce-200") == [1.5, 0.25]
    assert against.ratios(pairs, "fetch-64k") == [0.8, 3.0]


@pytest.mark.parametrize(("costs", "code", "said"), [((1.0, 2.0), 0, "0.50"), ((2.0, 1.0), 1, "2.00")])
def test_the_sides_take_turns_and_the_dearer_tree_fails(costs: tuple[float, float], code: int, said: str,
                                                        monkeypatch: pytest.MonkeyPatch,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    theirs, order = Path("/theirs"), []

    def measure(folder: Path, options: Any) -> dict[str, float]:
        order.append(folder)
        return {"produce-200": costs[0] if folder == against.ROOT else costs[1]}

    monkeypatch.setattr(against, "build", lambda ref: theirs)
    monkeypatch.setattr(against, "measure", measure)
    with pytest.raises(SystemExit) as ended:
        against.main(["HEAD~1", "--rounds", "2", "--load", "produce-200"])
    assert order == [against.ROOT, theirs, theirs, against.ROOT]
    assert ended.value.code == code and said in capsys.readouterr().out


def test_what_is_imported_is_of_the_folder(tmp_path: Path) -> None:
    """Also where this tree is installed in the environment."""
    (tmp_path / "kproxy").mkdir()
    (tmp_path / "kproxy" / "__init__.py").touch()
    said = subprocess.run([sys.executable, "-c", "import kproxy; print(kproxy.__file__)"], cwd=tmp_path, check=True,
                          env=against.environment(tmp_path), capture_output=True, text=True).stdout
    assert Path(said.strip()).parent == tmp_path / "kproxy"


def test_a_commit_that_cannot_be_built_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(ref: str) -> Path:
        raise subprocess.CalledProcessError(128, ["git", "rev-parse", ref])

    monkeypatch.setattr(against, "build", build)
    with pytest.raises(SystemExit, match=r"bench\.against: .*no-such"):
        against.main(["no-such", "--rounds", "1"])
