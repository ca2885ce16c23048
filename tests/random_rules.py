"""Owns the random rules of every kind and from every place, each a feature of a random cluster."""

from collections.abc import Callable
from random import Random

from tests.features import Feature, Parts, selector, some

NOW = 1795435200
"""When the snapshots of scenarios are taken (`TAKEN_AT`), in seconds."""
RACKS = ("a", "b", "c")


def domains(rng: Random, parts: Parts) -> dict[str, str]:
    if "domains" not in parts["cluster"]:
        racks = {name: rng.choice(RACKS) for name in parts["nodes"] if rng.random() < 0.8}
        parts["cluster"]["domains"] = {"rack": racks}
    return {"per": "rack"}


def written(make: Callable[[Random, Parts], Parts]) -> Feature:
    """A feature that is a rule of the configuration, or two."""

    def feature(rng: Random, parts: Parts) -> None:
        for _ in range(rng.choice([1, 1, 2])):
            rules = parts["cluster"].setdefault("rules", [])
            rules.append({"name": f"r{len(rules)}", **make(rng, parts)})

    return feature


def _should(rng: Random) -> Parts:
    return {"should": True, "price": rng.choice([0.5, 1, 3])} if rng.random() < 0.3 else {}


def apart(rng: Random, parts: Parts) -> Parts:
    return {"apart": selector(rng, parts), **_should(rng)}


def per_rack(rng: Random, parts: Parts) -> Parts:
    return apart(rng, parts) | domains(rng, parts) | {"at_most": rng.randint(1, 2)}


def at_most(rng: Random, parts: Parts) -> Parts:
    return apart(rng, parts) | {"at_most": rng.randint(1, 3)}


def against(rng: Random, parts: Parts) -> Parts:
    vmids = [str(vmid) for vmid in some(rng, parts, 6)]
    cut = rng.randint(1, max(1, len(vmids) - 1))
    sides = {"apart": vmids[:cut], "against": vmids[cut:] or ["@tag-none"]}
    return sides | (domains(rng, parts) if rng.random() < 0.3 else {}) | _should(rng)


def together(rng: Random, parts: Parts) -> Parts:
    return {"together": selector(rng, parts), **_should(rng)}


def on_nodes(ask: str) -> Callable[[Random, Parts], Parts]:
    def make(rng: Random, parts: Parts) -> Parts:
        names = list(parts["nodes"])
        return {ask: selector(rng, parts), "nodes": rng.sample(names, rng.randint(1, len(names) - 1)), **_should(rng)}

    return make


def stay(rng: Random, parts: Parts) -> Parts:
    began = NOW - 3600 * rng.choice([1, 30])
    rows = [{"type": "qmigrate", "id": str(vmid), "node": "pve1", "status": rng.choice(["OK", "failed"]), "upid": "U",
             "starttime": began} for vmid in some(rng, parts, 4)]  # fmt: skip
    parts["answers"].setdefault("/cluster/tasks", []).extend(rows)
    return {"stay": selector(rng, parts), "unless": rng.choice(["never", "repair", "repair", "daily", "maintenance"])}


def pools(rng: Random, parts: Parts) -> None:
    kind = {"type": rng.choice(["affinity", "anti-affinity"])} if rng.random() < 0.5 else {}
    pin = {"pin": [rng.choice(list(parts["nodes"]))], "strict": rng.random() < 0.5} if not kind else {}
    parts["cluster"]["pools"] = {rng.choice(["p", "p/q"]): kind | pin}


def _sids(rng: Random, parts: Parts, most: int) -> str:
    for vmid in (chosen := some(rng, parts, most)):
        parts["guests"][vmid].setdefault("ha", rng.choice([True, {"failback": 0}]))
    return ",".join(f"{parts['guests'][vmid].get('type', 'vm')}:{vmid}" for vmid in chosen)


def _priorities(rng: Random, parts: Parts) -> str:
    names = list(parts["nodes"])
    return ",".join(f"{name}:{rng.randint(0, 2)}" for name in rng.sample(names, rng.randint(1, len(names))))


def ha_affinity(rng: Random, parts: Parts) -> None:
    rule = {"rule": "near", "type": "resource-affinity", "affinity": rng.choice(["positive", "negative"])}
    parts["ha_rules"].append(rule | {"resources": _sids(rng, parts, 4)})


def ha_nodes(rng: Random, parts: Parts) -> None:
    rule = {"rule": "home", "type": "node-affinity", "strict": rng.randint(0, 1), "nodes": _priorities(rng, parts)}
    rule |= {"affinity": "negative"} if rng.random() < 0.2 else {}
    parts["ha_rules"].append(rule | {"resources": _sids(rng, parts, 3)})


def ha_groups(rng: Random, parts: Parts) -> None:
    """Proxmox VE 8: no rules of the HA manager."""
    for vmid in some(rng, parts, 4):
        parts["guests"][vmid]["ha"] = {"group": "db"}
    group = {"group": "db", "type": "group", "nodes": _priorities(rng, parts)}
    parts["ha_groups"] = [group | {"restricted": rng.randint(0, 1), "nofailback": rng.randint(0, 1)}]


def yielding(rng: Random, parts: Parts) -> None:
    """Rules from anywhere that give way."""
    patterns = ["plb_*", "plb_pin_*", "plb_a*", "HA rule *", "HA group db", "r0", "pool p", "pin of pool *"]
    parts["cluster"]["should"] = {pattern: rng.choice([0.5, 1, 2]) for pattern in sorted(rng.sample(patterns, 4))}
