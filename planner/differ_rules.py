"""Owns what the rules of a cluster ask for as they are written, in words that can be compared."""

from planner import ha
from planner.cluster import Cluster
from planner.rule import Kind, Rule
from planner.rules import read


def worded(cluster: Cluster) -> dict[str, str]:
    """Name to what all rules of that name ask for: those of the HA manager as they are written, since what they mean
    depends on which nodes are online."""
    written = {rule.name: _written(rule) for rule in ha.read(cluster.snapshot, lambda _: None)}
    written |= dict(ha.without_effect(cluster.snapshot))
    result: dict[str, list[str]] = {name: [text] for name, text in written.items() if not cluster.assumed.lifts(name)}
    for rule in read(cluster).items:
        if rule.name not in written:
            result.setdefault(rule.name, []).append(_asks(rule))
    return {name: "; ".join(sorted(texts)) for name, texts in result.items()}


def _written(rule: ha.HaRule) -> str:
    """A rule of the HA manager as it is written."""
    vmids = ", ".join(map(str, sorted(rule.vmids)))
    if rule.kind != "node-affinity":
        return f"{'apart' if rule.negative else 'together'} {vmids}"
    nodes = " or ".join(f"{node}:{priority}" if priority else node for node, priority in sorted(rule.nodes))
    where, strict = "not on" if rule.negative else "on", ", strict" if rule.strict else ""
    staying = ", ".join(map(str, sorted(rule.staying & {*rule.vmids})))
    staying = f", {staying} without failback" if staying else ""
    return f"pin {vmids} {where} {nodes}{strict}{staying}"


def _asks(rule: Rule) -> str:
    if rule.kind is not Kind.APART:
        where = f" on {' or '.join(sorted(rule.nodes)) or 'no node'}" if rule.kind is Kind.PIN else ""
        return f"{rule.kind.value} {', '.join(map(str, rule.vmids))}{where}"
    sides = (" with ".join(map(str, side)) for side in rule.sides)
    most = f", at most {rule.most} per {rule.per or 'node'}" if rule.most > 1 or rule.per else ""
    return f"apart {', '.join(sides)}{most}"
