"""Owns nodes in the order of a number that changes: which is the first, and which is the first that suits."""

from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush


def _any(node: int) -> bool:
    return True


class Ranking:
    """Nodes by rising number, ties to the lower index; a change and the way to the next node take O(log n).

    A heap in which an entry stays when its node's number changes, to be dropped when it comes up.
    """

    def __init__(self, numbers: Mapping[int, float]) -> None:
        self._numbers = dict(numbers)
        self._sort()

    def put(self, node: int, number: float) -> None:
        """Give a node another number; a node that is not ranked stays out."""
        if self._numbers.get(node, number) == number:
            return
        self._numbers[node] = number
        heappush(self._heap, (number, node))
        if len(self._heap) > 4 * len(self._numbers):  # or the heap, and its logarithm, would grow with every change
            self._sort()

    def place(self, node: int) -> tuple[float, int]:
        """What a ranked node is ordered by."""
        return self._numbers[node], node

    def first(self, suits: Callable[[int], bool] = _any, looks: int | None = None) -> int | None:
        """The first node that suits, of the first `looks` nodes at most; None when there is none."""
        heap, passed = self._heap, list[tuple[float, int]]()
        found = None
        while heap and (looks is None or len(passed) < looks):
            number, node = entry = heap[0]
            current = self._numbers[node] == number and entry not in passed[-1:]
            if current and suits(node):
                found = node
                break
            heappop(heap)
            if current:
                passed.append(entry)
        for entry in passed:
            heappush(heap, entry)
        return found

    def _sort(self) -> None:
        self._heap = [(number, node) for node, number in self._numbers.items()]
        heapify(self._heap)


class Span:
    """The lowest and the highest number of some nodes, each known at once, a change taking O(log n)."""

    def __init__(self, numbers: Mapping[int, float]) -> None:
        self._rising = Ranking(numbers)
        self._falling = Ranking({node: -number for node, number in numbers.items()})

    def put(self, node: int, number: float) -> None:
        """Give a node another number; a node that is not among them stays out."""
        self._rising.put(node, number)
        self._falling.put(node, -number)

    @property
    def highest(self) -> float:
        """The highest number; 0 of no nodes."""
        node = self._falling.first()
        return 0 if node is None else self._rising.place(node)[0]

    @property
    def lowest(self) -> float:
        """The lowest number; 0 of no nodes."""
        node = self._rising.first()
        return 0 if node is None else self._rising.place(node)[0]
