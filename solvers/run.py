"""Owns the running of solvers in threads: they release the GIL, so the waiting thread still hears Ctrl-C."""

from __future__ import annotations  # OR-Tools 9.14 has no CpSolverStatus

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from ortools.sat.python import cp_model

T = TypeVar("T")


def run(
    solver: cp_model.CpSolver,
    model: cp_model.CpModel,
    callback: cp_model.CpSolverSolutionCallback | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> cp_model.CpSolverStatus:
    """Solve in a thread: CP-SAT releases the GIL, so the waiting thread still hears signals."""
    solver.parameters.catch_sigint_signal = False
    outcome: list[cp_model.CpSolverStatus | BaseException] = []
    # Not thread.join: an interrupt in it makes Python 3.11 take a running thread for a dead one.
    ended = threading.Event()

    def work() -> None:
        try:
            outcome.append(solver.solve(model, callback))
        except BaseException as error:  # handed over to the waiting thread
            outcome.append(error)
        finally:
            ended.set()

    threading.Thread(target=work, name="cp-sat", daemon=True).start()
    try:
        while not ended.wait(0.1):
            if stop():
                solver.stop_search()
    except KeyboardInterrupt:
        # A stop that comes before the search has begun is lost, and a search that still runs when the
        # interpreter ends would abort the process: so it is repeated until the search has ended.
        while not ended.wait(0.1):
            solver.stop_search()
        raise
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def in_threads(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Results of tasks that run side by side and end by themselves soon; Ctrl-C is raised when they have."""
    outcomes: dict[int, T | BaseException] = {}
    ended = threading.Event()

    def work(index: int) -> None:
        try:
            outcomes[index] = tasks[index]()
        except BaseException as error:  # handed over to the waiting thread
            outcomes[index] = error
        if len(outcomes) == len(tasks):
            ended.set()

    for index in range(len(tasks)):
        threading.Thread(target=work, args=(index,), name="solver", daemon=True).start()
    interrupted = False
    while tasks and not ended.is_set():
        try:
            ended.wait(0.1)
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    results: list[T] = []
    for index in range(len(tasks)):
        outcome = outcomes[index]
        if isinstance(outcome, BaseException):
            raise outcome
        results.append(outcome)
    return results
