"""Owns the slow truth about guests under way: every guest with every node on which it counts, as a list of pairs."""

from solvers.problem import Apart, Problem

Pairs = set[tuple[int, int]]
"""Guest and node."""


def admits(problem: Problem, pairs: Pairs, bundle: int, source: int, node: int) -> bool:
    """The same of a list of pairs, with the guests that would come added to those that are there."""
    own = {int(guest) for guest in problem.bundles[bundle]}
    there = [guest for guest, on in pairs if on == node]
    if not all(problem.eligibility[problem.eligible[guest], node] for guest in own):
        return False
    for r, room in enumerate(problem.capacity[node].tolist()):
        need = sum(int(problem.needs[guest, r]) for guest in own)
        if need and need + sum(int(problem.needs[guest, r]) for guest in there) > room:
            return False
    return all(_keeps_apart(rule, pairs, own, source, node) for rule in problem.apart)


def _keeps_apart(rule: Apart, pairs: Pairs, own: set[int], source: int, node: int) -> bool:
    home, to = rule.domain(source), rule.domain(node)

    def sides(domain: int, without: set[int]) -> set[int]:
        guests = {guest for guest, on in pairs if rule.domain(on) == domain} - without
        return {side for side, members in enumerate(rule.sides) if guests & set(members)}

    mine = {side for side, members in enumerate(rule.sides) if own & set(members)}
    if home == to or not mine or len(sides(to, set()) | mine) <= rule.most:
        return True
    if len(mine) <= rule.most:
        return False
    here, left = len(sides(home, set())), max(rule.most, len(sides(home, own)))
    return not sides(to, set()) and left + len(mine) <= here  # too much by itself: as bad there as here
