"""What the README shows is so: its tree is complete, and `make demo` runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from planner.errors import Exit

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
LINES = [line[2:] for block in re.findall(r"```console\n(.*?)```", README, re.S) for line in block.splitlines()]
DEMO = re.search(r"^demo:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)


def run(args: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "planner", *args], cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        env={"PYTHONPATH": str(ROOT), "HOME": str(folder), "STATE_DIRECTORY": f"{folder}/st", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


def test_the_readme_shows_only_commands_that_pages_are_tested_for_and_the_two_of_make() -> None:
    assert [line for line in LINES if not line.startswith("proxlb-plan ")] == ["make demo", "make test"]
    assert len(LINES) >= 10


def test_every_link_of_the_readme_leads_to_a_file_and_every_page_is_linked() -> None:
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^#)][^)]*)\)", README) if "://" not in link}
    assert {link for link in links if not (ROOT / link).is_file()} == set()
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages - links == {"docs/index.md", "docs/glossary.md"}, "what the README is itself"


@pytest.mark.parametrize("line", DEMO.group(1).splitlines() if DEMO else [])
def test_every_line_of_make_demo_runs(line: str, tmp_path: Path) -> None:
    words = shlex.split(line)
    assert words[0] == "$(BIN)/proxlb-plan"
    args = [*words[1:], *(["--time-limit", "1"] if "--time-limit" in words else [])]
    done = run(args, tmp_path)
    assert done.returncode == Exit.OK, done.stderr


def test_the_architecture_tree_names_every_module_and_nothing_else() -> None:
    tree = README.split("## Architecture")[1].split("```text\n")[1].split("```")[0]
    for package in ("planner", "solvers", "packaging"):
        part = re.search(rf"^{package}/.*\n((?:  .*\n)+)", tree, re.M)
        assert part is not None
        named = {line.split()[0].rstrip("/") for line in part.group(1).splitlines()}
        modules = {path.name for path in (ROOT / package).glob("*.py")}
        folders = {path.name for path in (ROOT / package).glob("[a-z]*/")}
        assert modules | folders == {name for name in named if not name.endswith((".yaml", ".txt"))}
        assert all((ROOT / package / name).exists() for name in named)
