"""Owns the back-test: a recording played under policies, each measured in the same way."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import ceil
from typing import Any

import numpy as np
import pandas as pd

from planner import crs, ha, measure, pace, periods, play
from planner.broken import Broken
from planner.case import prepare
from planner.config import Config, chosen
from planner.contender import CRS, DEFAULT, PROXLB, RECORDED, Contender, contenders
from planner.errors import NoNode, UsageError
from planner.frames import Column
from planner.measure import AWAY, Course, Figures, Places, Trip
from planner.planning import make_plan
from planner.policy import Combine, Lookback, Mode, Policy, Profile, Resource
from planner.recording import DAY, TAKES, Recording
from planner.run import Moved
from planner.snapshot import RESOURCES, Snapshot
from planner.sweeping import ROOM
from solvers import Budget

COLUMNS = (
    Column("policy", "str", "", "who decided"),
    Column("overload_minutes", "float64", "min", "minutes times nodes with a load above 90 %"),
    Column("spread_mean", "float64", "percentage points", "between the fullest and the emptiest node, over the time"),
    Column("spread_p95", "float64", "percentage points", "what it was not above for 95 % of the time"),
    Column("migrations", "float64", "1/day", "migrations"),
    Column("gib", "float64", "GiB/day", "memory that they copied"),
    Column("ping_pongs", "int64", "", "migrations to a node that the guest had left within a day"),
    Column("broken_minutes", "float64", "min", "minutes times rules that must hold and did not"),
    Column("memory_minutes", "float64", "min", "minutes times nodes whose guests used more memory than there is"),
    Column("plans", "int64", "", "plans with migrations"),
    Column("planning_p95", "float64", "s", "time that planning took at most in 95 % of all cases; empty: none planned"),
    Column("blind_hours", "float64", "h", "at the beginning, in which it knew too little of the past to plan anything"),
)
"""One row per policy, in the order asked for."""
EVERY = 3600.0
"""Seconds between two plans."""
HOUR = 3600.0
FORECAST = 30.0 * DAY
"""Seconds of the past that a forecast is made from, as Proxmox VE keeps them."""
Told = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Replay:
    """A recording as it would have gone under one policy."""

    policy: str
    figures: Figures
    plans: int
    """Plans, or decisions, that migrated something."""
    seconds: tuple[float, ...]
    """That each planning took."""
    course: Course
    blind: float
    """Seconds at the beginning in which it knew too little of the past to plan anything."""
    loads: pd.DataFrame
    """Percent of the first resource: a row per step (UTC), a column per node."""

    def row(self) -> dict[str, Any]:
        """As in COLUMNS."""
        took = float(np.percentile(self.seconds, 95)) if self.seconds else float("nan")
        more = {"plans": self.plans, "planning_p95": took, "blind_hours": self.blind / HOUR}
        return {"policy": self.policy, **asdict(self.figures), **more}


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for all policies."""

    config: Config
    every: float = EVERY
    work: float | None = None
    """Budget of each plan in work, not time: the same on every machine, and the time limit has no effect."""


def backtest(recording: Recording, policies: Sequence[str] = DEFAULT, **more: Any) -> pd.DataFrame:
    """Play a recording under policies: one row each, columns as in COLUMNS; keywords as for `replays`."""
    return table(replays(recording, policies, **more))


def replays(
    recording: Recording, policies: Sequence[str] = DEFAULT, *, every: float = EVERY, work: float | None = None,
    jobs: int = 1, told: Told = lambda policy, seconds: None, config: Config | None = None, **settings: Any,
) -> list[Replay]:  # fmt: skip
    """Play a recording under policies, named as in `planner.contender`, side by side in so many processes.

    `every`: seconds between plans; `work`: see `solvers.Budget`; `told` hears who has played how many seconds. Other
    keywords are the fields of `Policy`, `Cluster` and `Apply`, over those of the configuration. All policies have the
    same limits; crs knows none. UsageError for what cannot be played.
    """
    wanted = contenders(policies)
    if work is not None and not 0 < work < float("inf"):
        raise UsageError(f"a plan with work {work:g} makes no sense: it takes more than 0, such as 3")
    terms = Terms(_checked(chosen(settings, config), wanted, recording), every, work)
    lasts = recording.steps * recording.step
    if not 1 <= every <= lasts and any(contender.plans for contender in wanted):
        raise UsageError(
            f"a plan every {every / 60:g} minutes makes no sense, as the recording lasts {lasts / 60:g} minutes: "
            "choose another --every"
        )
    if jobs < 2 or len(wanted) < 2:
        return [replay(recording, each, terms, partial(told, each.name)) for each in wanted]
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(min(jobs, len(wanted)), signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        found = []
        for result in pool.imap(partial(_replay_of, recording, terms), wanted):
            told(result.policy, float(lasts))
            found.append(result)
        return found


def table(items: Sequence[Replay]) -> pd.DataFrame:
    """One row each, columns as in COLUMNS."""
    frame = pd.DataFrame([item.row() for item in items], columns=[column.name for column in COLUMNS])
    return frame.astype({column.name: column.dtype for column in COLUMNS})


def notes(items: Sequence[Replay]) -> list[str]:
    """What a person should know beside the figures."""
    blind = [item for item in items if item.blind]
    if not blind:
        return []
    names = ", ".join(item.policy for item in blind)
    return [
        f"{names} planned nothing in the first {blind[0].blind / HOUR:.1f} hours: too little of the past was known, "
        "begin with more of it (--past, --warm-up)"
    ]


def replay(
    recording: Recording, contender: Contender, terms: Terms, told: Callable[[float], None] = lambda now: None
) -> Replay:
    """Play a recording under one policy."""
    policy = contender.policy(terms.config.policy)
    planner: Planner | Crs | None = None
    if contender.solver == CRS:
        planner = Crs(recording, terms.config, contender.crs)
    elif contender.plans:
        planner = Planner(recording, contender, terms)
    course = play.recorded(recording) if contender.solver == RECORDED else play.Play(recording).run(planner, told)
    scenes = [recording.scene(resource) for resource in policy.resource]
    broken = Broken(recording, terms.config.cluster)
    figures = measure.measure(course, scenes, recording.scene(Resource.MEMORY), broken)
    times = pd.to_datetime(recording.played_from + np.arange(recording.steps) * recording.step, unit="s", utc=True)
    loads = pd.DataFrame(measure.load_table(course, scenes[0]).T, index=times, columns=list(recording.nodes))
    plans, seconds, blind = (planner.plans, tuple(planner.seconds), planner.blind) if planner else (0, (), 0.0)
    return Replay(contender.name, figures, plans, seconds, course, blind, loads)


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


def _replay_of(recording: Recording, terms: Terms, contender: Contender) -> Replay:
    return replay(recording, contender, terms)


def _checked(config: Config, wanted: Sequence[Contender], recording: Recording) -> Config:
    """The settings, if they can be played."""
    unknown = [resource for resource in config.policy.resource if resource not in TAKES]
    if unknown:
        raise UsageError(f"a back-test knows {' and '.join(TAKES)}, not {unknown[0]}: choose among these (--resource)")
    if config.policy.with_local_disks:
        raise UsageError("a back-test copies no local disks: leave out policy.with_local_disks")
    if config.policy.pressure:
        raise UsageError("a back-test knows no pressures: leave out policy.pressure")
    for contender in wanted:
        policy = contender.policy(config.policy)
        if policy.forecast and recording.step > HOUR:
            apart = f"the recording has steps of {recording.step / HOUR:g} hours"
            raise UsageError(f"a forecast goes by the hour, and {apart}: leave out --forecast")
        robust = policy.window is not Lookback.NOW and policy.profile is Profile.ROBUST
        if policy.combine is Combine.WEIGHTED and policy.mode is Mode.USED and (robust or policy.forecast):
            way = "play -mean, -p95 or -peak" if robust else "leave out --forecast"
            raise UsageError(
                f"a weighted mean needs one figure of each resource, and {contender.name} has one for each hour: {way}"
                ", or --combine worst"
            )
    return config
