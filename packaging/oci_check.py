"""Owns the judgement of a container image before anybody uses it: it is read, unpacked, and run without an engine.

Nothing here comes from what writes images. Run: python packaging/oci_check.py FILE, as root.
"""

import gzip
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import quote

from running import Failed, run

USER: Final = 10001
OWN: Final = "var/lib/proxlb-plan"
COMMANDS: Final = (
    ("version",),
    ("--demo", "--solver", "greedy"),
    ("plan", "--demo", "--max-migrations", "6"),
    ("run", "--demo", "--once"),
    ("backtest", "--synthetic", "--nodes", "4", "--guests", "20", "--jobs", "2", "--policies", "nothing,greedy"),
)
EMULATED: Final = (
    ("version",),
    ("--demo", "--solver", "greedy"),
)
"""Without CP-SAT's threads, with which emulators are very slow and may hang."""
HEALTH: Final = ("check", "--only", "age")
HEALTH_WITHOUT_LOOK: Final = 3
"""What the health check ends with where no look has been taken yet."""
MACHINES: Final = {"amd64": (62, "x86_64"), "arm64": (183, "aarch64")}
"""What ELF headers (System V ABI) and what kernels call an architecture."""
SCRIPT: Final = """set -eu
root=$1 state=$2 emulator=$3; shift 3
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777,size=64m,noexec,nosuid,nodev tmpfs "$root/tmp"
mount --bind "$state" "$root/var/lib/proxlb-plan"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/shm"; mount -t tmpfs -o mode=1777,size=64m,noexec,nosuid,nodev tmpfs "$root/dev/shm"
for device in null zero urandom; do touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
if [ -n "$emulator" ]; then cp "$emulator" "$root/dev/emulator"; fi
exec timeout --signal=KILL 300 setpriv --no-new-privs chroot --userspec=10001:10001 --groups= "$root" "$@"
"""
"""What an engine does with `read_only`, `tmpfs`, `volumes` and `security_opt` of compose.yaml."""


@dataclass(frozen=True)
class Image:
    """The image of one architecture: its configuration, and its layers, unpacked to tar archives."""

    architecture: str
    config: Mapping[str, Any]
    created: int
    layers: tuple[Path, ...]


def check_image(archive: Path) -> list[str]:
    """What was seen to be right, line by line; raises `Failed` with the first thing that is not."""
    with TemporaryDirectory() as made:
        images = read_image(archive, Path(made))
        lines = [f"{archive.name}: {archive.stat().st_size / 1e6:.1f} MB, digests and sizes are right"]
        for image in images:
            members = [member for layer in image.layers for member in _members(layer)]
            _demand(image.architecture, [*layered(image), *writable(members), *configured(image.config["config"])])
            lines += [f"{image.architecture}: {len(members)} files; user {USER} can write /{OWN} and /tmp alone"]
            lines += _tried(image, Path(made) / image.architecture)
    return lines


def read_image(archive: Path, target: Path) -> list[Image]:
    """The images of an archive, whose blobs go to a folder. Every digest and size is computed anew."""
    target.mkdir(exist_ok=True)
    run(["tar", "--extract", "--no-same-owner", "--file", archive, "--directory", target])
    if _read(target / "oci-layout") != {"imageLayoutVersion": "1.0.0"}:
        raise Failed(f"{archive} is no image layout of version 1.0.0")
    seen: set[Path] = set()
    (top,) = _read(target / "index.json")["manifests"]
    index = _read(_blob(target, top, seen))
    images = [_image(target, each, seen) for each in index["manifests"]]
    spare = {path for path in (target / "blobs").rglob("*") if path.is_file()} - seen
    if spare:
        raise Failed(f"{archive}: nothing refers to {', '.join(sorted(path.name for path in spare))}")
    _demand(str(archive), loadable(_read(target / "manifest.json"), target, seen))
    return images


def _image(target: Path, said: Mapping[str, Any], seen: set[Path]) -> Image:
    manifest = _read(_blob(target, said, seen))
    config = _read(_blob(target, manifest["config"], seen))
    if {key: config.get(key) for key in said["platform"]} != said["platform"]:
        raise Failed(f"the index says {said['platform']}, the image {config['architecture']}")
    sums, layers = config["rootfs"]["diff_ids"], []
    for number, (layer, digest) in enumerate(zip(manifest["layers"], sums, strict=True)):
        unpacked = target / f"{config['architecture']}-{number}.tar"
        with gzip.open(_blob(target, layer, seen)) as packed, unpacked.open("wb") as plain:
            shutil.copyfileobj(packed, plain)
        _same(digest, unpacked)
        layers.append(unpacked)
    created = datetime.fromisoformat(config["created"])
    return Image(config["architecture"], config, int(created.timestamp()), tuple(layers))


def _blob(target: Path, said: Mapping[str, Any], seen: set[Path]) -> Path:
    """Where the content of a descriptor is."""
    path = target / "blobs" / str(said["digest"]).replace(":", "/")
    _same(said["digest"], path)
    if path.stat().st_size != said["size"]:
        raise Failed(f"{said['digest']} is said to have {said['size']} bytes and has {path.stat().st_size}")
    seen.add(path)
    return path


def _same(digest: str, path: Path) -> None:
    if not path.is_file():
        raise Failed(f"{digest} is not in the archive")
    with path.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != f"sha256:{found}":
        raise Failed(f"{path.name} has the digest sha256:{found}, not {digest}")


def loadable(said: Iterable[Mapping[str, Any]], target: Path, seen: set[Path]) -> Iterator[str]:
    """What is wrong with what `docker load` reads."""
    for image in said:
        for name in (image["Config"], *image["Layers"]):
            if target / name not in seen:
                yield f"manifest.json names {name}, which the index does not"


def layered(image: Image) -> Iterator[str]:
    """What would make two builds differ, or one layer undo what another has."""
    links: set[str] = set()
    for layer in image.layers:
        members = _members(layer)
        names = [member.name for member in members]
        if names != sorted(names) or len(names) != len({*names}):
            yield f"files of {layer.name} are not in the order of their paths"
        for member in members:
            if member.mtime != image.created:
                yield f"/{member.name} has another time than the image"
            if member.name in links and not member.issym():
                yield f"/{member.name} was a link in the layer below"
            if PurePosixPath(member.name).name.startswith(".wh."):
                yield f"/{member.name} deletes what is below"
        links |= {member.name for member in members if member.issym()}


def writable(members: Iterable[tarfile.TarInfo]) -> Iterator[str]:
    """What user 10001 could change and is not meant to, or could become somebody else with."""
    for member in members:
        if member.mode & 0o6000:
            yield f"/{member.name} gives the rights of its owner"
        owned = USER in (member.uid, member.gid)
        if member.name == OWN:
            if (member.uid, member.gid, member.mode) != (USER, USER, 0o700):
                yield f"/{OWN} is not that of user {USER} alone"
        elif member.name == "tmp":
            if (member.uid, member.mode) != (0, 0o1777):
                yield "/tmp has not the mode 1777"
        elif owned or (member.uid, member.gid) != (0, 0) or (member.mode & 0o022 and not member.issym()):
            yield f"/{member.name} can be written by others than root"


def configured(config: Mapping[str, Any]) -> Iterator[str]:
    """What does not fit compose.yaml."""
    if config["User"] != f"{USER}:{USER}":
        yield f"the image runs as {config['User']}"
    if config["Entrypoint"] != ["proxlb-plan"]:
        yield f"the image starts {config['Entrypoint']}"
    if f"STATE_DIRECTORY=/{OWN}" not in config["Env"]:
        yield f"the state is not kept in /{OWN}"


def foreign(root: Path, machine: int) -> Iterator[str]:
    """Programs and libraries of another architecture."""
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as opened:
                head = opened.read(20)
            if head.startswith(b"\x7fELF") and struct.unpack_from("<H", head, 18)[0] != machine:
                yield f"/{path.relative_to(root)} is for another machine"


def owed(root: Path) -> Iterator[str]:
    """What has to be passed on with what is in an image, and is not in it."""
    documents = root / "usr/share/doc/proxlb-plan"
    for name in ("copyright", "NOTICE", "licenses/EPL-2.0.txt", "sbom.cdx.json"):
        if not (documents / name).is_file():
            yield f"/{documents.relative_to(root) / name} is missing"
            return
    listed = {each["purl"].partition("@")[0] for each in _read(documents / "sbom.cdx.json")["components"]}
    status = (root / "var/lib/dpkg/status").read_text().splitlines()
    there = [line.removeprefix("Package: ") for line in status if line.startswith("Package: ")]
    for name in there:
        if f"pkg:deb/debian/{quote(name)}" not in listed:
            yield f"the bill of materials does not have {name}"
    if "pkg:pypi/ortools" not in listed:
        yield "the bill of materials does not have ortools"


def _tried(image: Image, root: Path) -> list[str]:
    root.mkdir()
    for layer in image.layers:
        run(["tar", "--extract", "--preserve-permissions", "--numeric-owner", "--file", layer, "--directory", root])
    number, name = MACHINES[image.architecture]
    _demand(image.architecture, [*foreign(root, number), *owed(root)])
    emulator = shutil.which(f"qemu-{name}-static") if os.uname().machine != name else ""
    if emulator is None:
        return [f"{image.architecture}: all programs and libraries are {name}; NOT run: no qemu-{name}-static here"]
    if os.geteuid() != 0:
        raise Failed("only root can run an image without a container engine")
    return _run_all(image, root, emulator)


def _run_all(image: Image, root: Path, emulator: str) -> list[str]:
    state = root.with_suffix(".state")
    state.mkdir(0o700)
    os.chown(state, USER, USER)
    how = f"run with {Path(emulator).name}" if emulator else "run"
    lines = []
    for words in EMULATED if emulator else COMMANDS:
        said = _started(image, root, state, emulator, words)
        lines.append(f"{image.architecture}: {how}: proxlb-plan {' '.join(words)}: {said.strip().splitlines()[-1]}")
    health = _started(image, root, state, emulator, HEALTH, HEALTH_WITHOUT_LOOK)
    return [*lines, f"{image.architecture}: {how}: proxlb-plan {' '.join(HEALTH)}: {health.strip()}"]


def _started(image: Image, root: Path, state: Path, emulator: str, words: Iterable[str], expected: int = 0) -> str:
    config = image.config["config"]
    program = config["Entrypoint"]
    if emulator:  # which would have to be registered with the kernel in order to start scripts
        launcher = root / "usr/bin" / program[0]
        program = [
            "/dev/emulator",
            *launcher.read_text().splitlines()[0].removeprefix("#!").split(),
            f"/usr/bin/{program[0]}",
        ]
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--net", "--ipc", "--uts"]
    done = subprocess.run(
        [*apart, "sh", "-c", SCRIPT, "sh", root, state, emulator, *program, *words],
        env=dict(pair.split("=", 1) for pair in config["Env"]) | {"HOME": f"/{OWN}"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != expected:
        called = f"{image.architecture}: {' '.join([*program, *words])}"
        raise Failed(f"{called} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout or done.stderr


def _members(layer: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(layer, "r:") as content:
        return content.getmembers()


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def _demand(what: str, wrong: Iterable[str]) -> None:
    found = [*wrong]
    if found:
        more = f"\nand {len(found) - 20} more" if len(found) > 20 else ""
        raise Failed(f"{what}:\n" + "\n".join(found[:20]) + more)


if __name__ == "__main__":
    try:
        print("\n".join(check_image(Path(sys.argv[1]))))
    except Failed as wrong:
        sys.exit(f"oci_check: {wrong}")
