"""Owns what a wheel has brought along that is no Python: libraries, and crates that it was compiled from."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any, Final

from projects import PROJECTS, SPOKEN_OF, Project


@dataclass(frozen=True)
class Brought:
    """One of them; `license` is an SPDX expression or empty, `files` are relative to the wheel."""

    name: str
    license: str
    declared: bool
    """Whether the wheel says so itself."""
    files: tuple[str, ...] = ()
    version: str | None = None
    purl: str | None = None
    authors: str = ""
    source: str = ""


STANZA: Final = re.compile(r"^Name: (.+)\nFiles: (.+)\n(?:.+\n)*?License: (.+)$", re.M)
"""What the wheels of numpy (and scipy) say of libraries in them, in their file of licences."""


def libraries(files: Iterable[str], texts: Iterable[str]) -> list[Brought]:
    """Shared libraries among the files of a wheel: those that its texts of licences name, then those known to us,
    then the rest by the names of their files. Its own extension modules are none."""
    left = {file for file in files if is_library(file)}
    found = []
    for name, pattern, spdx in (match.groups() for text in texts for match in STANZA.finditer(text)):
        of = tuple(sorted(file for file in left if fnmatch(file, f"{pattern}*")))
        known = next((each for each in SPOKEN_OF if each.name == name), None)
        authors, source = (known.authors, known.source) if known else ("", "")
        found += [Brought(name, spdx.strip(), declared=True, files=of, authors=authors, source=source)] if of else []
    left -= {file for brought in found for file in brought.files}
    for project in PROJECTS:
        of = () if project.linked else _matching(left, project.files)
        found += [_of(project, of)] if of else []
        left -= {*of}
    return found + [Brought(PurePosixPath(file).name, "", declared=False, files=(file,)) for file in sorted(left)]


def linked(files: Iterable[str]) -> list[Brought]:
    """What is compiled into some of these shared libraries, as far as it is known."""
    there = [*files]
    return [_of(each, ()) for each in PROJECTS if each.linked and _matching(there, each.files)]


def _matching(files: Iterable[str], pattern: str) -> tuple[str, ...]:
    return tuple(sorted(file for file in files if fnmatch(PurePosixPath(file).name, pattern)))


def _of(project: Project, files: tuple[str, ...]) -> Brought:
    return Brought(
        project.name, project.license, declared=False, files=files, authors=project.authors, source=project.source
    )


def is_library(file: str) -> bool:
    """Whether what repairs wheels (auditwheel) or their builder has put it beside the modules."""
    path = PurePosixPath(file)
    return path.parent.name.endswith(".libs") and re.search(r"\.so(\.\d+)*$", path.name) is not None


def crates(documents: Iterable[str]) -> Iterator[Brought]:
    """What bills of materials within a wheel (`*.dist-info/sboms`, PEP 770) name, CycloneDX alone being read."""
    for document in documents:
        for component in json.loads(document).get("components", ()):
            yield Brought(
                name=component["name"],
                license=_expression(component),
                declared=True,
                version=component.get("version"),
                purl=component.get("purl"),
                authors=component.get("author", ""),
                source=_source(component),
            )


def _source(component: dict[str, Any]) -> str:
    """Where its source is: its repository, else its page."""
    said = {each["type"]: each["url"] for each in component.get("externalReferences", ())}
    return str(said.get("vcs") or said.get("website") or "")


def _expression(component: dict[str, Any]) -> str:
    """Its licences as one expression."""
    said = [each.get("expression") or each["license"].get("id", "") for each in component.get("licenses", ())]
    return " AND ".join(filter(None, said))
