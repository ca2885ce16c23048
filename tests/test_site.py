"""The documentation site is whole: it builds without a warning, links lead somewhere, nothing comes from elsewhere."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.packaged import PACKAGING

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
LOADED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}
"""Elements of which a browser loads something by itself, and the attribute that says what."""


@dataclass
class Page(HTMLParser):
    """What a page of the site has and asks for."""

    ids: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    loads: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        self.ids |= {has[name] for name in ("id", "name") if name in has}
        if tag == "a" and "href" in has:
            self.links.add(has["href"])
        if LOADED.get(tag, "") in has:
            self.loads.add(has[LOADED[tag]])


def read(file: Path) -> Page:
    page = Page()
    page.feed(file.read_text())
    return page


def entries(nav: Any) -> Iterator[str]:
    """The pages of a navigation, section by section."""
    for entry in nav:
        if isinstance(entry, str):
            yield entry
        else:
            for inside in entry.values():
                yield from [inside] if isinstance(inside, str) else entries(inside)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it, apart from what others build meanwhile."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    for name in ("README.md", "zensical.toml"):
        shutil.copy(ROOT / name, folder)
    recipe = re.search(r"^docs:.*\n(?:\t.*\n)*?\t\$\(BIN\)/zensical (.*)\n", (ROOT / "Makefile").read_text(), re.M)
    assert recipe is not None
    command = [sys.executable, "-m", "zensical", *shlex.split(recipe.group(1))]
    env = {**os.environ, "PYTHONPATH": str(PACKAGING)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "arning" not in done.stdout + done.stderr, done.stdout + done.stderr
    return folder / "build" / "site"


def test_every_page_is_built_and_can_be_reached_by_the_navigation(site: Path) -> None:
    nav = [*entries(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"])]
    assert sorted(nav) == [page.name for page in PAGES]
    assert all((site / page).with_suffix(".html").is_file() for page in nav)


def test_every_link_of_the_site_leads_to_a_page_and_a_heading_that_there_are(site: Path) -> None:
    pages = {file.resolve(): read(file) for file in site.glob("*.html")}
    for file, page in pages.items():
        for link in page.links:
            to = urlsplit(link)
            if to.scheme or to.netloc or file.name == "404.html":
                continue
            target = (file.parent / unquote(to.path)).resolve() if to.path else file
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{file.name}: {link}"
            assert not to.fragment or unquote(to.fragment) in pages[target].ids, f"{file.name}: {link}"


def test_nothing_of_the_site_is_loaded_from_elsewhere(site: Path) -> None:
    for file in site.glob("*.html"):
        for loaded in read(file).loads:
            assert not urlsplit(loaded).scheme and not urlsplit(loaded).netloc, f"{file.name}: {loaded}"
            if file.name != "404.html":
                assert (file.parent / urlsplit(loaded).path).is_file(), f"{file.name}: {loaded}"
        assert "fonts.g" not in file.read_text()
    for sheet in site.rglob("*.css"):
        loaded = re.findall(r"url\(['\"]?(?!data:)([^)'\"]+)|@import\s+['\"]([^'\"]+)", sheet.read_text())
        assert not [either for pair in loaded for either in pair if "//" in either], sheet.name


def test_what_is_searched_for_is_found_without_a_server_for_it(site: Path) -> None:
    words = (site / "search.json").read_text()
    assert all(page.with_suffix(".html").name in words for page in PAGES)
