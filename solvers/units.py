"""Owns which guests start as one when their node fails."""

from solvers.problem import Problem


def united(problem: Problem, guests: list[int]) -> list[list[int]]:
    """Guests that were on one node in units that stay together."""
    unit_of = {guest: [guest] for guest in guests}
    for group in problem.together:
        members = [guest for guest in group if guest in unit_of]
        for guest in members[1:]:
            first, other = unit_of[members[0]], unit_of[guest]
            if first is not other:
                first += other
                unit_of.update(dict.fromkeys(other, first))
    return [unit for guest, unit in unit_of.items() if unit[0] == guest]
