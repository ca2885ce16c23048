"""A back-test plays what was recorded: nobody knows the future, nothing is changed, everybody is measured alike."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from planner import backtesting as backtest
from planner import play, snapshot
from planner.errors import Exit, InputError, UsageError
from planner.history import History
from planner.mapped import Shape, from_synthetic, from_traces
from planner.measure import AWAY, Trip
from planner.policy import Resource
from planner.recorded import from_directory, from_snapshots
from planner.recording import Recording
from planner.snapshot import RESOURCES, Snapshot
from planner.traces import Traces, load, synthetic
from tests.commandline import INTERRUPTIBLE, alone, calling
from tests.rows import KNOWN, Row, node, offline, vm

HOUR = 3600
SETTINGS: dict[str, Any] = {"resource": "cpu", "max_migrations": 3, "time_limit": 60, "every": 6.0 * HOUR, "work": 0.1}
EVERYBODY = ("nothing", "proxlb", "crs-5", "greedy", "descent", "cpsat", "cpsat-robust")


@cache
def small() -> Recording:
    return from_synthetic(Shape(nodes=4, guests=24, load=0.5))


@cache
def played() -> list[backtest.Replay]:
    return backtest.replays(small(), EVERYBODY, **SETTINGS)


def content(recording: Recording) -> list[bytes]:
    tables = (*recording.demand.values(), *recording.own.values(), *recording.ability.values(), recording.homes)
    return [*(table.tobytes() for table in tables), json.dumps(recording.answers).encode()]


def slots(recording: Recording, begin: int, values: float) -> Recording:
    """The same until a step of the play, and something else from then on."""
    cpu = recording.demand[Resource.CPU].copy()
    cpu[:, recording.first + begin :] = values
    demand = {**recording.demand, Resource.CPU: cpu}
    return Recording(**{**vars(recording), "demand": demand})


def on_two_nodes(use: np.ndarray[Any, Any], threads: int) -> Recording:
    """Guests of one vCPU each, the first half on one node, the others on the other; the first day is past."""
    names = tuple(f"g{i}" for i in range(len(use)))
    traces, past = (Traces(names, use[:, part].copy()) for part in (slice(288, None), slice(288)))
    made = from_traces(traces, Shape(nodes=2, guests=len(use)), past)
    rows = [row | {"maxcpu": threads if row["type"] == "node" else 1} for row in made.answers[0][RESOURCES]]
    changed: dict[str, Any] = {
        "demand": {**made.demand, Resource.CPU: use * 1000.0},
        "ability": {**made.ability, Resource.CPU: np.full((2, use.shape[1]), threads * 1000.0)},
        "homes": np.repeat(np.arange(len(use))[:, None] // (len(use) // 2), use.shape[1], axis=1),
        "answers": ({**made.answers[0], RESOURCES: rows},),
    }
    return Recording(**{**vars(made), **changed})


def without_time(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="planning_p95")


def test_every_policy_gets_a_row_with_the_documented_columns_and_a_history_of_loads() -> None:
    frame = backtest.table(played())
    assert list(frame["policy"]) == list(EVERYBODY)
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {c.name: c.dtype for c in backtest.COLUMNS}
    for each in played():
        assert list(each.loads.columns) == list(small().nodes)
        assert len(each.loads) == small().steps == 288
        assert each.loads.index[0] == pd.Timestamp(small().played_from, unit="s", tz="UTC")


def test_nothing_migrates_nothing_and_the_loads_of_all_policies_add_up_to_the_same_demand() -> None:
    assert played()[0].course.trips == ()
    total = played()[0].loads.sum(axis=1)
    for each in played():
        assert np.allclose(each.loads.sum(axis=1), total)


def test_no_policy_changes_the_recording() -> None:
    assert len(played()) == len(EVERYBODY)
    assert content(small()) == content(from_synthetic(Shape(nodes=4, guests=24, load=0.5)))


def test_the_same_work_and_seed_give_the_same_course_in_one_process_or_in_several() -> None:
    names = ["crs-5", "cpsat"]
    again = backtest.backtest(small(), names, jobs=2, **SETTINGS)
    first = backtest.table([each for each in played() if each.policy in names])
    pd.testing.assert_frame_equal(without_time(again), without_time(first))


def test_guests_that_peak_at_night_are_mixed_with_those_that_peak_by_day_only_by_who_looks_back() -> None:
    # Eight guests at 100 % of a CPU at night, eight by day; what is even now is uneven twelve hours later.
    night = np.where(np.arange(576) % 288 < 144, 1.0, 0.1)
    use = np.stack([night] * 8 + [1.1 - night] * 8)
    recording = on_two_nodes(use, threads=9)
    rows = backtest.backtest(recording, ["nothing", "cpsat", "cpsat-robust"], **SETTINGS).set_index("policy")
    assert rows.loc["nothing", "overload_minutes"] > 1000
    assert rows.loc["cpsat-robust", "overload_minutes"] < 100 < rows.loc["cpsat", "overload_minutes"]
    assert rows.loc["cpsat-robust", "migrations"] <= rows.loc["cpsat", "migrations"]


@pytest.mark.parametrize("policy", ["crs-5", "cpsat-robust"])
def test_nobody_knows_the_future(policy: str) -> None:
    half = small().steps // 2
    known, other = (
        backtest.replays(recording, [policy], **SETTINGS)[0].course.trips
        for recording in (small(), slots(small(), half, 1.0))
    )
    until = half * small().step
    assert [t for t in known if t.begin <= until] == [t for t in other if t.begin <= until]
    assert any(t.begin <= until for t in known)


@pytest.mark.parametrize("past", [None, synthetic(12, seed=3)])
def test_who_plans_at_the_beginning_knows_nothing_of_the_first_step_that_is_played(past: Traces | None) -> None:
    recording = from_traces(synthetic(12, seed=1), Shape(nodes=3, guests=12, seed=1, skew=0.5), past)
    first = recording.demand[Resource.CPU].copy()
    first[:, recording.first] = np.roll(first[:, recording.first], 5)
    other = Recording(**{**vars(recording), "demand": {**recording.demand, Resource.CPU: first}})
    terms = {**SETTINGS, "every": 24.0 * HOUR - recording.step}
    begun = [
        [trip for trip in each.course.trips if trip.begin < recording.step]
        for each in backtest.replays(recording, ["greedy"], **terms)
    ]
    assert begun[0]
    assert begun == [
        [trip for trip in each.course.trips if trip.begin < recording.step]
        for each in backtest.replays(other, ["greedy"], **terms)
    ]
    assert recording.steps == (288 if past else 287)


def test_what_is_known_at_a_moment_is_the_last_step_that_is_over_and_the_history_up_to_it() -> None:
    recording = small()
    homes = recording.homes[:, recording.first]
    cluster = recording.at(2 * HOUR, homes)
    last = recording.first + 2 * HOUR // recording.step - 1
    used = recording.demand[Resource.CPU][:, last]
    assert np.abs(cluster.guests["cpu_used_mcpu"].to_numpy() - used).max() <= 0.5
    history = cluster.history
    assert isinstance(history, History)
    assert history.steps == 288
    assert np.array_equal(history.of(Resource.CPU, recording.vmids)[:, -1], used)
    assert history.begin + history.steps * history.step == recording.played_from + 2 * HOUR
    by_node = history.node[Resource.CPU][:, -1]
    assert np.allclose(by_node, cluster.nodes["cpu_used_mcpu"], atol=13)


def test_a_guest_that_was_migrated_is_not_sent_back_within_a_day() -> None:
    rows = backtest.table(played()).set_index("policy")
    assert (rows.loc[["greedy", "descent", "cpsat", "cpsat-robust"], "ping_pongs"] == 0).all()


class Once:
    """Migrates one guest when it is asked first, for two hours."""

    every = 1800.0

    def __init__(self) -> None:
        self.seen: list[play.Sight] = []

    def decide(self, sight: play.Sight) -> Sequence[Trip]:
        self.seen.append(sight)
        source = int(sight.homes[0])
        return [] if len(self.seen) > 1 else [Trip(0, source, (source + 1) % 4, sight.now, sight.now + 2 * HOUR)]


def test_whoever_decides_is_told_what_is_under_way_and_the_guest_is_where_it_was_until_then() -> None:
    once = Once()
    course = play.Play(small()).run(once)
    assert [sight.busy for sight in once.seen[:6]] == [False, True, True, True, False, False]
    homes = [int(sight.homes[0]) for sight in once.seen[:6]]
    assert homes == [homes[0]] * 4 + [(homes[0] + 1) % 4] * 2
    assert [trip.end for trip in course.trips] == [2 * HOUR]


def test_a_plan_under_way_is_not_planned_over() -> None:
    # At 1 MiB/s a guest takes hours. ProxLB begins its migrations one after the other.
    terms: dict[str, Any] = {**SETTINGS, "every": 2.0 * HOUR, "bwlimit": 1.0}
    found = backtest.replays(small(), ["proxlb"], **terms)[0]
    trips = sorted(found.course.trips, key=lambda trip: trip.begin)
    assert len(trips) > 3
    assert all(later.begin >= earlier.end for earlier, later in pairwise(trips))
    assert len(found.seconds) < 8


# Snapshots


def taken(hour: float, *rows: Row, **answers: Any) -> Snapshot:
    at = datetime.fromtimestamp(1_767_571_200 + hour * HOUR, UTC).isoformat(timespec="seconds")
    return Snapshot({**KNOWN, **answers, RESOURCES: list(rows)}, at, f"hour {hour:g}")


def nodes(*names: str, **facts: Any) -> list[Row]:
    return [node(name, gib=64, used=2, threads=8, cpu=0.5, **facts) for name in names]


def directory(path: Path, snapshots: Sequence[Snapshot]) -> Path:
    for number, each in enumerate(reversed(snapshots)):  # the order of the names is not the one of the times
        snapshot.save(each, path / f"{number}.json{'.gz' if number % 2 else ''}")
    return path


def test_a_directory_of_snapshots_is_played_in_the_order_of_their_times(tmp_path: Path) -> None:
    moments = [
        taken(0, *nodes("a", "b"), vm(1, "a"), vm(2, "a")),
        taken(1, *nodes("a", "b"), vm(1, "a"), vm(2, "b"), vm(3, "b")),
        taken(2, *nodes("a", "b"), vm(1, "a"), vm(3, "b")),
    ]
    recording = from_directory(directory(tmp_path, moments))
    assert (recording.step, recording.steps) == (HOUR, 3)
    assert (recording.vmids, recording.nodes) == ((1, 2, 3), ("a", "b"))
    assert recording.homes.tolist() == [[0, 0, 0], [0, 1, AWAY], [AWAY, 1, 1]]
    rows = backtest.backtest(recording, ["nothing", "recorded"], resource="memory").set_index("policy")
    assert rows.loc["nothing", "migrations"] == 0
    assert rows.loc["recorded", "migrations"] == pytest.approx(8)  # one in three hours


def test_guests_come_where_they_came_and_go_and_where_a_node_goes_they_are_where_they_were() -> None:
    moments = [
        taken(0, *nodes("a", "b"), vm(1, "a"), vm(2, "b")),
        taken(1, *nodes("a", "b"), vm(1, "a"), vm(2, "b"), vm(3, "b")),
        taken(2, *nodes("a"), offline("b"), vm(1, "a"), vm(2, "a"), vm(3, "a")),
        taken(3, *nodes("a", "b"), vm(1, "a"), vm(2, "a")),
    ]
    course = play.Play(from_snapshots(moments)).run(None)
    assert course.trips == ()
    changes = [(change.at / HOUR, change.guest, change.node) for change in course.changes]
    assert changes == [(1, 2, 1), (2, 1, 0), (2, 2, 0), (3, 2, AWAY)]


def test_a_migration_to_a_node_that_is_gone_by_then_is_none() -> None:
    moments = [
        taken(0, *nodes("a", "b"), vm(1, "a")),
        *(taken(h, *nodes("a"), offline("b"), vm(1, "a")) for h in (1, 2)),
    ]

    class Late:
        every = 3.0 * HOUR

        def decide(self, sight: play.Sight) -> Sequence[Trip]:
            return [Trip(0, 0, 1, 0.0, 1.5 * HOUR)]

    course = play.Play(from_snapshots(moments)).run(Late())
    assert (course.trips, course.changes) == ((), ())


def test_snapshots_of_two_clusters_are_no_recording_and_one_that_does_not_say_is_of_the_other() -> None:
    def of(*names: str) -> list[Snapshot]:
        status = [[{"type": "cluster", "name": name, "quorate": 1}] if name else [] for name in names]
        return [taken(t, *nodes("a", "b"), **{"/cluster/status": each}) for t, each in enumerate(status)]

    assert from_snapshots(of("prod", "", "prod")).steps == 3
    with pytest.raises(InputError, match="snapshots of several clusters, lab and prod: keep those of one"):
        from_snapshots(of("prod", "lab", "", "prod"))


def test_between_two_snapshots_all_is_as_the_earlier_one_says() -> None:
    used = {0: 1, 1: 2, 1.9: 3, 5: 4}
    recording = from_snapshots([taken(hour, *nodes("a", "b"), vm(1, "a", used=gib)) for hour, gib in used.items()])
    assert recording.step == HOUR
    assert (recording.demand[Resource.MEMORY][0] / 1024).tolist() == [1, 2, 3, 3, 3, 4]


def growing(last: int) -> Recording:
    """Node a of 8 threads is crowded, and has `last` threads in the last snapshot."""
    managed = {"/cluster/ha/resources": [{"sid": f"vm:{vmid}", "state": "started"} for vmid in range(1, 5)]}
    return from_snapshots(
        taken(
            t / 12, node("a", used=8, threads=last if t == 23 else 8, cpu=0.4), node("b", threads=8),
            *(vm(vmid, "a", used=2, cpu=0.4, hastate="started") for vmid in range(1, 5)), **managed,
        )
        for t in range(24)
    )  # fmt: skip


def test_a_node_that_will_grow_is_measured_and_seen_as_small_until_then() -> None:
    names, terms = ["nothing", "crs-5-1", "greedy"], {"resource": "cpu", "every": 1800.0}
    same, grown = (backtest.replays(growing(last), names, **terms) for last in (8, 64))
    for before, after in zip(same, grown, strict=True):
        assert np.array_equal(before.loads[:-1], after.loads[:-1])
        assert before.course.trips == after.course.trips
    assert same[1].course.trips
    assert grown[0].loads["a"].iloc[-1] == pytest.approx(same[0].loads["a"].iloc[-1])  # as high a part of more


def test_rules_of_the_snapshots_are_kept_by_solvers_and_broken_minutes_are_counted() -> None:
    rules = {"/cluster/ha/rules": [{"rule": "r", "type": "resource-affinity", "affinity": "negative",
                                    "resources": "vm:1,vm:2"}]}  # fmt: skip
    moments = [taken(hour, *nodes("a", "b"), vm(1, "a"), vm(2, "a"), **rules) for hour in range(4)]
    rows = backtest.backtest(from_snapshots(moments), ["nothing", "descent"], every=2.0 * HOUR, resource="memory")
    assert rows["broken_minutes"].tolist()[0] == 240
    assert rows["broken_minutes"].tolist()[1] < 2
    assert rows["migrations"].tolist()[1] == pytest.approx(6)


@pytest.mark.parametrize("state", [{"status": "offline"}, {"hastate": "maintenance"}])
def test_an_outage_of_every_node_is_played_and_nobody_plans_in_it(state: dict[str, str]) -> None:
    managed = {"/cluster/ha/resources": [{"sid": f"vm:{vmid}", "state": "started"} for vmid in range(1, 5)]}
    moments = [
        taken(t / 12, *nodes("a", "b", **(state if 4 <= t < 8 else {})),
              *(vm(vmid, "a", used=8, cpu=0.9, hastate="started") for vmid in range(1, 5)), **managed)
        for t in range(12)
    ]  # fmt: skip
    names = ["nothing", "recorded", "crs-5-1", "greedy", "proxlb"]
    terms: dict[str, Any] = {"resource": "memory", "every": 300.0, "max_migrations": 1, "balanciness": 0, "bwlimit": 50}
    found = {each.policy: each for each in backtest.replays(from_snapshots(moments), names, **terms)}
    for name in names[2:]:
        begun = [trip.begin for trip in found[name].course.trips]
        assert begun and not any(5 * 300 <= begin < 9 * 300 for begin in begun)  # known when its first step is over
    assert found["nothing"].figures.spread_mean == pytest.approx(50 - 200 / 64)


def test_the_figures_of_a_recording_in_which_no_node_ever_runs_are_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone(monkeypatch, tmp_path)
    directory(tmp_path, [taken(t, offline("a"), offline("b"), vm(1, "a")) for t in range(3)])
    words = ("backtest", "--snapshots", tmp_path, "--policies", "nothing,crs,greedy")
    shown = calling(capsys)(*words)
    assert (shown.code, shown.err) == (0, "")
    assert all(line.split()[2:4] == ["-", "-"] for line in shown.out.splitlines()[1:])


APART = {"/cluster/ha/rules": [{"rule": "r", "type": "resource-affinity", "affinity": "negative",
                                "resources": "vm:1,vm:2"}]}  # fmt: skip


@pytest.mark.parametrize(
    ("since", "until", "joined", "minutes"),
    [(6, 12, 0, 30), (11, 12, 0, 5), (0, 6, 6, 0), (0, 6, 5, 5), (0, 12, 0, 60), (3, 4, 3, 5)],
)
def test_a_rule_is_broken_from_the_snapshot_that_has_it_to_the_one_that_has_it_no_longer(
    since: int, until: int, joined: int, minutes: float
) -> None:
    moments = [
        taken(t / 12, *nodes("a", "b"), vm(1, "a"), vm(2, "a" if t >= joined else "b"),
              **(APART if since <= t < until else {}))
        for t in range(12)
    ]  # fmt: skip
    found = backtest.backtest(from_snapshots(moments), ["recorded"], resource="memory")
    assert found["broken_minutes"].item() == pytest.approx(minutes)


def test_a_policy_that_looks_back_plans_nothing_before_it_knows_a_day() -> None:
    moments = [taken(hour, *nodes("a", "b"), vm(1, "a"), vm(2, "a", used=8)) for hour in range(30)]
    recording = from_snapshots(moments)
    found = backtest.replays(recording, ["greedy-mean"], resource="memory", every=1.0 * HOUR, balanciness=1)[0]
    assert min(trip.begin for trip in found.course.trips) == 22 * HOUR  # 90 % of a day
    assert found.row()["blind_hours"] == 22
    terms: dict[str, Any] = {"resource": "memory", "every": 6.0 * HOUR, "balanciness": 1}
    warm = backtest.replays(recording.since(24 * HOUR), ["greedy-mean", "greedy"], **terms)
    assert [(min(trip.begin for trip in each.course.trips), each.blind) for each in warm] == [(0, 0), (0, 0)]
    week, configured = (
        backtest.backtest(recording, ["greedy-mean"], **terms, **more)
        for more in ({"window": "week"}, {"mode": "assigned"})
    )
    assert (week["blind_hours"].item(), week["plans"].item()) == (30, 0)
    assert configured["blind_hours"].item() == 0


def test_a_forecast_beside_a_short_window_looks_at_days_and_waits_for_the_first() -> None:
    moments = [taken(hour, *nodes("a", "b"), vm(1, "a"), vm(2, "a", used=8)) for hour in range(26)]
    terms: dict[str, Any] = {"resource": "memory", "every": 24.0 * HOUR, "balanciness": 100, "forecast": True}
    found = backtest.replays(from_snapshots(moments), ["greedy-robust", "greedy"], window="hour", **terms)
    assert [(len(each.seconds), each.blind) for each in found] == [(1, 24 * HOUR), (2, 0)]
    apart = [taken(2 * hour, *nodes("a", "b"), vm(1, "a")) for hour in range(50)]
    with pytest.raises(UsageError, match="a forecast goes by the hour, and the recording has steps of 2 hours"):
        backtest.backtest(from_snapshots(apart), ["descent-robust"], **terms)


# What cannot be played


def trace_files(path: Path, traces: Traces) -> Path:
    path.mkdir()
    for name, use in zip(traces.names, traces.use, strict=True):
        (path / name).write_text("".join(f"{round(part * 100)}\n" for part in use))
    return path


def test_traces_are_read_from_a_directory_or_a_tar_file_of_it(tmp_path: Path) -> None:
    made = synthetic(5)
    folder = trace_files(tmp_path / "day", made)
    for kind in ("xz", "gz"):
        with tarfile.open(tmp_path / f"day.tar.{kind}", f"w:{kind}") as archive:  # type: ignore[call-overload]
            archive.add(folder, "day")
    for path in (folder, tmp_path / "day.tar.xz", tmp_path / "day.tar.gz"):
        found = load(path)
        assert sorted(found.names) == sorted(made.names)
        index = [found.names.index(name) for name in made.names]
        assert np.array_equal(found.use[index], made.use)


def test_a_made_up_day_is_the_same_for_the_same_seed_and_peaks_when_it_should() -> None:
    day, again, other = synthetic(40), synthetic(40), synthetic(40, seed=1)
    assert np.array_equal(day.use, again.use)
    assert not np.array_equal(day.use, other.use)
    night = [i for i, name in enumerate(day.names) if name.startswith("night")]
    office = [i for i, name in enumerate(day.names) if name.startswith("office")]
    assert day.use[night][:, :96].mean() > 3 * day.use[night][:, 144:].mean()
    assert day.use[office][:, 120:180].mean() > 3 * day.use[office][:, :72].mean()


def test_the_cluster_has_the_load_that_was_asked_for_and_begins_as_unevenly() -> None:
    def memory(**more: Any) -> np.ndarray[Any, Any]:
        cluster = from_synthetic(Shape(nodes=5, guests=100, **more)).at(0, homes(**more))
        return cluster.nodes["memory_used_mib"].to_numpy()

    def homes(**more: Any) -> np.ndarray[Any, Any]:
        recording = from_synthetic(Shape(nodes=5, guests=100, **more))
        return recording.homes[:, recording.first]

    recording = from_synthetic(Shape(nodes=5, guests=100, load=0.4))
    loads = backtest.replays(recording, ["nothing"], resource="cpu")[0].loads
    assert loads.to_numpy().mean() == pytest.approx(40, abs=1)
    assert np.ptp(memory(skew=0.0)) < 0.2 * np.ptp(memory(skew=0.8))
    assert np.count_nonzero(memory(begin_on=2) > 4096) == 2


BAD = (
    ("a.txt", "12\n101\n", "line 2: a trace has a whole percentage on each line, not '101'"),
    ("a.txt", "12\nx\n", "line 2"),
    ("a.txt", "", "line 1"),
    ("a.txt", "1.5\n", "not '1.5'"),
    ("a.txt", "1\n2\n", "has 3 and|all need as many"),
)


@pytest.mark.parametrize(("name", "text", "said"), BAD)
def test_what_is_no_trace_is_said_of_the_file_and_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "b.txt").write_text("1\n2\n3\n")
    with pytest.raises(InputError, match=said) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_played_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone(monkeypatch, tmp_path)
    run = calling(capsys)
    empty = tmp_path / "empty"
    empty.mkdir()
    one = directory(tmp_path / "one", [])
    one.mkdir()
    directory(one, [taken(0, *nodes("a", "b"), vm(1, "a"))])
    (tmp_path / "text.tar.xz").write_text("no archive")
    few = trace_files(tmp_path / "few", synthetic(3))
    said = {
        ("--traces", empty): "holds no traces",
        ("--traces", tmp_path / "missing"): "cannot read traces",
        ("--traces", tmp_path / "text.tar.xz"): "neither a directory nor a tar file",
        ("--traces", few): "400 guests are asked for, and there are 3 traces",
        ("--snapshots", empty): "holds no snapshots",
        ("--snapshots", one): "holds one snapshot",
        ("--snapshots", tmp_path / "missing"): "is no directory",
        ("--synthetic", "--policies", "cpsat,best"): "there is no policy best",
        ("--synthetic", "--policies", "cpsat,cpsat"): "stands twice",
        ("--synthetic", "--policies", "crs-x"): "there is no policy crs-x",
        ("--synthetic", "--policies", ","): "there is no policy to play",
        ("--synthetic", "--every", "soon"): "write a while such as 15m",
        ("--synthetic", "--every", "48h"): "the recording lasts 1440 minutes",
        ("--synthetic", "--load", "0"): "load 0",
        ("--synthetic", "--begin-on", "17"): "begin on 17 of 16 nodes",
        ("--synthetic", "--resource", "disk"): "a back-test knows memory and cpu, not disk",
        ("--synthetic", "--traces", few): "say what is to be played",
        ("--synthetic", "--past", few): "--past goes with --traces",
        ("--snapshots", few, "--nodes", "4"): "--nodes is about a made-up cluster: with --snapshots leave it out",
        ("--snapshots", few, "--memory-follows"): "--memory-follows is about a made-up cluster",
        ("--synthetic", "--warm-up", "2h"): "--warm-up goes with --snapshots",
        ("--traces", few, "--warm-up", "0s"): "--warm-up goes with --snapshots: of traces, --past is known",
        (): "say what is to be played",
    }
    for words, part in said.items():
        outcome = run("backtest", *words)
        assert outcome.code != 0
        assert part in outcome.complaint, words


def test_the_command_prints_a_table_or_json_and_writes_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone(monkeypatch, tmp_path)
    run = calling(capsys)
    words = ("backtest", "--synthetic", "--nodes", 4, "--guests", 24, "--load", 50, "--resource", "cpu")
    shown = run(*words, "--policies", "nothing,greedy", "--max-migrations", 2, "--every", "6h")
    assert shown.code == 0
    assert [line.split()[0] for line in shown.out.splitlines()] == ["policy", "nothing", "greedy"]
    printed = run(*words, "--policies", "nothing", "--output", "json", "--out", tmp_path / "figures.csv")
    rows = json.loads(printed.out)
    assert rows[0]["policy"] == "nothing" and rows[0]["planning_p95"] is None
    assert rows[0]["overload_minutes"] == pytest.approx(
        pd.read_csv(tmp_path / "figures.csv")["overload_minutes"].item()
    )


def test_what_a_configuration_asks_and_a_back_test_cannot_do_is_said_before_anything_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone(monkeypatch, tmp_path)
    run = calling(capsys)
    words = ("backtest", "--synthetic", "--nodes", 2, "--guests", 2, "--every", "24h", "--policies")
    asked = "policy: {resource: 'memory,cpu', combine: weighted"
    said = {
        asked + ", pressure: {io-pressure: {some: 20}}}": "a back-test knows no pressures: leave out policy.pressure",
        asked + ", with_local_disks: true}": "leave out policy.with_local_disks",
        asked + "}": "cpsat-robust has one for each hour: play -mean, -p95 or -peak, or --combine worst",
        asked + ", forecast: true}": "cpsat-mean has one for each hour: leave out --forecast, or --combine worst",
    }
    for text, part in said.items():
        (tmp_path / "proxlb-plan.yaml").write_text(text)
        outcome = run(*words, "nothing," + ("cpsat-mean" if "forecast" in text else "cpsat-mean,cpsat-robust"))
        assert (outcome.code, part in outcome.complaint) == (Exit.USAGE, True), outcome.err
    (tmp_path / "proxlb-plan.yaml").write_text(asked + "}")
    assert run(*words, "greedy-mean").code == run(*words, "greedy-robust", "--mode", "assigned").code == 0


def test_a_window_of_a_week_is_played_on_a_made_up_day_too() -> None:
    recording = from_synthetic(Shape(nodes=2, guests=4, skew=1), known=7)
    terms: dict[str, Any] = {"resource": "cpu", "every": 24.0 * HOUR, "max_migrations": 3, "balanciness": 0}
    found = backtest.replays(recording, ["descent-mean"], window="week", **terms)[0]
    assert (found.blind, found.plans, recording.first, recording.steps) == (0, 1, 7 * 288, 288)


def test_snapshots_of_a_token_that_sees_a_part_are_played_if_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone(monkeypatch, tmp_path)
    part = {"/access/permissions": {"/nodes": {"Sys.Audit": 1}}}
    directory(tmp_path, [taken(t, *nodes("a", "b"), vm(1, "a"), vm(2, "a"), **part) for t in range(3)])
    run = calling(capsys)
    words = ("backtest", "--snapshots", tmp_path, "--policies", "greedy", "--balanciness", 0)
    assert "--allow-partial" in run(*words).complaint
    assert run(*words, "--allow-partial").code == 0


def test_the_seed_of_a_configuration_shapes_the_cluster_as_that_of_the_command_line_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone(monkeypatch, tmp_path)
    run = calling(capsys)
    words = ("backtest", "--synthetic", "--nodes", 2, "--guests", 8, "--resource", "cpu", "--policies", "nothing")
    assert run(*words, "--seed", -1).code == Exit.CONFIG
    assert "policy.seed" in run(*words, "--seed", -1).complaint
    plain, flag = run(*words), run(*words, "--seed", 7)
    (tmp_path / "proxlb-plan.yaml").write_text("policy: {seed: 7}")
    assert run(*words).out == flag.out != plain.out


def test_limited_by_work_the_figures_do_not_depend_on_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone(monkeypatch, tmp_path)
    run = calling(capsys)
    words = ("backtest", "--synthetic", "--nodes", 3, "--guests", 16, "--resource", "cpu", "--policies", "cpsat",
             "--every", "24h", "--output", "json", "--work", 0.1)  # fmt: skip
    (tmp_path / "proxlb-plan.yaml").write_text("policy: {time_limit: 0.001}")  # is no limit then
    rows = [json.loads(run(*words).out)[0] for _ in range(2)]
    assert rows[0].pop("planning_p95") > 0 and rows[1].pop("planning_p95") > 0
    assert rows[0] == rows[1]
    assert rows[0]["plans"] == 1
    assert "--time-limit has no effect with --work" in run(*words, "--time-limit", 3).complaint
    assert run(*words[:-1], 0).code == Exit.USAGE
    with pytest.raises(UsageError, match="work inf"):
        backtest.backtest(small(), ["cpsat"], work=float("inf"))


def test_how_often_is_planned_matters_only_where_somebody_plans() -> None:
    moments = from_snapshots([taken(t / 12, *nodes("a", "b"), vm(1, "a")) for t in range(4)])
    assert len(backtest.backtest(moments, ["nothing", "recorded", "crs"])) == 3
    with pytest.raises(
        UsageError,
        match="a plan every 60 minutes makes no sense, as the recording lasts 20 minutes: choose another --every",
    ):
        backtest.backtest(moments, ["nothing", "greedy"])


def test_whoever_knows_too_little_of_the_past_to_plan_is_named_in_one_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone(monkeypatch, tmp_path)
    day = trace_files(tmp_path / "day", synthetic(6))
    words = ("backtest", "--traces", day, "--nodes", 2, "--guests", 6, "--resource", "cpu", "--every", "12h")
    cold = calling(capsys)(*words, "--policies", "greedy,greedy-mean,descent-p95")
    assert (cold.code, cold.err) == (0, "note: " + (
        "greedy-mean, descent-p95 planned nothing in the first 21.6 hours: too little of the past was known, begin "
        "with more of it (--past, --warm-up)\n"
    ))  # fmt: skip
    warm = calling(capsys)(*words, "--policies", "greedy,greedy-mean", "--past", day)
    assert (warm.code, warm.err) == (0, "")


def test_traces_of_different_steps_or_without_common_names_cannot_be_joined() -> None:
    day = synthetic(4)
    with pytest.raises(InputError, match="steps of 60 s"):
        from_traces(day, Shape(guests=4), Traces(day.names, day.use.copy(), 60))
    with pytest.raises(InputError, match="there are 0 traces that both days have"):
        from_traces(day, Shape(guests=4), Traces(("x", "y", "z", "w"), day.use.copy()))
    with pytest.raises(InputError, match="traces of one line"):
        from_traces(Traces(day.names, day.use[:, :1].copy()), Shape(guests=4))
    with pytest.raises(UsageError, match="copies no local disks: leave out policy"):
        backtest.backtest(small(), ["nothing"], with_local_disks=True)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_ends_a_back_test_and_its_processes(tmp_path: Path, jobs: str) -> None:
    words = ["backtest", "--synthetic", "--policies", "cpsat,cpsat-robust", "--resource", "cpu", "--jobs", jobs]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={"PYTHONPATH": str(Path(__file__).parents[1]), "HOME": str(tmp_path)},
    )  # fmt: skip
    time.sleep(8)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (Exit.INTERRUPTED, "proxlb-plan: interrupted\n")
    for _ in range(100):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("somebody of its group is left")
