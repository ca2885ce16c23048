"""Owns the command config: settings are checked, shown, described, begun with, taken over; files that come along."""

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.errors import ConfigError, Exit, UsageError
from planner.flags import APPLYING, SCHEDULE, SHARED, option
from planner.options import with_choice
from planner.plain import plain

if TYPE_CHECKING:
    from planner.firstfile import Answers

app = typer.Typer(help="Check, show and write the configuration; files that come along.")

SHIPPED = Path(__file__).parent / "shipped"
NO_CA = "-"
"""Instead of a file, as an answer and as a flag: certificates are signed by an authority that is known anyway."""
SETTINGS = {
    name: flag for name, flag in (SHARED | SCHEDULE | APPLYING).items() if name not in ("snapshot_file", "demo")
}
"""Options that set something."""
FileArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", help="Configuration file. \\[default: as for all commands]", show_default=False),
]
OriginOption = Annotated[bool, option("--origin", "Beside each: file, variable, command line or default.", "no")]
PathArgument = Annotated[Path, typer.Argument(metavar="[PATH]", help="File to write.")]
HostOption = Annotated[
    list[str] | None,
    option("--host", "Node of the cluster: pve1, pve1:8006. Repeatable.", "asked for on a terminal", metavar="HOST"),
]
TokenOption = Annotated[str | None, option("--token-id", "user@realm!name.", "proxlb-plan@pve!planner", metavar="ID")]
SecretOption = Annotated[
    Path | None, option("--secret-file", "Where the token's secret is, or will be.", "token, beside the file")
]
CaOption = Annotated[
    Path | None,
    option("--ca-file", "A copy of /etc/pve/pve-root-ca.pem; - for none.", "asked for on a terminal, or none"),
]
ForceOption = Annotated[bool, option("--force", "Replace a file that is there.", "no")]
ForeignArgument = Annotated[Path, typer.Argument(metavar="FILE", help="ProxLB's configuration: YAML, or INI of 1.0.")]
OutOption = Annotated[Path | None, option("-o --out", "File to write, for your eyes only.", "print it")]


def _names() -> list[str]:
    """Of the files that come along."""
    return sorted(path.name for path in SHIPPED.iterdir() if path.is_file() and path.suffix != ".py")


NameArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="File to print. \\[default: list them]", show_default=False, autocompletion=_names
    ),
]


def validate(choice: Any, file: FileArgument = None) -> None:
    """Check the configuration: every mistake that can be found, not only the first. Asks no cluster."""
    from planner.examine import examine

    if file is not None and choice.config is not None:
        raise UsageError("the configuration file is named twice: as FILE and with --config")
    found = examine(str(file) if file else choice.config, choice.flags)
    for note in found.notes:
        _say(f"note: {note}")
    for problem in found.problems:
        _say(f"proxlb-plan: {problem}")
    if found.problems:
        raise typer.Exit(Exit.CONFIG)
    print(f"{found.config.source or 'no file'}: {found.given} settings, and nothing is wrong with them")


def show(choice: Any, origin: OriginOption = False) -> None:
    """Show all settings that hold, as a configuration file, without secrets. Asks no cluster."""
    from planner.config import gathered, validated
    from planner.effective import shown

    chosen, source = gathered(choice.config, choice.flags)
    print(shown(validated(chosen, source), chosen, origin=origin))


app.command()(with_choice(validate, SETTINGS))
app.command()(with_choice(show, SETTINGS))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from planner.config_schema import schema as made

    print(json.dumps(made(), indent=2, ensure_ascii=False))


@app.command()
def init(
    path: PathArgument = Path("proxlb-plan.yaml"),
    host: HostOption = None,
    token_id: TokenOption = None,
    secret_file: SecretOption = None,
    ca_file: CaOption = None,
    force: ForceOption = False,
) -> None:
    """Write a first configuration file; asks for what no flag says, where somebody is there to answer."""
    from planner import firstfile
    from planner.origin import path_from

    firstfile.check(path, force=force)  # before anything is asked
    given = {"hosts": host or None, "token_id": token_id, "secret_file": secret_file, "ca_file": ca_file}
    answers = _asked({name: value for name, value in given.items() if value is not None})
    firstfile.write(path, answers.text(), force=force)
    secret, ca = (path_from(path.parent, name) for name in (answers.secret_file, answers.ca_file or os.devnull))
    _say(f"wrote {path}. Make a token, on any node of the cluster:")
    print("\n".join(answers.commands()))
    if not os.access(secret, os.F_OK):
        _say(f"Write its secret, and nothing else, to {secret}, and run chmod 600 on that.")
    if not os.access(ca, os.F_OK):
        _say(f"Copy /etc/pve/pve-root-ca.pem from a node to {ca}.")
    _say(f"Then see whether all is well: proxlb-plan doctor --config {path}")


def _asked(given: dict[str, Any]) -> "Answers":
    """What was given, and the rest from the terminal. UsageError where nobody is there to answer, ConfigError for what
    was given and can never work."""
    from planner.firstfile import CA, SECRET, TOKEN

    _answers({"hosts": "pve1", **given})  # no answer would mend it
    questions = {
        "hosts": ("Nodes of the cluster, separated by commas", None), "token_id": ("Id of the API token", TOKEN),
        "secret_file": ("File with its secret, as seen from the configuration file", SECRET),
        "ca_file": (f"A copy of /etc/pve/pve-root-ca.pem, or {NO_CA} if a known authority signs certificates", CA),
    }  # fmt: skip
    for name, (question, default) in questions.items():
        while name not in given and sys.stdin.isatty():
            answer = typer.prompt(question, default, err=True)
            try:
                _answers({"hosts": "pve1", **given, name: answer})
            except ConfigError as error:  # asked again: nothing that was answered before is lost
                _say(str(error))
            else:
                given[name] = answer
    if "hosts" not in given:
        raise UsageError("nobody is there to answer: say --host, and --token-id and --secret-file where they differ")
    return _answers(given)


def _answers(given: Mapping[str, Any]) -> "Answers":
    """As they were given. ConfigError for what can never work."""
    from planner.firstfile import Answers

    hosts = re.findall(r"[^,\s]+", given["hosts"]) if isinstance(given["hosts"], str) else given["hosts"]
    others = {name: str(value) for name, value in given.items() if name != "hosts"}
    if others.get("ca_file") == NO_CA:
        del others["ca_file"]
    return Answers(tuple(hosts), **others)


@app.command("import")
def take_over(file: ForeignArgument, out: OutOption = None, force: ForceOption = False) -> None:
    """Write ProxLB's configuration as our own, with what each setting came from, and what has no effect."""
    from planner import firstfile
    from planner.takeover import imported

    text = imported(file, os.environ)
    if out is None:
        print(text, end="")
    else:
        firstfile.write(out, text, force=force)
        _say(f"wrote {out}: see what it means with proxlb-plan config show --config {out}")


@app.command("file")
def shipped(name: NameArgument = None) -> None:
    """Print a file that comes along: units for systemd, a line for cron, a container, a dashboard, alert rules."""
    there = _names()
    if name is None:
        print("\n".join(there))
    elif name in there:
        print((SHIPPED / name).read_text(encoding="utf-8"), end="")
    else:
        raise UsageError(f"there is no file {name}: choose from {', '.join(there)}")


def _say(line: str) -> None:
    print(plain(line), file=sys.stderr, flush=True)
