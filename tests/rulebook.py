"""Owns what rules and limits of a scenario mean, read anew by names: knows no problem, no frame, no solver."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from tests.asks import Apart, Asks, Fact, Places, apart, home, together
from tests.room import Room
from tests.rows import TAKEN_AT
from tests.scenario import Guest, Scenario
from tests.selector import select

NOW = datetime.fromisoformat(TAKEN_AT).astimezone()


def _moment(written: str) -> datetime:
    return datetime.fromisoformat(written).astimezone()


class Should(NamedTuple):
    """A rule that may give way, or what of it may do so alone."""

    name: str
    price: float
    asks: Asks


class Rulebook:
    """All rules of a scenario, and what they say of places of guests."""

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
        windows = self.settings.get("scheduled_maintenance", ())
        maintained |= {window["node"] for window in windows if _moment(window["begin"]) <= NOW < _moment(window["end"])}
        self.maintained = {n.name for n in nodes if n.maintenance or n.name in maintained} - self.offline - self.ignored
        self.closed = self.offline | self.ignored | self.maintained
        self.room = Room(scenario, self.offline)
        self.planned = self.room.planned
        self.left_alone = {vmid for vmid, guest in self.planned.items() if self._left_alone(guest)}
        self.fixed = self.left_alone | {vmid for vmid, guest in self.planned.items() if self._cannot(guest)}
        self.must, self.should, self._for_repairs = Asks(), list[Should](), set[int]()
        self._tags()
        for rule in scenario.ha_rules if scenario.ha_groups is None else ():
            if not rule.get("disable") and not rule.get("errors"):
                self._ha(rule)
        for group in scenario.ha_groups or ():
            self._group(group)
        for rule in self.settings.get("rules", ()):
            self._rule(rule)
        for pool, rule in (self.settings.get("pools") or {}).items():
            self._pool(pool, rule)
        for vmid, guest in self.planned.items():
            if barred := self._barred(guest):
                self.must.add(home("preconditions", [vmid], set(scenario.nodes) - barred))
        self.fixed |= self._for_repairs - self._repairing({v: g.on for v, g in self.planned.items()})

    # ------------------------------------------------------------- reading rules

    def _left_alone(self, guest: Guest) -> bool:
        kinds = self.policy.get("guests", "all")
        chosen = guest.vmid in select(self.scenario, self.settings.get("ignore_guests", ()))
        tagged = any(tag.casefold().startswith("plb_ignore") for tag in guest.tags)
        options = self.scenario.answers.get("/cluster/options") or {}
        rebalanced = guest.ha and options.get("crs", {}).get("ha-auto-rebalance")
        rebalanced = rebalanced and not self.policy.get("with_ha_guests", False)
        return bool(tagged or chosen or guest.on in self.ignored or kinds not in ("all", guest.type) or rebalanced)

    def _cannot(self, guest: Guest) -> bool:
        local = self.room.local(guest)
        there = [sum(name in self.room.own(node) for node in self.scenario.nodes) for name in local]
        refused = local and not self.policy.get("with_local_disks", False)
        return bool(guest.lock or guest.status == "unknown" or refused or 1 in there or self._said(guest) is None)

    def _said(self, guest: Guest) -> dict[str, Any] | None:
        """What Proxmox VE says about migrating a guest; None: that it cannot be."""
        where = f"qemu/{guest.vmid}/migrate" if guest.type == "vm" else f"lxc/{guest.vmid}/config"
        said: dict[str, Any] = self.scenario.answers.get(f"/nodes/{guest.on}/{where}") or {}
        mounts = any(name.startswith("mp") and value.startswith("/") for name, value in said.items())
        stays = said.get("local_resources") or "is locked" in said.get("error", "") or "dev0" in said or mounts
        return None if stays else said

    def _barred(self, guest: Guest) -> set[str]:
        said = self._said(guest) or {}
        barred = {node for node, why in said.get("not_allowed_nodes", {}).items() if any(why.values())}
        if guest.type == "ct" and "rootfs" in said:
            storage = said["rootfs"].partition(":")[0]
            known = [
                n for n, node in self.scenario.nodes.items() if node.status == "online" and storage in node.storages
            ]
            barred = set(self.scenario.nodes) - set(known) if known else set()
        small = {n for n, node in self.scenario.nodes.items() if guest.type == "vm" and node.cpus < guest.cpus}
        return (barred | small) - {guest.on}

    def _tags(self) -> None:
        names = {name.casefold(): name for name in self.scenario.nodes}
        by_tag: dict[str, set[int]] = {}
        for guest in self.planned.values():
            for tag in {tag.casefold() for tag in guest.tags}:
                by_tag.setdefault(tag, set()).add(guest.vmid)
            pins = {tag.casefold() for tag in guest.tags if tag.casefold().startswith("plb_pin_")}
            if known := sorted(pin for pin in pins if pin.removeprefix("plb_pin_") in names):
                nodes = {names[pin.removeprefix("plb_pin_")] for pin in known}
                self._take(" or ".join(known), home(" or ".join(known), [guest.vmid], nodes))
        for tag, vmids in by_tag.items():
            if tag.startswith("plb_affinity_"):
                self._take(tag, together(tag, vmids))
            elif tag.startswith("plb_anti_affinity_"):
                self._take(tag, apart(tag, vmids))

    def _ha(self, rule: Mapping[str, Any]) -> None:
        vmids = [int(word.partition(":")[2]) for word in rule["resources"].split(",")]
        if rule["type"] not in ("resource-affinity", "node-affinity"):
            return
        if rule["type"] == "resource-affinity":
            name, make = f"HA rule {rule['rule']}", together if rule["affinity"] == "positive" else apart
            self.must.add(make(name, vmids))
            return
        managed = {guest.vmid: guest.ha for guest in self.scenario.guests.values() if isinstance(guest.ha, dict)}
        self._near(
            {**rule, "rule": f"HA rule {rule['rule']}"},
            set(vmids),
            {vmid for vmid, ha in managed.items() if str(ha.get("failback", 1)) == "0"},
        )

    def _group(self, group: Mapping[str, Any]) -> None:
        """A group of Proxmox VE 8."""
        managed = {g.vmid: g.ha for g in self.scenario.guests.values() if isinstance(g.ha, dict)}
        members = {vmid for vmid, ha in managed.items() if ha.get("group") == group["group"]}
        rule = {"rule": f"HA group {group['group']}", "nodes": group["nodes"], "strict": group.get("restricted")}
        self._near(rule, members, members if group.get("nofailback") else set())

    def _near(self, rule: Mapping[str, Any], vmids: set[int], staying: set[int]) -> None:
        """Node affinity; guests that are staying are not sent to a higher priority."""
        classes: dict[int, set[str]] = {}
        for word in rule["nodes"].split(","):
            node, _, priority = word.partition(":")
            classes.setdefault(int(priority or 0), set()).add(node)
        named, available = set().union(*classes.values()), set(self.scenario.nodes) - self.offline - self.maintained
        if rule.get("affinity") == "negative":
            others = set(self.scenario.nodes) - named
            if rule.get("strict") or others & available:
                self.must.add(home(rule["rule"], vmids, others))
            return
        if rule.get("strict"):
            self.must.add(home(rule["rule"], staying & vmids, named))
        usable = [classes[priority] for priority in sorted(classes, reverse=True) if classes[priority] & available]
        if usable or rule.get("strict"):
            self.must.add(home(rule["rule"], vmids - staying, usable[0] if usable else named))

    def _rule(self, rule: Mapping[str, Any]) -> None:
        name, asks = rule["name"], Asks()
        if "together" in rule:
            asks = together(name, select(self.scenario, rule["together"]))
        elif "pin" in rule:
            asks = home(name, select(self.scenario, rule["pin"]), rule["nodes"])
        elif "avoid" in rule:
            asks = home(name, select(self.scenario, rule["avoid"]), set(self.scenario.nodes) - set(rule["nodes"]))
        elif "apart" in rule:
            one = select(self.scenario, rule["apart"])
            sides = [one, select(self.scenario, rule["against"])] if "against" in rule else [{vmid} for vmid in one]
            domain = self.settings["domains"][rule["per"]] if rule.get("per", "node") != "node" else {}
            asks.apart.append(Apart(name, tuple(map(frozenset, sides)), int(rule.get("at_most", 1)), domain))
        else:
            self._stay(select(self.scenario, rule["stay"]), rule.get("unless", "never"))
        self._take(name, asks, float(rule.get("price", 1)) if rule.get("should") else 0)

    def _stay(self, vmids: set[int], unless: str) -> None:
        if unless == "repair":
            self._for_repairs |= vmids
            return
        elsewhere = {vmid for vmid, guest in self.planned.items() if guest.on not in self.maintained}
        chosen = vmids & {"never": vmids, "daily": self._lately(), "maintenance": elsewhere}[unless]
        self.fixed |= chosen
        self.left_alone |= chosen

    def _lately(self) -> set[int]:
        """Guests that were migrated within a day."""
        now = NOW.timestamp()
        rows = self.scenario.answers.get("/cluster/tasks") or ()
        return {int(row["id"]) for row in rows if row["status"] == "OK" and now - row["starttime"] < 24 * 3600}

    def _pool(self, pool: str, rule: Mapping[str, Any]) -> None:
        name, vmids = f"pool {pool}", select(self.scenario, [f"@pool-{pool}"])
        if rule.get("type"):
            self._take(name, (together if rule["type"] == "affinity" else apart)(name, vmids))
        if rule.get("pin"):
            self._take(f"pin of {name}", home(name, vmids, rule["pin"]), 0 if rule.get("strict", True) else 1)

    def _take(self, name: str, asks: Asks, price: float = 0) -> None:
        """A must-rule where it has no price; of a pin that has one, each guest is a rule of its own."""
        for pattern, its in (self.settings.get("should") or {}).items():
            price = float(its) if fnmatchcase(name, pattern) else price
        if not price:
            self.must.add(asks)
        elif asks.homes:
            each = [(vmid, nodes) for _, vmids, nodes in asks.homes for vmid in vmids]
            self.should += [Should(name, price, home(name, [vmid], nodes)) for vmid, nodes in each]
        else:
            self.should.append(Should(name, price, asks))

    # ------------------------------------------------------------------ judging

    def broken(self, places: Places) -> set[Fact]:
        """Every must-rule that does not hold, guest by guest or pair by pair."""
        free = set(places) - self.left_alone
        astray = {("closed", places[vmid], vmid) for vmid in free if places[vmid] in self.closed}
        return self.must.broken(places, self.left_alone) | astray | set(self._overfull(places))

    def given_up(self, places: Places) -> list[Should]:
        """What may give way and does not hold."""
        return [rule for rule in self.should if rule.asks.broken(places, self.left_alone)]

    def _repairing(self, places: Places) -> set[int]:
        """Guests whose migration could mend something."""
        full = {fact[1] for fact in self._overfull(places)} | self.maintained
        astray = {vmid for vmid, node in places.items() if node in full}
        return astray.union(*(asks.involved(places, self.left_alone) for asks in self.everything()))

    def everything(self) -> list[Asks]:
        """What must hold and what should."""
        return [self.must, *(rule.asks for rule in self.should)]

    def _overfull(self, places: Places) -> Iterable[Fact]:
        for node in set(places.values()):
            yield from ((what, node) for what in self.room.lacks(node, places))
