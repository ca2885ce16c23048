"""Owns the bill of materials of a package: every distribution in it once, its version, licence and what it has brought.

It is a CycloneDX document. The same tree of the same commit gives the same one: its time is that of the commit, and its
serial number follows from the commit and from what is listed.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from about import PROJECT, About
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from dpkg import packages
from licenses import first, identified, licenses
from native import Brought, crates, is_library, libraries
from packageurl import PackageURL


def write_sbom(tree_lib: Path, debian: Path | None, what: About, target: Path) -> None:
    """Of a folder of installed distributions (`*.dist-info`), and of a system if its /var/lib/dpkg/status is given."""
    main = _main(what)
    components = [_component(each, tree_lib) for each in _distributions(tree_lib) if _plain(each.name) != what.name]
    bom = Bom(
        metadata=BomMetaData(component=main, timestamp=datetime.fromtimestamp(what.epoch, UTC)),
        components=[*components, *(packages(debian) if debian else ())],
    )
    _depend(bom, main, tree_lib, what)
    listed = sorted(str(each.bom_ref.value) for each in bom.components)
    bom.serial_number = uuid5(NAMESPACE_URL, "\n".join([str(main.purl), what.revision, *listed]))
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)
    target.write_text(f"{text}\n")


def _main(what: About) -> Component:
    """What the package is made for."""
    purl = PackageURL("pypi", name=what.name, version=what.version)
    return Component(
        name=what.name, version=what.version, type=ComponentType.APPLICATION, description=what.summary, purl=purl,
        bom_ref=str(purl), licenses=[identified(what.license, of_itself=True)],
        properties=[Property(name="revision", value=what.revision)],
    )  # fmt: skip


def _distributions(tree: Path) -> list[Distribution]:
    """In a fixed order: that of file systems is not."""
    return sorted(distributions(path=[str(tree)]), key=lambda each: _plain(each.name))


def _component(of: Distribution, tree: Path) -> Component:
    """A distribution with what is in it."""
    purl, metadata = PackageURL("pypi", name=_plain(of.name), version=of.version), of.metadata
    info = _info(of, tree)
    texts = [path for name in metadata.get_all("License-File") or () if (path := info / "licenses" / name).is_file()]
    brought = [*libraries(_files(of, tree), (path.read_text(errors="replace") for path in texts))]
    brought += crates(path.read_text() for path in sorted((info / "sboms").glob("*.cyclonedx.json")))
    return Component(
        name=of.name, version=of.version, purl=purl, bom_ref=str(purl), licenses=licenses(metadata),
        description=first(metadata, "Summary") or None, components=[_part(each, purl) for each in brought],
        properties=[Property(name="licence file", value=str(path.relative_to(tree))) for path in texts],
    )  # fmt: skip


def _part(brought: Brought, of: PackageURL) -> Component:
    """What is in a wheel beside its Python. Licences that it does not declare are those of the project."""
    said: list[License] = [identified(brought.license, of_itself=brought.declared)] if brought.license else []
    return Component(
        name=brought.name, version=brought.version, type=ComponentType.LIBRARY, licenses=said,
        purl=PackageURL.from_string(brought.purl) if brought.purl else None,
        bom_ref=f"{of}#{brought.name}" + (f"@{brought.version}" if brought.version else ""),
        properties=[Property(name="file", value=file) for file in brought.files],
    )  # fmt: skip


def _info(of: Distribution, tree: Path) -> Path:
    """Its folder of metadata, which does without a list of files."""
    names = {_plain(path.name.partition("-")[0]): path for path in tree.glob("*.dist-info")}
    return names[_plain(of.name)]


def _files(of: Distribution, tree: Path) -> Iterator[str]:
    """Libraries in the folders where those who make wheels put them, without the one that the distribution is."""
    name = _plain(of.name).replace("-", "_")
    for folder in (tree / f"{name}.libs", *sorted((tree / name).rglob(".libs"))):
        for path in sorted(folder.glob("*")):
            if is_library(str(path)) and not path.name.startswith(f"lib{name}.so"):
                yield str(path.relative_to(tree))


def _depend(bom: Bom, main: Component, tree: Path, what: About) -> None:
    """Who needs whom, of what is there: a requirement of an extra, or of another system, names nothing that is."""
    there = {_plain(each.name): each for each in bom.components if each.purl and each.purl.type == "pypi"}
    needs = {main: [*PROJECT["dependencies"]]}
    for of in _distributions(tree):
        if (name := _plain(of.name)) != what.name:
            needs[there[name]] = of.requires or []
    for component, requirements in needs.items():
        wanted = {_plain(each) for each in requirements if "extra ==" not in each}
        bom.register_dependency(component, [there[name] for name in sorted(wanted & there.keys())])


def _plain(requirement: str) -> str:
    """The name alone, in which -, _ and . are the same."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()
