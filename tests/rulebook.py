"""Owns what rules and limits of a scenario mean, read anew by names: knows no problem, no frame, no solver."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any

from tests.scenario import Guest, Node, Scenario

Places = Mapping[int, str]
Fact = tuple[Any, ...]
"""Something that is broken: kind, rule, what it is about."""


@dataclass(frozen=True)
class Apart:
    """On the nodes of one domain at most `most` of the sides have a guest."""

    name: str
    sides: tuple[frozenset[int], ...]
    most: int
    domain: Mapping[str, str]


class Rulebook:
    """All must-rules of a scenario, and what they say of places of guests."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.settings: dict[str, Any] = scenario.settings.get("cluster") or {}
        self.policy: dict[str, Any] = scenario.settings.get("policy") or {}
        maintained = set(self.settings.get("maintenance_nodes", ()))
        nodes = scenario.nodes.values()
        self.offline = {node.name for node in nodes if node.status != "online"}
        self.ignored = set(self.settings.get("ignore_nodes", ())) - self.offline
        manager = scenario.answers.get("/cluster/ha/status/current") or ()
        maintained |= {row["node"] for row in manager if "maintenance mode" in row.get("status", "")}
        self.maintained = {n.name for n in nodes if n.maintenance or n.name in maintained} - self.offline - self.ignored
        self.closed = self.offline | self.ignored | self.maintained
        self.planned = {v: g for v, g in scenario.guests.items() if not g.template and g.on not in self.offline}
        self.left_alone = {vmid for vmid, guest in self.planned.items() if self._left_alone(guest)}
        self.fixed = self.left_alone | {vmid for vmid, guest in self.planned.items() if self._cannot(guest)}
        self.together: list[tuple[str, frozenset[int]]] = []
        self.apart: list[Apart] = []
        self.homes: list[tuple[str, frozenset[int], frozenset[str]]] = []
        self._tags()
        for rule in scenario.ha_rules:
            if not rule.get("disable") and not rule.get("errors"):
                self._ha(rule)
        for group in scenario.ha_groups or ():
            if group.get("restricted"):
                members = [
                    g.vmid
                    for g in scenario.guests.values()
                    if g.ha and (g.ha is True or g.ha.get("group") == group["group"])
                ]
                self._home(group["group"], members, {word.partition(":")[0] for word in group["nodes"].split(",")})
        for rule in self.settings.get("rules", ()):
            if not rule.get("should"):
                self._rule(rule)
        for pool, rule in (self.settings.get("pools") or {}).items():
            self._pool(pool, rule)

    # ------------------------------------------------------------- reading rules

    def _left_alone(self, guest: Guest) -> bool:
        kinds = self.policy.get("guests", "all")
        chosen = guest.vmid in self.select(self.settings.get("ignore_guests", ()))
        tagged = any(tag.casefold().startswith("plb_ignore") for tag in guest.tags)
        return tagged or chosen or guest.on in self.ignored or kinds not in ("all", guest.type)

    def _cannot(self, guest: Guest) -> bool:
        local = self._local(guest) and not self.policy.get("with_local_disks", False)
        return bool(guest.lock) or guest.status == "unknown" or bool(local)

    def _local(self, guest: Guest) -> dict[str, float]:
        """Its disks on storages that its node shares with no other."""
        storages = {name: self.scenario.nodes[guest.on].storages[name] for name in guest.disks}
        shared = {name for name, given in storages.items() if isinstance(given, dict) and given.get("shared")}
        return {name: size for name, size in guest.disks.items() if name not in shared}

    def _tags(self) -> None:
        names = {name.casefold(): name for name in self.scenario.nodes}
        by_tag: dict[str, set[int]] = {}
        for guest in self.planned.values():
            for tag in {tag.casefold() for tag in guest.tags}:
                by_tag.setdefault(tag, set()).add(guest.vmid)
            pins = {
                tag.casefold().removeprefix("plb_pin_") for tag in guest.tags if tag.casefold().startswith("plb_pin_")
            }
            if known := {names[pin] for pin in pins if pin in names}:
                self._home("plb_pin", [guest.vmid], known)
        for tag, vmids in by_tag.items():
            if tag.startswith("plb_affinity_"):
                self.together.append((tag, frozenset(vmids)))
            elif tag.startswith("plb_anti_affinity_"):
                self._keep_apart(tag, vmids)

    def _ha(self, rule: Mapping[str, Any]) -> None:
        vmids = [int(word.partition(":")[2]) for word in rule["resources"].split(",")]
        if rule["type"] not in ("resource-affinity", "node-affinity"):
            return
        if rule["type"] == "resource-affinity":
            if rule["affinity"] == "positive":
                self.together.append((rule["rule"], frozenset(vmids)))
            else:
                self._keep_apart(rule["rule"], vmids)
            return
        classes: dict[int, set[str]] = {}
        for word in rule["nodes"].split(","):
            node, _, priority = word.partition(":")
            classes.setdefault(int(priority or 0), set()).add(node)
        named, available = set().union(*classes.values()), set(self.scenario.nodes) - self.offline - self.maintained
        if rule.get("affinity") == "negative":
            others = set(self.scenario.nodes) - named
            if rule.get("strict") or others & available:
                self._home(rule["rule"], vmids, others)
            return
        managed = {guest.vmid: guest.ha for guest in self.scenario.guests.values() if isinstance(guest.ha, dict)}
        staying = {vmid for vmid, ha in managed.items() if str(ha.get("failback", 1)) == "0"}
        if rule.get("strict"):
            self._home(rule["rule"], staying & set(vmids), named)
        vmids = [vmid for vmid in vmids if vmid not in staying]
        usable = [classes[priority] for priority in sorted(classes, reverse=True) if classes[priority] & available]
        if usable or rule.get("strict"):
            self._home(rule["rule"], vmids, usable[0] if usable else named)

    def _rule(self, rule: Mapping[str, Any]) -> None:
        name = rule["name"]
        if "together" in rule:
            self.together.append((name, frozenset(self.select(rule["together"]))))
        elif "pin" in rule:
            self._home(name, self.select(rule["pin"]), set(rule["nodes"]))
        elif "avoid" in rule:
            self._home(name, self.select(rule["avoid"]), set(self.scenario.nodes) - set(rule["nodes"]))
        elif "apart" in rule:
            one = self.select(rule["apart"])
            sides = [one, self.select(rule["against"])] if "against" in rule else [{vmid} for vmid in one]
            domain = self.settings["domains"][rule["per"]] if rule.get("per", "node") != "node" else {}
            self.apart.append(Apart(name, tuple(map(frozenset, sides)), int(rule.get("at_most", 1)), domain))
        elif rule.get("unless") == "never":
            self.fixed |= self.select(rule["stay"])

    def _pool(self, pool: str, rule: Mapping[str, Any]) -> None:
        vmids = self.select([f"@pool-{pool}"])
        if rule.get("type") == "affinity":
            self.together.append((pool, frozenset(vmids)))
        elif rule.get("type") == "anti-affinity":
            self._keep_apart(pool, vmids)
        if rule.get("pin") and rule.get("strict", True):
            self._home(pool, vmids, set(rule["pin"]))

    def _keep_apart(self, name: str, vmids: Iterable[int]) -> None:
        self.apart.append(Apart(name, tuple(frozenset({vmid}) for vmid in vmids), 1, {}))

    def _home(self, name: str, vmids: Iterable[int], nodes: set[str]) -> None:
        self.homes.append((name, frozenset(vmids), frozenset(nodes)))

    def select(self, selector: Any) -> set[int]:
        """The guests that a selector means; `-` in front excludes."""
        given = [selector] if isinstance(selector, str) else selector
        words = [word for part in given for word in str(part).split(",")]
        plus, minus = set[int](), set[int]()
        for word in (word.strip() for word in words):
            exclude = word.startswith("-")
            chosen = {v for v, guest in self.scenario.guests.items() if self._means(word.removeprefix("-"), guest)}
            (minus if exclude else plus).update(chosen)
        only_excluded = words and all(word.strip().startswith("-") for word in words)
        return (set(self.scenario.guests) if only_excluded else plus) - minus

    def _means(self, word: str, guest: Guest) -> bool:
        kind, _, value = word.partition("-")
        match kind:
            case "@all":
                return True
            case "@pool":
                return guest.pool == value or guest.pool.startswith(f"{value}/")
            case "@tag":
                return value.casefold() in {tag.casefold() for tag in guest.tags}
            case "@node":
                return guest.on == value
        first, _, last = word.partition(":")
        if first.isdecimal():
            return int(first) <= guest.vmid <= int(last or first)
        return fnmatchcase((guest.name or f"g{guest.vmid}").casefold(), word.casefold())

    # ------------------------------------------------------------------ judging

    def broken(self, places: Places) -> set[Fact]:
        """Every must-rule that does not hold, guest by guest or pair by pair."""
        return {*self._split(places), *self._crowded(places), *self._astray(places), *self._overfull(places)}

    def _split(self, places: Places) -> Iterable[Fact]:
        for name, members in self.together:
            for pair in combinations(sorted(members & set(places)), 2):
                if places[pair[0]] != places[pair[1]]:
                    yield ("together", name, pair)

    def _crowded(self, places: Places) -> Iterable[Fact]:
        for rule in self.apart:
            inside: dict[str, set[int]] = {}
            for number, side in enumerate(rule.sides):
                for vmid in side & set(places):
                    inside.setdefault(rule.domain.get(places[vmid], places[vmid]), set()).add(number)
            for domain, sides in inside.items():
                if rule.most == 1:
                    yield from (("apart", rule.name, pair) for pair in combinations(sorted(sides), 2))
                else:  # worse with every side more
                    yield from (("apart", rule.name, domain, n) for n in range(rule.most + 1, len(sides) + 1))

    def _astray(self, places: Places) -> Iterable[Fact]:
        for vmid in set(places) - self.left_alone:
            if places[vmid] in self.closed:
                yield ("closed", places[vmid], vmid)
            for name, members, nodes in self.homes:
                if vmid in members and places[vmid] not in nodes:
                    yield ("home", name, vmid, places[vmid])

    def _overfull(self, places: Places) -> Iterable[Fact]:
        for node in set(places.values()):
            yield from ((what, node) for what in self.lacks(node, places))

    def lacks(self, node: str, places: Places) -> list[str]:
        """What a node has less of than its guests need."""
        facts, assigned = self.scenario.nodes[node], self.policy.get("fit", "used") == "assigned"
        here = [self.planned[vmid] for vmid, on in places.items() if on == node]
        running = [guest for guest in here if guest.status != "stopped"]
        factors = self._of_node("overcommit", node, {})
        memory = (facts.memory - self.reserve(node)) * float(factors.get("memory", 1)) - (0 if assigned else facts.used)
        threads = (facts.cpus - self.reserve(node, "cpu")) * float(factors.get("cpu", math.inf))
        needed = {
            "memory": (sum(guest.memory if assigned else guest.taken for guest in running), max(0, memory)),
            "vCPUs": (sum(guest.cpus for guest in running), threads),
            "guests": (len(here), self._of_node("max_guests", node, math.inf)),
            **self._storages(facts, here),
        }
        return [what for what, (need, room) in needed.items() if need > room + 1e-6]

    def _storages(self, facts: Node, here: list[Guest]) -> dict[str, tuple[float, float]]:
        """What guests need and have of each storage; one that the node does not have has no room."""
        names = {name for guest in here for name in guest.disks}
        given = {name: facts.storages.get(name, 0) for name in names}
        sizes = {n: value if isinstance(value, dict) else {"size": value} for n, value in given.items()}
        kept = self.reserve(facts.name, "disk")
        return {
            name: (sum(g.disks.get(name, 0) for g in here), size["size"] - size.get("used", 0) - kept)
            for name, size in sizes.items()
            if not size.get("shared")
        }

    def copied(self, guest: Guest) -> float:
        """GiB that its migration copies."""
        return guest.taken + sum(self._local(guest).values())

    def reserve(self, node: str, resource: str = "memory") -> float:
        """What a node keeps for itself."""
        return float(self._of_node("reserve", node, {}).get(resource, 0))

    def _of_node(self, setting: str, node: str, default: Any) -> Any:
        """A setting that may be one for all nodes, or one of each."""
        given = self.policy.get(setting) or {}
        if isinstance(default, dict) and given and not any(isinstance(value, dict) for value in given.values()):
            return given
        return given.get(node, given.get("default", default))

    def load(self, node: str, places: Places, resource: str) -> float:
        """Percent of memory or CPU in use, or assigned."""
        facts, assigned = self.scenario.nodes[node], self.policy.get("mode", "used") == "assigned"
        here = [self.planned[v] for v, on in places.items() if on == node and self.planned[v].status != "stopped"]
        if resource == "memory":
            own, total = facts.used, facts.memory
            taken = sum(guest.memory if assigned else guest.taken for guest in here)
        else:
            own, total = facts.cpu, float(facts.cpus)
            taken = sum(guest.cpus if assigned else guest.cpu for guest in here)
        return 100 * (taken + (0 if assigned else own)) / (total - self.reserve(node, resource))
