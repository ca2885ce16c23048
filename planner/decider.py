"""Owns who decides in a back-test: solvers that plan as the product does, and Proxmox VE's own balancer."""

import time
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from planner import crs, ha, pace, periods, play
from planner.case import prepare
from planner.config import Config
from planner.contender import PROXLB, Contender
from planner.errors import NoNode
from planner.measure import AWAY, Places, Trip
from planner.planning import make_plan
from planner.policy import Lookback, Policy, Resource
from planner.recording import DAY, Recording
from planner.run import Moved
from planner.snapshot import RESOURCES, Snapshot
from planner.sweeping import ROOM
from solvers import Budget

EVERY = 3600.0
"""Seconds between two plans."""
HOUR = 3600.0
FORECAST = 30.0 * DAY
"""Seconds of the past that a forecast is made from, as Proxmox VE keeps them."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for all policies."""

    config: Config
    every: float = EVERY
    work: float | None = None
    """Budget of each plan in work, not time: the same on every machine, and the time limit has no effect."""


class Planner:
    """A solver that plans as the product does, from what is known, when no plan is under way."""

    def __init__(self, recording: Recording, contender: Contender, terms: Terms) -> None:
        self.every, self.plans, self.seconds = terms.every, 0, list[float]()
        self._recording, self._solver = recording, contender.solver
        self._config, policy = terms.config, contender.policy(terms.config.policy)
        self._policy = policy if terms.work is None else replace(policy, time_limit=ROOM)
        budget = Budget(seconds=self._policy.time_limit, seed=policy.seed, work=terms.work)
        self._budget = budget if terms.work is None else replace(budget, workers=1)
        self._guest = {vmid: g for g, vmid in enumerate(recording.vmids)}
        self._node = {name: n for n, name in enumerate(recording.nodes)}
        self._plan_of: dict[Trip, int] = {}
        self._lookback, needed = _lookback(self._policy)
        unknown = max(0, ceil(needed / recording.step) - recording.first)
        self.blind = float(min(unknown, recording.steps) * recording.step)

    def decide(self, sight: play.Sight) -> list[Trip]:
        """The migrations of a new plan."""
        if sight.busy or sight.now < self.blind:
            return []
        # What ProxLB takes for the CPU use of a guest is its mean of an hour.
        lasting = HOUR if self._solver == PROXLB else 0.0
        cluster = self._recording.at(sight.now, sight.homes, self._moved(sight), lasting, self._lookback)
        began = time.monotonic()
        try:
            case = prepare(cluster, self._policy, self._config.cluster, self._config.apply)
        except NoNode:  # an outage, or maintenance of everything
            return []
        plan = make_plan(case, self._solver, self._budget)
        self.seconds.append(time.monotonic() - began)
        self.plans += bool(plan.migrations)
        node, now = self._node, sight.now
        trips = [
            Trip(self._guest[m.vmid], node[m.source], node[m.target], now + m.begin, now + m.end)
            for m in plan.migrations
        ]
        self._plan_of |= dict.fromkeys(trips, self.plans)
        return trips

    def _moved(self, sight: play.Sight) -> tuple[Moved, ...]:
        """What the ledger of a machine would remember."""
        lately = max(DAY, self._config.apply.no_return * HOUR)
        names, vmids = self._recording.nodes, self._recording.vmids
        return tuple(
            Moved(vmids[t.guest], names[t.source], names[t.target], self._recording.played_from + t.end, plan)
            for t, plan in ((t, self._plan_of[t]) for t in sight.arrived)
            if sight.now - t.end < lately
        )


class Crs:
    """Proxmox VE's own balancer: a round every 10 seconds, as figures are then."""

    every = crs.ROUND
    blind = 0.0

    def __init__(self, recording: Recording, config: Config, settings: crs.Settings) -> None:
        self.plans, self.seconds = 0, list[float]()
        self._recording, self._balancer = recording, crs.Balancer(settings)
        self._pace = pace.read(Snapshot(recording.answers[0], ""), config.apply)
        self._view: tuple[tuple[int, Places], crs.View] | None = None

    def decide(self, sight: play.Sight) -> list[Trip]:
        """The migration of a round, if there is one, with guests that go along."""
        key = self._recording.known(sight.now), sight.homes
        if self._view is None or self._view[0][0] != key[0] or self._view[0][1] is not key[1]:
            self._view = key, self._seen(sight)
        began = time.monotonic()
        found = self._balancer.round(self._view[1], moving=sight.busy)
        if found is None:
            return []
        self.seconds.append(time.monotonic() - began)
        self.plans += 1
        return [self._trip(sight, guest, found.target) for guest in found.guests]

    def _trip(self, sight: play.Sight, guest: int, target: int) -> Trip:
        assert self._view is not None
        kind = self._view[1].sids[guest].partition(":")[0]
        seconds = self._pace.seconds(kind, True, float(self._view[1].memory[guest]), 0.0)
        return Trip(guest, int(sight.homes[guest]), target, sight.now, sight.now + seconds)

    def _seen(self, sight: play.Sight) -> crs.View:
        recording, step = self._recording, self._recording.known(sight.now)
        answer = recording.answer(step)
        rows = {row["vmid"]: row for row in answer[RESOURCES] if row.get("vmid")}
        closed = {row["node"] for row in answer[RESOURCES] if row.get("hastate") == "maintenance"}
        cpu, memory = (recording.demand[resource][:, step] for resource in (Resource.CPU, Resource.MEMORY))
        cpus, mib = (recording.ability[resource][:, step] for resource in (Resource.CPU, Resource.MEMORY))
        own = (recording.own[Resource.CPU][:, step] / cpus + recording.own[Resource.MEMORY][:, step] / mib) / 2
        started = [
            g for g, vmid in enumerate(recording.vmids)
            if rows.get(vmid, {}).get("hastate") == "started" and rows[vmid].get("status") == "running"
            and sight.homes[g] != AWAY
        ]  # fmt: skip
        return crs.View(
            sids=tuple(f"{'ct' if rows.get(v, {}).get('type') == 'lxc' else 'vm'}:{v}" for v in recording.vmids),
            names=recording.nodes, homes=sight.homes, cpu=np.nan_to_num(cpu), memory=np.nan_to_num(memory),
            own=np.nan_to_num(own), cpus=cpus, mib=mib, started=started,
            open=[n for n, name in enumerate(recording.nodes) if not np.isnan(own[n]) and name not in closed],
            rules=tuple(ha.read(Snapshot(answer, ""), lambda note: None)),
        )  # fmt: skip


def _lookback(policy: Policy) -> tuple[float, float]:
    """Seconds of history that are looked at, and those without which nothing can be planned."""
    if policy.window is Lookback.NOW or not any(periods.is_past(policy, resource) for resource in policy.resource):
        return 0.0, 0.0
    seconds = float(periods.WINDOWS[policy.window][0])
    needed = 0.0 if policy.window is Lookback.HOUR else periods.NEARLY * seconds
    return (max(seconds, FORECAST), max(needed, DAY)) if policy.forecast else (seconds, needed)
