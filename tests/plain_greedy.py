"""Owns the reference recursion in plain loops over every node, to which the solver `greedy` is held to the letter."""

from solvers.greedy import Free
from solvers.problem import Apart, Problem
from tests.brute import Plain

PPM = 1_000_000


class PlainGreedy:
    """A run from a start; `decisions` are the migrations in order, as (bundle, node)."""

    def __init__(self, problem: Problem, start: list[int], free: Free) -> None:
        self.p, self.plain, self.free = problem, Plain(problem), free
        self.at = list(start)
        self.bundles = [guests.tolist() for guests in problem.bundles]
        self.decisions: list[tuple[int, int]] = []
        order = sorted(range(len(self.bundles)), key=lambda b: (-self._size(b), self.bundles[b][0]))
        handled: set[int] = set()
        while mended := {bundle for bundle in order if bundle not in handled and self._mend(bundle)}:
            handled |= mended
        for node in [node for node in self.plain.nodes if self._over(node)]:
            handled |= self._relieve(node, order)
        for bundle in order:
            if self.plain.spread(self.at) <= problem.tolerance or self._exhausted():
                break
            if bundle not in handled:
                self._balance(bundle)

    def _size(self, bundle: int) -> int:
        return sum(int(self.p.demand[0, guest]) for guest in self.bundles[bundle])

    def _exhausted(self) -> bool:
        moved = sum(at != origin for at, origin in zip(self.at, self.plain.origin, strict=True))
        return self.p.max_migrations is not None and moved >= self.p.max_migrations

    def _mend(self, bundle: int) -> bool:
        if not self._offends(bundle):
            return False
        before = self.plain.violations(self.at)
        gain = {
            node: before - self.plain.violations(self._then(bundle, node))
            for node in self.plain.nodes
            if self._legal(bundle, node)
        }
        most = max(gain.values(), default=0)
        if most > 0:
            self._migrate(bundle, self._most_free([node for node, g in gain.items() if g == most]))
        return most > 0

    def _over(self, node: int) -> list[int]:
        """Resources of which guests need more than a node has."""
        usage = self.plain.usage(self.at)[node]
        return [r for r, capacity in enumerate(self.plain.capacity[node]) if usage[r] > capacity]

    def _relieve(self, node: int, order: list[int]) -> set[int]:
        """Empty an overfull node until it is not, or leave it as it is."""
        gone: list[int] = []
        for bundle in [bundle for bundle in order if self.at[self.bundles[bundle][0]] == node]:
            over = self._over(node)
            if not any(self.plain.needs[guest][r] for guest in self.bundles[bundle] for r in over):
                continue
            targets = [target for target in self.plain.nodes if self._legal(bundle, target)]
            if targets:
                self._migrate(bundle, self._most_free(targets))
                gone.append(bundle)
        if not self._over(node):
            return set(gone)
        for bundle in reversed(gone):
            self._migrate(bundle, node)
        return set()

    def _balance(self, bundle: int) -> None:
        now = self.at[self.bundles[bundle][0]]
        target = self._most_free([node for node in self.plain.nodes if node == now or self._legal(bundle, node)])
        if target != now:
            self._migrate(bundle, target)

    def _migrate(self, bundle: int, node: int) -> None:
        self.decisions.append((bundle, node))
        self.at = self._then(bundle, node)

    def _then(self, bundle: int, node: int) -> list[int]:
        return [node if guest in self.bundles[bundle] else at for guest, at in enumerate(self.at)]

    def _most_free(self, nodes: list[int]) -> int:
        load = list(self.plain.base[0])
        for guest, node in enumerate(self.at):
            load[node] += self.plain.weight[0][guest][node]

        def amount(node: int) -> int:
            if self.free is Free.PERCENT:
                return PPM - load[node]
            return ((PPM - load[node]) * int(self.p.ability[0, node]) + PPM // 2) // PPM

        return min(nodes, key=lambda node: (-amount(node), node))

    def _legal(self, bundle: int, node: int) -> bool:
        guests = self.bundles[bundle]
        now, home = self.at[guests[0]], self.plain.origin[guests[0]]
        if node == now or not all(self.plain.allowed[guest][node] for guest in guests):
            return False
        usage = self.plain.usage(self.at)
        for r, capacity in enumerate(self.plain.capacity[node]):
            needs = sum(self.plain.needs[guest][r] for guest in guests)
            if needs and usage[node][r] + needs > capacity:
                return False
        if not all(self._keeps_apart(bundle, rule, node) for rule in self.p.apart):
            return False
        if any(self._others(bundle, group, now) for group in self.p.together):
            return False
        return node == home or self._within_limits(bundle, node)

    def _keeps_apart(self, bundle: int, rule: Apart, node: int) -> bool:
        """Whether the node's domain has no more sides then than it may have, or none but those of the bundle, which
        shared one before, or just those that are there now."""
        domain, mine = rule.domains or tuple(self.plain.nodes), set(self.bundles[bundle])
        if not mine & set(rule.guests) or domain[node] == domain[self.at[self.bundles[bundle][0]]]:
            return True
        then = self._then(bundle, node)
        there = [(s, g) for s, side in enumerate(rule.sides) for g in side if domain[then[g]] == domain[node]]
        alone = all(g in mine for _, g in there) and self._crowd(rule, then) <= self._crowd(rule, self.at)
        return len({side for side, _ in there}) <= rule.most or alone

    def _crowd(self, rule: Apart, at: list[int]) -> int:
        """Violations of a rule."""
        return sum(max(0, len(sides) - rule.most) for sides, _ in self.plain.domains(rule, at))

    def _crowds(self, bundle: int, rule: Apart) -> bool:
        """Whether a rule is broken less often when a bundle is on a node of its own."""
        mine = set(self.bundles[bundle])
        others = [tuple(guest for guest in side if guest not in mine) for side in rule.sides]
        alone = sum(bool(mine & set(side)) for side in rule.sides) - rule.most
        return self._crowd(rule._replace(sides=tuple(others)), self.at) + max(0, alone) < self._crowd(rule, self.at)

    def _within_limits(self, bundle: int, node: int) -> bool:
        then = self._then(bundle, node)
        moved = [guest for guest in self.plain.guests if then[guest] != self.plain.origin[guest]]
        most, most_mib = self.p.max_migrations, self.p.max_moved_mib
        return (
            all(self.plain.movable[guest] for guest in self.bundles[bundle])
            and (most is None or len(moved) <= most)
            and (most_mib is None or sum(self.plain.copy_mib[guest] for guest in moved) <= most_mib)
        )

    def _others(self, bundle: int, group: tuple[int, ...], node: int) -> bool:
        """Whether others of a group of the bundle are on a node."""
        mine = set(self.bundles[bundle])
        return bool(mine & set(group)) and any(self.at[guest] == node for guest in set(group) - mine)

    def _offends(self, bundle: int) -> bool:
        guests = self.bundles[bundle]
        now = self.at[guests[0]]
        usage = self.plain.usage(self.at)[now]
        elsewhere = [node for node in self.plain.nodes if node != now]
        return (
            not all(self.plain.allowed[guest][now] for guest in guests)
            or any(self._crowds(bundle, rule) for rule in self.p.apart)
            or any(self._others(bundle, group, node) for group in self.p.together for node in elsewhere)
            or any(
                used > capacity and any(self.plain.needs[guest][r] for guest in guests)
                for r, (used, capacity) in enumerate(zip(usage, self.plain.capacity[now], strict=True))
            )
        )
