"""What the page that compares says of this tool is so, and what it says of others has a place where they say it."""

import re
from pathlib import Path

from typer.main import get_command

from planner.cli import app

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "comparison.md").read_text()
SECTIONS = {part.split("\n", 1)[0]: part for part in PAGE.split("\n## ")[1:]}
OTHERS = (
    "ProxLB 2.3.0 and proxlb-solver 0.1.1", "Proxmox VE's CRS", "VMware DRS", "Ganeti's hbal", "BtrPlace",
    "PegaProx 0.9",
)  # fmt: skip
SHOWN = "Where what is said of proxlb-plan can be seen"


def test_commands_and_options_that_the_page_names_exist() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    named = re.findall(r"`proxlb-plan ([a-z]+)([^`]*)`", PAGE)
    assert len(named) > 5
    for command, rest in named:
        options = {name for param in commands[command].params for name in param.opts}
        assert {*re.findall(r"--[a-z-]+", rest)} <= options, command


def test_each_claim_of_the_last_table_has_a_command_or_a_page() -> None:
    rows = re.findall(r"^\| (?!claim|---)(.+) \| (.+) \|$", SECTIONS[SHOWN], re.M)
    assert len(rows) > 8
    assert all("`proxlb-plan " in shown or ".md" in shown for _, shown in rows)


def test_each_other_tool_is_said_to_do_something_better_with_a_link() -> None:
    for name in OTHERS:
        better = re.search(r"\*Better there:\*(.*?)\n\n\*", SECTIONS[name], re.S)
        assert better is not None and "](https://" in SECTIONS[name], name
    assert {*OTHERS} < {*SECTIONS}


def test_rows_of_the_matrix_say_something_of_every_tool() -> None:
    rows = re.findall(r"^\|.*\|$", SECTIONS["Side by side"], re.M)
    assert {row.count("|") for row in rows} == {8}
    assert not [row for row in rows[2:] if "||" in row.replace(" ", "")]


def test_figures_beside_hbal_are_those_of_the_benchmarks() -> None:
    measured, said = (DOCS / "benchmarks.md").read_text(), SECTIONS["Ganeti's hbal"]
    for hbal, cpsat in (("8.5752", "6.8134"), ("0.4672", "0.1707"), ("24.4579", "22.1021")):
        assert f"| hbal | {hbal} |" in measured and f"| {cpsat} |" in measured
        assert f"{float(hbal):.2f}" in said and f"{float(cpsat):.2f}" in said
