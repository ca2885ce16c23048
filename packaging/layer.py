"""Owns layers of an image: files by their path, written so that the same files always give the same bytes."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

from running import Failed

LEVEL: Final = 6
"""Of compression: 9 saves one part in a hundred, and takes more than three times as long."""
LINKS: Final = ("bin", "sbin", "lib", "lib64")
"""What Debian has in /usr alone: a folder of that name in an upper layer would hide the link in a lower one."""


@dataclass(frozen=True)
class Entry:
    """A file, folder or link (`kind` is tarfile's); `content` is a path where it is not in memory."""

    kind: bytes
    mode: int
    content: bytes | Path = b""
    target: str = ""
    owner: int = 0


@dataclass(frozen=True)
class Layer:
    """A layer as a file: `digest` and `size` are those of the compressed bytes, `content` that of the tar inside."""

    path: Path
    digest: str
    size: int
    content: str


def file(content: bytes | Path, mode: int = 0o644) -> Entry:
    """A regular file."""
    return Entry(tarfile.REGTYPE, mode, content)


def folder(mode: int = 0o755, owner: int = 0) -> Entry:
    """A folder."""
    return Entry(tarfile.DIRTYPE, mode, owner=owner)


def link(target: str) -> Entry:
    """A symbolic link."""
    return Entry(tarfile.SYMTYPE, 0o777, target=target)


def staged(root: Path) -> dict[str, Entry]:
    """What lies in a folder, which becomes the root of the system. It belongs to root, who alone may write."""
    found = {}
    for path in root.rglob("*"):
        inside = path.relative_to(root)
        if inside.parts[0] in LINKS and not path.is_symlink():
            raise Failed(f"{path} is not in usr: in the image, /{inside.parts[0]} is a link to /usr/{inside.parts[0]}")
        found[str(inside)] = _on_disk(path)
    return found


def _on_disk(path: Path) -> Entry:
    if path.is_symlink():
        return link(str(path.readlink()))
    if path.is_dir():
        return folder()
    return file(path, 0o755 if path.stat().st_mode & 0o100 else 0o644)


def write_layer(files: Mapping[str, Entry], target: Path, epoch: int) -> Layer:
    """Writes files as a layer, in the order of their paths, with all folders above them, and all of one time."""
    complete = {str(above): folder() for path in files for above in PurePosixPath(path).parents if above.name}
    complete |= files
    with target.open("wb") as raw:
        outer = Hashing(raw)
        with gzip.GzipFile(filename="", mode="wb", fileobj=outer, compresslevel=LEVEL, mtime=0) as packed:
            inner = Hashing(packed)
            _write_tar(complete, inner, epoch)
    return Layer(target, outer.digest(), outer.size, inner.digest())


def _write_tar(files: Mapping[str, Entry], target: "Hashing", epoch: int) -> None:
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(files):
            header, entry = tarfile.TarInfo(path), files[path]
            header.type, header.mode, header.linkname = entry.kind, entry.mode, entry.target
            header.uid = header.gid = entry.owner
            header.mtime = epoch
            with _opened(entry.content) as content:
                header.size = content.seek(0, io.SEEK_END)
                content.seek(0)
                archive.addfile(header, content)


def _opened(content: bytes | Path) -> IO[bytes]:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def taken(archive: IO[bytes]) -> Iterator[tuple[str, Entry]]:
    """What a tar archive of a Debian package holds, as root alone may write it, and nothing that changes who one is."""
    with tarfile.open(fileobj=archive, mode="r:") as content:
        for header in content:
            path, mode = header.name.removeprefix("./").rstrip("/"), header.mode & 0o755
            if header.isdir():
                yield path, folder(mode)
            elif header.issym():
                yield path, link(header.linkname)
            else:  # of a hard link, the content of the file that it is another name of
                held = content.extractfile(header)
                yield path, file(held.read() if held else b"", mode)


class Hashing(io.RawIOBase):
    """Passes on what is written to it, with its SHA-256 and size."""

    def __init__(self, target: IO[bytes] | gzip.GzipFile) -> None:
        self._target, self._sum, self.size = target, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self._sum.update(data)
        self.size += len(data)
        self._target.write(data)
        return len(data)

    def digest(self) -> str:
        return f"sha256:{self._sum.hexdigest()}"
