"""Owns which events a scheduled look means, given those before it, and what is said of each.

An event that is a state (something is held back, the rules cannot all hold, looks come to nothing) is told once, when
it begins, whatever comes between that only keeps us from seeing it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from planner.before import SOUND, Before
from planner.choices import Event
from planner.look import Look, Outcome
from planner.mention import counted, some
from planner.plain import plain
from planner.plan import PlanStatus

FORMAT: Final = "proxlb-plan-notice/1"
SEVERITY: Final[Mapping[Event, str]] = {
    Event.PROPOSED: "info", Event.DONE: "success", Event.FAILED: "failure", Event.REFUSED: "warning",
    Event.CONFLICT: "warning", Event.ERROR: "failure", Event.RECOVERED: "success",
}  # fmt: skip
ENDED: Final = (Outcome.DONE, Outcome.CUT, Outcome.PARTLY, Outcome.FAILED)
"""Looks that carried something out, or tried to."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told of a look."""

    event: Event
    cluster: str
    title: str
    """One line."""
    lines: tuple[str, ...]
    look: Look

    @property
    def severity(self) -> str:
        """info, success, warning or failure."""
        return SEVERITY[self.event]

    @property
    def text(self) -> str:
        """All of it for people."""
        return "\n".join((self.title, *self.lines))

    def to_json(self) -> str:
        """As one JSON object, described by `planner/schemas/notice.json`."""
        told = {"format": FORMAT, "event": self.event, "severity": self.severity, "cluster": self.cluster}
        said = {"title": self.title, "lines": self.lines, "text": self.text}
        return json.dumps({**told, **said, "look": json.loads(self.look.to_json())})


def notices(look: Look, before: Before) -> tuple[Notice, ...]:
    """What a look means, given what was so before it."""
    return tuple(_notice(event, look, before) for event, means in MEANS.items() if means(look, before))


def _recovered(look: Look, before: Before) -> bool:
    return _errors_over(look, before) or _conflict_over(look, before)


def _error(look: Look, before: Before) -> bool:
    return look.outcome is Outcome.ERROR and not before.errors


def _conflict(look: Look, before: Before) -> bool:
    return look.status == PlanStatus.INFEASIBLE and before.status != PlanStatus.INFEASIBLE


def _refused(look: Look, before: Before) -> bool:
    if look.outcome is not Outcome.REFUSED:
        return False
    return before.refused is None or not {each.gate for each in look.refusals} <= before.refused


def _proposed(look: Look, before: Before) -> bool:
    return look.outcome is Outcome.PROPOSED and (before.proposed is None or look.run != before.proposed)


def _done(look: Look, _before: Before) -> bool:
    return look.outcome in (Outcome.DONE, Outcome.CUT)


def _failed(look: Look, _before: Before) -> bool:
    return look.outcome in (Outcome.PARTLY, Outcome.FAILED)


MEANS: Final[Mapping[Event, Callable[[Look, Before], bool]]] = {
    Event.RECOVERED: _recovered, Event.ERROR: _error, Event.CONFLICT: _conflict, Event.REFUSED: _refused,
    Event.PROPOSED: _proposed, Event.DONE: _done, Event.FAILED: _failed,
}  # fmt: skip
"""Event to whether a look means it, in the order in which they are told."""


def _errors_over(look: Look, before: Before) -> bool:
    return before.errors > 0 and look.outcome is not Outcome.ERROR


def _conflict_over(look: Look, before: Before) -> bool:
    return look.status in SOUND and before.status == PlanStatus.INFEASIBLE


def _notice(event: Event, look: Look, before: Before) -> Notice:
    about = f"cluster {look.cluster}" if look.cluster else "cluster (name not known)"
    title = f"{about}: {TITLE[event](look)}"
    lines = (plain(line) for line in (*LINES[event](look, before), *_when(look)))
    return Notice(event, plain(look.cluster), plain(title), tuple(line for line in lines if line), look)


def _ended(look: Look) -> str:
    parts = [(look.done, "done"), (look.failed, "failed or unknown"), (look.left, "not started")]
    run = "a run" if look.run is None else f"run {look.run}"
    how = "was carried out in part" if look.outcome is Outcome.PARTLY else "failed"
    return f"{run} {how}: {', '.join(f'{count} {what}' for count, what in parts if count) or 'nothing was migrated'}"


def _rest(look: Look) -> str:
    """What a run that was cut short has not done."""
    parts = [(look.failed, "left under way"), (look.left, "left for later")]
    return "".join(f", {count} {what}" for count, what in parts if count) if look.outcome is Outcome.CUT else ""


TITLE: Final[Mapping[Event, Callable[[Look], str]]] = {
    Event.PROPOSED: lambda look: f"{counted(look.migrations, 'migration')} to be approved",
    Event.DONE: lambda look: f"{counted(look.done, 'migration')} done{_rest(look)}",
    Event.FAILED: _ended,
    Event.REFUSED: lambda look: f"{counted(look.migrations, 'migration')} held back",
    Event.CONFLICT: lambda look: "not all rules can hold",
    Event.ERROR: lambda look: "looks come to nothing",
    Event.RECOVERED: lambda look: "looks are well again",
}


def _planned(look: Look, _before: Before) -> Iterator[str]:
    """What is, or was, to be done."""
    yield look.why
    run = "" if look.run is None else f"run {look.run}: "
    yield f"{run}{counted(look.migrations, 'migration')}, {look.gib:.1f} GiB"
    if look.spread_before is not None and look.spread_after is not None:
        bound = "" if look.bound is None else f", bound {look.bound:.2f}"
        yield f"spread {look.spread_before:.2f} -> {look.spread_after:.2f} points{bound}"
    yield from some("rules broken today", look.violations_before)
    yield from some("rules broken after it", look.violations_after)


def _to_approve(look: Look, before: Before) -> Iterator[str]:
    yield from _planned(look, before)
    if look.run is not None and f"approve {look.run}" not in look.why:
        yield f"to carry it out: proxlb-plan approve {look.run}"


def _gone_wrong(look: Look, before: Before) -> Iterator[str]:
    yield from _planned(look, before)
    if look.run is not None:
        yield f"what became of it: proxlb-plan status {look.run}"


def _held_back(look: Look, before: Before) -> Iterator[str]:
    yield from (f"{each.gate}: {each.why}" for each in look.refusals)
    yield from (line for line in _planned(look, before) if line != look.why or not look.refusals)


def _clash(look: Look, _before: Before) -> Iterator[str]:
    yield look.why
    yield from some("rules that stay broken", look.violations_after)
    yield "which rules clash, and what would help: proxlb-plan plan"


def _nothing(look: Look, _before: Before) -> Iterator[str]:
    yield look.why


def _what_is_over(look: Look, before: Before) -> Iterator[str]:
    if _errors_over(look, before):
        yield f"{counted(before.errors, 'look')} came to nothing, the last: {before.why}"
    if _conflict_over(look, before):
        yield "all rules can hold again"


LINES: Final[Mapping[Event, Callable[[Look, Before], Iterator[str]]]] = {
    Event.PROPOSED: _to_approve, Event.DONE: _planned, Event.FAILED: _gone_wrong, Event.REFUSED: _held_back,
    Event.CONFLICT: _clash, Event.ERROR: _nothing, Event.RECOVERED: _what_is_over,
}  # fmt: skip


def _when(look: Look) -> tuple[str]:
    return (f"looked at {datetime.fromtimestamp(look.at, UTC).astimezone().isoformat(sep=' ', timespec='seconds')}",)
