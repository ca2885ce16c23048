"""Owns the options that commands share, with the defaults they show, and how they become one Session."""

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from planner.errors import UsageError
from planner.policy import Apply, Cheapest, Combine, Free, GuestMemory, GuestType, Mode, OnDrift, Policy, Resource

FOR_RUNS = ("config", "snapshot_file", "demo", "allow_partial", "maintenance_nodes", "ignore_nodes")
"""Options that matter when nothing is planned."""
GROUP_OPTIONS = ("-h", "--help", "--install-completion", "--show-completion")
SIZES = ("small", "medium", "large")


class Output(StrEnum):
    """How a plan is printed."""

    TABLE = "table"
    JSON = "json"
    COMMANDS = "commands"


class TableOrJson(StrEnum):
    """How a comparison is printed."""

    TABLE = "table"
    JSON = "json"


class SolverName(StrEnum):
    """Solvers to choose from."""

    GREEDY = "greedy"
    PROXLB = "proxlb"
    DESCENT = "descent"
    CPSAT = "cpsat"


class PlanByDefault(TyperGroup):
    """Bare options mean `plan`; a bare `--demo` means its smallest size."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in GROUP_OPTIONS):
            args = ["plan", *args]
        following = [*args[1:], ""]
        args = [
            f"{word}=small" if word == "--demo" and then not in SIZES else word
            for word, then in zip(args, following, strict=True)
        ]
        return super().parse_args(ctx, args)


def option(names: str, text: str, default: str, **more: Any) -> Any:
    """An option whose help says what holds without it."""
    return typer.Option(*names.split(), help=f"{text} \\[default: {default}]", show_default=False, **more)


def _setting(names: str, text: str, field: str, **more: Any) -> Any:
    """An option that sets a field of the policy, or of section apply, which own the defaults."""
    value = getattr(Policy() if hasattr(Policy, field) else Apply(), field)
    words = {None: "none", False: "no", True: "yes"}
    if value is None or isinstance(value, bool):
        shown = words[value]
    else:
        shown = f"{value:g}" if isinstance(value, float) else value
    return option(names, text, ",".join(value) if isinstance(value, tuple) else str(shown), **more)


SHARED: dict[str, Any] = {
    "config": Annotated[Path | None, option("--config", "Configuration file.", "./proxlb-plan.yaml, ...")],
    "snapshot_file": Annotated[Path | None, option("--snapshot", "Plan from this file.", "ask the API")],
    "demo": Annotated[
        str | None,
        option("--demo", "Built-in cluster: small, medium or large.", "none; small without SIZE", metavar="[SIZE]"),
    ],
    "resource": Annotated[
        str | None,
        _setting("--resource", "What is balanced: memory, cpu, disk, or several.", "resource", metavar="NAME[,NAME]"),
    ],
    "combine": Annotated[
        Combine | None, _setting("--combine", "How several resources count: the worst, a mean, in order.", "combine")
    ],
    "weights": Annotated[
        list[str] | None,
        option("--weight", "Of a resource in the weighted mean: cpu=0.5. Repeatable.", "1", metavar="RESOURCE=WEIGHT"),
    ],
    "mode": Annotated[Mode | None, _setting("--mode", "Figures that count.", "mode")],
    "balanciness": Annotated[
        float | None, _setting("--balanciness", "Tolerated spread in percentage points.", "balanciness")
    ],
    "max_migrations": Annotated[
        int | None, _setting("--max-migrations", "At most so many migrations.", "max_migrations")
    ],
    "max_gib": Annotated[float | None, _setting("--max-gib", "Copy at most so many GiB.", "max_gib")],
    "until_balanced": Annotated[
        bool | None,
        _setting("--until-balanced", "The cheapest plan within balanciness, not the best.", "until_balanced"),
    ],
    "repair_only": Annotated[
        bool | None, _setting("--repair-only", "Repair broken rules, balance nothing.", "repair_only")
    ],
    "cheapest": Annotated[
        Cheapest | None, _setting("--cheapest", "What is least on the way to balanciness.", "cheapest")
    ],
    "guests": Annotated[GuestType | None, _setting("--guests", "Which guests may be migrated.", "guests")],
    "fit": Annotated[Mode | None, _setting("--fit", "A target must hold the memory used, or configured.", "fit")],
    "free": Annotated[Free | None, _setting("--free", "How greedy finds the most free node.", "free")],
    "reserve": Annotated[
        list[str] | None,
        option(
            "--reserve", "Kept for the node: memory=8 (GiB), pve1:cpu=2. Repeatable.", "nothing",
            metavar="[NODE:]RESOURCE=AMOUNT",
        ),
    ],
    "overcommit": Annotated[
        list[str] | None,
        option(
            "--overcommit", "Guests may take so many times what a node gives: cpu=4, pve1:memory=1.2. Repeatable.",
            "memory=1, no limit of vCPUs", metavar="[NODE:]RESOURCE=FACTOR",
        ),
    ],
    "max_guests": Annotated[
        list[str] | None,
        option("--max-guests", "A node holds at most so many: 60, pve1:20. Repeatable.", "none", metavar="[NODE:]N"),
    ],
    "guest_memory": Annotated[
        GuestMemory | None, _setting("--guest-memory", "Memory used by whose account.", "guest_memory")
    ],
    "reclaim_arc": Annotated[
        bool | None, _setting("--reclaim-arc", "The ZFS ARC of a node counts as free.", "reclaim_arc")
    ],
    "survive": Annotated[
        int | None,
        _setting("--survive", "Keep room for the HA guests of any 1 node that fails.", "survive", min=0, max=1),
    ],
    "with_local_disks": Annotated[
        bool | None, _setting("--with-local-disks", "Also migrate guests with local disks.", "with_local_disks")
    ],
    "with_ha_guests": Annotated[
        bool | None,
        _setting("--with-ha-guests", "Plan HA guests although Proxmox VE balances them.", "with_ha_guests"),
    ],
    "allow_partial": Annotated[
        bool | None, _setting("--allow-partial", "Plan on the part that the token sees.", "allow_partial")
    ],
    "time_limit": Annotated[float | None, _setting("--time-limit", "Seconds per solver.", "time_limit")],
    "seed": Annotated[int | None, _setting("--seed", "Seed of the search.", "seed")],
    "maintenance_nodes": Annotated[
        list[str] | None, option("--maintenance-nodes", "Empty this node. Repeatable.", "none")
    ],
    "ignore_nodes": Annotated[list[str] | None, option("--ignore-nodes", "Leave this node alone. Repeatable.", "none")],
}  # fmt: skip
"""What a cluster is planned from, for what and how; the same for every command."""

SCHEDULE: dict[str, Any] = {
    "parallel": Annotated[int | None, _setting("--parallel", "Migrations at once.", "parallel")],
    "per_source": Annotated[int | None, _setting("--per-source", "Migrations at once from one node.", "per_source")],
    "per_target": Annotated[int | None, _setting("--per-target", "Migrations at once to one node.", "per_target")],
    "bandwidth": Annotated[
        float | None, option("--bandwidth", "MiB/s that the migration network of a node carries.", "not known")
    ],
    "bwlimit": Annotated[
        float | None, option("--bwlimit", "MiB/s that one migration may take.", "as configured in Proxmox VE")
    ],
    "bypass": Annotated[
        bool | None,
        _setting("--bypass/--no-bypass", "Guests may stop on a third node where they block others.", "bypass"),
    ],
}
"""How migrations are put in order: part of every plan, and settings of section apply."""
APPLYING: dict[str, Any] = {
    "max_failures": Annotated[
        int | None, _setting("--max-failures", "So many may fail before no more are started.", "max_failures")
    ],
    "deadline": Annotated[str | None, _setting("--deadline", "Start none after this: 06:00, 90m, 2h30m.", "deadline")],
    "window": Annotated[
        list[str] | None, option("--window", "Start only then: 22:00-06:00. Repeatable.", "at any time")
    ],
    "on_drift": Annotated[
        OnDrift | None, _setting("--on-drift", "Not as planned: end the run, or leave that out.", "on_drift")
    ],
}
"""How a plan is carried out: settings of section apply, for commands that do so."""


class Choice(NamedTuple):
    """Where the command line says that a cluster comes from, and what it sets: the arguments of `open_session`."""

    config: str | None
    flags: dict[str, dict[str, Any]]
    file: Path | None
    demo: str | None


def with_choice(command: Callable[..., None], options: Mapping[str, Any] = SHARED | SCHEDULE) -> Callable[..., None]:
    """Give a command the shared options; they arrive as one Choice, of which nothing has been opened."""

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        chosen = {name: values.pop(name) for name in options}
        command(choice=_choice(chosen), **values)

    given = ("session", "choice")
    own = [p for p in inspect.signature(command).parameters.values() if p.name not in given]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in options.items()
    ]
    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    wrapper.__signature__ = inspect.Signature([*keyword, *shared])  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in [*keyword, *shared]}
    return wrapper


def with_session(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared options; they arrive as one Session, which is closed after it."""

    @functools.wraps(command)
    def opened(choice: Choice, **values: Any) -> None:
        from planner.session import open_session

        with closing(open_session(*choice)) as session:
            command(session=session, **values)

    return with_choice(opened)


def with_apply(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared options and those of carrying out; they arrive as one Choice."""
    return with_choice(command, SHARED | SCHEDULE | APPLYING)


def with_run(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command about a run that there is already the options that matter then, as one Choice."""
    return with_choice(command, {name: SHARED[name] for name in FOR_RUNS} | APPLYING)


def _choice(given: dict[str, Any]) -> Choice:
    chosen = dict.fromkeys(SHARED | SCHEDULE | APPLYING) | given
    config, file, demo = (chosen.pop(name) for name in ("config", "snapshot_file", "demo"))
    cluster = {name: chosen.pop(name) or None for name in ("maintenance_nodes", "ignore_nodes")}
    apply = {name: chosen.pop(name) for name in SCHEDULE | APPLYING}
    apply["window"] = apply["window"] or None
    for name, example in (("reserve", "memory=8"), ("overcommit", "cpu=4")):
        chosen[name] = _for_nodes(name, chosen[name] or [], example)
    chosen["max_guests"] = _max_guests(chosen["max_guests"] or [])
    chosen["weights"] = _weights(chosen["weights"] or [])
    chosen["resource"] = _resources(chosen["resource"])
    return Choice(str(config) if config else None, {"policy": chosen, "cluster": cluster, "apply": apply}, file, demo)


def _for_nodes(name: str, items: list[str], example: str) -> dict[str, dict[str, str]] | None:
    """`pve1:memory=8` or `memory=8` as the configuration file would have it."""
    result: dict[str, dict[str, str]] = {}
    for item in items:
        where, _, amount = item.partition("=")
        node, _, resource = where.rpartition(":")
        if not amount or not resource:
            value = "AMOUNT" if name == "reserve" else "FACTOR"
            raise UsageError(f"--{name} {item}: write RESOURCE={value} or NODE:RESOURCE={value}, such as {example}")
        result.setdefault(node or "default", {})[resource] = amount
    return result or None


def _max_guests(items: list[str]) -> dict[str, str] | None:
    """`pve1:20` or `60` as the configuration file would have it."""
    result: dict[str, str] = {}
    for item in items:
        node, _, number = item.rpartition(":")
        if not number:
            raise UsageError(f"--max-guests {item}: write N or NODE:N, such as 60 or pve1:20")
        result[node or "default"] = number
    return result or None


def _resources(text: str | None) -> list[str] | None:
    """`memory,cpu` as the configuration file would have it."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in list(Resource):
            raise UsageError(f"--resource {text}: there is no resource {name}: choose from {', '.join(Resource)}")
    return names


def _weights(items: list[str]) -> dict[str, str] | None:
    """`cpu=0.5` as the configuration file would have it."""
    result: dict[str, str] = {}
    for item in items:
        resource, _, amount = item.partition("=")
        if not amount or not resource:
            raise UsageError(f"--weight {item}: write RESOURCE=WEIGHT, such as cpu=0.5")
        result[resource] = amount
    return result or None
