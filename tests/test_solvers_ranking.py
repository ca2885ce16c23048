"""Claims about nodes kept in order: the order is that of a sort, and its price grows with the logarithm."""

from math import log2
from random import Random
from typing import Self

import pytest

from solvers.ranking import Ranking, Span


class Counted(int):
    """A number that counts how often it is compared for order."""

    comparisons = 0

    def __lt__(self, other: int) -> bool:
        Counted.comparisons += 1
        return int(self) < int(other)

    def __neg__(self) -> Self:
        return type(self)(-int(self))


def test_the_order_is_that_of_a_sort_after_any_changes() -> None:
    for seed in range(100):
        rng = Random(seed)
        numbers = {node: rng.randint(-3, 3) for node in rng.sample(range(20), rng.randint(1, 12))}
        ranking, span = Ranking(numbers), Span(numbers)
        for _ in range(100):
            node, number = rng.randrange(20), rng.randint(-3, 3)
            ranking.put(node, number)
            span.put(node, number)
            if node in numbers:
                numbers[node] = number
            order = sorted(numbers, key=lambda node: (numbers[node], node))
            suiting = [node for node in order if rng.random() < 0.3]
            assert ranking.first() == order[0]
            assert ranking.first(suiting.__contains__) == next(iter(suiting), None)
            looked: list[int] = []
            assert ranking.first(lambda node, looked=looked: bool(looked.append(node)), 4) is None  # type: ignore[misc]
            assert looked == order[:4]
            assert ranking.place(order[-1]) == (numbers[order[-1]], order[-1])
            assert (span.lowest, span.highest) == (min(numbers.values()), max(numbers.values()))


def test_a_number_that_comes_back_is_looked_at_once() -> None:
    ranking, looked = Ranking({0: 1, 1: 2, 2: 3}), list[int]()
    ranking.put(0, 5)
    ranking.put(0, 1)
    assert ranking.first(lambda node: bool(looked.append(node)), 3) is None  # type: ignore[func-returns-value]
    assert looked == [0, 1, 2]


def test_of_no_nodes_none_is_the_first() -> None:
    assert Ranking({}).first() is None
    assert Span({}).lowest == Span({}).highest == 0


@pytest.mark.parametrize("nodes", [50, 800, pytest.param(12_800, marks=pytest.mark.slow)])
def test_a_change_and_a_look_take_comparisons_in_the_order_of_the_logarithm(nodes: int) -> None:
    rng = Random(nodes)
    span = Span({node: Counted(rng.randrange(10**6)) for node in range(nodes)})
    ranking = Ranking({node: Counted(rng.randrange(10**6)) for node in range(nodes)})
    changes = 10 * nodes
    Counted.comparisons = 0
    for _ in range(changes):
        ranking.put(rng.randrange(nodes), Counted(rng.randrange(10**6)))
        ranking.first()
        span.put(rng.randrange(nodes), Counted(rng.randrange(10**6)))
        assert span.lowest <= span.highest
    assert Counted.comparisons / changes < 6 * log2(nodes)
