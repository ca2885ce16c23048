"""Owns how the explanation of a guest looks on a terminal: lines, no decisions."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from planner.capacity import GIB
from planner.verdict import Ground, Verdict
from planner.why import Explanation

NOT_RECORDED = (
    "guests, fit, reserve, overcommit, max_guests, guest_memory, reclaim_arc, with_ha_guests, with_local_disks, survive"
)
"""Settings that a plan file does not hold, and that change what is said of nodes."""
STYLES = {Ground.PLANNED: "green", Ground.POSSIBLE: "", Ground.LIMIT: "yellow", Ground.UNREPAIRED: "yellow"}
"""How grounds look; the others keep a guest from a node."""


def explanation(item: Explanation, out: Console, *, of_file: bool = False) -> None:
    """What a guest is and needs, its rules, why it goes or stays, and one line per node; of_file: under a plan file."""
    _line(out, f"{_called(item)} on {item.node}: {_needs(item)}")
    for mate in item.along:
        _line(out, f"Goes along: {mate} (counted with it below)")
    for rule in item.rules:
        _line(out, f"Rule: {rule}")
    goes = item.target != item.node
    _line(out, f"{f'To {item.target}' if goes else 'Stays'}: {item.why}", "green" if goes else "")
    for row, each in zip(_rows(item.verdicts), item.verdicts, strict=True):
        _line(out, row, STYLES.get(each.ground, "dim"))
    if item.spread is not None:
        _line(out, f"judged with the rest of the plan carried out: {item.solver}, spread {item.spread:.2f} points")
        if of_file:
            _line(out, f"judged with these settings as configured now, which a plan does not record: {NOT_RECORDED}")


def _called(item: Explanation) -> str:
    kind = {"vm": "virtual machine", "ct": "container"}.get(item.type, item.type)
    named = f" ({item.name})" if item.name else ""
    return f"guest {item.vmid}{named}, {kind}, {item.status},"


def _needs(item: Explanation) -> str:
    disk = f", {item.local_disk_mib / GIB:.1f} GiB on local disks" if item.local_disk_mib else ", no local disks"
    used, memory = item.memory_used_mib / GIB, item.memory_mib / GIB
    return f"{used:.1f} of {memory:.1f} GiB memory used, {item.vcpus:g} vCPU{'s' if item.vcpus != 1 else ''}{disk}"


def _rows(verdicts: Sequence[Verdict]) -> list[str]:
    """One line per node, in columns, however long the last one: people search for its words."""
    loads = [_loads(each) for each in verdicts]
    name, width = (max(map(len, words), default=0) for words in ([each.node for each in verdicts], loads))
    return [f"{v.node:<{name}}  {load:<{width}}  {v.says}" for v, load in zip(verdicts, loads, strict=True)]


def _loads(item: Verdict) -> str:
    """Load today and as the plan has it."""
    if item.load_before is None or item.load_after is None:
        return ""
    return f"{item.load_before:5.1f} % -> {item.load_after:5.1f} %"


def _line(out: Console, text: str, style: str = "") -> None:
    """A line that is not broken."""
    out.print(Text(text, style=style), soft_wrap=True)
