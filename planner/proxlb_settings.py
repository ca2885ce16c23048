"""Owns the reading of ProxLB's configuration as it is: its YAML of 1.1 to 2.3, and the INI file of 0.9 and 1.0."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from planner import proxlb_ini, proxlb_keys, yamlfile
from planner.complaint import Refuse, stop
from planner.proxlb_values import IDLE, Kept, Outcome, Remark, Taken, document, translated
from planner.settings import SECTIONS

OWN: Final = "proxmox_api"
"""The section that ProxLB cannot do without."""


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


def translate(content: str, name: str, refuse: Refuse = stop) -> Translation:
    """What becomes of such a file. A key that ProxLB does not have, or a value without sense, is refused; ConfigError
    for what cannot be read at all."""
    return _of(_outcomes(content, name, lambda said: refuse(f"in {name}, a configuration of ProxLB: {said}")))


def note(remarks: Iterable[str]) -> str:
    """What is said of remarks at every command; nothing where all has an effect."""
    count = len({remark.split()[0] for remark in remarks if IDLE in remark})
    keys = "1 key has" if count == 1 else f"{count} keys have"
    return f"settings of ProxLB: {keys} no effect, see proxlb-plan config validate" if count else ""


def _outcomes(content: str, name: str, refuse: Refuse) -> Iterable[Outcome]:
    if proxlb_ini.is_ini(content):
        sections = proxlb_ini.values(proxlb_ini.parse(content, name))
        keys = proxlb_ini.table()
        return translated(document(sections, keys, refuse), keys, proxlb_ini.TOGETHER, refuse)
    written: dict[str, Any] = yamlfile.parse(content, name)
    for section in filter(written.__contains__, SECTIONS):
        refuse(f"it has a section {section} of proxlb-plan's beside {OWN}: `config import` makes one file")
        del written[section]
    keys = proxlb_keys.table()
    return translated(document(proxlb_keys.longhand(written), keys, refuse), keys, proxlb_keys.TOGETHER, refuse)


def _of(outcomes: Iterable[Outcome]) -> Translation:
    all_of_them = tuple(outcomes)
    return Translation(
        tuple(one for one in all_of_them if isinstance(one, Taken)),
        tuple(one for one in all_of_them if isinstance(one, Remark)),
        tuple(one.key for one in all_of_them if isinstance(one, Kept)),
    )


def _sections() -> Collection[str]:
    return {key.split(".")[0] for key in proxlb_keys.table()}
