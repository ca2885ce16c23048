"""Owns how looks are shown: a row each, and one with all that it says."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from planner import listing
from planner.listing import Row
from planner.look import Look, Outcome
from planner.plain import plain

STYLES = {Outcome.ERROR: "red", Outcome.FAILED: "red", Outcome.PARTLY: "red", Outcome.REFUSED: "yellow"}
SPARE = ("planned", "bound", "GiB")
RIGHT = ("look", "spread", "planned", "bound", "migrations", "GiB", "run")


def table(items: Sequence[Look], out: Console) -> None:
    """One row per look."""
    if not items:
        out.print("no look was ever taken on this machine: `proxlb-plan run` takes them")
        return
    listing.show([_row(each) for each in items], out, right=RIGHT, spare=SPARE)


def _row(item: Look) -> Row:
    planned = item.migrations > 0
    return {
        "look": str(item.number), "cluster": plain(item.cluster), "at": _when(item.at),
        "spread": _points(item.spread_before), "planned": _points(item.spread_after) if planned else "",
        "bound": _points(item.bound), "migrations": str(item.migrations) if planned else "",
        "GiB": f"{item.gib:.1f}" if planned else "", "outcome": Text(item.outcome, STYLES.get(item.outcome, "")),
        "run": "" if item.run is None else str(item.run), "why": plain(_why(item)),
    }  # fmt: skip


def one(item: Look, out: Console) -> None:
    """All that a look says but its plan."""
    lines = [f"look {item.number} of {item.cluster}, {_when(item.at)}, mode {item.mode}: {item.outcome}"]
    if item.why and not item.refusals:
        lines.append(item.why)
    lines += [f"gate {refusal.gate}: {refusal.why}" for refusal in item.refusals]
    lines += [f"broken today: {rule}" for rule in item.violations_before]
    lines += [f"broken after the plan: {rule}" for rule in item.violations_after]
    if item.run is not None:
        lines.append(f"run {item.run}: {item.done} done, {item.failed} failed, {item.left} left")
    lines.append(f"took {item.seconds:.1f} s" + _solved(item))
    for line in lines:
        out.print(Text(line), soft_wrap=True)


def _solved(item: Look) -> str:
    if item.solver_seconds is None:
        return ""
    return f", of which {item.solver} {item.solver_seconds:.1f} s ({item.status})"


def _why(item: Look) -> str:
    return "; ".join(f"{refusal.gate}: {refusal.why}" for refusal in item.refusals) or item.why


def _when(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def _points(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
