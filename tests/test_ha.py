"""Claims about the HA manager's rules: what the plan takes from them, and what has no effect."""

from typing import Any

import pytest

from planner.errors import InputError
from planner.planning import make_plan, prepare
from planner.policy import Cluster as ClusterPolicy
from planner.policy import Policy
from planner.rule import Kind
from planner.rules import Rules, read
from tests.rows import cluster, ct, node, of_kind, offline, vm

GUESTS = (vm(1, "a"), vm(2, "b"), ct(3, "c"))


def rules_of(*rules: dict[str, Any], settings: ClusterPolicy | None = None, tags: str = "") -> Rules:
    """Rules on nodes a, b, c and d, which is offline, with guests 1, 2 and the container 3."""
    rows = (node("a"), node("b"), node("c"), offline("d"), vm(1, "a", tags=tags), *GUESTS[1:])
    return read(cluster(*rows, **{"/cluster/ha/rules": list(rules)}), settings)


def on_nodes(nodes: str, **facts: Any) -> dict[str, Any]:
    return {"rule": "r", "type": "node-affinity", "resources": "vm:1,ct:3", "nodes": nodes} | facts


def among(affinity: str, resources: str, name: str = "r") -> dict[str, Any]:
    return {"rule": name, "type": "resource-affinity", "affinity": affinity, "resources": resources}


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        (on_nodes("a,b", strict=1), {"a", "b"}),
        (on_nodes("a,b"), {"a", "b"}),  # it gives way only when neither is available
        (on_nodes("a:2,b,c:1", strict=1), {"a"}),  # the highest priority that is available
        (on_nodes("d:2,b:1,c:1,a", strict=1), {"b", "c"}),
        (on_nodes("d:5,a:5,b", strict="1"), {"a", "d"}),
        (on_nodes("d", strict=1), {"d"}),
        (on_nodes("d", strict=0), None),
        (on_nodes("b", affinity="negative"), {"a", "c", "d"}),
        (on_nodes("a,b,c", affinity="negative"), None),
        (on_nodes("a,b,c", affinity="negative", strict=1), {"d"}),
        (on_nodes("b", disable=1), None),
        (on_nodes("b", disable="0"), {"b"}),
        (on_nodes("b", errors={"nodes": ["x"]}), None),
    ],
)
def test_guests_may_be_where_the_ha_manager_would_have_them(rule: dict[str, Any], allowed: set[str] | None) -> None:
    pins = rules_of(rule).pins()
    assert pins == ({} if allowed is None else {1: allowed, 3: allowed})


def test_a_node_in_maintenance_is_not_available_and_an_ignored_one_is() -> None:
    rule, ignored = on_nodes("a:2,b:1", strict=1), ClusterPolicy(ignore_nodes=("a",))
    assert rules_of(rule, settings=ClusterPolicy(maintenance_nodes=("a",))).pins()[1] == {"b"}
    assert rules_of(rule, settings=ignored).pins()[1] == {"a"}


def test_every_ha_rule_is_to_be_kept_and_one_of_several_pins() -> None:
    two = (on_nodes("a,b", strict=1), on_nodes("b,c", strict=1, rule="s"))
    assert rules_of(*two).pins()[1] == {"b"}
    assert rules_of(on_nodes("a,b", strict=1), tags="plb_pin_b;plb_pin_c").pins()[1] == {"b"}


def test_resource_affinity_keeps_guests_together_or_apart() -> None:
    rules = rules_of(among("positive", "vm:1, vm:2,vm:1", "pair"), among("negative", "vm:2,ct:3,vm:99", "away"))
    assert of_kind(rules, Kind.TOGETHER) == {"HA rule pair": [1, 2]}
    assert of_kind(rules, Kind.APART) == {"HA rule away": [2, 3]}


def test_what_has_no_effect_is_said() -> None:
    odd = {"rule": "q", "type": "colour-affinity", "resources": "vm:1"}
    assert rules_of(on_nodes("a", errors={"x": ["y"]}), odd, on_nodes("d", rule="s")).notes == (
        "HA rule r has errors: Proxmox VE ignores it, and so does the plan",
        "HA rule q is a colour-affinity rule, which is not known here: it has no effect on the plan",
        "none of the nodes of HA rule s is available: its guests may be anywhere",
    )


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (on_nodes(""), "HA rule r has no nodes: ''"),
        (on_nodes("a:high"), "HA rule r: nodes has 'a:high', which is no node such as pve1 or pve1:2"),
        (among("positive", "vm:x"), "HA rule r: resources has 'vm:x', which is no guest such as vm:100"),
        ({"rule": "r", "type": "node-affinity", "nodes": "a"}, "HA rule r has no resources: None"),
    ],
)
def test_a_rule_that_makes_no_sense_is_named(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rules_of(rule)


def test_an_answer_of_the_wrong_shape_is_refused_by_its_path() -> None:
    with pytest.raises(InputError, match="the answer for /cluster/ha/rules is not a list of objects"):
        read(cluster(node("a"), **{"/cluster/ha/rules": {}}))


def test_a_plan_repairs_an_ha_rule_and_says_its_name() -> None:
    rules = [among("negative", "vm:1,vm:2", "keep-apart"), on_nodes("a,b", strict=1, resources="vm:1", rule="home")]
    rows = (node("a"), node("b"), node("c"), vm(1, "c"), vm(2, "a"), vm(3, "a"))
    plan = make_plan(prepare(cluster(*rows, **{"/cluster/ha/rules": rules}), Policy(max_migrations=1)), "cpsat")
    (migration,) = plan.migrations
    assert (migration.vmid, migration.target) == (1, "b")
    assert migration.reason == "repairs: guest 1 (g1) is on c, but pinned to a or b"
    assert plan.violations_after == ()


# Proxmox VE 8: groups instead of rules; and failback, with either


def in_groups(*groups: dict[str, Any]) -> Rules:
    """Rules on nodes a, b, c and d, which is offline, where guests 1 and 3 are in group g."""
    rows = (node("a"), node("b"), node("c"), offline("d"), *GUESTS)
    members = [{"sid": sid, "state": "started", "group": "g"} for sid in ("vm:1", "ct:3")]
    members.append({"sid": "vm:2", "state": "started"})
    answers = {"/cluster/ha/rules": None, "/cluster/ha/groups": list(groups), "/cluster/ha/resources": members}
    return read(cluster(*rows, **answers))


@pytest.mark.parametrize(
    ("facts", "allowed"),
    [
        ({"nodes": "a,b", "restricted": 1}, {"a", "b"}),
        ({"nodes": "a:1,b:2", "restricted": 1}, {"b"}),
        ({"nodes": "a,d:2", "restricted": 1}, {"a"}),
        ({"nodes": "a:1,b:2"}, {"b"}),
        ({"nodes": "d"}, None),
        ({"nodes": "d", "restricted": 1}, {"d"}),
        ({"nodes": "a:1,b:2", "restricted": 1, "nofailback": 1}, {"a", "b"}),  # nothing takes it back to b
        ({"nodes": "a:1,b:2", "restricted": 0, "nofailback": 1}, None),
    ],
)
def test_a_group_of_proxmox_ve_8_is_node_affinity(facts: dict[str, Any], allowed: set[str] | None) -> None:
    rules = in_groups({"group": "g", "type": "group"} | facts)
    expected = {} if allowed is None else dict.fromkeys((1, 3), allowed)
    assert rules.pins() == expected
    assert {rule.name for rule in rules.items} <= {"HA group g"}


def test_a_group_that_makes_no_sense_is_refused_with_its_name() -> None:
    with pytest.raises(InputError, match="HA group g: nodes has ':2', which is no node"):
        in_groups({"group": "g", "nodes": ":2"})
    with pytest.raises(InputError, match="HA group g has no nodes"):
        in_groups({"group": "g"})


@pytest.mark.parametrize(("strict", "pins"), [(1, {1: {"a", "b"}, 3: {"b"}}), (0, {3: {"b"}})])
def test_a_guest_without_failback_may_be_on_all_nodes_of_a_rule(strict: int, pins: dict[int, set[str]]) -> None:
    rows = (node("a"), node("b"), node("c"), *GUESTS)
    rule = on_nodes("a:1,b:2", strict=strict)
    managed = [{"sid": "vm:1", "failback": 0}, {"sid": "ct:3", "failback": 1}]
    rules = read(cluster(*rows, **{"/cluster/ha/rules": [rule], "/cluster/ha/resources": managed}))
    assert rules.pins() == pins and rules.notes == ()
