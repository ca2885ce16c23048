"""Owns what ProxLB's keys about the cluster become: hosts, credentials, pools, reserves, maintenance."""

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv6Address
from typing import Any, Final

from planner.choices import Active
from planner.connection import API_PORT
from planner.errors import ConfigError
from planner.proxlb_values import Document, Kept, Outcome, Remark

DEFAULTS: Final = "defaults"
"""The name for all nodes that have no reserve of their own."""
DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
BEGIN: Final = re.compile(r"\s*([A-Za-z]+)\s*,\s*(\d{1,2})\s*:\s*(\d{1,2})\s*")
HOUR: Final = 60
"""Minutes."""
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY
PORT: Final = re.compile(r"([^\[\]]*:[^\[\]]*):(\d+)")
"""What ProxLB takes for an IPv6 address with a port: without brackets, the last group could be one as well."""


def access(found: Document) -> Iterator[Outcome]:
    """Where the API is and who asks: ProxLB takes the token where there is a secret of one."""
    hosts, password, token, secret = (f"proxmox_api.{name}" for name in ("hosts", "pass", "token_id", "token_secret"))
    if found.has(hosts):
        yield from _hosts(found, hosts)
    if found.has(token):
        if found.has(password) and not found.has(secret):
            yield Remark(token, f"without {secret} the password counts, as in ProxLB")
        else:
            yield found.taken("api.token_id", found.get(token), token)
    for key, path in ((secret, "api.token_secret"), (password, "api.password")):
        if found.has(key):
            yield found.taken(path, found.get(key), key)


def _hosts(found: Document, key: str) -> Iterator[Outcome]:
    """Hosts, with brackets where there is a port."""
    parts = [_host_and_port(host) for host in found.get(key)]
    yield found.taken("api.hosts", [f"[{host}]:{port}" if port else host for host, port in parts], key)
    for host, port in parts:
        if port not in ("", str(API_PORT)):
            what = f"takes the {port} of {host}:{port} for a port, as ProxLB does: write [{host}:{port}] for an address"
            yield Remark(key, what, idle=False)


def _host_and_port(text: str) -> tuple[str, str]:
    """An IPv6 address and its port, or all of it: ProxLB takes what follows the last colon for a port, also where no
    address is left before that."""
    match = PORT.fullmatch(text)
    try:
        return (str(match[1]), str(match[2])) if match and IPv6Address(match[1]) else (text, "")
    except AddressValueError:
        return text, ""


def active(found: Document, key: str) -> Iterator[Outcome]:
    """Whether only the installation on the master of the HA manager is at work."""
    if found.get(key):
        yield found.taken("run.active", Active.HA_MANAGER.value, key)
    elif found.has(key):
        yield Kept(key)


def ignored(found: Document, key: str) -> Iterator[Outcome]:
    """Guests by their names; the planner takes numbers for vmids."""
    names = found.get(key, [])
    if found.has(key):
        yield found.taken("cluster.ignore_guests", names, key)
    for name in filter(str.isdecimal, names):
        yield Remark(key, f"means guest {name} by {name}, not a guest of that name", idle=False)


def reserve(found: Document) -> Iterator[Outcome]:
    """GiB of memory that nodes keep, each the default unless it has an amount of its own."""
    key = "balancing.node_resource_reserve"
    given: dict[str, dict[str, float]] = found.get(key, {})
    memory = {node: parts["memory"] for node, parts in given.items() if parts.get("memory")}
    if memory:
        named = {"default" if node == DEFAULTS else node: {"memory": amount} for node, amount in memory.items()}
        yield found.taken("policy.reserve", named, key)
    elif found.has(key):
        yield Remark(key, "no memory is kept")
    if other := sorted({part for parts in given.values() for part in parts} - {"memory"}):
        yield Remark(key, f"of {' and '.join(other)}: ProxLB keeps memory alone; policy.reserve could")


def pools(found: Document) -> Iterator[Outcome]:
    """What is asked of the guests of pools."""
    key = "balancing.pools"
    given: dict[str, dict[str, Any]] = found.get(key, {})
    asking = {pool: rule for pool, rule in given.items() if rule.get("type") or rule.get("pin")}
    if asking:
        yield found.taken("cluster.pools", asking, key)
    for pool in given.keys() - asking.keys():
        yield Remark(key, f"for pool {pool}, of which nothing is asked")
    if found.has(key) and not given:
        yield Remark(key, "no pool is named")


def maintenance(found: Document) -> Iterator[Outcome]:
    """Weekly times at which nodes are emptied: so many hours, and so many minutes before."""
    before, of = "proxmox_cluster.maintenance_nodes_schedule.", ("schedules", "duration", "pre-migration")
    schedules, duration, ahead = (f"{before}{name}" for name in of)
    times: dict[str, list[str]] = found.get(schedules, {})
    hours, minutes = found.get(duration, 0), found.get(ahead, 0)
    if any(times.values()) and (hours or minutes):
        windows = [
            _weekly(node, begin, hours, minutes, schedules) for node, begins in times.items() for begin in begins
        ]
        yield found.taken("cluster.scheduled_maintenance", windows, schedules, duration, ahead)
        return
    why = "it would last for no time" if any(times.values()) else "no node is named"
    yield from (Remark(key, why) for key in (schedules, duration, ahead) if found.has(key))


def _weekly(node: str, text: str, hours: int, minutes: int, key: str) -> dict[str, Any]:
    """One of them in our words; without a duration only what is ahead of its begin counts."""
    match = BEGIN.fullmatch(text)
    day = match.group(1).casefold() if match else ""
    if not match or day not in DAYS or int(match[2]) >= 24 or int(match[3]) >= HOUR:
        raise ConfigError(f'{key}.{node}: "{text}" is not a time such as Monday, 8:00')
    begin = DAYS.index(day) * DAY + int(match[2]) * HOUR + int(match[3])
    if not hours:
        return {"node": node, "every": _moment(begin - minutes), "lasts": f"{minutes}m"}
    window = {"node": node, "every": _moment(begin), "lasts": f"{hours}h"}
    return window | ({"ahead": f"{minutes}m"} if minutes else {})


def _moment(minute: int) -> str:
    """A minute of the week as systemd would write it."""
    day, rest = divmod(minute % WEEK, DAY)
    return f"{DAYS[day][:3].capitalize()} {rest // HOUR:02d}:{rest % HOUR:02d}"
