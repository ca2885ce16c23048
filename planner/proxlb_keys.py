"""Owns what each key of ProxLB's YAML (1.1 to 2.3) asks for here."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from planner import proxlb_balance, proxlb_cluster
from planner.choices import LogLevel
from planner.proxlb_values import (
    Document,
    Kept,
    Key,
    Outcome,
    Remark,
    becomes,
    each,
    flag,
    idle,
    list_of,
    number,
    one_of,
    part,
    text,
    whole,
    words,
)

RESOURCES: Final = ("cpu", "disk", "memory")
UNITS: Final = {"hours": "h", "minutes": "m"}
LIMITS: Final = part(pressure_full=number, pressure_some=number, pressure_spikes=number)
POOL: Final = part(type=one_of("affinity", "anti-affinity"), pin=words, strict=flag)
POWER: Final = "nodes are not switched off: consolidate shows which ones could be"
FAILS_CLOSED: Final = "where no plan is found nothing is done"


def table() -> dict[str, Key]:
    """Every key, and what becomes of it."""
    return _api() | _cluster() | _balancing() | _service() | _solver() | _power()


def longhand(sections: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with the hours between two looks, which 1.1.0 has as a plain number, as later releases write them."""
    service = sections.get("service")
    if not isinstance(service, Mapping) or not isinstance(service.get("schedule"), str):
        return sections
    return {**sections, "service": {**service, "schedule": {"interval": service["schedule"]}}}


def _api() -> dict[str, Key]:
    again = "what failed on its way is asked again, and the next host is tried, without a setting"
    return {
        "proxmox_api.hosts": Key(words),
        "proxmox_api.user": Key(text, becomes("api.user")),
        "proxmox_api.pass": Key(text),
        "proxmox_api.token_id": Key(text),
        "proxmox_api.token_secret": Key(text),
        "proxmox_api.ssl_verification": Key(flag, becomes("api.verify_tls")),
        "proxmox_api.timeout": Key(number, becomes("api.timeout")),
        "proxmox_api.retries": Key(whole, idle(again)),
        "proxmox_api.wait_time": Key(whole, idle(again)),
    }


def _cluster() -> dict[str, Key]:
    more = "ProxLB does not look at it either; see policy.overcommit and policy.fit"
    scheduled = "proxmox_cluster.maintenance_nodes_schedule"
    return {
        "proxmox_cluster.maintenance_nodes": Key(words, becomes("cluster.maintenance_nodes")),
        f"{scheduled}.duration": Key(whole),
        f"{scheduled}.pre-migration": Key(whole),
        f"{scheduled}.schedules": Key(each(lambda value, key: [text(one, key) for one in _listed(value)])),
        "proxmox_cluster.ignore_nodes": Key(words, becomes("cluster.ignore_nodes")),
        "proxmox_cluster.overprovisioning": Key(flag, idle(more)),
    }


def _listed(value: Any) -> Any:
    """`Monday, 8:00` has a comma in it, and is one."""
    return value if isinstance(value, list) else [value]


def _balancing() -> dict[str, Key]:
    first = "cpsat has no order of guests; greedy always begins with the largest"
    live = "virtual machines that run are always migrated live"
    return {
        "balancing.enable": Key(flag),
        "balancing.balance_types": Key(list_of("vm", "ct")),
        "balancing.enforce_affinity": Key(flag, idle(proxlb_balance.REPAIRED, kept=True)),
        "balancing.enforce_pinning": Key(flag, idle(proxlb_balance.REPAIRED, kept=True)),
        "balancing.parallel": Key(flag),
        "balancing.parallel_jobs": Key(whole),
        "balancing.max_node_inflow": Key(whole),
        "balancing.max_job_validation": Key(whole, becomes("apply.migration_timeout")),
        "balancing.live": Key(flag, idle(live, kept=True)),
        "balancing.with_local_disks": Key(flag, becomes("policy.with_local_disks", default=True)),
        "balancing.with_conntrack_state": Key(flag),
        "balancing.balanciness": Key(number, proxlb_balance.tolerated),
        "balancing.method": Key(one_of(*RESOURCES)),
        "balancing.mode": Key(one_of("used", "assigned", "psi")),
        "balancing.memory_threshold": Key(number),
        "balancing.cpu_threshold": Key(number),
        "balancing.disk_threshold": Key(number),
        "balancing.psi.nodes": Key(part(**dict.fromkeys(RESOURCES, LIMITS))),
        "balancing.psi.guests": Key(part(**dict.fromkeys(RESOURCES, LIMITS))),
        "balancing.balance_larger_guests_first": Key(flag, idle(first, kept=False)),
        "balancing.node_resource_reserve": Key(each(part(**dict.fromkeys(RESOURCES, number)))),
        "balancing.cpu_overcommit": Key(number),
        "balancing.ignore_guests": Key(words, proxlb_cluster.ignored),
        "balancing.pools": Key(each(POOL)),
    }


def _service() -> dict[str, Key]:
    once = "run goes on until it is ended; run --once takes one look, for timers"
    return {
        "service.daemon": Key(flag, idle(once, kept=True)),
        "service.schedule.interval": Key(whole),
        "service.schedule.format": Key(one_of(*UNITS)),
        "service.delay.enable": Key(flag),
        "service.delay.time": Key(whole),
        "service.delay.format": Key(one_of(*UNITS)),
        "service.enable_ha": Key(flag, proxlb_cluster.active),
        "service.log_level": Key(one_of(*LogLevel), becomes("log.level")),
    }


def _solver() -> dict[str, Key]:
    always = "an exact solver makes every plan; --solver proxlb shows what ProxLB would do without its own"
    return {
        "solver.enable": Key(flag, idle(always, kept=True)),
        "solver.mode": Key(one_of("active", "shadow"), idle("run.mode says whether plans are carried out")),
        "solver.timeout_seconds": Key(number, becomes("policy.time_limit")),
        "solver.fallback_to_greedy": Key(flag, idle(FAILS_CLOSED, kept=False)),
        "solver.active_step_retries": Key(whole, idle("what failed is planned anew at the next look")),
        "solver.use_reservations": Key(flag, idle("policy.reserve always counts", kept=True)),
        "solver.log_dir": Key(text, idle("looks and runs are in the journal: see looks, history and status")),
    }


def _power() -> dict[str, Key]:
    return {
        "dpm.enable": Key(flag, idle(POWER, kept=False)),
        "dpm.method": Key(text, idle(POWER)),
        "dpm.mode": Key(text, idle(POWER)),
        "dpm.cluster_min_free_resources": Key(number, idle(POWER)),
        "dpm.cluster_min_nodes": Key(whole, idle(POWER)),
    }


def _every(found: Document) -> Iterator[Outcome]:
    """How often looks are taken."""
    of = ("service.schedule.interval", "service.schedule.format")
    yield found.taken("run.every", f"{found.get(of[0], 12)}{UNITS[found.get(of[1], 'hours')]}", *of)


def _delay(found: Document) -> Iterator[Outcome]:
    """How long the first look is put off."""
    on, *of = "service.delay.enable", "service.delay.time", "service.delay.format"
    if found.get(on, False):
        yield found.taken("run.delay", f"{found.get(of[0], 1)}{UNITS[found.get(of[1], 'hours')]}", on, *of)
        return
    yield from (Kept(on) for _ in range(found.has(on)))
    yield from (Remark(key, f"{on} is off") for key in of if found.has(key))


TOGETHER: Final = (
    proxlb_cluster.access, proxlb_cluster.reserve, proxlb_cluster.pools, proxlb_cluster.maintenance,
    proxlb_balance.mode, proxlb_balance.parallel, proxlb_balance.balanced, proxlb_balance.threshold,
    proxlb_balance.overcommit, proxlb_balance.inflow, proxlb_balance.conntrack, _every, _delay,
)  # fmt: skip
"""What several keys say together."""
