"""Tries packages as their users would: `python packaging/check.py [deb|rpm|oci|again|first ...]`.

In clean systems each .deb is installed, used, removed and purged, the .rpm installed, used and removed, the image
unpacked and run; then all is built once more and has to be the same. Root is needed for the image alone. Not
without being asked, `first` measures how long it takes to the first plan by pipx, uv and from a checkout.
"""

import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from about import ROOT
from bundle import DEBIAN_12, DEBIAN_13, Release
from oci_check import check_image
from output import one
from roots import shell, upload, within
from running import Failed, attempt, run

SCRIPTS = ROOT / "packaging" / "scripts"


def main() -> None:
    """Says what was found to be so, and how long it took; ends with 1 at the first that is not."""
    asked = ArgumentParser(description="Try packages as their users would.")
    asked.add_argument("what", nargs="*", metavar="|".join(CHECKS), help=f"default: {' '.join(USUAL)}")
    asked.add_argument("--folder", type=Path, default=ROOT / "dist", help="where the packages are (default: dist)")
    words = asked.parse_args()
    if unknown := [name for name in words.what if name not in CHECKS]:
        asked.error(f"{unknown[0]} is none of {', '.join(CHECKS)}")
    attempt("packages-test", partial(_try, words.what or USUAL, words.folder.absolute()))


def _try(names: Iterable[str], dist: Path) -> None:
    for name in names:
        for line in CHECKS[name](dist):
            print(line, flush=True)


def _debs(dist: Path) -> Iterator[str]:
    for release in (DEBIAN_12, DEBIAN_13):
        begun = time.monotonic()
        package = one(dist, f"*+deb{release.number}_amd64.deb")
        yield f"{package.name} in a clean Debian {release.number} ({release.suite}):"
        yield from _life(package, "/mnt/it.deb", "life-of-a-deb", release, ["systemd", "procps"])
        yield f"  {time.monotonic() - begun:.0f} s"


def _rpm(dist: Path) -> Iterator[str]:
    """A Debian 12 stands in for Red Hat: its Python is the same 3.11, and it has rpm itself."""
    begun = time.monotonic()
    package = one(dist, "*.x86_64.rpm")
    yield f"{package.name} by rpm, with the Python 3.11 of Debian 12:"
    yield from _life(
        package, "/mnt/it.rpm", "life-of-an-rpm", DEBIAN_12, ["rpm", "python3", "systemd", "procps", "libstdc++6"]
    )
    yield f"  {time.monotonic() - begun:.0f} s"


def _life(package: Path, inside: str, script: str, release: Release, beside: Sequence[str]) -> Iterator[str]:
    """What a script says that installs, tries and removes a package in a clean system."""
    hooks = [upload(package, inside), upload(SCRIPTS / "try-installed", "/mnt/try-installed")]
    hooks += [upload(SCRIPTS / script, "/mnt/life"), shell("sh /mnt/life")]
    yield from (f"  {line}" for line in within(release.suite, beside, hooks).splitlines())


def _first_minutes(dist: Path) -> Iterator[str]:
    """Certificates that this machine trusts are trusted there as well: a proxy between may need one of its own."""
    wheel = one(dist, "*.whl")
    trusted = Path("/etc/ssl/certs/ca-certificates.crt")
    with tempfile.TemporaryDirectory(prefix="proxlb-plan-first-") as folder:
        bundle = Path(folder) / "it.bundle"
        run(["git", "bundle", "create", "--quiet", bundle, "HEAD"], cwd=ROOT)
        for release in (DEBIAN_12, DEBIAN_13):
            yield f"without a package, in a clean Debian {release.number}:"
            hooks = [upload(trusted, str(trusted)), upload(wheel, f"/mnt/{wheel.name}")]
            hooks += [upload(bundle, "/mnt/it.bundle"), upload(SCRIPTS / "first-minutes", "/mnt/first-minutes")]
            told = within(release.suite, ["ca-certificates"], [*hooks, shell("sh /mnt/first-minutes")])
            yield from (f"  {line}" for line in told.splitlines())


def _image(dist: Path) -> Iterator[str]:
    begun = time.monotonic()
    archive = one(dist, "*_oci.tar")
    yield f"{archive.name}:"
    yield from (f"  {line}" for line in check_image(archive))
    yield f"  {time.monotonic() - begun:.0f} s"


def _again(dist: Path) -> Iterator[str]:
    """Built once more from the same commit, in another folder."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="proxlb-plan-again-") as folder:
        one(dist, "SHA256SUMS")
        run([sys.executable, ROOT / "packaging" / "build.py", folder])
        first, second = ((path / "SHA256SUMS").read_text() for path in (dist, Path(folder)))
    others = sorted({line.split()[1] for line in {*first.splitlines()} ^ {*second.splitlines()}})
    if others:
        raise Failed(f"built twice from one commit, these are not the same: {', '.join(others)}")
    yield f"built once more: all {len(first.splitlines())} files have the same digests"
    yield f"  {time.monotonic() - begun:.0f} s"


USUAL: dict[str, Callable[[Path], Iterator[str]]] = {"deb": _debs, "rpm": _rpm, "oci": _image, "again": _again}
CHECKS = USUAL | {"first": _first_minutes}

if __name__ == "__main__":
    main()
