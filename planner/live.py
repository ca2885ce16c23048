"""Owns a search that goes on while a person looks: a thread, what it has found so far, and a stop button."""

import atexit
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from planner import display
from planner.frames import Column, conform
from solvers import Budget, Progress

if TYPE_CHECKING:
    from planner.cluster import Cluster
    from planner.plan import Plan

HISTORY = (
    Column("seconds", "float64", "s", "since the start"),
    Column("spread", "float64", "percentage points", "of the best plan by then; a cheaper one may be less even"),
    Column("bound", "float64", "percentage points", "no plan with these rules and limits is below; empty: not claimed"),
)
"""One row per improvement, the last one of the plan itself: `Live.history`."""
TICK = 0.3
"""Seconds between looks at the clock, for those who watch."""
PPM_PER_POINT = 10_000
_going_on: "weakref.WeakSet[Live]" = weakref.WeakSet()


class Live:
    """A plan in the making. It can be looked at, stopped, and waited for; shown in a notebook it has a button to stop.

    `make` makes the plan within a budget, in a thread of its own.
    """

    def __init__(self, solver: str, budget: Budget, make: "Callable[[Budget], Plan]") -> None:
        self.solver, self.limit = solver, budget.seconds
        self._began = time.monotonic()
        self._took: float | None = None
        self._rows: list[tuple[float, float, float]] = []
        self._stop, self._ended = threading.Event(), threading.Event()
        self._plan: Plan | None = None
        self._error: BaseException | None = None
        self._make, self._panel = make, None
        self._budget = replace(budget, progress=self._heard, stop=self._stop.is_set)
        _going_on.add(self)
        threading.Thread(target=self._work, name="live", daemon=True).start()

    @property
    def done(self) -> bool:
        """Whether the plan is there, or an error."""
        return self._ended.is_set()

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._began if self._took is None else self._took

    @property
    def history(self) -> pd.DataFrame:
        """How the search got on so far: columns as in `planner.live.HISTORY`."""
        names = [column.name for column in HISTORY]
        return conform((dict(zip(names, row, strict=True)) for row in list(self._rows)), HISTORY, "seconds")

    def stop(self) -> None:
        """End the search; what it has found by then becomes the plan. Returns at once."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Wait so long, at most; whether it is done."""
        return self._ended.wait(seconds)

    def result(self, timeout: float | None = None) -> "Plan":
        """Wait for the plan; an error of the search is raised here. TimeoutError after so many seconds.

        Interrupting the wait (Ctrl-C, or Jupyter's own button) stops the search; the next call gives the plan.
        """
        end = None if timeout is None else time.monotonic() + timeout
        try:
            while not self.wait(0.1):
                if end is not None and time.monotonic() > end:
                    raise TimeoutError(
                        f"{self.solver} has not ended after {self.seconds:.0f} s: wait longer, or stop()"
                    )
        except KeyboardInterrupt:
            self.stop()
            raise
        if self._error is not None:
            raise self._error
        assert self._plan is not None
        return self._plan

    def panel(self) -> Any:
        """The widget with progress and a button to stop; None where ipywidgets is not installed."""
        if self._panel is None:
            from planner import panel

            self._panel = panel.of(self)
        return self._panel

    def __repr__(self) -> str:
        return f"<{self.line()}>"

    def line(self) -> str:
        """How it stands, in a line."""
        if self._error is not None:
            return f"{self.solver}: {self._error}"
        state = "done" if self.done else "stopping" if self.stopped else f"at most {self.limit:g} s"
        text = f"{self.solver}: {self.seconds:.0f} s, {state}"
        if not self._rows:
            return text
        _, spread, bound = self._rows[-1]
        return f"{text}, spread {spread:.2f}" + (f", bound {bound:.2f}" if bound == bound else "")  # NaN: not claimed

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Mapping[str, Any]:
        panel = self.panel()
        still = {"text/plain": repr(self), "text/html": display.live(self)}
        return still if panel is None else {**panel._repr_mimebundle_(), **still}

    def _heard(self, step: Progress) -> None:
        self._rows.append((self.seconds, step.spread / PPM_PER_POINT, step.bound / PPM_PER_POINT))

    def _work(self) -> None:
        try:
            plan = self._make(self._budget)
            bound = float("nan") if plan.spread.bound is None else plan.spread.bound
            self._rows.append((self.seconds, plan.spread.after, bound))
            self._plan = plan
        except BaseException as error:  # handed over to whoever waits
            self._error = error
        finally:
            self._took = self.seconds
            self._ended.set()


def start(cluster: "Cluster", solver: str, settings: Mapping[str, Any]) -> Live:
    """Begin to plan. Settings that make no sense are refused at once, everything else when the result is asked for."""
    from planner.config import chosen
    from planner.planning import make_plan, prepare

    config = chosen(settings, cluster.config)

    def make(budget: Budget) -> "Plan":
        return make_plan(prepare(cluster, config.policy, config.cluster, config.apply), solver, budget)

    return Live(solver, Budget(seconds=config.policy.time_limit, seed=config.policy.seed), make)


@atexit.register
def _end() -> None:
    """Stop what goes on: OR-Tools would abort a process that ends under it."""
    for live in list(_going_on):
        live.stop()
    for live in list(_going_on):
        while not live.wait(1.0):
            pass
