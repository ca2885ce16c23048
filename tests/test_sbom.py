"""Claims about the bill of materials of packages: everything that is in them, once, with its licence, reproducibly."""

import json
import re
import shutil
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import tests.packaged  # noqa: F401 - from here on packaging/ is on the path

# isort: split
from about import PROJECT, About, about
from licenses import licenses
from native import libraries
from sbom import write_sbom

SITE = Path(sysconfig.get_path("purelib"))
SOME = ("numpy", "ortools", "pydantic", "pydantic_core", "requests", "jinja2", "protobuf", "proxlb_plan")
STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.41-12
Depends: libgcc-s1
Description: GNU C Library: Shared libraries
 Contains the standard libraries.

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
Description: what was removed
"""
Document = dict[str, Any]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the distributions of this environment, with their libraries."""
    folder = tmp_path_factory.mktemp("tree")
    for name in SOME:
        (info,) = (path for path in SITE.glob("*.dist-info") if re.fullmatch(rf"(?i){name}-[\d.]+", path.stem))
        shutil.copytree(info, folder / info.name, ignore=shutil.ignore_patterns("RECORD"))
    for libs in (*SITE.glob("numpy.libs"), *SITE.glob("ortools/.libs"), *SITE.glob("ortools.libs")):
        for path in libs.iterdir():
            (folder / path.relative_to(SITE)).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.relative_to(SITE)).touch()
    return folder


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The status file of a system of one package."""
    root = tmp_path_factory.mktemp("root")
    status, notice = root / "var/lib/dpkg/status", root / "usr/share/doc/libc6/copyright"
    for path in (status, notice):
        path.parent.mkdir(parents=True)
    status.write_text(STATUS)
    notice.write_text("Format: 1.0\n\nFiles: *\nLicense: LGPL-2.1+\n\nFiles: x\nLicense: LGPL-2.1+\n")
    return status


def written(tree: Path, status: Path | None, what: About, folder: Path) -> Document:
    write_sbom(tree, status, what, folder / "sbom.json")
    return dict(json.loads((folder / "sbom.json").read_text()))


@pytest.fixture(scope="module")
def document(tree: Path, system: Path, tmp_path_factory: pytest.TempPathFactory) -> Document:
    return written(tree, system, about(), tmp_path_factory.mktemp("sbom"))


def named(document: Document, name: str) -> Document:
    (found,) = (each for each in document["components"] if each["name"].lower() == name)
    return dict(found)


def said(component: Document) -> list[str]:
    """The licences of a component."""
    return [each.get("expression") or each["license"].get("id") or each["license"]["name"]
            for each in component.get("licenses", ())]  # fmt: skip


def inside(component: Document) -> Iterator[Document]:
    yield component
    for part in component.get("components", ()):
        yield from inside(part)


def test_it_is_a_valid_cyclonedx_document(document: Document) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(document)) is None
    assert validator.validate_str(json.dumps(document | {"serialNumber": "7"})) is not None


def test_every_distribution_is_in_it_once_with_its_version_and_where_it_is_from(tree: Path, document: Document) -> None:
    python = {each["name"]: each for each in document["components"] if each["purl"].startswith("pkg:pypi/")}
    assert len(python) == len(SOME) - 1
    assert {name.lower() for name in python} == {*SOME} - {"proxlb_plan"}
    for name, component in python.items():
        assert component["version"] == metadata.version(name)
        assert component["purl"] == f"pkg:pypi/{name.lower().replace('_', '-')}@{metadata.version(name)}"


def test_it_says_what_it_is_of(document: Document) -> None:
    whole = document["metadata"]["component"]
    assert (whole["name"], whole["version"], said(whole)) == (PROJECT["name"], PROJECT["version"], ["Apache-2.0"])
    assert whole["properties"] == [{"name": "revision", "value": about().revision}]


def test_licences_are_those_of_the_metadata_and_nothing_is_guessed(document: Document) -> None:
    assert said(named(document, "numpy")) == [metadata.metadata("numpy")["License-Expression"]]
    assert said(named(document, "requests")) == ["Apache-2.0"]
    assert said(named(document, "jinja2")) == ["BSD License"]  # two or three clauses: it does not say
    assert named(document, "protobuf")["licenses"] == [
        {"license": {"id": "BSD-3-Clause", "acknowledgement": "concluded"}}
    ]
    assert all(said(each) for each in document["components"])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: BSD", "MIT OR Apache-2.0"),
        ("License-Expression: Mine\nClassifier: License :: OSI Approved :: MIT License", "MIT"),
        ("License: mit", "MIT"),
        ("License: see LICENSE\nClassifier: License :: OSI Approved :: ISC License (ISCL)", "ISC"),
        ("License: The text\n        of a licence\nClassifier: License :: OSI Approved :: BSD License", "BSD License"),
        ("License: see LICENSE", "see LICENSE"),
        ("License-File: COPYING", "licence text included"),
        ("Name: x", None),
    ],
)
def test_a_licence_is_found_wherever_metadata_have_it(tmp_path: Path, lines: str, expected: str | None) -> None:
    (tmp_path / "x-1.dist-info").mkdir()
    (tmp_path / "x-1.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.4\n{lines}\n")
    (distribution,) = metadata.distributions(path=[str(tmp_path)])
    found = [each.value if hasattr(each, "value") else each.id or each.name for each in licenses(distribution.metadata)]
    assert found == ([] if expected is None else [expected])


def test_libraries_in_wheels_are_named_with_what_the_wheel_or_their_project_says(document: Document) -> None:
    of_numpy = {each["name"]: said(each) for each in named(document, "numpy")["components"]}
    assert of_numpy["OpenBLAS"] == ["BSD-3-Clause"]
    assert of_numpy["GCC runtime library"] == ["GPL-3.0-or-later WITH GCC-exception-3.1"]
    of_ortools = {each["name"]: each for each in named(document, "ortools")["components"]}
    assert of_ortools.keys() >= {"SCIP", "HiGHS", "Abseil", "COIN-OR Cbc", "Protocol Buffers"}
    for component in of_ortools.values():
        (licence,) = component["licenses"]
        assert licence["license"]["acknowledgement"] == "concluded"  # the wheel says nothing of them
    crates = {each["name"]: each for each in named(document, "pydantic_core")["components"]}
    assert crates["pyo3"]["purl"].startswith("pkg:cargo/pyo3@") and said(crates["pyo3"]) == ["MIT OR Apache-2.0"]


def test_no_library_is_left_out(tree: Path, document: Document) -> None:
    there = {str(path.relative_to(tree)) for path in tree.rglob("*.so*") if path.name != "libortools.so.9"}
    listed = {each["value"] for component in document["components"] for part in inside(component)
              for each in part.get("properties", ()) if each["name"] == "file"}  # fmt: skip
    assert there and there == listed


def test_a_library_that_nobody_speaks_of_is_named_by_its_file() -> None:
    files = ["a/.libs/libnew.so.3", "a/own.cpython-313.so", "a.libs/libz.so.1", "a.libs/README"]
    assert [(each.name, each.license) for each in libraries(files, [])] == [("zlib", "Zlib"), ("libnew.so.3", "")]


def test_it_says_who_needs_whom(document: Document) -> None:
    needs = {each["ref"].partition("@")[0]: each.get("dependsOn", []) for each in document["dependencies"]}
    assert [each.partition("@")[0] for each in needs["pkg:pypi/ortools"]] == ["pkg:pypi/numpy", "pkg:pypi/protobuf"]
    assert {each.partition("@")[0] for each in needs["pkg:pypi/proxlb-plan"]} == {
        "pkg:pypi/jinja2", "pkg:pypi/numpy", "pkg:pypi/ortools", "pkg:pypi/pydantic", "pkg:pypi/requests",
    }  # fmt: skip


def test_what_dpkg_has_installed_is_in_it_and_what_is_gone_is_not(document: Document) -> None:
    (package,) = (each for each in document["components"] if each["purl"].startswith("pkg:deb/"))
    assert package["purl"] == "pkg:deb/debian/libc6@2.41-12?arch=amd64"
    assert package["properties"] == [{"name": "source package", "value": "glibc"}] and said(package) == ["LGPL-2.1+"]


def test_the_same_of_the_same_commit_is_the_same_to_the_byte_and_of_another_is_not(tree: Path, tmp_path: Path) -> None:
    what, texts = about(), []
    copy = tmp_path / "elsewhere"
    shutil.copytree(tree, copy)
    for folder in (tree, copy):
        write_sbom(folder, None, what, tmp_path / "sbom.json")
        texts.append((tmp_path / "sbom.json").read_text())
    assert texts[0] == texts[1] and str(tree) not in texts[0]
    other = written(tree, None, replace(what, revision="0" * 40), tmp_path)
    assert other["serialNumber"] != json.loads(texts[0])["serialNumber"]
    assert other["metadata"]["timestamp"] == json.loads(texts[0])["metadata"]["timestamp"]
