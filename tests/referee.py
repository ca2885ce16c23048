"""Owns a second opinion on plans: rules and room by the names of a scenario; knows no solver, no problem, no frame."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any

from tests.scenario import Guest, Scenario

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
        shared = [isinstance(s, dict) and s.get("shared") for s in map(self._storage(guest.on), guest.disks)]
        local = not all(shared) and not self.policy.get("with_local_disks", False)
        return bool(guest.lock) or guest.status == "unknown" or local

    def _storage(self, node: str) -> Any:
        return self.scenario.nodes[node].storages.get

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
        words = selector.split(",") if isinstance(selector, str) else [str(word) for word in selector]
        plus, minus = set[int](), set[int]()
        for word in (word.strip() for word in words):
            exclude = word.startswith("-")
            chosen = {v for v, guest in self.scenario.guests.items() if self._means(word.removeprefix("-"), guest)}
            (minus if exclude else plus).update(chosen)
        return plus - minus

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
        return fnmatchcase(guest.name, word)

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
        return (("memory", node) for node in set(places.values()) if self.needed(node, places) > self.room(node))

    def reserve(self, node: str, resource: str = "memory") -> float:
        """What a node keeps for itself."""
        given = self.policy.get("reserve") or {}
        given = {"default": given} if given and not any(isinstance(v, dict) for v in given.values()) else given
        return float(given.get(node, given.get("default", {})).get(resource, 0))

    def room(self, node: str) -> float:
        """GiB of memory that a node has for guests."""
        facts = self.scenario.nodes[node]
        own = facts.used if self.policy.get("fit", "used") == "used" else 0
        return max(0, facts.memory - self.reserve(node) - own) + 1e-6

    def needed(self, node: str, places: Places) -> float:
        """GiB of memory that the guests of a node need."""
        here = [self.planned[vmid] for vmid, on in places.items() if on == node]
        if self.policy.get("fit", "used") == "used":
            return sum(guest.taken for guest in here)
        return sum(guest.memory for guest in here if guest.status != "stopped")

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


def objections(scenario: Scenario, plan: Any) -> list[str]:
    """What no plan may do, whatever was expected of it."""
    book = Rulebook(scenario)
    before = {vmid: guest.on for vmid, guest in book.planned.items()}
    places, found = dict(before), list[str]()
    held = book.broken(before)
    for migration in plan.migrations:
        vmid = migration.vmid
        if vmid not in places or places[vmid] != migration.source or migration.target == migration.source:
            return [*found, f"guest {vmid} is not on {migration.source}, or goes nowhere"]
        if vmid in book.fixed:
            found.append(f"guest {vmid} has to stay")
        if migration.target in book.closed:
            found.append(f"{migration.target} takes no guests, but gets {vmid}")
        places[vmid] = migration.target
        if book.needed(migration.target, places) > book.room(migration.target):
            found.append(f"{migration.target} has no room for {vmid} at that moment")
        now = {fact for fact in book.broken(places) - held if fact[0] in ("apart", "home")}
        found += [f"broken on the way, by {vmid}: {fact}" for fact in now]
    after = book.broken(places)
    found += [f"broken in the end: {fact}" for fact in after - held]
    if after and not plan.violations_after:
        found.append(f"the plan says that all rules hold: {after}")
    return found + _beyond_limits(book, plan) + _wrong_figures(book, plan, places)


def _beyond_limits(book: Rulebook, plan: Any) -> list[str]:
    most, gib = book.policy.get("max_migrations"), book.policy.get("max_gib")
    copied = sum(book.planned[m.vmid].taken + sum(book.planned[m.vmid].disks.values()) for m in plan.migrations)
    twice = len({m.vmid for m in plan.migrations}) < len(plan.migrations)
    found = ["a guest is migrated twice"] if twice else []
    if most is not None and len(plan.migrations) > most:
        found.append(f"{len(plan.migrations)} migrations, at most {most}")
    return found + ([f"{copied} GiB, at most {gib}"] if gib is not None and copied > gib + 1e-6 else [])


def _wrong_figures(book: Rulebook, plan: Any, places: Places) -> list[str]:
    found = []
    for node in plan.nodes:
        for resource, shown in node.load_after.items():
            if resource in ("memory", "cpu"):
                load = book.load(node.node, places, resource)
                if abs(load - shown) > 0.01:
                    found.append(f"{resource} of {node.node} will be {load:.3f} %, not {shown:.3f}")
    for resource in plan.resources:
        loads = [node.load_after[resource] for node in plan.nodes if node.node not in book.closed]
        if abs(max(loads) - min(loads) - plan.spreads[resource].after) > 0.01:
            found.append(f"spread of {resource} is {max(loads) - min(loads)}, not {plan.spreads[resource].after}")
    return found
