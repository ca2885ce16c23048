"""Every notebook runs from top to bottom in a kernel of its own, and is stored without outputs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    """By nbmake, in a process of its own: it has an event loop, and this one has its rules about warnings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = inherited | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path), "HOME": str(tmp_path)}
    words = ("-m", "pytest", "--nbmake", "--nbmake-timeout=120", "-p", "no:cacheprovider", "-p", "no:xdist", str(path))
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_carries_no_output(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)


def test_the_notebooks_are_small_and_know_no_names() -> None:
    """A snapshot without names has guests such as guest001 only."""
    from planner import load

    for path in (ROOT / "notebooks" / "data").iterdir():
        assert path.stat().st_size < 1_500_000
        guests = load(path).guests
        assert guests["name"].str.fullmatch(r"guest\d+").all()
