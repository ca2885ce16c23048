"""Owns how the flags that commands share become one Session."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from typer.core import TyperGroup

from planner.choices import SolverName
from planner.errors import UsageError
from planner.flags import APPLYING, FOR_RUNS, RUNNING, SCHEDULE, SECTIONS, SHARED, SIZES, JsonOption
from planner.policy import Resource

__all__ = [
    "Choice", "Output", "PlanByDefault", "SolverName", "TableOrJson", "with_apply", "with_choice", "with_json",
    "with_run", "with_service", "with_session",
]  # fmt: skip

GROUP_OPTIONS = ("-h", "--help", "--install-completion", "--show-completion")


class Output(StrEnum):
    """How a plan is printed."""

    TABLE = "table"
    JSON = "json"
    COMMANDS = "commands"


class TableOrJson(StrEnum):
    """How a comparison is printed."""

    TABLE = "table"
    JSON = "json"


class PlanByDefault(TyperGroup):
    """Bare options mean `plan`, but for -v; a bare `--demo` means its smallest size."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if ctx.resilient_parsing and not args:  # a shell completes the first word, which may be any command
            return super().parse_args(ctx, args)
        if not args or (args[0].startswith("-") and args[0] not in GROUP_OPTIONS):
            args = ["version"] if {"-v", "--version"} & {*args} else ["plan", *args]
        following = [*args[1:], SIZES[0] if ctx.resilient_parsing else ""]  # a shell asks what may follow --demo
        args = [
            f"{word}=small" if word == "--demo" and then not in SIZES else word
            for word, then in zip(args, following, strict=True)
        ]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """What the first word may be: a command, or an option of plan."""
        found = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("-"):
            plan = self.commands["plan"]
            there = {item.value for item in found}
            of_plan = plan.shell_complete(plan.make_context("plan", [], parent=ctx, resilient_parsing=True), incomplete)
            found += [item for item in of_plan if item.value not in there]
        return found


class Choice(NamedTuple):
    """Where the command line says that a cluster comes from, and what it sets: the arguments of `open_session`."""

    config: str | None
    flags: dict[str, dict[str, Any]]
    file: Path | None
    demo: str | None


def with_choice(command: Callable[..., None], options: Mapping[str, Any] = SHARED | SCHEDULE) -> Callable[..., None]:
    """Give a command the shared options; they arrive as one Choice, of which nothing has been opened."""
    command = with_json(command)

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
    return _signed(wrapper, [*own, *shared])


def with_json(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that has --output the flag --json."""
    own = inspect.signature(command).parameters
    if "output" not in own:
        return command

    @functools.wraps(command)
    def wrapper(as_json: bool, **values: Any) -> None:
        if as_json:
            output: StrEnum = values["output"]
            if output not in ("table", "json"):
                raise UsageError(f"--json and --output {output} exclude each other: choose one")
            values["output"] = type(output)("json")
        command(**values)

    flag = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption)
    return _signed(wrapper, [*own.values(), flag])


def _signed(command: Callable[..., None], parameters: Iterable[inspect.Parameter]) -> Callable[..., None]:
    """A command as typer sees it: with these parameters."""
    keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    command.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in keyword}
    return command


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


def with_service(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all options of planning, carrying out and looking on schedule, as one Choice. Its --mode is that
    of `run`, and which figures count is left to the configuration."""
    shared = {name: kind for name, kind in SHARED.items() if name != "mode"}
    return with_choice(command, RUNNING | shared | SCHEDULE | APPLYING)


def _choice(given: dict[str, Any]) -> Choice:
    chosen = dict.fromkeys(SHARED | SCHEDULE | APPLYING | RUNNING) | given
    services = {
        section: {name.removeprefix(f"{section}_"): chosen.pop(name) for name in names}
        for section, names in SECTIONS.items()
    }
    config, file, demo = (chosen.pop(name) for name in ("config", "snapshot_file", "demo"))
    cluster = {name: chosen.pop(name) or None for name in ("maintenance_nodes", "ignore_nodes")}
    apply = {name: chosen.pop(name) for name in SCHEDULE | APPLYING}
    apply["hours"] = apply["hours"] or None
    for name, example in (("reserve", "memory=8"), ("overcommit", "cpu=4")):
        chosen[name] = _for_nodes(name, chosen[name] or [], example)
    chosen["max_guests"] = _max_guests(chosen["max_guests"] or [])
    chosen["weights"] = _weights(chosen["weights"] or [])
    chosen["resource"] = _resources(chosen["resource"])
    flags = {"policy": chosen, "cluster": cluster, "apply": apply, **services}
    return Choice(str(config) if config else None, flags, file, demo)


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
