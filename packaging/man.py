"""Owns the man pages: proxlb-plan(1) with all commands, proxlb-plan.yaml(5) with all settings, as roff."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from about import About, about
from commands import PROGRAM, Argument, Command, Flag, interface, takers
from keys import Key, Section, required, sections
from places import EXAMPLE, FILES, PRECEDENCE, VARIABLES, exits

SETTINGS: Final = f"{PROGRAM}.yaml"
SPECIAL: Final = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}
"""What roff takes for something else."""
INTRODUCTION: Final = (
    "With flags alone, and no command, a plan is shown: migrations, what they lead to, and how far that is from the "
    "best that any plan within the same rules and limits could reach.",
    "Nothing is ever changed but by `apply`, `resume`, `rollback`, `approve`, and by `run` in the mode auto.",
    "To look around without a cluster: `proxlb-plan --demo`. For a cluster of your own: `proxlb-plan config init` asks "
    "for what is needed and says how to make a token, and `proxlb-plan doctor` checks whether all is well.",
    "The tab key completes commands, flags and values in bash, zsh and fish. Packages bring what is needed for that; "
    "elsewhere `proxlb-plan --install-completion` adds it to your shell.",
)


def man_pages(what: About) -> dict[str, str]:
    """File name to page."""
    return {
        f"{PROGRAM}.1": _page(PROGRAM, "1", what, _program(what)),
        f"{SETTINGS}.5": _page(SETTINGS, "5", what, _settings()),
    }


def _page(name: str, section: str, what: About, lines: Iterable[str]) -> str:
    day = datetime.fromtimestamp(what.epoch, UTC).date().isoformat()
    title = f'.TH {_text(name.upper())} {section} {day} "{_text(what.name)} {_text(what.version)}"'
    # Neither hyphenated nor stretched: commands and paths are to be copied.
    return "\n".join([title, ".nh", ".ad l", *lines]) + "\n"


def _program(what: About) -> Iterator[str]:
    known = interface()
    yield from _section("NAME", [f"{_text(PROGRAM)} \\- {_text(what.summary[0].lower() + what.summary[1:])}"])
    yield from _section("SYNOPSIS", [f"{_bold(PROGRAM)} [FLAGS]", ".br", f"{_bold(PROGRAM)} COMMAND [FLAGS] [WORDS]"])
    yield from _section("DESCRIPTION", _paragraphs(INTRODUCTION))
    yield ".SH COMMANDS"
    yield _text("Flags that many commands take are described once, below.")
    for title, commands in known.groups.items():
        yield f".SS {_text(title)}"
        for command in commands:
            yield from _command(command)
    yield ".SH FLAGS OF MANY COMMANDS"
    yield from _item(f"{_bold('--help')}, {_bold('-h')}", "Shows how a command is called. Every command has it.")
    for family in known.families:
        yield f".SS {_text(family.title)}"
        yield from [_text(takers(family)), *_flags(family.flags)]
    yield from _section("EXIT STATUS", _items({str(code): text for code, text in exits().items()}))
    yield from _section("ENVIRONMENT", _items(VARIABLES))
    yield from _section("FILES", _items(FILES))
    yield from _section("SEE ALSO", [f"{_bold(SETTINGS)}(5), {_bold('systemd.time')}(7)"])


def _command(command: Command) -> Iterator[str]:
    words = " ".join(argument.name for argument in command.arguments)
    first, *rest = command.paragraphs
    yield from _item(" ".join([_bold(command.name), _text(words)]).strip(), first)
    yield ".RS"
    for paragraph in rest:
        yield from [".PP", _text(paragraph)]
    for argument in command.arguments:
        yield from _argument(argument)
    yield from _flags(command.flags)
    yield ".RE"


def _argument(argument: Argument) -> Iterator[str]:
    yield from _item(_text(argument.name.strip("[].")), argument.text + _default(argument.default))


def _flags(flags: Iterable[Flag]) -> Iterator[str]:
    for flag in flags:
        names = ", ".join(map(_bold, flag.names))
        yield from _item(f"{names} {_text(flag.value)}".strip(), flag.text + _default(flag.default))


def _default(default: str) -> str:
    if default in ("", "no", "none"):  # which goes without saying
        return ""
    return " Required." if default == "required" else f" Default: {default}."


def _settings() -> Iterator[str]:
    yield from _section("NAME", [f"{_text(SETTINGS)} \\- configuration of {_text(PROGRAM)}"])
    yield from _section("DESCRIPTION", _paragraphs(PRECEDENCE))
    yield from _section("EXAMPLE", [".nf", *map(_text, EXAMPLE.splitlines()), ".fi"])
    for section in sections():
        yield from _keys_of(section)
    yield from _section("FILES", _items({path: text for path, text in FILES.items() if path.endswith(".yaml")}))
    yield from _section("SEE ALSO", [f"{_bold(PROGRAM)}(1), {_bold('systemd.time')}(7)"])


def _keys_of(section: Section) -> Iterator[str]:
    yield f".SH SECTION {_text(section.name)}"
    yield _text(section.about)
    for key in section.keys:
        yield from _key(key)


def _key(key: Key) -> Iterator[str]:
    yield from _item(_bold(key.name), f"{key.kind[0].upper()}{key.kind[1:]}{_held(key)}.")
    if key.meaning:
        yield from [".br", _text(key.meaning)]
    if key.flag:
        yield from [".br", f"Flag: {_bold(key.flag)}."]
    yield ".RS"
    for choice, text in key.choices.items():
        if text:
            yield from _item(_bold(choice), text)
    for part in key.parts:
        yield from _key(part)
    yield ".RE"


def _held(key: Key) -> str:
    if required(key):
        return "; required"
    return f"; default: {key.default}" if key.default else ""


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield f".SH {title}"
    yield from lines


def _paragraphs(texts: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield from ([".PP"] if number else []) + [_text(text)]


def _items(texts: Mapping[str, str]) -> Iterator[str]:
    for name, text in texts.items():
        yield from _item(_bold(name), text)


def _item(name: str, text: str) -> Iterator[str]:
    """A name, and below it a text."""
    yield from [".TP", name, _text(text)]


def _bold(text: str) -> str:
    return rf"\fB{_text(text)}\fR"


def _text(text: str) -> str:
    """As it is, whatever it begins with or holds; what is in backquotes is bold."""
    parts = re.split(r"`([^`]+)`", text)
    plain = ["".join(map(_character, part)) for part in parts]
    made = "".join(rf"\fB{part}\fR" if number % 2 else part for number, part in enumerate(plain))
    return rf"\&{made}" if made.startswith((".", r"\(aq")) else made


def _character(one: str) -> str:
    return SPECIAL.get(one, one if one.isascii() else rf"\[u{ord(one):04X}]")


if __name__ == "__main__":
    if not (sys.argv[1:] and Path(sys.argv[1]).is_dir()):
        sys.exit("usage: python packaging/man.py FOLDER, which is there already")
    for name, page in man_pages(about()).items():
        Path(sys.argv[1], name).write_text(page, encoding="utf-8")
