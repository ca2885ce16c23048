"""A Proxmox VE cluster for tests: fakepve with real capacities, loads and migrations, served over TLS on loopback."""

import asyncio
import contextlib
import hashlib
import json
import threading
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web
from fakepve import FakePve, PveError, TaskError
from fakepve.certs import make_cert
from fakepve.server import USER

from planner.connection import Connection

T = TypeVar("T")
GIB = 1024**3
TOKEN_ID, TOKEN_SECRET = "root@pam!t1", "0b5c3a0e-1111-4222-8333-c0ffee000001"
DIGEST = "0123456789abcdef0123456789abcdef01234567"
USAGE = ("cpu", "mem", "memhost", "disk", "diskread", "diskwrite", "netin", "netout", "maxdisk", "maxcpu", "maxmem")
# Zero in the row of a stopped guest.
WHILE_RUNNING = ("cpu", "mem", "memhost", "diskread", "diskwrite", "netin", "netout", "uptime")
UNKNOWN_KEEPS = ("id", "type", "node", "vmid", "status", "lock", "pool", "hastate", "tags")


class FakeCluster(FakePve):
    """fakepve plus what a planner needs: loads follow the guests, and migrations really happen.

    A node is a dict in `nodes` (online, maxcpu, maxmem, base_cpu in threads, base_mem in bytes, hastate); what a
    guest uses is in its `stats`, as /cluster/resources shows it while it runs. Set on a guest: `local_disk`, `pci`
    (the POST passes, the task fails), `missing_storages` {node: [storage]}, `fails` (the task's exit status).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.nodes = {}
        self.migration_secs = 5.0  # PVE seconds; time_scale turns them into real ones, 0 = done before the answer
        self.ha_rules: list[dict[str, Any]] = []
        self.options: dict[str, Any] = {"crs": {"ha": "static"}, "migration": {"type": "secure"}}
        self.storage_rows: list[dict[str, Any]] | None = None  # None: what fakepve lists
        self.recorded: dict[str, Any] = {}  # answers of a snapshot for paths that neither class models
        self.apitokens[TOKEN_ID] = TOKEN_SECRET

    # ------------------------------------------------------------- what there is

    def add_node(self, name: str, online: bool = True, **facts: Any) -> None:
        """A node of 16 threads and 64 GiB unless said otherwise."""
        base = {"maxcpu": 16, "maxmem": 64 * GIB, "base_cpu": 0.1, "base_mem": 2 * GIB, "hastate": "online"}
        self.nodes[name] = {"online": online, **base, **facts}

    def add_guest(self, vmid: int, node: str, kind: str = "qemu", *, gib: float = 4, cpu: float = 0.25,
                  maxcpu: int = 2, status: str = "running", **facts: Any) -> Any:  # fmt: skip
        """A guest that uses `gib` and `cpu` of its `maxcpu`; facts: name, tags, pool, lock, ha_state, stats, ..."""
        name = facts.pop("name", f"guest{vmid}")
        config = {"tags": facts.pop("tags")} if facts.get("tags") else {}
        if kind == "lxc":
            config["rootfs"] = f"{'local-lvm' if facts.get('local_disk') else 'shared'}:vm-{vmid}-disk-0,size=8G"
        places = {"name": name, "node": node, "status": status, "config": config, "pool": facts.pop("pool", None)}
        places |= {"lock": facts.pop("lock", None), "template": facts.pop("template", False)}
        used = int(gib * GIB)
        stats = {**dict.fromkeys(USAGE, 0), "cpu": cpu, "mem": used, "memhost": used, "maxcpu": maxcpu, "maxmem": used}
        if node not in self.nodes:
            self.add_node(node)
        guest = self.add_vm(vmid, **places) if kind == "qemu" else self.add_ct(vmid, **places)
        guest.stats = stats | facts.pop("stats", {})
        for key, value in {"local_disk": False, "pci": False, "missing_storages": {}, "fails": "", **facts}.items():
            setattr(guest, key, value)
        return guest

    def load(self, snapshot: Path | dict[str, Any]) -> "FakeCluster":
        """Become the cluster of a snapshot: nodes and guests from /cluster/resources, the rest as recorded."""
        document = json.loads(snapshot.read_text()) if isinstance(snapshot, Path) else snapshot
        answers = document["answers"]
        rows = answers["/cluster/resources"]
        for row in (row for row in rows if row["type"] == "node"):
            facts = {key: row[key] for key in ("maxcpu", "maxmem", "hastate") if key in row}
            self.add_node(row["node"], row.get("status") == "online", **facts)
        for row in (row for row in rows if row["type"] in ("qemu", "lxc")):
            at = f"/nodes/{row['node']}/{row['type']}/{row['vmid']}"
            self._load_guest(row, answers.get(f"{at}/migrate") or {}, answers.get(f"{at}/config") or {})
        for row in (row for row in rows if row["type"] == "node" and "mem" in row):
            cpu, mem = self._guest_load(row["node"])
            self.nodes[row["node"]].update(base_cpu=row["cpu"] * row["maxcpu"] - cpu, base_mem=row["mem"] - mem)
        self.storage_rows = [row for row in rows if row["type"] not in ("node", "qemu", "lxc", "pool")]
        self.ha_rules = list(answers.get("/cluster/ha/rules") or [])
        self.options = dict(answers.get("/cluster/options") or self.options)
        self.recorded = dict(answers)
        return self

    def _load_guest(self, row: dict[str, Any], precondition: dict[str, Any], config: dict[str, Any]) -> None:
        refused = precondition.get("not_allowed_nodes") or {}
        missing = {node: why["unavailable_storages"] for node, why in refused.items() if "unavailable_storages" in why}
        facts = {key: row[key] for key in ("name", "tags", "pool", "lock", "status") if key in row}
        guest = self.add_guest(
            row["vmid"], row["node"], row["type"], ha_state=row.get("hastate"), template=bool(row.get("template")),
            stats={key: row[key] for key in USAGE if key in row}, missing_storages=missing,
            local_disk=bool(precondition.get("local_disks")), pci=bool(precondition.get("local_resources")), **facts,
        )  # fmt: skip
        guest.config.update({key: value for key, value in config.items() if key not in ("digest", "lock", "error")})

    @property
    def guests(self) -> list[Any]:
        return [*self.vms, *self.cts]

    def where(self) -> dict[int, str]:
        """The node of every guest."""
        return {guest.vmid: guest.node for guest in self.guests}

    # -------------------------------------------------------------------- rows

    def _guest_load(self, node: str) -> tuple[float, int]:
        """Threads and bytes that the running guests of a node use."""
        running = [guest.stats for guest in self.guests if guest.node == node and guest.status == "running"]
        return sum(s["cpu"] * s["maxcpu"] for s in running), sum(int(s["memhost"] or s["mem"]) for s in running)

    def _node_row(self, name: str, user: str) -> dict[str, Any]:
        node = self.nodes[name]
        row = {"id": f"node/{name}", "type": "node", "node": name, "hastate": node["hastate"], "status": "offline"}
        if not node["online"]:
            return row
        row |= {"status": "online", "level": ""}
        if self.allowed(user, f"/nodes/{name}", "Sys.Audit"):
            cpu, mem = self._guest_load(name)
            row |= {"cpu": (node["base_cpu"] + cpu) / node["maxcpu"], "maxcpu": node["maxcpu"], "uptime": 86400}
            row |= {"mem": int(node["base_mem"] + mem), "maxmem": node["maxmem"], "disk": 10**10, "maxdisk": 10**11}
        return row

    def _guest_row(self, guest: Any, user: str) -> dict[str, Any]:
        row = {"id": guest.guest, "type": guest.guest.split("/")[0], "node": guest.node, "vmid": guest.vmid}
        row |= {"name": guest.name, "status": guest.status, "template": int(bool(guest.template)), "uptime": 3600}
        row |= {key: guest.stats[key] for key in USAGE}
        pool = guest.pool if self.allowed(user, f"/pool/{guest.pool}", "Pool.Audit") else None
        optional = {"tags": guest.config.get("tags"), "lock": guest.lock, "hastate": guest.ha_state, "pool": pool}
        row |= {key: value for key, value in optional.items() if value}
        if not self.nodes[guest.node]["online"]:
            return {key: value for key, value in (row | {"status": "unknown"}).items() if key in UNKNOWN_KEEPS}
        return row | (dict.fromkeys(WHILE_RUNNING, 0) if guest.status == "stopped" else {})

    async def _resources(self, request: web.Request) -> web.Response:
        kind, user = request.query.get("type"), request[USER]
        stock = json.loads((await super()._resources(request)).text or "")["data"]
        others = stock if self.storage_rows is None else self.storage_rows
        rows = [row for row in others if row["type"] not in ("node", "qemu", "lxc") and kind in (None, row["type"])]
        if kind in (None, "node"):
            rows += [self._node_row(name, user) for name in self.nodes]
        if kind in (None, "vm"):
            seen = [guest for guest in self.guests if self.allowed(user, f"/vms/{guest.vmid}", "VM.Audit")]
            rows += [self._guest_row(guest, user) for guest in seen]
        self._random.shuffle(rows)  # as the genuine one: never rely on the order
        return web.json_response({"data": rows})

    async def _nodes(self, request: web.Request) -> web.Response:
        rows = [self._node_row(name, request[USER]) for name in self.nodes]
        return web.json_response({"data": [{k: v for k, v in row.items() if k != "hastate"} for row in rows]})

    async def _generic(self, request: web.Request) -> Any:
        path = request.path.removeprefix("/api2/json")
        if request.method == "GET" and path in self.recorded:
            return web.json_response({"data": self.recorded[path]})
        return await super()._generic(request)

    # --------------------------------------------------------------- migrating

    def _routes_planner(self) -> list[tuple[str, str, Any]]:
        migrate = "/nodes/{node}/qemu/{vmid}/migrate"
        return [
            ("GET", migrate, self._qemu_preconditions), ("POST", migrate, self._qemu_migrate),
            ("GET", "/cluster/ha/rules", self._get_ha_rules), ("GET", "/cluster/ha/resources", self._get_ha_resources),
            ("GET", "/cluster/ha/status/current", self._get_ha_status), ("GET", "/cluster/options", self._get_options),
            ("GET", "/cluster/tasks", self._get_tasks),
        ]  # fmt: skip

    async def _qemu_preconditions(self, values: dict[str, Any], user: str) -> dict[str, Any]:
        vm = self.find(values["node"], values["vmid"])
        self._check_lock(vm)
        refused: dict[str, dict[str, Any]] = {node: {} for node in self.nodes if node != vm.node}
        for node, storages in vm.missing_storages.items():
            refused[node]["unavailable_storages"] = storages
        for node, why in refused.items():
            if blockers := self._blockers(vm, node):
                why["blocking-ha-resources"] = [{"sid": sid, "cause": "resource-affinity"} for sid in blockers]
        disk = {"cdrom": 0, "drivename": "scsi0", "is_attached": 1, "shared": 0, "size": vm.stats["maxdisk"],
                "volid": f"local-lvm:vm-{vm.vmid}-disk-0"}  # fmt: skip
        return {"running": int(vm.status == "running"), "allowed_nodes": [n for n, why in refused.items() if not why],
                "not_allowed_nodes": refused, "local_disks": [disk] if vm.local_disk else [],
                "local_resources": ["hostpci0"] if vm.pci else [], "mapped-resources": [], "mapped-resource-info": {},
                "has-dbus-vmstate": 1, "dependent-ha-resources": []}  # fmt: skip

    async def _qemu_migrate(self, values: dict[str, Any], user: str) -> str:
        vm = self._migratable(values, self.find)
        if vm.status == "running" and not values.get("online"):
            raise PveError(500, "can't migrate running VM without --online")
        for storage in vm.missing_storages.get(values["target"], []):
            raise PveError(500, f"storage '{storage}' is not available on node '{values['target']}'")
        return await self._start(vm, "qmigrate", values, user)

    async def _lxc_migrate(self, user: str, values: dict[str, Any]) -> str:
        ct = self._migratable(values, self._find_ct)
        if ct.status == "running" and not values.get("online") and not values.get("restart"):
            raise PveError(500, "can't migrate running container without --online or --restart")
        return await self._start(ct, "vzmigrate", values, user)

    def _migratable(self, values: dict[str, Any], find: Any) -> Any:
        """The guest, or PVE's refusal, checked in PVE's order."""
        if values["target"] == values["node"]:
            raise PveError(400, "Parameter verification failed.", {"target": "target is local node."})
        self.need_quorum()
        if values["target"] not in self.nodes:
            raise PveError(500, f"no such cluster node '{values['target']}'")
        guest = find(values["node"], values["vmid"])
        if guest.lock:
            raise PveError(500, f"{'VM' if guest in self.vms else 'CT'} is locked ({guest.lock})")
        return guest

    async def _start(self, guest: Any, kind: str, values: dict[str, Any], user: str) -> str:
        if not guest.ha_state:
            return await self._migration(guest, kind, values, user)
        label = "VM" if kind == "qmigrate" else "CT"

        async def queue() -> None:
            # The HA manager acts after the task is over, and says nothing when a rule forbids it.
            self._acting = asyncio.ensure_future(self._ha_acts(guest, kind, values))

        log = [f"Requesting HA migration for {label} {guest.vmid} to node {values['target']}"]
        return await self.task(guest.node, "hamigrate", guest.vmid, user, queue, log=log)

    async def _ha_acts(self, guest: Any, kind: str, values: dict[str, Any]) -> None:
        await self.pause(self.ha_delay)
        if self._blockers(guest, values["target"]) or self._forbidden(guest, values["target"]):
            return
        mates = self._affine(guest, "positive")
        together = [guest, *(mate for mate in self.guests if _sid(mate) in mates and mate.node == guest.node)]
        for one in together:
            sort = "qmigrate" if one in self.vms else "vzmigrate"
            await self._migration(one, sort, {"target": values["target"], "online": 1, "restart": 1}, "root@pam")

    async def _migration(self, guest: Any, kind: str, values: dict[str, Any], user: str) -> str:
        async def move() -> str:
            if why := self._obstacle(guest, kind, values):
                self.last_task(guest.vmid)["log"].append(f"ERROR: migration aborted (duration 00:00:01): {why}")
                raise TaskError("migration aborted")
            running, guest.lock = guest.status, "migrate"
            try:
                if kind == "vzmigrate":
                    guest.status = "stopped"  # a container is down while it migrates
                await self._copy(guest, kind, running)
                if not guest.fails or guest.fails.startswith("WARNINGS"):
                    guest.node = values["target"]
                if guest.fails:
                    raise TaskError(guest.fails)
            finally:
                guest.status, guest.lock = running, None
            seconds = round(self.migration_secs)
            return f"migration finished successfully (duration 00:{seconds // 60:02d}:{seconds % 60:02d})"

        log = [
            f"starting migration of {'VM' if kind == 'qmigrate' else 'CT'} {guest.vmid} to node '{values['target']}'"
        ]
        return await self.task(guest.node, kind, guest.vmid, user, move, log=log)

    async def _copy(self, guest: Any, kind: str, status: str) -> None:
        """Take the time of a migration; the log counts on: first the local disk, if there is one, then the memory."""
        task = self.last_task(guest.vmid)
        log, steps = task["log"], max(2, min(20, round(self.migration_secs)))
        live, disks = kind == "qmigrate" and status == "running", steps // 2 if guest.local_disk else 0
        if live:
            log += [f"{self._stamp(task, 0)} start migrate command"] if not disks else []
        elif status == "running":
            log.append(f"{self._stamp(task, 0)} shutdown CT {guest.vmid}")
        for step in range(1, steps + 1):
            await self.pause(self.migration_secs / steps)
            at = self._stamp(task, step / steps)
            if live and step <= disks:
                part, took = f"{32 * step / disks:.1f} GiB of 32.0 GiB", round(step / steps * self.migration_secs)
                ready = ", ready" if step == disks else ""
                log.append(f"mirror-scsi0: transferred {part} ({100 * step / disks:.2f}%) in {took}s{ready}")
                log += [f"{at} start migrate command"] if ready else []
            elif live:
                total, speed = guest.stats["maxmem"], guest.stats["maxmem"] / max(1.0, self.migration_secs)
                done = total * (step - disks) / (steps - disks)
                log.append(
                    f"{at} migration active, transferred {_mib(done)} of {_mib(total)} VM-state, {_mib(speed)}/s"
                )
        if live:
            log.append(f"{at} average migration speed: {_mib(speed)}/s - downtime 42 ms")
        elif status == "running":
            log.append(f"{at} start container on target node")

    def _stamp(self, task: dict[str, Any], part: float) -> str:
        """The time in PVE seconds when so much of a migration is over, as logs begin with it."""
        return f"{datetime.fromtimestamp(task['starttime'] + part * self.migration_secs, UTC):%Y-%m-%d %H:%M:%S}"

    def last_task(self, vmid: int) -> dict[str, Any]:
        """The newest task of a guest."""
        return [task for task in self.tasklog if task["id"] == str(vmid)][-1]

    def _obstacle(self, guest: Any, kind: str, values: dict[str, Any]) -> str:
        """What PVE finds only after it has accepted the request."""
        if not self.nodes[values["target"]]["online"]:
            return f"can't connect to node '{values['target']}': No route to host"
        if guest.pci:
            return "can't migrate VM which uses local devices: hostpci0"
        if guest.local_disk and not values.get("with-local-disks"):
            return "Problem found while scanning volumes - can't migrate VM - check log"
        for mount in (guest.config[name] for name in guest.config if name.startswith("mp") and kind == "vzmigrate"):
            if mount.startswith("/") and ",shared=1" not in mount:
                return f"cannot migrate local bind mount point '{mount.split(',')[0]}'"
        if kind == "vzmigrate" and guest.status == "running" and not values.get("restart"):
            return "lxc live migration is currently not implemented"
        return ""

    # ---------------------------------------------------------------------- HA

    def _rules(self, kind: str, guest: Any) -> list[dict[str, Any]]:
        active = [rule for rule in self.ha_rules if rule["type"] == kind and not rule.get("disable")]
        return [rule for rule in active if _sid(guest) in rule["resources"].replace(" ", "").split(",")]

    def _affine(self, guest: Any, affinity: str) -> set[str]:
        rules = [rule for rule in self._rules("resource-affinity", guest) if rule["affinity"] == affinity]
        return {sid for rule in rules for sid in rule["resources"].split(",")} - {_sid(guest)}

    def _blockers(self, guest: Any, node: str) -> list[str]:
        apart = self._affine(guest, "negative") if guest.ha_state else set()
        return sorted(_sid(other) for other in self.guests if _sid(other) in apart and other.node == node)

    def _forbidden(self, guest: Any, node: str) -> bool:
        strict = [rule for rule in self._rules("node-affinity", guest) if rule.get("strict")]
        return any(node not in {entry.split(":")[0] for entry in rule["nodes"].split(",")} for rule in strict)

    async def _get_ha_rules(self, values: dict[str, Any], user: str) -> list[dict[str, Any]]:
        rows = [{"digest": DIGEST, "order": n, "rule": f"rule{n}", **rule} for n, rule in enumerate(self.ha_rules, 1)]
        return [row for row in rows if values.get("type") in (None, row["type"])]

    async def _get_ha_resources(self, values: dict[str, Any], user: str) -> list[dict[str, Any]]:
        managed = [guest for guest in self.guests if guest.ha_state]
        return [{"digest": DIGEST, "sid": _sid(g), "state": g.ha_state, "type": _sid(g)[:2]} for g in managed]

    async def _get_ha_status(self, values: dict[str, Any], user: str) -> list[dict[str, Any]]:
        first = next(iter(self.nodes))
        rows: list[dict[str, Any]] = [{"id": "quorum", "node": first, "quorate": int(self.quorate), "type": "quorum"}]
        for name, node in self.nodes.items():
            mode = "maintenance mode" if node["hastate"] == "maintenance" else "idle"
            rows.append({"id": f"lrm:{name}", "node": name, "status": f"{name} ({mode})", "type": "lrm"})
        for guest in (guest for guest in self.guests if guest.ha_state):
            row = {"id": f"service:{_sid(guest)}", "sid": _sid(guest), "type": "service", "node": guest.node}
            row |= dict.fromkeys(("crm_state", "request_state", "state"), guest.ha_state)
            rows.append(row | {"status": f"{_sid(guest)} ({guest.node}, {guest.ha_state})"})
        return rows

    async def _get_options(self, values: dict[str, Any], user: str) -> dict[str, Any]:
        return self.options

    async def _get_tasks(self, values: dict[str, Any], user: str) -> list[dict[str, Any]]:
        audit = self.allowed(user, "/", "Sys.Audit")
        seen = [task for task in self.tasklog if audit or self._task_owner(user, task)]
        return [self._task_view(task, True) | {"saved": 1} for task in seen[-25 * len(self.nodes) :]]

    async def _task_list(self, request: web.Request) -> web.Response:
        """Tasks of a node, which the stock server does not filter: of the archive are those that are over."""
        wanted = self._verify(request, dict(request.query))
        user, node = request[USER], request.match_info["node"]
        audit = self.allowed(user, f"/nodes/{node}", "Sys.Audit")
        seen = [task for task in self.tasklog if task["node"] == node and (audit or self._task_owner(user, task))]
        rows = [row for row in (self._task_view(task, True) for task in seen) if _is_wanted(row, wanted)]
        rows = sorted(({"status": "RUNNING"} | row for row in rows), key=lambda row: -row["starttime"])
        start, limit = int(wanted.get("start", 0)), int(wanted.get("limit", 50))
        return web.json_response({"data": rows[start : start + limit]})


def _is_wanted(row: dict[str, Any], wanted: dict[str, Any]) -> bool:
    over, well = "status" in row, row.get("status", "").startswith("OK")
    return (
        wanted.get("source", "archive") in ("all", "archive" if over else "active")
        and str(wanted.get("vmid", row["id"])) == row["id"]
        and wanted.get("typefilter", row["type"]) == row["type"]
        and wanted.get("statusfilter") in (None, "ok" if well else "error")
    )


def _mib(amount: float) -> str:
    return f"{amount / 2**20:.1f} MiB"


class Served:
    """A fakepve that listens on loopback, its event loop in a thread."""

    def __init__(self, pve: Any, directory: Path) -> None:
        self.pve = pve
        self.ca_file, self._key, der = make_cert(str(directory), hosts=("127.0.0.1", "::1"))
        digest = hashlib.sha256(der).hexdigest().upper()
        self.fingerprint = ":".join(digest[i : i + 2] for i in range(0, 64, 2))
        self._loop = asyncio.new_event_loop()
        self._killing = threading.Lock()  # a test may kill from a timer that is still at it when the test ends
        self._thread = threading.Thread(target=self._loop.run_forever, name="fakecluster", daemon=True)
        self._thread.start()
        self.start()

    @property
    def at(self) -> str:
        """host:port, as in api.hosts."""
        return f"[{self.pve.host}]:{self.pve.port}" if ":" in self.pve.host else f"{self.pve.host}:{self.pve.port}"

    def connection(self, **changes: Any) -> Connection:
        """How to reach it with root's token and its certificate as CA; changes as Connection's fields."""
        self.pve.apitokens.setdefault(TOKEN_ID, TOKEN_SECRET)
        usual = {"hosts": (self.at,), "token_id": TOKEN_ID, "token_secret": TOKEN_SECRET, "ca_file": self.ca_file}
        return Connection(**(usual | changes))

    def sent(self, method: str, ending: str = "") -> int:
        """How many such requests arrived, faults included."""
        return sum(1 for verb, path, _ in self.pve.requests if verb == method and path.endswith(ending))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the fake (backup, hold_config_lock) in its loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def start(self) -> None:
        """Listen; after kill() again on the same port."""
        self.run(self.pve.start(self.ca_file, self._key))

    def kill(self) -> None:
        """The API host dies in mid-sentence: nothing is answered any more; tasks of the cluster go on."""
        with self._killing:
            self.run(self._kill())

    async def _kill(self) -> None:
        runner, self.pve.runner = self.pve.runner, None
        if not runner:
            return
        for site in list(runner.sites):
            await site.stop()
        for connection in list(runner.server.connections):
            if connection.transport:
                connection.transport.abort()
        await runner.server.shutdown(0.01)  # cleanup() alone would wait a minute for unfinished handlers
        await runner.cleanup()

    async def _end(self) -> None:
        await self._kill()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0)

    def close(self) -> None:
        with self._killing:
            self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


@contextlib.contextmanager
def serving(pve: Any, directory: Path, host: str = "127.0.0.1") -> Iterator[Served]:
    """Serve a FakeCluster or stock FakePve on a free port; its certificate goes to directory."""
    pve.host, pve.port = host, 0
    served = Served(pve, directory)
    try:
        yield served
    finally:
        served.close()


def small_cluster() -> FakeCluster:
    """Three nodes, of which pve1 has too much to do."""
    cluster = FakeCluster()
    for name in ("pve1", "pve2", "pve3"):
        cluster.add_node(name)
    for vmid in range(100, 108):
        cluster.add_guest(vmid, "pve1" if vmid < 106 else "pve2")
    cluster.add_guest(200, "pve1", "lxc", gib=2)
    return cluster


def _sid(guest: Any) -> str:
    return f"{'vm' if guest.guest.startswith('qemu') else 'ct'}:{guest.vmid}"
