"""Claims about sweeps: the same frame whoever plans and whatever happens, and no scenario ends the others."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml

from planner import crew, load, planning, reachable, report_sweep, results, scenarios, snapshot
from planner import sweeping as sweeps
from planner.config import chosen
from planner.errors import ConfigError, InputError, Locked, MissingDependency, PlannerError, Unreachable, UsageError
from planner.planning import make_plan, prepare
from planner.report import console
from planner.results import COLUMNS, Row
from planner.schedule import Reach
from planner.sweeping import sweep
from solvers import Budget, Result, frontier
from tests.commandline import INTERRUPTIBLE, Cli, alone, calling, guest_row, node_row, write_snapshot
from tests.draw_full import jammed

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "sweep.md").read_text()
JAM = 71


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


def uneven(path: Path, guests: int = 9) -> Path:
    """One full node of three, with a rule that is broken."""
    sizes = [1 + 7 * number % 11 for number in range(guests)]
    rows = [guest_row(101 + i, "pve1", size, tags="plb_anti_affinity_x" * (i < 2)) for i, size in enumerate(sizes)]
    return write_snapshot(path, node_row("pve1", 96, sum(sizes) + 2), node_row("pve2"), node_row("pve3", 128), *rows)


def written(folder: Path, **document: Any) -> Path:
    """A file of scenarios."""
    path = folder / "scenarios.yaml"
    path.write_text(yaml.safe_dump({"snapshots": [uneven(folder / "uneven.json").name], **document}, sort_keys=False))
    return path


def small(folder: Path, jam: int = JAM, solvers: tuple[str, ...] = ("descent", "cpsat")) -> Path:
    """A few scenarios that take much of what planning consists of: repair, headroom, conflicts."""
    snapshot.save(jammed(jam).snapshot(), folder / "jam.json.gz")
    limits = {"max_migrations": 4, "survive": 1, "resource": ["memory", "cpu"]}
    policies = {"limits": limits, "clash": {"maintenance_nodes": ["pve1", "pve2"], "max_migrations": 2}}
    return written(folder, snapshots=["uneven.json", "jam.json.gz"], policies=policies, solvers=[*solvers], work=0.3)


def fifty(folder: Path) -> Path:
    """50 scenarios: 5 clusters x 5 policies and what-ifs x 2 solvers."""
    for guests in (9, 14, 20):
        uneven(folder / f"more-{guests}.json", guests)
    snapshot.save(jammed(JAM).snapshot(), folder / "jam.json.gz")
    whatif = {
        "as it is": [],
        "fails": [{"fail": {"nodes": "pve1", "restart": "all"}}],
        "grows": [{"grow": {"select": "*", "memory": 1.2}}, {"add_node": "pve2"}],
        "less": [{"without_rule": "*"}, {"pin": {"select": "101", "nodes": ["pve2", "pve3"]}}],
        "wrong": [{"drain": "pve9"}],
    }
    found = ["more-*.json", "jam.json.gz", "demo:small"]
    return written(folder, snapshots=found, whatif=whatif, solvers=["greedy", "cpsat"], work=0.5)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """All but the times that solvers took are the same, to the last digit."""
    pd.testing.assert_frame_equal(one.drop(columns="seconds"), other.drop(columns="seconds"), check_exact=True)


class Backwards(Executor):
    """Does all that it is given at once, the last first."""

    def __init__(self) -> None:
        self.given: list[tuple[Future[Any], Callable[..., Any], Any]] = []

    def submit(self, task: Any, /, *args: Any, **more: Any) -> Future[Any]:
        self.given.append((Future(), task, args))
        return self.given[-1][0]

    def go(self) -> None:
        for future, task, args in reversed(self.given):
            if future.set_running_or_notify_cancel():
                future.set_result(task(*args))
        self.given = []


@pytest.fixture
def backwards(monkeypatch: pytest.MonkeyPatch) -> Backwards:
    executor = Backwards()

    def completed(futures: dict[Future[Any], Any]) -> Iterator[Future[Any]]:
        inner = reversed(list(futures))
        executor.go()
        yield from inner

    monkeypatch.setattr(sweeps, "as_completed", completed)
    return executor


def here(path: Path, **more: Any) -> pd.DataFrame:
    with ThreadPoolExecutor(1) as pool:
        return sweep(path, pool, **more)


# --- the same frame -------------------------------------------------------------------------------------


def test_processes_and_a_dask_cluster_give_the_frame_that_this_process_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small(tmp_path)
    expected = here(path)
    assert len(expected) == 8 and {"infeasible", "feasible"} <= set(expected["status"]) and not any(expected["error"])
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    same(sweep(path, jobs=2), expected)
    with crew.dask(None, 1) as pool:
        same(sweep(path, pool), expected)
        client = pool._client  # type: ignore[attr-defined]
        with crew.dask(client.scheduler.address) as other:
            same(sweep(path, other), expected)
        client.run(exec, "import sys; sys.modules['planner.sweeping'] = None")
        with pytest.raises(PlannerError, match=r"cannot import planner \(ModuleNotFoundError: .*install this version"):
            crew.dask(client.scheduler.address).__enter__()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_scenarios_give_the_same_frame_in_processes_and_on_a_dask_cluster(tmp_path: Path) -> None:
    path = fifty(tmp_path)
    began = time.monotonic()
    frame = sweep(path, jobs=2)
    print(f"50 scenarios in 2 processes: {time.monotonic() - began:.1f} s")
    failed = frame[frame["status"] == results.FAILED]
    assert len(frame) == 50 and set(failed["whatif"]) == {"wrong", "less"} and len(failed) == 12
    began = time.monotonic()
    with crew.dask(None, 2) as pool:
        same(sweep(path, pool), frame)
    print(f"on a Dask cluster of 2 workers: {time.monotonic() - began:.1f} s")
    same(here(path), frame)


def test_the_order_in_which_plans_are_ready_does_not_show(tmp_path: Path, backwards: Backwards) -> None:
    path = written(tmp_path, policies={"a": {}, "b": {"max_migrations": 1}}, solvers=["greedy", "descent", "proxlb"])
    ready: list[str] = []
    frame = sweep(path, backwards, told=lambda row, count, total: ready.append(f"{row.policy} {row.solver}"))
    order = [f"{policy} {solver}" for policy in "ab" for solver in ("greedy", "descent", "proxlb")]
    assert ready == order[::-1] and [f"{row.policy} {row.solver}" for row in frame.itertuples()] == order
    assert [column.name for column in COLUMNS] == list(frame.columns) == [item.name for item in fields(Row)]
    assert [column.dtype for column in COLUMNS] == [str(dtype) for dtype in frame.dtypes]


def test_a_machine_that_is_ten_times_as_slow_gives_the_same_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[Reach] = []

    def best_reachable(*given: Any) -> tuple[Result, Reach]:
        result, reach = reachable.best_reachable(*given)
        searched.append(reach)
        return result, reach

    path, clock = small(tmp_path, jam=81, solvers=("descent",)), time.monotonic
    monkeypatch.setattr(planning, "reachable", SimpleNamespace(best_reachable=best_reachable))
    quick = here(path)
    monkeypatch.setattr(time, "monotonic", lambda: 10 * clock())
    sweeps._case.cache_clear()
    same(here(path), quick)
    assert len(searched) == 2, "guests block each other in one of the scenarios"


def test_a_bound_is_given_the_time_that_it_takes_where_work_is_what_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    monkeypatch.setattr(frontier, "relaxed_bound", lambda problem, seconds: given.append(seconds) or 0)
    here(written(tmp_path, solvers=["greedy"], work=1))
    here(written(tmp_path, solvers=["greedy"], time_limit=4))
    assert given == [sweeps.ROOM, 0.8]


def test_rows_say_what_a_person_gets_who_plans_one_by_one(tmp_path: Path) -> None:
    steps = [
        {"grow": {"select": "101", "memory": 2}},
        {"resize": {"of": "pve2", "memory": 100, "cores": 8}},
        {"add_node": "pve2"},
    ]
    whatif = {
        "as it is": [],
        "other": steps,
        "gone": [{"remove_node": "pve2"}, {"add_guest": {"memory": 4, "cores": 2}}],
    }
    path = written(
        tmp_path, whatif=whatif, policies={"few": {"max_migrations": 3, "seed": 4}}, solvers=["cpsat"], work=1
    )
    today = load(tmp_path / "uneven.json", max_migrations=3, seed=4)
    clusters = [today, today.grow("101", memory=2).resize("pve2", memory=100, cores=8).add_node(like="pve2"),
                today.remove_node("pve2").add_guest(memory=4, cores=2)]  # fmt: skip
    config = chosen({"max_migrations": 3, "seed": 4, "time_limit": 600})
    for row, cluster in zip(here(path).itertuples(), clusters, strict=True):
        case = prepare(cluster, config.policy, config.cluster, config.apply)
        plan = make_plan(case, "cpsat", Budget(seconds=600, seed=4, workers=1, work=1))
        assert (row.status, row.before, row.after) == (plan.status, plan.spread.before, plan.spread.after)
        assert (row.bound, row.migrations) == (plan.spread.bound, len(plan.migrations))
        assert row.violations_before == len(plan.violations_before) > row.violations_after


# --- nothing is lost ------------------------------------------------------------------------------------


@contextmanager
def started(folder: Path, *words: object) -> Iterator[subprocess.Popen[str]]:
    """The command in a process group of its own."""
    command = [sys.executable, "-c", INTERRUPTIBLE, "sweep", *map(str, words)]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.02)


def alive(group: int) -> list[str]:
    """Processes of a group that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, owner = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has ended meanwhile
            continue
        if int(owner) == group and state != "Z":
            found.append(f"{stat} {state}")
    return found


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_sweep_that_was_killed_goes_on_and_gives_the_frame_that_it_would_have_given(tmp_path: Path) -> None:
    policies = {f"p{number}": {"max_migrations": number} for number in range(8)}
    path, out = written(tmp_path, policies=policies, solvers=["cpsat"], work=0.3), tmp_path / "out.csv"
    with started(tmp_path, path, "--out", out, "--jobs", 1) as process:
        wait_for(lambda: len(lines(out)) >= 3)
        process.kill()
        process.wait()
        wait_for(lambda: not alive(process.pid))
    kept = lines(out)
    with out.open("ab") as file:
        file.write(kept[-1][:40])  # the machine had begun to write one more
    told: list[Row] = []
    frame = here(path, out=out, told=lambda row, count, total: told.append(row))
    assert len(told) == 8 - len(kept[1:]) and set(kept) <= set(lines(out)), "what is there is not planned again"
    same(frame, here(path))
    pd.testing.assert_frame_equal(frame, here(path, out=out))
    read = pd.read_csv(out, keep_default_na=False, na_values={"bound": ""})
    assert list(read["id"]) == list(frame["id"]) and list(read["after"]) == list(frame["after"])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_ctrl_c_keeps_what_is_done_and_leaves_no_process_behind(tmp_path: Path) -> None:
    path, out = written(tmp_path, snapshots=["uneven.json", "demo:large"], work=500), tmp_path / "out.jsonl"
    with started(tmp_path, path, "--out", out, "--jobs", 2) as process:
        wait_for(lambda: len(lines(out)) >= 1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        shown, said = process.communicate(timeout=60)
        assert (process.returncode, shown, said) == (130, "", "proxlb-plan: interrupted\n")
        wait_for(lambda: not alive(process.pid))
    [row] = map(json.loads, lines(out))
    assert (row["snapshot"], row["error"]) == ("uneven.json", "")


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_wherever_a_write_was_torn_the_rest_is_kept(name: str, tmp_path: Path) -> None:
    path, out = written(tmp_path, solvers=["greedy", "proxlb"]), tmp_path / name
    frame = here(path, out=out)
    content = out.read_bytes()
    for cut in range(0, len(content), 7):
        out.write_bytes(content[:cut])
        with results.kept(out) as book:
            whole = [row.id for row in frame.itertuples() if row.id in book.rows]
        assert len(whole) == max(0, content[:cut].count(b"\n") - (out.suffix == ".csv"))
        assert out.read_bytes() == content[: content[:cut].rfind(b"\n") + 1] or not whole
        if cut % 210 == 0:
            same(here(path, out=out), frame)
            assert len(lines(out)) == content.count(b"\n")


def test_what_had_failed_is_tried_again_and_rows_of_others_stay(tmp_path: Path) -> None:
    out, bad = tmp_path / "out.jsonl", {"bad": {"maintenance_nodes": "pve9"}}
    first = here(written(tmp_path, policies={"good": {}, **bad}, solvers=["greedy"]), out=out)
    assert list(first["status"]) == ["feasible", "failed"]
    told: list[str] = []
    more = written(tmp_path, policies={**bad, "other": {"max_migrations": 1}}, solvers=["greedy"])
    second = here(more, out=out, told=lambda row, count, total: told.append(f"{row.policy} {count}/{total}"))
    assert told == ["bad 1/2", "other 2/2"] and list(second["policy"]) == ["bad", "other"]
    assert [json.loads(line)["policy"] for line in lines(out)] == ["bad", "other", "good"]


def test_a_row_is_planned_again_when_anything_of_its_scenario_has_changed(tmp_path: Path) -> None:
    def ids(**document: Any) -> set[str]:
        found = scenarios.read(written(tmp_path, **document)).scenarios()
        assert len({item.id for item in found}) == len(found)
        return {item.id for item in found}

    base = {"solvers": ["greedy"], "policies": {"p": {"seed": 1}}, "whatif": {"w": [{"drain": "pve1"}]}, "work": 1}
    seen = ids(**base)
    assert ids(**base) == seen
    changes: list[dict[str, Any]] = [
        {"solvers": ["descent"]}, {"policies": {"p": {"seed": 2}}}, {"work": 2}, {"time_limit": 1, "work": None},
        {"whatif": {"w": [{"drain": "pve2"}]}}, {"whatif": {"v": [{"drain": "pve1"}]}},
    ]  # fmt: skip
    for change in changes:
        assert not ids(**{key: value for key, value in (base | change).items() if value is not None}) & seen
    path = written(tmp_path, **base)
    uneven(tmp_path / "uneven.json", guests=8)
    assert scenarios.read(path).scenarios()[0].id not in seen


# --- a scenario that fails ------------------------------------------------------------------------------


def test_what_cannot_be_planned_is_a_row_that_says_why(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "broken.json").write_text("{")
    policies = {"p": {}, "bad": {"ignore_nodes": "pve9"}}
    path = written(tmp_path, snapshots=["uneven.json", "broken.json"], policies=policies,
                   whatif={"now": [], "bad": [{"fail": "pve7"}]}, solvers=["greedy"])  # fmt: skip
    done = cli("sweep", path, "--jobs", "1", "--output", "json")
    assert (
        done.code == 1 and done.complaint == "proxlb-plan: 7 of 8 scenarios could not be planned: see the column error"
    )
    rows = json.loads(done.out)
    assert [row["status"] for row in rows] == ["feasible", *["failed"] * 7]
    assert rows[0]["error"] == "" and rows[0]["gap"] == pytest.approx(rows[0]["after"] - rows[0]["bound"], abs=1e-4)
    assert "ignore_nodes names node pve9" in rows[1]["error"] and "pve7" in rows[2]["error"]
    assert "broken.json is not JSON" in rows[4]["error"] and rows[4]["after"] is None and rows[4]["migrations"] is None
    assert all("\n" not in row["error"] and "internal" not in row["error"] for row in rows)


def test_a_snapshot_that_changes_meanwhile_and_a_worker_of_another_version_are_said(
    tmp_path: Path, backwards: Backwards, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = scenarios.read(written(tmp_path)).scenarios()[0]
    assert "the sweep 0.0: install the same" in sweeps.planned(replace(item, version="0.0")).error
    uneven(tmp_path / "uneven.json", guests=5)
    assert sweeps.planned(item).error.endswith("another one than when the sweep began: run it again")
    monkeypatch.setattr(sweeps, "make_plan", lambda *_: 1 / 0)
    uneven(tmp_path / "uneven.json")
    error = sweeps.planned(item).error
    assert error == "internal error: ZeroDivisionError: division by zero; please report it"


class Failing(Executor):
    """Loses everything."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def submit(self, task: Any, /, *args: Any, **more: Any) -> Future[Any]:
        future = Future[Any]()
        future.set_exception(self.error)
        return future


def test_lost_workers_are_said_in_one_line(tmp_path: Path) -> None:
    path = written(tmp_path)
    [row] = sweep(path, Failing(RuntimeError("no\nmemory"))).itertuples()
    assert (row.status, row.error) == ("failed", "lost: RuntimeError: no memory")
    with pytest.raises(PlannerError, match="a process of the sweep died"):
        sweep(path, Failing(BrokenExecutor("x")))


def test_a_process_reads_a_snapshot_once_for_all_its_scenarios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    taken = scenarios.taken
    monkeypatch.setattr(scenarios, "taken", lambda *words: read.append(words[0]) or taken(*words))
    policies = {"a": {}, "b": {"seed": 1}, "c": {"seed": 2}}
    frame = here(written(tmp_path, policies=policies, whatif={"x": [{"drain": "pve1"}], "y": []}, solvers=["greedy"]))
    assert len(frame) == 6 and not any(frame["error"]) and len(read) == 1


# --- files, words and addresses that make no sense --------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"snapshots": []}, "snapshots in FILE: the value is empty: name at least 1"),
        ({"snapshots": "gone.json"}, "snapshots: there is no file"),
        ({"snapshots": "gone/*.json"}, "snapshots: there is no file"),
        ({"snapshots": "demo:tiny"}, "snapshots in FILE: demo:tiny: there are demo:small, demo:medium, demo:large"),
        ({"snapshot": "x"}, "unknown key snapshot in FILE: did you mean snapshots?"),
        ({"solvers": ["cpsatt"]}, "solvers[0] in FILE: there is no solver cpsatt: did you mean cpsat?"),
        ({"work": 0}, 'work in FILE: "0" is not more than 0'),
        ({"work": 1, "time_limit": 1}, "work and time_limit in FILE are both set"),
        ({"policies": {"p": {"max_migration": 1}}}, "policies.p in FILE: there is no setting max_migration: did you"),
        ({"policies": {"p": {"seed": "x"}}}, 'policy.seed in policies.p of FILE: "x" is not a whole number'),
        ({"policies": {"p": {"time_limit": 1}}}, "policies.p.time_limit in FILE: all have the same: set work"),
        ({"policies": {"p": None}}, "policies.p in FILE is empty"),
        ({"whatif": {"w": {"fail": "pve1"}}}, "whatif.w in FILE: the value is not a list"),
        ({"whatif": {"w": [{"fale": "pve1"}]}}, "unknown key whatif.w[0].fale in FILE: did you mean fail?"),
        ({"whatif": {"w": [{"plan": "cpsat"}]}}, "unknown key whatif.w[0].plan in FILE"),
        ({"whatif": {"w": [{"fail": "a", "drain": "b"}]}}, "whatif.w[0] in FILE is not one step"),
        ({"whatif": {"w": [{"fail": []}]}}, "whatif.w[0].fail.nodes in FILE: the value is empty"),
        ({"whatif": {"w": [{"fail": {"nodes": "a", "restart": "no"}}]}}, 'restart in FILE: "no" is not one of ha or'),
        ({"whatif": {"w": [{"grow": {"select": "*", "memory": ".inf"}}]}}, "whatif.w[0].grow.memory in FILE: "),
        ({"whatif": {"w": [{"pin": {"select": "1", "node": "a"}}]}}, "unknown key whatif.w[0].pin.node in FILE"),
        ({"whatif": {"w": [{"pin": "1"}]}}, "whatif.w[0].pin in FILE is not a mapping of select, nodes"),
    ],
)  # fmt: skip
def test_scenarios_that_make_no_sense_are_refused_in_one_line(
    given: dict[str, Any], says: str, tmp_path: Path, cli: Cli
) -> None:
    path = written(tmp_path, **given)
    done = cli("sweep", path, "--out", tmp_path / "out.csv")
    assert done.code == 78 and says.replace("FILE", str(path)) in done.complaint
    assert not (tmp_path / "out.csv").exists()


def test_files_that_are_none_are_refused_in_one_line(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "list.yaml").write_text("- a")
    (tmp_path / "torn.yaml").write_text("a: [")
    assert "cannot be read: No such file" in cli("sweep", "gone.yaml").complaint
    assert "what is in list.yaml is not a mapping" in cli("sweep", "list.yaml").complaint
    assert "torn.yaml is not YAML that can be used: line 1" in cli("sweep", "torn.yaml").complaint


def test_a_file_of_somebody_else_is_not_written_to(tmp_path: Path) -> None:
    path, out = written(tmp_path, solvers=["greedy"]), tmp_path / "out.csv"
    bad = f"{','.join(results.NAMES)}\n1,2\n"
    others = ("out.csv", "a,b\n1,2\n"), ("out.csv", "a"), ("out.csv", bad), ("out.jsonl", "[1]"), ("out.jsonl", "{}\n")
    for name, content in others:
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=r"name another --out|line \d: not a row of a sweep"):
            here(path, out=tmp_path / name)
        assert (tmp_path / name).read_text() == content
    out.unlink()
    with out.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Locked, match="another sweep writes to"):
            here(path, out=out)
    with pytest.raises(InputError, match="cannot write"):
        here(path, out=tmp_path / "gone" / "out.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="it is not a file"):
        here(path, out=tmp_path / "folder.csv")
    with pytest.raises(UsageError, match=r"has to end in \.csv or \.jsonl"):
        here(path, out=tmp_path / "out.txt")


def test_dask_that_is_not_there_is_said_in_one_line(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path)
    assert "give --executor dask with it" in cli("sweep", path, "--scheduler", "tcp://x:1").complaint
    monkeypatch.setattr(crew, "ANSWER", 0.3)
    with (
        pytest.raises(Unreachable, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9: "),
        crew.dask("tcp://127.0.0.1:9"),
    ):
        pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependency, match="pip install distributed"), crew.dask(None):
        pass


def test_scenarios_may_be_given_without_a_file_and_one_snapshot_counts_once(tmp_path: Path) -> None:
    uneven(tmp_path / "uneven.json")
    given = {"snapshots": [str(tmp_path / "uneven.json"), str(tmp_path / "*.json")], "solvers": "greedy"}
    with ThreadPoolExecutor(2) as pool:
        [row] = sweep(given, pool).itertuples()
    assert (row.whatif, row.policy, row.status) == ("as it is", "defaults", "feasible")
    with pytest.raises(ConfigError, match="what is given is not a mapping"):
        scenarios.parse([], "given")


# --- what the page shows ------------------------------------------------------------------------------


@pytest.mark.parametrize("solvers", [["greedy"], pytest.param(["greedy", "cpsat"], marks=pytest.mark.slow)])
def test_the_table_of_the_page_is_what_its_file_gives(
    solvers: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = yaml.safe_load(PAGE.split("```yaml\n")[1].split("```")[0])
    report_sweep.table(here(written(tmp_path, **given | {"solvers": solvers})), console())
    printed = capsys.readouterr().out.splitlines()
    table = PAGE.split("```text\n")[1].split("```")[0].splitlines()
    shown = [line for line in table if any(solver in line for solver in ("solver", *solvers))]
    assert [line.split()[:-1] for line in shown] == [line.split()[:-1] for line in printed], "but for seconds"
    assert len(shown) == 1 + 6 * len(solvers)
