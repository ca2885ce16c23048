"""Owns what is said where a package that this one needs is not installed, or cannot be loaded: what to install."""

import re
from collections.abc import Iterator
from typing import Final

DISTRIBUTION: Final = "proxlb-plan"
OURS: Final = ("planner", "solvers")
NAMES: Final = {"yaml": "PyYAML", "pydantic_core": "pydantic"}
"""Packages that are installed under another name than they are imported by."""
ORTOOLS: Final = "ortools>=9.14,<10"
"""As in pyproject.toml, which is not there where a package of a distribution is installed."""


def said(error: ImportError) -> str | None:
    """One line; None where nothing that was to be installed is missing."""
    for cause in _causes(error):
        if not isinstance(cause, ImportError):
            continue
        module = (cause.name or "").partition(".")[0]
        if module and module not in OURS:
            package = NAMES.get(module, module.replace("_", "-"))
            if isinstance(cause, ModuleNotFoundError):
                return f"the Python package {package} is not installed: pip install '{_requirement(package)}'"
            again = f"pip install --force-reinstall '{_requirement(package)}'"
            return f"the Python package {package} cannot be loaded ({cause.msg}): {again}"
    return None


def has_ortools() -> bool:
    """Whether what searches is installed; there is none for FreeBSD."""
    from importlib.util import find_spec

    return find_spec("ortools") is not None


def ortools(what: str, instead: str = "") -> str:
    """What is said where something needs it and it is not there; `instead` is the flag that does without."""
    return f"{what} needs OR-Tools: pip install '{ORTOOLS}'" + (f", or do without: {instead}" if instead else "")


def interrupted(error: BaseException) -> bool:
    """Whether it followed from Ctrl-C: what is written in C, and loaded then, calls that an error of its own."""
    return any(isinstance(cause, KeyboardInterrupt) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error after those that it followed from: packages report what they miss in words of their own."""
    if error is not None:
        yield from _causes(error.__cause__ or error.__context__)
        yield error


def _requirement(package: str) -> str:
    """The package with the versions that will do, where this package is installed itself."""
    from importlib import metadata

    try:
        wanted = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return package
    requirements = (entry.partition(";")[0].strip() for entry in wanted)
    return next((entry for entry in requirements if _plain(entry) == _plain(package)), package)


def _plain(requirement: str) -> str:
    """Its name, in which -, _ and . are the same."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()
