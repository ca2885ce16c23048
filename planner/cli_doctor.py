"""Owns the command doctor: in which order things are asked, and where it goes no further."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.errors import ConfigError, PlannerError, UsageError
from planner.flags import option
from planner.options import TableOrJson, with_choice

if TYPE_CHECKING:
    from planner.finding import Finding
    from planner.options import Choice
    from planner.pve import Pve
    from planner.session import Session

OutputOption = Annotated[TableOrJson, option("--output", "How it is printed.", TableOrJson.TABLE)]


@with_choice
def doctor(choice: Any, output: OutputOption = TableOrJson.TABLE) -> None:
    """Check configuration, connection, privileges and cluster, and say how to mend what is wrong. Changes nothing."""
    from planner import report
    from planner.finding import exit_code

    findings = list(_findings(choice))
    if output is TableOrJson.JSON:
        shown = ("level", "what", "advice")
        print(json.dumps([{name: asdict(finding)[name] for name in shown} for finding in findings], indent=2))
    else:
        report.findings(findings, report.console())
    raise typer.Exit(exit_code(findings))


def _findings(choice: "Choice") -> "Iterator[Finding]":
    """Everything up to the first error that hides the rest."""
    from planner import doctor
    from planner.config import load
    from planner.finding import failure, note, ok
    from planner.session import open_session

    try:
        source = load(choice.config, choice.flags).source
        yield from doctor.solvers()
        yield ok(f"configuration: {source}") if source else note("no configuration file: defaults and environment hold")
        with closing(open_session(*choice)) as session:
            yield from _of_session(session)
    except UsageError:
        raise
    except ConfigError as problem:
        yield failure(problem, 'see "Connect it to a cluster" in the README')
    except PlannerError as problem:
        yield failure(problem)


def _of_session(session: "Session") -> "Iterator[Finding]":
    from planner import doctor, probe

    pve = session.connected
    if pve is not None:
        reached = list(_of_connection(pve))
        yield from reached
        if any(finding.level == "error" for finding in reached):
            return
    cluster = session.cluster()
    who = pve.connection if pve else None
    said = probe.ask_nodes(pve, doctor.online(cluster)) if pve else None
    yield from doctor.examine(cluster, session.settings, session.policy, who, said)


def _of_connection(pve: "Pve") -> "Iterator[Finding]":
    from planner import doctor, probe

    yield doctor.trust(pve.connection)
    yield from doctor.hosts(probe.ask_hosts(pve.ask_each("/version")))
