"""Owns the random small clusters with rules of every kind, each feature drawn by itself so that it can be left out."""

from collections.abc import Collection
from random import Random

from hypothesis import strategies as st

from tests import features, random_rules
from tests.features import Feature, Parts
from tests.scenario import Guest, Node, Scenario


def draw(seed: int, nodes: int, guests: int, chosen: Collection[str]) -> Scenario:
    """A scenario; leaving out a feature, or the last guest, changes nothing else of it."""
    names = [f"pve{i}" for i in range(1, nodes + 1)]
    parts: Parts = {"nodes": {}, "guests": {}, "policy": {}, "cluster": {}, "ha_rules": [], "answers": {}, "apply": {}}
    for name in names:
        rng = Random(f"{seed} {name}")
        size = {"memory": rng.choice([32, 64, 64, 96]), "cpus": rng.choice([4, 8, 16])}
        own = {"used": rng.choice([0, 0, 2, 4]), "cpu": rng.choice([0, 1])}
        parts["nodes"][name] = {"name": name, **size, **own, "storages": {"local": 500}}
    for vmid in range(101, 101 + guests):
        parts["guests"][vmid] = _guest(Random(f"{seed} {vmid}"), vmid, names)
    for feature in sorted(chosen):
        FEATURES[feature](Random(f"{seed} {feature}"), parts)
    return Scenario(
        behaviour="whatever is drawn",
        nodes={name: Node(**facts) for name, facts in parts["nodes"].items()},
        guests={vmid: Guest(**facts) for vmid, facts in parts["guests"].items()},
        expect={"status": "whatever"},
        settings={section: parts[section] for section in ("policy", "cluster", "apply")},
        ha_rules=parts["ha_rules"],
        ha_groups=parts.get("ha_groups"),
        answers=parts["answers"],
    )


def scenarios() -> st.SearchStrategy[Scenario]:
    """Random scenarios; hypothesis shrinks the numbers of nodes and guests, and the features."""
    some = st.frozensets(st.sampled_from(sorted(FEATURES)), min_size=1, max_size=10)
    return st.builds(draw, st.integers(0, 10**9), st.integers(2, 6), st.integers(3, 14), some)


def _guest(rng: Random, vmid: int, names: list[str]) -> Parts:
    memory = rng.choice([1, 2, 4, 8, 16])
    return {
        "vmid": vmid, "on": rng.choice(names[:1] if rng.random() < 0.2 else names), "memory": memory,
        "used": rng.choice([None, None, memory / 2]), "cpus": rng.choice([1, 2, 4]), "cpu": rng.choice([0, 0.5, 1]),
        "tags": tuple(tag for tag in ("red", "blue") if rng.random() < 0.3),
        "pool": rng.choice(["", "", "p", "p/q"]),
    }  # fmt: skip


FEATURES: dict[str, Feature] = {
    "affinity tags": features.tag("plb_affinity_", 2, 4),
    "anti-affinity tags": features.tag("plb_anti_affinity_", 2, 4),
    "answers of preconditions": features.answers,
    "apart": random_rules.written(random_rules.apart),
    "apart against": random_rules.written(random_rules.against),
    "apart at most": random_rules.written(random_rules.at_most),
    "apart per rack": random_rules.written(random_rules.per_rack),
    "CT": features.mark("type", ["ct"], 6),  # before what is drawn for their kind
    "avoid": random_rules.written(random_rules.on_nodes("avoid")),
    "balanciness": features.policy(balanciness=[0, 2, 30]),
    "cpu": features.policy(resource=[["cpu"], ["memory", "cpu"], ["cpu", "memory"]]),
    "combine": features.policy(
        resource=[["memory", "cpu"]], combine=["worst", "weighted", "order"], weights=[{"cpu": 0.5}]
    ),
    "disks": features.disks,
    "fit": features.policy(fit=["assigned", "used"], mode=["assigned", "used"]),
    "HA balanced by itself": features.balances,
    "HA affinity": random_rules.ha_affinity,
    "HA groups": random_rules.ha_groups,
    "HA node affinity": random_rules.ha_nodes,
    "ignore_guests": features.ignored,
    "ignore_nodes": features.named("ignore_nodes"),
    "ignore tags": features.tag("plb_ignore_", 1, 1),
    "locks": features.mark("lock", ["backup"]),
    "maintenance": features.of_node("maintenance", True),
    "maintenance of the manager": features.manager,
    "maintenance_nodes": features.named("maintenance_nodes"),
    "max_gib": features.policy(max_gib=[4, 10, 30, 60]),
    "max_guests": features.policy(max_guests=[{"default": 4}, {"default": 6, "pve1": 1}, {"pve2": 2}]),
    "max_migrations": features.policy(max_migrations=[0, 1, 2, 3, 5]),
    "offline": features.of_node("status", "offline"),
    "only": features.policy(guests=["vm", "ct"]),
    "overcommit": features.policy(
        overcommit=[{"memory": 0.75}, {"cpu": 1}, {"default": {"cpu": 2}, "pve1": {"memory": 1.5}}]
    ),
    "pin": random_rules.written(random_rules.on_nodes("pin")),
    "pin tags": features.tag("plb_pin_", 1, 3),
    "pools": random_rules.pools,
    "repair_only": features.policy(repair_only=[True]),
    "reserve": features.policy(reserve=[{"memory": 2}, {"pve1": {"memory": 4, "cpu": 1}}]),
    "scheduled maintenance": features.scheduled,
    "should": random_rules.yielding,
    "side by side": features.apply(
        parallel=[1, 2, 8],
        per_source=[1, 2, 3],
        per_target=[1, 2, 3],
        bandwidth=[None, None, 100],
        bypass=[True, False],
    ),
    "stay": random_rules.written(random_rules.stay),
    "stopped": features.mark("status", ["stopped", "paused"], 4),
    "templates": features.templates,
    "few threads": features.of_node("cpus", 2),
    "tight": features.of_node("memory", 16),
    "together": random_rules.written(random_rules.together),
    "unknown status": features.mark("status", ["unknown"]),
    "until_balanced": features.policy(until_balanced=[True], cheapest=["migrations", "gib"]),
}
"""What a scenario can have besides nodes and guests; drawn in the order of their names."""
