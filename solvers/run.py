"""Owns the running of one CP-SAT solve so that Ctrl-C ends it at once."""

import threading

from ortools.sat.python import cp_model


def run(
    solver: cp_model.CpSolver, model: cp_model.CpModel, callback: cp_model.CpSolverSolutionCallback
) -> cp_model.CpSolverStatus:
    """Solve in a thread: CP-SAT releases the GIL, so the waiting thread still hears signals."""
    solver.parameters.catch_sigint_signal = False
    outcome: list[cp_model.CpSolverStatus | BaseException] = []

    def work() -> None:
        try:
            outcome.append(solver.solve(model, callback))
        except BaseException as error:  # handed over to the waiting thread
            outcome.append(error)

    thread = threading.Thread(target=work, name="cp-sat", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.1)
    except KeyboardInterrupt:
        solver.stop_search()
        thread.join(2)
        raise
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
