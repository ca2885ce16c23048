"""Owns which figures of looks Prometheus gets: their names, labels and units.

Names and labels stay as they are, as dashboards and alerts of operators are written with them. `id` is that of
prometheus-pve-exporter (cluster/NAME, node/NAME), so that both can be joined on it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from planner.choices import RunMode
from planner.look import GateName, Load, Look, Outcome
from planner.looks import BLIND
from planner.plan import PlanStatus

PREFIX: Final = "proxlb_plan_"
BYTES_PER_GIB: Final = 2**30
Count = tuple[str, str]
"""Name of a counter, and what is counted apart from the rest of it."""
Value = float | None | Mapping[str, float]
"""What is not known is left out; by the value of a label where there is one."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one cluster after its last look."""

    look: Look
    good_at: float | None = None
    """When the last look that came to something began; unix seconds, as all times here."""
    proposed_at: float | None = None
    """When the plan was made that waits to be approved."""
    counts: Mapping[Count, float] = field(default_factory=dict)
    """What happened, as long as it has been counted."""
    own: bool = True
    """Whether this process has taken that look: of one before it only the times are shown."""

    @property
    def seen(self) -> bool:
        """Whether the last look, being of this process, saw the cluster."""
        return self.own and self.look.outcome not in BLIND

    @property
    def gates(self) -> Mapping[str, float] | None:
        """Gates that were asked, 1 for each that said no: a standby asks one, and a look that failed none."""
        closed = {refusal.gate for refusal in self.look.refusals}
        return _one_of(GateName if self.seen else closed, closed)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a cluster, or one for each value of a label."""

    name: str
    about: str
    of: Callable[[Standing], Value]
    label: str | None = None


def _seen(of: Callable[[Look], Value]) -> Callable[[Standing], Value]:
    """What a look that saw nothing of the cluster does not know: nothing old is shown in its place."""
    return lambda standing: of(standing.look) if standing.seen else None


def _one_of(words: Iterable[str], chosen: Iterable[str]) -> dict[str, float]:
    """All of some words, 1 for those that are so."""
    held = set(chosen)
    return {str(word): float(word in held) for word in words}


TIMES: Final = (
    Figure("look_timestamp_seconds", "When the last look began", lambda s: s.look.at),
    Figure("look_success_timestamp_seconds", "When the last look began that was no error", lambda s: s.good_at),
    Figure("look_duration_seconds", "What the last look took, a run included", lambda s: s.look.seconds),
    Figure("proposal_timestamp_seconds", "When the plan was made that waits to be approved", lambda s: s.proposed_at),
)
"""What stays as it was from one process to the next."""
GAUGES: Final = (
    *TIMES,
    Figure("look_outcome", "1 for what the last look came to", lambda s: _one_of(Outcome, [s.look.outcome]), "outcome"),
    Figure("mode", "1 for what a look does with its plan", lambda s: _one_of(RunMode, [s.look.mode]), "mode"),
    Figure("gate_closed", "1 for each gate that said no", lambda s: s.gates, "gate"),
    Figure("gates_closed", "How many gates said no", _seen(lambda look: float(len({r.gate for r in look.refusals})))),
    Figure("out_of_balance", "1 when the cluster was out of balance", _seen(lambda look: float(look.above))),
    Figure("nodes", "Nodes", _seen(lambda look: look.nodes)),
    Figure("guests", "Guests", _seen(lambda look: look.guests)),
    Figure(
        "spread_before_points", "Percentage points between the fullest and the emptiest node",
        _seen(lambda look: look.spread_before),
    ),
    Figure("spread_after_points", "The same, as planned", _seen(lambda look: look.spread_after)),
    Figure("spread_bound_points", "The same, that no plan can get below", _seen(lambda look: look.bound)),
    Figure("gap_points", "Points between the planned spread and the bound", _seen(lambda look: look.gap)),
    Figure(
        "plan_status", "1 for what is known of the plan", _seen(lambda look: _one_of(PlanStatus, [look.status])),
        "status",
    ),
    Figure(
        "conflict", "1 when the rules cannot all hold",
        _seen(lambda look: float(look.status == PlanStatus.INFEASIBLE)),
    ),
    Figure("solver_duration_seconds", "What planning took", _seen(lambda look: look.solver_seconds)),
    Figure("planned_migrations", "Migrations of the plan", _seen(lambda look: look.migrations)),
    Figure("planned_bytes", "What they copy", _seen(lambda look: look.gib * BYTES_PER_GIB)),
    Figure("rules_in_violation_before", "Rules that are broken", _seen(lambda look: len(look.violations_before))),
    Figure("rules_in_violation_after", "The same, as planned", _seen(lambda look: len(look.violations_after))),
    Figure("run_migrations", "Migrations of the run of the last look", lambda s: run_migrations(s.look), "state"),
)  # fmt: skip
"""What the last look says."""

LOOKS: Final = "looks"
MIGRATIONS: Final = "migrations"
REFUSALS: Final = "refusals"
NOTIFICATIONS: Final = "notifications"
RESULTS: Final = ("sent", "failed")
COUNTERS: Final = {
    LOOKS: ("outcome", tuple(Outcome), "Looks"),
    MIGRATIONS: ("state", ("done", "failed", "left"), "Migrations of runs of looks"),
    REFUSALS: ("gate", tuple(GateName), "How often a gate said no"),
    NOTIFICATIONS: ("result", RESULTS, "Notifications, each to all who are told"),
}
"""Name of a counter to its label, the values of that, and what is counted."""
LOADS: Final[tuple[tuple[str, str, Callable[[Load], float]], ...]] = (
    ("node_load_before_ratio", "Part of what a node can give that is used", lambda load: load.before),
    ("node_load_after_ratio", "The same, as planned", lambda load: load.after),
)


def run_migrations(look: Look) -> dict[str, float]:
    """What became of the migrations of its run."""
    return {"done": look.done, "failed": look.failed, "left": look.left}


def added(counts: Mapping[Count, float], look: Look) -> dict[Count, float]:
    """What was counted, with one more look."""
    more: dict[Count, float] = {(LOOKS, look.outcome): 1.0}
    more |= {(MIGRATIONS, state): many for state, many in run_migrations(look).items()}
    more |= {(REFUSALS, refusal.gate): 1.0 for refusal in look.refusals}
    return plus(counts, more)


def plus(counts: Mapping[Count, float], more: Mapping[Count, float]) -> dict[Count, float]:
    """The sum of two counts."""
    return {each: counts.get(each, 0.0) + more.get(each, 0.0) for each in {**counts, **more}}


def families(standing: Standing | None, version: str, every: float | None, under_way: bool) -> Iterator[Metric]:
    """All figures; those of a cluster once it is known, and those of a look once there was one in this process.

    every: seconds between two looks, where that is known; under_way: a look is being taken at this moment.
    """
    info = GaugeMetricFamily(f"{PREFIX}build_info", "1, with the version", labels=["version"])
    info.add_metric([version], 1.0)
    yield info
    if standing is None:
        return
    if every is not None:
        between = Figure("look_interval_seconds", "Between the beginnings of two looks", lambda _: every)
        yield _family(between, standing)
    now = Figure("look_under_way", "1 while a look is being taken, a run included", lambda _: float(under_way))
    for figure in (now, *(GAUGES if standing.own else TIMES)):
        yield _family(figure, standing)
    yield from _loads(standing)
    yield from _counters(standing)


def _family(figure: Figure, standing: Standing) -> Metric:
    more = [figure.label] if figure.label else []
    family = GaugeMetricFamily(PREFIX + figure.name, figure.about, labels=["cluster", "id", *more])
    value, where = figure.of(standing), _where(standing.look.cluster)
    if isinstance(value, Mapping):
        for word, number in value.items():
            family.add_metric([*where, word], number)
    elif value is not None:
        family.add_metric(where, value)
    return family


def _loads(standing: Standing) -> Iterator[Metric]:
    for name, about, of in LOADS:
        family = GaugeMetricFamily(PREFIX + name, about, labels=["cluster", "id", "resource"])
        for load in standing.look.loads if standing.seen else ():
            family.add_metric([standing.look.cluster, f"node/{load.node}", load.resource], of(load) / 100)
        yield family


def _counters(standing: Standing) -> Iterator[Metric]:
    for name, (label, words, about) in COUNTERS.items():
        family = CounterMetricFamily(PREFIX + name, about, labels=["cluster", "id", label])
        for word in words:
            family.add_metric([*_where(standing.look.cluster), word], standing.counts.get((name, word), 0.0))
        yield family


def _where(cluster: str) -> list[str]:
    return [cluster, f"cluster/{cluster}"]
