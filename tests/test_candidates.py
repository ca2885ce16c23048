"""Claims about the loop that asks Proxmox VE about what a plan migrates: few questions, and no plan that it refuses."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from planner import snapshot as snapshots
from planner.candidates import LONG_ROUNDS, Checked, checked
from planner.clock import FastClock
from planner.cluster import Cluster
from planner.collect import collect
from planner.errors import Unreachable
from planner.preconditions import paths, read
from planner.pve import Pve
from planner.simulate import Size, demo
from planner.snapshot import Snapshot
from tests.fakecluster import FakeCluster, serving
from tests.rows import FixedSource, cluster, node, vm

MANY = 1500


@dataclass(frozen=True)
class Migration:
    """A guest and where it goes."""

    vmid: int
    target: str


@dataclass(frozen=True)
class Plan:
    """Migrations and nothing else."""

    migrations: tuple[Migration, ...]


class Planner:
    """Migrates the first so many guests, in an order of its own, that the answers in the snapshot allow; counts."""

    def __init__(self, of: Cluster, count: int, order: Iterable[int] | None = None) -> None:
        self.of, self.count, self.rounds = of, count, 0
        self.order = list(order or map(int, of.guests["vmid"]))

    def __call__(self, taken: Snapshot) -> Plan:
        self.rounds += 1
        said = read(taken, self.of.guests, self.of.nodes["node"])
        homes = dict(zip(self.of.guests["vmid"], self.of.guests["node"], strict=True))
        chosen = []
        for vmid in self.order:
            open_ = [
                n for n in self.of.nodes["node"] if n != homes[vmid] and not (vmid in said and n in said[vmid].barred)
            ]
            if open_ and not (vmid in said and (said[vmid].fixed or said[vmid].local_mib)):
                chosen.append(Migration(vmid, open_[0]))
        return Plan(tuple(chosen[: self.count]))


def a_cluster(guests: int) -> Cluster:
    return cluster(node("a"), node("b"), node("c"), *(vm(100 + n, "a") for n in range(guests)))


def source_for(of: Cluster, fixed: Iterable[int] = (), barred: Iterable[int] = ()) -> FixedSource:
    """Answers about every guest: fixed ones, ones that may only go to c, and free ones."""
    fixed, barred = set(fixed), set(barred)
    answers: dict[str, Any] = {}
    for vmid, path in paths(of.guests).items():
        nodes = {"b": {"unavailable_storages": ["x"]} if vmid in barred else {}, "c": {}}
        answers[path] = {"running": 1, "allowed_nodes": [n for n, why in nodes.items() if not why],
                         "not_allowed_nodes": nodes, "local_resources": ["usb0"] if vmid in fixed else []}  # fmt: skip
    return FixedSource(answers)


def about(source: FixedSource) -> list[str]:
    """What was asked about guests: nodes are asked about their CPUs besides."""
    return [path for path in source.asked if not path.endswith("/status")]


def run(of: Cluster, planner: Planner, source: Any, **more: Any) -> Checked[Plan]:
    return checked(of, list(map(int, of.guests["vmid"])), planner, source, **more)


def admitted(of: Cluster, plan: Plan, source: FixedSource) -> bool:
    """By every answer there is, asked for or not."""
    said = read(Snapshot({**of.snapshot.answers, **source.answers}, "", ""), of.guests, of.nodes["node"])
    return all(not said[m.vmid].fixed and m.target not in said[m.vmid].barred for m in plan.migrations)


def test_a_plan_without_migrations_asks_nothing() -> None:
    of = a_cluster(20)
    source = source_for(of)
    result = run(of, Planner(of, 0), source, scout=Planner(of, 0))
    assert result.plan.migrations == () and source.asked == [] and result.asked == 0


def test_a_plan_that_is_admitted_is_made_once_and_only_its_guests_are_asked_about() -> None:
    of = a_cluster(MANY)
    source, planner = source_for(of), Planner(of, 20)
    result = run(of, planner, source)
    assert planner.rounds == 1 and len(about(source)) == result.asked == 20
    assert sum(path.endswith("/migrate") for path in result.snapshot.answers) == 20


def test_a_second_round_asks_only_about_new_guests_until_nothing_is_refused() -> None:
    of = a_cluster(MANY)
    source, planner = source_for(of, fixed=range(100, 105), barred=range(105, 110)), Planner(of, 10)
    result = run(of, planner, source)
    assert [m.vmid for m in result.plan.migrations] == list(range(105, 115))
    assert admitted(of, result.plan, source) and planner.rounds == 2
    assert max(Counter(source.asked).values()) == 1 and len(about(source)) == 15


def test_a_bar_of_a_node_that_is_not_the_target_needs_no_second_plan() -> None:
    of = a_cluster(30)
    source, planner = source_for(of), Planner(of, 5)
    for path in source.answers:
        source.answers[path] |= {"allowed_nodes": ["b"], "not_allowed_nodes": {"c": {"unavailable_storages": ["x"]}}}
    assert admitted(of, run(of, planner, source).plan, source) and planner.rounds == 1


def test_local_disks_that_nothing_told_of_are_a_reason_to_plan_again() -> None:
    of = a_cluster(10)
    source, planner = source_for(of), Planner(of, 2)
    source.answers["/nodes/a/qemu/100/migrate"]["local_disks"] = [{"cdrom": 0, "volid": "l:x", "size": 2**30}]
    assert [m.vmid for m in run(of, planner, source).plan.migrations] == [101, 102]


def test_where_every_plan_is_refused_all_guests_are_asked_about_once_and_the_loop_ends() -> None:
    of = a_cluster(MANY)
    source, planner = source_for(of, fixed=range(100, 1590)), Planner(of, 10)
    result = run(of, planner, source, rounds=10)
    assert planner.rounds == 11 and [m.vmid for m in result.plan.migrations] == list(range(1590, 1600))
    assert len(about(source)) == MANY and max(Counter(source.asked).values()) == 1


def test_guests_that_are_not_movable_are_not_among_all() -> None:
    of = a_cluster(100)
    source = source_for(of, fixed=range(100, 200))
    result = checked(of, range(100, 150), Planner(of, 1, order=range(100, 150)), source, rounds=3)
    assert result.plan.migrations == () and len(about(source)) == 50


def test_a_scout_finds_the_guests_to_ask_about_before_the_first_long_plan() -> None:
    of = a_cluster(MANY)
    source, long, scout = source_for(of, fixed=range(100, 130)), Planner(of, 10), Planner(of, 10)
    result = run(of, long, source, scout=scout)
    assert long.rounds == 1 and scout.rounds == 4 and admitted(of, result.plan, source)


def test_what_only_the_long_plan_migrates_is_asked_about_too_and_long_plans_stay_few() -> None:
    of = a_cluster(200)
    backwards = range(299, 99, -1)
    source, scout = source_for(of, fixed=range(250, 300)), Planner(of, 10)
    long = Planner(of, 10, backwards)
    result = run(of, long, source, scout=scout)
    assert admitted(of, result.plan, source) and [m.vmid for m in result.plan.migrations] == list(range(249, 239, -1))
    assert long.rounds == LONG_ROUNDS + 1 and max(Counter(source.asked).values()) == 1


def test_a_solver_that_ignores_the_answers_ends_nevertheless() -> None:
    of = a_cluster(10)
    stubborn = Plan((Migration(100, "b"),))
    source = source_for(of, fixed=[100])
    assert checked(of, [100], lambda taken: stubborn, source).plan is stubborn and len(about(source)) == 1


def test_without_a_source_the_recorded_answers_are_planned_with() -> None:
    of = a_cluster(20)
    live = run(of, Planner(of, 3), source_for(of, fixed=[100]))
    of_file = Cluster(of.nodes, of.guests, live.snapshot)
    again = run(of_file, Planner(of, 3), None)
    assert again.plan == live.plan and again.asked == 0


def test_guests_of_which_nothing_can_be_known_are_planned_as_before_and_asked_about_once() -> None:
    of = a_cluster(50)
    source, planner = FixedSource(dict.fromkeys(paths(of.guests).values(), Unreachable("gone"))), Planner(of, 10)
    assert len(run(of, planner, source).plan.migrations) == 10 and planner.rounds == 1
    assert max(Counter(source.asked).values()) == 1


@pytest.mark.parametrize("refused", range(0, 12, 3))
def test_what_comes_out_is_what_knowing_everything_from_the_start_gives(refused: int) -> None:
    of = a_cluster(40)
    source = source_for(of, fixed=range(100, 100 + refused), barred=range(100 + refused, 105 + refused))
    knowing = Planner(of, 6)(Snapshot({**of.snapshot.answers, **source.answers}, "", ""))
    assert run(of, Planner(of, 6), source).plan == knowing
    assert run(of, Planner(of, 6), source, scout=Planner(of, 2)).plan == knowing


def test_the_loop_runs_on_the_demo_and_over_https(tmp_path: Path) -> None:
    source = demo(Size.SMALL, FastClock(1.0))
    of = collect(snapshots.take(source))
    assert run(of, Planner(of, 5), source).asked == 5
    pve = FakeCluster()
    for name in ("a", "b", "c"):
        pve.add_node(name)
    pve.add_guest(100, "a", pci=True)
    pve.add_guest(101, "a", missing_storages={"b": ["ceph"]})
    pve.add_guest(102, "a", "lxc").config["mp0"] = "/srv/x,mp=/x"
    pve.add_guest(103, "a", "lxc")
    with serving(pve, tmp_path) as served, Pve(served.connection()) as live:
        of = collect(snapshots.take(live))
        result = run(of, Planner(of, 2), live)
        asked = served.sent("GET", "/migrate") + served.sent("GET", "/config")
    assert result.plan.migrations == (Migration(101, "c"), Migration(103, "b")) and asked == 4
