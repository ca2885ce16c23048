"""Owns what a wheel has brought along that is no Python: libraries, and crates that it was compiled from."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any, Final


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


PROJECTS: Final = (
    ("libabsl_*", "Abseil", "Apache-2.0"),
    ("libCbc*", "COIN-OR Cbc", "EPL-2.0"),
    ("libCgl*", "COIN-OR Cgl", "EPL-2.0"),
    ("libClp*", "COIN-OR Clp", "EPL-2.0"),
    ("libCoinUtils*", "COIN-OR CoinUtils", "EPL-2.0"),
    ("libOsi*", "COIN-OR Osi", "EPL-2.0"),
    ("libbz2*", "bzip2", "bzip2-1.0.6"),
    ("libhighs*", "HiGHS", "MIT"),
    ("libprotobuf*", "Protocol Buffers", "BSD-3-Clause"),
    ("libre2*", "RE2", "BSD-3-Clause"),
    ("libscip*", "SCIP", "Apache-2.0"),
    ("libutf8_validity*", "utf8_range", "MIT"),
    ("libz.*", "zlib", "Zlib"),
)
"""Files of libraries that wheels bring and do not speak of, their projects, and what these say of their licence.

The number in the name of such a file is that of its interface, not the version of the project: that is not known."""
STANZA: Final = re.compile(r"^Name: (.+)\nFiles: (.+)\n(?:.+\n)*?License: (.+)$", re.M)
"""What the wheels of numpy (and scipy) say of libraries in them, in their file of licences."""


def libraries(files: Iterable[str], texts: Iterable[str]) -> list[Brought]:
    """Shared libraries among the files of a wheel: those that its texts of licences name, then those known to us,
    then the rest by the names of their files. Its own extension modules are none."""
    left = {file for file in files if is_library(file)}
    found = []
    for name, pattern, spdx in (match.groups() for text in texts for match in STANZA.finditer(text)):
        of = tuple(sorted(file for file in left if fnmatch(file, f"{pattern}*")))
        found += [Brought(name, spdx.strip(), declared=True, files=of)] if of else []
    left -= {file for brought in found for file in brought.files}
    for pattern, name, spdx in PROJECTS:
        of = tuple(sorted(file for file in left if fnmatch(PurePosixPath(file).name, pattern)))
        found += [Brought(name, spdx, declared=False, files=of)] if of else []
        left -= {*of}
    return found + [Brought(PurePosixPath(file).name, "", declared=False, files=(file,)) for file in sorted(left)]


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
            )


def _expression(component: dict[str, Any]) -> str:
    """Its licences as one expression."""
    said = [each.get("expression") or each["license"].get("id", "") for each in component.get("licenses", ())]
    return " AND ".join(filter(None, said))
