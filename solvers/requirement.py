"""Owns what can be required of an assignment, and whether an assignment keeps it; knows no solver.

A requirement stands alone: the rules and limits of a Problem are not implied by it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from solvers.problem import Apart, Ints, Problem


@dataclass(frozen=True, slots=True)
class Only:
    """Each of these guests is on one of these nodes."""

    guests: tuple[int, ...]
    nodes: frozenset[int]


@dataclass(frozen=True, slots=True)
class Together:
    """All these guests are on one node."""

    guests: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """What the guests on a node need of a capacity resource is at most what the node has."""

    node: int
    resource: int


@dataclass(frozen=True, slots=True)
class Within:
    """At most so many migrations, and so many MiB copied by them; None: no limit."""

    migrations: int | None = None
    mib: int | None = None


Requirement = Only | Together | Apart | Room | Within


def holds(problem: Problem, requirement: Requirement, assignment: Ints) -> bool:
    """Whether an assignment keeps a requirement."""
    match requirement:
        case Only(guests, nodes):
            return all(int(assignment[guest]) in nodes for guest in guests)
        case Together(guests):
            return len({int(assignment[guest]) for guest in guests}) <= 1
        case Apart():
            return _are_apart(requirement, assignment)
        case Room(node, resource):
            used = int(problem.needs[assignment == node, resource].sum())
            return used <= int(problem.capacity[node, resource])
        case Within(migrations, mib):
            few = migrations is None or len(problem.migrated(assignment)) <= migrations
            return few and (mib is None or problem.moved_mib(assignment) <= mib)


def broken(problem: Problem, requirements: Sequence[Requirement], assignment: Ints) -> tuple[int, ...]:
    """Indices of the requirements that an assignment does not keep."""
    return tuple(i for i, each in enumerate(requirements) if not holds(problem, each, assignment))


def guests_of(requirement: Requirement) -> tuple[int, ...]:
    """The guests that a requirement names; room and limits name none."""
    match requirement:
        case Only(guests, _) | Together(guests):
            return guests
        case Apart(sides, _, _):
            return tuple(guest for side in sides for guest in side)
        case _:
            return ()


def check(problem: Problem, requirements: Iterable[Requirement]) -> None:
    """Raise ValueError for a requirement that names what the problem does not have."""
    for each in requirements:
        nodes: Iterable[int] = ()
        match each:
            case Only(_, nodes):
                pass
            case Room(node, resource):
                nodes = (node,)
                if not 0 <= resource < problem.capacity.shape[1]:
                    raise ValueError(f"{each} names a resource that does not exist")
            case Apart(_, _, domains) if len(domains) not in (0, problem.nodes):
                raise ValueError(f"{each} needs a domain for each of {problem.nodes} nodes")
        if not all(0 <= guest < problem.guests for guest in guests_of(each)):
            raise ValueError(f"{each} names a guest that does not exist")
        if not all(0 <= node < problem.nodes for node in nodes):
            raise ValueError(f"{each} names a node that does not exist")


def _are_apart(apart: Apart, assignment: Ints) -> bool:
    present: dict[int, int] = {}
    for side in apart.sides:
        for domain in {apart.domain(int(assignment[guest])) for guest in side}:
            present[domain] = present.get(domain, 0) + 1
    return max(present.values(), default=0) <= apart.most
