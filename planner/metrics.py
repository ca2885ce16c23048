"""Owns the way of figures to Prometheus: a file for the textfile collector, and answers over HTTP."""

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from planner import __version__, exposed
from planner.errors import JournalError, PlannerError
from planner.exposed import NOTIFICATIONS, RESULTS, Count, Standing
from planner.journal import Journal
from planner.look import Look, Outcome
from planner.looks import BLIND, GOOD
from planner.service import Metrics, address, check_metrics

READABLE: Final = 0o644
"""Mode of the file: whoever collects it is another user, and there is no secret in it."""
SILENCE: Final = 10
"""Seconds after which a connection on which nothing comes is closed."""


class Exporter(Collector):
    """What is known of the cluster that was looked at last, for Prometheus. Looks come from one thread."""

    def __init__(self, settings: Metrics, journal: Journal | None = None, every: float | None = None) -> None:
        """With a journal it knows what was before this process. `every`: seconds between two looks of a daemon.

        PlannerError for settings that make no sense, and for a file that cannot be written.
        """
        check(settings)
        self._journal, self._told = journal, dict[Count, float]()
        self._under_way = False
        self._registry = CollectorRegistry()
        self.change(settings, every)
        self._counted = _counted(self._file) if self._file else {}
        self._standing = self._left()
        self._registry.register(self)

    def change(self, settings: Metrics, every: float | None = None) -> None:
        """Go on with other settings; who listens has to begin anew. ConfigError."""
        check_metrics(settings, {})
        self.settings, self._every = settings, every
        self._file = _file(settings)

    def describe(self) -> Iterator[Metric]:
        """Nothing: before the first look there may be no cluster yet."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All figures as they are; also from another thread."""
        return exposed.families(self._standing, __version__, self._every, self._under_way)

    def begins(self) -> None:
        """A look begins, which may take as long as its run: until it is over nobody should miss the next one."""
        self._under_way = True

    def look(self, look: Look) -> None:
        """Take over what a look saw and did. JournalError when the journal cannot be read."""
        self._under_way = False
        name, before = look.cluster, self._standing
        if before is not None and before.look.cluster != name:  # the settings are others, or its name was not known yet
            self._counted[before.look.cluster] = dict(before.counts)
            before = None
        counts = exposed.added(before.counts if before else self._counted.get(name, {}), look)
        good_at = look.at if look.outcome in GOOD else self._good_at(name, before)
        told, self._told = self._told, {}
        self._standing = Standing(look, good_at, self._proposed_at(look, before), exposed.plus(counts, told))

    def notified(self, failed: bool) -> None:
        """Somebody was told of a look, or some did not hear of it."""
        one: dict[Count, float] = {(NOTIFICATIONS, RESULTS[failed]): 1.0}
        if self._standing is None:
            self._told = exposed.plus(self._told, one)
        else:
            self._standing = replace(self._standing, counts=exposed.plus(self._standing.counts, one))

    def write(self) -> None:
        """Replace the file, where one is wanted, once there was a look. PlannerError when it cannot be written."""
        if self._file is None or self._standing is None or not self._standing.own:
            return
        with _beside(self._file) as beside:
            beside.write_bytes(generate_latest(self._registry))
            beside.chmod(READABLE)
            beside.replace(self._file)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Answer over HTTP meanwhile, where that is wanted. PlannerError when the address cannot be had."""
        if self.settings.listen is None:
            yield
            return
        server = self._server(self.settings.listen)
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _server(self, listen: str) -> WSGIServer:
        host, port = address(listen)
        try:
            found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, place = found[0][0], found[0][4]

            class Server(_Server):
                address_family = family

            return make_server(str(place[0]), port, make_wsgi_app(self._registry), Server, handler_class=_Handler)
        except (OSError, UnicodeError) as error:
            what = f"metrics.listen {listen} cannot be had: {getattr(error, 'strerror', None) or error}"
            raise PlannerError(f"{what}; choose another address") from None

    def _left(self) -> Standing | None:
        """What the journal knows of its only cluster: the first look may take hours, if it carries out a plan."""
        if self._journal is None:
            return None
        with contextlib.suppress(JournalError):  # which is told of at the first look
            names = self._journal.looks.clusters()
            look = self._journal.looks.newest(names[0], *Outcome) if len(names) == 1 else None
            if look is not None:
                good_at, waits = self._good_at(look.cluster, None), self._proposed_at(look, None)
                return Standing(look, good_at, waits, self._counted.get(look.cluster, {}), own=False)
        return None

    def _good_at(self, cluster: str, before: Standing | None) -> float | None:
        if before is not None:
            return before.good_at
        return None if self._journal is None else self._journal.looks.newest_at(cluster, *GOOD)

    def _proposed_at(self, look: Look, before: Standing | None) -> float | None:
        """When the plan was made that waits now; who saw nothing leaves it as it was."""
        if self._journal is not None:
            waits = self._journal.proposed(look.cluster)
            return None if waits is None else waits.began_at
        if look.outcome in BLIND:
            return None if before is None else before.proposed_at
        if look.outcome is not Outcome.PROPOSED:
            return None
        same = before is not None and before.proposed_at is not None and before.look.run == look.run
        return before.proposed_at if before and same else look.at


class _Server(ThreadingMixIn, WSGIServer):
    """One that answers several at once, and does not wait for them at its end."""

    daemon_threads = True


class _Handler(WSGIRequestHandler):
    """One that writes no log, and does not wait for ever."""

    timeout = SILENCE

    def log_message(self, *_: object) -> None:
        """Nothing."""


def check(settings: Metrics) -> None:
    """ConfigError for settings that make no sense; PlannerError where the file cannot be written."""
    check_metrics(settings, {})
    if (path := _file(settings)) is not None:
        with _beside(path) as beside:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            beside.touch()


def _file(settings: Metrics) -> Path | None:
    return Path(settings.textfile).expanduser() if settings.textfile else None


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """The name of a file beside another which no collector reads, and which is gone afterwards. PlannerError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            yield beside
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        what = f"metrics.textfile {path} cannot be written: {error.strerror}"
        raise PlannerError(f"{what}; see who owns its directory, or leave it out") from None


def _counted(path: Path) -> dict[str, dict[Count, float]]:
    """Cluster to what the file that was written last has counted: so it goes on where each look is a process.

    Where there is none, or it is damaged, counting begins anew, which Prometheus takes for a restart.
    """
    names = {f"{exposed.PREFIX}{name}_total": (name, label) for name, (label, _, _) in exposed.COUNTERS.items()}
    result: dict[str, dict[Count, float]] = {}
    try:
        for family in text_string_to_metric_families(path.read_text(encoding="utf-8")):
            for sample in family.samples:
                if sample.name in names:
                    name, label = names[sample.name]
                    where = (name, sample.labels[label])
                    result.setdefault(sample.labels["cluster"], {})[where] = float(sample.value)
    except (OSError, ValueError, KeyError):
        return {}
    return result
