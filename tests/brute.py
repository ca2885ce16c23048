"""Owns the slow truth: rules, loads and scores in plain loops over every assignment, sharing nothing with `solvers`."""

from collections.abc import Iterator
from dataclasses import dataclass

from solvers.problem import Apart, Problem

Score = tuple[int, int, tuple[int, ...], tuple[int, int]]


class Plain:
    """A problem as lists of Python integers, and what the rules say of an assignment of it."""

    def __init__(self, problem: Problem) -> None:
        p = self.p = problem
        self.guests, self.nodes = range(len(p.origin)), range(len(p.capacity))
        self.origin, self.movable = p.origin.tolist(), p.movable.tolist()
        self.needs, self.capacity = p.needs.tolist(), p.capacity.tolist()
        table, ability = p.eligibility.tolist(), p.ability.tolist()
        self.allowed = [table[e] for e in p.eligible.tolist()]
        self.balanced = [node for node, counts in enumerate(p.balanced.tolist()) if counts]
        self.base, self.copy_mib = p.base.tolist(), p.copy_mib.tolist()
        self.weight = [
            [[_round(1_000_000 * demand, ability[k][node]) for node in self.nodes] for demand in row]
            for k, row in enumerate(p.demand.tolist())
        ]
        self.usage_today = self.usage(self.origin)

    def usage(self, at: list[int]) -> list[list[int]]:
        """[node][resource] taken."""
        total = [[0] * len(row) for row in self.capacity]
        for guest, node in enumerate(at):
            for r, need in enumerate(self.needs[guest]):
                total[node][r] += need
        return total

    def spread(self, at: list[int]) -> int:
        """Value of the first level, in ppm."""
        return self.values(at)[0]

    def values(self, at: list[int]) -> list[int]:
        """Value of each level in ppm: the worst of the spreads of its metrics, or their weighted mean rounded down."""
        spreads = []
        for base, weight in zip(self.base, self.weight, strict=True):
            load = list(base)
            for guest, node in enumerate(at):
                load[node] += weight[guest][node]
            counted = [load[node] for node in self.balanced]
            spreads.append(max(counted) - min(counted) if counted else 0)
        if not self.p.levels:
            return [max(spreads)]
        values = []
        for metrics, weights in self.p.levels:
            if weights:
                total = sum(spreads[k] * weight for k, weight in zip(metrics, weights, strict=True))
                values.append(total // sum(weights))
            else:
                values.append(max(spreads[k] for k in metrics))
        return values

    def violations(self, at: list[int]) -> int:
        """Guests where they may not be, crowded guests, needless nodes of groups, overfull resources."""
        count: int = sum(not self.allowed[guest][at[guest]] for guest in self.guests)
        for rule in self.p.apart:
            count += sum(max(0, len(sides) - rule.most) for sides, _ in self.domains(rule, at))
        for group in self.p.together:
            count += len({at[guest] for guest in group}) - 1 if group else 0
        usage = self.usage(at)
        for node in self.nodes:
            count += sum(u > c for u, c in zip(usage[node], self.capacity[node], strict=True))
        return count

    def domains(self, rule: Apart, at: list[int]) -> Iterator[tuple[set[int], set[int]]]:
        """For each domain of a rule: which sides are present in it, and from which domains their guests come."""
        domain = rule.domains or tuple(self.nodes)
        for one in set(domain):
            there = [(s, guest) for s, side in enumerate(rule.sides) for guest in side if domain[at[guest]] == one]
            yield {side for side, _ in there}, {domain[self.origin[guest]] for _, guest in there}

    def acceptable(self, at: list[int]) -> bool:
        """Within the limits, and nothing that holds today is broken."""
        moved = [guest for guest in self.guests if at[guest] != self.origin[guest]]
        if self.p.max_migrations is not None and len(moved) > self.p.max_migrations:
            return False
        if self.p.max_moved_mib is not None and sum(self.copy_mib[guest] for guest in moved) > self.p.max_moved_mib:
            return False
        if any(not self.movable[guest] or not self.allowed[guest][at[guest]] for guest in moved):
            return False
        return self._keeps_groups(at) and self._keeps_capacity(at, moved)

    def _keeps_groups(self, at: list[int]) -> bool:
        for group in self.p.together:
            for one in group:
                for other in group:
                    if self.origin[one] == self.origin[other] and at[one] != at[other]:
                        return False
        return not any(
            len(sides) > rule.most and len(origins) > 1
            for rule in self.p.apart
            for sides, origins in self.domains(rule, at)
        )

    def _keeps_capacity(self, at: list[int], moved: list[int]) -> bool:
        usage = self.usage(at)
        for node in self.nodes:
            for r, used in enumerate(usage[node]):
                receives = any(at[guest] == node and self.needs[guest][r] for guest in moved)
                if used > self.capacity[node][r] and (receives or used > self.usage_today[node][r]):
                    return False
        return True

    def score(self, at: list[int]) -> Score:
        """(violations, value of the first level, values of the others, cost), no value below the goal."""
        moved = [guest for guest in self.guests if at[guest] != self.origin[guest]]
        copied = sum(self.copy_mib[guest] for guest in moved)
        cost = (len(moved), copied) if self.p.prefer == "migrations" else (copied, len(moved))
        first, *later = (max(value, self.p.goal) for value in self.values(at))
        return self.violations(at), first, tuple(later), cost

    def assignments(self) -> Iterator[list[int]]:
        """Every acceptable assignment."""
        at = list(self.origin)

        def fill(guest: int, left: int) -> Iterator[list[int]]:
            if guest == len(at):
                if self.acceptable(at):
                    yield at
                return
            home = self.origin[guest]
            yield from fill(guest + 1, left)
            if left and self.movable[guest]:
                for node in self.nodes:
                    if node != home and self.allowed[guest][node]:
                        at[guest] = node
                        yield from fill(guest + 1, left - 1)
                at[guest] = home

        yield from fill(0, len(at) if self.p.max_migrations is None else self.p.max_migrations)


@dataclass(frozen=True)
class Truth:
    """What looking at every acceptable assignment says."""

    best: Score
    """Smallest score."""
    spreads: dict[int, int]
    """violations -> smallest spread in ppm, not clipped, of an assignment with so many."""
    costs: dict[tuple[int, ...], int]
    """(violations, value of each level) -> smallest first cost."""

    def least_spread(self, violations: int | None = None) -> int:
        """Smallest spread among acceptable assignments with at most so many violations; None: any number."""
        return min(s for v, s in self.spreads.items() if violations is None or v <= violations)

    def least_cost(self, score: Score) -> int:
        """Smallest first cost of an acceptable assignment that is as good in violations and every level."""
        wanted = (score[0], score[1], *score[2])
        return min(cost for key, cost in self.costs.items() if all(a <= b for a, b in zip(key, wanted, strict=True)))


def truth(problem: Problem) -> Truth:
    """Look at every assignment."""
    plain = Plain(problem)
    best = plain.score(plain.origin)
    spreads: dict[int, int] = {}
    costs: dict[tuple[int, ...], int] = {}
    for at in plain.assignments():
        score = plain.score(at)
        best = min(best, score)
        spreads[score[0]] = min(spreads.get(score[0], 1 << 60), plain.spread(at))
        key = (score[0], score[1], *score[2])
        costs[key] = min(costs.get(key, 1 << 60), score[3][0])
    return Truth(best, spreads, costs)


def _round(amount: int, whole: int) -> int:
    """amount / whole to the nearest integer, halves up."""
    return (2 * amount + whole) // (2 * whole)
