"""Owns how a configuration of ProxLB is taken over: the same as a file of ours, with where each setting comes from."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from planner.config import validated
from planner.credentials import check_shown
from planner.effective import lines
from planner.errors import InputError
from planner.origin import from_file, read, strongest
from planner.plain import plain
from planner.proxlb_settings import OWN, is_proxlb, translate
from planner.proxlb_values import Taken
from planner.settings import OTHER, SECRETS, SECTIONS

KEPT_IN: Final = "/etc/proxlb-plan/"
"""Where secrets are, in a file of ours that was made from one of ProxLB's."""


def imported(path: Path, environ: Mapping[str, str]) -> str:
    """A file of ours, with comments on what has no effect. Secrets are not copied: it names the files that they belong
    into. ConfigError where other commands would refuse the file as well."""
    content, _ = read(path, "configuration file", environ)
    if not is_proxlb(content, str(path)):
        raise InputError(f"{path} is no configuration of ProxLB: it has no section {OWN} or [proxmox]")
    check_shown(validated(strongest([from_file(path, environ).settings]), str(path)).api)
    found = translate(content, str(path))
    result = [plain(f"# From {path}, a configuration of ProxLB."), *(f"# {remark}" for remark in found.remarks)]
    for section in SECTIONS:
        settings = [setting for setting in found.settings if setting.section == section]
        result += [f"{section}:"] * bool(settings)
        result += [line for setting in settings for line in _lines(setting, path)]
    return "\n".join([*result, ""])


def _lines(setting: Taken, path: Path) -> Iterator[str]:
    """A setting in YAML, after a comment that says whose it was."""
    yield f"  # {setting.origin}"
    key, value = setting.key, setting.value
    if setting.section == "api" and key in SECRETS:
        key, value = OTHER[key], f"{KEPT_IN}{key.removesuffix('_secret')}"
        yield plain(f"  # write the secret from {path} into this file, and chmod 600 it")
    yield from lines(key, value)
