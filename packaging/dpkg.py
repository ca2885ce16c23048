"""Owns the packages of a Debian system as a bill of materials has them: what dpkg says is installed, and licences."""

import re
from collections.abc import Iterator
from pathlib import Path

from cyclonedx.model import Property
from cyclonedx.model.component import Component, ComponentType
from licenses import INCLUDED, named
from packageurl import PackageURL

STATUS = Path("var/lib/dpkg/status")
DOCUMENTS = Path("usr/share/doc")


def packages(status: Path) -> Iterator[Component]:
    """Of a file /var/lib/dpkg/status. Licences are those that machine-readable copyright files name."""
    root = status.parents[len(STATUS.parts) - 1] if status.parts[-len(STATUS.parts) :] == STATUS.parts else None
    for stanza in status.read_text().strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if re.match(r"[\w-]+: ", line))
        if not fields["Status"].endswith(" installed"):
            continue
        name, version = fields["Package"], fields["Version"]
        qualifiers = {"arch": fields["Architecture"]}
        purl = PackageURL("deb", "debian", name, version, qualifiers)
        yield Component(
            name=name, version=version, purl=purl, bom_ref=str(purl), type=ComponentType.LIBRARY,
            description=fields.get("Description"), licenses=[named(words) for words in _licenses(root, name)],
            properties=[Property(name="source package", value=fields.get("Source", name))],
        )  # fmt: skip


def _licenses(root: Path | None, package: str) -> list[str]:
    """In Debian's words, which are not those of SPDX; none where the system has no copyright file of it."""
    file = root / DOCUMENTS / package / "copyright" if root else Path()
    if root is None or not file.is_file():
        return []
    text = file.read_text(errors="replace")
    if not text.lstrip().startswith("Format"):
        return [INCLUDED]
    return sorted({words.strip() for words in re.findall(r"^License: *(\S.*)$", text, re.M)}) or [INCLUDED]
