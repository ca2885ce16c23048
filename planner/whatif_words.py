"""Owns the steps of a what-if as the command line writes them, in the order in which they stand there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from planner import newguest, outages, whatif
from planner.cluster import Cluster
from planner.errors import UsageError

Step = Callable[[Cluster], Cluster]
RESOURCES = ("memory", "cpu", "disk")


def ordered(
    words: Iterable[str], given: Mapping[str, Sequence[str]], names: Mapping[str, str]
) -> list[tuple[str, str]]:
    """(option, value) of all values that options have, as they stand among the words of a command line.

    `names`: flag to option.
    """
    left = {name: list(values) for name, values in given.items()}
    result = []
    for word in words:
        name = names.get(word.partition("=")[0], "")
        if left.get(name):
            result.append((name, left[name].pop(0)))
    return result


def read(option: str, value: str, restart: outages.Restart) -> Step:
    """The step that one option asks for. UsageError where it makes no sense."""
    match option:
        case "drain":
            return lambda cluster: whatif.drain(cluster, *_names(value))
        case "fail":
            return lambda cluster: outages.fail(cluster, *_names(value), restart=restart)
        case "remove_node":
            return lambda cluster: outages.remove_node(cluster, *_names(value))
        case "add_node":
            name, _, like = value.rpartition("=")
            return lambda cluster: whatif.add_node(cluster, name or None, like=like)
        case "without_rule":
            return lambda cluster: whatif.without_rule(cluster, value)
        case "pin":
            selector, _, nodes = value.rpartition("=")
            _needs(selector and nodes, "pin", value, "SELECTOR=NODE[,NODE], such as 101=pve1,pve2")
            return lambda cluster: whatif.pin(cluster, selector, *_names(nodes))
        case "grow":
            return _grow(value)
        case "resize":
            return _resize(value)
        case _:
            return _add_guest(value)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _needs(there: object, option: str, value: str, form: str) -> None:
    if not there:
        raise UsageError(f"--{option} {value}: write {form}")


def _grow(value: str) -> Step:
    """`@tag-web=1.2` or `web*:cpu=1.5`."""
    form = "SELECTOR[:RESOURCE]=FACTOR, such as @tag-web=1.2 or web*:cpu=1.5"
    selector, _, text = value.rpartition("=")
    before, _, last = selector.rpartition(":")
    resource = last if before and last in RESOURCES else ""
    _needs(selector, "grow", value, form)
    factor = _number(text, "grow", value, form)
    chosen = before if resource else selector
    return lambda cluster: whatif.grow(cluster, chosen, **{resource or "memory": factor})


def _resize(value: str) -> Step:
    """`101:memory=8,cores=4`."""
    form = "NODE or VMID:memory=SIZE[,cores=N], such as 101:memory=8"
    what, _, rest = value.partition(":")
    fields = dict(part.partition("=")[::2] for part in _names(rest))
    _needs(what and fields and not fields.keys() - {"memory", "cores"}, "resize", value, form)
    memory = newguest.gib(fields["memory"], "--resize") if "memory" in fields else None
    cores = newguest.whole(fields["cores"], "--resize") if "cores" in fields else None
    return lambda cluster: whatif.resize(cluster, what, memory=memory, cores=cores)


def _add_guest(value: str) -> Step:
    """`8G,4,count=3,tags=a;b`."""
    form = "MEMORY,CORES[,count=N][,tags=a;b][,pool=P][,name=N][,used=SHARE][,cpu=SHARE], such as 8G,4,count=3"
    parts = _names(value)
    _needs(len(parts) > 1, "add-guest", value, form)
    fields: dict[str, Any] = dict(part.partition("=")[::2] for part in parts[2:])
    _needs(not fields.keys() - {"count", "tags", "pool", "name", "used", "cpu"}, "add-guest", value, form)
    memory, cores = newguest.size(",".join(parts[:2]), "--add-guest")
    count = newguest.whole(fields.pop("count", "1"), "--add-guest")
    fields |= {name: _number(fields[name], "add-guest", value, form) for name in ("used", "cpu") if name in fields}
    new = newguest.of(memory, cores, **fields)
    return lambda cluster: whatif.add_guest(cluster, new, count)


def _number(text: str, option: str, value: str, form: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--{option} {value}: write {form}") from None
