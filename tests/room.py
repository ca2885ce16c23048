"""Owns what nodes of a scenario hold and guests take of it, and loads; knows no problem, no frame, no solver."""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

from tests.asks import Places
from tests.scenario import Guest, Scenario


class Room:
    """What there is room for on the nodes of a scenario, and how full they are."""

    def __init__(self, scenario: Scenario, offline: set[str]) -> None:
        self.scenario, self.offline = scenario, offline
        self.policy: Mapping[str, Any] = scenario.settings.get("policy") or {}
        self.planned = {v: g for v, g in scenario.guests.items() if not g.template and g.on not in offline}
        self.needs, self.has = cache(self._needs), cache(self._has)

    # ---------------------------------------------------------------- capacities

    def _needs(self, vmid: int) -> dict[str, float]:
        """What a guest takes of each capacity; where it is 0 it does not ask for room."""
        guest = self.planned[vmid]
        memory = guest.memory if self.policy.get("fit", "used") == "assigned" else guest.taken
        running = {"memory": memory, "vCPUs": guest.cpus} if guest.status != "stopped" else {}
        return {**running, "guests": 1, **(self.local(guest) if self._copies_disks else {})}

    def _has(self, node: str) -> dict[str, float]:
        """What a node has of each capacity."""
        facts, assigned = self.scenario.nodes[node], self.policy.get("fit", "used") == "assigned"
        factors = self._of_node("overcommit", node, {})
        memory = (facts.memory - self.reserve(node)) * float(factors.get("memory", 1)) - (0 if assigned else facts.used)
        return {
            "memory": max(0, memory),
            "vCPUs": (facts.cpus - self.reserve(node, "cpu")) * float(factors.get("cpu", math.inf)),
            "guests": float(self._of_node("max_guests", node, math.inf)),
            **(self._storages(node) if self._copies_disks else {}),
        }

    def usage(self, node: str, places: Places) -> dict[str, float]:
        """What the guests on a node take of each capacity."""
        total: dict[str, float] = {}
        for vmid, on in places.items():
            for what, need in self.needs(vmid).items() if on == node else ():
                total[what] = total.get(what, 0) + need
        return total

    def lacks(self, node: str, places: Places) -> list[str]:
        """What a node has less of than its guests take."""
        has = self.has(node)
        return [what for what, need in self.usage(node, places).items() if need > has.get(what, math.inf) + 1e-6]

    @property
    def _copies_disks(self) -> bool:
        return bool(self.policy.get("with_local_disks") or "disk" in str(self.policy.get("resource")))

    def own(self, node: str) -> dict[str, dict[str, Any]]:
        """Storages that a node shares with no other, and what is known of them."""
        given = self.scenario.nodes[node].storages.items() if node not in self.offline else ()
        facts = {name: value if isinstance(value, dict) else {"size": value} for name, value in given}
        return {name: fact for name, fact in facts.items() if not fact.get("shared")}

    def local(self, guest: Guest) -> dict[str, float]:
        """Its disks on storages that its node shares with no other."""
        return {name: size for name, size in guest.disks.items() if name in self.own(guest.on)}

    def _storages(self, node: str) -> dict[str, float]:
        """GiB for guests on each storage that several nodes have; a node without it has none."""
        own, kept = self.own(node), self.reserve(node, "disk")
        names = [name for other in self.scenario.nodes for name in self.own(other)]
        result = {}
        for name in {name for name in names if names.count(name) > 1}:
            others = [guest for guest in self.scenario.on(node) if guest.vmid not in self.planned]
            size = own.get(name, {"size": 0})
            room = size["size"] - size.get("used", 0) - sum(guest.disks.get(name, 0) for guest in others) - kept
            result[name] = max(0, room)
        return result

    def copied(self, guest: Guest) -> float:
        """GiB that its migration copies."""
        return guest.taken + sum(self.local(guest).values())

    def reserve(self, node: str, resource: str = "memory") -> float:
        """What a node keeps for itself."""
        return float(self._of_node("reserve", node, {}).get(resource, 0))

    def _of_node(self, setting: str, node: str, default: Any) -> Any:
        """A setting that may be one for all nodes, or one of each."""
        given = self.policy.get(setting) or {}
        if isinstance(default, dict) and given and not any(isinstance(value, dict) for value in given.values()):
            return given
        return given.get(node, given.get("default", default))

    # --------------------------------------------------------------------- loads

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

    def spread(self, places: Places, balanced: set[str]) -> float | None:
        """Percentage points between the fullest and the emptiest node, resources combined as asked for.

        None: something else than memory and CPU counts.
        """
        given = self.policy.get("resource", "memory")
        resources = [name.strip() for name in given.split(",")] if isinstance(given, str) else given
        if set(resources) - {"memory", "cpu"}:
            return None
        spreads = []
        for resource in resources:
            loads = [self.load(node, places, resource) for node in balanced]
            spreads.append(max(loads) - min(loads))
        combine, weights = self.policy.get("combine", "worst"), self.policy.get("weights", {})
        each = [weights.get(resource, 1) for resource in resources]
        if combine == "weighted":
            return float(sum(w * spread for w, spread in zip(each, spreads, strict=True)) / sum(each))
        return spreads[0] if combine == "order" else max(spreads)
