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


def random_settings(rng: random.Random) -> dict[str, Any]:
    """Everything that ProxLB 2.3.0 can be told, each key there or not, in the range that makes sense."""

    def some(**keys: Any) -> dict[str, Any]:
        return {key.replace("__", "-"): value for key, value in keys.items() if rng.random() < 0.6}

    def flag() -> bool:
        return rng.random() < 0.5

    def names(*of: str) -> list[str]:
        return rng.sample(of, rng.randrange(len(of) + 1))

    def pressure() -> dict[str, float]:
        return {f"pressure_{kind}": round(rng.uniform(0, 100), 2) for kind in ("full", "some", "spikes")}

    def pool() -> dict[str, Any]:
        return some(type=rng.choice(("affinity", "anti-affinity")), pin=names("pve1", "pve2"), strict=flag())

    def moment() -> str:
        return f"{rng.choice(DAYS)}, {rng.randrange(24)}:{rng.randrange(60):02d}"

    def span() -> dict[str, Any]:
        return some(format=rng.choice(("hours", "minutes")))

    psi = {place: {name: pressure() for name in names(*RESOURCES)} for place in ("nodes", "guests")}
    reserve = {
        node: {name: rng.randrange(9) for name in names(*RESOURCES)} for node in names("defaults", "pve1", "pve2")
    }
    schedule = some(
        duration=rng.randrange(30), pre__migration=rng.randrange(200),
        schedules={node: [moment() for _ in range(rng.randrange(3))] for node in names("pve1", "pve2")},
    )  # fmt: skip
    return {
        "proxmox_api": {"hosts": ["pve1", "pve2:8006"], "user": "a@pve"} | some(
            ssl_verification=flag(), timeout=rng.randrange(1, 60), retries=rng.randrange(5), wait_time=1, token_id="t",
        ) | some(**{"pass": "secret"}),
        "proxmox_cluster": some(
            maintenance_nodes=names("pve1", "pve2"), ignore_nodes=names("pve3"), overprovisioning=flag(),
            maintenance_nodes_schedule=schedule,
        ),
        "balancing": some(
            enable=flag(), enforce_affinity=flag(), enforce_pinning=flag(), parallel=flag(), live=flag(),
            parallel_jobs=rng.randrange(9), with_local_disks=flag(), with_conntrack_state=flag(),
            balance_types=names("vm", "ct"), max_job_validation=rng.randrange(1, 2000),
            balanciness=rng.randrange(100), cpu_overcommit=rng.uniform(0.5, 9), method=rng.choice(RESOURCES),
            mode=rng.choice(("used", "assigned", "psi")), memory_threshold=rng.randrange(101),
            cpu_threshold=rng.randrange(101), disk_threshold=rng.randrange(101), psi=psi,
            max_node_inflow=rng.randrange(1, 4), balance_larger_guests_first=flag(), node_resource_reserve=reserve,
            ignore_guests=names("web1", "105"), pools={name: pool() for name in names("dev", "a.b", "prod")},
        ),
        "service": some(
            daemon=flag(), enable_ha=flag(), log_level=rng.choice(("CRITICAL", "DEBUG", "ERROR", "INFO", "WARNING")),
            schedule=some(interval=rng.randrange(1, 48)) | span(),
            delay=some(enable=flag(), time=rng.randrange(48)) | span(),
        ),
        "solver": some(
            enable=flag(), mode=rng.choice(("active", "shadow")), timeout_seconds=rng.uniform(1, 60),
            log_dir="/var/log", active_step_retries=rng.randrange(5), fallback_to_greedy=flag(),
            use_reservations=flag(),
        ),
    }  # fmt: skip
