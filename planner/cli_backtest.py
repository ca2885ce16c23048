"""Owns the command backtest: what is played, under which policies, and where the figures go."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from planner.choices import PLAYED
from planner.errors import ConfigError, UsageError
from planner.flags import SCHEDULE, SHARED, option
from planner.options import Choice, TableOrJson, with_choice
from planner.policy import Cluster, Lookback
from planner.shape import Shape
from planner.times import span

if TYPE_CHECKING:
    import pandas as pd

    from planner.backtesting import Replay
    from planner.config import Config
    from planner.recording import Recording

MADE_UP = Shape()
POLICIES = ",".join(PLAYED)
OPTIONS = {
    name: value
    for name, value in (SHARED | SCHEDULE).items()
    if name not in ("snapshot_file", "demo", "with_local_disks", "reclaim_arc", "guests", "repair_only", "profile")
}
"""Shared options that mean something where nothing is asked of a cluster."""

SnapshotsOption = Annotated[
    Path | None, option("--snapshots", "Play this directory of snapshots.", "none", metavar="DIR")
]
TracesOption = Annotated[
    Path | None, option("--traces", "Play CPU traces (directory, or tar file of one) on a made-up cluster.", "none")
]
PastOption = Annotated[Path | None, option("--past", "Traces of the day before, known from the beginning.", "none")]
SyntheticOption = Annotated[bool, option("--synthetic", "Play a made-up day, with the day before known.", "no")]
WarmUpOption = Annotated[
    str | None,
    option("--warm-up", "Of snapshots: so much of the beginning is past, and not played.", "0s", metavar="TIME"),
]
NodesOption = Annotated[int | None, option("--nodes", "Of a made-up cluster.", str(MADE_UP.nodes), min=2, max=1000)]
GuestsOption = Annotated[int | None, option("--guests", "Of a made-up cluster.", str(MADE_UP.guests), min=1)]
LoadOption = Annotated[float | None, option("--load", "Its mean CPU load, in percent.", f"{100 * MADE_UP.load:g}")]
SkewOption = Annotated[
    float | None, option("--skew", "How unevenly its guests begin, from 0 to 1.", f"{MADE_UP.skew:g}")
]
BeginOnOption = Annotated[int | None, option("--begin-on", "So many of its nodes have guests in the beginning.", "all")]
FollowsOption = Annotated[
    bool | None, option("--memory-follows", "Its guests use more memory with more CPU.", "constant")
]
PoliciesOption = Annotated[
    str, option("--policies", "Who plans, separated by commas.", POLICIES, metavar="NAME[,NAME]")
]
EveryOption = Annotated[str, option("--every", "Time between plans: 15m, 1h.", "60m", metavar="TIME")]
WorkOption = Annotated[
    float | None,
    option("--work", "Limit of each plan in what is done, not seconds: the same figures everywhere.", "--time-limit"),
]
JobsOption = Annotated[int, option("--jobs", "Processes.", 1, min=1)]
OutputOption = Annotated[TableOrJson, option("--output", "How it is printed.", TableOrJson.TABLE)]
OutOption = Annotated[Path | None, option("--out", "Also write the figures to this CSV file.", "none")]


@partial(with_choice, options=OPTIONS)
def backtest(
    choice: Choice,
    snapshots: SnapshotsOption = None,
    traces: TracesOption = None,
    past: PastOption = None,
    synthetic: SyntheticOption = False,
    warm_up: WarmUpOption = None,
    nodes: NodesOption = None,
    guests: GuestsOption = None,
    load: LoadOption = None,
    skew: SkewOption = None,
    begin_on: BeginOnOption = None,
    follows: FollowsOption = None,
    policies: PoliciesOption = POLICIES,
    every: EveryOption = "60m",
    work: WorkOption = None,
    jobs: JobsOption = 1,
    output: OutputOption = TableOrJson.TABLE,
    out: OutOption = None,
) -> None:
    """Play what was recorded under several policies, and measure each: overload, spread, migrations. Changes nothing.

    Policies: nothing, recorded (what was done in fact), proxlb, crs (Proxmox VE 9.2's own balancer; crs-5-2: with a
    threshold of 5 and a margin of 2 percent), and greedy, descent and cpsat, which look at the present, or with -mean,
    -p95, -peak or -robust at the last day.
    """
    from planner.backtesting import notes, table
    from planner.config import load as load_config

    flags = {"nodes": nodes, "guests": guests, "load": load and load / 100, "skew": skew, "begin_on": begin_on,
             "follows": follows}  # fmt: skip
    given = {name: value for name, value in flags.items() if value is not None}
    _check(choice, snapshots, traces, past, synthetic, warm_up, work, given)
    config = load_config(choice.config, choice.flags)
    if snapshots is not None:
        recording = _of_snapshots(snapshots, warm_up)
    else:
        recording = _made_up(config, traces, past, given)
        config = replace(config, cluster=Cluster())  # what is set for a real cluster means no made-up one
    found = _played(config, recording, policies, every=_seconds(every, "--every"), work=work, jobs=jobs)
    for note in notes(found):
        print(f"note: {note}", file=sys.stderr, flush=True)
    _show(table(found), output, out)


def _check(
    choice: Choice, snapshots: Path | None, traces: Path | None, past: Path | None, synthetic: bool,
    warm_up: str | None, work: float | None, given: dict[str, Any],
) -> None:  # fmt: skip
    """UsageError for flags that would have no effect."""
    if sum((snapshots is not None, traces is not None, synthetic)) != 1:
        raise UsageError("say what is to be played: one of --snapshots DIR, --traces DIR and --synthetic")
    if past is not None and traces is None:
        raise UsageError("--past goes with --traces: of snapshots, --warm-up says how much is past")
    if warm_up is not None and snapshots is None:
        raise UsageError(
            "--warm-up goes with --snapshots: of traces, --past is known, and of a made-up day the day before"
        )
    if given and snapshots is not None:
        name = {"follows": "memory-follows", "begin_on": "begin-on"}.get(next(iter(given)), next(iter(given)))
        raise UsageError(f"--{name} is about a made-up cluster: with --snapshots leave it out")
    if work is not None and choice.flags["policy"]["time_limit"] is not None:
        raise UsageError("--time-limit has no effect with --work: leave one of them out")


def _show(frame: "pd.DataFrame", output: TableOrJson, out: Path | None) -> None:
    """Print the figures, and save them."""
    from planner import report, report_backtest
    from planner.snapshot import write

    if out is not None:
        write(out, frame.to_csv(index=False).encode())
    if output is TableOrJson.JSON:
        rows = [{key: None if value != value else value for key, value in row.items()} for row in _rows(frame)]
        print(json.dumps(rows, indent=2))
    else:
        report_backtest.table(frame, report.console())


def _of_snapshots(snapshots: Path, warm_up: str | None) -> "Recording":
    from planner.recorded import from_directory

    return from_directory(snapshots).since(_seconds(warm_up or "0s", "--warm-up"))


def _made_up(config: "Config", traces: Path | None, past: Path | None, given: dict[str, Any]) -> "Recording":
    """Traces, or a synthetic day, on a cluster of that shape."""
    from planner import mapped

    shape = Shape(seed=config.policy.seed, **given)
    if traces is not None:
        return mapped.from_files(traces, past, shape)
    return mapped.from_synthetic(shape, known=7 if config.policy.window is Lookback.WEEK else 1)


def _played(config: "Config", recording: "Recording", policies: str, **how: Any) -> "Sequence[Replay]":
    """Play, and show on stderr how far it is; keywords as for `planner.backtesting.replays`."""
    from rich.console import Console

    from planner.backtesting import replays

    hours = recording.steps * recording.step / 3600
    names = [name.strip() for name in policies.split(",") if name.strip()]
    with Console(stderr=True).status("playing") as status:

        def told(policy: str, played: float) -> None:
            status.update(f"{policy}: {played / 3600:.0f} of {hours:.0f} hours played")

        return replays(recording, names, told=told, config=config, **how)


def _seconds(text: str, flag: str) -> float:
    """A while such as 15m or 1h30m."""
    try:
        return span(text)
    except ConfigError:
        raise UsageError(f"{flag} {text}: write a while such as 15m, 1h or 1h30m") from None


def _rows(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
