"""Owns which hops wait for which others, so that no node is overfull and no rule broken, however long each takes.

Hops are given in an order that is safe one after the other. A hop waits for those departures that make room for it when
every earlier arrival counts as there already and nobody else as gone. Whatever is under way together, the last of the
hops to a node has then been checked with all the others on that node: the order of events does not matter any more.
The same holds backwards, each hop from its target to its source and every wait turned round.
"""

from collections.abc import Iterator, Sequence

from planner.order import Hop
from solvers.presence import Presence
from solvers.problem import Problem


def waits(problem: Problem, hops: Sequence[Hop]) -> list[tuple[int, ...]]:
    """For each hop the earlier ones, as indices, that must have ended before it begins, less what follows from them.

    A bundle that goes on from its stop waits for its coming there, which is said in any case.
    """
    presence = Presence(problem, problem.origin)
    last: dict[int, int] = {}
    rules = _rules(problem)
    closure: list[int] = []
    result: list[tuple[int, ...]] = []
    for index, hop in enumerate(hops):
        needed = [last[hop.bundle]] if hop.bundle in last else []
        relevant = [i for i in range(index) if _matters(hops[i], hop, rules)]
        chosen = _chosen(presence, hops, closure, relevant, needed, hop)
        closed = _closed(closure, chosen)
        result.append(tuple(i for i in chosen if i in needed or not any(closure[j] >> i & 1 for j in chosen)))
        closure.append(closed)
        last[hop.bundle] = index
        presence.arrive(hop.bundle, hop.source, hop.target)
    return result


def _rules(problem: Problem) -> dict[int, set[int]]:
    """bundle -> rules that keep it apart from others."""
    result: dict[int, set[int]] = {}
    for index, rule in enumerate(problem.apart):
        for bundle in problem.bundle_of[list(rule.guests)]:
            result.setdefault(int(bundle), set()).add(index)
    return result


def _matters(gone: Hop, hop: Hop, rules: dict[int, set[int]]) -> bool:
    """Whether that a bundle has gone may let another come."""
    return gone.source == hop.target or not rules.get(gone.bundle, set()).isdisjoint(rules.get(hop.bundle, set()))


def _closed(closure: Sequence[int], chosen: Sequence[int]) -> int:
    """All hops that have ended when the chosen ones have, as bits."""
    bits = 0
    for index in chosen:
        bits |= closure[index] | 1 << index
    return bits


def _chosen(
    presence: Presence, hops: Sequence[Hop], closure: Sequence[int], relevant: Sequence[int], needed: list[int],
    hop: Hop,
) -> list[int]:  # fmt: skip
    """Departures that let a hop begin, the earliest first, none of them in vain."""
    chosen = list(needed)
    rest = iter([i for i in relevant if i not in needed])
    while not _admitted(presence, hops, _closed(closure, chosen), relevant, hop):
        following = next(rest, None)
        if following is None:  # as the order is safe one after the other, only rules that are broken today lead here
            return sorted({*needed, *range(len(closure))})
        chosen.append(following)
    for index in [i for i in chosen if i not in needed]:
        fewer = [i for i in chosen if i != index]
        if _admitted(presence, hops, _closed(closure, fewer), relevant, hop):
            chosen = fewer
    return sorted(chosen)


def _admitted(presence: Presence, hops: Sequence[Hop], ended: int, relevant: Sequence[int], hop: Hop) -> bool:
    """Whether a hop may begin when some have ended."""
    gone = list(_of(hops, ended, relevant))
    for other in gone:
        presence.leave(other.bundle, other.source, other.target)
    result = presence.admits(hop.bundle, hop.source, hop.target)
    for other in reversed(gone):
        presence.arrive(other.bundle, other.target, other.source)
    return result


def _of(hops: Sequence[Hop], bits: int, relevant: Sequence[int]) -> Iterator[Hop]:
    return (hops[i] for i in relevant if bits >> i & 1)
