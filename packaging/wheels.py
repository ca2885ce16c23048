"""Owns what lies in a folder of installed distributions: each once, its texts of licences, and what it has brought."""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution
from importlib.metadata import distributions as found
from pathlib import Path

from native import Brought, crates, is_library, libraries, linked


def distributions(tree: Path) -> list[Distribution]:
    """In a fixed order: that of file systems is not."""
    return sorted(found(path=[str(tree)]), key=lambda each: plain(each.name))


def texts(of: Distribution, tree: Path) -> list[Path]:
    """Its own files of licences, as its metadata name them."""
    folder = _info(of, tree) / "licenses"
    return [path for name in of.metadata.get_all("License-File") or () if (path := folder / name).is_file()]


def brought(of: Distribution, tree: Path) -> list[Brought]:
    """Libraries beside its Python, what is compiled into these as far as it is known, and crates."""
    own, name = [*_files(of, tree)], plain(of.name).replace("-", "_")
    beside = (file for file in own if not Path(file).name.startswith(f"lib{name}.so"))
    documents = sorted((_info(of, tree) / "sboms").glob("*.cyclonedx.json"))
    return [
        *libraries(beside, (path.read_text(errors="replace") for path in texts(of, tree))),
        *linked(own),
        *crates(path.read_text() for path in documents),
    ]


def plain(requirement: str) -> str:
    """The name alone, in which -, _ and . are the same."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()


def _info(of: Distribution, tree: Path) -> Path:
    """Its folder of metadata, which does without a list of files."""
    names = {plain(path.name.partition("-")[0]): path for path in tree.glob("*.dist-info")}
    return names[plain(of.name)]


def _files(of: Distribution, tree: Path) -> Iterator[str]:
    """Libraries in the folders where those who make wheels put them; one of them may be the distribution itself."""
    name = plain(of.name).replace("-", "_")
    for folder in (tree / f"{name}.libs", *sorted((tree / name).rglob(".libs"))):
        for path in sorted(folder.glob("*")):
            if is_library(str(path)):
                yield str(path.relative_to(tree))
