"""The man pages are in order, and say what the program does: no command, flag, key or exit code is left out."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import tests.packaged  # noqa: F401 - from here on packaging/ is on the path

# isort: split
from about import About
from man import man_pages

from planner.errors import Exit
from planner.origin import VARIABLES
from tests.commandline import calling

WHAT = About("proxlb-plan", "1.2.3", "Plans and applies", "Apache-2.0", "0" * 40, 1_700_000_000)
PAGES = man_pages(WHAT)


def shown(page: str) -> str:
    """A page as plain text."""
    text = re.sub(r"\\f[BR]|^\.\w+ ?", "", page, flags=re.M)
    return text.replace(r"\-", "-").replace(r"\e", "\\").replace(r"\(aq", "'").replace(r"\&", "")


TEXTS = {name: shown(page) for name, page in PAGES.items()}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_formatted_without_a_warning(name: str, tmp_path: Path) -> None:
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("man or groff is not installed")
    (tmp_path / name).write_text(PAGES[name])
    for command in (["man", "--warnings", "-l", name], ["groff", "-ww", "-man", "-Tutf8", "-z", name]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
        assert not done.stderr
    assert PAGES[name].splitlines()[0].endswith('2023-11-14 "proxlb\\-plan 1.2.3"')


def test_the_first_page_has_every_command_and_flag_that_help_shows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # what does not fit is cut off
    cli, page = calling(capsys), re.sub(r"[\n,]", " ", TEXTS["proxlb-plan.1"])
    found = re.findall(r"^│ ([a-z]+) ", cli("--help").out, re.M)
    assert len(found) > 20
    for command in found:
        assert f"\n{command}" in TEXTS["proxlb-plan.1"], command
    for command in (["plan"], ["run"], ["check"], ["backtest"], ["config", "init"], ["snapshot", "diff"]):
        for flag in re.findall(r"^│ (?:\*\s+)?(--[a-z-]+)", cli(*command, "--help").out, re.M):
            assert f" {flag} " in page, (command, flag)


def test_the_first_page_has_every_exit_code_and_where_the_program_looks() -> None:
    page = TEXTS["proxlb-plan.1"].split("EXIT STATUS")[1]
    for code in Exit:
        assert re.search(rf"^{code.value}\n\w", page, re.M), code
    assert re.search(r"^2\n.*check.*critical", page, re.M)
    for place in ("/etc/proxlb-plan/config.yaml", "/var/lib/proxlb-plan", "PROXLB_PLAN_CONFIG", "STATE_DIRECTORY"):
        assert place in page


def test_the_other_page_has_every_setting() -> None:
    sections = dict(re.findall(r"SECTION (\w+)\n(.*?)(?=SECTION|FILES|\Z)", TEXTS["proxlb-plan.yaml.5"], re.S))
    for section, key in VARIABLES.values():
        assert re.search(rf"^{key}\n\w.*\.$", sections[section], re.M), (section, key)
