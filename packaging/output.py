"""Owns the folder that packages are written to, and found in."""

import hashlib
from pathlib import Path

from running import Failed

OURS = ("proxlb-plan*", "proxlb_plan*", "SHA256SUMS")
"""What is written, and taken away before it is written anew."""


def clear(dist: Path) -> None:
    """Takes older packages out of a folder. Failed where it holds anything else."""
    dist.mkdir(parents=True, exist_ok=True)
    ours = [path for pattern in OURS for path in dist.glob(pattern) if path.is_file()]
    others = sorted(path.name for path in {*dist.iterdir()} - {*ours})
    if others:
        raise Failed(f"{dist} holds {others[0]}, which is no package of ours: name another folder")
    for path in ours:
        path.unlink()


def write_sums(dist: Path) -> None:
    """Writes SHA256SUMS, which `sha256sum --check` reads."""
    sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(dist.iterdir())}
    (dist / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))


def one(dist: Path, pattern: str) -> Path:
    """The file that a pattern means. Failed where there is none, or several."""
    found = sorted(dist.glob(pattern))
    if len(found) != 1:
        raise Failed(f"{len(found)} files {pattern} in {dist}, not one: make packages comes first")
    return found[0]
