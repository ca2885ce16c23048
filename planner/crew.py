"""Owns who plans a sweep: processes of this machine, or the workers of a Dask cluster."""

import contextlib
import importlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from planner.errors import MissingDependency, PlannerError, Unreachable

ANSWER = 10.0
"""Seconds in which a scheduler has to answer."""


@contextlib.contextmanager
def processes(jobs: int | None = None) -> Iterator[Executor]:
    """So many processes (None: one for each core), none of which outlives this one, however it ends."""
    context = multiprocessing.get_context("spawn")
    ear, mouth = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(jobs or os.cpu_count() or 1, context, initializer=_obey, initargs=(ear,))
    try:
        yield pool
    except BaseException:
        mouth.close()  # ends them at once
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        mouth.close()
        ear.close()


def _obey(ear: Connection) -> None:
    """End this process when nobody is left at the other end of a pipe: a solver hears nothing else."""

    def listen() -> None:
        with contextlib.suppress(EOFError, OSError):
            ear.recv_bytes()
        os._exit(1)

    threading.Thread(target=listen, name="end", daemon=True).start()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Processes that are started meanwhile never hear Ctrl-C, which is for who started them; here it waits."""
    resource_tracker.ensure_running()  # started with the first process, it would let signals through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def dask(scheduler: str | None, jobs: int | None = None) -> Iterator[Executor]:
    """The workers of a Dask cluster, or of one that is started here with so many."""
    try:
        distributed: Any = importlib.import_module("distributed")
    except ModuleNotFoundError:
        raise MissingDependency("--executor dask needs distributed: pip install distributed") from None
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # it tells of its comings and goings
    with contextlib.ExitStack() as stack:
        address: Any = scheduler
        if scheduler is None:
            local = {"n_workers": jobs or os.cpu_count() or 1, "threads_per_worker": 1, "dashboard_address": None}
            with undisturbed():
                address = stack.enter_context(distributed.LocalCluster(**local, silence_logs=logging.CRITICAL))
        try:
            client = stack.enter_context(distributed.Client(address, timeout=ANSWER, set_as_default=False))
        except (OSError, ValueError) as error:
            raise Unreachable(f"no Dask scheduler answers at {scheduler}: {' '.join(str(error).split())}") from None
        if scheduler is not None and not client.scheduler_info()["workers"]:
            raise PlannerError(f"the Dask scheduler at {scheduler} has no workers: start some with `dask worker`")
        _check(client)
        yield client.get_executor(pure=False)


def _check(client: Any) -> None:
    """Whether the workers know the planner: those that do not would end at the first task, and the sweep would wait."""
    try:
        client.run(exec, "import planner.sweeping")
    except Exception as error:  # whatever an import may raise
        reason = f"{type(error).__name__}: {error}"
        raise PlannerError(f"Dask workers cannot import planner ({reason}): install this version for them") from None
