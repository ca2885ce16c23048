"""Owns the notebook API: `import planner as pp`. Everything heavy is imported when it is first used.

Keywords of `read`, `load` and `demo` are settings, named as in the sections policy, cluster and apply of the
configuration (`planner.policy`). The cluster keeps them for all that is asked of it; keywords there override them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Executor

    import pandas as pd

    from planner.cluster import Cluster
    from planner.config import Config
    from planner.recording import Recording
    from planner.scenarios import Scenarios

__all__ = ["__version__", "backtest", "demo", "load", "read", "sweep"]
__version__ = "0.1.0"


def read(config: str | Path | None = None, **settings: Any) -> Cluster:
    """The cluster that a configuration file points to (None: the one in the usual places), read over its API now.

    With `window="day"` or the like what its guests used over time is read as well.
    """
    from contextlib import closing
    from dataclasses import replace

    from planner.config import chosen
    from planner.config import load as load_config
    from planner.session import connect

    chosen_config = chosen(settings, load_config(None if config is None else str(config)))
    with closing(connect(chosen_config)) as session:
        return replace(session.cluster(), config=chosen_config)


def load(path: str | Path, config: str | Path | None = None, **settings: Any) -> Cluster:
    """The cluster that a snapshot file shows; None: under the defaults instead of a configuration file."""
    from dataclasses import replace

    from planner import collect, snapshot

    return replace(collect.collect(snapshot.load(Path(path))), config=_chosen(config, settings))


def demo(size: str = "small", **settings: Any) -> Cluster:
    """The built-in cluster (small, medium or large), under the defaults."""
    from dataclasses import replace

    from planner.session import demonstrate

    config = _chosen(None, settings)
    return replace(demonstrate(config, size).cluster(), config=config)


def backtest(recording: Recording, policies: Sequence[str] | None = None, **more: Any) -> pd.DataFrame:
    """Play a recording under policies: one row each, columns as in `planner.backtesting.COLUMNS`.

    Recordings come from `planner.recorded` (a directory of snapshots) and `planner.mapped` (traces, or a made-up day);
    policies are named as in `planner.contender`; keywords as for `planner.backtesting.replays`.
    """
    from planner.backtesting import backtest as play
    from planner.choices import PLAYED

    return play(recording, PLAYED if policies is None else policies, **more)


def sweep(
    asked: Scenarios | str | Path | Mapping[str, Any], executor: Executor | None = None, **more: Any
) -> pd.DataFrame:
    """Plan many scenarios, by processes or any other executor: a row each, columns as in `planner.results.COLUMNS`.

    Scenarios come from a file, or a mapping with the same keys; keywords as for `planner.sweeping.sweep`.
    """
    from planner.sweeping import sweep as plan_all

    return plan_all(asked, executor, **more)


def _chosen(config: str | Path | None, settings: dict[str, Any]) -> Config:
    from planner.config import chosen
    from planner.config import load as load_config

    return chosen(settings, None if config is None else load_config(str(config)))
