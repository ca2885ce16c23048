"""Claims about rules: what tags and settings mean, and what has no effect."""

import pytest

from planner.errors import ConfigError
from planner.policy import Cluster as ClusterPolicy
from planner.rule import Kind
from planner.rules import NodeState, Rules, read
from tests.rows import cluster, ct, node, of_kind, offline, vm


def rules_of(*tags: str, settings: ClusterPolicy | None = None) -> Rules:
    """Rules of guests 1, 2, ... with these tags, on nodes pve1, PVE2 and pve3."""
    guests = [vm(vmid, "pve1", tags=text) for vmid, text in enumerate(tags, 1)]
    return read(cluster(node("pve1"), node("PVE2"), node("pve3"), *guests), settings)


def test_without_tags_there_are_no_rules() -> None:
    rules = rules_of("", "prod;web", "plb", "affinity_plb_affinity_x")
    assert rules.frame.empty and rules.notes == ()
    assert all(of_kind(rules, kind) == {} for kind in Kind) and rules.pins() == {}


def test_guests_that_share_a_tag_share_a_rule() -> None:
    rules = rules_of("plb_affinity_x;plb_anti_affinity_x", "web;plb_affinity_x", "plb_affinity_y;plb_anti_affinity_x")
    assert of_kind(rules, Kind.TOGETHER) == {"plb_affinity_x": [1, 2], "plb_affinity_y": [3]}
    assert of_kind(rules, Kind.APART) == {"plb_anti_affinity_x": [1, 3]}


def test_tags_are_read_without_case() -> None:
    rules = rules_of("PLB_Affinity_X", "plb_affinity_x", "plb_pin_pve2;PLB_PIN_PVE1", "PLB_IGNORE")
    assert of_kind(rules, Kind.TOGETHER) == {"plb_affinity_x": [1, 2]}
    assert rules.pins() == {3: {"PVE2", "pve1"}}
    assert of_kind(rules, Kind.IGNORE) == {"plb_ignore": [4]}


def test_a_tag_that_is_given_twice_counts_once() -> None:
    assert of_kind(rules_of("plb_affinity_x;plb_affinity_X;plb_affinity_x"), Kind.TOGETHER) == {"plb_affinity_x": [1]}


def test_several_pins_mean_any_of_the_nodes() -> None:
    assert rules_of("plb_pin_pve1;plb_pin_pve3").pins() == {1: {"pve1", "pve3"}}


def test_a_pin_to_a_node_that_does_not_exist_has_no_effect_and_is_said_once() -> None:
    rules = rules_of("plb_pin_pve9;plb_pin_PVE9", "plb_pin_pve9;plb_pin_pve1")
    assert rules.pins() == {2: {"pve1"}}
    assert rules.notes == (
        "tag plb_pin_pve9 of guest 1 names no node of this cluster: it has no effect",
        "tag plb_pin_pve9 of guest 2 names no node of this cluster: it has no effect",
    )


def test_a_template_has_no_rules() -> None:
    found = read(cluster(node("a"), vm(1, "a", tags="plb_affinity_x;plb_pin_zz", template=1), ct(2, "a")))
    assert found.frame.empty and found.notes == ()


def test_rules_come_in_one_order_whatever_the_order_of_the_rows() -> None:
    rows = [vm(3, "a", tags="plb_affinity_b"), vm(1, "a", tags="plb_affinity_b;plb_affinity_a"), node("a")]
    one, other = read(cluster(*rows)), read(cluster(*reversed(rows)))
    assert [tuple(r) for r in one.frame[["rule", "vmid"]].itertuples(index=False)] == [
        ("plb_affinity_a", 1), ("plb_affinity_b", 1), ("plb_affinity_b", 3),
    ]  # fmt: skip
    assert one.frame.equals(other.frame)


@pytest.mark.parametrize("changed", ["plb_affinity_y", "plb_anti_affinity_x", "plb_ignore", "plb_pin_pve1", ""])
def test_the_digest_changes_with_any_rule_and_with_nothing_else(changed: str) -> None:
    same = rules_of("plb_affinity_x;web", "plb_affinity_x")
    assert rules_of("other;plb_affinity_x", "PLB_AFFINITY_X").digest() == same.digest()
    assert rules_of("plb_affinity_x", changed).digest() != same.digest()


# Nodes


def states(settings: ClusterPolicy | None = None) -> dict[str, NodeState]:
    rows = [node("a"), node("b", hastate="maintenance"), offline("c"), node("d", status="unknown"), node("e")]
    return read(cluster(*rows), settings).states


def test_nodes_are_what_proxmox_says() -> None:
    assert states() == {
        "a": NodeState.BALANCED, "b": NodeState.MAINTENANCE, "c": NodeState.OFFLINE, "d": NodeState.OFFLINE,
        "e": NodeState.BALANCED,
    }  # fmt: skip


def test_nodes_are_what_the_settings_say() -> None:
    found = states(ClusterPolicy(maintenance_nodes=("a",), ignore_nodes=("e",)))
    assert (found["a"], found["e"]) == (NodeState.MAINTENANCE, NodeState.IGNORED)


def test_offline_beats_ignored_and_ignored_beats_maintenance() -> None:
    found = states(ClusterPolicy(maintenance_nodes=("c", "e"), ignore_nodes=("c", "b", "e")))
    assert (found["c"], found["b"], found["e"]) == (NodeState.OFFLINE, NodeState.IGNORED, NodeState.IGNORED)


@pytest.mark.parametrize("field", ["maintenance_nodes", "ignore_nodes"])
def test_a_setting_that_names_a_node_that_does_not_exist_is_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=rf"cluster\.{field} names node zz, which does not exist: there are a, b, c"):
        states(ClusterPolicy(**{field: ("a", "zz")}))
