"""Claims about whether a node may take a guest now, beside those under way: as a list of pairs says, in words."""

from pathlib import Path
from random import Random

from planner.arrival import obstacle
from planner.collect import collect
from planner.errors import PlannerError
from planner.formulate import Formulation, formulate
from planner.plan import Migration
from planner.rules import read
from tests import plans
from tests.draw import FEATURES, draw
from tests.pairs import Pairs, admits

CASES = 120


def test_a_guest_may_come_exactly_where_a_list_of_guests_and_nodes_says_and_else_there_is_a_reason(
    tmp_path: Path,
) -> None:
    refused = admitted = 0
    for seed in range(CASES):
        rng = Random(seed)
        formulation = _drawn(rng, seed, tmp_path)
        vmids = [] if formulation is None else [int(vmid) for vmid in formulation.guests["vmid"]]
        for _ in range(6 if formulation and vmids and len(formulation.nodes) > 1 else 0):
            assert formulation is not None
            asked, *others = (_migration(rng, formulation, rng.choice(vmids)) for _ in range(rng.randint(1, 3)))
            why = obstacle(formulation, asked, others)
            assert (why == "") == _may_come(formulation, asked, others), (seed, why)
            refused, admitted = refused + bool(why), admitted + (not why)
    assert min(refused, admitted) > CASES


def _drawn(rng: Random, seed: int, directory: Path) -> Formulation | None:
    """A cluster with rules of every kind that hold at every moment; None where nothing can be planned."""
    chosen = [name for name in sorted(FEATURES) if rng.random() < 0.3]
    scenario = draw(seed, rng.randint(2, 6), rng.randint(3, 14), chosen)
    try:
        config, cluster = scenario.config(directory), collect(scenario.snapshot())
        rules = read(cluster, config.cluster)
        free = rules.without([rule.name for rule in rules.items if rule.price])
        return formulate(cluster, free, config.policy)
    except PlannerError:
        return None


def _migration(rng: Random, formulation: Formulation, vmid: int) -> Migration:
    source = str(formulation.guests.loc[formulation.guests["vmid"] == vmid, "node"].iloc[0])
    return plans.migration(1, vmid, source, rng.choice([name for name in formulation.nodes if name != source]))


def _may_come(formulation: Formulation, asked: Migration, others: list[Migration]) -> bool:
    """With every guest under way, and those that travel with it, on both ends; not those that travel with this one."""
    problem, vmids = formulation.problem, [int(vmid) for vmid in formulation.guests["vmid"]]
    bundle = {one.vmid: int(problem.bundle_of[vmids.index(one.vmid)]) for one in (asked, *others)}
    pairs: Pairs = {(guest, int(node)) for guest, node in enumerate(problem.origin)}
    for one in others:
        if bundle[one.vmid] != bundle[asked.vmid]:
            node = formulation.nodes.index(one.target)
            pairs |= {(int(guest), node) for guest in problem.bundles[bundle[one.vmid]]}
    ends = formulation.nodes.index(asked.source), formulation.nodes.index(asked.target)
    return admits(problem, pairs, bundle[asked.vmid], *ends)
