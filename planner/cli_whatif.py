"""Owns the commands whatif, place and capacity: what is asked, and how it is printed."""

import json
import sys
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from planner.errors import Exit, UsageError
from planner.flags import option
from planner.options import SolverName, TableOrJson, with_session

if TYPE_CHECKING:
    from planner.cluster import Cluster
    from planner.newguest import NewGuest
    from planner.session import Session


class PlaceOutput(StrEnum):
    """How places are printed."""

    TABLE = "table"
    NAME = "name"
    JSON = "json"


class Restarted(StrEnum):
    """Which guests of a node that fails start elsewhere."""

    HA = "ha"
    ALL = "all"


STEPS = {
    "--drain": "drain", "--fail": "fail", "--add-node": "add_node", "--remove-node": "remove_node", "--grow": "grow",
    "--resize": "resize", "--add-guest": "add_guest", "--without-rule": "without_rule", "--pin": "pin",
}  # fmt: skip
"""Flag to option."""
WORDS = "planner.words"
"""Under what the words of the command line are kept, which alone know the order of the steps."""


class InOrder(TyperCommand):
    """A command that knows in which order its options were given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = list(args)
        return super().parse_args(ctx, args)


def _step(flag: str, text: str, metavar: str) -> Any:
    return option(flag, f"{text} Repeatable.", "none", metavar=metavar)


SolverOption = Annotated[SolverName, option("--solver", "Who plans.", SolverName.CPSAT)]
RestartOption = Annotated[Restarted, option("--restart", "Guests of --fail that start elsewhere.", Restarted.HA)]
NoPlanOption = Annotated[bool, option("--no-plan", "Loads and broken rules only.", "no")]
TableOption = Annotated[TableOrJson, option("--output", "How it is printed.", TableOrJson.TABLE)]
PlaceOption = Annotated[PlaceOutput, option("--output", "name: nodes alone, one a line.", PlaceOutput.TABLE)]
MemoryOption = Annotated[str, option("--memory", "Of the new guest: 8G, 512M.", "required", metavar="SIZE")]
CoresOption = Annotated[int, option("--cores", "Of the new guest.", "required", min=1)]
TagsOption = Annotated[str, option("--tags", "Of the new guest: a;b.", "none", metavar="TAGS")]
PoolOption = Annotated[str, option("--pool", "Of the new guest.", "none", metavar="POOL")]
NameOption = Annotated[str, option("--name", "Of the new guest, as selectors see it.", "none", metavar="NAME")]
CountOption = Annotated[int, option("--count", "New guests.", "1", min=1)]
UsedOption = Annotated[float | None, option("--used", "Share of its memory that it uses.", "0.7")]
CpuOption = Annotated[float | None, option("--cpu", "Share of its cores that it uses.", "0.1")]
SizeOption = Annotated[
    str | None, option("--size", "How many more of this size: 8G,4.", "room alone", metavar="MEMORY,CORES")
]
Drain = Annotated[list[str] | None, _step("--drain", "A node in maintenance.", "NODE")]
Fail = Annotated[
    list[str] | None,
    _step("--fail", "A node that fails: HA guests start elsewhere, at worst against rules HA does not know.", "NODE"),
]
AddNode = Annotated[list[str] | None, _step("--add-node", "A node more, like another.", "[NAME=]LIKE")]
RemoveNode = Annotated[
    list[str] | None, _step("--remove-node", "A node less; ends with 3 where its guests find no place.", "NODE")
]
Grow = Annotated[
    list[str] | None, _step("--grow", "Guests that use more: @tag-web=1.2, web*:cpu=1.5.", "SELECTOR=FACTOR")
]
Resize = Annotated[
    list[str] | None, _step("--resize", "A node or guest of another size: 101:memory=8,cores=4.", "WHAT:SIZE")
]
AddGuest = Annotated[list[str] | None, _step("--add-guest", "Guests more: 8G,4 or 8G,4,count=3,tags=a;b.", "SIZE")]
WithoutRule = Annotated[list[str] | None, _step("--without-rule", "A rule, or pattern of rules, less.", "NAME")]
Pin = Annotated[list[str] | None, _step("--pin", "Guests on some nodes only: 101=pve1,pve2.", "SELECTOR=NODES")]


@with_session
def whatif(
    session: Any,
    context: typer.Context,
    drain: Drain = None,
    fail: Fail = None,
    add_node: AddNode = None,
    remove_node: RemoveNode = None,
    grow: Grow = None,
    resize: Resize = None,
    add_guest: AddGuest = None,
    without_rule: WithoutRule = None,
    pin: Pin = None,
    restart: RestartOption = Restarted.HA,
    solver: SolverOption = SolverName.CPSAT,
    no_plan: NoPlanOption = False,
    output: TableOption = TableOrJson.TABLE,
) -> None:
    """Show the cluster that would be after some steps, in their order, and a plan for it, which is never applied."""
    from dataclasses import asdict, replace

    from planner import effect, progress, report, report_whatif, whatif_words

    given = {
        "drain": drain, "fail": fail, "add_node": add_node, "remove_node": remove_node, "grow": grow, "resize": resize,
        "add_guest": add_guest, "without_rule": without_rule, "pin": pin,
    }  # fmt: skip
    asked = whatif_words.ordered(context.meta[WORDS], {name: values or [] for name, values in given.items()}, STEPS)
    if not asked:
        raise UsageError(f"what if what? Say it with {', '.join(STEPS)}")
    chosen = [whatif_words.read(name, value, restart.value) for name, value in asked]
    today = supposed = _configured(session)
    for step in chosen:
        supposed = step(supposed)
    seen = effect.compare(today, supposed)
    supposed = _without_steps(supposed)
    if no_plan:
        _notes(supposed)
    plan = None if no_plan else progress.plan(replace(session, source=None), supposed, solver)
    if output is TableOrJson.JSON:
        print(json.dumps(report_whatif.document(supposed, seen, None if plan is None else asdict(plan)), indent=2))
    else:
        report_whatif.effect(supposed, seen, report.console())
        if plan is not None:
            report.plan(plan, report.console())
    if plan is not None and plan.status.value == "infeasible":
        raise typer.Exit(Exit.INFEASIBLE)


@with_session
def place(
    session: Any,
    memory: MemoryOption,
    cores: CoresOption,
    tags: TagsOption = "",
    pool: PoolOption = "",
    name: NameOption = "",
    count: CountOption = 1,
    used: UsedOption = None,
    cpu: CpuOption = None,
    output: PlaceOption = PlaceOutput.TABLE,
) -> None:
    """Show the best node for a new guest under all rules; ends with 3 where none takes it. Changes nothing."""
    from planner import newguest

    new = newguest.of(newguest.gib(memory, "--memory"), cores, tags=tags, pool=pool, name=name, used=used, cpu=cpu)
    _place(session, new, count, output)


def best_node(session: "Session", output: PlaceOutput) -> None:
    """Print the best node for a small guest; what -b does."""
    from planner import newguest

    _place(session, newguest.of(*newguest.SMALL), 1, output)


def _place(session: "Session", new: "NewGuest", count: int, output: PlaceOutput) -> None:
    from planner import place, report, report_whatif

    cluster = _configured(session)
    _notes(cluster)
    with _working("place"):
        found = place.place(cluster, new, count)
        frame = found.frame
    if output is PlaceOutput.JSON:
        print(json.dumps(report_whatif.records(frame), indent=2))
    elif output is PlaceOutput.TABLE:
        report_whatif.placement(frame, new, report.console())
    elif not found.homeless:
        print("\n".join(frame["node"]))
    if found.homeless:
        for node, says in found.refusals.items():
            _say(f"{node}: {says}")
        raise typer.Exit(Exit.INFEASIBLE)


@with_session
def capacity(
    session: Any,
    size: SizeOption = None,
    tags: TagsOption = "",
    pool: PoolOption = "",
    name: NameOption = "",
    used: UsedOption = None,
    cpu: CpuOption = None,
    output: TableOption = TableOrJson.TABLE,
) -> None:
    """Show the room on each node, how many more guests of a --size it takes, or with --survive 1 which losses of nodes
    are not survived; with both how many more HA guests. Changes nothing."""
    from planner import report, report_whatif, spare, staying

    new = _new(session, size, tags=tags, pool=pool, name=name, used=used, cpu=cpu)
    cluster, out = _configured(session), report.console()
    _notes(cluster, *(staying.at_risk(cluster) if session.policy.survive else ()))
    with _working("capacity"):
        found = None if new is None else spare.more(cluster, new)
        frame = found.frame if found else spare.losses(cluster) if session.policy.survive else spare.room(cluster)
    if output is TableOrJson.JSON:
        rows = report_whatif.records(frame)
        print(json.dumps({"total": found.total, "bound": found.bound, "nodes": rows} if found else rows, indent=2))
    elif found:
        report_whatif.more(found, out)
    elif session.policy.survive:
        report_whatif.losses(frame, out)
    else:
        report_whatif.room(frame, out)


def _new(session: "Session", size: str | None, **more: Any) -> "NewGuest | None":
    """The guest that is counted, where one is."""
    from planner import newguest

    return newguest.counted(size, ha=bool(session.policy.survive), flag="--", **more)


def _configured(session: "Session") -> "Cluster":
    """The cluster with the settings that it is looked at with."""
    from dataclasses import replace

    from planner.config import Config

    config = Config(cluster=session.settings, policy=session.policy, apply=session.apply)
    return replace(session.cluster(), config=config)


def _without_steps(cluster: "Cluster") -> "Cluster":
    """The cluster without the notes that say what is assumed: that is shown beside the loads."""
    from dataclasses import replace

    from planner.again import NOTE

    return replace(cluster, notes=tuple(note for note in cluster.notes if not note.startswith(NOTE)))


def _notes(cluster: "Cluster", *more: str) -> None:
    for note in (*cluster.notes, *more):
        _say(f"note: {note}")


def _working(what: str) -> AbstractContextManager[Any]:
    """What is seen meanwhile, when stderr is a terminal."""
    from rich.console import Console

    return Console(stderr=True).status(f"{what}: looking for places")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
