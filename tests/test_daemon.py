"""A process that takes looks goes on whatever happens, reads its settings again, and ends in good order."""

import logging
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from planner.choices import RunMode
from planner.clock import FastClock
from planner.config import Config
from planner.daemon import Daemon
from planner.errors import ConfigError, Unreachable
from planner.herald import summary
from planner.journal import Journal
from planner.look import Look, Outcome
from planner.policy import Policy
from planner.run import RunState, Step
from planner.runs import Runs
from planner.service import Metrics, Run
from planner.session import Session
from planner.signals import Signals
from tests.test_lookout import CALM, EPOCH, Altered, without_bounds

__all__ = ["without_bounds"]

QUIET = Run(solver="descent", looks=1, every="10m", jitter="30s")


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    for number in before:  # a job in the background ignores some
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        assert signal.getsignal(number) is signal.SIG_DFL, "what was changed is changed back"
        signal.signal(number, handler)
    for handler in [h for h in logging.getLogger().handlers if type(h).__module__ == "planner.logs"]:
        logging.getLogger().removeHandler(handler)


class Served:
    """A daemon at a cluster in memory whose time is simulated; what happens to it comes with some look."""

    def __init__(
        self, journal: Journal, run: Run = QUIET, policy: Policy = CALM, metrics: Metrics | None = None
    ) -> None:
        self.clock = FastClock()
        self.source = Altered(self.clock)
        self.config = Config(policy=policy, run=run, metrics=metrics or Metrics())
        self.runs = Runs(journal, None)
        self.at: dict[int, Callable[[], None]] = {}
        """Number of a look to what happens when it begins."""
        self.opens = 0

    def opened(self) -> tuple[Config, Session]:
        self.opens += 1
        if self.config.source == "wrong":
            raise ConfigError("policy.seed in wrong: make it a number")
        session = Session(self.config.policy, self.config.cluster, self.config.apply, self, self.clock)
        return self.config, session

    def get(self, path: str, /, **params: Any) -> Any:
        if threading.current_thread() is threading.main_thread():  # the journal is of one thread
            last = self.runs.journal.looks.last(limit=1)
            self.at.pop(last[0].number + 1 if last else 1, lambda: None)()
            if last and last[0].number > 50:
                pytest.fail("it does not end")
        return self.source.get(path, **params)

    def post(self, path: str, /, **data: Any) -> Any:
        return self.source.post(path, **data)

    def serve(self) -> tuple[Look, ...]:
        """The looks, the oldest first."""
        with Daemon(self.opened, self.runs, now=lambda: EPOCH + self.clock.now(), draw=random.Random(1)) as daemon:
            daemon.serve()
        return self.runs.journal.looks.last(limit=1000)[::-1]


def told(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.fixture
def journal() -> Journal:
    return Journal(None)


def test_looks_come_as_often_as_asked_for_and_a_little_later(journal: Journal) -> None:
    served = Served(journal, replace(QUIET, delay="5m"))
    served.at[8] = told(signal.SIGTERM)
    looks = served.serve()
    assert len(looks) == 7, "the one in which the end was asked for did nothing"
    gaps = [b.at - a.at for a, b in pairwise(looks)]
    assert all(600 <= gap <= 631 for gap in gaps) and len(set(gaps)) > 1
    assert looks[0].at == pytest.approx(EPOCH + 300, abs=1)


def test_an_api_that_is_away_for_a_while_ends_nothing(journal: Journal) -> None:
    served = Served(journal)
    away = Unreachable("pve1 does not answer")
    served.at |= {2: lambda: served.source.answers.update({"/cluster/resources": away}), 4: told(signal.SIGTERM)}
    served.at[3] = lambda: served.source.answers.pop("/cluster/resources")
    outcomes = [look.outcome for look in served.serve()]
    assert outcomes[0] is Outcome.OBSERVED and Outcome.ERROR in outcomes and outcomes[-1] is not Outcome.ERROR


def test_settings_are_read_again_when_asked_for_and_wrong_ones_change_nothing(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    served = Served(journal)

    def change(**settings: Any) -> Callable[[], None]:
        def changed() -> None:
            source = settings.pop("source", None)
            served.config = replace(served.config, source=source, run=replace(served.config.run, **settings))
            os.kill(os.getpid(), signal.SIGHUP)

        return changed

    served.at = {
        1: change(mode=RunMode.APPROVE), 2: change(source="wrong", mode=RunMode.AUTO),
        3: change(mode=RunMode.OBSERVE, every="1h"), 5: told(signal.SIGTERM),
    }  # fmt: skip
    with caplog.at_level(logging.INFO, logger="proxlb_plan"):
        looks = served.serve()
    assert [look.mode for look in looks] == [RunMode.OBSERVE, RunMode.APPROVE, RunMode.APPROVE, RunMode.OBSERVE]
    assert 3600 <= looks[3].at - looks[2].at < 3632, "also for the wait under way"
    assert served.opens == 4
    wrong = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert wrong == ["the settings are not read again, those before hold: policy.seed in wrong: make it a number"]


def test_who_is_told_to_end_in_mid_migration_waits_for_it_as_long_as_agreed(journal: Journal) -> None:
    served = Served(journal, replace(QUIET, mode=RunMode.AUTO, grace="10m"))
    served.source.on_post = lambda path: os.kill(os.getpid(), signal.SIGTERM)
    (look,) = served.serve()
    assert (look.outcome, look.done, look.failed) == (Outcome.CUT, 1, 0) and look.left > 0
    assert len(served.source.posts) == 1
    assert journal.run(look.run or 0).state is RunState.ABORTED


def test_and_then_leaves_it_to_proxmox_ve_and_the_next_process_finds_it(journal: Journal) -> None:
    served = Served(journal, replace(QUIET, mode=RunMode.AUTO, grace="1s"))
    served.source.on_post = lambda path: os.kill(os.getpid(), signal.SIGTERM)
    (look,) = served.serve()
    assert (look.outcome, look.done) == (Outcome.CUT, 0) and "goes on in the cluster" in look.why
    left = journal.run(look.run or 0)
    assert left.state is RunState.RUNNING and left.counts[Step.STARTED] == 1
    served.source.on_post = lambda path: None
    served.at = {look.number + 3: told(signal.SIGTERM)}  # what was left is a look of its own
    after = served.serve()[-1]
    assert journal.run(left.id).counts[Step.DONE] == 1, "what was under way has arrived"
    assert after.outcome in (Outcome.DONE, Outcome.BALANCED)
    asked = [path.split("/")[4] for path in served.source.posts]
    assert len(asked) == len(set(asked)), "nobody was asked to migrate twice"


def test_a_second_signal_leaves_at_once(journal: Journal) -> None:
    served = Served(journal, replace(QUIET, mode=RunMode.AUTO, grace="1h"))

    def twice(path: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    served.source.on_post = twice
    (look,) = served.serve()
    assert look.outcome is Outcome.CUT
    (left,) = journal.open("demo")
    assert left.counts.get(Step.CHECKED, 0) + left.counts.get(Step.STARTED, 0) == 1


def test_figures_are_written_after_each_look(journal: Journal, tmp_path: Path) -> None:
    file = tmp_path / "plan.prom"
    served = Served(journal, metrics=Metrics(textfile=str(file)))
    served.at[2] = told(signal.SIGTERM)
    served.serve()
    assert 'proxlb_plan_look_outcome{cluster="demo",id="cluster/demo",outcome="observed"} 1.0' in file.read_text()


def test_what_a_person_has_approved_of_meanwhile_counts_as_well(journal: Journal, tmp_path: Path) -> None:
    file = tmp_path / "plan.prom"
    served = Served(journal, metrics=Metrics(textfile=str(file)))
    approved = Look(at=EPOCH, cluster="demo", mode=RunMode.APPROVE, outcome=Outcome.DONE, run=1, done=3)
    served.at |= {2: lambda: journal.looks.add(approved) and None, 5: told(signal.SIGTERM)}
    served.serve()
    assert 'proxlb_plan_migrations_total{cluster="demo",id="cluster/demo",state="done"} 3.0' in file.read_text()


def test_one_look_has_an_exit_code(journal: Journal) -> None:
    served = Served(journal)
    with Daemon(served.opened, served.runs, now=lambda: EPOCH + served.clock.now()) as daemon:
        assert daemon.once() == 0
        served.source.answers["/cluster/resources"] = Unreachable("nobody answers")
        assert daemon.once() == 69


def test_what_is_ignored_stays_so(journal: Journal) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals(FastClock()).heard():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_a_look_is_told_in_one_line() -> None:
    look = Look(
        at=1.0, cluster="lab", mode=RunMode.AUTO, outcome=Outcome.DONE, number=7, spread_before=30.0, spread_after=2.0,
        bound=1.5, migrations=4, gib=20.0, done=4,
    )  # fmt: skip
    assert summary(look) == (
        "look 7 of lab: spread 30.00 points -> 2.00 with 4 migrations, 20.0 GiB (bound 1.50); done; "
        "4 done, 0 failed, 0 left"
    )
    blind = Look(at=1.0, cluster="lab", mode=RunMode.AUTO, outcome=Outcome.ERROR, why="nobody answers")
    assert summary(blind) == "look at lab: error: nobody answers"
