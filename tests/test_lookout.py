"""A scheduled look gathers, plans, asks the gates, carries out or proposes, and is in the journal afterwards."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner import runs as runs_of
from planner.choices import Active, Backups, Resource, RunMode
from planner.clock import FastClock
from planner.errors import ApiRefused, Exit, Unreachable
from planner.journal import Journal
from planner.look import GateName, Look, Outcome
from planner.lookout import Lookout, Taken, ToldToEnd
from planner.policy import Apply, Cluster, Policy
from planner.run import RunState, Step
from planner.runs import Runs
from planner.service import Opening, Run
from planner.session import Session
from planner.simulate import Size, demo
from planner.standing import MANAGER

EPOCH = 1_794_997_600.0
"""2026-11-18 10:26:40 UTC, a Wednesday."""
CALM = Policy(max_migrations=6, balanciness=5.0, time_limit=2.0)


class Altered:
    """The demo cluster, of which some answers are others."""

    def __init__(self, clock: FastClock) -> None:
        self.inner = demo(Size.SMALL, clock, epoch=EPOCH)
        self.answers: dict[str, Any] = {}
        self.posts: list[str] = []
        self.on_post: Callable[[str], None] = lambda path: None

    def get(self, path: str, /, **params: Any) -> Any:
        if path in self.answers:
            answer = self.answers[path]
            if isinstance(answer, Exception):
                raise answer
            return answer(self.inner.get(path, **params)) if callable(answer) else answer
        return self.inner.get(path, **params)

    def post(self, path: str, /, **data: Any) -> Any:
        self.on_post(path)
        self.posts.append(path)
        return self.inner.post(path, **data)

    def homes(self) -> dict[int, str]:
        return {row["vmid"]: row["node"] for row in self.inner.get("/cluster/resources") if "vmid" in row}


class World:
    """A cluster, a journal, and looks at it whose time is simulated."""

    def __init__(self, directory: Path | None = None) -> None:
        self.clock = FastClock()
        self.source = Altered(self.clock)
        self.journal = Journal(directory / "journal.sqlite3" if directory else None)
        self.runs = Runs(self.journal, directory)
        self.said: list[str] = []
        self.session = Session(CALM, Cluster(), Apply(), self.source, self.clock)
        self.ending = False
        self.ahead = 0.0

    def now(self) -> float:
        return EPOCH + self.clock.now() + self.ahead

    def taken(self, **settings: Any) -> Taken:
        run = Run(**({"mode": RunMode.AUTO, "solver": "descent", "looks": 1} | settings))
        return Lookout(
            run, self.session, self.runs, self.now, say=self.said.append, heed=self.heed, stop=lambda: self.ending
        ).look()

    def look(self, **settings: Any) -> Look:
        return self.taken(**settings).look

    def later(self, hours: float = 1 / 6) -> None:
        self.clock.sleep(hours * 3600)

    @contextmanager
    def heed(self) -> Iterator[Callable[[], bool]]:
        yield lambda: self.ending


@pytest.fixture(autouse=True)
def without_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds take longer than all the rest, and are not what this is about."""
    monkeypatch.setattr("planner.planning.with_bound", lambda problem, solver, answer, budget: answer)


@pytest.fixture
def world() -> World:
    return World()


def closed(look: Look) -> list[GateName]:
    assert (look.outcome is Outcome.REFUSED) == bool(look.refusals)
    return [refusal.gate for refusal in look.refusals]


# ------------------------------------------------------------------------------------------------ modes


def test_observe_records_what_it_would_do_and_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    taken = world.taken(mode=RunMode.OBSERVE)
    look = taken.look
    assert (look.outcome, taken.exit_code, world.source.posts) == (Outcome.OBSERVED, Exit.OK, [])
    assert look.migrations > 0 and look.gap is not None and look.spread_after < look.spread_before
    assert world.journal.looks.last() == (look,) and world.journal.runs() == ()
    plan = world.journal.looks.plan(look.number)
    assert plan is not None and len(plan.migrations) == look.migrations
    assert {load.node for load in look.loads} == {f"pve{i}" for i in range(1, 6)}


def test_auto_carries_out_and_then_finds_the_cluster_balanced(world: World) -> None:
    look = world.look()
    assert (look.outcome, look.done, look.failed, look.left) == (Outcome.DONE, look.migrations, 0, 0)
    assert look.seconds > 10, "the run is part of it"
    record = world.journal.run(look.run or 0)
    assert (record.kind, record.state) == ("scheduled", RunState.DONE)
    world.later()
    after = world.look()
    assert (after.outcome, after.above) == (Outcome.BALANCED, False)
    assert after.spread_before == pytest.approx(look.spread_after, abs=0.01)


def test_approve_proposes_a_plan_that_stays_as_long_as_it_holds(world: World) -> None:
    first = world.look(mode=RunMode.APPROVE)
    assert (first.outcome, world.source.posts) == (Outcome.PROPOSED, [])
    assert world.journal.run(first.run or 0).state is RunState.PROPOSED
    world.later()
    assert world.look(mode=RunMode.APPROVE).run == first.run
    guest = world.journal.run(first.run or 0).plan.migrations[0]
    world.source.inner.post(f"/nodes/{guest.source}/{'qemu' if guest.type == 'vm' else 'lxc'}/{guest.vmid}/migrate",
                            target=guest.target, online=1, restart=1)  # fmt: skip
    world.later()
    second = world.look(mode=RunMode.APPROVE)
    assert second.run != first.run, "it no longer holds"
    old = world.journal.run(first.run or 0)
    assert (old.state, old.why) == (RunState.WITHDRAWN, "another plan was proposed")
    world.later(30)
    assert world.look(mode=RunMode.APPROVE).run not in (first.run, second.run), "it has waited for too long"


def test_a_plan_that_waits_is_withdrawn_when_nobody_needs_it_any_more(world: World) -> None:
    run = world.look(mode=RunMode.APPROVE).run or 0
    world.session = replace(world.session, policy=replace(CALM, balanciness=90.0))
    assert world.look(mode=RunMode.APPROVE).outcome is Outcome.BALANCED
    assert world.journal.run(run).state is RunState.WITHDRAWN
    world.session = replace(world.session, policy=CALM)
    run = world.look(mode=RunMode.APPROVE).run or 0
    assert world.look(mode=RunMode.AUTO).outcome is Outcome.DONE
    assert world.journal.run(run).state is RunState.WITHDRAWN


# ------------------------------------------------------------------------------------------------ gates


def test_the_cluster_has_to_be_out_of_balance_for_some_looks_in_a_row(world: World) -> None:
    assert closed(world.look(looks=3)) == [GateName.LOOKS]
    world.later()
    world.session = replace(world.session, policy=replace(CALM, balanciness=90.0))
    assert world.look(looks=3).outcome is Outcome.BALANCED
    world.session = replace(world.session, policy=CALM)
    for many in (1, 2):
        world.later()
        look = world.look(looks=3)
        assert look.why == f"out of balance for {many} of 3 consecutive looks (run.looks)"
    world.later()
    assert world.look(looks=3).outcome is Outcome.DONE


def test_looks_of_other_days_do_not_count(world: World) -> None:
    world.look(looks=2)
    world.later(49)
    assert closed(world.look(looks=2)) == [GateName.LOOKS]


def test_a_plan_has_to_gain_enough_for_what_it_copies(world: World) -> None:
    look = world.look(min_gain=1.0)
    assert closed(look) == [GateName.GAIN]
    gain = (look.spread_before - look.spread_after) / look.gib  # type: ignore[operator]
    assert f"are {gain:.4f} points per GiB, less than 1" in look.why
    assert world.look(min_gain=gain * 0.99).outcome is Outcome.DONE


def test_rules_are_repaired_at_once_even_where_balance_has_to_wait(world: World) -> None:
    world.session = replace(world.session, settings=Cluster(maintenance_nodes=("pve3",)),
                            policy=replace(CALM, max_migrations=None))  # fmt: skip
    look = world.look(looks=3, min_gain=50.0)
    assert look.outcome is Outcome.DONE
    assert not [node for node in world.source.homes().values() if node == "pve3"]
    reasons = {e.migration.reason.split(" ")[0].rstrip(":") for e in world.journal.run(look.run or 0).entries}
    assert "balance" not in reasons, "nothing else is done on that occasion"


def test_migrations_of_the_last_hour_and_day_count(world: World) -> None:
    world.session = replace(world.session, policy=replace(CALM, balanciness=0.1))
    first = world.look(per_hour=2, per_day=3)
    assert (first.outcome, first.migrations) == (Outcome.DONE, 2), "the limit is one of the plan"
    world.later()
    assert closed(world.look(per_hour=2, per_day=3)) == [GateName.PER_HOUR]
    world.later(1)
    second = world.look(per_hour=2, per_day=3)
    assert (second.outcome, second.migrations) == (Outcome.DONE, 1)
    world.later(2)
    look = world.look(per_hour=2, per_day=3)
    assert closed(look) == [GateName.PER_DAY]
    assert look.why == "3 of 3 migrations were started within the last day (run.per_day)"


@pytest.mark.parametrize("begin, closed_at", [("*-*-* 22:00", GateName.WINDOW), ("*-*-* 10:00", None)])
def test_migrations_start_within_windows_alone(world: World, begin: str, closed_at: GateName | None) -> None:
    look = world.look(windows=(Opening(begin, lasts="1h", time_zone="UTC"),))
    assert closed(look) == ([closed_at] if closed_at else [])
    assert closed_at is None or "the next one begins: 2026-11-18" in look.why


@pytest.mark.parametrize("begin, closed_at", [("0 22 * * *", None), ("0 10 * * *", GateName.BLACKOUT)])
def test_and_not_within_blackouts(world: World, begin: str, closed_at: GateName | None) -> None:
    assert closed(world.look(blackouts=(Opening(begin, lasts="1h", time_zone="UTC"),))) == (
        [closed_at] if closed_at else []
    )


def test_and_within_the_hours_of_section_apply(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.session = replace(world.session, apply=Apply(hours=("22:00-22:05",)))
    assert closed(world.look()) == [GateName.HOURS]


def task(kind: str, vmid: str, user: str = "root@pam") -> dict[str, Any]:
    upid = f"UPID:pve1:00001000:00001000:65500000:{kind}:{vmid}:{user}:"
    return {"upid": upid, "type": kind, "id": vmid, "node": "pve1", "user": user, "starttime": 1700000000}


def test_a_backup_that_runs_pauses_it_also_one_of_many_guests(world: World) -> None:
    world.source.answers["/cluster/tasks"] = [task("vzdump", "")]
    look = world.look()
    assert closed(look) == [GateName.BACKUP] and "(run.backups)" in look.why
    assert world.look(backups=Backups.IGNORE).outcome is Outcome.DONE


def test_a_backup_that_begins_while_a_run_is_under_way_ends_it_in_good_order(world: World) -> None:
    world.source.on_post = lambda path: world.source.answers.update(
        {"/cluster/tasks": lambda tasks: [*tasks, task("vzdump", "")]}
    )
    look = world.look()
    assert (look.outcome, look.failed) == (Outcome.CUT, 0) and look.left > 0
    assert "a backup is running" in look.why
    assert world.journal.run(look.run or 0).state is RunState.ABORTED, "nobody resumes it: a new plan follows"
    world.source.on_post = lambda path: None
    del world.source.answers["/cluster/tasks"]
    world.later()
    assert world.look().outcome is Outcome.DONE


def test_it_needs_a_quorum(world: World) -> None:
    world.source.answers["/cluster/status"] = [{"type": "cluster", "name": "demo", "quorate": 0}]
    assert closed(world.look()) == [GateName.QUORUM]


def test_nothing_begins_while_others_migrate(world: World) -> None:
    world.source.answers["/cluster/tasks"] = [task("qmigrate", "101", "someone@pve")]
    look = world.look()
    assert closed(look) == [GateName.FOREIGN] and "guest 101 is being migrated by someone@pve" in look.why


def test_two_balancers_do_not_fight(world: World) -> None:
    def managed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row | ({"hastate": "started"} if "vmid" in row else {}) for row in rows]

    world.source.answers["/cluster/resources"] = managed
    world.source.answers["/cluster/options"] = {"crs": {"ha-auto-rebalance": 1}}
    assert world.look().outcome is Outcome.REFUSED, "no guest may be migrated at all"
    world.session = replace(world.session, policy=replace(CALM, with_ha_guests=True))
    look = world.look()
    assert closed(look) == [GateName.BALANCER] and "ha-auto-rebalance" in look.why


def test_a_plan_must_be_no_worse_under_the_loads_of_last_week(world: World) -> None:
    world.session = replace(world.session, policy=replace(CALM, max_migrations=1))
    shown = world.look(mode=RunMode.OBSERVE, last_week=True)
    assert shown.outcome is Outcome.OBSERVED, "the demo's guests have used much the same all week"
    plan = world.journal.looks.plan(shown.number)
    assert plan is not None
    (only,) = plan.migrations
    for row in world.source.inner.get("/cluster/resources"):
        if "vmid" in row:  # what the plan migrates went to where all was full, from where nobody needed anything
            used = row["maxmem"] if row["node"] == only.target or row["vmid"] == only.vmid else 0
            path = f"/nodes/{row['node']}/{row['type']}/{row['vmid']}/rrddata"
            world.source.answers[path] = using(used)
    look = world.look(mode=RunMode.OBSERVE, last_week=True)
    assert closed(look) == [GateName.LAST_WEEK] and "under the loads of the last week the worst spread" in look.why
    assert world.look(mode=RunMode.OBSERVE).outcome is Outcome.OBSERVED, "only where that is asked for"


def using(memory: int) -> Callable[[Any], Any]:
    return lambda points: [p | {k: memory for k in ("mem", "memhost") if k in p} for p in points]


def test_only_the_master_of_the_ha_manager_is_at_work_where_that_is_asked_for(world: World) -> None:
    settings = {"active": Active.HA_MANAGER, "node": "pve1"}
    world.source.answers[MANAGER] = {"manager_status": {"master_node": "pve2"}}
    look = world.look(**settings)
    assert (look.outcome, look.nodes) == (Outcome.STANDBY, 0)
    assert look.why == "the master of the HA manager is pve2, and this is pve1 (run.active, run.node)"
    world.source.answers[MANAGER] = {}
    assert "has no master" in world.look(**settings).why
    world.source.answers[MANAGER] = ApiRefused("no", status=501, reason="no")
    assert world.look(**settings).outcome is Outcome.STANDBY
    world.source.answers[MANAGER] = {"manager_status": {"master_node": "pve1"}}
    assert world.look(**settings).outcome is Outcome.DONE


def test_who_is_no_longer_the_master_starts_no_more(world: World) -> None:
    world.source.answers[MANAGER] = {"manager_status": {"master_node": "pve1"}}
    world.source.on_post = lambda path: world.source.answers.update(
        {MANAGER: {"manager_status": {"master_node": "pve2"}}}
    )
    look = world.look(active=Active.HA_MANAGER, node="pve1")
    assert look.outcome is Outcome.CUT and "the master of the HA manager is pve2" in look.why


def test_one_process_of_this_machine_at_a_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    with world.runs.lock("demo"):
        look = world.look()
    assert closed(look) == [GateName.LOCK] and world.source.posts == []
    assert world.look().outcome is Outcome.DONE


def test_a_window_that_closes_ends_the_run_and_that_is_no_failure(world: World) -> None:
    begin = Opening("*-*-* 10:20", lasts="7m", time_zone="UTC")  # closes 20 s after the look begins
    taken = world.taken(windows=(begin,))
    look = taken.look
    assert (look.outcome, look.failed, taken.exit_code) == (Outcome.CUT, 0, Exit.OK)
    assert look.done > 0 and look.left > 0 and "the time in which migrations may start is over" in look.why


# ------------------------------------------------------------------------------- what went wrong before


def test_what_a_killed_process_left_under_way_is_found_out_and_then_planned_anew(world: World) -> None:
    class Killed(BaseException):
        pass

    def sent(path: str) -> None:
        if len(world.source.posts) == 1:
            raise Killed  # of the second request nothing is known

    world.source.on_post = sent
    with pytest.raises(Killed):
        world.look()
    world.source.on_post = lambda path: None
    (left,) = world.journal.open("demo")
    assert left.state is RunState.RUNNING
    world.later(0.01)
    look = world.look()
    assert look.outcome is Outcome.DONE and look.run != left.id
    before = world.journal.run(left.id)
    assert before.state is RunState.ABORTED and before.counts.get(Step.DONE) == 1
    assert any(line.startswith(f"run {left.id} was interrupted") for line in world.said)
    (told,) = [each for each in world.journal.looks.last() if each.run == left.id]
    assert (told.outcome, told.done) == (Outcome.CUT, 1) and "is over now: 1 of 6 migrations are done" in told.why


def test_a_run_that_a_person_has_begun_waits_for_that_person(world: World) -> None:
    proposed = world.look(mode=RunMode.APPROVE).run or 0
    mine = world.journal.begin(world.journal.run(proposed).plan, "demo", world.now())
    world.journal.end(mine, RunState.STOPPED, world.now(), "Ctrl-C")
    look = world.look()
    assert closed(look) == [GateName.UNFINISHED]
    assert look.why == f"run {mine} was stopped: `proxlb-plan resume {mine}` or `proxlb-plan abort {mine}`"
    world.journal.abandon(mine, world.now(), "aborted")
    assert world.look().outcome is Outcome.DONE


def test_an_api_that_does_not_answer_is_a_look_that_says_so(world: World) -> None:
    world.look(mode=RunMode.OBSERVE)
    world.source.answers["/cluster/status"] = Unreachable("pve1 does not answer")
    taken = world.taken()
    assert (taken.look.outcome, taken.look.why) == (Outcome.ERROR, "pve1 does not answer")
    assert (taken.look.cluster, taken.exit_code) == ("demo", Exit.UNREACHABLE)
    del world.source.answers["/cluster/status"]
    assert world.look().outcome is Outcome.DONE


def test_an_error_of_our_own_ends_a_look_and_not_the_process(world: World) -> None:
    world.source.answers["/cluster/tasks"] = ZeroDivisionError("oops")
    taken = world.taken()
    assert taken.look.outcome is Outcome.ERROR and taken.exit_code == Exit.ERROR
    assert taken.look.why.startswith("internal error at ") and "ZeroDivisionError: oops" in taken.look.why


def test_who_is_told_to_end_begins_nothing(world: World) -> None:
    world.ending = True
    with pytest.raises(ToldToEnd):
        world.look()
    assert world.source.posts == [] and world.journal.looks.last() == ()


def test_who_is_told_to_end_in_the_middle_starts_no_more(world: World) -> None:
    def end(path: str) -> None:
        world.ending = True

    world.source.on_post = end
    taken = world.taken()
    assert (taken.look.outcome, taken.look.done, taken.exit_code) == (Outcome.CUT, 1, Exit.OK)
    assert taken.look.left == taken.look.migrations - 1 and taken.look.why == "it was asked to stop"
    assert list(world.journal.open("demo")) == []


def test_looks_and_runs_are_forgotten_as_the_settings_say(world: World) -> None:
    old = world.look(mode=RunMode.APPROVE, keep=2)
    world.later(24)
    new = world.look(mode=RunMode.APPROVE, keep=2, valid="1h")
    world.later(30)
    world.look(mode=RunMode.APPROVE, keep=2)
    assert [each.number for each in world.journal.looks.last()] == [new.number + 1, new.number]
    world.later(48)
    world.look(mode=RunMode.APPROVE, keep=2, valid="1h")
    assert old.run not in [each.id for each in world.journal.runs()]


def test_nothing_is_done_of_which_there_is_no_record(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.journal.close()
    taken = world.taken()
    assert taken.look.outcome is Outcome.ERROR and taken.look.number == 0 and world.source.posts == []
    assert any(line.startswith("note: this look is not recorded") for line in world.said)


def test_resources_of_several_kinds_are_in_a_look(world: World) -> None:
    world.session = replace(world.session, policy=replace(CALM, resource=(Resource.MEMORY, Resource.CPU)))
    assert {load.resource for load in world.look(mode=RunMode.OBSERVE).loads} == {Resource.MEMORY, Resource.CPU}


def test_the_runs_of_a_demo_are_in_memory() -> None:
    with runs_of.in_memory() as there:
        assert there.directory is None


# ----------------------------------------------------------------------------- between look and migration


def test_what_begins_while_a_look_plans_is_noticed_before_anything_starts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned(lookout: Lookout, *args: Any, _plan: Any = Lookout._planned) -> Any:
        world.source.answers["/cluster/tasks"] = [task("qmigrate", "101", "someone@pve")]
        return _plan(lookout, *args)

    monkeypatch.setattr(Lookout, "_planned", planned)
    look = world.look()
    assert closed(look) == [GateName.FOREIGN] and world.source.posts == []


def test_a_window_that_closes_while_it_plans_is_a_refusal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(lookout: Lookout, *args: Any, _plan: Any = Lookout._planned) -> Any:
        world.later(1)
        return _plan(lookout, *args)

    monkeypatch.setattr(Lookout, "_planned", planned)
    look = world.look(windows=(Opening("*-*-* 10:20", lasts="30m", time_zone="UTC"),))
    assert closed(look) == [GateName.WINDOW] and world.source.posts == []


def test_a_repair_is_asked_about_by_all_gates_that_are_not_of_balance(world: World) -> None:
    pair = [
        row for row in world.source.inner.get("/cluster/resources") if row["type"] == "qemu" and not row.get("tags")
    ]
    ha, other = next((a, b) for a in pair for b in pair if a["vmid"] < b["vmid"] and a["node"] == b["node"])

    def managed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        apart = {ha["vmid"]: {"hastate": "started", "tags": "plb_anti_affinity_x"},
                 other["vmid"]: {"tags": "plb_anti_affinity_x;plb_ignore_it"}}  # fmt: skip
        return [row | apart.get(row.get("vmid", 0), {}) for row in rows]

    world.source.answers["/cluster/resources"] = managed
    world.source.answers["/cluster/options"] = {"crs": {"ha-auto-rebalance": 1}}
    world.session = replace(world.session, policy=replace(CALM, with_ha_guests=True, max_migrations=None))
    look = world.look(looks=3)
    assert GateName.BALANCER in closed(look) and world.source.posts == []


def test_the_end_is_heeded_also_while_gates_are_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def worse(*args: Any) -> str:
        world.ending = True
        return ""

    monkeypatch.setattr("planner.lastweek.worse", worse)
    with pytest.raises(ToldToEnd):
        world.look(last_week=True, mode=RunMode.APPROVE)
    assert world.journal.runs() == ()


# --------------------------------------------------------------------------------------- hysteresis, names


@pytest.mark.parametrize("hours", [12, 24])
def test_looks_may_be_half_a_day_or_a_day_apart(world: World, hours: float) -> None:
    for _ in range(2):
        assert closed(world.look(looks=3)) == [GateName.LOOKS]
        world.later(hours + 0.01)
    assert world.look(looks=3).outcome is Outcome.DONE


def test_after_a_run_of_a_person_counting_begins_anew(world: World) -> None:
    for _ in range(2):
        world.look(looks=3, mode=RunMode.APPROVE)
        world.later()
    proposed = world.look(looks=3, mode=RunMode.APPROVE)
    assert proposed.outcome is Outcome.PROPOSED
    run = proposed.run or 0
    world.journal.approve(run, world.now())
    for number in (1, 2):
        for step in (Step.CHECKED, Step.STARTED, Step.DONE):
            world.journal.record(run, number, step, world.now(), upid="UPID:")
    world.journal.end(run, RunState.DONE, world.now())
    world.later()
    assert world.look(looks=3, mode=RunMode.APPROVE).why == "out of balance for 1 of 3 consecutive looks (run.looks)"


def test_a_proposal_is_what_the_look_that_names_it_shows(world: World) -> None:
    first = world.look(mode=RunMode.APPROVE)
    world.session = replace(world.session, policy=replace(CALM, max_migrations=2))
    again = world.look(mode=RunMode.APPROVE)
    assert (again.run, again.migrations, again.gib) == (first.run, first.migrations, first.gib)
    plan = world.journal.looks.plan(again.number)
    assert plan is not None and plan == world.journal.run(first.run or 0).plan


def test_who_only_observes_proposes_nothing_any_more(world: World) -> None:
    run = world.look(mode=RunMode.APPROVE).run or 0
    world.look(mode=RunMode.OBSERVE)
    assert world.journal.run(run).state is RunState.WITHDRAWN


def test_a_cluster_without_an_answer_is_not_taken_for_another_one(world: World) -> None:
    world.look(mode=RunMode.OBSERVE)
    world.source.answers["/cluster/status"] = [{"type": "cluster", "name": "other", "quorate": 1}]
    world.later()
    world.look(mode=RunMode.OBSERVE)
    world.source.answers["/cluster/status"] = Unreachable("nobody answers")
    look = world.look(mode=RunMode.OBSERVE)
    assert (look.outcome, look.cluster) == (Outcome.ERROR, "cluster"), "there are two that it could be"


def test_half_a_character_in_a_name_ends_nothing(world: World) -> None:
    world.source.answers["/cluster/status"] = [{"type": "cluster", "name": "\ud800x", "quorate": 1}]
    assert world.look().outcome is Outcome.DONE


def test_a_run_that_is_alive_is_not_taken_for_one_that_was_left(tmp_path: Path) -> None:
    world = World(tmp_path)
    run = world.look(mode=RunMode.APPROVE).run or 0
    with world.runs.lock("demo") as note:
        world.journal.approve(run, world.now())
        note(run)
        assert closed(world.look(mode=RunMode.OBSERVE)) == [GateName.LOCK]


def test_a_clock_that_was_wrong_does_not_use_up_the_limits(world: World) -> None:
    world.session = replace(world.session, policy=replace(CALM, balanciness=0.1))
    world.ahead = 240 * 3600.0
    assert world.look(per_hour=2).outcome is Outcome.DONE
    world.ahead = 0.0
    look = world.look(per_hour=2, mode=RunMode.OBSERVE)
    assert look.outcome is Outcome.OBSERVED, look.why
