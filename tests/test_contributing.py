"""What CONTRIBUTING.md tells those who join is so: its examples are followed in a copy of the tree, its walls stand."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import planner
from planner.errors import Exit

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
COPIED = ("planner", "solvers", "packaging", "tests", "docs", "README.md", "Makefile", "pyproject.toml")
FENCE = re.compile(r"^(?:`(?P<path>[^`\n]+)` \(new\):\n\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
EXAMPLES = ("Adding a solver", "Adding a rule", "Adding a metric")
QUICK = "(shuffle and raw_answer) or rule-alone or every_figure or is_offered or architecture"
"""Of what the examples run what takes no bounds: those take longer than the rest."""
OFFERED = """
from tests.commandline import calling

def test_it_is_offered_and_plans(capsys):
    said = calling(capsys)(*{words}).out
    assert "shuffle: feasible" in said and "6 of at most 6 migrations" in said and "bound 0.00" in said
"""
"""What a person does with the solver of the page, in the process of the other tests: most of a process is its start."""


class Block(NamedTuple):
    """A block of code of the page; `path`: the new file that it is."""

    path: str | None
    language: str
    text: str


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def blocks(text: str) -> list[Block]:
    return [Block(found["path"], found["language"], found["text"]) for found in FENCE.finditer(text)]


def shown(language: str) -> list[str]:
    """The lines of the blocks in a language in all examples."""
    found = (block for heading in EXAMPLES for block in blocks(section(heading)))
    return [line for block in found if block.language == language for line in block.text.splitlines()]


# Following the page


def hunks(diff: str) -> Iterator[tuple[str, str, str]]:
    """File, what is in it, and what is to be there instead, for each `@@` of a diff without line numbers."""
    for part in re.split(r"^--- ", diff, flags=re.M)[1:]:
        path, *pieces = re.split(r"^@@\n|\n", part, maxsplit=1)
        for piece in re.split(r"^@@\n", pieces[0], flags=re.M)[1:]:
            lines = [(line[:1], line[1:]) for line in piece.splitlines(keepends=True)]
            assert lines and {sign for sign, _ in lines} <= {" ", "-", "+"}, f"{path}: a line of a diff without a sign"
            old, new = ("".join(text for sign, text in lines if sign != other) for other in "+-")
            yield path, old, new


def changes(block: Block) -> list[tuple[str, str, str]]:
    """The same for any block: a new file is one that begins empty, and what is only shown changes nothing."""
    if block.path:
        return [(block.path, "", block.text)]
    return [*hunks(block.text)] if block.language == "diff" else []


def apply(change: tuple[str, str, str], tree: Path) -> None:
    """Whatever does not fit exactly is a mistake of the page."""
    path, old, new = change
    if not old:
        assert not (tree / path).exists(), f"CONTRIBUTING.md: {path} is not new; mend the page"
        (tree / path).write_text(new)
        return
    before, *after = re.split(rf"^{re.escape(old)}", (tree / path).read_text(), flags=re.M)
    count = len(after)
    assert count == 1, f"CONTRIBUTING.md: this is {count} times in {path}, not once; mend the page:\n{old}"
    (tree / path).write_text(before + new + after[0])


def follow(example: list[Block], tree: Path) -> set[str]:
    """The files of an example, which is carried out; not where somebody has done all of that to the tree already."""
    found = [change for block in example for change in changes(block)]
    if not all((tree / path).exists() and new in (tree / path).read_text() for path, _, new in found):
        for change in found:
            apply(change, tree)
    return {path for path, _, _ in found}


class Followed(NamedTuple):
    """A copy of the tree in which all examples were followed, and the files that these have touched."""

    tree: Path
    touched: frozenset[str]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    """Compiled files are copied with their times, so that they stay good; scenarios take long to read."""
    result, examples = tmp_path_factory.mktemp("tree"), [blocks(section(heading)) for heading in EXAMPLES]
    new = {Path(block.path).name for example in examples for block in example if block.path}
    for name in COPIED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, result / name)
    for scenario in (result / "tests" / "scenarios").glob("*.yaml"):
        if scenario.name not in new:
            scenario.unlink()
    touched = frozenset[str]().union(*(follow(example, result) for example in examples))
    line = next(line for line in shown("console") if line.startswith("$ proxlb-plan plan"))
    (result / "tests" / "test_followed.py").write_text(OFFERED.format(words=shlex.split(line)[2:]))
    return Followed(result, touched)


@pytest.mark.parametrize(("before", "count"), [("old\n", 0), ("as it\nis\nas it\nis\n", 2)])
def test_code_that_has_drifted_from_the_page_is_named(tmp_path: Path, before: str, count: int) -> None:
    (tmp_path / "x.py").write_text(f"first\n{before}last\n")
    with pytest.raises(AssertionError, match=rf"this is {count} times in x\.py, not once; mend the page"):
        follow([Block(None, "diff", "--- x.py\n@@\n as it\n-is\n+was\n")], tmp_path)
    assert (tmp_path / "x.py").read_text() == f"first\n{before}last\n"


def test_an_example_that_was_followed_for_real_is_no_mistake_of_the_page_and_half_of_one_is(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("first\nlast\n")
    example = [Block("y.py", "python", "new\n"), Block(None, "diff", "--- x.py\n@@\n first\n+second\n")]
    for _ in range(2):
        assert follow(example, tmp_path) == {"x.py", "y.py"}
        assert [(tmp_path / name).read_text() for name in ("x.py", "y.py")] == ["first\nsecond\nlast\n", "new\n"]
    (tmp_path / "x.py").write_text("first\nlast\n")
    with pytest.raises(AssertionError, match=r"y\.py is not new; mend the page"):
        follow(example, tmp_path)


@pytest.fixture
def tree(followed: Followed) -> Path:
    return followed.tree


def run(words: list[str], tree: Path) -> str:
    """What a Python module says that is run in the copy, as if that were the checkout."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PROXLB_PLAN"))}
    env |= {"STATE_DIRECTORY": f"{tree}/state"}
    if words[0] == "pytest":  # no plugins but the one that is configured: they would take longer than most tests
        env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"], words = "1", [*words, "-p", "pytest_timeout", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=250, check=False, env=env)
    assert done.returncode == Exit.OK, f"{shlex.join(words)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_examples_fit_the_tree_and_its_style(followed: Followed) -> None:
    touched = sorted(path for path in followed.touched if path.endswith(".py"))
    assert "solvers/shuffle.py" in touched and "planner/written.py" in touched and "planner/exposed.py" in touched
    run(["ruff", "check", "--no-cache", *touched], followed.tree)
    run(["ruff", "format", "--check", "--no-cache", *touched], followed.tree)


def test_the_solver_the_rule_and_the_metric_of_the_page_keep_the_claims_about_all_and_it_plans(tree: Path) -> None:
    files = ("followed", "solvers", "scenarios", "metrics", "readme")
    chosen = [f"tests/test_{name}.py" for name in files]
    said = run(["pytest", "-rA", *chosen, "-k", QUICK], tree)
    passed = re.findall(r"^PASSED \S+::(\S+)", said, re.M)
    wanted = ("shuffle", "is_offered", "alone-cpsat", "alone-conflict-descent", "every_figure", "architecture")
    for name in wanted:
        assert any(name in test for test in passed), f"{name}: {said}"


@pytest.mark.slow
@pytest.mark.parametrize("line", shown("sh"))
def test_whatever_the_examples_run_is_green(line: str, tree: Path) -> None:
    words = shlex.split(line)
    assert words[:2] == [".venv/bin/python", "-m"]
    run(words[2:], tree)


@pytest.mark.slow
def test_every_command_of_the_examples_runs_and_the_metric_is_shown(tree: Path) -> None:
    for line in shown("console"):
        words = shlex.split(line)
        assert words[:2] == ["$", "proxlb-plan"]
        run(["planner", *words[2:]], tree)
    assert re.search(r"^proxlb_plan_stranded_guests\{.*\} \d", (tree / "figures.prom").read_text(), re.M)


@pytest.mark.slow
def test_the_types_of_the_examples_are_right(tree: Path) -> None:
    run(["mypy", "--cache-dir", str(tree / "cache"), "planner", "solvers"], tree)


# What else it says


@pytest.fixture(scope="module")
def importers() -> dict[str, set[str]]:
    """Package to the files that ship and import it."""
    result: dict[str, set[str]] = {}
    for room in ("planner", "solvers"):
        for file in (ROOT / room).rglob("*.py"):
            for name in re.findall(r"^ *(?:import|from) (\w+)", file.read_text(), re.M):
                result.setdefault(name, set()).add(str(file.relative_to(ROOT)))
    return result


def test_only_these_modules_reach_out_of_the_process(importers: dict[str, set[str]]) -> None:
    rows = re.findall(r"^\| `([a-z0-9]+)` \| (`planner/.*) \|$", section("Walls"), re.M)
    assert len(rows) >= 6
    for name, cell in rows:
        assert importers[name] == {*re.findall(r"`([^`]+)`", cell)}, name


def test_what_is_shipped_imports_no_package_under_gpl(importers: dict[str, set[str]]) -> None:
    assert not {"proxlb", "fakepve"} & importers.keys()


def test_tests_and_files_that_the_page_names_are_there() -> None:
    for path, name in re.findall(r"`(tests/\w+\.py)::(\w+)`", PAGE):
        assert f"\ndef {name}(" in (ROOT / path).read_text(), name
    new = {block.path for block in blocks(PAGE)}
    for path in re.findall(r"(?:planner|solvers|tests|docs)/[\w/.-]*\w\.\w+|(?<=\]\()[\w./-]+", PAGE):
        assert path in new or (ROOT / path).exists(), path
    for path, anchor in re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", PAGE):
        assert re.search(rf"^##+ {anchor}$", (ROOT / path).read_text() if path else PAGE, re.M | re.I), anchor


def test_there_is_all_that_make_is_asked_for() -> None:
    targets = {*re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)}
    asked = {*re.findall(r"(?:^|`)make ([a-z-]+)", PAGE, re.M)}
    assert len(asked) >= 8 and asked <= targets, asked - targets


def test_the_version_stands_where_the_release_steps_say() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version == planner.__version__
    assert re.search(rf"^## {re.escape(version)} - ", (ROOT / "CHANGELOG.md").read_text(), re.M)
