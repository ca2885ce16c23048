"""Owns the list of everything a plan has to keep, each with its words: rules, nodes, fixed guests, room, limits."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from planner import capacity
from planner.eligibility import ALONE, domains, is_left_alone
from planner.formulate import Formulation
from planner.rule import Kind, Rule
from planner.rules import NodeState
from solvers.problem import Apart
from solvers.requirement import Only, Requirement, Room, Together, Within

RULE, LIMIT, STATE, FACT = 30, 20, 40, 1000
"""What it takes to give up a rule, a limit, the state of a node; or something that no decision can change."""
SETTINGS = {
    capacity.GUESTS: ("allow more guests on {} (max_guests)", LIMIT),
    capacity.VCPUS: ("allow more vCPUs on {} (overcommit)", LIMIT),
}
"""Room that is a matter of settings: what would help, and what it takes."""
SHOWN = 4
"""Guests that are named before the rest is counted."""


@dataclass(frozen=True, slots=True)
class Demand:
    """One thing to keep."""

    requirement: Requirement
    says: str
    """As the operator wrote it, with guests and nodes."""
    helps: str
    """What giving it up would be."""
    weight: int
    rule: Rule | None = None


def read(formulation: Formulation) -> list[Demand]:
    """All demands on an assignment of a problem: when all hold, nothing is broken, and the other way round."""
    return [
        *_rules(formulation), *_states(formulation), *_barred(formulation), *_fixed(formulation),
        *_room(formulation), *_limits(formulation),
    ]  # fmt: skip


def _rules(formulation: Formulation) -> Iterator[Demand]:
    index = {int(vmid): g for g, vmid in enumerate(formulation.guests["vmid"])}
    alone = _left_alone(formulation)
    for rule in formulation.rules.items:
        sides = [tuple(index[v] for v in side if v in index) for side in rule.sides]
        sides = [side for side in sides if side]
        members = [guest for side in sides for guest in side]
        match rule.kind:
            case Kind.PIN:
                nodes = frozenset(n for n, name in enumerate(formulation.nodes) if name in rule.nodes)
                on = " or ".join(sorted(rule.nodes)) or "no node"
                for guest in (guest for guest in members if guest not in alone):
                    yield _of_rule(rule, Only((guest,), nodes), f"{_named(formulation, [guest])} on {on}")
            case Kind.TOGETHER if len(members) > 1:
                yield _of_rule(rule, Together(tuple(members)), f"{_named(formulation, members)} on one node")
            case Kind.APART if len(sides) > rule.most:
                where = domains(formulation.rules, rule.per, formulation.nodes)
                yield _of_rule(rule, Apart(tuple(sides), rule.most, where), _apart(formulation, rule, sides))


def _of_rule(rule: Rule, requirement: Requirement, text: str) -> Demand:
    weight = max(1, round(rule.price)) if rule.price else RULE
    return Demand(requirement, f"{rule.name}: {text}", f"give up {rule.name}: {text}", weight, rule)


def _apart(formulation: Formulation, rule: Rule, sides: list[tuple[int, ...]]) -> str:
    place = rule.per or "node"
    if any(len(side) > 1 for side in sides):
        return f"{' never with '.join(_named(formulation, side) for side in sides)} on one {place}"
    members = _named(formulation, [guest for side in sides for guest in side])
    return (
        f"{members} each on a {place} of its own" if rule.most == 1 else f"of {members} at most {rule.most} per {place}"
    )


def _states(formulation: Formulation) -> Iterator[Demand]:
    """Nodes that take no guests; one demand for each guest that is there, one for all others."""
    problem, alone = formulation.problem, _left_alone(formulation)
    for n, name in enumerate(formulation.nodes):
        state = formulation.rules.states[name]
        if state is NodeState.BALANCED:
            continue
        says = f"node {name} is {'in ' if state is NodeState.MAINTENANCE else ''}{state}"
        helps = f"let guests be on {name}"
        others = frozenset(range(problem.nodes)) - {n}
        free = [guest for guest in range(problem.guests) if guest not in alone]
        there = [guest for guest in free if problem.origin[guest] == n]
        for guest in there:
            yield Demand(Only((guest,), others), f"{says}: {_named(formulation, [guest])} elsewhere", helps, STATE)
        elsewhere = tuple(guest for guest in free if problem.origin[guest] != n)
        if elsewhere:
            yield Demand(Only(elsewhere, others), f"{says}: no guest comes", helps, STATE)


def _barred(formulation: Formulation) -> Iterator[Demand]:
    index = {int(vmid): g for g, vmid in enumerate(formulation.guests["vmid"])}
    for vmid, reasons in formulation.barred.items():
        guest = index[vmid]
        home = int(formulation.problem.origin[guest])
        nodes = frozenset(n for n, name in enumerate(formulation.nodes) if name not in reasons or n == home)
        why = "; ".join(
            f"not {name}: {reason}" for name, reason in sorted(reasons.items()) if name in formulation.nodes
        )
        if why:
            says = f"where Proxmox VE lets {_named(formulation, [guest])} run ({why})"
            yield Demand(
                Only((guest,), nodes), says, f"give more nodes what {_named(formulation, [guest])} needs", FACT
            )


def _fixed(formulation: Formulation) -> Iterator[Demand]:
    problem = formulation.problem
    for guest, vmid in enumerate(map(int, formulation.guests["vmid"])):
        reason = formulation.fixed.get(vmid)
        if reason:
            home = int(problem.origin[guest])
            who = _named(formulation, [guest])
            says = f"{who} stays on {formulation.nodes[home]}: {reason}"
            weight = RULE if reason.startswith(ALONE) else FACT
            yield Demand(Only((guest,), frozenset({home})), says, f"let {who} be migrated ({reason})", weight)


def _room(formulation: Formulation) -> Iterator[Demand]:
    for n, node in enumerate(formulation.nodes):
        for r, name in enumerate(formulation.capacities):
            helps, weight = SETTINGS.get(name, ("give {} more room (" + name + ")", FACT))
            yield Demand(Room(n, r), f"room of {node} ({name})", helps.format(node), weight)


def _limits(formulation: Formulation) -> Iterator[Demand]:
    problem = formulation.problem
    if problem.max_migrations is not None:
        most = problem.max_migrations
        yield Demand(Within(migrations=most), f"at most {most} migrations", "allow more migrations", LIMIT)
    if problem.max_moved_mib is not None:
        gib = problem.max_moved_mib / 1024
        yield Demand(Within(mib=problem.max_moved_mib), f"at most {gib:g} GiB copied", "allow more GiB", LIMIT)


def _left_alone(formulation: Formulation) -> set[int]:
    """Guests that the operator leaves where they are: no rule about single guests is broken there."""
    states, nodes = formulation.rules.states, formulation.guests["node"]
    vmids = map(int, formulation.guests["vmid"])
    return {
        guest
        for guest, (vmid, node) in enumerate(zip(vmids, map(str, nodes), strict=True))
        if is_left_alone(formulation.fixed.get(vmid, ""), states[node])
    }


def _named(formulation: Formulation, guests: Iterable[int]) -> str:
    """Guests by vmid and name."""
    guests = list(guests)
    names = [formulation.labels[guest] for guest in guests[:SHOWN]]
    more = f" and {len(guests) - SHOWN} more" if len(guests) > SHOWN else ""
    return f"guest{'s' if len(guests) > 1 else ''} {', '.join(names)}{more}"
