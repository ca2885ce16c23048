"""Owns the playing of a recording: guests come, go and arrive in time; whoever decides is asked every so often."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from planner.measure import AWAY, Change, Course, Places, Trip
from planner.policy import Resource
from planner.recording import Recording


@dataclass(frozen=True, eq=False)
class Sight:
    """What is so when somebody decides."""

    now: float
    """Seconds after playing began."""
    homes: Places
    """(g,) node of each guest; AWAY for one that is not there. The same object as long as nothing changes."""
    arrived: Sequence[Trip]
    """All migrations that have ended so far."""
    busy: bool
    """Whether migrations are under way."""


class Decider(Protocol):
    """Whoever says what is migrated."""

    every: float
    """Seconds between two questions."""

    def decide(self, sight: Sight) -> Sequence[Trip]:
        """Migrations that are begun, with their times, which are not before now."""
        ...


class Play:
    """One course of a recording in the making."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._online = ~np.isnan(recording.own[Resource.CPU])
        self._start = recording.homes[:, recording.first]
        self._homes = self._fixed(self._start)
        self._pending: list[Trip] = []
        self._arrived: list[Trip] = []
        self._changes: list[Change] = []

    def run(self, decider: Decider | None, told: Callable[[float], None] = lambda now: None) -> Course:
        """Play to the end; `told` is called at each step with the seconds played."""
        for now, begins, asked in self._moments(decider.every if decider else None):
            self._settle(now)
            if begins:
                told(now)
                self._befall(now)
            if decider and asked:
                sight = Sight(now, self._homes, tuple(self._arrived), bool(self._pending))
                self._pending = sorted((*self._pending, *decider.decide(sight)), key=lambda trip: trip.end)
        self._settle(float(self._recording.steps * self._recording.step))
        return Course(self._start, tuple(self._changes), tuple(self._arrived))

    def _moments(self, every: float | None) -> Iterator[tuple[float, bool, bool]]:
        """(seconds, whether a step begins, whether it is time to ask), in order."""
        end = self._recording.steps * self._recording.step
        steps = {float(now) for now in range(0, end, self._recording.step)}
        asked = set(np.arange(0.0, end, every).tolist()) if every else set()
        for now in sorted(steps | asked):
            yield now, now in steps, now in asked

    def _settle(self, now: float) -> None:
        """Let guests arrive whose time has come."""
        while self._pending and self._pending[0].end <= now:
            trip = self._pending.pop(0)
            step = min(self._recording.steps - 1, int(trip.end // self._recording.step))
            there = self._online[trip.target, self._recording.first + step]
            if self._homes[trip.guest] == trip.source and there:  # otherwise it is gone, or its target is
                self._arrived.append(trip)
                self._change(trip.end, {trip.guest: trip.target})

    def _befall(self, now: float) -> None:
        """What happens by itself: guests come where they came in fact, and go; those of a node that is gone are where
        they were in fact."""
        step = self._recording.first + int(now // self._recording.step)
        fact, online = self._recording.homes[:, step], self._online[:, step]
        lost = (self._homes != AWAY) & ~online[self._homes]
        moves = (fact == AWAY) != (self._homes == AWAY)
        moves |= lost & (fact != AWAY) & online[fact]
        self._change(now, {int(guest): int(fact[guest]) for guest in np.flatnonzero(moves)})

    def _change(self, now: float, homes: dict[int, int]) -> None:
        if homes:
            changed = self._homes.copy()
            changed[list(homes)] = list(homes.values())
            self._homes = self._fixed(changed)
            self._changes += [Change(now, guest, node) for guest, node in homes.items()]

    @staticmethod
    def _fixed(homes: Places) -> Places:
        homes.setflags(write=False)
        return homes


def recorded(recording: Recording) -> Course:
    """The course that was recorded; a guest that is on another node has been migrated between two steps."""
    homes = recording.homes[:, recording.first :]
    changes, trips = [], []
    for step in range(1, homes.shape[1]):
        at = float(step * recording.step)
        for guest in np.flatnonzero(homes[:, step] != homes[:, step - 1]).tolist():
            source, target = int(homes[guest, step - 1]), int(homes[guest, step])
            changes.append(Change(at, guest, target))
            if AWAY not in (source, target):
                trips.append(Trip(guest, source, target, at - recording.step, at))
    return Course(homes[:, 0], tuple(changes), tuple(trips))
