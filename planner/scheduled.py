"""Owns how a plan of scheduled looks is carried out, by a look or with a person's approval: within their times and
gates, asked once more by fresh answers when nobody else can be at work."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from planner import collect, conduct, gates
from planner.amounts import duration
from planner.cluster import Cluster
from planner.errors import Locked, UsageError
from planner.gates import Scene
from planner.journal import Journal
from planner.look import Refusal
from planner.plan import Plan
from planner.returns import DAY, memory
from planner.run import RunRecord, Step
from planner.service import Run
from planner.session import Session
from planner.site import Site
from planner.times import Hours, span, until


def gathered(session: Session, journal: Journal, name: str, at: float) -> Cluster:
    """The cluster as it is now, with what this machine has done to it lately."""
    taken = session.snapshot(datetime.fromtimestamp(at, UTC))
    lately = journal.moved(name, at - max(DAY, memory(session.apply)))
    return replace(collect.collect(taken), moved=lately, failed=journal.failed(name, at - DAY))


def bound(settings: Run, site: Site) -> Site:
    """The site, where gates are asked before each migration as well."""
    return replace(site, also=gates.during(settings, site.session.writable()))


@contextmanager
def at_work(settings: Run, site: Site) -> Iterator[conduct.Work]:
    """Hold the lock of the cluster, for what starts migrations only when scheduled looks may. Locked."""
    apply, now = site.session.apply, datetime.fromtimestamp(site.now(), UTC).astimezone()
    deadline = until(apply.deadline, now) if apply.deadline else None
    with site.runs.lock(site.cluster) as note:
        yield conduct.Work(site, gates.may_start(settings, Hours(apply.hours), deadline), note)


def closed(settings: Run, site: Site, plan: Plan, own: int | None = None) -> tuple[Refusal, ...]:
    """Gates that say no to a plan now, to be asked within `at_work`; whether balance is worth it is judged before.

    `own`: the run that it is of.
    """
    at, journal = site.now(), site.runs.journal
    others = tuple(run for run in journal.open(site.cluster) if run.id != own)
    cluster = gathered(site.session, journal, site.cluster, at)
    started = journal.started(site.cluster, at - DAY)
    return gates.still_closed(Scene(settings, site.session, cluster, plan, at, 0, others, None, started))


def check_closed(settings: Run, site: Site, record: RunRecord) -> None:
    """Locked where a gate says no to what is left of a run."""
    over = {entry.number for entry in record.entries if entry.step is Step.DONE}
    waves = (tuple(one for one in wave if one.number not in over) for wave in record.plan.waves)
    for refusal in closed(settings, site, replace(record.plan, waves=tuple(waves)), record.id):
        raise Locked(f"run {record.id} waits: {refusal.why}")


def is_valid(settings: Run, record: RunRecord, now: float) -> bool:
    """Whether a proposed run may still be approved, as far as time goes."""
    return now - record.began_at <= span(settings.valid)


def check_valid(settings: Run, record: RunRecord, now: float) -> None:
    """UsageError when it was proposed too long ago."""
    if not is_valid(settings, record, now):
        ago = duration(now - record.began_at)
        raise UsageError(
            f"run {record.id} was proposed {ago} ago, and run.valid is {settings.valid}: the next look makes a new plan"
        )
