"""Claims about bundles under way: they count on both ends, neither more nor less, as a list of pairs says."""

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from solvers.presence import Presence
from solvers.problem import Apart, Problem
from solvers.state import State
from tests.pairs import admits
from tests.problems import by_node, problems


@given(problem=problems(nodes=4, guests=9), seed=st.integers(0, 10**6))
def test_what_may_come_to_a_node_is_what_a_list_of_guests_and_nodes_says(problem: Problem, seed: int) -> None:
    rng, at = Random(seed), problem.homes.tolist()
    presence = Presence(problem, problem.origin)
    pairs = {(guest, int(node)) for guest, node in enumerate(problem.origin)}
    under_way: dict[int, int] = {}
    for _ in range(12):
        for bundle in range(len(at)):
            for node in set(range(problem.nodes)) - {at[bundle]} if bundle not in under_way else ():
                assert presence.admits(bundle, at[bundle], node) == admits(problem, pairs, bundle, at[bundle], node)
        waiting = [bundle for bundle in range(len(at)) if bundle not in under_way]
        if under_way and (not waiting or rng.random() < 0.4):
            bundle = rng.choice(sorted(under_way))
            source, at[bundle] = at[bundle], under_way.pop(bundle)
            presence.leave(bundle, source, at[bundle])
            pairs -= {(int(guest), source) for guest in problem.bundles[bundle]}
        elif waiting and problem.nodes > 1:
            bundle = rng.choice(waiting)
            node = rng.choice(sorted(set(range(problem.nodes)) - {at[bundle]}))
            presence.arrive(bundle, at[bundle], node)
            under_way[bundle] = node
            pairs |= {(int(guest), node) for guest in problem.bundles[bundle]}


@given(problem=problems(nodes=4, guests=9))
def test_with_nothing_under_way_it_says_what_the_solvers_go_by(problem: Problem) -> None:
    free = problem.replace(
        max_migrations=None, max_moved_mib=None, movable=np.ones(problem.guests, dtype=bool), together=()
    )
    presence, state = Presence(free, free.origin), State(free, free.origin)
    for bundle in range(len(free.bundles)):
        for node in set(range(free.nodes)) - {state.node(bundle)}:
            assert presence.admits(bundle, state.node(bundle), node) == state.may_go(bundle, node)


def test_what_is_under_way_takes_room_where_it_comes_from_and_where_it_goes() -> None:
    problem = by_node([[6], [6], []], capacity=np.array([[10], [10], [10]]))
    presence = Presence(problem, problem.origin)
    presence.arrive(0, 0, 2)
    assert not presence.admits(1, 1, 2) and not presence.admits(1, 1, 0)
    presence.leave(0, 0, 2)
    assert presence.admits(1, 1, 0) and not presence.admits(1, 1, 2)


def test_guests_to_be_kept_apart_never_meet_not_even_on_the_way() -> None:
    problem = by_node([[1], [1], []], apart=(Apart.of((0, 1)),))
    presence = Presence(problem, problem.origin)
    presence.arrive(0, 0, 2)
    assert not presence.admits(1, 1, 0) and not presence.admits(1, 1, 2)
    presence.leave(0, 0, 2)
    assert presence.admits(1, 1, 0)


def test_a_migration_within_a_domain_changes_nothing_for_its_rule() -> None:
    problem = by_node([[1, 1], [], [1], []], apart=(Apart(((0,), (1,), (2,)), most=1, domains=(0, 0, 1, 1)),))
    presence = Presence(problem, problem.origin)
    assert presence.admits(0, 0, 1) and not presence.admits(0, 0, 3)  # two share the rack today, and may go on so
    presence.arrive(0, 0, 1)
    presence.leave(0, 0, 1)
    presence.arrive(2, 2, 3)
    presence.leave(2, 2, 3)
    assert not presence.admits(0, 1, 2) and not presence.admits(2, 3, 1)
