"""Claims about packages that are not installed: one line that says what to install, whatever was asked for."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from planner.missing import said

REPO = Path(__file__).parent.parent
DEPENDENCIES = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["dependencies"]
HIDING = """
import importlib.machinery, sys
hidden, find = sys.argv[1], importlib.machinery.PathFinder.find_spec
def without(name, path=None, target=None):
    return None if name.partition(".")[0] == hidden else find(name, path, target)
importlib.machinery.PathFinder.find_spec = without
sys.argv[:2] = ["proxlb-plan"]
from planner.__main__ import main
main()
"""
"""The command line where a package is not found."""
VERSION = re.compile(r"[<>=]+[\d.]+")
NEEDING = {
    "annotated_types": "--help",
    "cronsim": "history",
    "jinja2": "report --html - --demo --solver greedy",
    "numpy": "capacity --demo",
    "pandas": "doctor --demo",
    "prometheus_client": "run --once --demo",
    "proxmoxer": "doctor",
    "pydantic": "config show",
    "requests": "snapshot -o x.json",
    "rich": "--help",
    "typer": "version",
    "urllib3": "abort 1",
    "yaml": "config validate",
}
"""Package, as it is imported, and a command that does not get far without it."""


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


@pytest.mark.parametrize(("package", "words"), NEEDING.items())
def test_a_command_without_a_package_says_what_to_install(tmp_path: Path, package: str, words: str) -> None:
    (tmp_path / "proxlb-plan.yaml").write_text(
        "api: {hosts: 127.0.0.1:9, token_id: a@pve!b, token_secret_file: token}\napply: {state_directory: .}\n"
    )
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text("x")
    done = subprocess.run(
        [sys.executable, "-c", HIDING, package, *words.split()], cwd=tmp_path, capture_output=True, text=True,
        timeout=120, check=False, stdin=subprocess.DEVNULL, env={"PYTHONPATH": str(REPO), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert re.fullmatch(r"proxlb-plan: the Python package \S+ is not installed: pip install '(\S+)'\n", done.stderr), (
        done.stderr
    )


def imported() -> set[str]:
    """What our modules import from elsewhere, here or there."""
    found = set()
    for package in ("planner", "solvers"):
        for file in (REPO / package).glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found.add(node.module.partition(".")[0])
    return found - {*sys.stdlib_module_names, "planner", "solvers"}


def test_all_packages_that_are_needed_can_be_named_with_the_versions_that_will_do() -> None:
    known, wanted = metadata.packages_distributions(), {name_of(entry) for entry in DEPENDENCIES}
    installed = {name_of(entry): entry for entry in metadata.requires("proxlb-plan") or () if "extra" not in entry}
    named = set()
    for module in imported() & known.keys():
        for name in {name_of(each) for each in known[module]} & wanted:
            found = re.search(r"pip install '(.*)'$", said(ModuleNotFoundError(name=f"{module}.part")) or "")
            assert found and name_of(found[1]) == name, module
            assert {*VERSION.findall(found[1])} == {*VERSION.findall(installed.get(name, ""))}
            named.add(name)
    assert len(named) >= len(NEEDING)


def test_what_is_missing_is_found_behind_what_a_package_makes_of_it() -> None:
    missing = ModuleNotFoundError("No module named 'numpy'", name="numpy")
    told = ImportError("Unable to import required dependency numpy.\nPlease see the traceback for details.")
    told.__cause__ = missing
    assert said(told) == said(missing)
    broken = ImportError("libopenblas.so.0: cannot open shared object file", name="numpy._core")
    assert (said(broken) or "").startswith("the Python package numpy cannot be loaded (libopenblas.so.0: cannot open")


def test_a_mistake_of_our_own_is_nothing_to_install() -> None:
    assert said(ModuleNotFoundError("No module named 'planner.nope'", name="planner.nope")) is None
    assert said(ImportError("who knows")) is None


def test_a_package_that_ours_do_not_name_is_named_as_it_is() -> None:
    line = said(ModuleNotFoundError("No module named 'certifi'", name="certifi"))
    assert line == "the Python package certifi is not installed: pip install 'certifi'"
