"""Owns what a monitoring system is told of scheduled runs: how well they are by the journal, and in which words.

The words are those of Nagios' plugins (https://www.monitoring-plugins.org/doc/guidelines.html), which Icinga and many
others understand, and of Checkmk's local checks (https://docs.checkmk.com/latest/en/localchecks.html).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

from planner.amounts import duration
from planner.look import Look, Outcome
from planner.looks import GOOD, SEEN, WELL
from planner.plan import PlanStatus
from planner.run import Summary
from planner.runs import Runs
from planner.state import UNNAMED

NO_LOOK: Final = "no look was taken yet: see whether `proxlb-plan run` is at work"
SHOWN: Final = 3
"""Rules that are named before the rest is counted."""


class State(IntEnum):
    """As plugins of Nagios end."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


GRAVITY: Final = (State.OK, State.UNKNOWN, State.WARNING, State.CRITICAL)
"""The worst at the end."""


class Format(StrEnum):
    """In whose words it is told."""

    NAGIOS = "nagios"
    CHECKMK = "checkmk"


class Aspect(StrEnum):
    """What is judged."""

    AGE = "age"
    """Whether looks are taken."""
    ERRORS = "errors"
    RUNS = "runs"
    RULES = "rules"
    SPREAD = "spread"
    PROPOSAL = "proposal"


@dataclass(frozen=True, slots=True)
class Limits:
    """What is too much; None: nothing is."""

    age_warning: float
    """Seconds since the end of the last good look..."""
    age_critical: float
    warning: float | None = None
    """Points of spread..."""
    critical: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the journal knows of one cluster. Of a standby's that is nothing but its looks: what it knew before may no
    longer be so."""

    cluster: str
    newest: Look | None
    good: Look | None = None
    """The newest that was no error."""
    seen: Look | None = None
    """The newest that saw the cluster."""
    well: Look | None = None
    bad: Look | None = None
    """The newest whose run failed, at least in part."""
    open: Summary | None = None
    """A run that is not over."""
    alive: bool = False
    """Whether a process is at work on it."""
    proposed: Summary | None = None


class Drawn(NamedTuple):
    """A number that is drawn over time."""

    name: str
    value: float
    unit: str = ""
    warning: float | None = None
    critical: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How well the scheduled runs of one cluster are."""

    cluster: str
    state: State
    text: str
    """One line."""
    figures: tuple[Drawn, ...] = ()


Problem = tuple[State, str]


def gather(runs: Runs, cluster: str) -> Facts:
    """What the journal knows of a cluster. JournalError."""
    looks, journal = runs.journal.looks, runs.journal
    unfinished, standby = journal.unfinished(cluster), looks.newest(cluster, Outcome.STANDBY)
    since = standby.number if standby else 0
    seen = looks.newest(cluster, *SEEN, after=since)
    known = Facts(
        cluster=cluster, newest=looks.newest(cluster, *Outcome), good=looks.newest(cluster, *GOOD),
        alive=unfinished is not None and runs.is_alive(unfinished),
    )  # fmt: skip
    if standby and not seen:
        return known
    return replace(
        known, seen=seen, well=looks.newest(cluster, *WELL, after=since),
        bad=looks.newest(cluster, Outcome.FAILED, Outcome.PARTLY, after=since),
        open=unfinished, proposed=journal.proposed(cluster),
    )  # fmt: skip


def named(known: Sequence[Facts]) -> list[Facts]:
    """Without what looks say that failed before the name of their cluster was known, where it is by now."""
    return [facts for facts in known if facts.cluster != UNNAMED or facts.seen or len(known) == 1]


def judge(facts: Facts, limits: Limits, now: float, aspects: Iterable[Aspect] = Aspect) -> Verdict:
    """How well a cluster's scheduled runs are at a moment (unix seconds), in some aspects."""
    if facts.newest is None:
        return Verdict(facts.cluster, State.UNKNOWN, NO_LOOK)
    asked = set(aspects)
    finders = (find for aspect in Aspect if aspect in asked for find in FINDERS[aspect])
    problems = [found for find in finders for found in find(facts, limits, now)]
    problems.sort(key=lambda problem: -GRAVITY.index(problem[0]))
    state = problems[0][0] if problems else State.OK
    text = "; ".join([*(text for _, text in problems), _last(facts.newest, now)])
    return Verdict(facts.cluster, state, text, tuple(_figures(facts, limits, now)))


def _last(look: Look, now: float) -> str:
    """What is said in any case."""
    spread = _spread(look)
    shown = f", spread {spread:.2f} points" if spread is not None else ""
    why = f" ({look.why})" if look.why and look.outcome is not Outcome.ERROR else ""
    return f"last look {duration(_age(look, now))} ago: {look.outcome}{why}{shown}"


def _age(look: Look, now: float) -> float:
    """Seconds since its end."""
    return max(0.0, now - look.at - look.seconds)


def _spread(look: Look) -> float | None:
    """After the run that it carried out, as planned."""
    return look.spread_after if look.outcome is Outcome.DONE else look.spread_before


def _broken(look: Look) -> tuple[str, ...]:
    return look.violations_after if look.outcome is Outcome.DONE else look.violations_before


def _overdue(facts: Facts, limits: Limits, now: float) -> Iterator[Problem]:
    if facts.alive:  # a look takes as long as its run
        return
    if facts.good is None:
        yield State.CRITICAL, "no look has come to anything yet"
        return
    age = _age(facts.good, now)
    if state := _beyond(age, limits.age_warning, limits.age_critical):
        yield state, f"no good look for {duration(age)}"


def _failing(facts: Facts, limits: Limits, now: float) -> Iterator[Problem]:
    if facts.newest is not None and facts.newest.outcome is Outcome.ERROR:
        yield State.WARNING, f"the last look failed: {facts.newest.why or 'see its log'}"


def _failed(facts: Facts, limits: Limits, now: float) -> Iterator[Problem]:
    bad, well = facts.bad, facts.well
    if bad is None or (well is not None and well.number > bad.number):
        return
    name = f"run {bad.run}" if bad.run is not None else "the last run"
    if bad.outcome is Outcome.PARTLY:
        yield State.WARNING, f"{name} was carried out in part: {bad.done} done, {bad.failed} failed, {bad.left} left"
    else:
        yield State.CRITICAL, f"{name} failed{f': {bad.why}' if bad.why else ''}"


def _unfinished(facts: Facts, limits: Limits, now: float) -> Iterator[Problem]:
    if facts.open is not None and not facts.alive:
        yield State.WARNING, f"run {facts.open.id} is not over: `proxlb-plan status {facts.open.id}` says what to do"


def _conflict(facts: Facts, limits: Limits, now: float) -> Iterator[Problem]:
    if facts.seen is not None and facts.seen.status == PlanStatus.INFEASIBLE:
        yield State.CRITICAL, "the rules cannot all hold: `proxlb-plan` says which"


def _violated(facts: Facts, limits: Limits, now: float) -> Iterator[Problem]:
    if broken := _broken(facts.seen) if facts.seen is not None else ():
        more = f" and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        what = "rule is" if len(broken) == 1 else "rules are"
        yield State.WARNING, f"{len(broken)} {what} broken: {', '.join(broken[:SHOWN])}{more}"


def _uneven(facts: Facts, limits: Limits, now: float) -> Iterator[Problem]:
    spread = None if facts.seen is None else _spread(facts.seen)
    if spread is not None and (state := _beyond(spread, limits.warning, limits.critical)):
        yield state, f"the spread is {spread:.2f} points"


def _waiting(facts: Facts, limits: Limits, now: float) -> Iterator[Problem]:
    if waits := facts.proposed:
        since = duration(max(0.0, now - waits.began_at))
        yield State.WARNING, f"run {waits.id} waits for {since}: `proxlb-plan approve {waits.id}` carries it out"


FINDERS: Final[Mapping[Aspect, Sequence[Callable[[Facts, Limits, float], Iterator[Problem]]]]] = {
    Aspect.AGE: (_overdue,), Aspect.ERRORS: (_failing,), Aspect.RUNS: (_failed, _unfinished),
    Aspect.RULES: (_conflict, _violated), Aspect.SPREAD: (_uneven,), Aspect.PROPOSAL: (_waiting,),
}  # fmt: skip


def _beyond(value: float, warning: float | None, critical: float | None) -> State:
    if critical is not None and value > critical:
        return State.CRITICAL
    return State.WARNING if warning is not None and value > warning else State.OK


def _figures(facts: Facts, limits: Limits, now: float) -> Iterator[Drawn]:
    if facts.good is not None:
        yield Drawn("age", _age(facts.good, now), "s", limits.age_warning, limits.age_critical)
    if (look := facts.seen) is None:
        return
    if (spread := _spread(look)) is not None:
        yield Drawn("spread", spread, "", limits.warning, limits.critical)
    if look.bound is not None:
        yield Drawn("bound", look.bound)
    yield Drawn("violations", len(_broken(look)), "", 0)
    yield Drawn("planned", look.migrations)
    yield Drawn("done", look.done)
    yield Drawn("failed", look.failed, "", 0)


def worst(verdicts: Iterable[Verdict]) -> State:
    """The state of several clusters together."""
    return max((verdict.state for verdict in verdicts), key=GRAVITY.index, default=State.UNKNOWN)


def lines(verdicts: Sequence[Verdict], form: Format) -> list[str]:
    """What is printed: for Nagios one line, and one more for each cluster where there are several."""
    if form is Format.CHECKMK:
        return [_local(verdict) for verdict in verdicts]
    several = len(verdicts) > 1
    drawn = " ".join(
        _drawn(figure, f"{_plain(verdict.cluster)}_" if several else "", figure.unit)
        for verdict in verdicts for figure in verdict.figures
    )  # fmt: skip
    said = [f"{_plain(verdict.cluster)}: {_plain(verdict.text)}" for verdict in verdicts]
    state = worst(verdicts)
    if several:
        counted = ", ".join(f"{_plain(v.cluster)} {v.state.name}" for v in verdicts)
        said = [counted, *said]
    return [f"PROXLB-PLAN {state.name} - {said[0]}{f' | {drawn}' if drawn else ''}", *said[1:]]


def unknown(why: str, form: Format) -> str:
    """What is printed when nothing can be said of any cluster."""
    if form is Format.CHECKMK:
        return f'{State.UNKNOWN.value} "proxlb-plan" - {_plain(why)}'
    return f"PROXLB-PLAN {State.UNKNOWN.name} - {_plain(why)}"


def _local(verdict: Verdict) -> str:
    drawn = "|".join(_drawn(figure, "", "") for figure in verdict.figures) or "-"
    return f'{verdict.state.value} "proxlb-plan {_plain(verdict.cluster)}" {drawn} {_plain(verdict.text)}'


def _drawn(figure: Drawn, before: str, unit: str) -> str:
    """name=value;warning;critical"""
    parts = [f"{figure.value:.10g}{unit}", *("" if x is None else f"{x:.10g}" for x in figure[3:])]
    name = f"{before}{figure.name}".replace(" ", "_").replace("=", "_").replace("'", "_")
    return f"{name}={';'.join(parts).rstrip(';')}"


def _plain(text: str) -> str:
    """Text on one line, without what has a meaning there."""
    return " ".join(text.replace("|", "/").replace('"', "'").split())
