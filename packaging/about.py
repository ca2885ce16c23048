"""Owns what every package says of itself: version, revision, and the moment that stands for all times in it."""

import os
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """Of the commit that is checked out; `SOURCE_DATE_EPOCH` (reproducible-builds.org) wins over its time."""
    revision, when = _git("rev-parse", "HEAD"), _git("log", "-1", "--format=%ct")
    return About(
        name=PROJECT["name"],
        version=PROJECT["version"],
        summary=PROJECT["description"],
        license=PROJECT["license"],
        revision=revision,
        epoch=int(os.environ.get("SOURCE_DATE_EPOCH", when)),
    )


def _git(*args: str) -> str:
    return subprocess.run(["git", *args], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
