"""Owns what each key of the INI file of ProxLB 0.9 and 1.0 asks for here, and how such a file is read."""

import configparser
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from planner.choices import Free, GuestType, LogLevel, RunMode
from planner.errors import ConfigError
from planner.proxlb_balance import REPAIRED, tolerated
from planner.proxlb_cluster import active
from planner.proxlb_values import (
    Document,
    Fate,
    Key,
    Outcome,
    Remark,
    becomes,
    flag,
    idle,
    number,
    one_of,
    text,
    whole,
    words,
)

SECTION: Final = re.compile(r"^\[proxmox\][ \t]*$", re.MULTILINE)
MODES: Final = ("balancing", "vm_balancing")
"""The section about balancing by its names in 0.9 and 1.0."""
DISKS: Final = "disks are not moved between storages"
UPDATES: Final = "nodes are not updated"
TAGS: Final = Remark(
    "tags", "of ProxLB 1.0 are not understood: rename plb_include_* to plb_affinity_*, plb_exclude_* to "
    "plb_anti_affinity_*; plb_ignore_vm stays", idle=False,
)  # fmt: skip


def is_ini(content: str) -> bool:
    """Whether a text is such a file: what YAML has there would not parse."""
    return SECTION.search(content) is not None


def parse(content: str, name: str) -> dict[str, dict[str, str]]:
    """Section to key to text. ConfigError names the line, and never quotes it: it may hold the password."""
    parser = configparser.ConfigParser(default_section="", strict=True)
    try:
        parser.read_string(content)
        return {section: {key: value or "" for key, value in parser.items(section)} for section in parser.sections()}
    except configparser.InterpolationError as error:
        what = f"{error.section}.{error.option} with a % that means nothing"
        raise ConfigError(f"{name} has {what}: write %% for a percent sign") from None
    except configparser.DuplicateOptionError as error:
        raise ConfigError(f"{name} has {error.section}.{error.option} twice, in line {error.lineno}") from None
    except configparser.DuplicateSectionError as error:
        raise ConfigError(f"{name} has section {error.section} twice, in line {error.lineno}") from None
    except configparser.MissingSectionHeaderError as error:
        raise ConfigError(f"{name}, line {error.lineno}, stands before the first [section]") from None
    except configparser.ParsingError as error:
        raise ConfigError(f"{name}, line {error.errors[0][0]}, is not KEY: VALUE") from None


def table() -> dict[str, Key]:
    """Every key, and what becomes of it."""
    result = {
        "proxmox.api_host": Key(words, becomes("api.hosts")),
        "proxmox.api_user": Key(text, becomes("api.user")),
        "proxmox.api_pass": Key(text, becomes("api.password")),
        "proxmox.verify_ssl": Key(flag, becomes("api.verify_tls")),
        "proxmox.timeout": Key(number, becomes("api.timeout")),
        "storage_balancing.enable": Key(flag, idle(DISKS, kept=False)),
        "storage_balancing.method": Key(one_of("disk_space"), idle(DISKS)),
        "storage_balancing.balanciness": Key(number, idle(DISKS)),
        "storage_balancing.parallel_migrations": Key(flag, idle(DISKS)),
        "update_service.enable": Key(flag, idle(UPDATES, kept=False)),
        "api.enable": Key(flag, idle("there is no API to ask; place --output json finds nodes for guests", kept=False)),
        "service.daemon": Key(flag, idle("run goes on until it is ended; run --once takes one look", kept=True)),
        "service.schedule": Key(whole, _every),
        "service.master_only": Key(flag, active),
        "service.log_verbosity": Key(one_of(*LogLevel), becomes("log.level", default=LogLevel.CRITICAL.value)),
        "service.config_version": Key(text, idle("the form of the file is recognised")),
    }
    return result | {f"{section}.{key}": how for section in MODES for key, how in _balancing().items()}


def _balancing() -> dict[str, Key]:
    return {
        "enable": Key(flag),
        "method": Key(one_of("memory", "disk", "cpu"), becomes("policy.resource")),
        "mode": Key(one_of("used", "assigned"), becomes("policy.mode")),
        "mode_option": Key(one_of("bytes", "byte", "percent"), _free),
        "type": Key(one_of("vm", "ct", "all"), becomes("policy.guests")),
        "balanciness": Key(number, tolerated),
        "parallel_migrations": Key(flag, _parallel),
        "maintenance_nodes": Key(words, _nodes("cluster.maintenance_nodes")),
        "ignore_nodes": Key(words, _nodes("cluster.ignore_nodes")),
        "ignore_vms": Key(words, becomes("cluster.ignore_guests")),
        "enforce_affinity_groups": Key(flag, idle(REPAIRED, kept=True)),
    }


def _every(found: Document, key: str) -> Iterator[Outcome]:
    yield found.taken("run.every", f"{found.get(key, 24)}h", key)


def _free(found: Document, key: str) -> Iterator[Outcome]:
    """Free nodes by bytes or percent: that is a question for greedy alone."""
    if found.has(key):
        yield found.taken("policy.free", (Free.PERCENT if found.get(key) == "percent" else Free.BYTES).value, key)
        yield Remark(key, "matters to --solver greedy alone", idle=False)


def _parallel(found: Document, key: str) -> Iterator[Outcome]:
    """All at once there; here one from and to each node."""
    if found.get(key) is False:
        yield found.taken("apply.parallel", 1, key)
    elif found.has(key):
        yield Remark(key, "is not all at once here: apply.parallel, per_source and per_target limit it", idle=False)


def _nodes(path: str) -> Fate:
    """Names of nodes. ConfigError for a pattern: left out, nodes would be balanced that were to be left alone."""

    def fate(found: Document, key: str) -> Iterator[Outcome]:
        if pattern := next((name for name in found.get(key, []) if "*" in name), None):
            raise ConfigError(f"{key} has the pattern {pattern}: name each node instead")
        yield from becomes(path)(found, key)

    return fate


def _mode(found: Document) -> Iterator[Outcome]:
    """What ProxLB 1.0 does without being told: it is on, for virtual machines, with their local disks."""
    section = MODES[0] if any(key.startswith(f"{MODES[0]}.") for key in found.values) else MODES[1]
    enable = f"{section}.enable"
    yield found.taken("run.mode", (RunMode.AUTO if found.get(enable, True) else RunMode.OBSERVE).value, enable)
    yield found.taken("run.looks", 1, enable)
    yield found.taken("policy.with_local_disks", True, enable)
    if not found.has(f"{section}.type"):
        yield found.taken("policy.guests", GuestType.VM.value, f"{section}.type")
    yield TAGS


TOGETHER: Final = (_mode,)
"""What holds beside the keys."""


def values(sections: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same without what is left empty."""
    return {name: {key: value or None for key, value in keys.items()} for name, keys in sections.items()}
