"""Owns configurations of ProxLB for tests: one as its documentation shows, one as its 1.0 had it, and random ones."""

import random
from typing import Any

YAML = """
proxmox_api:
  hosts: [virt01.example.com, 10.10.10.10, 'fe01:bad:c0de::cafe', 'fc00::1:8006']
  user: root@pam
  token_id: proxlb
  token_secret: 430e308f-1337
  ssl_verification: True
  timeout: 10
  retries: 3
proxmox_cluster:
  maintenance_nodes: [virt66]
  ignore_nodes: []
  overprovisioning: True
balancing:
  enable: True
  enforce_affinity: True
  parallel: True
  parallel_jobs: 3
  live: True
  with_local_disks: False
  with_conntrack_state: True
  balance_types: [vm]
  max_job_validation: 900
  memory_threshold: 75
  balanciness: 5
  method: memory
  mode: used
  node_resource_reserve:
    defaults: {memory: 4}
    virt02: {memory: 6}
  pools:
    dev: {type: affinity}
    de-nbg01-db: {type: anti-affinity, pin: [virt66, virt77], strict: False}
service:
  daemon: True
  schedule: {interval: 30, format: minutes}
  delay: {enable: True, time: 1, format: hours}
  log_level: WARNING
"""
INI = """
[proxmox]
api_host: hypervisor01,10.10.10.10
api_user: root@pam
api_pass: Foo%%Bar#1
verify_ssl: 0
[vm_balancing]
enable: 1
method: cpu
mode: assigned
mode_option: bytes
balanciness: 8
parallel_migrations: 0
maintenance_nodes: pve9
ignore_nodes: pve7,pve8
ignore_vms: testvm01,web*
[storage_balancing]
enable: 0
[update_service]
enable: 1
[service]
daemon: 1
schedule: 24
master_only: 1
log_verbosity: CRITICAL
config_version: 3
"""
RESOURCES = ("cpu", "disk", "memory")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Drawn:
    """Sections of a file of ProxLB, drawn by a generator."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def sections(self) -> dict[str, Any]:
        return {
            "proxmox_api": self._api(), "proxmox_cluster": self._cluster(), "balancing": self._balancing(),
            "service": self._service(), "solver": self._solver(),
        }  # fmt: skip

    def _api(self) -> dict[str, Any]:
        more = self._some(
            ssl_verification=self._flag(), timeout=self._rng.randrange(1, 60), retries=self._rng.randrange(5),
            wait_time=1, token_id="t",
        )  # fmt: skip
        return {"hosts": ["pve1", "pve2:8006"], "user": "a@pve"} | more | self._some(**{"pass": "secret"})

    def _cluster(self) -> dict[str, Any]:
        schedule = self._some(
            duration=self._rng.randrange(30), pre__migration=self._rng.randrange(200),
            schedules={
                node: [self._moment() for _ in range(self._rng.randrange(3))] for node in self._names("pve1", "pve2")
            },
        )  # fmt: skip
        return self._some(
            maintenance_nodes=self._names("pve1", "pve2"), ignore_nodes=self._names("pve3"),
            overprovisioning=self._flag(), maintenance_nodes_schedule=schedule,
        )  # fmt: skip

    def _balancing(self) -> dict[str, Any]:
        rng, flag = self._rng, self._flag
        psi = {place: {name: self._pressure() for name in self._names(*RESOURCES)} for place in ("nodes", "guests")}
        reserve = {
            node: {name: rng.randrange(9) for name in self._names(*RESOURCES)}
            for node in self._names("defaults", "pve1", "pve2")
        }
        return self._some(
            enable=flag(), enforce_affinity=flag(), enforce_pinning=flag(), parallel=flag(), live=flag(),
            parallel_jobs=rng.randrange(9), with_local_disks=flag(), with_conntrack_state=flag(),
            balance_types=self._names("vm", "ct"), max_job_validation=rng.randrange(1, 2000),
            balanciness=rng.randrange(100), cpu_overcommit=rng.uniform(0.5, 9), method=rng.choice(RESOURCES),
            mode=rng.choice(("used", "assigned", "psi")), memory_threshold=rng.randrange(101),
            cpu_threshold=rng.randrange(101), disk_threshold=rng.randrange(101), psi=psi,
            max_node_inflow=rng.randrange(1, 4), balance_larger_guests_first=flag(), node_resource_reserve=reserve,
            ignore_guests=self._names("web1", "105"),
            pools={name: self._pool() for name in self._names("dev", "a.b", "prod")},
        )  # fmt: skip

    def _service(self) -> dict[str, Any]:
        rng = self._rng
        return self._some(
            daemon=self._flag(), enable_ha=self._flag(),
            log_level=rng.choice(("CRITICAL", "DEBUG", "ERROR", "INFO", "WARNING")),
            schedule=self._some(interval=rng.randrange(1, 48)) | self._span(),
            delay=self._some(enable=self._flag(), time=rng.randrange(48)) | self._span(),
        )  # fmt: skip

    def _solver(self) -> dict[str, Any]:
        return self._some(
            enable=self._flag(), mode=self._rng.choice(("active", "shadow")), timeout_seconds=self._rng.uniform(1, 60),
            log_dir="/var/log", active_step_retries=self._rng.randrange(5), fallback_to_greedy=self._flag(),
            use_reservations=self._flag(),
        )  # fmt: skip

    def _some(self, **keys: Any) -> dict[str, Any]:
        """Each of these there or not; a key with a dash is written with two underscores."""
        return {key.replace("__", "-"): value for key, value in keys.items() if self._rng.random() < 0.6}

    def _flag(self) -> bool:
        return self._rng.random() < 0.5

    def _names(self, *of: str) -> list[str]:
        return self._rng.sample(of, self._rng.randrange(len(of) + 1))

    def _pressure(self) -> dict[str, float]:
        return {f"pressure_{kind}": round(self._rng.uniform(0, 100), 2) for kind in ("full", "some", "spikes")}

    def _pool(self) -> dict[str, Any]:
        kind = self._rng.choice(("affinity", "anti-affinity"))
        return self._some(type=kind, pin=self._names("pve1", "pve2"), strict=self._flag())

    def _moment(self) -> str:
        return f"{self._rng.choice(DAYS)}, {self._rng.randrange(24)}:{self._rng.randrange(60):02d}"

    def _span(self) -> dict[str, Any]:
        return self._some(format=self._rng.choice(("hours", "minutes")))


def random_settings(rng: random.Random) -> dict[str, Any]:
    """Everything that ProxLB 2.3.0 can be told, each key there or not, in the range that makes sense."""
    return Drawn(rng).sections()
