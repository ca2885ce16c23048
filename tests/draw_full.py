"""Owns random full clusters of up to 12 nodes and 120 guests, on which guests stand in each other's way."""

import math
from random import Random
from typing import Any

from tests.scenario import Guest, Node, Scenario

NODES, GUESTS = 12, 120
SIZES = ((2, 4, 8), (4, 8), (8,), (4, 6, 10, 16), (1, 2, 3, 5, 8, 13))
"""GiB of guests: the more are of one size, the more of them can change places."""


def full(seed: int, most_nodes: int = NODES, most_guests: int = GUESTS) -> Scenario:
    """A cluster whose nodes' memory is 60 to 95 % in use, with rules of every kind; CPU is what is to be balanced."""
    rng = Random(f"full {seed}")
    names = [f"pve{i}" for i in range(1, rng.randint(2, most_nodes) + 1)]
    guests = _guests(rng, names, most_guests)
    nodes = _nodes(rng, names, guests)
    cluster: dict[str, Any] = {"rules": []}
    for rule in rng.sample(RULES, rng.randint(0, 4)):
        rule(rng, nodes, guests, cluster)
    return Scenario(
        behaviour="a full cluster",
        nodes=nodes,
        guests=guests,
        expect={"status": "whatever"},
        settings={"policy": _policy(rng, nodes, guests), "cluster": cluster, "apply": _apply(rng)},
    )


def jammed(seed: int) -> Scenario:
    """A few guests on a few nodes that have hardly any room; what belongs together is together."""
    rng = Random(f"jammed {seed}")
    names = [f"pve{i}" for i in range(1, rng.choice([2, 3, 3, 4, 4]) + 1)]
    sizes = rng.choice([(4,), (2, 4), (1, 2, 3, 4, 5), (3, 4, 5)])
    of = {101 + i: name for i, name in enumerate([*names, *rng.choices(names, k=rng.randint(0, 7 - len(names)))])}
    guests = {vmid: Guest(vmid, name, rng.choice(sizes), cpus=1) for vmid, name in of.items()}
    nodes = {}
    for name in names:
        taken = sum(guest.memory for guest in guests.values() if guest.on == name)
        nodes[name] = Node(name, memory=taken + rng.choice([0, 1, 1, 2, 3, 4]), cpus=8)
    cluster: dict[str, Any] = {"rules": []}
    for rule in rng.sample([rule for rule in RULES if rule is not _united], rng.choice([0, 0, 1, 2])):
        rule(rng, nodes, guests, cluster)
    settings = {"policy": {"balanciness": 1}, "cluster": cluster}
    return Scenario("a jam", nodes=nodes, guests=guests, expect={"status": "whatever"}, settings=settings)


def _guests(rng: Random, names: list[str], most: int) -> dict[int, Guest]:
    guests: dict[int, Guest] = {}
    sizes = rng.choice(SIZES)
    for name in names:
        hot = rng.choice([0.1, 0.5, 1])  # so that there is something to balance
        for _ in range(rng.randint(1, max(1, most // len(names)))):
            vmid, cpus = 101 + len(guests), rng.choice([1, 2, 4])
            facts = {"cpus": cpus, "cpu": round(cpus * hot * rng.random(), 2)}
            guests[vmid] = Guest(vmid, name, rng.choice(sizes), type=rng.choices(["vm", "ct"], [9, 1])[0], **facts)
    return guests


def _nodes(rng: Random, names: list[str], guests: dict[int, Guest]) -> dict[str, Node]:
    """As large as their guests need; on some clusters only a few have room for more."""
    fills = rng.choice([[(0.6, 0.8)], [(0.6, 0.95)], [(0.9, 0.95)], [(0.95, 0.95)] * 3 + [(0.6, 0.9)]])
    nodes = {}
    for name in names:
        taken = sum(guest.memory for guest in guests.values() if guest.on == name)
        size = math.floor(taken / rng.uniform(*rng.choice(fills)))
        threads = sum(guest.cpus for guest in guests.values() if guest.on == name)
        nodes[name] = Node(name, memory=max(size, taken), cpus=max(4, threads), storages={"local": 400})
    return nodes


def _policy(rng: Random, nodes: dict[str, Node], guests: dict[int, Guest]) -> dict[str, Any]:
    """Other capacities than memory, so that none breaks today, but hardly more than is needed."""
    policy: dict[str, Any] = {
        "resource": rng.choice([["cpu"], ["cpu"], ["cpu", "memory"]]),
        "balanciness": 1,
        "time_limit": 0.3,
    }
    on = {name: [guest for guest in guests.values() if guest.on == name] for name in nodes}
    if rng.random() < 0.3:
        policy["max_guests"] = {name: len(here) + rng.randint(0, 2) for name, here in on.items()}
    if rng.random() < 0.3:
        policy["overcommit"] = {"cpu": rng.choice([1, 1.1, 1.5])}
    if rng.random() < 0.3:
        policy["with_local_disks"] = True
        for vmid in rng.sample(sorted(guests), len(guests) // 3):
            guests[vmid].disks["local"] = rng.choice([10, 40, 80])
    return policy


def _apply(rng: Random) -> dict[str, Any]:
    side_by_side = {
        "parallel": rng.choice([1, 2, 4, 8]),
        "per_source": rng.randint(1, 3),
        "per_target": rng.randint(1, 3),
    }
    return side_by_side | ({"bandwidth": 400} if rng.random() < 0.2 else {})


# ----------------------------------------------------------------------- rules


def _one_of_each(rng: Random, nodes: dict[str, Node], guests: dict[int, Guest]) -> list[str]:
    """Guests on different nodes."""
    on: dict[str, list[int]] = {}
    for guest in guests.values():
        on.setdefault(guest.on, []).append(guest.vmid)
    some = rng.sample(sorted(on), rng.randint(1, len(on)))
    return [str(rng.choice(on[name])) for name in some]


def _some(rng: Random, guests: dict[int, Guest], most: int) -> list[str]:
    return [str(vmid) for vmid in rng.sample(sorted(guests), min(len(guests), rng.randint(1, most)))]


def _rule(cluster: dict[str, Any], **asks: Any) -> None:
    cluster["rules"].append({"name": f"r{len(cluster['rules'])}", **asks})


def _apart(rng: Random, nodes: dict[str, Node], guests: dict[int, Guest], cluster: dict[str, Any]) -> None:
    for _ in range(rng.randint(1, 3)):
        _rule(cluster, apart=_one_of_each(rng, nodes, guests))


def _broken(rng: Random, nodes: dict[str, Node], guests: dict[int, Guest], cluster: dict[str, Any]) -> None:
    _rule(cluster, apart=_some(rng, guests, 4))


def _at_most(rng: Random, nodes: dict[str, Node], guests: dict[int, Guest], cluster: dict[str, Any]) -> None:
    _rule(cluster, apart=_some(rng, guests, 3 * len(nodes)), at_most=rng.randint(2, 4))


def _racks(rng: Random, nodes: dict[str, Node], guests: dict[int, Guest], cluster: dict[str, Any]) -> None:
    cluster["domains"] = {"rack": {name: rng.choice("abcd") for name in nodes if rng.random() < 0.9}}
    _rule(cluster, apart=_one_of_each(rng, nodes, guests), per="rack", at_most=rng.randint(1, 3))


def _against(rng: Random, nodes: dict[str, Node], guests: dict[int, Guest], cluster: dict[str, Any]) -> None:
    words = _one_of_each(rng, nodes, guests)
    if len(words) > 1:
        cut = rng.randint(1, len(words) - 1)
        _rule(cluster, apart=words[:cut], against=words[cut:])


def _together(rng: Random, nodes: dict[str, Node], guests: dict[int, Guest], cluster: dict[str, Any]) -> None:
    for name in rng.sample(sorted(nodes), min(len(nodes), rng.randint(1, 3))):
        here = [str(guest.vmid) for guest in guests.values() if guest.on == name]
        _rule(cluster, together=rng.sample(here, min(len(here), rng.randint(2, 3))))


def _united(rng: Random, nodes: dict[str, Node], guests: dict[int, Guest], cluster: dict[str, Any]) -> None:
    _rule(cluster, together=_some(rng, guests, 3))


def _pin(rng: Random, nodes: dict[str, Node], guests: dict[int, Guest], cluster: dict[str, Any]) -> None:
    for vmid in rng.sample(sorted(guests), min(len(guests), rng.randint(1, 8))):
        others = rng.sample(sorted(nodes), rng.randint(0, len(nodes) - 1))
        _rule(cluster, pin=[str(vmid)], nodes=sorted({*others, guests[vmid].on}))


def _drained(rng: Random, nodes: dict[str, Node], guests: dict[int, Guest], cluster: dict[str, Any]) -> None:
    cluster["maintenance_nodes"] = [rng.choice(sorted(nodes))]


RULES = (_apart, _broken, _at_most, _racks, _against, _together, _united, _pin, _drained)
