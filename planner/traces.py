"""Owns CPU traces of single guests: the text format of PlanetLab's, and a small synthetic day."""

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from planner.errors import InputError

STEP = 300
"""Seconds between two lines of PlanetLab's traces."""
MOST_LINES = 100_000
MOST_FILES = 100_000
MOST_BYTES = 8 * MOST_LINES
"""Of one file. What is larger is no trace."""
DAY = 24 * 3600
SYNTHETIC_BEGIN = 1_767_571_200.0
"""Monday, 2026-01-05, 00:00 UTC."""


@dataclass(frozen=True, eq=False)
class Traces:
    """What part of its CPUs each guest used, at even times."""

    names: tuple[str, ...]
    """In order."""
    use: npt.NDArray[np.float64]
    """(g, t) parts of 1, on average over each step. Read-only."""
    step: int = STEP
    """Seconds."""

    def __post_init__(self) -> None:
        self.use.setflags(write=False)


def load(path: Path, step: int = STEP) -> Traces:
    """Traces from a directory, or from a tar file (.tar.xz, .tar.gz) of one: a file per guest, a whole percentage on
    each line, as in PlanetLab's as CloudSim has them. InputError names the file that is none."""
    if step < 1:
        raise InputError(f"a step of {step} seconds makes no sense: it takes 1 at least")
    try:
        files = sorted(_in_directory(path) if path.is_dir() else _in_archive(path))
    except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise InputError(f"{path} is neither a directory nor a tar file that can be read: {error}") from None
    except OSError as error:
        raise InputError(f"cannot read traces {path}: {error.strerror or error}") from None
    if not files:
        raise InputError(f"{path} holds no traces: name a directory, or a tar file of one, with a file for each guest")
    series: dict[str, list[int]] = {}
    for name, content in files:
        if name in series:
            raise InputError(f"{path} holds two traces named {name}: name the one directory that is meant")
        series[name] = _series(f"{path}: {name}", content)
    first, length = files[0][0], len(series[files[0][0]])
    for name, values in series.items():
        if len(values) != length:
            raise InputError(f"{path}: {name} has {len(values)} lines and {first} has {length}: all need as many")
    return Traces(tuple(series), np.array(list(series.values())) / 100, step)


def synthetic(guests: int = 60, days: int = 1, seed: int = 0) -> Traces:
    """A made-up course of days from midnight on: batch jobs at night, office hours, even load, and spikes, in turn."""
    rng = np.random.default_rng(seed)
    hours = np.arange(days * DAY // STEP) * STEP / 3600 % 24
    kinds = (_night, _office, _flat, _spiky)
    use = np.stack([kinds[g % len(kinds)](hours, rng) for g in range(guests)])
    names = tuple(f"{kinds[g % len(kinds)].__name__.strip('_')}{g + 1}" for g in range(guests))
    return Traces(names, np.clip(use + rng.normal(0, 0.02, use.shape), 0.01, 1).round(2))


def _night(hours: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    begin, lasts = rng.uniform(0, 3), rng.uniform(2, 5)
    return np.where((hours >= begin) & (hours < begin + lasts), rng.uniform(0.6, 0.95), 0.05)


def _office(hours: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    begin, end = rng.uniform(7, 9), rng.uniform(16, 18)
    rise = np.clip(np.minimum(hours - begin, end - hours), 0, 1)
    return np.asarray(0.05 + rng.uniform(0.4, 0.8) * rise)


def _flat(hours: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.full(len(hours), rng.uniform(0.1, 0.5))


def _spiky(hours: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    result = np.full(len(hours), 0.1)
    for begin in rng.uniform(0, 24, 4):
        result[(hours >= begin) & (hours < begin + 0.5)] = rng.uniform(0.7, 1)
    return result


def _in_directory(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in path.iterdir():
        if file.is_file() and not file.name.startswith("."):
            with file.open("rb") as stream:
                yield file.name, stream.read(MOST_BYTES + 1)


def _in_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """Files by their names; nothing is unpacked."""
    with tarfile.open(path) as archive:
        for count, member in enumerate(archive):
            if count > MOST_FILES:
                raise InputError(f"{path} has more than {MOST_FILES} files: these are no traces")
            name = PurePosixPath(member.name).name
            stream = archive.extractfile(member) if member.isfile() and not name.startswith(".") else None
            if stream is not None:
                yield name, stream.read(MOST_BYTES + 1)


def _series(what: str, content: bytes) -> list[int]:
    """The percentages of a file."""
    if len(content) > MOST_BYTES:
        raise InputError(f"{what} is too large for a trace: it may have {MOST_LINES} lines")
    result = []
    for number, line in enumerate(content.split(b"\n"), 1):
        text = line.strip().decode("ascii", "replace")
        if text.isdecimal() and len(text) <= 3 and int(text) <= 100:
            result.append(int(text))
        elif text or number == 1:
            shown = text[:20] if text.isprintable() else "something else"
            raise InputError(f"{what}, line {number}: a trace has a whole percentage on each line, not {shown!r}")
    return result
