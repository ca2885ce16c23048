"""Owns how runs look: the report at the end of one, its state, the list of all; for a terminal and as JSON."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from planner import listing
from planner.amounts import duration
from planner.listing import Row
from planner.plain import plain
from planner.run import Entry, RunRecord, RunState, Step, Summary
from planner.runs import OPEN, UNSETTLED
from planner.watch import named

COMMAND = "proxlb-plan"
STYLES = {Step.DONE: "", Step.FAILED: "red", Step.UNKNOWN: "red", Step.CHECKED: "red", Step.STARTED: "red"}
"""How steps look; the others are yellow."""

_KINDS = {"apply": "", "scheduled": "scheduled "}


def report(item: RunRecord, out: Console, *, kept: bool = True) -> None:
    """What was done, what failed, what may still be under way, what was not started and why, what to do next.

    kept: the run is in a journal that outlives the process.
    """
    for entry in item.entries:
        _line(out, _outcome(entry), STYLES.get(entry.step, "yellow"))
    done = item.counts.get(Step.DONE, 0)
    name = f"run {item.id}: " if kept else ""
    why = item.why if done < item.size and item.why not in {entry.note for entry in item.entries} else ""
    _line(out, f"{name}{done} of {item.size} migrations done{f'; {why}' if why else ''}")
    for line in advice(item, alive=False) if kept else ():
        _line(out, line)


def _outcome(entry: Entry) -> str:
    """One migration in one line."""
    m = entry.migration
    way = f"{named(m)} from {m.source} to {m.target}"
    note = f": {entry.note}" if entry.note else ""
    if entry.step is Step.DONE:
        stop = ", a stop on its way" if m.bypass else ""
        return f"done: {named(m)} is on {m.target}{stop}{f' ({entry.note})' if entry.note else ''}"
    if entry.step is Step.FAILED:
        return f"failed: {entry.note or way}"
    if entry.step in UNSETTLED:
        return f"unknown: {named(m)} may still be on its way to {m.target}{note}"
    return f"{'skipped' if entry.step is Step.SKIPPED else 'not started'}: {way}{note}"


def advice(item: Summary, *, alive: bool) -> list[str]:
    """What can be done about a run now; nothing where there is nothing to do."""
    if alive:
        return [f"it is running: `{COMMAND} abort {item.id}` ends it"]
    readable = not isinstance(item, RunRecord) or item.readable
    back = item.counts.get(Step.DONE, 0) > 0 and item.kind != "rollback" and readable
    way_back = [f"`{COMMAND} rollback {item.id}` takes back what was done"] if back else []
    if item.state is RunState.PROPOSED:
        return [f"`{COMMAND} approve {item.id}` carries it out, `{COMMAND} abort {item.id}` refuses it"]
    if item.state not in OPEN:
        return [] if item.state is RunState.ROLLED_BACK else way_back
    gone = "its process is gone: " if item.state is RunState.RUNNING else ""
    once = "" if gone else " once what stopped it is over"
    resumed = f"`{COMMAND} resume {item.id}` goes on{once}, " if readable and not item.stop_asked else ""
    return [f"{gone}{resumed}`{COMMAND} abort {item.id}` ends it for good", *way_back]


def state(item: Summary, *, alive: bool) -> str:
    """The state of a run in one word or two."""
    if item.state is RunState.RUNNING and not alive:
        return "interrupted"
    if alive and item.stop_asked:
        return "stopping"
    return item.state.value.replace("_", " ")


def status(item: RunRecord, out: Console, *, alive: bool) -> None:
    """One run: each migration with its step, since when, its task; and what can be done."""
    what = f"rollback of run {item.of}: run" if item.kind == "rollback" else f"{_KINDS[item.kind]}run"
    times = [("began", item.began_at), ("resumed", item.resumed_at), ("ended", item.ended_at)]
    when = ", ".join(f"{word} {_time(at)}" for word, at in times if at is not None)
    _line(out, f"{what} {item.id} on {item.cluster}: {state(item, alive=alive)}, {when}")
    if item.why:
        _line(out, f"why: {item.why}")
    if isinstance(item.written, str):
        _line(out, f"its plan is of another version, or damaged: {item.written}")
    steps(item, out)
    for line in advice(item, alive=alive):
        _line(out, line)


def steps(item: RunRecord, out: Console) -> None:
    """How far each migration of a run is."""
    table = Table(box=None, pad_edge=False)
    for name in ("", "guest", "name", "from", "to", "state", "since"):
        table.add_column(name, justify="right" if name in ("", "guest") else "left", no_wrap=True)
    for e in item.entries:
        m, style = e.migration, STYLES.get(e.step, "" if e.step is Step.PLANNED else "yellow")
        words = (str(e.number), str(m.vmid), m.name, m.source, m.target, Text(e.step.value, style), _time(e.changed_at))
        table.add_row(*words)
    out.print(table)
    for entry in item.entries:
        if entry.note or (entry.upid and entry.step is not Step.DONE):
            task = f"task {entry.upid}" if entry.upid and entry.upid not in entry.note else ""
            said = "; ".join(filter(None, (entry.note, task)))
            _line(out, f"{entry.number} {named(entry.migration)}: {said}")
    counts = ", ".join(f"{item.counts[step]} {step.value}" for step in Step if item.counts.get(step))
    _line(out, f"{item.size} migrations: {counts}")


def history(items: Sequence[Summary], alive: Iterable[int], out: Console) -> None:
    """One row per run, the newest first."""
    living = set(alive)
    if not items:
        _line(out, "no run yet")
        return
    rows = [_row(item, alive=item.id in living) for item in items]
    listing.show(rows, out, right=("run", "took", "done", "failed"), spare=("took",))


def _row(item: Summary, *, alive: bool) -> Row:
    failed = item.counts.get(Step.FAILED, 0)
    return {
        "run": str(item.id), "cluster": plain(item.cluster),
        "what": f"rollback of {item.of}" if item.kind == "rollback" else item.kind, "began": _time(item.began_at),
        "took": "" if item.ended_at is None else duration(item.ended_at - item.began_at),
        "state": state(item, alive=alive), "done": f"{item.counts.get(Step.DONE, 0)} of {item.size}",
        "failed": str(failed) if failed else "", "why": plain(item.why),
    }  # fmt: skip


def summary_json(item: Summary, *, alive: bool) -> dict[str, Any]:
    """A run as in `planner/schemas/run.json`."""
    times = {name: getattr(item, name) for name in ("began_at", "resumed_at", "ended_at")}
    return {
        "id": item.id, "cluster": item.cluster, "kind": item.kind, "of": item.of, "state": item.state.value,
        "alive": alive, "stop_asked": item.stop_asked,
        **{name: None if at is None else _iso(at) for name, at in times.items()},
        "why": item.why, "size": item.size, "counts": {step.value: item.counts.get(step, 0) for step in Step},
        "next": advice(item, alive=alive),
    }  # fmt: skip


def status_json(item: RunRecord, *, alive: bool) -> dict[str, Any]:
    """The same with all of its migrations."""
    return summary_json(item, alive=alive) | {"migrations": [_entry(entry, item) for entry in item.entries]}


def _entry(entry: Entry, item: RunRecord) -> dict[str, Any]:
    m = entry.migration
    return {
        "number": entry.number, "vmid": m.vmid, "name": m.name, "type": m.type if item.readable else None,
        "source": m.source, "target": m.target,
        "step": entry.step.value, "since": _iso(entry.changed_at), "upid": entry.upid, "note": entry.note,
    }  # fmt: skip


def _time(at: float) -> str:
    """Local time, as a person reads it."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _line(out: Console, text: str, style: str = "") -> None:
    """A line that is not broken, however long: people search for its words."""
    out.print(Text(text, style=style), soft_wrap=True)
