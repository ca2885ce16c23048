"""Claims about what a cluster has to spare, by trying all: how many more guests, on which nodes, and which losses."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from random import Random
from typing import Any

import numpy as np
import pytest

from planner import spare
from planner.cluster import Cluster
from planner.config import Config, chosen
from planner.errors import UsageError
from planner.newguest import NewGuest
from planner.place import place
from planner.policy import Cluster as ClusterPolicy
from planner.policy import Policy, RuleSetting
from planner.snapshot import RESOURCES
from planner.survive import protected
from solvers import check, spare_model
from tests.rows import GIB, Row, cluster, formulated, node, stopped, vm
from tests.test_survive import survives

TAGS = ("", "plb_anti_affinity_x", "plb_affinity_y", "plb_pin_a;plb_pin_b", "plb_anti_affinity_z;plb_affinity_w")
RACKS = {"rack": {"a": "1", "b": "1", "c": "2"}}
RULES = (
    RuleSetting("r1", apart=("@tag-racked",), per="rack", at_most=2),
    RuleSetting("r2", apart=("@tag-one",), against=("@tag-other",)),
)
NODES = ("a", "b", "c")


def small(seed: int, *, ha: bool = False) -> tuple[Cluster, NewGuest]:
    """Three nodes with little room, and a new guest of which a few fit."""
    rng = Random(seed)
    words = [*TAGS, "racked", "one", "other", "racked;plb_anti_affinity_x"]
    rows = [
        vm(10 + i, rng.choice(NODES), rng.randint(1, 6), tags=rng.choice(words), maxcpu=rng.randint(1, 4),
           hastate="started" if ha and rng.random() < 0.6 else None)
        for i in range(rng.randint(0, 5))
    ]  # fmt: skip
    use = {name: sum(row["mem"] for row in rows if row["node"] == name) / GIB for name in NODES}
    nodes = [node(name, use[name] + rng.randint(1, 7), use[name], threads=8) for name in NODES]
    policy = Policy(
        overcommit=chosen({"overcommit": {"default": {"cpu": 1}}}).policy.overcommit if rng.random() < 0.4 else {},
        max_guests={"default": rng.randint(1, 4)} if rng.random() < 0.4 else {}, time_limit=20,
    )  # fmt: skip
    config = Config(policy=policy, cluster=ClusterPolicy(rules=RULES, domains=RACKS))
    new = NewGuest(rng.randint(2, 4), rng.randint(1, 4), tuple(rng.choice(words).split(";")), used=1, ha=ha)
    return replace(cluster(*nodes, *rows), config=config), new


def with_new(item: Cluster, new: NewGuest, at: tuple[str, ...]) -> Cluster:
    """Rows with new guests, written by hand."""
    rows = [dict(row) for row in item.snapshot.answers[RESOURCES]]
    for i, name in enumerate(at):
        row = new.row(100 + i, name)
        rows.append(row)
        next(row for row in rows if row.get("id") == f"node/{name}")["mem"] += row["mem"]
    return replace(cluster(*rows), config=item.config)


def is_fine(item: Cluster, new: NewGuest, at: tuple[str, ...]) -> bool:
    """Whether new guests break nothing there, by rules of their own, and every loss is survived where that counts."""
    config = item.config or Config()
    was = formulated(item, config.policy, config.cluster)
    now = formulated(with_new(item, new, at), config.policy, config.cluster)
    problem = now.problem
    if any(v.rule is not check.Rule.CAPACITY for v in new_violations(was, now)):
        return False
    fresh = {now.index[100 + i] for i in range(len(at))}
    if any(len({int(problem.origin[g]) for g in fresh.intersection(group)}) > 1 for group in problem.together):
        return False
    usage = problem.usage(problem.origin)
    for name in set(at):
        n = now.nodes.index(name)
        if (usage[n] > problem.capacity[n])[problem.needs[now.index[100]] > 0].any():
            return False
    guarded = protected(now.guests)
    return not new.ha or all(survives(problem, guarded, problem.origin, n) for n in range(problem.nodes))


def new_violations(was: Any, now: Any) -> list[Any]:
    """Broken rules beyond those that were: of new guests, or of a rule that they made worse."""
    before = [v.rule for v in check.violations(was.problem, was.problem.origin)]
    after = check.violations(now.problem, now.problem.origin)
    fresh = [g for g, vmid in enumerate(now.guests["vmid"]) if vmid >= 100]
    mine = [v for v in after if {*v.guests} & {*fresh}]
    more = len([v for v in after if v.rule is not check.Rule.CAPACITY]) - len(
        [rule for rule in before if rule is not check.Rule.CAPACITY]
    )
    crowded = []
    for rule in now.problem.apart:
        domain = rule.domain_of(now.problem.nodes)
        for d in set(domain[[int(now.problem.origin[g]) for g in fresh if g in rule.guests]]):
            there = sum(any(domain[now.problem.origin[g]] == d for g in side) for side in rule.sides)
            crowded += ["crowded"] * (there > rule.most)
    ours = [v for v in mine if v.rule is not check.Rule.TOGETHER]
    return [*ours, *after[: max(0, more)]] if more > 0 or ours else [v for v in after[:1] if crowded]


def placements(count: int) -> Iterator[tuple[str, ...]]:
    """All ways to have so many alike guests on the nodes."""
    return (at for at in product(NODES, repeat=count) if list(at) == sorted(at))


def brute(item: Cluster, new: NewGuest, limit: int = 9) -> int:
    """How many more there can be at most, by trying all."""
    count = 0
    while count < limit and any(is_fine(item, new, at) for at in placements(count + 1)):
        count += 1
    return count


@pytest.mark.parametrize("seed", [0, 2, 4, 5, 8, 9, 10])
def test_as_many_more_guests_as_any_placement_shows(seed: int) -> None:
    item, new = small(seed)
    found = spare.more(item, new)
    assert found.total == found.bound == brute(item, new)
    at = tuple(sorted(name for name, count in found.counts.items() for _ in range(count)))
    assert not at or is_fine(item, new, at)


@pytest.mark.parametrize("seed", range(2, 10))
def test_as_many_more_ha_guests_as_leave_every_loss_survived(seed: int) -> None:
    item, new = small(seed, ha=True)
    found = spare.more(item, new)
    if found.unsurvived:
        now = formulated(item, (item.config or Config()).policy, (item.config or Config()).cluster)
        guarded = protected(now.guests)
        lost = [now.nodes[n] for n in range(3) if not survives(now.problem, guarded, now.problem.origin, n)]
        assert list(found.unsurvived) == lost and found.total == 0
        return
    assert found.total == found.bound == brute(item, new, limit=5) or found.total > 5
    at = tuple(sorted(name for name, count in found.counts.items() for _ in range(count)))
    assert not at or is_fine(item, new, at)


@pytest.mark.parametrize("seed", range(12, 20))
def test_where_a_search_would_take_too_long_what_is_found_holds_and_so_does_the_bound(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spare_model, "LARGEST", -1)
    item, new = small(seed, ha=True)
    found = spare.more(item, new)
    if not found.unsurvived:
        assert found.total <= brute(item, new, limit=5) <= max(5, found.bound)
        at = tuple(sorted(name for name, count in found.counts.items() for _ in range(count)))
        assert not at or is_fine(item, new, at)


@pytest.mark.parametrize("seed", range(12))
def test_a_new_guest_is_placed_where_it_is_best_of_all_nodes_that_take_it(seed: int) -> None:
    item, new = small(seed)
    found = place(item, new)
    fine = [name for name in NODES if is_fine(item, new, (name,))]
    assert set(found.refusals) == set(NODES) - {*fine}
    assert bool(found.nodes) == bool(fine)
    if fine:
        spreads = {name: spread(with_new(item, new, (name,))) for name in fine}
        (best,) = found.nodes.values()
        assert spreads[best] == min(spreads.values())
        assert found.frame["spread_after"].tolist() == [pytest.approx(spreads[best], abs=1e-3)]
        assert found.frame["spread_before"].tolist() == [pytest.approx(spread(item), abs=1e-3)]


@pytest.mark.parametrize("seed", range(0, 16, 4))
def test_several_new_guests_are_placed_as_well_as_all_at_once_can_be(seed: int) -> None:
    item, new = small(seed)
    found = place(item, new, 3)
    fine = [at for at in placements(3) if is_fine(item, new, at)]
    assert (len(found.nodes) == 3) == bool(fine)
    if fine:
        best = min(spread(with_new(item, new, at)) for at in fine)
        assert spread(with_new(item, new, tuple(sorted(found.nodes.values())))) == pytest.approx(best, abs=1e-3)


def spread(item: Cluster) -> float:
    """Points between the fullest and the emptiest node, by plain arithmetic."""
    loads = [100 * u / m for u, m in zip(item.nodes["memory_used_mib"], item.nodes["memory_mib"], strict=True)]
    return max(loads) - min(loads)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_the_same_holds_for_many_more_clusters(seed: int) -> None:
    test_as_many_more_guests_as_any_placement_shows(seed)
    test_as_many_more_ha_guests_as_leave_every_loss_survived(seed)
    test_a_new_guest_is_placed_where_it_is_best_of_all_nodes_that_take_it(seed)
    test_several_new_guests_are_placed_as_well_as_all_at_once_can_be(seed)


# What there is


def test_room_is_what_nodes_have_less_what_they_and_their_guests_use() -> None:
    item = cluster(node("a", 64, 10), node("b", 32, 1), vm(1, "a", 8), stopped(2, "a"))
    shown = spare.room(replace(item, config=chosen({"overcommit": {"a": {"cpu": 2}}, "max_guests": {"a": 3}})))
    rows = {(row.node, row.capacity): (row.unit, row.total, row.taken, row.left) for row in shown.itertuples()}
    assert rows["a", "memory"] == ("GiB", 62, 8, 54) and rows["b", "memory"] == ("GiB", 31, 0, 31)
    assert rows["a", "vCPUs"] == ("vCPUs", 32, 2, 30) and rows["a", "guests"] == ("", 3, 2, 1)
    assert np.isnan(rows["b", "vCPUs"][1]) and np.isnan(rows["b", "guests"][3])


def test_losses_that_are_not_survived_are_named_with_the_guests() -> None:
    rows: list[Row] = [vm(1, "a", 30, hastate="started"), vm(2, "a", 8, hastate="started"), vm(3, "b", 20)]
    shown = spare.losses(cluster(node("a", 64, 38), node("b", 44, 20), *rows)).set_index("node")
    assert not shown.loc["a", "survived"] and shown.loc["a", "proven"] and shown.loc["b", "survived"]
    assert shown.loc["a", "without_place"] == "1 (g1)" and shown.loc["a", "missing_gib"] == 30
    assert shown["ha_guests"].tolist() == [2, 0]


def test_what_says_no_to_one_more_is_told_for_each_node() -> None:
    rows = [
        node("a", 20, 4),
        node("b", 64, 4),
        node("c", hastate="maintenance"),
        vm(1, "b", 4, tags="plb_anti_affinity_x"),
    ]
    more = spare.more(cluster(*rows), NewGuest(8, 1, used=1))
    assert more.counts == {"a": 2, "b": 7} and more.refusals["c"] == "in maintenance"
    assert more.refusals["a"] == "no room: needs 8.0 GiB of memory, 0.0 GiB left"
    apart = spare.more(cluster(*rows), NewGuest(8, 1, ("plb_anti_affinity_x",)))
    assert apart.counts == {"a": 1} and "would break plb_anti_affinity_x: guest 1 (g1) is there" in apart.refusals["b"]


def test_guests_that_belong_together_are_counted_on_one_node() -> None:
    found = spare.more(cluster(node("a", 20, 4), node("b", 64, 4)), NewGuest(8, 1, ("plb_affinity_x",), used=1))
    assert found.counts == {"b": 7} and found.refusals["a"] == "would break plb_affinity_x: it belongs on b"


def test_more_guests_than_can_be_counted_are_refused() -> None:
    with pytest.raises(UsageError, match="ask for larger ones"):
        spare.more(cluster(node("a", 4096)), NewGuest(0.1, 1))


def configured(item: Cluster, **settings: Any) -> Cluster:
    return replace(item, config=chosen(settings))


def test_capacity_heeds_the_configured_survive_as_the_command_does() -> None:
    rows = [node("a", 64, 10), node("b", 64, 10), node("c", 64, 10), vm(1, "a", 8, hastate="started"), vm(2, "a", 2)]
    plain, careful = cluster(*rows), configured(cluster(*rows), survive=1)
    assert careful.capacity().equals(plain.capacity(survive=1)) and "survived" in careful.capacity().columns
    assert careful.capacity(survive=0).equals(plain.capacity())
    assert careful.capacity((8, 2)).equals(plain.capacity((8, 2), survive=1))
    assert careful.capacity((8, 2), survive=0).equals(plain.capacity((8, 2)))
    assert careful.capacity((8, 2))["more"].sum() < plain.capacity((8, 2))["more"].sum()


@pytest.mark.parametrize("seed", range(6))
def test_losses_are_no_matter_to_new_guests_without_ha(seed: int) -> None:
    item, new = small(seed, ha=True)
    config = item.config or Config()
    careful = replace(item, config=replace(config, policy=replace(config.policy, survive=1)))
    new = replace(new, ha=False)
    one, other = spare.more(careful, new), spare.more(item, new)
    assert (one.counts, one.bound) == (other.counts, other.bound)


def test_where_one_node_less_leaves_no_quorum_that_is_said() -> None:
    two = cluster(node("a", 64, 10), node("b", 64, 10), vm(1, "a", 8, hastate="started"))
    three = cluster(node("a", 64, 10), node("b", 64, 10), node("c"), vm(1, "a", 8, hastate="started"))
    (note,) = two.capacity(survive=1).attrs["notes"]
    assert "2 of 2 nodes are online: when one more fails, no quorum is left" in note and "QDevice" in note
    assert three.capacity(survive=1).attrs["notes"] == ()
    assert "2 of 3 nodes" in three.fail("a").capacity(survive=1).attrs["notes"][0]
