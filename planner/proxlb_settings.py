"""Owns the reading of ProxLB's configuration as it is: its YAML of 1.1 to 2.3, and the INI file of 0.9 and 1.0."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Final

import yaml

from planner import proxlb_ini, proxlb_keys, yamlfile
from planner.errors import ConfigError, InputError
from planner.proxlb_values import IDLE, Kept, Outcome, Remark, Taken, document, translated
from planner.settings import OTHER, SECRETS, SECTIONS

OWN: Final = "proxmox_api"
"""The section that ProxLB cannot do without."""
KEPT_IN: Final = "/etc/proxlb-plan/"
"""Where secrets are, in a file of ours that was made from one of ProxLB's."""
WIDTH: Final = 110


@dataclass(frozen=True, slots=True)
class Translation:
    """What becomes of a file of ProxLB's."""

    settings: tuple[Taken, ...]
    remarks: tuple[Remark, ...]
    kept: tuple[str, ...]
    """Keys that ask for what is done anyway."""

    @property
    def keys(self) -> set[str]:
        """All that something became of."""
        of = {key for setting in self.settings if not setting.default for key in setting.of}
        return of | {remark.key for remark in self.remarks} | {*self.kept}

    @property
    def idle(self) -> tuple[str, ...]:
        """Keys without any effect."""
        return tuple(dict.fromkeys(remark.key for remark in self.remarks if remark.idle))


def is_proxlb(content: str, name: str) -> bool:
    """Whether the text of a configuration file is one of ProxLB's."""
    if proxlb_ini.is_ini(content):
        return True
    sections = yamlfile.parse(content, name)
    if not isinstance(sections, Mapping):
        return False
    return OWN in sections or (not sections.keys() & SECTIONS.keys() and bool(sections.keys() & _sections()))


def translate(content: str, name: str) -> Translation:
    """What becomes of such a file. ConfigError for a key that ProxLB does not have, or a value without sense."""
    try:
        return _of(_outcomes(content, name))
    except ConfigError as error:
        said = str(error)
        raise ConfigError(said if name in said else f"in {name}, a configuration of ProxLB: {said}") from None


def note(remarks: Iterable[str]) -> str:
    """What is said of remarks at every command; nothing where all has an effect."""
    count = len({remark.split()[0] for remark in remarks if IDLE in remark})
    keys = "1 key has" if count == 1 else f"{count} keys have"
    return f"settings of ProxLB: {keys} no effect, see proxlb-plan config validate" if count else ""


def imported(path: Path) -> str:
    """The same as a file of ours, with a comment on where each setting comes from and what has no effect. Secrets are
    not copied: it names the files that they belong into."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', 'it is not UTF-8 text')}") from None
    if not is_proxlb(content, str(path)):
        raise InputError(f"{path} is no configuration of ProxLB: it has no section {OWN} or [proxmox]")
    found = translate(content, str(path))
    lines = [f"# From {path}, a configuration of ProxLB.", *(f"# {remark}" for remark in found.remarks)]
    for section in SECTIONS:
        settings = [setting for setting in found.settings if setting.section == section]
        lines += [f"{section}:"] * bool(settings)
        lines += [line for setting in settings for line in _lines(setting, path)]
    return "\n".join([*lines, ""])


def _lines(setting: Taken, path: Path) -> Iterator[str]:
    """A setting in YAML, after a comment that says whose it was."""
    yield f"  # {setting.origin}"
    key, value = setting.key, setting.value
    if setting.section == "api" and key in SECRETS:
        key, value = OTHER[key], f"{KEPT_IN}{key.removesuffix('_secret')}"
        yield f"  # write the secret from {path} into this file, and chmod 600 it"
    if not isinstance(value, dict | list):
        yield f"  {key}: {yaml.safe_dump(value, allow_unicode=True, width=inf).splitlines()[0]}"
        return
    text = yaml.safe_dump({key: value}, default_flow_style=None, width=WIDTH, sort_keys=False, allow_unicode=True)
    yield from (f"  {line}" for line in text.splitlines())


def _outcomes(content: str, name: str) -> Iterable[Outcome]:
    if proxlb_ini.is_ini(content):
        sections = proxlb_ini.values(proxlb_ini.parse(content, name))
        keys = proxlb_ini.table()
        return translated(document(sections, keys), keys, proxlb_ini.TOGETHER)
    written: dict[str, Any] = yamlfile.parse(content, name)
    if ours := [section for section in written if section in SECTIONS]:
        raise ConfigError(f"it has a section {ours[0]} of proxlb-plan's beside {OWN}: `config import` makes one file")
    keys = proxlb_keys.table()
    return translated(document(written, keys), keys, proxlb_keys.TOGETHER)


def _of(outcomes: Iterable[Outcome]) -> Translation:
    all_of_them = tuple(outcomes)
    return Translation(
        tuple(one for one in all_of_them if isinstance(one, Taken)),
        tuple(one for one in all_of_them if isinstance(one, Remark)),
        tuple(one.key for one in all_of_them if isinstance(one, Kept)),
    )


def _sections() -> Collection[str]:
    return {key.split(".")[0] for key in proxlb_keys.table()}
