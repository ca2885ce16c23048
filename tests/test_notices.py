"""Claims about the notices that packages owe: nothing is passed on without its licence, its authors and its source."""

import re
import shutil
import sysconfig
from pathlib import Path

import pytest

import tests.packaged  # noqa: F401 - from here on packaging/ is on the path

# isort: split
from notices import TEXTS, notices
from projects import PROJECTS
from running import Failed

SITE = Path(sysconfig.get_path("purelib"))
COIN_OR = ("Cbc", "Cgl", "Clp", "CoinUtils", "Osi")


def distribution(tree: Path, name: str, libraries: tuple[str, ...] = ()) -> None:
    """One that has no word on what is in it."""
    (tree / f"{name}-1.dist-info").mkdir(parents=True)
    (tree / f"{name}-1.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1\n")
    (tree / f"{name}.libs").mkdir()
    for library in libraries:
        (tree / f"{name}.libs" / library).touch()


@pytest.fixture(scope="module")
def owed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of the wheels of this environment that bring something."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("numpy", "ortools", "pydantic_core"):
        (info,) = SITE.glob(f"{name}-*.dist-info")
        shutil.copytree(info, tree / info.name, ignore=shutil.ignore_patterns("RECORD"))
    for libs in (*SITE.glob("numpy.libs"), *SITE.glob("ortools/.libs"), *SITE.glob("ortools.libs")):
        for path in libs.iterdir():
            (tree / path.relative_to(SITE)).parent.mkdir(parents=True, exist_ok=True)
            (tree / path.relative_to(SITE)).touch()
    return notices(tree)


def test_solvers_that_or_tools_brings_are_named_with_licence_authors_and_source(owed: dict[str, str]) -> None:
    sections = dict(re.findall(r"^(\S.*)\n((?:    .+\n)+)", owed["NOTICE"], re.M))
    for name in COIN_OR:
        assert "licence: EPL-2.0" in sections[f"COIN-OR {name}"]
        assert f"source: https://github.com/coin-or/{name}" in sections[f"COIN-OR {name}"]
    for name in ("SCIP", "HiGHS", "RE2", "Protocol Buffers", "Eigen", "SoPlex", "zlib"):
        assert all(f"{key}: " in sections[name] for key in ("licence", "authors", "source")), name
    assert "Source code of what is under the Eclipse Public License 2.0" in owed["NOTICE"]


def test_the_text_of_each_licence_that_is_named_comes_along(owed: dict[str, str]) -> None:
    named = {word for line in re.findall(r"licence: (.+)", owed["NOTICE"]) for word in re.findall(r"[\w.-]+", line)}
    for name in {project.license for project in PROJECTS} | {"LGPL-2.1-or-later", "Unicode-3.0"}:
        assert name in named and len(owed[f"licenses/{name}.txt"]) > 500
    with_text = {path.stem for path in TEXTS.iterdir()}
    of_the_wheel = {"AND", "OR", "WITH", "that", "of", "pydantic_core", "BSD-3-Clause-Open-MPI", "GPL-3.0-or-later",
                    "GCC-exception-3.1"}  # fmt: skip
    assert named - with_text <= of_the_wheel
    (info,) = SITE.glob("numpy-*.dist-info")
    text = (info / "licenses" / "LICENSE.txt").read_text()
    assert "GNU GENERAL PUBLIC LICENSE" in text and "GCC RUNTIME LIBRARY EXCEPTION" in text.upper()
    assert {f"licenses/{name}.txt" for name in named & with_text} == owed.keys() - {"NOTICE"}


def test_texts_of_licences_are_whole() -> None:
    ends = {"EPL-2.0": "Exhibit A", "MPL-2.0": "Incompatible With Secondary Licenses", "Apache-2.0": "END OF TERMS",
            "LGPL-2.1-or-later": "END OF TERMS", "MIT": "OTHER DEALINGS IN THE SOFTWARE"}  # fmt: skip
    for name, end in ends.items():
        assert end in " ".join((TEXTS / f"{name}.txt").read_text().split())


def test_what_is_linked_into_a_library_is_named_where_that_library_is_and_nowhere_else(
    tmp_path: Path, owed: dict[str, str]
) -> None:
    assert owed["NOTICE"].count("\nSoPlex\n") == 1  # numpy's libscipy_openblas has none
    distribution(tmp_path, "one", ("libscip-1a2b.so.10.0",))
    distribution(tmp_path, "other", ("libz.so.1",))
    first, second = notices(tmp_path)["NOTICE"].split("In other\n")
    assert "SCIP\n" in first and "SoPlex\n" in first and "SoPlex" not in second and "zlib\n" in second


def test_a_library_that_nobody_knows_is_not_passed_on(tmp_path: Path) -> None:
    distribution(tmp_path, "one", ("libnew.so.3",))
    with pytest.raises(Failed, match=r"under which licence one\.libs/libnew\.so\.3 is: add its project to packaging"):
        notices(tmp_path)
