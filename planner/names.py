"""Owns the search for names that name nothing: in tags, in settings, in rules of the HA manager."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher, get_close_matches

from planner import ha, rules, select
from planner.cluster import Cluster
from planner.errors import ConfigError, InputError
from planner.finding import Finding, Level, error, listed, note, ok, warning
from planner.policy import Cluster as ClusterPolicy
from planner.policy import Policy
from planner.rule import Kind
from planner.snapshot import GROUPS, RULES, Snapshot, rows
from planner.tags import PIN_TAG, TAGS, kind_of

PER_NODE = ("reserve", "overcommit", "max_guests")
"""What a policy says by the name of a node."""
OF_SEVERAL = (Kind.TOGETHER, Kind.APART)


def tags(cluster: Cluster) -> Iterator[Finding]:
    """Tags that are meant for the planner and have no effect, with what may have been meant."""
    nodes = {str(name).casefold(): str(name) for name in cluster.nodes["node"]}
    found = [
        *_without_meaning(_tagged(cluster, template=False), nodes),
        *(note(f"tag {tag} is on a template ({_guests(vmids)}), where it has no effect")
          for tag, vmids in _tagged(cluster, template=True).items() if kind_of(tag) is not None),
    ]  # fmt: skip
    yield from found or [ok("every tag of the planner means something")]


def _without_meaning(tagged: Mapping[str, list[int]], nodes: Mapping[str, str]) -> Iterator[Finding]:
    for tag, vmids in tagged.items():
        kind, of = kind_of(tag), f"tag {tag} of {_guests(vmids)}"
        if kind is None:
            yield warning(f"{of} is not one that the planner knows: it has no effect", f"did you mean {_meant(tag)}?")
        elif kind is Kind.PIN and tag.removeprefix(PIN_TAG) not in nodes:
            advice = _nearest(tag.removeprefix(PIN_TAG), nodes, PIN_TAG)
            yield warning(f"{of} names no node of this cluster: it has no effect", advice)
        elif kind in OF_SEVERAL and len(vmids) == 1:
            yield note(f"{of} is on no other guest: a group of one has no effect")


def _tagged(cluster: Cluster, *, template: bool) -> dict[str, list[int]]:
    """Every tag that looks like one for the planner, in lower case, to the guests that have it."""
    result: dict[str, list[int]] = {}
    guests = cluster.guests[cluster.guests["template"] == template]
    for vmid, text in zip(guests["vmid"], guests["tags"], strict=True):
        for tag in dict.fromkeys(str(text).casefold().split(";")):
            if tag.startswith("plb"):
                result.setdefault(tag, []).append(int(vmid))
    return dict(sorted(result.items()))


def _meant(tag: str) -> str:
    """The prefix that a tag's beginning is most like."""
    likeness = {prefix: SequenceMatcher(None, tag[: len(prefix)], prefix).ratio() for prefix, _ in TAGS}
    best = max(likeness, key=lambda prefix: likeness[prefix])
    return f"{best}..." if best.endswith("_") else best


def _guests(vmids: list[int]) -> str:
    return f"guest{'s' if len(vmids) > 1 else ''} {listed(vmids)}"


def _nearest(word: str, known: Iterable[str], before: str = "") -> str:
    names = list(known)
    match = get_close_matches(word, names, 1)
    return f"did you mean {before}{match[0]}?" if match else f"there are {listed(names, 8) or 'none'}"


def settings(cluster: Cluster, chosen: ClusterPolicy, policy: Policy) -> Iterator[Finding]:
    """Nodes and pools of the configuration that the cluster does not have."""
    nodes = [str(name) for name in cluster.nodes["node"]]
    named = {
        "cluster.maintenance_nodes": chosen.maintenance_nodes,
        "cluster.ignore_nodes": chosen.ignore_nodes,
    }
    for key in PER_NODE:
        named[f"policy.{key}"] = tuple(name for name in getattr(policy, key) if name != "default")
    found = [
        error(f"{key} names node {name}, which does not exist", _nearest(name, nodes))
        for key, names in named.items() for name in names if name not in nodes
    ]  # fmt: skip
    found += [
        warning(f"the configuration names pool {pool}, which does not exist or is hidden from the token", advice)
        for pool, advice in unknown_pools(_pools(chosen), cluster.snapshot).items()
    ]
    if not any(finding.level is Level.ERROR for finding in found):
        found += _refused(cluster, chosen)
    yield from found or [ok("every name in the configuration is known")]


def _pools(chosen: ClusterPolicy) -> Iterator[str]:
    """Pools that the configuration speaks of, in selectors too."""
    yield from chosen.pools
    yield from select.pools(chosen.ignore_guests)
    for rule in chosen.rules:
        yield from select.pools((*rule.together, *rule.apart, *rule.against, *rule.pin, *rule.avoid, *rule.stay))


def _refused(cluster: Cluster, chosen: ClusterPolicy) -> Iterator[Finding]:
    """What else the planner would refuse in the settings."""
    try:
        rules.read(cluster, chosen)
    except ConfigError as problem:
        yield error(str(problem))
    except InputError:
        return  # a rule of the HA manager, which has a check of its own


def unknown_pools(names: Iterable[str], snapshot: Snapshot) -> dict[str, str]:
    """Those of some pools that do not exist, each with what may have been meant; none where pools are not known."""
    answer = snapshot.get("/pools")
    if answer is None:
        return {}
    known = sorted(str(row.get("poolid")) for row in rows(answer, "/pools"))
    unknown = [name for name in dict.fromkeys(names) if not any(select.in_pool(pool, name) for pool in known)]
    return {name: _nearest(name, known) for name in unknown}


def ha_rules(cluster: Cluster) -> Iterator[Finding]:
    """Rules of the HA manager that have errors, are switched off, or name what is not there."""
    answer = cluster.snapshot.get(RULES)
    if answer is None:
        yield _no_ha_rules(cluster.snapshot)
        return
    nodes, vmids = set(map(str, cluster.nodes["node"])), set(map(int, cluster.guests["vmid"]))
    written = list(rows(answer, RULES))
    found = [finding for row in written for finding in _ha_rule(row, nodes, vmids)]
    yield from found or [ok(f"{len(written)} rules of the HA manager are in force" if written else "no HA rules")]


def _no_ha_rules(snapshot: Snapshot) -> Finding:
    if snapshot.get(GROUPS) is not None:
        return note("there are HA groups instead of HA rules, as in Proxmox VE 8: the plan obeys them")
    return note("HA rules are not known: Proxmox VE may refuse a migration that breaks one")


def _ha_rule(row: Mapping[str, object], nodes: set[str], vmids: set[int]) -> Iterator[Finding]:
    name = ha.NAME.format(row.get("rule"))
    if str(row.get("disable")) not in ha.OFF:
        yield note(f"{name} is disabled: it has no effect")
        return
    if row.get("errors"):
        advice = "mend it under Datacenter, HA, Affinity Rules"
        yield warning(f"{name} has errors and has no effect: {_first(row['errors'])}", advice)
    if row.get("type") not in ("node-affinity", "resource-affinity"):
        yield warning(f"{name} is a {row.get('type')} rule, which is not known here: it has no effect on the plan")
        return
    in_force = {name: value for name, value in row.items() if name != "errors"}
    try:
        rule = next(ha.read(Snapshot({RULES: [in_force]}, ""), lambda _: None))
    except InputError as problem:
        yield warning(str(problem)) if row.get("errors") else error(str(problem), "mend or disable the rule")
        return
    for node in sorted({node for node, _ in rule.nodes} - nodes):
        yield warning(f"{name} names node {node}, which does not exist", _nearest(node, sorted(nodes)))
    if gone := sorted(set(rule.vmids) - vmids):
        what = f"{name} names {_guests(gone)}, which do not exist or are hidden from the token"
        yield warning(what, "take them out of the rule, or give the token VM.Audit on /vms")


def _first(errors: object) -> str:
    """The first of Proxmox VE's own words, which come as field to messages."""
    while isinstance(errors, dict | list) and errors:
        errors = next(iter(errors.values())) if isinstance(errors, dict) else errors[0]
    return " ".join(str(errors).split())
