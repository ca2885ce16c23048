"""Units of systemd as tests read them: their settings, and how systemd would start what they name."""

import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

SHIPPED = Path(str(files("planner") / "shipped"))
PROGRAM = "/opt/proxlb-plan/bin/proxlb-plan"
"""Where the shipped files expect the command."""
INSTALLED = Path(sys.executable).with_name("proxlb-plan")
"""Where the tests have it."""
GIVEN = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin", "LANG": "C.UTF-8", "HOME": "/", "USER": "proxlb-plan"}
"""What systemd gives to every service of a user without a home."""


@dataclass(frozen=True)
class Unit:
    """A unit file: its settings in the order in which they stand there."""

    name: str
    settings: tuple[tuple[str, str, str], ...]
    """Section, key and value."""

    def values(self, key: str, section: str = "Service") -> list[str]:
        """All values of a key."""
        return [value for of, name, value in self.settings if (of, name) == (section, key)]

    def value(self, key: str, section: str = "Service") -> str:
        """The only value of a key."""
        (value,) = self.values(key, section)
        return value

    @property
    def command(self) -> list[str]:
        """What is started, from where the tests have it."""
        program, *words = shlex.split(self.value("ExecStart"))
        assert program == PROGRAM
        return [str(INSTALLED), *words]

    def environ(self, config: Path, credentials: Path, state: Path) -> dict[str, str]:
        """The environment that systemd would give it, with the configuration file of a test."""
        pairs = [pair.split("=", 1) for line in self.values("Environment") for pair in shlex.split(line)]
        given = {name: value.replace("%d", str(credentials)) for name, value in pairs}
        assert "PROXLB_PLAN_CONFIG" in given
        given |= {"PROXLB_PLAN_CONFIG": str(config), "STATE_DIRECTORY": str(state)}
        return GIVEN | given | {"CREDENTIALS_DIRECTORY": str(credentials)}


def unit(name: str) -> Unit:
    """A shipped unit."""
    section, settings = "", []
    for line in (SHIPPED / name).read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            assert not value.endswith("\\"), "no test reads lines that go on"
            settings.append((section, key, value))
    return Unit(name, tuple(settings))


def allowed_calls(of: Unit) -> set[str]:
    """Names of the system calls that a unit allows, those that systemd always allows included."""
    lines = of.values("SystemCallFilter")
    allowed = ["@default", *(name for line in lines if not line.startswith("~") for name in line.split())]
    forbidden = [name for line in lines if line.startswith("~") for name in line[1:].split()]
    return set[str]().union(*map(_calls, allowed)) - set[str]().union(*map(_calls, forbidden))


def _calls(name: str) -> set[str]:
    """Names of the calls of a group, those of its groups included; a name of a call is a group of itself."""
    if not name.startswith("@"):
        return {name}
    asked = ["systemd-analyze", "syscall-filter", name]
    lines = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    names = {line.strip() for line in lines if not line.strip().startswith("#")} - {""}
    return set[str]().union(*map(_calls, names))
