"""What the completion files of packages do in a real shell, each where it is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tests.packaged  # noqa: F401 - from here on packaging/ is on the path

# isort: split
from completions import FILES, completions

from tests.terminal import Shell

ROOT = Path(__file__).parents[1]
CLEAR = "\x15"
"""Ctrl-U: the line that was typed is taken back."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files, a command of the name that they are for, and a plan."""
    folder = tmp_path_factory.mktemp("installed")
    for shell, script in completions().items():
        (folder / FILES[shell]).write_text(script)
    command = folder / "bin" / "proxlb-plan"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m planner "$@"\n')
    command.chmod(0o755)
    (folder / "plan-of-today.json").touch()
    return folder


def needs(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


def test_a_shell_that_cannot_be_started_leaves_no_second_run_of_the_tests(tmp_path: Path) -> None:
    with Shell(["/nowhere"], tmp_path, "") as shell, pytest.raises(OSError, match="Input/output"):
        shell.type("x", "never")


def test_bash_completes_commands_values_and_files(installed: Path) -> None:
    needs("bash")
    with Shell(["bash", "--norc", "--noprofile", "-i"], installed, str(installed / "bin")) as bash:
        bash.type("", "ready> ")
        bash.type("bind 'set show-all-if-ambiguous on'; source ./proxlb-plan; echo DO''NE\n", "DONE")
        bash.type("proxlb-plan pl\t", r"place +plan")
        bash.type(f"{CLEAR}proxlb-plan --solver \t", r"cpsat +descent +greedy +proxlb")
        bash.type(f"{CLEAR}proxlb-plan compare --solver cp\t", "cpsat ")
        bash.type(f"{CLEAR}proxlb-plan config sch\t", "schema ")
        bash.type(f"{CLEAR}proxlb-plan apply plan-\t", "plan-of-today.json ")


@pytest.mark.slow
def test_zsh_completes_at_the_first_use(installed: Path) -> None:
    needs("zsh")
    with Shell(["zsh", "-f", "-i"], installed, str(installed / "bin")) as zsh:
        zsh.type("", "ready> ")
        zsh.type("fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; echo DO''NE\n", "DONE")
        zsh.type("proxlb-plan config sch\t", "schema ")
        zsh.type(f"{CLEAR}proxlb-plan --solver \t", r"cpsat +descent +greedy +proxlb")
        zsh.type(f"{CLEAR}proxlb-plan apply plan-\t", "plan-of-today.json ")


@pytest.mark.slow
def test_fish_completes_with_explanations(installed: Path) -> None:
    needs("fish")
    asked = {
        "pla": ["place", "plan"],
        "--solver ": ["cpsat", "descent", "greedy", "proxlb"],
        "config sch": ["schema"],
        "apply plan-": ["plan-of-today.json"],
    }
    script = "\n".join(["source proxlb-plan.fish", *(f"complete -C 'proxlb-plan {words}'; echo" for words in asked)])
    done = subprocess.run(
        ["fish", "--no-config", "-c", script], cwd=installed, capture_output=True, text=True, timeout=60, check=True,
        env={"PATH": f"{installed / 'bin'}:/usr/bin:/bin", "HOME": str(installed)},
    )  # fmt: skip
    answers = [[line.split("\t")[0] for line in part.splitlines()] for part in done.stdout.split("\n\n")]
    assert answers[: len(asked)] == [*asked.values()]
    assert "schema\tPrint the JSON Schema" in done.stdout
