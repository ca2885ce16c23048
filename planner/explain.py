"""Owns the sentences that say why a guest is migrated, which rule is broken, and why a guest stays."""

from planner import capacity
from planner.formulate import Formulation
from planner.plan import EMPTIES, REPAIRS
from planner.rules import NodeState
from solvers import check
from solvers.check import Rule, Violation
from solvers.problem import Ints, Problem

CAPACITY = {
    capacity.MEMORY: "{node} has less memory than its guests need",
    capacity.VCPUS: "the guests on {node} have more vCPUs than the {room:g} that overcommit allows",
    capacity.GUESTS: "{node} holds more guests than its maximum of {room}",
}
STORAGE = "storage {storage} of {node} has less room than its guests need"


def violation(formulation: Formulation, item: Violation) -> str:
    """A broken rule in words, by the names that the operator uses."""
    node = formulation.nodes[item.node] if item.node >= 0 else ""
    match item.rule:
        case Rule.ELIGIBLE | Rule.FIXED:
            return (
                f"{guest(formulation, item.guests[0])} is on {node}, {_not_allowed(formulation, item.guests[0], node)}"
            )
        case Rule.TOGETHER:
            members = ", ".join(guest(formulation, g) for g in item.guests)
            return f"{formulation.together[item.index]}: {members} is on {node}, away from the others"
        case Rule.APART:
            name, most = formulation.apart[item.index], formulation.problem.apart[item.index].most
            if most > 1:
                beyond, on = guest(formulation, item.guests[-1]), _domain(formulation, item, " and ")
                return f"{name}: {beyond} is one too many on {on}, at most {most} may be there"
            members = " and ".join(guest(formulation, g) for g in item.guests)
            return f"{name}: {members} are both on {_domain(formulation, item, ' or ')}"
        case Rule.CAPACITY:
            return _overfull(formulation, item, node)
        case Rule.LIMIT:
            return "more migrations or GiB than allowed"


def broken(formulation: Formulation, assignment: Ints) -> tuple[str, ...]:
    """All rules that an assignment breaks, in words; that a node is not empty yet is no broken rule."""
    found = check.violations(formulation.problem, assignment)
    return tuple(violation(formulation, item) for item in found if not leaves(formulation, item))


def leaves(formulation: Formulation, item: Violation) -> bool:
    """Whether it is only that a guest is on a node which is to be emptied."""
    leaving = formulation.rules.leaving
    if not leaving or item.rule not in (Rule.ELIGIBLE, Rule.FIXED):
        return False
    return leaving.get(formulation.vmid(item.guests[0])) == formulation.nodes[item.node]


def _domain(formulation: Formulation, item: Violation, joined: str) -> str:
    """Where guests are that should be apart: a node, or the nodes of a domain."""
    domain = formulation.problem.apart[item.index].domain_of(formulation.problem.nodes)
    names = zip(formulation.nodes, domain, strict=True)
    return joined.join(name for name, its in names if its == domain[item.node])


def _overfull(formulation: Formulation, item: Violation, node: str) -> str:
    name, room = formulation.capacities[item.index], int(formulation.problem.capacity[item.node, item.index])
    shown = room / capacity.MCPU if name == capacity.VCPUS else room
    return CAPACITY.get(name, STORAGE).format(node=node, room=shown, storage=name.removeprefix(capacity.STORAGE))


def guest(formulation: Formulation, index: int) -> str:
    """A guest as people call it."""
    return f"guest {formulation.labels[index]}"


def _not_allowed(formulation: Formulation, index: int, node: str) -> str:
    vmid, rules = formulation.vmid(index), formulation.rules
    if rules.leaving.get(vmid) == node:
        return "which is to be emptied"
    pins = rules.pins().get(vmid, set())
    if pins and node not in pins:
        return f"but pinned to {' or '.join(sorted(pins))}"
    return "which is in maintenance" if rules.states[node] is NodeState.MAINTENANCE else "where it is not allowed"


def reasons(formulation: Formulation, assignment: Ints) -> dict[int, str]:
    """Guest index to why it is migrated: the rule it repairs, the mate it follows, or the balance."""
    problem = formulation.problem
    repaired: dict[int, str] = {}
    mended = set(check.violations(problem, problem.origin)) - set(check.violations(problem, assignment))
    for item in sorted(mended, key=lambda v: list(Rule).index(v.rule), reverse=True):
        for index in check.leavers(problem, item):
            empties = leaves(formulation, item)
            repaired[index] = (
                f"{EMPTIES} {formulation.nodes[item.node]}" if empties else f"{REPAIRS}: {violation(formulation, item)}"
            )
    result = {}
    for index in map(int, problem.migrated(assignment)):
        mates = [int(m) for m in problem.bundles[problem.bundle_of[index]] if m != index]
        source, target = formulation.nodes[problem.origin[index]], formulation.nodes[assignment[index]]
        if index in repaired:
            result[index] = repaired[index]
        elif mates:
            result[index] = f"balance: from {source} to {target}, together with {guest(formulation, mates[0])}"
        else:
            result[index] = f"balance: from {source} to {target}"
    return result


def without(problem: Problem, assignment: Ints) -> dict[int, int]:
    """Guest index to the spread, in ppm, if its migration and those of the guests that go along were left out."""
    loads = problem.loads(assignment)
    result = {}
    for guest in map(int, problem.migrated(assignment)):
        bundle = problem.bundles[problem.bundle_of[guest]]
        home, node = int(problem.origin[guest]), int(assignment[guest])
        changed = loads.copy()
        changed[:, node] -= problem.weights(bundle, node).sum(axis=1)
        changed[:, home] += problem.weights(bundle, home).sum(axis=1)
        result[guest] = problem.spread_of(changed)
    return result
