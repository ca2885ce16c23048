"""Claims about runs that are killed: at any instant, again and again, nothing is lost and nothing is done twice."""

import itertools
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from planner.journal import FILE, Journal
from planner.run import RunRecord, RunState, Step
from planner.sight import QUEUED
from tests.commandline import Outcome, alone, write_config
from tests.crashing import CrashCluster, Moment, Prefork, Relay
from tests.fakecluster import Served, serving

KILLED = -9


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefork]:
    """Processes for all tests: the first one takes a second to begin."""
    with Prefork(tmp_path_factory.mktemp("processes")) as processes:
        yield processes


def crowded(seed: int = 0) -> CrashCluster:
    """Seven nodes, two of them with far too many guests of all kinds."""
    cluster = CrashCluster(seed)
    for number in range(1, 8):
        cluster.add_node(f"pve{number}")
    for vmid in range(100, 148):
        kind = "lxc" if vmid % 8 == 0 else "qemu"
        status = "stopped" if vmid % 16 == 3 else "running"
        facts: dict[str, Any] = {"ha_state": "started"} if vmid % 6 == 1 else {}
        cluster.add_guest(vmid, f"pve{1 + vmid % 2}", kind, gib=1 + vmid % 3 / 2, status=status, **facts)
    cluster.ha_rules = [{"type": "resource-affinity", "affinity": "positive", "resources": "vm:103,vm:109"},
                        {"type": "resource-affinity", "affinity": "negative", "resources": "vm:115,vm:121"}]  # fmt: skip
    return cluster


class Scene:
    """A cluster, a plan for it, and processes that carry it out."""

    def __init__(self, served: Served, processes: Prefork, directory: Path, many: int) -> None:
        self.pve: CrashCluster = served.pve
        self.served, self.processes, self.pve.processes = served, processes, processes
        self.config, self.plan = write_config(directory / "c.yaml", served), directory / "plan.json"
        self.begun = self.pve.where()
        self.kills = 0
        words = ("--config", self.config, "--solver", "greedy", "--balanciness", 0, "--max-migrations", many)
        limits = ("--parallel", 5, "--per-source", 4, "--per-target", 2)
        made = self.process("plan", *words, *limits, "--out", self.plan)
        assert made.code == 0, made.err
        document = json.loads(self.plan.read_text())
        self.migrations = [migration for wave in document["waves"] for migration in wave]
        assert len(self.migrations) == many
        self.pve.limits = document["schedule"]

    def process(self, *words: object, largest: int = 0) -> Outcome:
        self.processes.begin(*words, largest=largest)
        return self.processes.ended()

    @property
    def apply(self) -> tuple[object, ...]:
        return "apply", self.plan, "--yes", "--config", self.config

    @property
    def go_on(self) -> tuple[object, ...]:
        """What a person does after a crash: resume, or apply when the run had not begun."""
        return ("resume", "--yes", "--config", self.config) if self.is_open() else self.apply

    def is_open(self) -> bool:
        return (Path(os.environ["STATE_DIRECTORY"]) / FILE).exists() and any(
            item.state in (RunState.RUNNING, RunState.STOPPED) for item in self.read(lambda journal: journal.runs())
        )

    @staticmethod
    def read(ask: Callable[[Journal], Any]) -> Any:
        """What the journal says, read as another process does."""
        with Journal.reading(Path(os.environ["STATE_DIRECTORY"]) / FILE) as journal:
            return ask(journal)

    def record(self) -> RunRecord:
        found: RunRecord = self.read(lambda journal: journal.run(journal.runs(limit=1)[0].id))
        return found

    def killed_at(self, moment: Moment, time: int = 1, words: tuple[object, ...] | None = None) -> None:
        """Kill a process when a moment comes for the so-manieth time."""
        self.pve.trap(moment, time)
        outcome = self.process(*(words or self.go_on))
        assert (outcome.code, self.pve.sprung) == (KILLED, True), outcome.err
        self.was_killed()

    def was_killed(self) -> None:
        self.kills += 1
        assert not self.pve.faults
        if self.is_open():
            check_killed(self)

    def finish(self) -> None:
        """Go on without a kill, and look at everything."""
        outcome = self.process(*self.go_on)
        assert outcome.code == 0, outcome.err
        check_done(self, outcome)


@pytest.fixture
def scene(tmp_path: Path, spare: Prefork) -> Iterator[Scene]:
    """A plan of few migrations."""
    with serving(crowded(), tmp_path) as served:
        yield Scene(served, spare, tmp_path, 8)


# ------------------------------------------------------------------ what must be true


def check_killed(scene: Scene) -> None:
    """A process is dead, its cluster goes on: the journal knows of everything that is under way or was done."""
    active, where, tasks = dict(scene.pve.active), scene.pve.where(), list(scene.pve.asked_for())
    record = scene.record()
    events = scene.read(lambda journal: journal.events(record.id))
    known = {event.upid for event in events if event.upid}
    by_step = {step: [entry for entry in record.entries if entry.step is step] for step in Step}
    for entry in by_step[Step.DONE]:
        assert where[entry.migration.vmid] == entry.migration.target
    open_guests = {entry.migration.vmid for step in (Step.CHECKED, Step.STARTED) for entry in by_step[step]}
    assert set(active) <= open_guests | mates(scene, open_guests)
    unsaid = {int(task["id"]) for task in tasks if task["upid"] not in known}
    assert unsaid <= {entry.migration.vmid for entry in by_step[Step.CHECKED]}
    for migration in scene.migrations:
        assert where[migration["vmid"]] in (migration["source"], migration["target"])
    for entry in by_step[Step.PLANNED]:
        assert where[entry.migration.vmid] == entry.migration.source or entry.migration.vmid in mates(scene, set(where))


def mates(scene: Scene, guests: set[int]) -> set[int]:
    """Guests that the HA manager may take along with these."""
    bundles = Counter(migration["bundle"] for migration in scene.migrations)
    ours = {m["bundle"] for m in scene.migrations if m["vmid"] in guests and bundles[m["bundle"]] > 1}
    return {m["vmid"] for m in scene.migrations if m["bundle"] in ours}


def check_done(scene: Scene, outcome: Outcome) -> None:
    """All is done, once, and the journal agrees with the cluster."""
    pve, record = scene.pve, scene.record()
    assert not pve.faults
    assert not pve.active and not any(guest.lock for guest in pve.guests)
    assert record.state is RunState.DONE and {entry.step for entry in record.entries} == {Step.DONE}
    assert len(record.entries) == len(scene.migrations)
    assert pve.where() == scene.begun | {m["vmid"]: m["target"] for m in scene.migrations}
    check_tasks(scene, record)
    moved = Counter((int(task["id"]), task["type"] != "hamigrate") for task in pve.migrations())
    assert set(moved.values()) == {1}, "a guest was migrated twice"
    assert "Traceback" not in outcome.err


def check_tasks(scene: Scene, record: RunRecord) -> None:
    """The journal knows each task of the cluster, or the one that the HA manager began because of it, or says why."""
    events = scene.read(lambda journal: journal.events(record.id))
    known = {event.upid for event in events if event.upid}
    tasks = {task["upid"]: task for task in scene.pve.migrations()}
    assert known | {entry.upid for entry in record.entries if entry.upid} <= set(tasks)
    seen = {tasks[upid]["id"] for upid in known if tasks[upid]["user"] == "root@pam"}
    unseen = {str(entry.migration.vmid) for entry in record.entries if "its task was not seen" in entry.note}
    for task in scene.pve.asked_for():
        assert task["upid"] in known or task["id"] in unseen or (task["type"] == QUEUED and task["id"] in seen), task


# ------------------------------------------------------------------ at precise moments


@pytest.mark.parametrize("time", [1, 5])
@pytest.mark.parametrize("moment", list(Moment), ids=lambda moment: moment.name.lower())
def test_killed_at_the_worst_moment(scene: Scene, moment: Moment, time: int) -> None:
    if moment is Moment.NODE_TASKS:  # which only a process asks for that looks for what another one did
        scene.killed_at(Moment.UNANSWERED, time)
        time = 1
    scene.killed_at(moment, time)
    scene.finish()
