"""Owns the folder with all Python that a package brings: the planner, what it depends on, and bytecode of both.

Bytecode matters: without it each command compiles what it imports anew, as users cannot write into the folder.
"""

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from about import ROOT
from roots import enter, leave, shell, within
from running import run

INSTALLED = "/usr/lib/proxlb-plan"
"""Where the folder is once the package is installed; bytecode names it in tracebacks."""
LOCK = ROOT / "packaging" / "requirements.txt"
CHECKOUT_PATH, PACKAGE_PATH = "/opt/proxlb-plan/bin/proxlb-plan", "/usr/bin/proxlb-plan"
IDLE = ("RECORD", "REQUESTED", "INSTALLER", "direct_url.json", "uv_cache.json")
"""What installers keep for uninstalling, which dpkg and rpm do instead, and where and when they found something."""
COMPILE = (
    f"mkdir -p {INSTALLED}; test $(python3 -c 'import sys; print(*sys.version_info[:2], sep=\".\")') = {{python}}; "
    # One process and one hash seed: bytecode is the same whenever it is made. Unchecked: no times inside.
    f"PYTHONHASHSEED=0 python3 -S -m compileall -q -j 1 --invalidation-mode unchecked-hash {INSTALLED}"
)


@dataclass(frozen=True)
class Release:
    """A system that packages are made for: its Debian suite, and the Python that comes with it."""

    suite: str
    number: int
    python: str


DEBIAN_12, DEBIAN_13 = Release("bookworm", 12, "3.11"), Release("trixie", 13, "3.13")
PLATFORMS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}


def gather(folder: Path, wheel: Path, release: Release, arch: str) -> None:
    """Fills a folder with what the lock file names and with the planner, as they are on PyPI, without bytecode."""
    where = ["--target", str(folder), "--python-version", release.python, "--python-platform", PLATFORMS[arch]]
    install = [f"{Path(sys.executable).parent}/uv", "--quiet", "pip", "install", "--no-config", "--link-mode", "copy"]
    install += ["--only-binary", ":all:", *where]
    run([*install, "--require-hashes", "--requirement", LOCK])
    run([*install, "--no-deps", wheel])
    _slim(folder)
    for shipped in (folder / "planner" / "shipped").iterdir():
        shipped.write_text(shipped.read_text().replace(CHECKOUT_PATH, PACKAGE_PATH))


def compile_all(folders: Iterable[Path], release: Release) -> None:
    """Adds bytecode to folders, made by the Python of the release itself, in a clean system."""
    hooks = [shell(f"mkdir -p {INSTALLED}")]
    for folder in folders:
        hooks += [
            enter(folder, INSTALLED),
            shell(COMPILE.format(python=release.python)),
            leave(INSTALLED, folder),
            shell(f"rm -rf {INSTALLED}/*"),
        ]
    within(release.suite, ["python3-minimal", "libpython3-stdlib"], hooks)


def _slim(folder: Path) -> None:
    """Without scripts of dependencies, tests of the largest, and files that only pip reads."""
    shutil.rmtree(folder / "bin")
    (folder / ".lock").unlink(missing_ok=True)
    for name in IDLE:
        for path in folder.glob(f"*.dist-info/{name}"):
            path.unlink()
    for package in ("numpy", "pandas"):
        for tests in [path for path in (folder / package).rglob("tests") if path.is_dir()]:
            shutil.rmtree(tests)
