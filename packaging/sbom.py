"""Owns the bill of materials of a package: every distribution in it once, its version, licence and what it has brought.

It is a CycloneDX document. The same tree of the same commit gives the same one: its time is that of the commit, and its
serial number follows from the commit and from what is listed.
"""

from datetime import UTC, datetime
from importlib.metadata import Distribution
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
from native import Brought
from packageurl import PackageURL
from wheels import brought, distributions, plain, texts

FILE = "sbom.cdx.json"
"""What it is called beside what it lists."""


def write_sbom(tree_lib: Path, debian: Path | None, what: About, target: Path) -> None:
    """Of a folder of installed distributions (`*.dist-info`), and of a system if its /var/lib/dpkg/status is given."""
    main = _main(what)
    components = [_component(each, tree_lib) for each in distributions(tree_lib) if plain(each.name) != what.name]
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


def _component(of: Distribution, tree: Path) -> Component:
    """A distribution with what is in it."""
    purl, metadata = PackageURL("pypi", name=plain(of.name), version=of.version), of.metadata
    return Component(
        name=of.name, version=of.version, purl=purl, bom_ref=str(purl), licenses=licenses(metadata),
        description=first(metadata, "Summary") or None, components=[_part(each, purl) for each in brought(of, tree)],
        properties=[Property(name="licence file", value=str(path.relative_to(tree))) for path in texts(of, tree)],
    )  # fmt: skip


def _part(part: Brought, of: PackageURL) -> Component:
    """What is in a wheel beside its Python. Licences that it does not declare are those of the project."""
    said: list[License] = [identified(part.license, of_itself=part.declared)] if part.license else []
    return Component(
        name=part.name, version=part.version, type=ComponentType.LIBRARY, licenses=said,
        purl=PackageURL.from_string(part.purl) if part.purl else None,
        bom_ref=f"{of}#{part.name}" + (f"@{part.version}" if part.version else ""),
        properties=[Property(name="file", value=file) for file in part.files],
    )  # fmt: skip


def _depend(bom: Bom, main: Component, tree: Path, what: About) -> None:
    """Who needs whom, of what is there: a requirement of an extra, or of another system, names nothing that is."""
    there = {plain(each.name): each for each in bom.components if each.purl and each.purl.type == "pypi"}
    needs = {main: [*PROJECT["dependencies"]]}
    for of in distributions(tree):
        if (name := plain(of.name)) != what.name:
            needs[there[name]] = of.requires or []
    for component, requirements in needs.items():
        wanted = {plain(each) for each in requirements if "extra ==" not in each}
        bom.register_dependency(component, [there[name] for name in sorted(wanted & there.keys())])
