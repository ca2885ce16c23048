"""Owns the command check: what it asks the journal, and that it ends as a plugin of Nagios does, whatever happens."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

from planner import missing
from planner.check import NO_LOOK, Aspect, Format, Limits, State, gather, judge, lines, named, unknown, worst
from planner.errors import ConfigError, UsageError
from planner.flags import ConfigOption, option

if TYPE_CHECKING:
    from planner.check import Verdict
    from planner.config import Config

INTERVALS: Final = 3
"""So many looks may be missed..."""
LEAST: Final = 1800.0
"""...or so many seconds, before that is worth a warning."""


class Checking(TyperCommand):
    """A command that ends with 0, 1, 2 or 3, and says everything on stdout, where Nagios looks."""

    def make_context(self, info_name: Any, args: list[str], parent: Any = None, **extra: Any) -> Any:
        with _telling(args):
            return super().make_context(info_name, list(args), parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        with _telling([str(ctx.params.get("form"))]):
            return super().invoke(ctx)


@contextlib.contextmanager
def _telling(words: Sequence[str]) -> Iterator[None]:
    """Whatever goes wrong within it is one line, in the format that was asked for as far as that is known."""
    try:
        yield
    except typer.Exit:
        raise
    except (Exception, KeyboardInterrupt) as error:
        form = Format.CHECKMK if any(word.endswith(Format.CHECKMK) for word in words) else Format.NAGIOS
        print(unknown(_said(error), form))
        raise typer.Exit(_code(State.UNKNOWN, form)) from None


def _said(error: BaseException) -> str:
    if isinstance(error, TyperException):
        return error.format_message()
    return (isinstance(error, ImportError) and missing.said(error)) or str(error) or type(error).__name__


def _code(state: State, form: Format) -> int:
    """Checkmk reads the state from the line, and what ends with another code than 0 it may throw away."""
    return State.OK if form is Format.CHECKMK else state


ClusterOption = Annotated[
    str | None, option("--cluster", "The cluster of this name alone.", "all in the journal", metavar="NAME")
]
WarningOption = Annotated[float | None, option("--warning", "Warn above so many points of spread.", "none", min=0)]
CriticalOption = Annotated[float | None, option("--critical", "Critical above so many.", "none", min=0)]
AgeWarningOption = Annotated[
    str | None,
    option(
        "--age-warning", "Warn without a good look for so long: 45m.", "3 times run.every, at least 30m", metavar="TIME"
    ),
]
AgeCriticalOption = Annotated[
    str | None, option("--age-critical", "Critical without one for so long.", "twice --age-warning", metavar="TIME")
]
OnlyOption = Annotated[
    list[Aspect] | None, option("--only", "Judge this alone, such as age: whether looks are taken. Repeatable.", "all")
]
FormatOption = Annotated[Format, option("--format", "checkmk: a local check of its agent.", Format.NAGIOS)]


def check(
    config: ConfigOption = None,
    cluster: ClusterOption = None,
    warning: WarningOption = None,
    critical: CriticalOption = None,
    age_warning: AgeWarningOption = None,
    age_critical: AgeCriticalOption = None,
    only: OnlyOption = None,
    form: FormatOption = Format.NAGIOS,
) -> None:
    """Tell Nagios, Icinga or Checkmk how well scheduled runs are. Changes nothing, asks no cluster.

    Ends as plugins of Nagios do: 0 is fine, 1 a warning, 2 critical, 3 unknown; for Checkmk with 0.
    """
    from planner.config import load

    settings = load(str(config) if config else None)
    limits = _limits(settings, (age_warning, age_critical), (warning, critical))
    verdicts = _verdicts(settings, limits, cluster, only or list(Aspect))
    if not verdicts:
        raise UsageError(NO_LOOK)
    for line in lines(verdicts, form):
        print(line)
    raise typer.Exit(_code(worst(verdicts), form))


def _verdicts(settings: "Config", limits: Limits, cluster: str | None, only: Sequence[Aspect]) -> "list[Verdict]":
    import time

    from planner import runs

    with runs.reading(settings.apply) as there:
        if there is None:
            return []
        names = (cluster,) if cluster else there.journal.looks.clusters()
        known = [gather(there, name) for name in names]
        return [judge(facts, limits, time.time(), only) for facts in named(known)]


def _limits(
    settings: "Config", ages: tuple[str | None, str | None], spreads: tuple[float | None, float | None]
) -> Limits:
    from planner import times

    every = times.span(settings.run.every)
    warning = _span("--age-warning", ages[0], max(LEAST, INTERVALS * every))
    critical = _span("--age-critical", ages[1], 2 * warning)
    for name, low, high in (("age-", warning, critical), ("", *spreads)):
        if low is not None and high is not None and low > high:
            raise UsageError(f"--{name}warning is above --{name}critical: the first has to be the smaller one")
    return Limits(warning, critical, *spreads)


def _span(flag: str, text: str | None, otherwise: float) -> float:
    from planner import times

    try:
        return otherwise if text is None else times.span(text)
    except ConfigError as error:
        raise UsageError(f"{flag}: {error}") from None
