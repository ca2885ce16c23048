"""Owns the reference among the pages of docs/: commands and flags, settings; `make reference` writes both anew."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from about import ROOT
from commands import Command, Family, Flag, interface, takers
from keys import Key, Section, required, sections
from places import EXAMPLE, FILES, PRECEDENCE, VARIABLES, exits

DOCS: Final = ROOT / "docs"
SPECIAL: Final = re.compile(r"([\\*_\[\]<>|#])")
"""What Markdown takes for something else."""
CODE: Final = re.compile(
    r"(`[^`]+`|(?<![\w-])--[a-z][a-z-]*|\$?[A-Z]+_[A-Z_]+|(?<![\w/])/(?:etc|var)/[\w/.-]*\w|(?<![\w/.@-])[a-z]+[_.][a-z_]+\b\*?)"
)
"""What is shown as code: what is in backquotes, flags, variables, paths, names of settings."""
BARE: Final = ("", "no", "none")
"""Defaults that go without saying."""
COMMANDS: Final = """\
# Commands and flags

Every command, every flag, every exit code. What commands are good for is on the other pages. In a terminal,
`proxlb-plan COMMAND --help` shows the same, and `man proxlb-plan` does where a package was installed.

With flags alone, and no command, a plan is shown. Nothing but `apply`, `resume`, `rollback`, `approve`, and `run` in
the mode `auto`, ever changes a cluster.

The tab key completes commands, flags and values in bash, zsh and fish. Packages bring what is needed for that;
elsewhere `proxlb-plan --install-completion` adds it to your shell.
"""
SETTINGS: Final = """\
# Settings

Every key of the configuration file: what may be written, what holds without it, what it means, and which flag and which
variable of the environment set it too. [Connect a cluster](connect.md) shows how to begin.
"""


def pages() -> dict[str, str]:
    """File name to text."""
    return {
        "reference-cli.md": "\n".join([COMMANDS, *_commands()]),
        "reference-configuration.md": "\n".join([SETTINGS, *_settings()]),
    }


def _commands() -> Iterator[str]:
    known = interface()
    for title, commands in known.groups.items():
        yield f"## {title}\n"
        for command in commands:
            yield from _command(command, known.families)
    yield "## Flags of many commands\n"
    yield "Every command also has `--help`, or `-h`.\n"
    for family in known.families:
        yield f"### {family.title}\n"
        yield from [f"{_text(takers(family))}\n", *_flags(family.flags), ""]
    yield from [
        "## Exit codes\n",
        *_table(("code", "when"), [(str(code), _text(text)) for code, text in exits().items()]),
    ]
    yield from ["", *_places("Environment", "variable", VARIABLES), "", *_places("Files", "path", FILES), ""]


def _command(command: Command, families: Sequence[Family]) -> Iterator[str]:
    yield f"### {command.name}\n\n```text\n{command.synopsis}\n```\n"
    for paragraph in command.paragraphs:
        yield f"{_text(paragraph)}\n"
    for argument in command.arguments:
        held = f" Without it: {_text(argument.default)}." if argument.default else ""
        yield f"- `{argument.name.strip('[].')}`: {_text(argument.text)}{held}"
    if command.arguments:
        yield ""
    yield from _flags(command.flags)
    taken = [f"[{family.title}](#{_anchor(family.title)})" for family in families if command.name in family.takers]
    if taken:
        yield f"\nAnd the flags of {', '.join(taken)}."
    yield ""


def _flags(flags: Sequence[Flag]) -> Iterator[str]:
    if flags:
        yield from _table(("flag", "meaning", "default"), [_flag(flag) for flag in flags])


def _flag(flag: Flag) -> tuple[str, str, str]:
    choices = flag.value.split("|") if "|" in flag.value else []
    value = flag.names[0].rpartition("-")[2].upper() if choices else flag.value
    names = ", ".join(f"`{f'{name} {value}'.strip()}`" for name in flag.names)
    chosen = f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
    return names, _text(flag.text) + chosen, "" if flag.default in BARE else _text(flag.default)


def _settings() -> Iterator[str]:
    yield f"```yaml\n{EXAMPLE}```\n"
    for text in PRECEDENCE:
        yield f"{_text(text)}\n"
    for section in sections():
        yield from _section(section)
    yield from _places("Files", "path", {path: text for path, text in FILES.items() if path.endswith(".yaml")})
    yield ""


def _section(section: Section) -> Iterator[str]:
    yield f"## {section.name}\n\n{_text(section.about)}\n"
    for key in section.keys:
        yield f"### {section.name}.{key.name}\n"
        if key.meaning:
            yield f"{_text(key.meaning)}\n"
        yield f"{_line(key)}\n"
        meant = [f"- `{choice}`: {_text(text)}" for choice, text in key.choices.items() if text]
        yield from [*meant, ""] if meant else []
        if key.parts:
            rows = [(f"`{part.name}`", _text(part.kind), _held(part), _text(part.meaning)) for part in key.parts]
            yield from [*_table(("key", "value", "default", "meaning"), rows), ""]


def _line(key: Key) -> str:
    """What may be written, what holds without, and where else it can be set."""
    held = _held(key)
    default = f"; {held}" if required(key) else f"; default: {held}" if held else ""
    flag = f"Flag `{key.flag}`, variable" if key.flag else "Variable"
    return f"{key.kind[0].upper()}{_text(key.kind[1:])}{default}. {flag} `{key.variable}`."


def _held(key: Key) -> str:
    return key.default if required(key) or key.default in ("", "not set") else f"`{key.default}`"


def _places(title: str, what: str, texts: Mapping[str, str]) -> Iterator[str]:
    yield f"## {title}\n"
    yield from _table((what, "meaning"), [(f"`{name}`", _text(text)) for name, text in texts.items()])


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (titles, ["---"] * len(titles), *rows):
        yield f"| {' | '.join(row)} |"


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _text(text: str) -> str:
    """As it is, whatever it holds."""
    parts = CODE.split(text)
    return "".join(
        f"`{part.strip('`')}`" if number % 2 else SPECIAL.sub(r"\\\1", part) for number, part in enumerate(parts)
    )


if __name__ == "__main__":
    for name, page in pages().items():
        (DOCS / name).write_text(page, encoding="utf-8")
