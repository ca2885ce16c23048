"""What crash tests share: a cluster that keeps account of what it is asked, and processes that can be killed."""

import asyncio
import contextlib
import functools
import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from aiohttp import web

from planner.sight import QUEUED
from tests.commandline import Outcome
from tests.fakecluster import TOKEN_ID, FakeCluster, Served

REPO = Path(__file__).parent.parent
LATE, SLOW = 0.9, 0.25
"""Seconds after which a request takes effect, at most, and usually; the next process asks after less than LATE."""
MIGRATE = ("qmigrate", "vzmigrate", QUEUED)
PROGRAM = """
import importlib, json, os, resource, sys
import planner.cli_site, planner.patience
from planner.cli import main
for name in ("conduct", "formulate", "ledger", "planning", "pve", "report_run", "rollback", "runs", "session"):
    importlib.import_module("planner." + name)
planner.cli_site.FIGURES = 0.0
planner.patience.POLL, planner.patience.SETTLING = 0.05, {settling}
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        os.environ.update(order["environ"])
        os.chdir(order["environ"]["HOME"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in ((1, order["out"]), (2, order["err"])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        if order["largest"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest"], resource.RLIM_INFINITY))
        main(order["words"])
    print(child, flush=True)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # its number is kept until everybody knows that it is over
    print("over", flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""The command line again and again, each time in a process of its own that has everything loaded already."""


class Moment(StrEnum):
    """When a process is killed, as its cluster sees it."""

    LOST = "a request to migrate arrives, and comes to nothing"
    LATE = "a request to migrate arrives, and is carried out a little later"
    UNANSWERED = "a request to migrate is carried out, and not answered"
    ANSWERED = "a request to migrate has just been answered"
    STATUS = "the status of a task is asked for"
    TOLD = "the status of a task has just been told"
    TASKS = "the tasks of the cluster are asked for"
    NODE_TASKS = "the tasks of a node are asked for"
    FIGURES = "the figures of the cluster are asked for"
    CONDITIONS = "the preconditions of a migration are asked for"


class CrashCluster(FakeCluster):
    """Remembers what is under way, from the request on, and what was asked against the rules of the trade."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.time_scale, self.ha_delay = 1.0, 0.2
        self.draw = random.Random(seed)
        self.paces: tuple[float, ...] = (0.2, 0.3, 0.4, 1.0)
        """Seconds that migrations take."""
        self.limits: dict[str, int] = {}
        """The schedule of the plan that is carried out."""
        self.kill: Callable[[], None] = lambda: None
        """Whoever dies when a trap springs."""
        self.active: dict[int, tuple[str, str]] = {}
        """Guests under way: source and target."""
        self.posts: Counter[tuple[int, str, str]] = Counter()
        """How often a guest was asked to migrate from and to a node, and that was accepted."""
        self.faults: list[str] = []
        self.busiest = 0
        self.heard = threading.Event()
        self._trap: tuple[Moment, int] | None = None
        self._of: int | None = None

    def trap(self, moment: Moment, time: int = 1, vmid: int | None = None) -> None:
        """Kill who asks when a moment comes for the so-manieth time, or comes for a guest."""
        self._trap, self._of = (moment, time), vmid

    @property
    def sprung(self) -> bool:
        return self._trap is None

    def _springs(self, moment: Moment, vmid: int | None = None) -> bool:
        if self._trap is None or self._trap[0] is not moment or self._of not in (None, vmid):
            return False
        self._trap = (moment, self._trap[1] - 1) if self._trap[1] > 1 else None
        if self._trap is None:
            self.kill()
        return self._trap is None

    # ------------------------------------------------------------ what is asked

    async def _answer(self, request: web.Request, handler: Any, generic: Any, node: Any) -> Any:
        self.heard.set()
        path = request.path.removeprefix("/api2/json")
        if request.method == "POST" and path.endswith("/migrate"):
            return await self._asked(request, path, functools.partial(super()._answer, request, handler, generic, node))
        for moment, begin, end in (
            (Moment.STATUS, "/nodes/", "/status"), (Moment.TASKS, "/cluster/tasks", ""),
            (Moment.NODE_TASKS, "/nodes/", "/tasks"), (Moment.FIGURES, "/cluster/resources", ""),
            (Moment.CONDITIONS, "/nodes/", "/migrate"),
        ):  # fmt: skip
            if path.startswith(begin) and path.endswith(end):
                self._springs(moment)
        response = await super()._answer(request, handler, generic, node)
        if path.endswith("/status") and path.startswith("/nodes/") and self._trap and self._trap[0] is Moment.TOLD:
            await self._sent(request, response)
            self._springs(Moment.TOLD)
        return response

    async def _asked(self, request: web.Request, path: str, carry_out: Any) -> Any:
        _, _, source, _, vmid, _ = path.split("/")
        guest, form = self.guest(int(vmid)), await request.post()
        target = str(form["target"])
        if guest.vmid in self.active:
            self.faults.append(f"guest {vmid} was asked to go to {target} while it is on its way")
        if guest.node == target:
            self.faults.append(f"guest {vmid} was asked to go to {target}, where it is")
        self._begin(guest.vmid, source, target)
        if self._springs(Moment.LOST, guest.vmid):
            del self.active[guest.vmid]
            return web.Response(status=502)
        late = (
            LATE if self._springs(Moment.LATE, guest.vmid) else self.draw.uniform(0, SLOW) * (self.draw.random() < 0.3)
        )
        await asyncio.sleep(late)
        response = await carry_out()
        if response.status != 200:
            self.active.pop(guest.vmid, None)
            self.faults.append(f"guest {vmid}: {response.status} {response.reason}")
            return response
        self.posts[guest.vmid, source, target] += 1
        if self._trap and self._trap[0] is Moment.ANSWERED:
            await self._sent(request, response)
            self._springs(Moment.ANSWERED, guest.vmid)
        self._springs(Moment.UNANSWERED, guest.vmid)
        return response

    @staticmethod
    async def _sent(request: web.Request, response: Any) -> None:
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            await response.write_eof()

    # ------------------------------------------------------------ what is under way

    def _begin(self, vmid: int, source: str, target: str) -> None:
        self.active[vmid] = (source, target)
        self.busiest = max(self.busiest, len(self.active))
        counts = {"parallel": len(self.active),
                  "per_source": max(Counter(ends[0] for ends in self.active.values()).values()),
                  "per_target": max(Counter(ends[1] for ends in self.active.values()).values())}  # fmt: skip
        for name, count in counts.items():
            if count > self.limits[name]:
                self.faults.append(f"{name}: {count} at once: {dict(self.active)}")

    async def _migration(self, guest: Any, kind: str, values: dict[str, Any], user: str) -> str:
        if guest.vmid not in self.active:  # the HA manager takes it along
            self._begin(guest.vmid, guest.node, values["target"])
        self.migration_secs = self.draw.choice(self.paces)
        return await super()._migration(guest, kind, values, user)

    async def task(self, node: str, ttype: str, tid: Any, user: str, body: Any, **more: Any) -> str:
        async def followed() -> Any:
            try:
                return await body()
            finally:
                if ttype in MIGRATE and ttype != QUEUED:
                    self.active.pop(int(tid), None)

        return str(await super().task(node, ttype, tid, user, followed, **more))

    def migrations(self) -> list[dict[str, Any]]:
        """Tasks that migrate or ask for it, the oldest first."""
        return [task for task in self.tasklog if task["type"] in MIGRATE]

    def asked_for(self) -> list[dict[str, Any]]:
        """Those of them that were asked for, not begun by the HA manager."""
        return [task for task in self.migrations() if task["user"] == TOKEN_ID]


@dataclass
class Prefork:
    """Real processes of the command line, one at a time, that begin at once."""

    directory: Path
    settling: float = 2.0
    """Seconds for planner.patience.SETTLING: well above LATE."""
    pid: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> "Prefork":
        environ = os.environ | {"PYTHONPATH": str(REPO)}
        self._server = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(settling=self.settling)], env=environ, cwd=self.directory,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self.strike()
        self._server.kill()
        self._server.wait(20)
        for pipe in (self._server.stdin, self._server.stdout):
            if pipe:
                pipe.close()

    def begin(self, *words: object, largest: int = 0) -> None:
        """Begin a command; `largest`: bytes that a file may have, as on a full disk."""
        files = {name: str(self.directory / f"{name}.txt") for name in ("out", "err")}
        home = {name: os.environ[name] for name in ("HOME", "STATE_DIRECTORY")}  # of this test
        self._tell(json.dumps({"words": list(map(str, words)), "largest": largest, "environ": home, **files}))
        self.pid = int(self._hear())

    def lasts(self, seconds: float) -> bool:
        """Whether it is still there after so many seconds."""
        return not select.select([self._server.stdout], [], [], max(0.0, seconds))[0]

    def strike(self) -> None:
        """SIGKILL."""
        with self._lock:
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)

    def ended(self) -> Outcome:
        """Wait until it has ended."""
        assert not self.lasts(60), "it does not end"
        assert self._hear() == "over"
        with self._lock:
            self.pid = 0
        self._tell("")
        code = int(self._hear())
        return Outcome(code, *((self.directory / f"{name}.txt").read_text() for name in ("out", "err")))

    def _tell(self, line: str) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(f"{line}\n".encode())

    def _hear(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().decode().strip()


class Relay:
    """Another API host: passes on what it hears, in the event loop of the cluster that it speaks for, until it dies."""

    def __init__(self, served: Served) -> None:
        self._served, self._pipes = served, list[asyncio.StreamWriter]()
        self._server = served.run(asyncio.start_server(self._meet, "127.0.0.1", 0))

    @property
    def at(self) -> str:
        """host:port, as in api.hosts."""
        return "127.0.0.1:{1}".format(*self._server.sockets[0].getsockname())

    def die(self) -> None:
        """In mid-sentence."""
        self._served.run(self._die())

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection(self._served.pve.host, self._served.pve.port)
        self._pipes += [writer, other_writer]
        await asyncio.gather(self._pump(reader, other_writer), self._pump(other_reader, writer))

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while some := await reader.read(1 << 16):
                writer.write(some)
                await writer.drain()
        writer.close()

    async def _die(self) -> None:
        self.strike()

    def strike(self) -> None:
        """The same, in the event loop."""
        self._server.close()
        for pipe in self._pipes:
            pipe.transport.abort()
