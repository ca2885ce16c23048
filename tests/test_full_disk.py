"""Claims about output that cannot be written: one line says so, and nobody is asked to report it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commandline import alone

FULL = Path("/dev/full")
"""Where nothing is ever written."""


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)
    if not FULL.exists():
        pytest.skip("this system has no /dev/full")


@pytest.mark.parametrize("words", [("config", "show"), ("--demo", "--solver", "greedy"), ("config", "schema")])
def test_a_full_disk_is_said_in_one_line(words: tuple[str, ...]) -> None:
    with FULL.open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "planner", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    said = [line for line in ended.stderr.splitlines() if not line.startswith("note: ")]
    assert (ended.returncode, said) == (1, ["proxlb-plan: cannot write: No space left on device"])


def test_where_not_even_that_can_be_said_the_exit_code_does() -> None:
    with FULL.open("w") as full:
        command = [sys.executable, "-m", "planner", "config", "show"]
        assert subprocess.run(command, stdout=full, stderr=full, check=False).returncode == 1
