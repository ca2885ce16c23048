"""Claims about what-ifs: what comes in is not changed, rows are as a hand would edit them, rules hold throughout."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from planner import outages, whatif
from planner.cluster import Cluster
from planner.collect import collect
from planner.config import Config
from planner.errors import ConfigError, InputError, NoPlace, UsageError
from planner.history import History
from planner.newguest import NewGuest
from planner.planning import make_plan, prepare
from planner.policy import Cluster as ClusterPolicy
from planner.policy import Policy, Resource, RuleSetting
from planner.rules import NodeState, read
from planner.snapshot import RESOURCES, Snapshot
from tests.rows import GIB, Row, cluster, ct, node, stopped, storage, vm, volume

Step = Callable[[Cluster], Cluster]
NODES = ("a", "b", "c")


def ha(vmid: int, on: str, gib: float = 4, **facts: Any) -> Row:
    return vm(vmid, on, gib, **{"hastate": "started"} | facts)


def homes(item: Cluster) -> dict[int, str]:
    return dict(zip(map(int, item.guests["vmid"]), map(str, item.guests["node"]), strict=True))


def used(item: Cluster) -> dict[str, int]:
    """GiB that each node uses."""
    return {str(n): int(m) // 1024 for n, m in zip(item.nodes["node"], item.nodes["memory_used_mib"], strict=True)}


def broken(item: Cluster) -> tuple[str, ...]:
    return make_plan(prepare(item, Policy(repair_only=True)), "descent").violations_before


# Nothing that comes in is changed


@st.composite
def clusters(draw: st.DrawFn) -> tuple[Row, ...]:
    """Three nodes and some guests on them, a few with tags, HA or a stop."""
    count = draw(st.integers(1, 6))
    rows = [
        vm(100 + i, draw(st.sampled_from(NODES)), draw(st.integers(1, 12)),
           tags=draw(st.sampled_from(["", "", "web", "plb_anti_affinity_x", "plb_pin_a"])),
           hastate=draw(st.sampled_from([None, "started"])), status=draw(st.sampled_from(["running", "stopped"])))
        for i in range(count)
    ]  # fmt: skip
    use = {
        name: 2 + sum(r["mem"] for r in rows if r["node"] == name and r["status"] == "running") / GIB for name in NODES
    }
    return (*(node(name, 64, use[name], cpu=0.25) for name in NODES), *rows)


STEPS: dict[str, Step] = {
    "drain": lambda c: whatif.drain(c, "a"),
    "fail": lambda c: outages.fail(c, "b"),
    "fail all": lambda c: outages.fail(c, "b", restart="all"),
    "add node": lambda c: whatif.add_node(c, like="c"),
    "remove node": lambda c: outages.remove_node(c, "b"),
    "resize node": lambda c: whatif.resize(c, "c", memory=128, cores=32),
    "resize guest": lambda c: whatif.resize(c, 100, memory=3, cores=1),
    "grow": lambda c: whatif.grow(c, "@all", memory=1.5, cpu=2),
    "add guest": lambda c: whatif.add_guest(c, NewGuest(2, 1), 2),
    "pin": lambda c: whatif.pin(c, 100, "a", "c"),
}


@settings(deadline=None, max_examples=25)
@given(clusters(), st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=3))
def test_a_what_if_never_changes_the_cluster_it_is_about(rows: tuple[Row, ...], names: list[str]) -> None:
    item = cluster(*rows)
    known = copy.deepcopy(item.snapshot.answers)
    frames = [frame.copy() for frame in (item.nodes, item.guests)]
    result = item
    for name in names:
        try:
            result = STEPS[name](result)
        except (UsageError, InputError, NoPlace):  # such as a node that has gone before, or whose guests fit nowhere
            continue
        assert result.assumed.steps and f"what if: {result.assumed.steps[-1]}" in result.notes
    assert item.snapshot.answers == known and item.assumed.steps == ()
    assert all(was.equals(frame) for was, frame in zip(frames, (item.nodes, item.guests), strict=True))
    json.dumps(result.snapshot.answers)


EDITS: dict[str, tuple[str, dict[str, Any]]] = {
    "name": ("qemu/100", {"name": "renamed"}),
    "tags": ("qemu/100", {"tags": "new"}),
    "pool": ("qemu/100", {"pool": "web"}),
    "lock": ("qemu/100", {"lock": "backup"}),
    "size": ("node/a", {"maxmem": 96 * GIB}),
    "own use": ("node/b", {"mem": 40 * GIB}),
}
"""Row and what is written there; of node b, which no step below is about."""
WITHOUT_CHOICE = ("drain", "add node", "resize node", "resize guest", "pin")
"""Steps that look for no place, which an edit could change."""


@settings(deadline=None, max_examples=25)
@given(clusters(), st.sampled_from(WITHOUT_CHOICE), st.sampled_from(sorted(EDITS)))
def test_it_is_the_same_whether_rows_are_edited_before_a_what_if_or_after_it(
    rows: tuple[Row, ...], step: str, edit: str
) -> None:
    def edited(item: Cluster) -> Cluster:
        which, facts = EDITS[edit]
        changed = [row | facts if row["id"] == which else row for row in item.snapshot.answers[RESOURCES]]
        return collect(Snapshot({**item.snapshot.answers, RESOURCES: changed}, item.snapshot.taken_at))

    assume(step != "resize guest" or edit != "own use" or rows[3]["node"] != "b")
    one, other = STEPS[step](edited(cluster(*rows))), edited(STEPS[step](cluster(*rows)))
    assert one.nodes.equals(other.nodes) and one.guests.equals(other.guests)


def by_hand(rows: tuple[Row, ...], changes: dict[tuple[str, str], float]) -> Cluster:
    """Rows with other figures, by (id, name)."""
    found = [dict(row) for row in rows]
    for (which, name), value in changes.items():
        next(row for row in found if row["id"] == which)[name] = value
    return cluster(*found)


def test_guests_and_nodes_are_as_a_hand_would_edit_their_rows() -> None:
    rows = (node("a", 64, 20, threads=16, cpu=0.5), node("b", 64, 2), vm(1, "a", 8, 6, cpu=0.5), vm(2, "a", 4))
    grown = whatif.grow(cluster(*rows), "g1", memory=1.5, cpu=2)
    hand = by_hand(rows, {
        ("qemu/1", "maxmem"): 12 * GIB, ("qemu/1", "mem"): 9 * GIB, ("qemu/1", "memhost"): 9 * GIB,
        ("qemu/1", "maxcpu"): 4, ("node/a", "mem"): 23 * GIB, ("node/a", "cpu"): 0.5 + 1 / 16,
    })  # fmt: skip
    assert grown.nodes.equals(hand.nodes) and grown.guests.equals(hand.guests)
    smaller = whatif.resize(cluster(*rows), 1, memory=4, cores=1)
    hand = by_hand(rows, {
        ("qemu/1", "maxmem"): 4 * GIB, ("qemu/1", "mem"): 4 * GIB, ("qemu/1", "memhost"): 4 * GIB,
        ("qemu/1", "maxcpu"): 1, ("qemu/1", "cpu"): 1.0, ("node/a", "mem"): 18 * GIB,
    })  # fmt: skip
    assert smaller.nodes.equals(hand.nodes) and smaller.guests.equals(hand.guests)
    larger = whatif.resize(cluster(*rows), "a", memory=128, cores=32)
    hand = by_hand(rows, {("node/a", "maxmem"): 128 * GIB, ("node/a", "maxcpu"): 32, ("node/a", "cpu"): 0.25})
    assert larger.nodes.equals(hand.nodes) and larger.guests.equals(hand.guests)


# Nodes that fail or go


def test_ha_guests_of_a_node_that_fails_start_elsewhere_and_the_others_are_down_and_named() -> None:
    rows = [ha(1, "a", 8), ha(2, "a", 4, tags="plb_anti_affinity_x"), vm(3, "a", 4), stopped(4, "a")]
    rows += [vm(5, "c", 4, tags="plb_anti_affinity_x"), vm(9, "b", 8)]
    before = cluster(node("a", 64, 18), node("b", 64, 10), node("c", 64, 6), *rows)
    after = before.fail("a")
    assert homes(after) == {1: "c", 2: "b", 3: "a", 4: "a", 5: "c", 9: "b"}, "the largest first where most is free"
    assert used(after) == {"a": 0, "b": 14, "c": 14}
    assert after.nodes["status"].tolist() == ["offline", "online", "online"]
    assert after.assumed.steps == ("a fails; 2 guests restarted elsewhere; not restarted, and down: 3 (g3)",)
    assert homes(before.fail("a", restart="all"))[3] != "a" and broken(after) == ()


def test_guests_that_belong_together_start_together() -> None:
    rows = [ha(1, "a", 8, tags="plb_affinity_x"), ha(2, "a", 8, tags="plb_affinity_x"), ha(3, "a", 7)]
    after = cluster(node("a", 64, 24), node("b", 20, 2), node("c", 20, 3), *rows).fail("a")
    assert homes(after) == {1: "b", 2: "b", 3: "c"}


def test_what_is_asked_of_an_ignored_guest_holds_where_it_starts() -> None:
    rows = [ha(1, "a", 8, tags="plb_ignore;plb_pin_c"), vm(2, "c", 30)]
    assert homes(cluster(node("a", used=8), node("b"), node("c", used=30), *rows).fail("a"))[1] == "c"


def test_what_proxmox_says_of_a_guest_holds_where_it_starts_and_is_still_known_there() -> None:
    lacking = {"c": {"unavailable_storages": ["x"]}}
    said = {"/nodes/a/qemu/1/migrate": {"allowed_nodes": ["b"], "not_allowed_nodes": lacking}}
    after = cluster(node("a", used=8), node("b", used=30), node("c"), ha(1, "a", 8), **said).fail("a")
    assert homes(after) == {1: "b"}
    assert after.snapshot.get("/nodes/b/qemu/1/migrate")["allowed_nodes"] == ["a"]
    assert set(prepare(after, Policy()).formulation.barred[1]) == {"c"}


def test_all_guests_of_a_node_that_goes_are_elsewhere_with_their_volumes() -> None:
    rows = [node("a", used=4), node("b"), storage("tank", "a", 100, 30), storage("tank", "b", 100, 10), vm(1, "a")]
    rows += [vm(7, "b", template=1), vm(8, "a", template=1)]
    said = {"/nodes/a/storage/tank/content": [volume(1, 20)], "/nodes/b/storage/tank/content": []}
    after = cluster(*rows, **said).remove_node("a")
    assert after.nodes["node"].tolist() == ["b"] and homes(after) == {1: "b", 7: "b", 8: "b"}
    assert after.storages["used_mib"].tolist() == [30 * 1024] and after.volumes["vmid"].tolist() == [1]
    assert not [path for path in after.snapshot.answers if path.startswith("/nodes/a/")]


def test_settings_that_name_a_node_that_went_have_no_effect() -> None:
    policy = Policy(reserve={}, max_guests={"a": 3, "default": 9})
    rules = (RuleSetting("r", pin=("1",), nodes=("a",)), RuleSetting("s", pin=("2",), nodes=("a", "b")))
    chosen = ClusterPolicy(maintenance_nodes=("a",), rules=rules, domains={"rack": {"a": "1", "b": "2"}})
    item = cluster(node("a"), node("b"), node("c"), vm(1, "b"), vm(2, "b"))
    after = Cluster.remove_node(replace(item, config=Config(policy=policy, cluster=chosen)), "a")
    assert after.plan("greedy").violations_before == ()
    assert [rule.name for rule in read(after, chosen).items] == ["s"]


def test_an_added_node_has_the_hardware_and_own_use_of_another_and_takes_what_that_takes() -> None:
    rows = [node("a", 64, 10, cpu=0.5), node("b", 32, 2), vm(1, "a", 8), vm(2, "b", 4), storage("tank", "a", 100, 30)]
    said = {
        "/nodes/a/storage/tank/content": [volume(1, 20)],
        "/nodes/b/qemu/2/migrate": {"allowed_nodes": [], "not_allowed_nodes": {"a": {"unavailable_storages": ["x"]}}},
        "/nodes/a/qemu/1/migrate": {"allowed_nodes": ["b"], "not_allowed_nodes": {}},
    }
    after = cluster(*rows, **said).add_node(like="a")
    new = after.nodes.set_index("node").loc["b1" if "b1" in set(after.nodes["node"]) else "a2"]
    assert (new["memory_mib"], new["memory_used_mib"], new["cpu_used_mcpu"]) == (64 * 1024, 2 * 1024, 7500)
    assert after.storages.set_index("node").loc["a2", "used_mib"] == 10 * 1024
    barred = prepare(after, Policy()).formulation.barred
    assert set(barred[2]) == {"a", "a2"} and not barred.get(1)


def test_names_of_added_nodes_go_on_counting() -> None:
    item = cluster(node("pve1"), node("pve2"), node("host"))
    assert item.add_node(like="pve1").add_node(like="pve2").nodes["node"].tolist() == [
        "host",
        "pve1",
        "pve2",
        "pve3",
        "pve4",
    ]
    assert "host2" in set(item.add_node(like="host").nodes["node"])


# Rules


def test_a_drained_node_takes_nothing_and_a_pinned_guest_goes_where_it_is_pinned_to() -> None:
    item = cluster(node("a", used=8), node("b"), node("c"), vm(1, "a", 4), vm(2, "a", 4))
    plan = item.drain("a").pin(1, "c").plan("descent")
    assert {m.vmid: m.target for m in plan.migrations} == {1: "c", 2: "b"}
    assert read(item.drain("a")).states["a"] is NodeState.MAINTENANCE
    assert plan.notes[-2:] == ("what if: a in maintenance", "what if: 1 (1 guest) on c only")


def test_a_rule_that_is_lifted_holds_no_longer_and_one_that_is_not_there_is_told() -> None:
    item = cluster(node("a"), node("b"), vm(1, "a", tags="plb_anti_affinity_x"), vm(2, "a", tags="plb_anti_affinity_x"))
    assert broken(item) and broken(item.without_rule("plb_anti_*")) == ()
    with pytest.raises(UsageError, match="there is no rule plb_anti_affinity_y: did you mean plb_anti_affinity_x"):
        item.without_rule("plb_anti_affinity_y")


def test_a_new_guest_is_where_rules_let_it_be() -> None:
    item = cluster(node("a"), node("b", used=4), node("c", used=8), vm(1, "b", tags="plb_affinity_x"), vm(2, "c", 8))
    assert homes(item.add_guest(memory=4, cores=1, tags=["plb_affinity_x"]))[100] == "b"
    assert homes(item.add_guest(memory=4, cores=1, tags="plb_pin_c;plb_pin_b"))[100] == "b"
    with pytest.raises(NoPlace, match=r"a: no room: needs 44\.8 GiB of memory, 10\.0 GiB left"):
        cluster(node("a", 10)).add_guest(memory=64, cores=1)


# The past


def past(**guest: list[float]) -> History:
    """Two guests on node a that used so much."""
    series = np.array([guest["one"], guest["two"]])
    return History(
        0.0,
        3600,
        (1, 2),
        ("a", "b"),
        {Resource.MEMORY: series},
        {Resource.MEMORY: np.array([[100.0, 90.0], [7.0, 7.0]])},
    )


def test_the_past_follows_guests_that_grow_or_are_elsewhere() -> None:
    item = cluster(node("a", used=8), node("b"), vm(1, "a"), vm(2, "a"))
    item = replace(item, history=past(one=[10, 20], two=[5, float("nan")]))
    grown = item.grow(1, memory=2).history
    assert grown is not None and grown.guest[Resource.MEMORY][0].tolist() == [20, 40]
    assert grown.node[Resource.MEMORY].tolist() == [[110, 110], [7, 7]]
    gone = item.fail("a", restart="all").history
    assert gone is not None and gone.of_nodes(Resource.MEMORY, ["b"]).tolist() == [[22, 27]]


# Bad input


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (lambda c: c.drain("z"), "there is no node z: there are a, b"),
        (lambda c: c.drain(), "name at least one node"),
        (lambda c: c.fail("a", restart="some"), "restart is some: choose ha or all"),
        (lambda c: c.add_node("b", like="a"), "there is a node b already"),
        (lambda c: c.add_node("b\n", like="a"), "is no name for a node"),
        (lambda c: c.remove_node("a", "b"), "these are all nodes"),
        (lambda c: c.resize("z", memory=4), "there is no such node"),
        (lambda c: c.resize(77, memory=4), "resize: 77 means no guest of this cluster"),
        (lambda c: c.resize(1), "say memory \\(GiB\\), cores or both"),
        (lambda c: c.resize(1, cores=0), "cores cannot be 0"),
        (lambda c: c.grow("@nobody-x", memory=2), "names no guests"),
        (lambda c: c.grow("web*", memory=2), "grow: web\\* means no guest"),
        (lambda c: c.grow(1, memory=float("nan")), "memory cannot become nan times as much"),
        (lambda c: c.add_guest(memory=4, cores=1, count=0), "0 new guests: from 1 to"),
        (lambda c: c.add_guest(memory=-4, cores=1), "a guest with -4 GiB of memory cannot be"),
        (lambda c: c.add_guest(memory=4, cores=1, used=3), "used is 3: it is a share"),
        (lambda c: c.pin(1), "name at least one node"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(step: Step, says: str) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        step(cluster(node("a"), node("b"), vm(1, "a"), ct(2, "b")))
    assert "\n" not in str(refused.value)


def test_nodes_of_which_nothing_is_known_are_no_model() -> None:
    item = cluster(node("a"), node("b"), vm(1, "a")).fail("b")
    for step in (lambda c: c.add_node(like="b"), lambda c: c.resize("b", memory=4)):
        with pytest.raises(InputError, match="node b is offline: what it has is not known"):
            step(item)


# Figures as people write them


def test_figures_may_be_written_as_the_command_line_has_them() -> None:
    item = cluster(node("a"), node("b"), vm(1, "a"))
    assert item.place(memory="8G", cores="2", count="2").equals(item.place(memory=8, cores=2, count=2))  # type: ignore[arg-type]
    assert item.resize("a", memory="32G", cores="8").nodes.equals(item.resize("a", memory=32, cores=8).nodes)
    assert item.resize(np.int64(1), memory="512M").guests["memory_mib"].tolist() == [512]
    assert item.grow(np.int64(1), memory="1.5").guests.equals(item.grow(1, memory=1.5).guests)  # type: ignore[arg-type]
    assert item.capacity("8G,4").equals(item.capacity((8, 4)))
    assert homes(item.add_guest(memory="8G", cores="2")).keys() == {1, 100}


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (lambda c: c.place(memory="much", cores=2), "memory much: write a size such as 8G"),
        (lambda c: c.place(memory=None, cores=2), "memory is None: write a number"),
        (lambda c: c.place(memory=8, cores=2.5), r"cores cannot be 2\.5: write a whole number"),
        (lambda c: c.place(memory=8, cores=2, count=2.5), r"count cannot be 2\.5"),
        (lambda c: c.place(memory=8, cores=2, count="x"), "count is 'x': write a number"),
        (lambda c: c.place(memory=8, cores=2, used="x"), "used is 'x': write a number"),
        (lambda c: c.place(memory=8, cores=2, tags=3), "tags are 3: write text such as a;b"),
        (lambda c: c.resize("a", memory=[8]), r"resize a: memory is \[8\]: write a number"),
        (lambda c: c.resize("a", cores="x"), "resize a: cores is 'x': write a number"),
        (lambda c: c.grow("@all", memory="x"), "grow: memory is 'x': write a number"),
        (lambda c: c.grow(1.5, memory=2), r"grow: 1\.5 is no selector"),
        (lambda c: c.capacity(8), r"size is 8: write \(GiB, cores\)"),
        (lambda c: c.capacity("8G"), "size 8G: write MEMORY,CORES"),
        (lambda c: c.capacity(tags=["web"]), "tags is of a new guest: say its size as well"),
        (lambda c: c.without_rule(), "name at least one rule"),
        (lambda c: c.diff(3), "diff: 3 is no cluster"),
    ],
)
def test_a_figure_that_makes_no_sense_is_told_in_one_line(step: Callable[[Cluster], Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        step(cluster(node("a"), node("b"), vm(1, "a")))
    assert "\n" not in str(refused.value)


def test_more_losses_than_one_cannot_be_asked_about() -> None:
    with pytest.raises(ConfigError, match="survive"):
        cluster(node("a"), node("b")).capacity(survive=2)
