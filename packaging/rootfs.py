"""Owns the Debian system under the planner in the image: packages that are fetched, taken apart, and never installed.

Nothing of the architecture is run, so that the image of one can be made on a machine of another. What scripts of
packages would do on installation is done here, as far as the planner needs it.
"""

import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from layer import Entry, file, folder, link, taken
from running import Failed, run
from sbom import FILE

SUITE: Final = "trixie"
PYTHON: Final = "python3.13"
PACKAGES: Final = ("base-files", "python3", "libstdc++6", "ca-certificates", "tzdata", "dash", "netbase")
"""The shell is for people who look into a container; the planner runs without."""
LEFT_OUT: Final = (
    "debconf", "debianutils", "dpkg", "libacl1", "libmd0", "libpcre2-8-0", "libselinux1", "mawk", "openssl",
    "openssl-provider-legacy", "readline-common", "tar",
)  # fmt: skip
"""What only installs packages, and is fetched because others depend on it."""
UNREAD: Final = (
    "etc/apt/*", "etc/cron*", "etc/debconf*", "etc/dpkg/*", "etc/update-motd.d/*", "usr/lib/*/engines-*",
    "usr/lib/*/gconv/*", "usr/lib/python3.13/pydoc_data/*", "usr/lib/systemd/*", "usr/lib/valgrind/*",
    "usr/share/apport/*", "usr/share/applications/*", "usr/share/base-files/*", "usr/share/bash-completion/*",
    "usr/share/bug/*", "usr/share/doc-base/*", "usr/share/fish/*", "usr/share/gcc/*", "usr/share/gdb/*",
    "usr/share/zsh/*", "usr/share/info/*", "usr/share/lintian/*", "usr/share/locale/*", "usr/share/man/*",
    "usr/share/pixmaps/*", "var/backups", "var/cache/*", "var/tmp",
)  # fmt: skip
"""Documentation, other people's languages, and what serves programs that are not there."""
DOCUMENTATION: Final = "usr/share/doc/*"
OWED: Final = ("*/copyright", "*/NOTICE", "*/licenses", "*/licenses/*", f"*/{FILE}")
CERTIFICATES: Final = "usr/share/ca-certificates"
USER: Final = 10001
STATE: Final = "var/lib/proxlb-plan"
BUILDERS: Final = {"x86_64": "amd64", "aarch64": "arm64"}
MULTIARCH: Final = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
MIRROR: Final = "PROXLB_PLAN_DEBIAN_MIRROR"
"""Names another mirror than Debian's own, such as one that has the archive as it was on some day."""

ACCOUNTS: Final = {
    "etc/passwd": f"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
    f"proxlb-plan:x:{USER}:{USER}:proxlb-plan:/{STATE}:/bin/false\n",
    "etc/group": f"root:x:0:\nnogroup:x:65534:\nproxlb-plan:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
}


def root_files(architectures: Iterable[str], epoch: int) -> dict[str, dict[str, Entry]]:
    """The system of each architecture (as Debian names them): path, without a slash in front, to what is there."""
    systems = {each: _system(each, epoch) for each in sorted(architectures)}
    builder = BUILDERS.get(platform.machine(), platform.machine())
    if builder not in systems:
        raise Failed(f"images for {', '.join(systems)} cannot be made on {builder}: none of their Pythons runs here")
    # Bytecode is that of a version, not of an architecture.
    compiled = bytecode(systems[builder], MULTIARCH[builder])
    return {each: {**system, **compiled} for each, system in systems.items()}


def _system(architecture: str, epoch: int) -> dict[str, Entry]:
    with TemporaryDirectory() as made:
        packages = _fetched(architecture, Path(made), epoch)
        status = "\n".join(f"{_said(each)}\nStatus: install ok installed\n" for each in packages)
        files = {path: entry for each in packages for path, entry in _unpacked(each) if path and not unread(path)}
    return {path: entry for path, entry in files.items() if not below(path, CERTIFICATES)} | settings(files, status)


def _fetched(architecture: str, target: Path, epoch: int) -> list[Path]:
    """Packages whose signatures were checked, in the order of their names."""
    target.chmod(0o755)
    command = [
        "mmdebstrap", "--quiet", "--variant=extract", "--format=null", f"--architectures={architecture}",
        f"--include={','.join(PACKAGES)}", f"--extract-hook=copy-out /var/cache/apt/archives {target}",
        SUITE, "/dev/null",
    ]  # fmt: skip
    mirror = os.environ.get(MIRROR)
    run([*command, mirror] if mirror else command, env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch)})
    return [path for path in sorted(target.rglob("*.deb")) if path.name.split("_")[0] not in LEFT_OUT]


def _said(package: Path) -> str:
    return run(["dpkg-deb", "--field", package]).strip()


def _unpacked(package: Path) -> Iterator[tuple[str, Entry]]:
    archive, program = package.with_suffix(".tar"), "dpkg-deb --fsys-tarfile"
    run(["sh", "-c", f'exec {program} "$0" > "$1"', package, archive], called=f"{program} {package.name}")
    with archive.open("rb") as opened:
        yield from taken(opened)
    archive.unlink()


def unread(path: str) -> bool:
    """Whether nobody reads a file in a container. Texts of licences stay: who passes a package on passes them on,
    and so does what is bundled."""
    if fnmatch(path, DOCUMENTATION):
        return path.count("/") > DOCUMENTATION.count("/") and not any(fnmatch(path, pattern) for pattern in OWED)
    return any(fnmatch(path, pattern) for pattern in UNREAD)


def below(path: str, above: str) -> bool:
    """Whether a path is that of a folder or in it."""
    return path == above or path.startswith(f"{above}/")


def settings(files: Mapping[str, Entry], status: str) -> dict[str, Entry]:
    """What scripts of packages would have made, and the user's place. `status`: what dpkg would know."""
    bundle = b"".join(
        entry.content for path, entry in sorted(files.items())
        if below(path, CERTIFICATES) and isinstance(entry.content, bytes)
    )  # fmt: skip
    return {
        **{path: file(text.encode()) for path, text in ACCOUNTS.items()},
        "etc/localtime": link("/usr/share/zoneinfo/Etc/UTC"),
        "etc/proxlb-plan": folder(),
        "etc/ssl/certs/ca-certificates.crt": file(bundle),
        "tmp": folder(0o1777),
        # Where OpenSSL looks for certificates: the package of its program, left out, has these links.
        "usr/lib/ssl/cert.pem": link("/etc/ssl/certs/ca-certificates.crt"),
        "usr/lib/ssl/certs": link("/etc/ssl/certs"),
        "var/lib/dpkg/status": file(status.encode()),
        STATE: folder(0o700, owner=USER),
    }


def bytecode(system: Mapping[str, Entry], multiarch: str) -> dict[str, Entry]:
    """That of Python's own modules, made by the Python of the image: without it each command compiles them anew."""
    library = f"usr/lib/{PYTHON}"
    with TemporaryDirectory() as made:
        root = Path(made)
        for path, entry in system.items():
            if below(path, library) or below(path, f"usr/lib/{multiarch}") or path == f"usr/bin/{PYTHON}":
                unfold(root / path, entry)
        shared = root / "usr/lib" / multiarch
        (loader,) = shared.glob("ld-linux-*")
        python: list[str | Path] = [loader, "--library-path", shared, root / "usr/bin" / PYTHON]
        # -B: what compiling itself imports would be written with the time and the place of this folder.
        python += ["-B", "-S", "-m", "compileall"]
        # Unchecked: no times inside. One hash seed: bytecode is the same whenever it is made.
        how: list[str | Path] = ["-q", "--invalidation-mode", "unchecked-hash", "-s", root, "-p", "/"]
        run([*python, *how, root / library], env={"PYTHONHASHSEED": "0"})
        return {str(path.relative_to(root)): file(path.read_bytes()) for path in (root / library).rglob("*.pyc")}


def unfold(path: Path, entry: Entry) -> None:
    """Writes a file, link or folder to a disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.target:
        path.symlink_to(entry.target)
    elif isinstance(entry.content, bytes) and entry != folder(entry.mode):
        path.write_bytes(entry.content)
        path.chmod(entry.mode)
