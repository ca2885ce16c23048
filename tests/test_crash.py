"""Claims about runs that are killed: at any instant, again and again, nothing is lost and nothing is done twice."""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from planner.journal import FILE, Journal, is_there
from planner.run import RunRecord, RunState, Step, Summary
from planner.runs import OPEN
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
        node = 1 if vmid == 121 else 1 + vmid % 2
        cluster.add_guest(vmid, f"pve{node}", kind, gib=1 + vmid % 3 / 2, status=status, **facts)
    apart, beside = {"affinity": "negative", "resources": "vm:115,vm:121"}, {"affinity": "positive"}
    rules = (apart, beside | {"resources": "vm:103,vm:109"})
    cluster.ha_rules = [{"type": "resource-affinity", **rule} for rule in rules]
    return cluster


class Scene:
    """A cluster, a plan for it, and processes that carry it out."""

    def __init__(self, served: Served, processes: Prefork, directory: Path, many: int) -> None:
        self.pve: CrashCluster = served.pve
        self.served, self.processes, self.pve.kill = served, processes, processes.strike
        self.config, self.plan = write_config(directory / "c.yaml", served), directory / "plan.json"
        self.begun = self.pve.where()
        self.kills = 0
        self.command: tuple[object, ...] = self.apply
        self.over = [RunState.DONE]
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
        """What a person does after a crash: resume, or the same again when the run had not begun."""
        return ("resume", "--yes", "--config", self.config) if self.is_open() else self.command

    def is_open(self) -> bool:
        """Whether there is something to resume."""
        return any(item.state in OPEN for item in self.runs())

    def is_over(self) -> bool:
        """Whether all is done."""
        return [item.state for item in self.runs()] == self.over

    def runs(self) -> tuple[Summary, ...]:
        """Newest first."""
        found: tuple[Summary, ...] = ()
        if is_there(Path(os.environ["STATE_DIRECTORY"]) / FILE):
            found = self.read(lambda journal: journal.runs())
        return found

    def turn_back(self) -> None:
        """From now on the run is taken back."""
        self.command = "rollback", 1, "--yes", "--config", self.config
        self.over = [RunState.DONE, RunState.ROLLED_BACK]
        self.begun = self.pve.where()
        self.migrations = [m | {"source": m["target"], "target": m["source"]} for m in self.migrations]
        self.pve.tasklog.clear()

    @staticmethod
    def read(ask: Callable[[Journal], Any]) -> Any:
        """What the journal says, read as another process does."""
        with Journal.reading(Path(os.environ["STATE_DIRECTORY"]) / FILE) as journal:
            return ask(journal)

    def record(self) -> RunRecord:
        found: RunRecord = self.read(lambda journal: journal.run(journal.runs(limit=1)[0].id))
        return found

    def killed_at(self, moment: Moment | Step, nth: int = 1) -> None:
        """Kill a process when a moment, or a step in the journal, comes for the so-manieth time."""
        if isinstance(moment, Moment):
            self.pve.trap(moment, nth)
            self.processes.begin(*self.go_on)
        else:
            already = self.count(moment)
            self.processes.begin(*self.go_on)
            while self.processes.lasts(0.0) and self.count(moment) < already + nth:
                pass
            self.processes.strike()
        outcome = self.processes.ended()
        assert outcome.code == KILLED and self.pve.sprung, (moment, outcome.err)
        self.was_killed()

    def killed_after(self, seconds: float) -> None:
        """Kill a process so long after its first request, if it still is there."""
        self.pve.heard.clear()
        self.processes.begin(*self.go_on)
        assert self.pve.heard.wait(30)
        if self.processes.lasts(seconds):
            self.processes.strike()
        outcome = self.processes.ended()
        assert outcome.code in (0, KILLED), outcome.err
        if outcome.code == KILLED:
            self.was_killed()

    def count(self, step: Step) -> int:
        """How often a step was recorded."""
        runs = self.runs()
        return sum(event.step is step for event in self.read(lambda journal: journal.events(runs[0].id))) if runs else 0

    def was_killed(self) -> None:
        self.kills += 1
        assert not self.pve.faults
        if self.is_open():
            check_killed(self)

    def finish(self) -> None:
        """Go on without a kill, and look at everything."""
        if not self.is_over():
            outcome = self.process(*self.go_on)
            assert outcome.code == 0, outcome.err + outcome.out
        check_done(self)


@contextmanager
def scene(directory: Path, processes: Prefork, many: int = 30, seed: int = 0) -> Iterator[Scene]:
    """A plan of so many migrations."""
    with serving(crowded(seed), directory) as served:
        yield Scene(served, processes, directory, many)


# ------------------------------------------------------------------ what must be true


def check_killed(scene: Scene) -> None:
    """A process is dead, its cluster goes on: the journal knows of everything that is under way or was done."""
    active, where, record = dict(scene.pve.active), scene.pve.where(), scene.record()
    by_step = {step: [entry for entry in record.entries if entry.step is step] for step in Step}
    for entry in by_step[Step.DONE]:
        assert where[entry.migration.vmid] == entry.migration.target
    open_guests = {entry.migration.vmid for step in (Step.CHECKED, Step.STARTED) for entry in by_step[step]}
    assert set(active) <= open_guests | mates(scene, open_guests)
    unsaid = {int(task["id"]) for task in unaccounted(scene, record)}
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


def check_done(scene: Scene) -> None:
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


def check_tasks(scene: Scene, record: RunRecord) -> None:
    """The journal knows tasks of the cluster alone, and accounts for each that was asked for."""
    tasks = {task["upid"] for task in scene.pve.migrations()}
    assert known(scene, record) | {entry.upid for entry in record.entries if entry.upid} <= tasks
    assert not unaccounted(scene, record)


def known(scene: Scene, record: RunRecord) -> set[str]:
    """Tasks that the journal knows."""
    events = scene.read(lambda journal: journal.events(record.id))
    return {event.upid for event in events if event.upid}


def unaccounted(scene: Scene, record: RunRecord) -> list[dict[str, Any]]:
    """Tasks that were asked for, of which the journal neither knows, nor what the HA manager began because of them,
    nor says why not."""
    tasks, ours = scene.pve.migrations(), known(scene, record)
    begun = {task["id"] for task in tasks if task["upid"] in ours and task["user"] == "root@pam"}
    unseen = {str(entry.migration.vmid) for entry in record.entries if "its task was not seen" in entry.note}
    rest = [task for task in scene.pve.asked_for() if task["upid"] not in ours and task["id"] not in unseen]
    return [task for task in rest if task["type"] != QUEUED or task["id"] not in begun]


# ------------------------------------------------------------------ at precise moments

WORST = (
    Moment.CONDITIONS, Moment.LATE, Moment.UNANSWERED, Moment.NODE_TASKS, Moment.ANSWERED, Step.CHECKED, Moment.LOST,
    Moment.NODE_TASKS, Moment.TASKS, Step.STARTED, Moment.TOLD, Moment.STATUS, Step.DONE, Moment.FIGURES,
)  # fmt: skip
"""One after the other in one run: some of them meet a process that finds out what became of another."""


def test_killed_at_one_of_the_worst_moments_after_the_other(tmp_path: Path, spare: Prefork) -> None:
    with scene(tmp_path, spare, 20) as crashing:
        for moment in WORST:
            crashing.killed_at(moment)
        crashing.finish()
        assert crashing.kills == len(WORST)


def test_what_is_under_way_when_a_process_dies_is_followed_by_the_next_and_keeps_its_place(
    tmp_path: Path, spare: Prefork
) -> None:
    with scene(tmp_path, spare, 8) as crashing:
        crashing.pve.paces = (2.0,)
        crashing.killed_at(Moment.ANSWERED, 4)
        crashing.finish()
        assert crashing.pve.busiest > 1


def test_a_guest_that_was_taken_along_while_nobody_looked_does_not_make_a_plan_stale(
    tmp_path: Path, spare: Prefork
) -> None:
    with scene(tmp_path, spare, 12) as crashing:
        leader = next(m["vmid"] for m in crashing.migrations if m["vmid"] in (103, 109))
        crashing.pve.trap(Moment.UNANSWERED, vmid=leader)
        assert crashing.process(*crashing.go_on).code == KILLED
        while not {103, 109} <= {guest.vmid for guest in crashing.pve.guests if guest.node not in ("pve1", "pve2")}:
            time.sleep(0.02)
        crashing.finish()


def test_what_the_ha_manager_does_stands_for_the_request_whose_answer_was_lost(tmp_path: Path, spare: Prefork) -> None:
    with scene(tmp_path, spare, 12) as crashing:
        crashing.pve.paces = (1.0,)
        vmid = next(m["vmid"] for m in crashing.migrations if m["vmid"] in (103, 109))
        crashing.pve.trap(Moment.UNANSWERED, vmid=vmid)
        assert crashing.process(*crashing.go_on).code == KILLED
        while not any(task["id"] == str(vmid) and task["user"] == "root@pam" for task in crashing.pve.migrations()):
            time.sleep(0.02)
        crashing.killed_at(Step.STARTED)
        crashing.finish()


@pytest.mark.slow
@pytest.mark.parametrize("nth", [1, 2, 5])
@pytest.mark.parametrize("moment", [*Moment, Step.CHECKED, Step.STARTED, Step.DONE], ids=lambda m: m.name.lower())
def test_killed_at_a_moment_of_its_own(tmp_path: Path, spare: Prefork, moment: Moment | Step, nth: int) -> None:
    with scene(tmp_path, spare, 8) as crashing:
        if moment is Moment.NODE_TASKS:  # which only a process asks for that looks for what another one did
            crashing.killed_at(Moment.UNANSWERED, nth)
            nth = 1
        crashing.killed_at(moment, nth)
        crashing.finish()


# ------------------------------------------------------------------ at any instant


MEAN = 0.35
"""Seconds after the first request until a process is killed; it migrates something after about 0.2."""


def killed_at_random(crashing: Scene, draw: random.Random, most: int) -> None:
    """A run that is killed again and again until it ends, or was so many times."""
    while not crashing.is_over() and crashing.kills < most:
        crashing.killed_after(draw.expovariate(1 / MEAN))
    crashing.finish()


def test_killed_twenty_times_at_random_instants(tmp_path: Path, spare: Prefork) -> None:
    draw, kills = random.Random(1), 0
    while kills < 20:
        with scene(place(tmp_path / str(kills)), spare) as crashing:
            killed_at_random(crashing, draw, 20 - kills)
            kills += crashing.kills


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(2, 6))
def test_killed_two_hundred_times_at_random_instants_there_and_back(tmp_path: Path, spare: Prefork, seed: int) -> None:
    draw, kills = random.Random(seed), 0
    while kills < 50:
        with scene(place(tmp_path / str(kills)), spare, seed=draw.randrange(2**32)) as crashing:
            crashing.pve.network["jitter"] = draw.choice((0.0, 0.02))
            killed_at_random(crashing, draw, 50 - kills)
            crashing.turn_back()
            killed_at_random(crashing, draw, 50 - kills)
            kills += crashing.kills


def place(directory: Path) -> Path:
    """Where another run has its files."""
    directory.mkdir()
    os.environ["STATE_DIRECTORY"] = str(directory / "state")
    return directory


# ------------------------------------------------------------------ hosts that die, disks that are full


@pytest.mark.parametrize(
    "moment",
    [Moment.UNANSWERED, *(pytest.param(m, marks=pytest.mark.slow) for m in (Moment.LATE, Moment.CONDITIONS))],
    ids=lambda m: m.name.lower(),
)
def test_an_api_host_may_die_in_mid_sentence_and_is_not_needed(tmp_path: Path, spare: Prefork, moment: Moment) -> None:
    with scene(tmp_path, spare, 8) as crashing:
        first = Relay(crashing.served)
        write_config(crashing.config, crashing.served, hosts=[first.at, crashing.served.at])
        crashing.pve.kill = first.strike
        crashing.pve.trap(moment, 4)
        outcome = crashing.process(*crashing.apply)
        assert crashing.pve.sprung and outcome.code == 0, outcome.err
        check_done(crashing)
        assert crashing.pve.busiest > 1


@pytest.mark.slow
def test_a_host_may_die_between_two_crashes(tmp_path: Path, spare: Prefork) -> None:
    with scene(tmp_path, spare, 8) as crashing:
        first = Relay(crashing.served)
        write_config(crashing.config, crashing.served, hosts=[first.at, crashing.served.at])
        crashing.killed_at(Moment.UNANSWERED, 2)
        first.die()
        crashing.killed_at(Moment.LATE, 1)
        crashing.finish()


def check_full(outcome: Outcome) -> None:
    assert outcome.code == 1
    assert "Traceback" not in outcome.err and "internal error" not in outcome.err
    (line,) = (line for line in outcome.err.splitlines() if line.startswith("proxlb-plan: "))
    assert "journal.sqlite3 cannot be used" in line and "full" in line


@pytest.mark.parametrize("kib", [30, 200, pytest.param(None, marks=pytest.mark.slow)])
def test_a_full_disk_stops_a_run_which_goes_on_when_there_is_room(
    tmp_path: Path, spare: Prefork, kib: int | None
) -> None:
    """A file may not grow beyond a size: an error of the disk for SQLite, wherever it is in its work."""
    sizes = [kib] if kib else random.Random(7).sample(range(8, 1000), 12)
    for size in sizes:
        with scene(place(tmp_path / str(size)), spare, 8) as crashing:
            outcome = crashing.process(*crashing.apply, largest=size * 1024)
            if outcome.code == 0:
                continue
            check_full(outcome)
            crashing.was_killed()
            posts = crashing.pve.posts.total()
            if crashing.is_open():
                again = crashing.process(*crashing.go_on, largest=4096)
                check_full(again)
                assert crashing.pve.posts.total() == posts  # nothing is sent that cannot be recorded
            crashing.finish()
