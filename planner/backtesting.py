"""Owns the back-test: a recording played under policies, each measured in the same way."""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from planner import measure, play
from planner.broken import Broken
from planner.choices import PLAYED
from planner.config import Config, chosen
from planner.contender import CRS, RECORDED, Contender, contenders
from planner.decider import EVERY, HOUR, Crs, Planner, Terms
from planner.errors import UsageError
from planner.frames import Column
from planner.measure import Course, Figures
from planner.policy import Combine, Lookback, Mode, Profile, Resource
from planner.recording import TAKES, Recording

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


def backtest(recording: Recording, policies: Sequence[str] = PLAYED, **more: Any) -> pd.DataFrame:
    """Play a recording under policies: one row each, columns as in COLUMNS; keywords as for `replays`."""
    return table(replays(recording, policies, **more))


def replays(
    recording: Recording, policies: Sequence[str] = PLAYED, *, every: float = EVERY, work: float | None = None,
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
