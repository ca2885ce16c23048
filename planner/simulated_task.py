"""Owns one migration of the cluster in memory: how long it takes, and what its log says meanwhile."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

NETWORK = 1100
"""MiB/s of memory: a 10 Gbit/s network."""
DISK = 400
"""MiB/s of local disks."""
BEFORE, AFTER = 2.0, 1.0
"""Seconds that every migration takes besides copying."""
RESTART = 9.0
"""Seconds for which a running container is down, besides copying."""
DONE = "TASK OK"


@dataclass(slots=True)
class SimulatedTask:
    """A migration that is under way, or over. Times are in unix seconds."""

    upid: str
    source: str
    target: str
    began: float
    running: bool
    """Whether the guest runs: a container is stopped meanwhile."""
    memory_mib: float
    """MiB that the guest uses..."""
    size_mib: float
    """...and that it is configured with."""
    disk_mib: float = 0.0
    """MiB of its local disk."""
    failure: str = ""
    """Why it fails, which it does as soon as it is begun."""
    arrived: bool = False
    """Whether the guest has been taken to where it belongs now that this is over."""

    @property
    def kind(self) -> str:
        return self.upid.split(":")[5]

    @property
    def vmid(self) -> int:
        return int(self.upid.split(":")[6])

    @property
    def ends(self) -> float:
        """When it is over."""
        return self.began + (1.0 if self.failure else self._copied + self._memory_s + self._after)

    def is_over(self, now: float) -> bool:
        return now >= self.ends

    @property
    def _live(self) -> bool:
        return self.running and self.kind == "qmigrate"

    @property
    def _sent_mib(self) -> float:
        """A machine that runs writes memory meanwhile, which is sent again; some do more of that, some less."""
        return self.memory_mib * (1.1 + self.vmid * 7 % 20 / 100) if self._live else 0.0

    @property
    def _copied(self) -> float:
        """Seconds after the beginning at which the disk is ready."""
        return BEFORE + self.disk_mib / DISK

    @property
    def _memory_s(self) -> float:
        return self._sent_mib / NETWORK

    @property
    def _after(self) -> float:
        return RESTART - BEFORE if self.running and not self._live else AFTER

    def row(self, now: float) -> dict[str, Any]:
        """As tasks are listed: one that runs has no status."""
        words = self.upid.split(":")
        row = {"upid": self.upid, "node": self.source, "type": self.kind, "id": str(self.vmid), "user": words[7]}
        row |= {"starttime": int(self.began), "pid": int(words[2], 16), "pstart": int(words[3], 16)}  # type: ignore[dict-item]
        return row | ({"status": self._exitstatus, "endtime": int(self.ends)} if self.is_over(now) else {})

    def status(self, now: float) -> dict[str, Any]:
        """The answer about this task alone."""
        row = {name: value for name, value in self.row(now).items() if name != "endtime"}
        over = {"status": "stopped", "exitstatus": self._exitstatus}
        return row | (over if self.is_over(now) else {"status": "running"})

    def log(self, now: float) -> list[str]:
        """What has been said so far."""
        return [line for after, line in self._said() if self.began + after <= now]

    @property
    def _exitstatus(self) -> str:
        return "migration aborted" if self.failure else "OK"

    def _said(self) -> Iterator[tuple[float, str]]:
        """Every line with the seconds after the beginning at which it comes."""
        what = "VM" if self.kind == "qmigrate" else "CT"
        if what == "CT" and self.running:
            yield 0, self._at(0, f"shutdown CT {self.vmid}")
        yield 0, self._at(0, f"starting migration of {what} {self.vmid} to node '{self.target}'")
        if self.failure:
            yield 1, self._at(1, f"ERROR: migration aborted (duration 00:00:01): {self.failure}")
            yield 1, f"TASK ERROR: {self._exitstatus}"
            return
        if self.disk_mib:
            yield from self._disk_said()
        if self._live:
            yield from self._memory_said()
        end = self.ends - self.began
        if what == "CT" and self.running:
            yield end - AFTER, self._at(end - AFTER, "start container on target node")
        minutes, seconds = divmod(int(end), 60)
        took = f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"
        yield end, self._at(end, f"migration finished successfully (duration {took})")
        yield end, DONE

    def _disk_said(self) -> Iterator[tuple[float, str]]:
        yield BEFORE, self._at(BEFORE, "copying local disk images")
        took = self.disk_mib / DISK
        for second in [*range(1, int(took) + 1), took]:
            done = self.disk_mib * second / took
            if self._live:
                part = f"{size(done)} of {size(self.disk_mib)} ({done / self.disk_mib:.2%})"
                ready = ", ready" if done == self.disk_mib else ""
                yield BEFORE + second, f"mirror-scsi0: transferred {part} in {_duration(round(second))}{ready}"
            else:
                count, gib = round(done * 2**20), done / 1024
                yield BEFORE + second, f"{count} bytes ({gib * 1.074:.1f} GB, {gib:.1f} GiB) copied, {second:g} s"

    def _memory_said(self) -> Iterator[tuple[float, str]]:
        begin, took, total = self._copied, self._memory_s, size(self.size_mib)
        to = f"unix:/run/qemu-server/{self.vmid}.migrate"
        yield begin, self._at(begin, f"starting online/live migration on {to}")
        yield begin, self._at(begin, f"start migrate command to {to}")
        for second in range(1, int(took) + 1):
            done, speed = size(self._sent_mib * second / took), size(NETWORK * (0.95 + (second * 37 % 11) / 100))
            at = begin + second
            yield at, self._at(at, f"migration active, transferred {done} of {total} VM-state, {speed}/s")
        at, speed = begin + took, size(self.size_mib / max(took, 1.0))
        yield at, self._at(at, f"average migration speed: {speed}/s - downtime {30 + self.vmid % 60} ms")
        yield at, self._at(at, "migration status: completed")

    def _at(self, after: float, text: str) -> str:
        return f"{datetime.fromtimestamp(self.began + after, UTC):%Y-%m-%d %H:%M:%S} {text}"


def size(mib: float) -> str:
    """As Proxmox VE writes it: 1.5 GiB."""
    amount = mib * 2**20
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def _duration(seconds: int) -> str:
    """1h 2m 3s."""
    parts = ((seconds // 3600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return " ".join(f"{count}{unit}" for count, unit in parts if count) or "0s"
