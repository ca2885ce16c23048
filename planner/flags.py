"""Owns the flags that commands share, with the defaults they show."""

from pathlib import Path
from typing import Annotated, Any

import typer

from planner.choices import LogFormat, LogLevel, RunMode, SolverName
from planner.policy import (
    Apply,
    Cheapest,
    Combine,
    Free,
    GuestMemory,
    GuestType,
    Lookback,
    Mode,
    OnDrift,
    Policy,
    Profile,
    Resource,
)
from planner.service import Log, Metrics, Run

SERVICES: dict[str, Any] = {"run": Run, "metrics": Metrics, "log": Log}
FOR_RUNS = ("config", "snapshot_file", "demo", "allow_partial", "maintenance_nodes", "ignore_nodes")
"""Options that matter when nothing is planned."""
SIZES = ("small", "medium", "large")
"""Of the built-in cluster."""


def option(names: str, text: str, default: str, **more: Any) -> Any:
    """An option whose help says what holds without it."""
    return typer.Option(*names.split(), help=f"{text} \\[default: {default}]", show_default=False, **more)


def _setting(names: str, text: str, field: str, **more: Any) -> Any:
    """An option that sets a field of the policy, of section apply, or of the section before a dot; these own the
    defaults."""
    section, _, name = field.rpartition(".")
    of = SERVICES[section] if section else Policy if hasattr(Policy, field) else Apply
    value = getattr(of(), name)
    words = {None: "none", False: "no", True: "yes"}
    if value is None or isinstance(value, bool):
        shown = words[value]
    else:
        shown = f"{value:g}" if isinstance(value, float) else value
    return option(names, text, ",".join(value) if isinstance(value, tuple) else str(shown), **more)


ConfigOption = Annotated[
    Path | None, option("--config -c", "Configuration file.", "./proxlb-plan.yaml, and other places")
]
JsonOption = Annotated[bool, option("--json -j", "Same as --output json.", "no")]
SHARED: dict[str, Any] = {
    "config": ConfigOption,
    "snapshot_file": Annotated[Path | None, option("--snapshot", "Plan from this file.", "ask the API")],
    "demo": Annotated[
        str | None,
        option(
            "--demo", "Built-in cluster: small, medium or large.", "none; small without SIZE", metavar="[SIZE]",
            autocompletion=lambda: SIZES,
        ),
    ],
    "resource": Annotated[
        str | None,
        _setting(
            "--resource", f"What is balanced: {', '.join(Resource)}; or several.", "resource", metavar="NAME[,NAME]",
            autocompletion=lambda: [*Resource],
        ),
    ],
    "combine": Annotated[
        Combine | None, _setting("--combine", "How several resources count: the worst, a mean, in order.", "combine")
    ],
    "weights": Annotated[
        list[str] | None,
        option("--weight", "Of a resource in the weighted mean: cpu=0.5. Repeatable.", "1", metavar="RESOURCE=WEIGHT"),
    ],
    "mode": Annotated[Mode | None, _setting("--mode", "Figures that count.", "mode")],
    "window": Annotated[
        Lookback | None, _setting("--window", "Time over which the use of guests is looked at.", "window")
    ],
    "profile": Annotated[
        Profile | None,
        _setting("--profile", "Figure of the window that counts; robust: all its periods at once.", "profile"),
    ],
    "forecast": Annotated[
        bool | None, _setting("--forecast", "Also the next day, as the last days foretell it.", "forecast")
    ],
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
        int | None, option("--survive", "Keep room for the HA guests of any 1 node that fails.", "0", min=0, max=1)
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
        list[str] | None, option("--maintenance-nodes", "Empty this node. Repeatable.", "none", metavar="NODE")
    ],
    "ignore_nodes": Annotated[
        list[str] | None, option("--ignore-nodes", "Leave this node alone. Repeatable.", "none", metavar="NODE")
    ],
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
    "deadline": Annotated[
        str | None, _setting("--deadline", "Start none after this: 06:00, 90m, 2h30m.", "deadline", metavar="WHEN")
    ],
    "hours": Annotated[
        list[str] | None,
        option("--hours", "Start only then: 22:00-06:00. Repeatable.", "at any time", metavar="FROM-TO"),
    ],
    "on_drift": Annotated[
        OnDrift | None, _setting("--on-drift", "Not as planned: end the run, or leave that out.", "on_drift")
    ],
}
"""How a plan is carried out: settings of section apply, for commands that do so."""

RUNNING: dict[str, Any] = {
    "run_mode": Annotated[
        RunMode | None, _setting("--mode", "observe changes nothing, approve proposes, auto carries out.", "run.mode")
    ],
    "solver": Annotated[
        str | None,
        _setting(
            "--solver", "Who plans.", "run.solver", metavar="|".join(SolverName), autocompletion=lambda: [*SolverName]
        ),
    ],
    "every": Annotated[str | None, _setting("--every", "Between two looks: 10m, 1h.", "run.every", metavar="TIME")],
    "jitter": Annotated[
        str | None, _setting("--jitter", "By up to so much each look is later.", "run.jitter", metavar="TIME")
    ],
    "looks": Annotated[int | None, _setting("--looks", "Looks in a row out of balance before it acts.", "run.looks")],
    "min_gain": Annotated[
        float | None, _setting("--min-gain", "Points of spread gained per GiB migrated, at least.", "run.min_gain")
    ],
    "per_hour": Annotated[int | None, _setting("--per-hour", "Migrations within an hour, at most.", "run.per_hour")],
    "per_day": Annotated[int | None, _setting("--per-day", "Migrations within a day, at most.", "run.per_day")],
    "textfile": Annotated[
        str | None,
        _setting("--textfile", "File for Prometheus, replaced after each look.", "metrics.textfile", metavar="FILE"),
    ],
    "listen": Annotated[
        str | None,
        _setting("--listen", "Address to answer Prometheus on: 127.0.0.1:9106.", "metrics.listen", metavar="HOST:PORT"),
    ],
    "log_level": Annotated[LogLevel | None, _setting("--log-level", "From which severity on.", "log.level")],
    "log_format": Annotated[LogFormat | None, _setting("--log-format", "How messages are written.", "log.format")],
}  # fmt: skip
"""What scheduled looks do, and how they tell of it: settings of sections run, metrics and log."""
SECTIONS = {
    "run": ("run_mode", "solver", "every", "jitter", "looks", "min_gain", "per_hour", "per_day"),
    "metrics": ("textfile", "listen"),
    "log": ("log_level", "log_format"),
}
"""Section to those of these options that set it."""
