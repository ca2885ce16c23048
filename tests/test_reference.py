"""The pages that are made from the program are those of this program, and say all that there is."""

import re
import tomllib
from pathlib import Path

import pytest

import tests.packaged  # noqa: F401 - from here on packaging/ is on the path

# isort: split
from reference import pages

from planner.config_schema import schema
from planner.errors import Exit
from planner.origin import VARIABLES

DOCS = Path(__file__).parents[1] / "docs"
PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_the_program_is_now(name: str) -> None:
    there = (DOCS / name).read_text() if (DOCS / name).exists() else ""
    assert there == PAGES[name], f"docs/{name} is not as the program is now: run `make reference`, and commit the page"


def test_every_setting_stands_there_with_its_variable_default_and_range() -> None:
    page = PAGES["reference-configuration.md"]
    parts = dict(re.findall(r"^### (\S+)\n\n(.*?)(?=^##|\Z)", page, re.M | re.S))
    assert [*parts] == [f"{section}.{key}" for section, key in VARIABLES.values()]
    made = schema()
    for variable, (section, key) in VARIABLES.items():
        told = parts[f"{section}.{key}"]
        assert f"ariable `{variable}`." in told
        record = made["properties"][section]["anyOf"][0]["$ref"].rpartition("/")[2]
        known = made["$defs"][record]["properties"][key]
        default = known.get("default")
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert f"default: `{default:g}`" in told
        bounds = ("minimum", "maximum", "exclusiveMinimum")
        for bound in (way[bound] for way in known["anyOf"] for bound in bounds if bound in way):
            assert f"{bound:,}".removesuffix(".0") in told, (section, key)
        assert len(told.strip().splitlines()) > 2, f"{section}.{key} has no meaning"


def test_flags_of_settings_and_exit_codes_stand_there() -> None:
    settings, commands = PAGES["reference-configuration.md"], PAGES["reference-cli.md"]
    flags = re.findall(r"Flag `(--[a-z-]+)`", settings)
    assert len(flags) > 45 and {"--until-balanced", "--listen", "--hours", "--ignore-nodes"} <= {*flags}
    assert all(f"| `{flag}" in commands for flag in flags)
    assert all(f"\n| {code.value} | " in commands for code in Exit)


def test_pages_lead_to_headings_that_there_are_and_stand_in_the_navigation() -> None:
    nav = tomllib.loads((DOCS.parent / "zensical.toml").read_text())["project"]["nav"]
    for name, page in PAGES.items():
        headings = {title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", page, re.M)}
        assert {*re.findall(r"\]\(#([^)]*)\)", page)} <= headings
        assert name in str(nav)
