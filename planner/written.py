"""Owns the reading of rules that the configuration writes: `rules`, `pools` and `ignore_guests` of its cluster."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import pandas as pd

from planner.errors import ConfigError
from planner.policy import Cluster, PoolType, RuleSetting
from planner.rule import Kind, Rule, apart, ignore, pin, together
from planner.select import idle, in_pool, select

ASKS = ("together", "apart", "pin", "avoid", "stay")
"""Of which a rule says exactly one."""
NODE = "node"
"""What `per` says of rules that failure domains have nothing to do with."""
OF_NONE = "is about no guest of this cluster: it has no effect"


def read(settings: Cluster, guests: pd.DataFrame, nodes: list[str], note: Callable[[str], None]) -> Iterator[Rule]:
    """Rules of the configuration. ConfigError names the one that makes no sense; `note` those without effect."""
    names = [rule.name for rule in settings.rules]
    _check_printable({"rules": names, "pools": settings.pools, "domains": settings.domains, "should": settings.should})
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"cluster.rules has two rules named {name}: rename one")
    _check_domains(settings, nodes)
    for rule in settings.rules:
        yield _rule(rule, settings, guests, nodes, note)
    for pool in settings.pools:
        yield from _pool(pool, settings, guests, nodes, note)
    if settings.ignore_guests:
        yield ignore("ignore_guests", _selected(settings.ignore_guests, guests, "cluster.ignore_guests", note))


def _selected(words: Iterable[str], guests: pd.DataFrame, where: str, note: Callable[[str], None]) -> tuple[int, ...]:
    """vmids of the guests that are meant, and a note where none is, or some of the words mean none."""
    vmids = select(words, guests, where)
    if not vmids:
        note(f"{where} {OF_NONE}")
        return vmids
    for word in idle(words, guests, where):
        note(f"{word} of {where} means no guest of this cluster")
    return vmids


def _rule(
    rule: RuleSetting, settings: Cluster, guests: pd.DataFrame, nodes: list[str], note: Callable[[str], None]
) -> Rule:
    where = f"rule {rule.name} of cluster.rules"
    asks = [ask for ask in ASKS if getattr(rule, ask)]
    if len(asks) != 1:
        found = " and ".join(asks) or "none of them"
        raise ConfigError(f"{where} says {found}: it needs exactly one of {', '.join(ASKS)}")
    _check_fields(rule, asks[0], where, settings)
    vmids = _selected(getattr(rule, asks[0]), guests, where, note)
    if len(vmids) == 1 and asks[0] in ("together", "apart") and not rule.against:
        note(f"{where} is about guest {vmids[0]} alone: it has no effect")
    price = rule.price if rule.should else 0.0
    match asks[0]:
        case "together":
            return together(rule.name, vmids, price)
        case "stay":
            return ignore(rule.name, vmids, rule.unless)
        case "apart":
            per = "" if rule.per == NODE else rule.per
            if rule.against:
                others = _selected(rule.against, guests, f"against of {where}", note)
                return _against(rule.name, vmids, others, where, per, price)
            return apart(rule.name, vmids, rule.at_most, per, price)
        case ask:
            named = set(_known(rule.nodes, nodes, f"{where} names"))
            return pin(rule.name, vmids, named if ask == "pin" else set(nodes) - named, price)


def _against(name: str, one: Iterable[int], other: Iterable[int], where: str, per: str, price: float) -> Rule:
    """No guest of one side where one of the other is."""
    sides = tuple(sorted(set(one))), tuple(sorted(set(other)))
    both = set(sides[0]) & set(sides[1])
    if both:
        raise ConfigError(f"{where} keeps guest {min(both)} apart from itself: it is among both apart and against")
    return Rule(name, Kind.APART, sides, per=per, price=price)


def _check_fields(rule: RuleSetting, ask: str, where: str, settings: Cluster) -> None:
    """Refuse what would have no effect: it is a mistake, and nobody would see it."""
    default = RuleSetting(rule.name)
    of = {"nodes": ("pin", "avoid"), "against": ("apart",), "per": ("apart",), "at_most": ("apart",),
          "unless": ("stay",), "should": ("together", "apart", "pin", "avoid")}  # fmt: skip
    for key, asks in of.items():
        if getattr(rule, key) != getattr(default, key) and ask not in asks:
            raise ConfigError(f"{where}: {key} goes with {' or '.join(asks)}, not with {ask}")
    if ask in of["nodes"] and not rule.nodes:
        raise ConfigError(f"{where}: {ask} needs nodes")
    if rule.against and rule.at_most > 1:
        raise ConfigError(f"{where}: at_most and against exclude each other")
    if rule.price != default.price and not rule.should:
        raise ConfigError(f"{where}: price goes with should: true")
    if rule.per not in (NODE, *settings.domains):
        known = ", ".join((NODE, *settings.domains))
        raise ConfigError(f"{where}: per {rule.per} is no kind of failure domain: there are {known} (cluster.domains)")


def _pool(
    name: str, settings: Cluster, guests: pd.DataFrame, nodes: list[str], note: Callable[[str], None]
) -> Iterator[Rule]:
    """What ProxLB's configuration asks of a pool; a pin that is not strict gives way."""
    setting, where = settings.pools[name], f"cluster.pools.{name}"
    vmids = [int(v) for v, pool in zip(guests["vmid"], guests["pool"], strict=True) if in_pool(str(pool), name)]
    if setting.type is None and not setting.pin:
        raise ConfigError(f"{where} asks for nothing: give it a type ({', '.join(PoolType)}) or a pin")
    if not vmids:
        note(f"pool {name} of cluster.pools has no guest in this cluster: it has no effect")
    if setting.type is PoolType.AFFINITY:
        yield together(f"pool {name}", vmids)
    if setting.type is PoolType.ANTI_AFFINITY:
        yield apart(f"pool {name}", vmids)
    if setting.pin:
        yield pin(f"pin of pool {name}", vmids, _known(setting.pin, nodes, f"{where}.pin names"), 1.0 - setting.strict)


def _check_printable(named: Mapping[str, Iterable[str]]) -> None:
    """Refuse names that would tear lines apart, or do worse to a terminal."""
    for key, names in named.items():
        for name in names:
            if not name.isprintable():
                raise ConfigError(f"cluster.{key} has a name with characters that cannot be shown: {name!a}")


def _check_domains(settings: Cluster, nodes: list[str]) -> None:
    for kind, labels in settings.domains.items():
        if kind == NODE:
            raise ConfigError(f"cluster.domains has a kind named {NODE}, which every node is already: rename it")
        _known(labels, nodes, f"cluster.domains.{kind} names")


def _known(named: Iterable[str], nodes: list[str], says: str) -> Iterable[str]:
    for name in named:
        if name not in nodes:
            raise ConfigError(f"{says} node {name}, which does not exist: there are {', '.join(nodes)}")
    return named
