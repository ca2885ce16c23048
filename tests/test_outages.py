"""Claims about nodes that fail or go in a what-if: who starts where, what is broken there, who stays down, and why."""

from dataclasses import replace
from itertools import product
from random import Random
from typing import Any

import pytest

from planner import outages
from planner.cluster import Cluster
from planner.config import Config, chosen
from planner.errors import NoPlace, UsageError
from planner.planning import make_plan, prepare
from planner.policy import Policy
from planner.staying import quorum
from tests.rows import Row, cluster, node, offline, stopped, storage, vm, volume
from tests.test_whatif import broken, ha, homes, used

RULES = "/cluster/ha/rules"


def step(item: Cluster) -> str:
    return item.assumed.steps[-1]


def loads(item: Cluster) -> float:
    """The highest load of a node in percent, of memory."""
    online = item.nodes[item.nodes["memory_mib"] > 0]
    return float((online["memory_used_mib"] / online["memory_mib"]).max() * 100)


# Quorum


def test_without_a_majority_ha_restarts_nothing_and_hands_may() -> None:
    item = cluster(*map(node, "abcde"), ha(1, "a"), ha(2, "b"), vm(3, "c"))
    assert quorum(item, 0) == 3
    two, three = item.fail("a", "b"), item.fail("a", "b", "c")
    assert "2 guests restarted elsewhere" in step(two) and "quorum" not in step(two)
    assert homes(three) == homes(item) and "not restarted, and down: 1 (g1), 2 (g2), 3 (g3)" in step(three)
    assert "no quorum is left, so HA restarts nothing (unless there is a QDevice" in step(three)
    by_hand = item.fail("a", "b", "c", restart="all")
    assert set(homes(by_hand).values()) <= {"d", "e"} and "no quorum is left" in step(by_hand)


def test_nodes_that_fail_one_after_the_other_are_counted_together() -> None:
    item = cluster(*map(node, "abc"), ha(1, "a"), ha(2, "b"))
    first = item.fail("a")
    assert homes(first)[1] in "bc" and "no quorum" in step(first.fail("b"))
    assert homes(first.fail("b"))[2] == "b"


# All of them, where that is possible


def fits(rows: list[Row], free: dict[str, int]) -> bool:
    """By trying all: whether HA guests of a node, which are kept apart by tags alone, all find a place."""
    waits = [row for row in rows if row["node"] == "a" and row.get("hastate")]
    for at in product(free, repeat=len(waits)):
        need = dict.fromkeys(free, 0.0)
        for row, name in zip(waits, at, strict=True):
            need[name] += row["mem"] / 2**30
        tagged = [name for row, name in zip(waits, at, strict=True) if "anti" in row.get("tags", "")]
        if all(need[name] <= free[name] for name in free) and len(set(tagged)) == len(tagged):
            return True
    return False


@pytest.mark.parametrize("seed", range(25))
def test_all_ha_guests_keep_all_rules_whenever_any_choice_lets_them(seed: int) -> None:
    rng = Random(seed)
    rows = [ha(i, "a", rng.randint(1, 6), tags=rng.choice(["", "", "plb_anti_affinity_x"])) for i in range(1, 6)]
    free = {name: rng.randint(5, 9) for name in "bcd"}
    nodes = [node("a", 64, sum(row["mem"] for row in rows) / 2**30), *(node(n, free[n] + 2, 2) for n in "bcd")]
    item = cluster(*nodes, *rows)
    after = item.fail("a")
    possible = fits(rows, free)
    assert (loads(after) <= 100 and broken(after) == ()) == possible
    assert ("although" in step(after)) == (not possible)
    lost = item.capacity(survive=1).set_index("node").loc["a"]
    assert bool(lost["survived"]) == possible and lost["proven"]


def test_what_no_search_has_decided_is_not_told_as_a_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.settle.starts", lambda *_: (None, False))
    item = cluster(node("a", 64, 12), node("b", 10, 2), node("c", 10, 2), ha(1, "a", 6), ha(2, "a", 6), ha(3, "a", 3))
    assert "whether all could start within all rules and room is not known" in step(item.fail("a"))
    with pytest.raises(NoPlace, match="1 of its 3 guests found no place in time: 3"):
        item.remove_node("a")


# What the HA manager does not know


def test_the_ha_manager_starts_guests_where_tags_forbid_it_and_the_plan_mends_that() -> None:
    rows = [node("a", 64, 8), node("b", 64, 8), node("c"), ha(1, "a", 8, tags="plb_pin_a;plb_pin_b"), vm(2, "b", 8)]
    after = cluster(*rows).fail("a")
    assert homes(after)[1] == "b" and "although" not in step(after), "where rules let it, they hold"
    alone = cluster(*rows[:3], ha(1, "a", 8, tags="plb_pin_a"), vm(2, "b", 8)).fail("a")
    assert homes(alone)[1] == "c" and "1 (g1) starts on c although tag plb_pin_a forbids it" in step(alone)
    apart = [ha(i, "a", 2, tags="plb_anti_affinity_x") for i in (1, 2, 3)]
    full = cluster(*rows[:3], *apart).fail("a")
    assert "although plb_anti_affinity_x: guest" in step(full) and broken(full) != ()


def test_the_ha_manager_looks_at_no_memory_and_loads_above_all_there_is_show() -> None:
    rows = [node("a", 64, 40), node("b", 64, 50), node("c", 64, 48), ha(1, "a", 40), vm(2, "c", 20)]
    after = cluster(*rows).fail("a")
    assert homes(after)[1] == "c" and used(after)["c"] == 88 and loads(after) > 100
    assert "1 (g1) starts on c although c has less memory than its guests need" in step(after)
    plan = make_plan(prepare(after, Policy()), "descent")
    assert any(migration.vmid == 2 for migration in plan.migrations) or plan.violations_before


def test_ignored_nodes_take_guests_of_the_ha_manager_and_nodes_in_maintenance_none() -> None:
    rows = [node("a", 64, 8), node("b"), node("c"), ha(1, "a", 8)]
    item = replace(cluster(*rows), config=chosen({"ignore_nodes": ["b"], "maintenance_nodes": ["c"]}))
    after = item.fail("a")
    assert homes(after)[1] == "b" and "although b is left alone (cluster.ignore_nodes)" in step(after)
    none = replace(item, config=chosen({"maintenance_nodes": ["b", "c"]})).fail("a")
    assert homes(none)[1] == "a" and "down: 1 (g1) (no node is left that takes guests)" in step(none)


def test_a_guest_that_ha_rules_leave_no_node_is_down_and_it_is_said_why() -> None:
    strict: dict[str, Any] = {"rule": "r", "type": "node-affinity", "resources": "vm:1", "nodes": "a", "strict": 1}
    after = cluster(node("a", 64, 8), node("b"), node("c"), ha(1, "a", 8), **{RULES: [strict]}).fail("a")
    assert homes(after)[1] == "a" and "without a node where HA may start it, and down: 1 (g1) (b, c: " in step(after)
    assert "HA rule r" in step(after)
    large = cluster(node("a", 64, 8, threads=32), node("b"), node("c"), ha(1, "a", 8, maxcpu=24)).fail("a")
    assert "down: 1 (g1) (b: Proxmox VE refuses: it has 24 vCPUs, b has 16 threads" in step(large)


def test_guests_that_are_started_by_hand_keep_all_rules_or_stay_down() -> None:
    rows = [node("a", 64, 8), node("b"), node("c"), vm(1, "a", 8, tags="plb_pin_a"), vm(2, "a", 1), stopped(3, "a")]
    after = cluster(*rows).fail("a", restart="all")
    assert homes(after)[1] == "a" and homes(after)[2] != "a" and homes(after)[3] == "a"
    assert "without a place, and down: 1 (g1) (b, c: would break plb_pin_a" in step(after)


def test_nodes_that_say_the_same_say_it_once() -> None:
    large = [node(f"n{i:02}") for i in range(20)]
    after = cluster(node("a", 64, 8), *large, vm(1, "a", 8, tags="plb_pin_a")).fail("a", restart="all")
    assert "n06, n07 and 12 more: would break plb_pin_a" in step(after) and "n08" not in step(after)


# Nodes that go


def test_what_a_rule_says_of_a_node_that_goes_has_no_effect_on_where_its_guests_go() -> None:
    rows = [node("a", 64, 8), node("b", used=8), node("c"), vm(1, "a", 8, tags="plb_pin_a"), vm(2, "b", 8)]
    assert homes(cluster(*rows).remove_node("a"))[1] == "c"
    settings = chosen({"rules": [{"name": "r", "pin": ["1"], "nodes": ["a"]}]})
    assert homes(replace(cluster(*rows), config=settings).remove_node("a"))[1] == "c"
    pinned = chosen({"rules": [{"name": "r", "pin": ["1"], "nodes": ["a", "b"]}]})
    assert homes(replace(cluster(*rows), config=pinned).remove_node("a"))[1] == "b"


def test_a_node_whose_guests_find_no_place_cannot_be_removed() -> None:
    rows = [node("a", 64, 30), node("b", 64, 50), node("c", 64, 60), vm(1, "a", 20), vm(2, "a", 10)]
    with pytest.raises(
        NoPlace, match=r"a cannot be removed: 1 of its 2 guests find no place: 1 \(g1\) \(b, c: no room"
    ) as no:
        cluster(*rows).remove_node("a")
    assert no.value.exit_code == 3


def test_templates_go_to_a_node_that_is_online_and_has_their_storages() -> None:
    rows = [node("a"), offline("b"), node("c"), node("d"), vm(9, "a", template=1), storage("tank", "a"), vm(1, "a")]
    content = {"/nodes/a/storage/tank/content": [volume(9, 5)], "/nodes/d/storage/tank/content": []}
    after = cluster(*rows, storage("tank", "d"), **content).remove_node("a")
    assert homes(after)[9] == "d" and "templates: 9 (g9) on d" in step(after)
    with pytest.raises(NoPlace, match=r"no other node that is online has storage tank of template 9 \(g9\)"):
        cluster(*rows, **content).remove_node("a")


# Nodes that are dead already


def test_a_node_that_failed_can_be_removed_with_guests_as_they_were() -> None:
    rows = [node("a", 64, 13), node("b"), node("c"), ha(1, "a", 8), vm(2, "a", 5, used=3), stopped(3, "a", 4)]
    item = cluster(*rows)
    gone = item.fail("a").remove_node("a")
    assert gone.nodes["node"].tolist() == ["b", "c"] and set(homes(gone)) == {1, 2, 3}
    frame = gone.guests.set_index("vmid")
    assert frame["status"].to_dict() == {1: "running", 2: "running", 3: "stopped"}
    assert frame["memory_used_mib"].to_dict()[2] == 3 * 1024
    assert sum(used(gone).values()) == 11
    again = item.fail("a").fail("a", restart="all")
    assert homes(again)[2] != "a" and homes(again)[3] == "a"


def test_guests_of_a_node_that_is_really_offline_are_named_and_gone_with_it() -> None:
    bare = {"id": "qemu/7", "type": "qemu", "vmid": 7, "node": "b", "status": "unknown"}
    item = cluster(node("a"), offline("b"), node("c"), vm(1, "a"), bare)
    gone = item.remove_node("b")
    assert gone.nodes["node"].tolist() == ["a", "c"] and set(homes(gone)) == {1}
    assert "gone, of a size that Proxmox VE does not tell while a node is offline: 7" in step(gone)
    assert "down, of a size that Proxmox VE does not tell while a node is offline: 7" in step(item.fail("b"))


@pytest.mark.parametrize("action", ["fail", "remove_node"])
def test_where_no_node_is_left_online_that_is_said(action: str) -> None:
    item = cluster(node("a"), offline("b"), vm(1, "a"))
    with pytest.raises(UsageError, match="no node is left online"):
        getattr(item, action)("a")
    with pytest.raises(UsageError, match=r"no node is left online|these are all nodes"):
        getattr(outages, action)(cluster(node("a"), node("b")), "a", "b")


def test_where_all_other_nodes_take_no_guests_that_is_said() -> None:
    item = replace(cluster(node("a"), node("b"), vm(1, "a")), config=Config())
    with pytest.raises(NoPlace, match=r"a cannot be removed: 1 of its 1 guests find no place: 1 \(g1\)"):
        item.drain("b").remove_node("a")
