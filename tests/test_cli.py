"""Claims about the command line: what is printed where, with which exit code, and one line for every mistake."""

import importlib.machinery
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import planner
import planner.__main__
import planner.progress
import solvers
from planner import report
from planner.choices import SolverName
from planner.plan import PlanStatus
from planner.policy import Policy
from tests.commandline import Cli, alone, calling, guest_row, interrupted, node_row, write_config, write_snapshot
from tests.fakecluster import TOKEN_SECRET, FakeCluster, Served, serving, small_cluster

REPO = Path(__file__).parent.parent
SOLVERS = tuple(SolverName)


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(small_cluster(), tmp_path) as server:
        yield server


@pytest.fixture
def lopsided(tmp_path: Path) -> Path:
    """A snapshot of three nodes of which one holds everything."""
    guests = [guest_row(vmid, "pve1") for vmid in range(100, 108)]
    return write_snapshot(tmp_path / "s.json", node_row("pve1", used=34), node_row("pve2"), node_row("pve3"), *guests)


def started(*words: str, directory: Path, **more: Any) -> "subprocess.Popen[str]":
    environ = os.environ | {"PYTHONPATH": str(REPO)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *words], cwd=directory, env=environ, **(pipes | more))


def finished(*words: str, directory: Path) -> tuple[int, str, str]:
    with started(*words, directory=directory) as process:
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


# ------------------------------------------------------------------------- plan


def test_bare_options_mean_plan_and_a_bare_demo_is_small(cli: Cli) -> None:
    outcomes = [cli("--solver", "greedy", "--demo"), cli("plan", "--demo", "small", "--solver", "greedy")]
    assert [outcome.code for outcome in outcomes] == [0, 0]
    first, second = ([line for line in o.out.splitlines() if "migrations, " not in line] for o in outcomes)
    assert first == second
    assert "pve5" in outcomes[0].out and "pve6" not in outcomes[0].out


@pytest.mark.parametrize("words", [("--demo", "medium"), ("--demo=medium",)])
def test_a_demo_may_have_a_size(cli: Cli, words: tuple[str, ...]) -> None:
    outcome = cli(*words, "--solver", "greedy", "--output", "json")
    assert len(json.loads(outcome.out)["nodes"]) == 16


def test_a_table_shows_loads_migrations_and_verdict(cli: Cli, lopsided: Path) -> None:
    outcome = cli("plan", "--snapshot", lopsided, "--solver", "greedy")
    assert outcome.code == 0
    assert "pve1  53.1 %" in outcome.out
    assert "balance: from pve1 to pve2" in outcome.out
    assert "greedy: feasible" in outcome.out and "bound" in outcome.out


@pytest.mark.parametrize(
    ("gap", "words"), [(0.02, "not proven to be the best"), (0.01, "at most 0.01 points from the smallest")]
)
def test_a_gap_too_small_to_search_on_is_called_so(gap: float, words: str) -> None:
    plan = planner.demo().plan(solver="greedy", max_migrations=3)
    near = replace(plan, status=PlanStatus.FEASIBLE, spread=replace(plan.spread, bound=plan.spread.after - 0.99 * gap))
    assert words in report.verdict(near).splitlines()[0]


def test_a_name_with_brackets_is_shown_as_it_is(cli: Cli, tmp_path: Path) -> None:
    rows = [node_row("a", used=50), node_row("b", used=2), guest_row(100, "a", 20, name="[red]web[/red]")]
    shown = cli("--snapshot", write_snapshot(tmp_path / "c.json", *rows, guest_row(101, "a", 20)), "--solver", "greedy")
    assert "[red]web[/red]" in shown.out


def test_json_is_all_that_is_on_stdout(cli: Cli, served: Served, tmp_path: Path) -> None:
    served.pve.ha_rules = [{"type": "node-affinity", "resources": "vm:100", "nodes": "pve1"}]
    served.pve.nodes["pve3"]["online"] = False
    config = write_config(tmp_path / "c.yaml", served)
    outcome = cli("--config", config, "--solver", "greedy", "--output", "json")
    assert json.loads(outcome.out)["format"] == "proxlb-plan/2"
    assert "note: node pve3 is offline" in outcome.err


def test_commands_can_be_pasted_into_a_shell(cli: Cli, lopsided: Path) -> None:
    lines = cli("--snapshot", lopsided, "--solver", "greedy", "--output", "commands").out.splitlines()
    assert lines[0].startswith("# One after the other, each when the guest of the line before has arrived")
    told = [line for line in lines if not line.startswith("#")]
    assert told
    assert all(line.startswith("pvesh create /nodes/pve1/qemu/10") and line.endswith("--online 1") for line in told)


def test_where_nothing_is_planned_there_are_no_commands(cli: Cli, lopsided: Path) -> None:
    assert cli("--snapshot", lopsided, "--solver", "greedy", "--balanciness", 80, "--output", "commands").out == ""


def test_a_shell_runs_the_commands_and_nothing_else(cli: Cli, lopsided: Path, tmp_path: Path) -> None:
    words = ("--snapshot", lopsided, "--solver", "greedy", "--output", "commands")
    script = 'pvesh() { echo "pvesh $*"; }\n' + cli(*words).out
    ran = subprocess.run(["sh", "-eu"], input=script, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == [line for line in script.splitlines()[1:] if not line.startswith("#")]


def test_out_writes_the_plan_that_is_shown(cli: Cli, lopsided: Path, tmp_path: Path) -> None:
    outcome = cli("--snapshot", lopsided, "--solver", "greedy", "--output", "json", "--out", tmp_path / "p.json")
    assert json.loads((tmp_path / "p.json").read_text()) == json.loads(outcome.out)


def test_changes_are_an_exit_code_when_asked_for(cli: Cli, lopsided: Path) -> None:
    words = ("--snapshot", lopsided, "--solver", "greedy")
    assert cli(*words).code == 0
    assert cli(*words, "--detailed-exitcode").code == 2
    assert cli(*words, "--detailed-exitcode", "--balanciness", 80).code == 0


@pytest.mark.parametrize("solver", SOLVERS)
def test_within_balanciness_every_solver_leaves_all_in_place(cli: Cli, lopsided: Path, solver: str) -> None:
    plan = json.loads(cli("--snapshot", lopsided, "--solver", solver, "--balanciness", 80, "--output", "json").out)
    assert (plan["status"], plan["waves"]) == ("no_action", [])


def test_a_guest_that_cannot_leave_maintenance_makes_it_infeasible(cli: Cli, tmp_path: Path) -> None:
    file = write_snapshot(
        tmp_path / "m.json", node_row("pve1", used=42), node_row("pve2", gib=16), guest_row(100, "pve1", 40)
    )
    outcome = cli("--snapshot", file, "--maintenance-nodes", "pve1", "--time-limit", 5)
    assert outcome.code == 3
    assert "infeasible" in outcome.out and "100" in outcome.out


def test_options_reach_the_plan(cli: Cli, lopsided: Path) -> None:
    words = ("--snapshot", lopsided, "--solver", "greedy", "--output", "json")
    assert len(json.loads(cli(*words, "--max-migrations", 1).out)["waves"]) == 1
    assert json.loads(cli(*words, "--resource", "cpu", "--mode", "assigned").out)["resources"] == ["cpu"]
    assert json.loads(cli(*words, "--guests", "ct").out)["waves"] == []
    targets = {m["target"] for wave in json.loads(cli(*words, "--ignore-nodes", "pve2").out)["waves"] for m in wave}
    assert targets == {"pve3"}
    held = json.loads(cli(*words, "--reserve", "pve2:memory=60", "--reserve", "pve3:memory=60").out)
    assert {m["target"] for wave in held["waves"] for m in wave} == set()


# ---------------------------------------------------------------------- compare


def test_every_solver_of_the_registry_is_offered_and_the_copy_of_proxlb() -> None:
    assert {*SOLVERS} == {*solvers.SOLVERS, "proxlb"}


def test_compare_has_one_row_per_solver(cli: Cli, lopsided: Path) -> None:
    outcome = cli("compare", "--snapshot", lopsided, "--time-limit", 2)
    assert outcome.code == 0
    assert [line.split()[0] for line in outcome.out.splitlines()] == ["solver", *SOLVERS]


def test_compare_in_json_has_null_where_nothing_is_claimed(cli: Cli, lopsided: Path) -> None:
    outcome = cli("compare", "--snapshot", lopsided, "--solver", "proxlb, greedy", "--output", "json")
    rows = json.loads(outcome.out, parse_constant=lambda name: pytest.fail(name))
    assert [row["solver"] for row in rows] == ["proxlb", "greedy"]
    assert rows[1]["after"] < rows[1]["before"]


def test_nan_never_reaches_the_json_of_compare(cli: Cli, lopsided: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import planner.compare

    real = planner.compare.compare
    monkeypatch.setattr(planner.compare, "compare", lambda *args: real(*args).assign(bound=float("nan")))
    outcome = cli("compare", "--snapshot", lopsided, "--solver", "greedy", "--output", "json")
    assert json.loads(outcome.out)[0]["bound"] is None and "NaN" not in outcome.out


# --------------------------------------------------------------------- snapshot


def test_a_snapshot_gives_the_plan_that_the_cluster_gives(cli: Cli, served: Served, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", served)
    assert cli("snapshot", "--config", config, "-o", tmp_path / "a.json.gz").code == 0
    plans = [
        json.loads(cli(*words, "--solver", "greedy", "--output", "json").out)
        for words in (("--config", config), ("--snapshot", tmp_path / "a.json.gz"))
    ]
    assert plans[0]["waves"] == plans[1]["waves"] != []
    assert plans[0]["assumes"] == plans[1]["assumes"]


def test_secrets_are_nowhere(cli: Cli, served: Served, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", served)
    words = ("--config", config, "--solver", "greedy")
    assert cli("snapshot", "--config", config, "-o", tmp_path / "a.json").code == 0
    assert cli("plan", *words, "--out", tmp_path / "p.json").code == 0  # calling() looks at what is printed
    served.pve.apitokens.clear()
    assert "refused" in cli("plan", *words).complaint
    assert cli("plan", "--config", write_config(tmp_path / "d.yaml", served, tokn="x")).code == 78
    assert not any(TOKEN_SECRET in (tmp_path / name).read_text() for name in ("a.json", "p.json"))


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("--demo --snapshoot x", 64, "--snapshoot"),
        ("explode", 64, "explode"),
        ("plan now --demo", 64, "now"),
        ("--demo --solver simplex", 64, "simplex"),
        ("compare --demo --solver greedy,simplex", 64, "no solver simplex"),
        ("compare --demo --solver ,", 64, "choose from"),
        ("--demo --output xml", 64, "xml"),
        ("--demo huge", 64, "huge"),
        ("--demo=huge", 64, "choose small, medium, large"),
        ("--demo --balanciness", 64, "--balanciness"),
        ("--demo --balanciness much", 64, "--balanciness"),
        ("--demo --max-migrations 1.5", 64, "--max-migrations"),
        ("--demo --reserve memory", 64, "memory=8"),
        ("--demo --snapshot s.json", 64, "exclude each other"),
        ("apply --snapshot s.json --yes", 64, "cannot be changed"),
        ("apply --demo", 64, "--yes"),
        ("snapshot --demo", 64, "--out"),
        ("--demo --balanciness nan", 78, "balanciness"),
        ("--demo --balanciness -1", 78, "less than 0"),
        ("--demo --balanciness 101", 78, "more than 100"),
        ("--demo --max-migrations -3", 78, "less than 0"),
        ("--demo --time-limit 0", 78, "not more than 0"),
        ("--demo --time-limit inf", 78, "not a finite number"),
        ("--demo --seed -1", 78, "less than 0"),
        ("--demo --reserve pony=8", 78, "pony"),
        ("--demo --reserve pve9:memory=8", 78, "pve9, which does not exist"),
        ("--demo --maintenance-nodes pve9", 78, "pve9, which does not exist"),
        ("--config none.yaml --demo", 78, "none.yaml cannot be read"),
        ("--config . --demo", 78, "directory"),
        ("--config broken.yaml --demo", 78, "broken.yaml is not YAML"),
        ("--config odd.yaml --demo", 78, "did you mean balanciness?"),
        ("plan", 78, "--demo"),
        ("snapshot -o x.json", 78, "--demo"),
        ("--snapshot none.json", 1, "cannot read snapshot none.json"),
        ("--snapshot .", 1, "directory"),
        ("--snapshot cut.json", 1, "is not JSON"),
        ("--snapshot cut.json.gz", 1, "cut off"),
        ("--snapshot list.json", 1, "holds list, not an object"),
        ("--snapshot foreign.json", 1, "is not a snapshot"),
        ("--snapshot nan.json", 1, "NaN is no number"),
        ("--snapshot empty.json", 1, "shows no node"),
        ("--snapshot double.json", 1, "guest 100 is listed twice"),
        ("apply none.json --demo --yes", 1, "cannot read plan none.json"),
        ("apply . --demo --yes", 1, "directory"),
        ("apply s.json --demo --yes", 1, "is not a plan"),
        ("apply damaged.json --demo --yes", 1, "damaged at"),
        ("--demo --solver greedy --out no/where.json", 1, "cannot write"),
        ("--demo --solver greedy --out .", 1, "cannot write"),
        ("snapshot --demo --out no/where.json", 1, "cannot write"),
    ],
)
def test_every_mistake_gets_one_line(
    cli: Cli, lopsided: Path, tmp_path: Path, words: str, code: int, message: str
) -> None:
    (tmp_path / "broken.yaml").write_text("api: [unclosed")
    (tmp_path / "odd.yaml").write_text("policy: {balancines: 3}")
    (tmp_path / "cut.json").write_bytes(lopsided.read_bytes()[:300])
    (tmp_path / "cut.json.gz").write_bytes(b"\x1f\x8b\x08\x00\x00\x00\x00\x00")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "foreign.json").write_text('{"name": "package"}')
    (tmp_path / "nan.json").write_text('{"format": NaN}')
    (tmp_path / "damaged.json").write_text('{"format": "proxlb-plan/2", "solver": 3}')
    write_snapshot(tmp_path / "empty.json")
    write_snapshot(tmp_path / "double.json", node_row("pve1"), guest_row(100, "pve1"), guest_row(100, "pve1"))
    outcome = cli(*words.split())
    assert message in outcome.complaint
    assert outcome.code == code
    assert outcome.out == ""


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [(401, 77, "refused"), (403, 77, "may not GET /cluster/resources"), (595, 69, "595"), (500, 1, "no luck")],
)
def test_an_api_that_says_no_is_told_in_one_line(
    cli: Cli, served: Served, tmp_path: Path, status: int, code: int, message: str
) -> None:
    served.pve.fail("GET", "/cluster/resources", status, "no luck")
    outcome = cli("--config", write_config(tmp_path / "c.yaml", served), "--solver", "greedy")
    assert (outcome.code, outcome.out) == (code, "")
    assert message in outcome.complaint


def test_a_web_page_is_not_the_api(cli: Cli, served: Served, tmp_path: Path) -> None:
    served.pve.fail("GET", "/cluster/resources", 200, "<html>Sign in</html>", html=True)
    outcome = cli("--config", write_config(tmp_path / "c.yaml", served))
    assert outcome.code == 69
    assert "web page" in outcome.complaint


def test_nobody_at_home_is_unreachable(cli: Cli, served: Served, tmp_path: Path) -> None:
    served.kill()
    outcome = cli("--config", write_config(tmp_path / "c.yaml", served))
    assert outcome.code == 69
    assert "connection refused" in outcome.complaint


def test_a_certificate_that_nobody_knows_is_told(cli: Cli, served: Served, tmp_path: Path) -> None:
    outcome = cli("--config", write_config(tmp_path / "c.yaml", served, ca_file=None))
    assert outcome.code == 69
    assert "api.fingerprint" in outcome.complaint


def test_a_token_that_sees_too_little_is_forbidden(cli: Cli, tmp_path: Path) -> None:
    cluster: FakeCluster = small_cluster()
    cluster.apitokens["blind@pve!t"] = "11111111-2222-4333-8444-555555555555"
    cluster.grant("blind@pve", "/vms", "VM.Audit")
    with serving(cluster, tmp_path) as server:
        secret = cluster.apitokens["blind@pve!t"]
        outcome = cli(
            "--config", write_config(tmp_path / "c.yaml", server, token_id="blind@pve!t", token_secret=secret)
        )
    assert outcome.code == 77
    assert "Sys.Audit" in outcome.complaint and secret not in outcome.err


# ------------------------------------------------------------------ the process


def test_help_imports_nothing_heavy_and_names_every_default(tmp_path: Path) -> None:
    program = """
import sys
from planner.cli import main
try:
    main(sys.argv[1:])
finally:
    heavy = {"pandas", "numpy", "ortools", "requests", "proxmoxer", "yaml"} & set(sys.modules)
    print("heavy:", sorted(heavy), file=sys.stderr)
"""
    for words in (["--help"], ["-h"], ["plan", "--help"]):
        code, out, err = finished("-c", program, *words, directory=tmp_path)
        assert (code, err.strip()) == (0, "heavy: []")
    text = " ".join(out.replace("│", " ").split())
    shown = ("balanciness", "time_limit", "seed", "resource", "mode", "guests", "fit", "free", "combine", "cheapest")
    for name in shown:
        value = getattr(Policy(), name)
        value = ",".join(value) if isinstance(value, tuple) else value
        assert f"--{name.replace('_', '-')} " in text
        assert f"[default: {value:g}]" if isinstance(value, float) else f"[default: {value}]" in text
    assert text.count("--") - 1 <= text.count("[default: ") + 2  # --help has none


COMMANDS = "plan drain compare explain apply resume abort status history rollback snapshot doctor version"


@pytest.mark.parametrize("command", COMMANDS.split())
def test_every_command_has_help(cli: Cli, command: str) -> None:
    outcome = cli(command, "--help")
    assert outcome.code == 0
    assert f"proxlb-plan {command}" in outcome.out


def test_version_is_the_version(cli: Cli) -> None:
    import planner

    assert cli("version").out == f"{planner.__version__}\n"


def test_it_runs_as_a_module(tmp_path: Path) -> None:
    code, out, err = finished("-m", "planner", "--demo", "--solver", "greedy", directory=tmp_path)
    assert (code, err) == (0, "")
    assert "greedy: feasible" in out


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_closed_pipe_is_quiet(tmp_path: Path, output: str) -> None:
    words = ("-m", "planner", "--demo", "medium", "--solver", "greedy", "--output", output)
    with started(*words, directory=tmp_path) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


def test_an_ascii_terminal_is_no_problem(tmp_path: Path) -> None:
    program = "import sys; sys.stdout.reconfigure(encoding='ascii'); from planner.cli import main; main(sys.argv[1:])"
    code, out, err = finished("-c", program, "--demo", "--solver", "greedy", directory=tmp_path)
    assert (code, err) == (0, "")
    assert "migrations" in out


WITHOUT_ORTOOLS = "import sys; sys.modules['ortools'] = None; from planner.cli import main; main(sys.argv[1:])"


@pytest.mark.parametrize("solver", ["greedy", "descent", "proxlb"])
def test_the_simple_solvers_need_no_ortools(tmp_path: Path, solver: str) -> None:
    code, out, err = finished("-c", WITHOUT_ORTOOLS, "--demo", "--solver", solver, directory=tmp_path)
    assert (code, err) == (0, "")
    assert f"{solver}: " in out


def test_without_ortools_cpsat_says_how_to_install_it(tmp_path: Path) -> None:
    code, out, err = finished("-c", WITHOUT_ORTOOLS, "--demo", "--solver", "cpsat", directory=tmp_path)
    assert (code, out) == (1, "")
    assert err.startswith("proxlb-plan: ") and "pip install" in err and err.count("\n") == 1


def test_ctrl_c_while_modules_are_loaded_is_one_line(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def anywhere(*_: object) -> None:
        raise KeyboardInterrupt

    def in_c(*_: object) -> None:
        raise ImportError("initialization failed") from KeyboardInterrupt()

    monkeypatch.setattr(planner.progress, "plan", in_c)
    assert (cli("--demo").code, cli("--demo").err) == (130, "proxlb-plan: interrupted\n")
    monkeypatch.delitem(sys.modules, "planner.cli")
    monkeypatch.setattr(importlib.machinery.PathFinder, "find_spec", anywhere)
    with pytest.raises(SystemExit) as end:
        planner.__main__.main()
    assert (end.value.code, capsys.readouterr().err) == (130, "proxlb-plan: interrupted\n")


def test_ctrl_c_ends_a_search_at_once(tmp_path: Path) -> None:
    outcome = interrupted("--demo", "--solver", "cpsat", "--time-limit", "60", directory=tmp_path)
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "proxlb-plan: interrupted\n")
