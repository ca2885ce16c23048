"""Claims about what nodes can give: limits that plans keep, and memory that is given back to guests."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner import config
from planner.anonymise import anonymised
from planner.capacity import bound
from planner.collect import collect
from planner.errors import ConfigError, Exit
from planner.explain import violation
from planner.formulate import Formulation
from planner.plan import Plan
from planner.planning import make_plan, prepare
from planner.policy import Cluster as ClusterPolicy
from planner.policy import GuestMemory, Mode, Overcommit, Policy, Reserve, Resource
from planner.snapshot import RESOURCES, Snapshot, content_path, hour_path, take, with_last_hour
from solvers import check
from solvers.problem import PPM, Ints
from tests.commandline import Cli, alone, calling
from tests.rows import (
    GIB,
    KNOWN,
    TAKEN_AT,
    FixedSource,
    cluster,
    ct,
    formulated,
    guests,
    node,
    nodes,
    offline,
    recorded,
    snapshot,
    stopped,
    storage,
    vm,
    volume,
)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    alone(monkeypatch, tmp_path)
    return calling(capsys)


TIGHT: dict[str, Any] = {"balanciness": 0, "time_limit": 2}
FULL = [node("a", used=32), node("b", used=0), *(vm(i, "a", 4) for i in range(1, 9))]
"""Eight guests of 4 GiB and two vCPUs on one of two nodes of 64 GiB and 16 threads."""


def column(found: Formulation, name: str) -> tuple[list[int], list[int]]:
    """What guests need of a capacity, and what nodes have."""
    r = found.capacities.index(name)
    return found.problem.needs[:, r].tolist(), found.problem.capacity[:, r].tolist()


def planned(rows: list[Any], policy: Policy, solver: str = "descent", **answers: Any) -> Plan:
    return make_plan(prepare(cluster(*rows, **answers), policy), solver)


def after(rows: list[Any], plan: Plan) -> dict[int, str]:
    """vmid to the node on which it is in the end."""
    return {row["vmid"]: row["node"] for row in rows if "vmid" in row} | {m.vmid: m.target for m in plan.migrations}


def on(rows: list[Any], plan: Plan, name: str) -> int:
    return sum(at == name for at in after(rows, plan).values())


def at(found: Formulation, **where: list[int]) -> Ints:
    """An assignment: node to the vmids that are there; the rest stays."""
    result = found.problem.origin.copy()
    for name, vmids in where.items():
        result[found.guests["vmid"].isin(vmids).to_numpy()] = found.nodes.index(name)
    return result


def says(found: Formulation) -> list[str]:
    return [violation(found, item) for item in check.violations(found.problem, found.problem.origin)]


# Memory


@pytest.mark.parametrize("solver", ["greedy", "descent", "cpsat"])
def test_with_less_of_its_memory_to_give_a_node_receives_less(solver: str) -> None:
    assert on(FULL, planned(FULL, Policy(**TIGHT), solver), "b") == 4
    limited = Policy(**TIGHT, overcommit={"b": Overcommit(memory=0.2)})
    assert on(FULL, planned(FULL, limited, solver), "b") == 3, "12 of 12.8 GiB"


def test_memory_that_is_configured_may_be_more_than_there_is_where_that_is_allowed() -> None:
    rows = [node("a", 64, used=16), node("b", 8, used=0), *(vm(i, "a", 8, used=2) for i in range(1, 9))]
    strict, loose = (Policy(fit=Mode.ASSIGNED, overcommit={"default": Overcommit(f)}) for f in (1, 2))
    found = [formulated(cluster(*rows), policy) for policy in (strict, loose)]
    assert [column(f, "memory")[1] for f in found] == [[65536, 8192], [131072, 16384]]
    assert [bool(check.broken(f.problem, at(f, b=[1, 2]))) for f in found] == [True, False]
    assert not check.broken(found[0].problem, at(found[0], b=[1]))


def test_a_factor_is_of_what_the_reserve_leaves_and_the_node_itself_needs_its_own() -> None:
    rows = [node("a", 64, used=14), node("b", 64, used=0), vm(1, "a", 4)]
    policy = Policy(reserve={"default": Reserve(memory=4)}, overcommit={"a": Overcommit(memory=1.5)})
    assert column(formulated(cluster(*rows), policy), "memory")[1] == [(60 * 3 // 2 - 10) * 1024, 60 * 1024]


# vCPUs


@pytest.mark.parametrize("solver", ["greedy", "descent", "cpsat"])
def test_a_node_takes_no_more_vcpus_than_its_threads_times_the_factor(solver: str) -> None:
    rows = [node("a", used=32), node("b", threads=4), *FULL[2:]]
    plan = planned(rows, Policy(**TIGHT, overcommit={"default": Overcommit(cpu=1)}), solver)
    assert on(rows, plan, "b") == 2, "two vCPUs each, on 4 threads"


def test_vcpus_are_those_of_guests_that_are_not_stopped_and_threads_those_that_the_reserve_leaves() -> None:
    rows = [node("a"), node("b", threads=8), vm(1, "a", maxcpu=4), stopped(2, "a"), ct(3, "b", maxcpu=3)]
    policy = Policy(overcommit={"default": Overcommit(cpu=1.5)}, reserve={"default": Reserve(cpu=2)})
    assert column(formulated(cluster(*rows), policy), "vCPUs") == ([4000, 0, 3000], [21000, 9000])
    assert formulated(cluster(*rows)).capacities == ("memory",)


def test_a_node_without_a_factor_has_no_limit_of_vcpus() -> None:
    rows = [node("a", threads=8), node("b", threads=8), vm(1, "a", maxcpu=8), vm(2, "a", maxcpu=8)]
    found = formulated(cluster(*rows), Policy(overcommit={"b": Overcommit(cpu=1)}))
    assert column(found, "vCPUs")[1] == [16000, 8000]
    assert check.violations(found.problem, found.problem.origin) == []
    assert check.broken(found.problem, at(found, b=[1, 2])) and not check.broken(found.problem, at(found, b=[1]))


def test_too_many_vcpus_are_reported_and_repaired() -> None:
    rows = [node("a", threads=4, used=16), node("b", threads=8, used=16), *(vm(i, "a", 4) for i in range(1, 5))]
    policy = Policy(balanciness=100, time_limit=2, overcommit={"default": Overcommit(cpu=1.5)})
    assert says(formulated(cluster(*rows), policy)) == [
        "the guests on a have more vCPUs than the 6 that overcommit allows"
    ]
    plan = planned(rows, policy, "cpsat")
    assert (on(rows, plan, "a"), plan.violations_after) == (3, ())


# Number of guests


@pytest.mark.parametrize("solver", ["greedy", "descent", "cpsat"])
def test_a_node_takes_no_more_guests_than_its_maximum(solver: str) -> None:
    assert on(FULL, planned(FULL, Policy(**TIGHT, max_guests={"default": 60, "b": 2}), solver), "b") == 2


@pytest.mark.parametrize(("solver", "most"), [("greedy", 7), ("descent", 7), ("cpsat", 5)])
def test_more_guests_than_the_maximum_are_reported_and_repaired(solver: str, most: int) -> None:
    policy = Policy(balanciness=100, time_limit=2, max_guests={"a": most})
    plan = planned(FULL, policy, solver)
    assert plan.violations_before == (f"a holds more guests than its maximum of {most}",)
    assert (on(FULL, plan, "a"), plan.violations_after) == (most, ())
    assert plan.migrations[0].reason == f"repairs: a holds more guests than its maximum of {most}"


def test_stopped_guests_count_and_templates_do_not() -> None:
    rows = [node("a"), node("b"), vm(1, "a"), stopped(2, "a"), vm(3, "a", template=1)]
    found = formulated(cluster(*rows), Policy(max_guests={"a": 2, "b": 1}))
    assert column(found, "guests") == ([1, 1], [2, 1])
    assert says(found) == []
    assert check.broken(found.problem, at(found, b=[1, 2])) and not check.broken(found.problem, at(found, b=[2]))


# Local storages by their names


def on_storages(*rows: Any, **volumes: list[Any]) -> dict[str, Any]:
    """Answers about the volumes on storages: `node_storage` to volumes."""
    places = [(row["node"], row["storage"]) for row in rows if row["type"] == "storage"]
    return {content_path(*place): volumes.get("_".join(place), []) for place in places}


STORED = [
    node("a", used=8), node("b"), node("c"), vm(1, "a"), vm(2, "a"),
    storage("fast", "a", 100, 60), storage("fast", "b", 30, 10), storage("big", "a", 100), storage("big", "c", 100),
]  # fmt: skip
VOLUMES = on_storages(*STORED, a_fast=[volume(1, 10), volume(2, 15), volume(2, 10, used=5 * GIB)], a_big=[volume(2, 1)])
COPIED = Policy(**TIGHT, with_local_disks=True)


def test_each_storage_that_several_nodes_have_is_a_capacity() -> None:
    found = formulated(cluster(*STORED, **VOLUMES), COPIED)
    assert found.capacities == ("memory", "storage big", "storage fast")
    # a has 60 used, of which 30 are of guests that could leave; a volume of 10 that holds 5 needs its 10.
    assert column(found, "storage fast") == ([10240, 25600], [70 * 1024, 20 * 1024, 0])
    assert column(found, "storage big") == ([0, 1024], [100 * 1024, 0, 100 * 1024])
    assert formulated(cluster(*STORED, **VOLUMES)).capacities == ("memory",), "they stay, with their disks"


@pytest.mark.parametrize("solver", ["greedy", "descent", "cpsat"])
def test_a_guest_goes_only_where_each_of_its_storages_exists_and_has_room(solver: str) -> None:
    found = formulated(cluster(*STORED, **VOLUMES), COPIED)
    where = {(g, n): bool(check.broken(found.problem, at(found, **{n: [g]}))) for g in (1, 2) for n in "bc"}
    assert where == {(1, "b"): False, (1, "c"): True, (2, "b"): True, (2, "c"): True}
    assert [(m.vmid, m.target) for m in planned(STORED, COPIED, solver, **VOLUMES).migrations] == [(1, "b")]


def test_each_storage_has_the_reserve_of_its_node() -> None:
    policy = Policy(with_local_disks=True, reserve={"b": Reserve(disk=15)})
    found = formulated(cluster(*STORED, **VOLUMES), policy)
    assert column(found, "storage fast")[1] == [70 * 1024, 5 * 1024, 0]
    assert check.broken(found.problem, at(found, b=[1]))


def test_a_storage_that_holds_less_than_its_guests_need_is_reported() -> None:
    rows = [node("a"), node("b"), vm(1, "a"), storage("s", "a", 10, 5), storage("s", "b", 50)]
    found = formulated(cluster(*rows, **on_storages(*rows, a_s=[volume(1, 20, used=5 * GIB)])), COPIED)
    assert says(found) == ["storage s of a has less room than its guests need"]


@pytest.mark.parametrize("elsewhere", [[], [storage("own", "c", status="unknown")], [storage("own", "d")]])
def test_a_guest_on_a_storage_that_no_other_node_has_stays(elsewhere: list[Any]) -> None:
    rows = [*STORED, offline("d"), storage("own", "a"), *elsewhere]
    source = cluster(*rows, **VOLUMES | on_storages(*rows[9:], a_own=[volume(1, 1)]))
    found = formulated(source, COPIED)
    assert found.fixed == {1: "it has disks on storage own, which no other node has"}
    assert not found.problem.movable[0]
    assert bound(source, source.guests, ("a", "b", "c", "d")) == (
        {} if elsewhere == [storage("own", "d")] else found.fixed
    )


def test_who_cannot_leave_a_node_in_maintenance_for_its_storage_is_said() -> None:
    rows = [node("a"), node("b"), vm(1, "a"), storage("own", "a")]
    source = cluster(*rows, **on_storages(*rows, a_own=[volume(1, 1)]))
    plan = make_plan(prepare(source, COPIED, ClusterPolicy(maintenance_nodes=("a",))), "greedy")
    assert [s.reason for s in plan.stranded] == [
        "stays in maintenance: it has disks on storage own, which no other node has"
    ]


def test_storages_and_volumes_are_frames() -> None:
    source = cluster(*STORED, **VOLUMES)
    assert source.storages.to_dict("split")["data"] == [
        ["a", "big", 102400, 0], ["a", "fast", 102400, 61440], ["b", "fast", 30720, 10240], ["c", "big", 102400, 0],
    ]  # fmt: skip
    assert source.volumes.to_dict("split")["data"] == [
        [1, "fast", 10240, 10240], [2, "big", 1024, 1024], [2, "fast", 15360, 15360], [2, "fast", 10240, 5120],
    ]  # fmt: skip
    assert source.volumes.groupby("vmid")["size_mib"].sum().tolist() == source.guests["disk_mib"].tolist()


# Memory that guests give back


def test_a_guest_costs_what_its_node_says_or_what_it_says_itself() -> None:
    row = next(row for row in recorded("cluster_resources") if row.get("vmid") == 100)
    asked, history = recorded("status_current_100"), recorded("qemu_rrddata_hour")
    latest = next(point for point in reversed(history) if "mem" in point)
    for answer in (asked, latest):  # the two figures are the same ones everywhere
        assert (answer["mem"], answer["memhost"]) == (6_000_000_000, 6_500_000_000)
    found = guests(node("pve1"), row | {"mem": asked["mem"], "memhost": asked["memhost"]})[100]
    assert (found.memory_guest_mib, found.memory_used_mib) == (5722, 6199)
    for missing in (None, 0):
        found = guests(node("pve1"), row | {"mem": asked["mem"], "memhost": missing})[100]
        assert (found.memory_guest_mib, found.memory_used_mib) == (5722, 5722)


CACHED = [node("a", 100, used=50), node("b", 100, used=20), vm(1, "a", 40, mem=10 * GIB), vm(2, "b", 20)]
"""Guest 1 costs its node 40 GiB and uses 10 by its own account; the node itself uses 10."""


def test_what_a_guest_no_longer_uses_is_no_load_of_its_node_either() -> None:
    host, guest = (formulated(cluster(*CACHED), Policy(guest_memory=whose)) for whose in GuestMemory)
    percent = [(f.problem.loads(f.problem.origin)[0] * 100 // PPM).tolist() for f in (host, guest)]
    assert percent == [[50, 20], [20, 20]]
    assert [column(f, "memory") for f in (host, guest)] == [
        ([40960, 20480], [90 * 1024, 102400]), ([10240, 20480], [90 * 1024, 102400]),
    ]  # fmt: skip
    assert host.problem.copy_mib.tolist() == guest.problem.copy_mib.tolist() == [40960, 20480], "all of it is copied"
    assert planned(CACHED, Policy(balanciness=10, guest_memory=GuestMemory.GUEST)).migrations == ()
    assert planned(CACHED, Policy(balanciness=10)).migrations != ()


def test_configured_memory_is_the_same_by_every_account() -> None:
    host, guest = (formulated(cluster(*CACHED), Policy(mode=Mode.ASSIGNED, guest_memory=who)) for who in GuestMemory)
    assert host.problem.demand.tolist() == guest.problem.demand.tolist()


def test_cached_memory_makes_room_for_guests_by_the_guests_account_only() -> None:
    rows = [node("a", 64, used=60), node("b", 64, used=60), vm(1, "a", 60, mem=20 * GIB), vm(2, "b", 60, mem=30 * GIB)]
    host, guest = (formulated(cluster(*rows), Policy(guest_memory=whose)) for whose in GuestMemory)
    assert check.broken(host.problem, at(host, b=[1])) and not check.broken(guest.problem, at(guest, b=[1]))


def points(*arc: int | None) -> list[dict[str, Any]]:
    """A point per minute; None: not yet known."""
    return [{"time": 60 * i} | ({} if gib is None else {"arcsize": gib * GIB, "cpu": 0.5}) for i, gib in enumerate(arc)]


ARC = [node("a", 100, used=50), node("b", 100, used=30), vm(1, "a", 10), vm(2, "a", 10), vm(3, "b", 30)]


@pytest.mark.parametrize(
    ("answer", "mib"),
    [
        (points(1, 8, None, None), 8192),
        (list(reversed(points(1, 8, None, None))), 8192),
        (points(None), -1),
        ([], -1),
        (None, -1),
    ],
)
def test_the_arc_is_the_latest_figure_that_is_known(answer: Any, mib: int) -> None:
    assert nodes(*ARC, **{hour_path("a"): answer})["a"].arc_mib == mib


def test_the_recorded_history_is_understood() -> None:
    history = recorded("node_rrddata_hour")
    assert history[-1].keys() == {"time"}
    assert nodes(node("pve1"), **{hour_path("pve1"): history})["pve1"].arc_mib == 0
    filled = [point | {"arcsize": 3 * GIB} if "arcsize" in point else point for point in history]
    assert nodes(node("pve1"), **{hour_path("pve1"): filled})["pve1"].arc_mib == 3072
    eight = [{key: value for key, value in point.items() if key != "arcsize"} for point in history]
    assert nodes(node("pve1"), **{hour_path("pve1"): eight})["pve1"].arc_mib == -1


def test_the_arc_is_neither_load_nor_in_the_way_when_it_is_to_be_reclaimed() -> None:
    source = cluster(*ARC, **{hour_path("a"): points(20), hour_path("b"): points(0)})
    kept, free = (formulated(source, Policy(reclaim_arc=reclaim)) for reclaim in (False, True))
    percent = [(f.problem.loads(f.problem.origin)[0] * 100 // PPM).tolist() for f in (kept, free)]
    assert percent == [[50, 30], [30, 30]]
    assert [column(f, "memory")[1][0] for f in (kept, free)] == [70 * 1024, 90 * 1024]
    assert kept.notes == free.notes == ()
    assert [bool(make_plan(prepare(source, Policy(reclaim_arc=r)), "descent").migrations) for r in (False, True)] == [
        True, False,
    ]  # fmt: skip


def test_a_node_never_uses_less_than_nothing() -> None:
    source = cluster(*ARC, **{hour_path("a"): points(45)})
    found = formulated(source, Policy(reclaim_arc=True))
    assert (found.problem.loads(found.problem.origin)[0] * 100 // PPM).tolist() == [20, 30]


def test_where_the_arc_is_not_known_all_memory_counts_and_that_is_said() -> None:
    source = cluster(*ARC, node("c"), **{hour_path("a"): points(20)})
    found = formulated(source, Policy(reclaim_arc=True))
    assert (found.problem.loads(found.problem.origin)[0] * 100 // PPM).tolist() == [30, 30, 0]
    (note,) = found.notes
    assert note.startswith("the ZFS ARC of b, c is not known (Proxmox VE 8 does not tell it")
    many = formulated(cluster(*(node(f"n{i}") for i in range(6))), Policy(reclaim_arc=True))
    assert many.notes[0].startswith("the ZFS ARC of n0, n1, n2 and 3 more is not known")


class WithHistory(FixedSource):
    """Also tells the last hour of nodes."""

    def get(self, path: str, **params: Any) -> Any:
        return super().get(path if not params else f"{path}?timeframe={params['timeframe']}")


def test_the_last_hour_costs_one_call_per_node_that_is_online_and_only_when_it_is_wanted() -> None:
    rows = [*ARC, offline("d"), node("e")]
    source = WithHistory({RESOURCES: rows, **KNOWN, hour_path("a"): points(20), hour_path("b"): points(1)})
    plain = take(source)
    assert not any("rrddata" in path for path in source.asked)
    before = len(source.asked)
    full = with_last_hour(plain, source)
    assert source.asked[before:] == [hour_path(name) for name in "abe"]
    assert collect(full).nodes["arc_mib"].tolist() == [20 * 1024, 1024, -1, -1], "e did not answer"
    assert hour_path("a") not in plain.answers


def test_an_anonymised_snapshot_keeps_the_arc_and_other_figures_of_the_hour() -> None:
    given = snapshot(*ARC, **{hour_path("a"): points(20, None), "/nodes/a/rrddata?timeframe=year": points(1)})
    hidden = anonymised(given)
    assert collect(hidden).nodes["arc_mib"].tolist() == [20 * 1024, -1]
    assert hidden.answers[hour_path("node1")] == [{"time": 0, "cpu": 0.5, "arcsize": 20 * GIB}, {"time": 60}]
    assert not any("year" in path for path in hidden.answers)


def test_a_snapshot_without_storages_or_history_is_planned_as_before() -> None:
    bare = collect(Snapshot({RESOURCES: ARC, **KNOWN}, TAKEN_AT, "the test"))
    assert (len(bare.storages), len(bare.volumes), set(bare.nodes["arc_mib"])) == (0, 0, {-1})
    assert formulated(bare, Policy(resource=(Resource.DISK,), with_local_disks=True)).capacities == ("memory",)


# Settings


def settings(tmp_path: Path, text: str) -> Policy:
    path = tmp_path / "c.yaml"
    path.write_text(f"policy: {{{text}}}")
    return config.load(str(path), environ={}).policy


def test_limits_stand_in_the_file_for_all_nodes_or_for_each(tmp_path: Path) -> None:
    assert settings(tmp_path, "overcommit: {cpu: 4}").overcommit == {"default": Overcommit(cpu=4)}
    assert settings(tmp_path, "overcommit: {default: {memory: 1.5}, pve1: {cpu: 2}}").overcommit == {
        "default": Overcommit(1.5), "pve1": Overcommit(cpu=2),
    }  # fmt: skip
    assert settings(tmp_path, "max_guests: 60").max_guests == {"default": 60}
    assert settings(tmp_path, "max_guests: {default: 60, pve1: 20}").max_guests == {"default": 60, "pve1": 20}
    found = settings(tmp_path, "guest_memory: guest, reclaim_arc: true")
    assert (found.guest_memory, found.reclaim_arc) == (GuestMemory.GUEST, True)
    for value in ("60", '{"default": 60}'):
        environ = {"PROXLB_PLAN_POLICY__MAX_GUESTS": value}
        assert config.load(environ=environ, cwd=tmp_path / "none").policy.max_guests == {"default": 60}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("overcommit: {memory: 0}", 'policy.overcommit.default.memory in {}: "0" is not more than 0'),
        ("overcommit: {a: {cpu: -1}}", 'policy.overcommit.a.cpu in {}: "-1" is not more than 0'),
        ("overcommit: {cpu: much}", 'policy.overcommit.default.cpu in {}: "much" is not a number'),
        ("overcommit: {cpu: inf}", "policy.overcommit.default.cpu in {} is not a finite number"),
        ("overcommit: {cpu: 2000}", 'policy.overcommit.default.cpu in {}: "2000" is more than 1000'),
        ("overcommit: {a: {memroy: 1}}", "unknown key policy.overcommit.a.memroy in {}: did you mean memory?"),
        ("max_guests: many", 'policy.max_guests.default in {}: "many" is not a whole number'),
        ("max_guests: {a: -1}", 'policy.max_guests.a in {}: "-1" is less than 0'),
        ("max_guests: {a: 1.5}", 'policy.max_guests.a in {}: "1.5" is not a whole number'),
        ("max_guests: [1]", "policy.max_guests.default in {}: the value is not a whole number"),
        ("guest_memory: mine", "policy.guest_memory in {}: \"mine\" is not one of host or guest"),
        ("reclaim_arc: perhaps", 'policy.reclaim_arc in {}: "perhaps" is not true or false'),
    ],
)  # fmt: skip
def test_a_limit_that_makes_no_sense_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, text)
    assert str(caught.value).startswith(said.format(tmp_path / "c.yaml"))
    assert "\n" not in str(caught.value) and caught.value.exit_code == Exit.CONFIG


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--overcommit cpu=0", 78, "policy.overcommit.default.cpu on the command line"),
        ("--overcommit pve9:cpu=4", 78, "policy.overcommit names node pve9, which does not exist: there are pve1"),
        ("--overcommit pony=4", 78, "unknown key policy.overcommit.default.pony"),
        ("--overcommit 4", 64, "--overcommit 4: write RESOURCE=FACTOR or NODE:RESOURCE=FACTOR, such as cpu=4"),
        ("--max-guests pve9:4", 78, "policy.max_guests names node pve9, which does not exist: there are pve1"),
        ("--max-guests pve1:", 64, "--max-guests pve1:: write N or NODE:N, such as 60 or pve1:20"),
        ("--max-guests x", 78, "policy.max_guests.default on the command line: \"x\" is not a whole number"),
    ],
)  # fmt: skip
def test_flags_that_make_no_sense_are_refused_in_one_line(cli: Cli, words: str, code: int, said: str) -> None:
    result = cli("--demo", "--solver", "greedy", *words.split())
    assert result.code == code and said in result.complaint


def test_flags_limit_nodes(cli: Cli) -> None:
    words = ("--demo", "--solver", "greedy", "--output", "json", "--balanciness", "0")
    free = targets(cli(*words).out)
    limited = targets(cli(*words, "--max-guests", "60", "--max-guests", "pve3:9", "--overcommit", "pve5:cpu=0.9").out)
    assert {"pve3", "pve5"} <= free and limited and "pve3" not in limited


def targets(document: str) -> set[str]:
    """Where a plan sends guests; not where its way back does."""
    return {migration["target"] for wave in json.loads(document)["waves"] for migration in wave}


def test_every_figure_is_within_64_bits() -> None:
    most: dict[str, Any] = {"maxmem": 2**60, "mem": 2**60, "maxcpu": 2**20, "cpu": 1}
    rows = [node("a", **most), node("b", **most | {"mem": 0}), vm(1, "a", memhost=None, **most)]
    policy = Policy(overcommit={"default": Overcommit(1000, 1000)}, max_guests={"default": 10**30})
    found = formulated(cluster(*rows), policy)
    assert (found.problem.capacity >= 0).all() and np.abs(found.problem.capacity).max() < 2**62
