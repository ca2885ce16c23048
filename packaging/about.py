"""Owns what every package says of itself: version, revision, and the moment that stands for all times in it."""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from running import Failed, run

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@dataclass(frozen=True)
class About:
    """What is packaged; `epoch` is the time of the commit in seconds, which files in packages have as their time."""

    name: str
    version: str
    summary: str
    license: str
    revision: str
    epoch: int


def about() -> About:
    """Of the commit that is checked out, or of an unpacked sdist, whose files have the time of its commit.

    `SOURCE_DATE_EPOCH` (reproducible-builds.org) wins over both. A revision that files differ from ends in `-dirty`.
    """
    if (ROOT / ".git").exists():
        changed = _git("status", "--porcelain")
        revision, when = _git("rev-parse", "HEAD") + ("-dirty" if changed else ""), _git("log", "-1", "--format=%ct")
    else:
        revision, when = "unknown", str(int((ROOT / "pyproject.toml").stat().st_mtime))
    epoch = os.environ.get("SOURCE_DATE_EPOCH", when)
    if not epoch.isdecimal():
        raise Failed(f"SOURCE_DATE_EPOCH is {epoch}: seconds since 1970 are needed")
    return About(
        name=PROJECT["name"],
        version=PROJECT["version"],
        summary=PROJECT["description"],
        license=PROJECT["license"],
        revision=revision,
        epoch=int(epoch),
    )


def _git(*args: str) -> str:
    return run(["git", *args], cwd=ROOT).strip()
