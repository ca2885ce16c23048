"""What the README shows is so: its commands run, its tree and exit codes are complete."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from planner.errors import Exit
from tests.fakecluster import Served, serving, small_cluster

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
LINES = [line[2:] for block in re.findall(r"```console\n(.*?)```", README, re.S) for line in block.splitlines()]
COMMANDS = [shlex.split(line)[1:] for line in LINES if line.startswith("proxlb-plan")]
DEMO = re.search(r"^demo:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)


def run(args: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "planner", *args], cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        env={"PYTHONPATH": str(ROOT), "HOME": str(folder), "STATE_DIRECTORY": f"{folder}/st", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


def configure(served: Served, folder: Path) -> None:
    connection = served.connection()
    secret = folder / "token"
    secret.touch(mode=0o600)
    secret.write_text(connection.token_secret or "")
    (folder / "proxlb-plan.yaml").write_text(
        f"api:\n  hosts: ['{served.at}']\n  user: {connection.user}\n  token_id: {connection.token_id}\n"
        f"  token_secret_file: {secret}\n  ca_file: {served.ca_file}\n"
        "policy:\n  max_migrations: 20\n  reserve:\n    default: {memory: 4}\n"
    )


def test_every_command_of_the_readme_runs_in_the_order_in_which_it_stands_there(tmp_path: Path) -> None:
    pve = small_cluster()
    pve.time_scale = 0
    with serving(pve, tmp_path) as served:
        configure(served, tmp_path)
        for args in COMMANDS:
            done = run(args, tmp_path)
            assert done.returncode == Exit.OK, f"{args}: {done.stdout}\n{done.stderr}"
            assert done.stdout or {"snapshot", "report", "run"} & {*args}, args
    assert {"plan.json", "plan.html", "cluster.json.gz", "for-others.json"} <= {
        path.name for path in tmp_path.iterdir()
    }


def test_the_readme_shows_only_commands_that_are_run_here_and_the_two_of_make() -> None:
    assert [line for line in LINES if not line.startswith("proxlb-plan")] == ["make demo", "make test"]
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("line", DEMO.group(1).splitlines() if DEMO else [])
def test_every_line_of_make_demo_runs(line: str, tmp_path: Path) -> None:
    words = shlex.split(line)
    assert words[0] == "$(BIN)/proxlb-plan"
    args = [*words[1:], *(["--time-limit", "1"] if "--time-limit" in words else [])]
    done = run(args, tmp_path)
    assert done.returncode == Exit.OK, done.stderr


def test_the_architecture_tree_names_every_module_and_nothing_else() -> None:
    tree = README.split("## Architecture")[1].split("```text\n")[1].split("```")[0]
    for package in ("planner", "solvers"):
        part = re.search(rf"^{package}/\n((?:  .*\n)+)", tree, re.M)
        assert part is not None
        named = {line.split()[0].rstrip("/") for line in part.group(1).splitlines()}
        there = {
            path.name
            for path in (ROOT / package).iterdir()
            if path.suffix == ".py" or path.name in ("schemas", "shipped")
        }
        assert named == there


def test_the_exit_codes_are_all_explained() -> None:
    rows = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.M)}
    assert rows == {int(code) for code in Exit}
