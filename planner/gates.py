"""Owns the gates of scheduled looks: what has to be so before anything is migrated, and one line where it is not."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from planner import collect, lastweek, running
from planner.choices import Backups, Lookback
from planner.cluster import Cluster
from planner.errors import Locked
from planner.gate import NO_QUORUM, ON_THE_WAY, has_quorum
from planner.ledger import SLACK
from planner.lock import Holder
from planner.look import GateName, Refusal
from planner.openings import Openings, said
from planner.plan import NEEDED, Plan
from planner.returns import DAY, HOUR
from planner.run import RunRecord, RunState
from planner.service import Run
from planner.session import Session
from planner.snapshot import Source
from planner.standing import standby
from planner.times import Hours


@dataclass(frozen=True, slots=True)
class Scene:
    """What the gates look at: a cluster, a plan for it, and what this machine has done lately."""

    settings: Run
    session: Session
    cluster: Cluster
    plan: Plan
    at: float
    """Unix seconds."""
    above: int
    """Consecutive looks, this one included, that found the cluster out of balance."""
    left_open: tuple[RunRecord, ...] = ()
    """Runs of this cluster that are not over."""
    holder: Holder | None = None
    """Another process that is at work on it."""
    started: tuple[float, ...] = ()
    """When migrations of this cluster were started within a day, whatever became of them."""

    @property
    def moment(self) -> datetime:
        """When it is, with a zone."""
        return datetime.fromtimestamp(self.at, UTC)

    @property
    def repairs(self) -> bool:
        """Whether the plan repairs rules or empties nodes."""
        return any(migration.reason.startswith(NEEDED) for migration in self.plan.migrations)


Gate = Callable[[Scene], str]
"""Why it is closed, in one line; empty where it is open."""


def refusals(scene: Scene) -> tuple[Refusal, ...]:
    """All gates that say no; what takes calls to find out is asked where nothing else says no."""
    return _closed(QUICK, scene) or _closed(SLOW, scene)


def still_closed(scene: Scene) -> tuple[Refusal, ...]:
    """Those that say no to a plan of which balance has been judged before, or is not asked for."""
    return _closed({name: gate for name, gate in QUICK.items() if name not in OF_BALANCE}, scene)


def _closed(gates: Mapping[GateName, Gate], scene: Scene) -> tuple[Refusal, ...]:
    reasons = {name: gate(scene) for name, gate in gates.items()}
    return tuple(Refusal(name, why) for name, why in reasons.items() if why)


def budget(settings: Run, started: tuple[float, ...], now: float) -> int | None:
    """How many migrations a plan may have by the limits of an hour and of a day, of those that are not used up; None:
    there is no such limit."""
    lefts = [most - _within(started, now, span) for most, span in _limits(settings) if most is not None]
    return min((left for left in lefts if left > 0), default=None)


def during(settings: Run, source: Source) -> Callable[[Cluster, Collection[int]], None]:
    """What may say no while a run is under way, before each migration: Locked ends the run in good order."""

    def check(cluster: Cluster, ours: Collection[int]) -> None:
        for why in (_foreign_of(cluster, ours), _backup_of(settings, cluster), standby(settings, source)):
            if why:
                raise Locked(why)

    return check


def may_start(settings: Run, hours: Hours, deadline: datetime | None) -> Callable[[float], bool]:
    """Whether migrations may start at some time, in unix seconds."""
    windows, blackouts = Openings(settings.windows), Openings(settings.blackouts)

    def open_at(at: float) -> bool:
        now = datetime.fromtimestamp(at, UTC)
        in_time = not settings.windows or windows.open(now) is not None
        return in_time and blackouts.open(now) is None and hours.open(now) and (deadline is None or now < deadline)

    return open_at


def _lock(scene: Scene) -> str:
    if scene.holder is None:
        return ""
    return (
        f"process {scene.holder.pid or '(unknown)'} of this machine is at work on the cluster: see proxlb-plan status"
    )


def _unfinished(scene: Scene) -> str:
    for run in scene.left_open:
        if scene.holder and scene.holder.run == run.id:
            continue  # it is alive
        what = "stopped" if run.state is RunState.STOPPED else "interrupted"
        return f"run {run.id} was {what}: `proxlb-plan resume {run.id}` or `proxlb-plan abort {run.id}`"
    return ""


def _quorum(scene: Scene) -> str:
    return "" if has_quorum(scene.cluster) else NO_QUORUM


def _foreign(scene: Scene) -> str:
    return _foreign_of(scene.cluster)


def _foreign_of(cluster: Cluster, ours: Collection[int] = ()) -> str:
    for task in running.migrations(cluster.snapshot):
        if task.vmid not in ours:
            return f"guest {task.vmid} is being migrated by {task.user} (task {task.upid}): wait for that to end"
    guests = cluster.guests
    for vmid, state in zip(map(int, guests["vmid"]), guests["ha_state"], strict=True):
        if str(state) in ON_THE_WAY and vmid not in ours:
            return f"guest {vmid} is being taken elsewhere by the HA manager: wait for that to end"
    return ""


def _backup(scene: Scene) -> str:
    return _backup_of(scene.settings, scene.cluster)


def _backup_of(settings: Run, cluster: Cluster) -> str:
    jobs = running.backup_jobs(cluster.snapshot) if settings.backups is Backups.PAUSE else []
    return f"a backup is running (task {jobs[0]}): wait for that to end (run.backups)" if jobs else ""


def closed_now(settings: Run, hours: Sequence[str], now: datetime) -> str:
    """Why no migration may start at a moment, in one line; empty where one may."""
    return _outside(settings, now) or _within_blackout(settings, now) or _outside_hours(hours, now)


def _window(scene: Scene) -> str:
    return _outside(scene.settings, scene.moment)


def _outside(settings: Run, now: datetime) -> str:
    windows = Openings(settings.windows)
    if not settings.windows or windows.open(now):
        return ""
    opens = windows.opens(now)
    when = f"{opens.astimezone():%Y-%m-%d %H:%M}" if opens else "never again"
    return f"outside of the windows, the next one begins: {when} (run.windows)"


def _blackout(scene: Scene) -> str:
    return _within_blackout(scene.settings, scene.moment)


def _within_blackout(settings: Run, now: datetime) -> str:
    blackouts = Openings(settings.blackouts)
    held = blackouts.open(now)
    if held is None:
        return ""
    closes = blackouts.closes(now)
    until = f", until {closes.astimezone():%Y-%m-%d %H:%M}" if closes else ""
    return f"within the blackout {said(held)}{until} (run.blackouts)"


def _hours(scene: Scene) -> str:
    return _outside_hours(scene.session.apply.hours, scene.moment)


def _outside_hours(parts: Sequence[str], now: datetime) -> str:
    hours = Hours(parts)
    if hours.open(now):
        return ""
    return f"outside of the hours, which begin {hours.opens(now).astimezone():%Y-%m-%d %H:%M} (apply.hours)"


def _looks(scene: Scene) -> str:
    if scene.above >= scene.settings.looks:
        return ""
    return f"out of balance for {scene.above} of {scene.settings.looks} consecutive looks (run.looks)"


def _per_hour(scene: Scene) -> str:
    return _spent(scene, scene.settings.per_hour, HOUR, "hour")


def _per_day(scene: Scene) -> str:
    return _spent(scene, scene.settings.per_day, DAY, "day")


def _spent(scene: Scene, most: int | None, span: float, word: str) -> str:
    many, planned = _within(scene.started, scene.at, span), len(scene.plan.migrations)
    if most is None or many + planned <= most:
        return ""
    done = f"{many} of {most} migrations were started within the last {word} (run.per_{word})"
    return done if many >= most else f"the plan has {planned} migrations, and {done}"


def _gain(scene: Scene) -> str:
    plan, least = scene.plan, scene.settings.min_gain
    gained = plan.spread.before - plan.spread.after
    if not least or not plan.moved_gib or gained / plan.moved_gib >= least:
        return ""
    return (
        f"{gained:.2f} points for {plan.moved_gib:.1f} GiB are {gained / plan.moved_gib:.4f} points per GiB, "
        f"less than {least:g} (run.min_gain)"
    )


def _balancer(scene: Scene) -> str:
    """The planner leaves HA guests alone where Proxmox VE balances them, unless it was told otherwise."""
    if not collect.rebalances(scene.cluster.snapshot):
        return ""
    guests = scene.cluster.guests
    managed = set(map(int, guests["vmid"][guests["ha_state"] != ""]))
    for migration in scene.plan.migrations:
        if migration.vmid in managed:
            return (
                f"Proxmox VE balances HA guests itself (crs ha-auto-rebalance), and the plan migrates guest "
                f"{migration.vmid}: switch that off, or policy.with_ha_guests"
            )
    return ""


def _last_week(scene: Scene) -> str:
    if not scene.settings.last_week and scene.session.policy.window is Lookback.NOW:
        return ""
    return lastweek.worse(scene.session, scene.cluster, scene.plan)


def _within(started: tuple[float, ...], now: float, span: float) -> int:
    return sum(-SLACK < now - at < span for at in started)


def _limits(settings: Run) -> tuple[tuple[int | None, float], ...]:
    return (settings.per_hour, HOUR), (settings.per_day, DAY)


QUICK: Final[Mapping[GateName, Gate]] = {
    GateName.LOCK: _lock,
    GateName.UNFINISHED: _unfinished,
    GateName.QUORUM: _quorum,
    GateName.FOREIGN: _foreign,
    GateName.BACKUP: _backup,
    GateName.WINDOW: _window,
    GateName.BLACKOUT: _blackout,
    GateName.HOURS: _hours,
    GateName.PER_HOUR: _per_hour,
    GateName.PER_DAY: _per_day,
    GateName.BALANCER: _balancer,
    GateName.LOOKS: _looks,
    GateName.GAIN: _gain,
}
SLOW: Final[Mapping[GateName, Gate]] = {GateName.LAST_WEEK: _last_week}
"""What takes a call for each guest."""
OF_BALANCE: Final = frozenset({GateName.LOOKS, GateName.GAIN, GateName.LAST_WEEK})
"""Gates that say nothing against the repair of a rule."""
