"""Claims about time: what the history says of guests, which figures of it are balanced, and what is hot."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import rrd, snapshot
from planner.anonymise import anonymised
from planner.cluster import Cluster
from planner.collect import collect
from planner.errors import ApiRefused, ConfigError, InputError, UsageError
from planner.formulate import formulate
from planner.history import DAY, History
from planner.plan import PlanStatus
from planner.planning import make_plan, prepare
from planner.policy import Lookback, Policy, Pressure, Profile, Resource
from planner.rules import read
from planner.session import open_session
from planner.snapshot import Snapshot
from solvers.problem import PPM
from tests.commandline import Cli, alone, calling
from tests.rows import GIB, FixedSource, ct, node, recorded, vm
from tests.rows import snapshot as taken


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    alone(monkeypatch, tmp_path)
    return calling(capsys)


CPU = Policy(resource=(Resource.CPU,), window=Lookback.DAY, time_limit=3)
HOURS = 24


def day(*courses: list[float], step: int = 3600, **more: Any) -> History:
    """A day of guests 1, 2, ... in milli-CPU."""
    series = np.array(courses, dtype=float)
    return History(0.0, step, tuple(range(1, len(courses) + 1)), (), {Resource.CPU: series}, {}, **more)


def peak(hour: int, high: float = 4000, low: float = 0) -> list[float]:
    return [high if i == hour else low for i in range(HOURS)]


def with_history(history: History | None, *places: str, nodes: int = 2, threads: int = 10) -> Cluster:
    """Guests 1, 2, ... on nodes, all of which look the same now."""
    rows = [node(name, threads=threads) for name in "abcdef"[:nodes]]
    guests = [vm(i, on, gib=1, cpu=0.1, maxcpu=4) for i, on in enumerate(places, 1)]
    return replace(collect(taken(*rows, *guests)), history=history)


def at(cluster: Cluster, policy: Policy) -> list[str]:
    """Where guests are after a plan."""
    gone = {m.vmid: m.target for m in make_plan(prepare(cluster, policy)).migrations}
    return [gone.get(int(v), str(n)) for v, n in zip(cluster.guests["vmid"], cluster.guests["node"], strict=True)]


# --- robust -------------------------------------------------------------------------------------------


def test_a_guest_that_peaks_at_night_sits_with_one_that_peaks_at_noon() -> None:
    cluster = with_history(day(peak(3), peak(3), peak(12), peak(12)), "a", "a", "b", "b")
    assert at(cluster, Policy(resource=(Resource.CPU,))) == ["a", "a", "b", "b"]  # now all is well
    assert at(cluster, replace(CPU, profile=Profile.MEAN)) == ["a", "a", "b", "b"]
    first, second, third, fourth = at(cluster, CPU)
    assert first != second and third != fourth


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3000), min_size=6, max_size=6), min_size=2, max_size=4), st.data())
def test_the_worst_period_counts(courses: list[list[int]], data: st.DataObject) -> None:
    """Against all assignments, by arithmetic of its own."""
    places = data.draw(st.lists(st.sampled_from("ab"), min_size=len(courses), max_size=len(courses)))
    long = [[x for x in course for _ in range(4)] for course in courses]
    policy = replace(CPU, balanciness=0.0, time_limit=0.2)
    plan = make_plan(prepare(with_history(day(*long), *places), policy), "descent")

    def worst(where: tuple[str, ...]) -> float:
        on = np.array([[name == n for name in where] for n in "ab"])
        return float(np.abs(np.diff(on @ np.array(courses), axis=0)).max()) / 10_000 * 100

    best = min(worst(where) for where in product("ab", repeat=len(courses)))
    assert plan.spread.before == pytest.approx(worst(tuple(places)), abs=1e-3)
    assert plan.spread.after >= best - 1e-3
    assert plan.spread.bound is not None and plan.spread.bound <= best + 1e-3
    assert {1, plan.looks.periods} == {1, HOURS}


def test_the_loads_shown_are_those_of_the_period_that_counts() -> None:
    plan = make_plan(prepare(with_history(day(peak(3), peak(3), peak(12)), "a", "a", "b"), CPU), "descent")
    loads = [n.load_before[Resource.CPU] for n in plan.nodes]
    assert loads == [80.0, 0.0] and plan.spread.before == 80.0 == plan.spreads[Resource.CPU].before


@pytest.mark.parametrize(("profile", "demand"), [(Profile.MEAN, 1150), (Profile.P95, 2185), (Profile.PEAK, 2300)])
def test_a_window_is_one_figure_of_each_guest(profile: Profile, demand: int) -> None:
    course = [100.0 * i for i in range(HOURS)]  # 0 to 2300
    case = prepare(with_history(day(course), "a"), replace(CPU, profile=profile))
    assert case.formulation.problem.demand.tolist() == [[demand]]


def test_of_a_window_only_its_last_part_counts_where_more_is_known() -> None:
    history = day(peak(3) + peak(20))
    hour = replace(CPU, window=Lookback.HOUR, profile=Profile.PEAK)
    assert prepare(with_history(history, "a"), hour).formulation.problem.demand.tolist() == [[0]]
    whole = prepare(with_history(history, "a"), CPU).formulation
    assert whole.problem.demand[:, 0].tolist() == peak(20)
    assert [metric.period for metric in whole.metrics][:2] == ["00:00-01:00", "01:00-02:00"]


def test_a_guest_of_which_nothing_is_known_counts_as_it_is_now() -> None:
    problem = prepare(with_history(day(peak(3)), "a", "b"), CPU).formulation.problem
    assert set(problem.demand[:, 1].tolist()) == {400}


def test_todays_loads_are_exact_in_every_period() -> None:
    cluster = with_history(day(peak(3), peak(12)), "a", "b")
    problem = prepare(cluster, CPU).formulation.problem
    loads = problem.loads(problem.origin)
    assert loads[3].tolist() == [int(0.4 * PPM), 0] and loads[12].tolist() == [0, int(0.4 * PPM)]


# --- forecast -----------------------------------------------------------------------------------------


def test_a_forecast_is_the_same_hour_of_the_days_before_the_nearer_the_more() -> None:
    history = day(peak(5, 1000) + peak(5, 4000))  # yesterday counts 1, the day before a half
    policy = replace(CPU, window=Lookback.NOW, forecast=True)
    formulation = prepare(with_history(history, "a"), policy).formulation
    foretold = {m.period: int(x) for m, x in zip(formulation.metrics, formulation.problem.demand[:, 0], strict=True)}
    assert len(foretold) == 1 + HOURS
    assert foretold["forecast 05:00"] == round((4000 + 0.5 * 1000) / 1.5)
    assert sum(value > 0 for value in foretold.values()) == 1


def test_in_a_forecast_a_week_ago_counts_as_much_as_yesterday() -> None:
    week = [peak(5, 800)] + [peak(5, 0)] * 5 + [peak(5, 400)]
    formulation = prepare(
        with_history(day([x for one in week for x in one]), "a"), replace(CPU, window=Lookback.NOW, forecast=True)
    ).formulation
    weights = [1.0, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0]
    expected = (800 * weights[0] + 400 * weights[-1]) / sum(weights)
    assert formulation.problem.demand[6, 0] == round(expected)


# --- what is asked for and recorded -------------------------------------------------------------------


class Asked:
    """A source that notes what it is asked for."""

    def __init__(self, source: Any) -> None:
        self.source, self.paths = source, []

    def get(self, path: str, /, **params: Any) -> Any:
        self.paths.append(path)
        return self.source.get(path, **params)

    def post(self, path: str, /, **data: Any) -> Any:
        raise AssertionError("nothing is changed")


def demo_session(**policy: Any) -> tuple[Any, Asked]:
    session = open_session(None, {"policy": policy}, None, "small")
    source = Asked(session.source)
    return replace(session, source=source), source


def test_history_is_asked_for_only_when_it_is_looked_at_and_once_of_each() -> None:
    session, source = demo_session()
    assert session.cluster().history is None and not any("rrddata" in path for path in source.paths)
    session, source = demo_session(window="day")
    cluster = session.cluster()
    asked = [path for path in source.paths if path.endswith("rrddata")]
    assert len(asked) == len(set(asked)) == len(cluster.nodes) + len(cluster.guests)
    assert cluster.history is not None and cluster.history.steps * cluster.history.step == DAY


def test_a_plan_from_a_recorded_history_is_that_of_the_cluster_itself(tmp_path: Path) -> None:
    session, _ = demo_session(window="day", resource="cpu", max_migrations=4)
    cluster = session.cluster()
    file = tmp_path / "c.json.gz"
    snapshot.save(cluster.snapshot, file)
    again = collect(snapshot.load(file))
    of = [formulate(one, read(one), session.policy).problem for one in (cluster, again)]
    assert (of[0].demand == of[1].demand).all() and len(of[0].demand) == HOURS


def test_a_history_without_names_says_the_same() -> None:
    session, _ = demo_session(window="hour", resource="network")
    cluster = session.cluster()
    hidden = collect(anonymised(cluster.snapshot))
    assert hidden.history is not None and cluster.history is not None
    vmids = cluster.history.vmids
    assert hidden.history.vmids == vmids and not set(hidden.history.nodes) & set(cluster.history.nodes)
    for resource in (Resource.CPU, Resource.MEMORY, Resource.NETWORK, Resource.CPU_PRESSURE):
        assert np.array_equal(hidden.history.of(resource, vmids), cluster.history.of(resource, vmids), equal_nan=True)


def told(**answers: Any) -> Cluster:
    """A cluster of one node and guest 100 (a container: 101) with recorded points."""
    rows = [node("pve1"), vm(100, "pve1"), ct(101, "pve1")]
    known = {
        rrd.path("qemu", "pve1", 100, "hour"): answers.get("vm"),
        rrd.node_path("pve1", "hour"): answers.get("node"),
    }
    return collect(taken(*rows, **{path: answer for path, answer in known.items() if answer}))


def test_genuine_answers_become_figures_in_the_units_of_frames() -> None:
    history = told(vm=recorded("qemu_rrddata_hour"), node=recorded("node_rrddata_hour")).history
    assert history is not None

    def last(series: Any) -> float:
        return float(series[0][np.isfinite(series[0])][-1])

    assert last(history.of(Resource.CPU, [100])) == 0.5 * 4 * 1000
    assert last(history.of(Resource.MEMORY, [100])) == pytest.approx(6_500_000_000 / 2**20)
    assert last(history.of(Resource.CPU_PRESSURE, [100])) == pytest.approx(81_000)
    assert last(history.of_nodes(Resource.MEMORY, ["pve1"])) == pytest.approx(20_000_000_000 / 2**20)
    assert last(history.of_nodes(Resource.MEMORY_PRESSURE, ["pve1"])) == pytest.approx(22_500)
    assert np.isnan(history.of(Resource.CPU, [7])).all()


def test_points_are_averaged_to_steps_and_empty_ones_are_not_known() -> None:
    rows = [{"time": 60 * i, "cpu": str(i / 10), "maxcpu": 1, "mem": 1_000_000, "more": "x"} for i in range(5)]
    source = FixedSource({"/nodes/pve1/qemu/100/rrddata": [*rows, {"time": 300}, {"cpu": 9}]})
    found = rrd.asked(taken(node("pve1"), vm(100, "pve1")), source, "hour")
    kept = found.answers[rrd.path("qemu", "pve1", 100, "hour")]
    assert kept == [{"time": 0, "cpu": 0.2, "maxcpu": 1.0, "mem": 1_000_000.0}, {"time": 300}]


STOPPED = {"maxcpu": 4, "maxmem": 4 * GIB}
"""What Proxmox VE says of a guest at a time when it did not run."""


def test_a_guest_that_was_stopped_used_nothing_then() -> None:
    nightly = {"cpu": 0.5, "maxcpu": 4, "mem": 3 * GIB, "memhost": 3 * GIB, "netin": 1, "netout": 1}
    rows = [{"time": 3600 * i, **(nightly if i == 3 else STOPPED)} for i in range(24)]
    source = FixedSource({"/nodes/pve1/qemu/100/rrddata": rows})
    found = collect(rrd.asked(taken(node("pve1"), vm(100, "pve1")), source, "day"))
    policy = Policy(window=Lookback.DAY, resource=(Resource.CPU, Resource.MEMORY))
    formulation = prepare(found, policy).formulation
    of = [formulation.problem.demand[list(formulation.periods(r)), 0].tolist() for r in policy.resource]
    assert of == [[2000 if i == 3 else 0 for i in range(24)], [3 * 1024 if i == 3 else 0 for i in range(24)]]
    assert not any("does not know" in note for note in formulation.notes)


def test_guests_that_the_history_does_not_know_are_named() -> None:
    notes = prepare(with_history(day(peak(3)), "a", "b", "b"), CPU).formulation.notes
    assert "the history of cpu does not know guests 2, 3 at all times: there they count as now" in notes


@pytest.mark.parametrize(
    "row",
    [
        {"time": 10**15, "cpu": 0.5, "maxcpu": 4}, {"time": 700, "cpu": 10**18, "maxcpu": 4},
        {"time": 700, "cpu": float("inf"), "maxcpu": 4}, {"time": 700, "netin": 4e18}, {"time": -5, "cpu": 1},
        {"time": 700, "pressurecpusome": 101}, {"time": True, "cpu": 1}, {"time": "x"},
    ],
)  # fmt: skip
def test_figures_that_cannot_be_are_not_known(row: dict[str, Any]) -> None:
    """Those of another time neither: a clock that is wrong takes nothing from the others."""
    sound = {"time": 300, "cpu": 0.5, "maxcpu": 4, "mem": GIB}
    history = told(vm=[sound, row]).history
    assert history is not None and history.begin == 300
    known = history.of(Resource.CPU, [100])
    assert known[np.isfinite(known)].tolist() == [2000.0]


def test_an_empty_cluster_has_a_history_of_its_nodes() -> None:
    points = [{"time": 0, "cpu": 0.5, "maxcpu": 16, "memused": GIB, "memtotal": 64 * GIB}]
    cluster = collect(taken(node("pve1"), **{rrd.node_path("pve1", "hour"): points}))
    assert prepare(cluster, replace(CPU, window=Lookback.HOUR)).formulation.problem.guests == 0


def test_a_month_by_half_days_foretells_nothing() -> None:
    """Proxmox VE 8 keeps no better one."""
    rows = [{"time": 43200 * i, "cpu": 0.5, "maxcpu": 4, "mem": GIB} for i in range(60)]
    known = {rrd.path("qemu", "pve1", 100, "month"): rows}
    with pytest.raises(InputError, match="too coarse for a forecast"):
        prepare(
            collect(taken(node("pve1"), vm(100, "pve1"), **known)), replace(CPU, window=Lookback.NOW, forecast=True)
        )


def test_a_spike_of_a_minute_is_a_spike() -> None:
    calm = [{"time": 60 * i, "pressurecpufull": 90 if i == 31 else 0, "pressurecpusome": 0} for i in range(60)]
    source = FixedSource({"/nodes/a/qemu/1/rrddata": calm})
    cluster = collect(rrd.asked(taken(node("a"), vm(1, "a")), source, "hour"))
    notes = prepare(cluster, WARM).formulation.notes
    assert "guest 1 is hot: cpu-pressure some 0.0 %, full 1.5 %, spikes up to 90.0 % of the last hour" in notes


def test_thresholds_look_at_the_last_hour_whatever_the_window() -> None:
    policy = replace(WARM, window=Lookback.WEEK)
    assert rrd.timeframes(policy) == ("week", "hour") and rrd.timeframes(WARM) == ("hour",)


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "policy", "said"),
    [
        (None, CPU, "there is no history to balance cpu by"),
        (None, Policy(resource=(Resource.NETWORK,)), "there is no history to balance network by"),
        (day(peak(3)), replace(CPU, window=Lookback.WEEK), "goes back 24 hours, not a week"),
        (day([1.0] * 5), replace(CPU, window=Lookback.NOW, forecast=True), "a forecast needs a day of history"),
        (None, Policy(pressure={"cpu-pressure": Pressure()}), "there is no history to tell pressures"),
        (day(peak(3)), Policy(pressure={"cpu-pressure": Pressure()}), "cpu-pressure is not known"),
    ],
)
def test_a_history_that_is_missing_or_too_short_is_said(history: History | None, policy: Policy, said: str) -> None:
    with pytest.raises(InputError, match=said):
        prepare(with_history(history, "a"), policy)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (replace(CPU, resource=(Resource.CPU, Resource.MEMORY), combine="weighted"), "needs one figure of each"),
        (Policy(resource=(Resource.IO,), mode="assigned"), "policy.resource io has no configured figure"),
        (Policy(pressure={"cpu": Pressure()}), "policy.pressure names cpu, which is no pressure"),
        (Policy(capacity_rates={"cpu": 3.0}), "policy.capacity_rates names cpu, which is no rate"),
    ],
)
def test_settings_that_make_no_sense_are_named(policy: Policy, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        prepare(with_history(day(peak(3)), "a"), policy)


def test_proxlb_balances_no_rates() -> None:
    history = replace(day(peak(3)), guest={Resource.NETWORK: np.ones((1, HOURS))})
    with pytest.raises(UsageError, match="proxlb knows memory, cpu and disk, not network"):
        make_plan(prepare(with_history(history, "a"), Policy(resource=(Resource.NETWORK,), balanciness=0)), "proxlb")


def test_a_cluster_that_tells_no_history_says_so() -> None:
    with pytest.raises(ApiRefused, match="the cluster tells no history"):
        rrd.asked(taken(node("pve1"), vm(100, "pve1")), FixedSource({}), "day")


# --- rates and pressures ------------------------------------------------------------------------------


def test_a_rate_is_balanced_by_what_a_node_carries() -> None:
    mib = np.full((2, HOURS), 100.0 * 1024)
    history = replace(day(peak(3), peak(3)), guest={Resource.NETWORK: mib})
    policy = Policy(resource=(Resource.NETWORK,), capacity_rates={"network": 400.0})
    plan = make_plan(prepare(with_history(history, "a", "a"), policy))
    assert (plan.spread.before, plan.spread.after) == (50.0, 0.0)


WARM = Policy(pressure={"cpu-pressure": Pressure(some=20, full=10, spikes=60)}, balanciness=50)


def pressed(some: float, full: float, spike: float = 0.0) -> History:
    """Guest 1, whose tasks waited so many percent of the last hour."""
    tables = [np.full((1, 12), value * 10_000) for value in (some, full)]
    tables[1][0, 5] = max(full, spike) * 10_000
    return History(
        0.0, 300, (1,), (), {Resource.CPU_PRESSURE: tables[0]}, {}, guest_full={Resource.CPU_PRESSURE: tables[1]}
    )


@pytest.mark.parametrize(
    ("history", "is_hot"),
    [
        (pressed(25, 15), True), (pressed(25, 5), False), (pressed(5, 15), False), (pressed(0, 0, 70), True),
        (pressed(0, 0, 50), False),
    ],
)  # fmt: skip
def test_thresholds_decide_whether_anything_is_done(history: History, is_hot: bool) -> None:
    rows = [node("a", used=12), node("b", used=1), vm(1, "a", gib=5), vm(2, "a", gib=6)]
    plan = make_plan(prepare(replace(collect(taken(*rows)), history=history), WARM))
    assert (plan.status is not PlanStatus.NO_ACTION) == bool(plan.migrations) == is_hot
    assert any("guest 1 is hot: cpu-pressure" in note for note in plan.notes) == is_hot


def test_of_the_cpu_of_a_node_some_is_enough() -> None:
    history = History(0.0, 300, (), ("a",), {}, {Resource.CPU_PRESSURE: np.full((1, 12), 300_000.0)})
    cluster = replace(collect(taken(node("a"), node("b"), vm(1, "a"))), history=history)
    notes = make_plan(prepare(cluster, WARM)).notes
    assert any(note.startswith("node a is hot: cpu-pressure some 30.0 %") for note in notes)


# --- the command line ---------------------------------------------------------------------------------


def test_windows_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    file = str(tmp_path / "c.json.gz")
    assert cli("snapshot", "--demo", "--window", "day", "-o", file).code == 0
    words = ("--resource", "cpu", "--solver", "descent", "--time-limit", "1")
    shown = cli("plan", "--snapshot", file, "--window", "day", *words)
    assert "cpu used, in the worst of 24 periods of the last day" in shown.out
    refused = cli("plan", "--snapshot", file, "--window", "week", *words)
    assert refused.code == 1 and "goes back 24 hours, not a week" in refused.err


def test_a_plan_by_a_window_is_carried_out(cli: Cli) -> None:
    done = cli(
        "apply", "--demo", "--yes", "--window", "day", "--resource", "cpu", "--solver", "descent",
        "--max-migrations", "1", "--time-limit", "1",
    )  # fmt: skip
    assert done.code == 0 and "1 of 1 migrations done" in done.out + done.err


def test_memory_is_what_a_guest_costs_its_node() -> None:
    rows = [{"time": 0, "mem": 3 * GIB, "memhost": 0, "cpu": 0, "maxcpu": 1}]
    history = told(vm=rows).history
    assert history is not None and history.of(Resource.MEMORY, [100]).tolist() == [[3 * 1024.0]]


def test_the_units_of_a_snapshot_without_history_are_none() -> None:
    assert rrd.history(Snapshot({"/cluster/resources": []}, "")) is None
