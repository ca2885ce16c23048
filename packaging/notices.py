"""Owns the notices that a package owes for what wheels bring beside their Python: whose it is, and under which terms.

A wheel has the licence of its project in its folder *.dist-info, and mostly no word of the libraries in it.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from about import ROOT
from native import Brought
from running import Failed
from wheels import brought, distributions

TEXTS: Final = ROOT / "packaging" / "licenses"
"""As SPDX has them; copyright lines that they leave open are in the notices."""
HEAD: Final = """\
Libraries, and crates compiled into them, that Python packages in this package have brought along
==================================================================================================

They are as the wheels of those packages have them, unchanged. The wheels themselves are under the licences in their
folders *.dist-info. For each: its licence (texts in the folder licenses beside this file, or in the *.dist-info of
the wheel), its authors, and where its source code is.

Source code of what is under the Eclipse Public License 2.0, the Mozilla Public License 2.0 or the GNU Lesser General
Public License 2.1 is available at these places, under that licence and free of charge. The versions that a wheel of
ortools is built from, and what it changes in them, are in its own source code, https://github.com/google/or-tools, at
the tag of its version: cmake/dependencies/CMakeLists.txt and the folder patches. Nobody whose work is here gives any
warranty or takes any liability for it.
"""


def notices(tree_lib: Path) -> dict[str, str]:
    """Of a folder of installed distributions: NOTICE, and licenses/NAME.txt for each licence that is named in it.

    Raises `Failed` where a library would be passed on and nobody here knows under which licence.
    """
    parts = {of.name: found for of in distributions(tree_lib) if (found := brought(of, tree_lib))}
    names = {name for found in parts.values() for each in found for name in _needed(each)}
    said = [HEAD, *(section for of, found in parts.items() for section in _sections(of, found))]
    return {"NOTICE": "\n".join(said), **{f"licenses/{name}.txt": _text(name) for name in sorted(names)}}


def _needed(part: Brought) -> Iterator[str]:
    """Licences whose texts have to come along."""
    if not part.license and part.files:
        raise Failed(f"nothing says under which licence {part.files[0]} is: add its project to packaging/projects.py")
    for name in re.findall(r"[\w.-]+", part.license):
        if name in ("AND", "OR", "WITH"):
            continue
        if (TEXTS / f"{name}.txt").is_file():
            yield name
        elif not (part.declared and part.files):  # then the wheel has the text beside the name
            raise Failed(f"{part.name} is under {name}, whose text is not in packaging/licenses: add it")


def _text(name: str) -> str:
    return (TEXTS / f"{name}.txt").read_text()


def _sections(of: str, parts: Iterable[Brought]) -> Iterator[str]:
    yield f"In {of}\n{'-' * len(f'In {of}')}\n"
    for part in parts:
        lines = {"licence": part.license or f"that of {of}", "authors": part.authors, "source": part.source}
        said = [textwrap.fill(f"{key}: {value}", 118, initial_indent="    ", subsequent_indent="      ",
                              break_long_words=False, break_on_hyphens=False)
                for key, value in lines.items() if value]  # fmt: skip
        yield "\n".join([f"{part.name} {part.version or ''}".rstrip(), *said, ""])
