"""Builds all packages from the commit that is checked out: `python packaging/build.py [FOLDER]` (default: dist).

Wheel and sdist, .deb for Debian 12 and 13, .rpm, an OCI image for amd64 and arm64, a bill of materials, SHA256SUMS.
What they need comes from the Python package index and the archive of Debian; mmdebstrap has to be installed.
"""

import os
import shutil
import sys
import tempfile
import time
from argparse import ArgumentParser
from functools import partial
from pathlib import Path

from about import ROOT, About, about
from bundle import DEBIAN_12, DEBIAN_13, compile_all, gather
from oci import build_image
from output import clear, write_sums
from packages import deb, rpm
from running import Failed, attempt, run
from sbom import FILE
from tree import DEBIAN, DOC, RED_HAT, stage


def main() -> None:
    """Fills the folder, and says what is in it."""
    asked = ArgumentParser(description="Build all packages from the commit that is checked out.")
    asked.add_argument("folder", nargs="?", type=Path, default=ROOT / "dist", help="for the packages (default: dist)")
    asked.add_argument("--dirty", action="store_true", help="also where files differ from the commit")
    words = asked.parse_args()
    attempt("packages", partial(fill, words.folder.absolute(), words.dirty))


def fill(dist: Path, dirty_too: bool) -> None:
    """All packages into a folder. Failed where files differ from the commit, unless that is agreed to."""
    begun, what = time.monotonic(), about()
    if what.revision.endswith("-dirty") and not dirty_too:
        raise Failed("files differ from the commit (git status): commit or remove them, or say --dirty")
    if not shutil.which("mmdebstrap"):
        raise Failed("mmdebstrap is not installed: apt install mmdebstrap, on Debian 12 or newer")
    clear(dist)
    os.environ["SOURCE_DATE_EPOCH"] = str(what.epoch)
    with tempfile.TemporaryDirectory(prefix="proxlb-plan-") as folder:
        build(dist, Path(folder), what)
    print(f"{time.monotonic() - begun:.0f} s, of {what.revision[:12]}, in {dist}:")
    for file in sorted(dist.iterdir()):
        print(f"{file.stat().st_size / 2**20:8.2f} MiB  {file.name}")


def build(dist: Path, work: Path, what: About) -> None:
    """Everything; `work` is a folder for what is in between."""
    os.umask(0o022)
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", dist], cwd=ROOT)
    wheel = next(dist.glob("*.whl"))
    bundles = {(release, arch): work / f"{release.suite}-{arch}" for release, arch in WANTED}
    for (release, arch), folder in bundles.items():
        gather(folder, wheel, release, arch)
    for release in (DEBIAN_12, DEBIAN_13):
        compile_all([folder for (of, _), folder in bundles.items() if of is release], release)
    trees = {key: work / f"tree-{folder.name}" for key, folder in bundles.items()}
    for key, tree in trees.items():
        stage(tree, bundles[key], DEBIAN, what)
    for release in (DEBIAN_12, DEBIAN_13):
        deb(trees[release, "amd64"], release, dist, what)
    stage(work / "tree-rpm", bundles[DEBIAN_12, "amd64"], RED_HAT, what)
    rpm(work / "tree-rpm", dist, what)
    build_image({arch: trees[DEBIAN_13, arch] for arch in ("amd64", "arm64")}, dist, what)
    shutil.copy(trees[DEBIAN_13, "amd64"] / DOC / FILE, dist / f"{what.name}_{what.version}_{FILE}")
    write_sums(dist)


WANTED = ((DEBIAN_12, "amd64"), (DEBIAN_13, "amd64"), (DEBIAN_13, "arm64"))
"""Which releases need a bundle for which architecture; arm64 is for the image alone."""

if __name__ == "__main__":
    main()
