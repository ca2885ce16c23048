"""Owns what there is on the command line, as records: commands in groups, and flags that many of them share."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final, get_args

import typer

from planner.cli import app
from planner.flags import APPLYING, FOR_RUNS, SCHEDULE, SHARED

PROGRAM: Final = "proxlb-plan"
DEFAULT: Final = re.compile(r"(?P<text>.*?)\s*\\?\[default: (?P<default>.*)\]", re.S)
"""How every help of a flag ends."""
WORDS: Final[Mapping[Any, str]] = {Path: "FILE", int: "N", float: "NUMBER"}
"""What a value of some type is called; TEXT if it is another one."""
FAMILIES: Final = {
    "Which cluster": FOR_RUNS,
    "What is planned": tuple(name for name in SHARED if name not in FOR_RUNS),
    "In which order": tuple(SCHEDULE),
    "How it is carried out": tuple(APPLYING),
    "For programs": ("as_json",),
}
"""Flags that commands share."""
KNOWS_ALL: Final = "apply"
"""A command that takes all of them."""


@dataclass(frozen=True)
class Flag:
    """A flag; `value` is what follows it, empty where nothing does."""

    names: tuple[str, ...]
    value: str
    text: str
    default: str


@dataclass(frozen=True)
class Argument:
    """A word after the command, in brackets where it may be left out."""

    name: str
    text: str
    default: str


@dataclass(frozen=True)
class Command:
    """A command; `flags` are those that it does not share with others, `shares` whether it takes such as well."""

    name: str
    group: str
    paragraphs: tuple[str, ...]
    arguments: tuple[Argument, ...]
    flags: tuple[Flag, ...]
    shares: bool

    @property
    def synopsis(self) -> str:
        """How it is called."""
        flags = ["[FLAGS]"] if self.flags or self.shares else []
        return " ".join([PROGRAM, self.name, *flags, *(argument.name for argument in self.arguments)])


@dataclass(frozen=True)
class Family:
    """Flags that commands share; command to those that it does not take."""

    title: str
    flags: tuple[Flag, ...]
    takers: Mapping[str, tuple[Flag, ...]]


@dataclass(frozen=True)
class Interface:
    """The whole command line."""

    summary: str
    commands: tuple[Command, ...]
    families: tuple[Family, ...]

    @property
    def groups(self) -> dict[str, list[Command]]:
        """Group to its commands."""
        titles = dict.fromkeys(command.group for command in self.commands)
        return {title: [command for command in self.commands if command.group == title] for title in titles}


@cache
def interface() -> Interface:
    """As typer has it."""
    root = _root()
    found = dict(_walk(root.commands, "", ""))
    flags = {name: flags_of(name) for name in found}
    families = tuple(
        _family(title, [flags[KNOWS_ALL][name] for name in names], flags) for title, names in FAMILIES.items()
    )
    commands = tuple(_command(name, group, made, families) for name, (group, made) in found.items())
    return Interface(" ".join(root.help.split()), commands, families)


@cache
def _root() -> Any:
    return typer.main.get_command(app)


def flags_of(command: str) -> dict[str, Flag]:
    """All flags of a command, each under the name of its parameter."""
    return _flags(dict(_walk(_root().commands, "", ""))[command][1])


def _walk(commands: Mapping[str, Any], prefix: str, group: str) -> Iterator[tuple[str, tuple[str, Any]]]:
    """Name to group and command as typer has it, what only holds others left out."""
    for name, made in commands.items():
        where = group or made.rich_help_panel
        if not hasattr(made, "commands") or made.invoke_without_command:
            yield prefix + name, (where, made)
        yield from _walk(getattr(made, "commands", {}), f"{prefix}{name} ", where)


def _family(title: str, flags: Sequence[Flag], of: Mapping[str, Mapping[str, Flag]]) -> Family:
    """Who takes the greater part of the flags takes them."""
    missing = {command: tuple(flag for flag in flags if flag not in given.values()) for command, given in of.items()}
    return Family(title, tuple(flags), {name: less for name, less in missing.items() if 2 * len(less) < len(flags)})


def _command(name: str, group: str, made: Any, families: Sequence[Family]) -> Command:
    shared = [flag for family in families if name in family.takers for flag in family.flags]
    own = [flag for flag in _flags(made).values() if flag not in shared]
    paragraphs = [" ".join(text.split()) for text in made.help.split("\n\n")]
    return Command(name, group, tuple(paragraphs), tuple(_arguments(made)), tuple(own), bool(shared))


def _flags(made: Any) -> dict[str, Flag]:
    """Name of the parameter to the flag."""
    options = [each for each in made.params if each.param_type_name == "option" and each.name != "help"]
    return {
        each.name: Flag((*each.opts, *each.secondary_opts), _value(each), *_explained(each.help)) for each in options
    }


def _arguments(made: Any) -> Iterator[Argument]:
    for each in made.params:
        if each.param_type_name == "argument":
            text, default = _explained(each.help)
            yield Argument(each.metavar, text, default or ("" if each.default is None else str(each.default)))


def _explained(text: str) -> tuple[str, str]:
    """What it is for, and what holds without it."""
    found = DEFAULT.fullmatch(text)
    return (found["text"], found["default"]) if found else (text, "")


def _value(option: Any) -> str:
    if option.is_flag:
        return ""
    if option.metavar:
        return str(option.metavar)
    kind = option.type_descriptor.annotation
    kind = next(iter(get_args(kind)), kind)  # of a list what it holds
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return "|".join(kind)
    return WORDS.get(kind, "TEXT")


def takers(family: Family) -> str:
    """Which commands take these flags, in a sentence."""
    names = [
        name + (f" (without {', '.join(flag.names[0] for flag in less)})" if less else "")
        for name, less in family.takers.items()
    ]
    return f"Taken by {', '.join(names[:-1])} and {names[-1]}."
