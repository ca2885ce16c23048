"""Owns the running of one CP-SAT solve so that Ctrl-C ends it at once."""

import threading

from ortools.sat.python import cp_model


def run(
    solver: cp_model.CpSolver, model: cp_model.CpModel, callback: cp_model.CpSolverSolutionCallback
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
            pass
    except KeyboardInterrupt:
        # A stop that comes before the search has begun is lost, and a search that still runs when the
        # interpreter ends would abort the process: so it is repeated until the search has ended.
        while not ended.wait(0.1):
            solver.stop_search()
        raise
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
