"""Thirty days of a daemon in mode auto, with faults and settings that are read again: it takes no more and more."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from planner.journal import FILE, Journal
from planner.look import Outcome
from planner.runs import OPEN
from tests.soak import KEPT, TABLES

DAYS = 30
WARM = 10
"""Days after which everything has been done that is ever done, and the first looks have been forgotten."""
GROWTH = 1.05
REPO = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], dict[str, int]]:
    """Where the state is, a measurement for each day, and what the cluster was asked for."""
    directory = tmp_path_factory.mktemp("state")
    words = [sys.executable, "-m", "tests.soak", str(directory), str(DAYS)]
    done = subprocess.run(words, cwd=REPO, text=True, capture_output=True, timeout=3000)
    assert done.returncode == 0, done.stderr[-2000:]
    *days, cluster = map(json.loads, done.stdout.splitlines())
    assert [day["day"] for day in days] == list(range(1, DAYS + 1))
    assert "Traceback" not in done.stderr
    return directory, days, cluster


def late(days: Sequence[dict[str, Any]], name: str) -> tuple[float, float]:
    """A figure soon after the daemon is warm, and in the end: of five days each, as it goes up and down."""
    return median(day[name] for day in days[WARM : WARM + 5]), median(day[name] for day in days[-5:])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thirty_days_take_no_more_memory_files_or_threads(
    lived: tuple[Path, list[dict[str, Any]], dict[str, int]],
) -> None:
    _, days, cluster = lived
    assert cluster["asked"] > 100 and cluster["failed"], "there was much to do"
    before, after = late(days, "rss")
    assert after < before * GROWTH
    for name in ("files", "threads"):
        assert late(days, name)[0] == late(days, name)[1]
        assert max(day[name] for day in days[WARM:]) <= late(days, name)[0] + 1
    assert all(day["children"] == 0 for day in days)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_journal_forgets_what_is_too_old_and_its_file_does_not_grow(
    lived: tuple[Path, list[dict[str, Any]], dict[str, int]],
) -> None:
    directory, days, _ = lived
    most = {name: max(day["rows"][name] for day in days[:WARM]) for name in TABLES}
    for day in days[WARM:]:
        assert day["rows"]["look"] <= KEPT * 144 + 1
        assert all(day["rows"][name] <= 2 * most[name] for name in TABLES)
    before, after = late(days, "bytes")
    assert after < before * 1.2
    with Journal.reading(directory / FILE) as journal:
        newest, *_, oldest = looks = journal.looks.last(limit=9999)
        assert newest.at - oldest.at < (KEPT + 0.1) * 24 * 3600
        assert {look.outcome for look in looks} >= {Outcome.BALANCED, Outcome.REFUSED, Outcome.DONE}
        assert not [run for run in journal.runs(limit=9999) if run.state in OPEN], "nothing is left open"
