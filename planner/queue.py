"""Owns which migration of a run may start: its place in the order, what it waits for, and the limits of the plan."""

from collections.abc import Collection, Iterable, Iterator

from planner import timetable, waves
from planner.plan import Migration, Schedule
from planner.run import Entry, Step

LOST = (Step.FAILED, Step.SKIPPED)
BEGUN = (Step.CHECKED, Step.STARTED, Step.DONE)


class Queue:
    """The migrations of a run with their steps. Migrations are named by their numbers."""

    def __init__(self, entries: Iterable[Entry], limits: Schedule) -> None:
        entries = tuple(entries)
        self.migrations = {entry.number: entry.migration for entry in entries}
        self.steps = {entry.number: entry.step for entry in entries}
        self._limits = waves.limits(limits)

    def __getitem__(self, number: int) -> Migration:
        return self.migrations[number]

    def of(self, *steps: Step) -> list[int]:
        """Those at one of these steps."""
        return [number for number, step in self.steps.items() if step in steps]

    def waiting(self) -> Iterator[int]:
        """In their order, those that wait for nothing but room under the limits."""
        for number in self.of(Step.PLANNED):
            if all(self.steps[before] is Step.DONE for before in self[number].after):
                yield number

    def has_room(self, number: int, under_way: Collection[int], along: Collection[int] = ()) -> bool:
        """Whether the limits allow one more beside those under way, and those that come along with it.

        Where these alone are more than the limits allow, they wait until nothing else is under way.
        """
        beside = timetable.UnderWay(self._limits)
        for other in (*under_way, *along):
            beside.change(waves.job(self[other]), 1)
        return (not under_way and bool(along)) or beside.admits(waves.job(self[number]))

    def mates(self, number: int) -> list[int]:
        """Those whose guests travel with this one, to the same node."""
        own = self[number]
        return [
            other for other, migration in self.migrations.items()
            if own.bundle and (migration.bundle, migration.target) == (own.bundle, own.target) and other != number
        ]  # fmt: skip

    def has_begun(self, number: int) -> bool:
        """Whether guests that travel with this one are on their way or there already, and none has failed."""
        steps = {self.steps[mate] for mate in self.mates(number)}
        return bool(steps.intersection(BEGUN)) and not steps.intersection((*LOST, Step.UNKNOWN))

    def doomed(self) -> Iterator[tuple[int, str]]:
        """Those that can no longer start, as something they need is lost, with the reason."""
        for number in self.of(Step.PLANNED):
            needs = [other for other in self[number].after if self.steps[other] in LOST]
            mates = [other for other in self.mates(number) if self.steps[other] in LOST]
            onward = self._onward(number)
            if mates:
                yield number, f"travels with {self._named(mates[0])}, which {self._fate(mates[0])}"
            elif needs:
                yield number, f"waits for {self._named(needs[0])}, which {self._fate(needs[0])}"
            elif onward is not None and self.steps[onward] in LOST:
                yield number, f"is a stop on the way to {self[onward].target}, where it cannot go: that is left out"

    def _onward(self, number: int) -> int | None:
        """The migration that takes a guest on from a stop on its way."""
        if not self[number].bypass:
            return None
        return next((n for n, m in self.migrations.items() if n > number and m.vmid == self[number].vmid), None)

    def apart(self) -> Iterator[str]:
        """Guests that belong together, of which only some are on their target."""
        seen: set[int] = set()
        for number in self.of(Step.DONE):
            left = [mate for mate in self.mates(number) if self.steps[mate] is not Step.DONE]
            if left and number not in seen:
                seen.update(self.mates(number))
                guests = ", ".join(str(self[mate].vmid) for mate in left)
                done = self[number]
                yield f"guest {done.vmid} is on {done.target} without guest {guests}, which belongs with it"

    def seconds_left(self, elapsed: dict[int, float]) -> float:
        """Expected until the last one ends, at least; `elapsed`: seconds that those under way have taken."""
        left = self.of(Step.PLANNED, Step.CHECKED, Step.STARTED)
        index = {number: i for i, number in enumerate(left)}
        jobs = []
        for number in left:
            after = (index[before] for before in self[number].after if before in index)
            jobs.append(waves.job(self[number], after, elapsed.get(number, 0.0)))
        return timetable.bound(jobs, self._limits) / 1000

    def _named(self, number: int) -> str:
        return f"guest {self[number].vmid}"

    def _fate(self, number: int) -> str:
        return "failed" if self.steps[number] is Step.FAILED else "is left out"
