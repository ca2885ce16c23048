"""Claims about the baseline `proxlb`: its quirks one by one, and no difference to ProxLB 2.3.0 on random clusters."""

import logging
import random
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import pytest

from solvers.proxlb import Outcome, migrations, run
from solvers.proxlb_books import NodeValue
from solvers.proxlb_input import (
    Affinity,
    GuestType,
    Method,
    Mode,
    ProxlbGuest,
    ProxlbInput,
    ProxlbNode,
    ProxlbPool,
    ProxlbPressure,
    ProxlbResource,
    ProxlbRule,
)

ALL_TYPES = frozenset(GuestType)


def a_node(name: str, used: float, total: int = 100, **more: Any) -> ProxlbNode:
    memory = ProxlbResource(total, used, more.pop("pressure", ProxlbPressure()))
    cpu = more.pop("cpu", ProxlbResource(8, 0.0))
    return ProxlbNode(name, cpu=cpu, memory=memory, disk=ProxlbResource(1000, 0), **more)


def a_guest(vmid: int, node: str, used: float, **more: Any) -> ProxlbGuest:
    memory = ProxlbResource(more.pop("total", 10), used, more.pop("pressure", ProxlbPressure()))
    return ProxlbGuest(
        vmid=vmid,
        name=more.pop("name", f"g{vmid}"),
        type=more.pop("type", GuestType.VM),
        node=node,
        cpu=more.pop("cpu", ProxlbResource(1, 0.0)),
        memory=memory,
        disk=ProxlbResource(10, 0),
        **more,
    )


def a_view(nodes: Iterable[ProxlbNode], guests: Iterable[ProxlbGuest], **more: Any) -> ProxlbInput:
    return ProxlbInput(tuple(nodes), tuple(guests), **({"balance_types": ALL_TYPES} | more))


def carried_out(view: ProxlbInput) -> ProxlbInput:
    """The cluster after its migrations, with node memory as the guests use it."""
    places = dict(migrations(view))
    guests = [replace(guest, node=places.get(guest.vmid, guest.node)) for guest in view.guests]
    load = {node.name: sum(g.memory.used for g in guests if g.node == node.name) for node in view.nodes}
    nodes = [replace(node, memory=replace(node.memory, used=load[node.name])) for node in view.nodes]
    return replace(view, nodes=tuple(nodes), guests=tuple(guests))


# Quirks, one by one.


def test_a_cluster_within_its_balanciness_is_left_alone() -> None:
    guests = [a_guest(1, "a", 20), a_guest(2, "b", 10)]
    assert migrations(a_view([a_node("a", 20), a_node("b", 10)], guests)) == []
    assert migrations(a_view([a_node("a", 20), a_node("b", 10)], guests, balanciness=9)) == [(1, "b")]


def test_the_smallest_guest_leaves_first_unless_larger_ones_are_asked_for() -> None:
    view = a_view([a_node("a", 50), a_node("b", 30)], [a_guest(1, "a", 20), a_guest(2, "a", 6), a_guest(3, "b", 30)])
    assert migrations(view) == [(2, "b")]
    assert migrations(replace(view, larger_first=True)) == [(1, "b")]


def test_only_the_hottest_node_is_relieved() -> None:
    nodes = [a_node("a", 80), a_node("b", 75), a_node("c", 0)]
    view = a_view(nodes, [a_guest(1, "b", 20), a_guest(2, "b", 30)])
    assert migrations(view) == []


def test_by_default_guests_of_no_type_are_migrated() -> None:
    view = ProxlbInput((a_node("a", 50), a_node("b", 0)), (a_guest(1, "a", 20), a_guest(2, "a", 30)))
    assert run(view).migrations == ()
    assert run(view).targets == ((1, "b"), (2, "a"))
    assert migrations(replace(view, balance_types=frozenset({GuestType.VM}))) == [(1, "b")]
    assert migrations(replace(view, balance_types=frozenset({GuestType.CT}))) == []


def test_an_ignored_guest_stays_but_is_booked_as_if_it_had_left() -> None:
    view = a_view([a_node("a", 50), a_node("b", 0)], [a_guest(1, "a", 20, tags=("plb_ignore_me",))])
    outcome = run(view)
    assert outcome.migrations == () and outcome.targets == ((1, "a"),)
    assert outcome.values["b", Method.MEMORY].used == 20
    assert run(replace(view, guests=(a_guest(1, "a", 20),), ignore_guests=frozenset({"g1"}))).targets == ((1, "a"),)


def test_an_anti_affinity_violation_can_be_created() -> None:
    apart = ("plb_anti_affinity_x",)
    guests = [a_guest(1, "a", 5, tags=apart), a_guest(2, "a", 45), a_guest(3, "b", 10, tags=apart)]
    view = a_view([a_node("b", 10), a_node("a", 50)], guests)
    assert migrations(view)[0] == (1, "b")  # where guest 3 runs: group x hands out b first


def test_anti_affinity_takes_a_node_without_room() -> None:
    apart = ("plb_anti_affinity_x",)
    guests = [a_guest(1, "c", 30, tags=apart), a_guest(2, "c", 60, tags=apart)]
    view = a_view([a_node("a", 89), a_node("b", 0), a_node("c", 90)], guests)
    assert run(view).targets[0] == (1, "a")
    assert run(view).values["a", Method.MEMORY].used == 119


def test_an_affinity_group_can_be_split() -> None:
    together = ("plb_affinity_x",)
    guests = [a_guest(1, "a", 20, tags=together), a_guest(2, "a", 25, tags=together)]
    assert migrations(a_view([a_node("a", 45), a_node("b", 10)], guests)) == [(1, "b")]


def test_only_the_last_affinity_entry_of_a_guest_counts() -> None:
    first = a_guest(1, "a", 5, tags=("plb_affinity_x", "plb_affinity_y"))
    second = a_guest(2, "b", 5, tags=("plb_affinity_x",))
    nodes = [a_node("a", 12), a_node("b", 10)]
    view = a_view(nodes, [first, second, a_guest(3, "a", 5)])
    assert migrations(view) == []  # y and x hold: each has one member
    joined = replace(view, guests=(replace(first, tags=first.tags[::-1]), *view.guests[1:]))
    assert migrations(joined) == [(3, "b")]  # x is broken, guest 3 is in the smallest group on the hottest node
    assert migrations(replace(joined, rules=(ProxlbRule("r", frozenset({1, 9})),))) == []


def test_an_invalid_guest_goes_unnoticed_when_it_is_the_last() -> None:
    apart = ("plb_anti_affinity_x",)
    lonely = a_guest(2, "a", 5, tags=(*apart, *apart))  # a member twice, hence never apart from itself
    nodes = [a_node("b", 0), a_node("a", 10)]
    assert run(a_view(nodes, [a_guest(1, "a", 5), lonely])).migrations == ()
    assert run(a_view(nodes, [lonely, a_guest(3, "a", 5)])).migrations == ((2, "b"),)
    enforced = a_view(nodes, [a_guest(1, "a", 5), lonely], enforce_affinity=True)
    assert run(enforced).migrations == ((1, "b"),)
    valid = a_view(nodes, [a_guest(1, "a", 5)], enforce_affinity=True)
    assert run(valid).migrations == ()  # configured or not: nothing to enforce


def test_a_pinned_guest_is_evacuated_to_a_forbidden_node() -> None:
    nodes = [a_node("a", 30, maintenance=True), a_node("b", 35), a_node("c", 30)]
    guest = a_guest(1, "a", 5, tags=("plb_pin_b",))
    assert migrations(a_view(nodes, [guest], balanciness=50)) == [(1, "c")]


def test_evacuation_knows_no_room_and_no_rules() -> None:
    nodes = [a_node("a", 30, maintenance=True), a_node("b", 10, total=20)]
    apart = ("plb_anti_affinity_x",)
    guests = [a_guest(1, "a", 15, tags=apart), a_guest(2, "a", 15, tags=apart)]
    assert migrations(a_view(nodes, guests)) == [(1, "b"), (2, "b")]


def test_without_an_open_node_nothing_happens() -> None:
    nodes = [a_node("a", 80, maintenance=True), a_node("b", 10, maintenance=True)]
    assert migrations(a_view(nodes, [a_guest(1, "a", 50)])) == []
    assert migrations(a_view([], [])) == []


def test_guests_are_swapped_for_ever_under_a_low_threshold() -> None:
    guests = [a_guest(1, "a", 30), a_guest(2, "b", 20)]
    view = a_view([a_node("a", 30), a_node("b", 20)], guests, threshold=10, larger_first=True)
    assert migrations(view) == [(1, "b"), (2, "a")]
    assert migrations(carried_out(view)) == [(2, "b"), (1, "a")]
    assert carried_out(carried_out(view)) == view
    assert migrations(replace(view, threshold=0)) == []  # 0 is no threshold


def test_a_node_can_be_emptied_in_cpu_mode() -> None:
    nodes = [a_node("a", 40, cpu=ProxlbResource(8, 6.0)), a_node("b", 0, cpu=ProxlbResource(8, 1.0))]
    guests = [a_guest(v, "a", 5, cpu=ProxlbResource(8, 0.2)) for v in range(4)]
    view = a_view(nodes, guests, method=Method.CPU)
    assert migrations(view) == [(0, "b"), (1, "b"), (2, "b"), (3, "b")]


def test_of_guests_with_one_name_the_last_takes_the_place_of_the_first() -> None:
    twins = [a_guest(1, "a", 5, name="web"), a_guest(2, "a", 20), a_guest(3, "b", 7, name="web")]
    outcome = run(a_view([a_node("a", 25), a_node("b", 7)], twins, balanciness=99))
    assert outcome.targets == ((3, "b"), (2, "a"))
    assert outcome.values["a", Method.MEMORY].assigned == 10


def test_guests_come_node_by_node_and_vms_before_containers() -> None:
    guests = [a_guest(1, "b", 1), a_guest(2, "a", 1, type=GuestType.CT), a_guest(3, "a", 1), a_guest(4, "gone", 1)]
    outcome = run(a_view([a_node("a", 2), a_node("b", 1)], guests))
    assert outcome.targets == ((3, "a"), (2, "a"), (1, "b"))


def test_a_reserve_shows_only_after_the_first_migration() -> None:
    nodes = [a_node("a", 60), a_node("b", 20, memory_reserve=60)]
    calm = run(a_view(nodes, [a_guest(1, "a", 30)], balanciness=99)).values["b", Method.MEMORY]
    assert (calm.total, calm.free, calm.used_percent) == (40, 80, 20)
    busy = run(a_view(nodes, [a_guest(1, "a", 30)])).values["b", Method.MEMORY]
    assert (busy.total, busy.free, busy.used_percent) == (40, 0, 125)
    huge = [nodes[0], replace(nodes[1], memory_reserve=101)]
    assert run(a_view(huge, [])).values["b", Method.MEMORY].total == 100


def test_pressure_never_changes() -> None:
    hot, cold = ProxlbPressure(spikes=50), ProxlbPressure(spikes=1)
    nodes = [a_node("a", 90, pressure=hot), a_node("b", 10, pressure=cold)]
    guests = [a_guest(v, "a", 5, pressure=ProxlbPressure(spikes=9 - v)) for v in range(6)]
    limit = ProxlbPressure(full=40, some=40, spikes=40)
    view = a_view(nodes, guests, mode=Mode.PSI, node_limit=limit)
    assert migrations(view) == [(v, "b") for v in range(6)]  # b is the freest still
    assert migrations(replace(view, node_limit=None)) == []


def test_pressure_on_nodes_in_maintenance_and_in_ignored_guests_does_not_count() -> None:
    hot = ProxlbPressure(spikes=50)
    nodes = [a_node("b", 10), a_node("a", 90), a_node("c", 10, pressure=hot)]
    guests = [a_guest(1, "a", 5), a_guest(2, "a", 6, pressure=hot)]
    limit = ProxlbPressure(full=40, some=40, spikes=40)
    view = a_view(nodes, guests, mode=Mode.PSI)
    assert migrations(replace(view, node_limit=limit)) == [(2, "b")]
    assert migrations(replace(view, node_limit=limit, nodes=(*nodes[:2], replace(nodes[2], maintenance=True)))) == []
    assert migrations(replace(view, guest_limit=limit)) == [(2, "b")]
    assert migrations(replace(view, guest_limit=limit, ignore_guests=frozenset({"g2"}))) == []


def test_a_threshold_is_reached_by_a_node_that_equals_it() -> None:
    view = a_view([a_node("a", 30), a_node("b", 25)], [a_guest(1, "a", 5)])
    assert migrations(replace(view, threshold=30)) == [(1, "b")]
    assert migrations(replace(view, threshold=31)) == []


def test_in_psi_mode_a_guest_can_be_booked_in_place_of_another() -> None:
    nodes = [a_node("a", 90, pressure=ProxlbPressure(spikes=50)), a_node("b", 10)]
    guests = [a_guest(1, "a", 5, pressure=ProxlbPressure(spikes=9)), a_guest(2, "a", 6)]
    view = a_view(nodes, [*guests, a_guest(3, "b", 1, pressure=ProxlbPressure(spikes=5))], mode=Mode.PSI)
    outcome = run(replace(view, node_limit=ProxlbPressure(full=40, some=40, spikes=40)))
    assert outcome.migrations == ((1, "b"),)
    assert outcome.values["b", Method.MEMORY].used == 10 + 5 + 5  # guest 1 twice: guest 3 has more pressure than 2


def test_a_node_has_no_cpu_pressure() -> None:
    pressed = ProxlbResource(8, 4.0, ProxlbPressure(full=90, some=90, spikes=90))
    nodes = [a_node("a", 90, cpu=pressed), a_node("b", 10)]
    limit = ProxlbPressure(full=40, some=40, spikes=40)
    view = a_view(nodes, [a_guest(1, "a", 5)], mode=Mode.PSI, method=Method.CPU, node_limit=limit)
    assert migrations(view) == []


def test_a_priority_in_a_node_affinity_rule_makes_the_pin_match_nothing() -> None:
    nodes = [a_node("a", 50), a_node("b", 0), a_node("c", 20)]
    view = a_view(nodes, [a_guest(1, "a", 20)])
    for raw, expected in {"c": [(1, "c")], "c:2": [], "c:2,b": [(1, "b")], "": [(1, "b")]}.items():
        assert migrations(replace(view, rules=(ProxlbRule("r", frozenset({1}), nodes=raw),))) == expected
    negative = ProxlbRule("r", frozenset({1}), Affinity.NEGATIVE, "c")
    assert migrations(replace(view, rules=(negative,))) == [(1, "b")]


def test_pins_of_tags_match_in_any_case_but_those_of_pools_must_be_spelled_right() -> None:
    nodes = [a_node("a", 50), a_node("b", 0), a_node("c", 20)]
    view = a_view(nodes, [a_guest(1, "a", 20)])
    pool = ProxlbPool("p", frozenset({"g1"}), pins=("C",))
    assert migrations(replace(view, guests=(a_guest(1, "a", 20, tags=("plb_pin_C",)),))) == [(1, "c")]
    assert migrations(replace(view, guests=(a_guest(1, "a", 20, tags=("plb_pin_d",)),))) == [(1, "b")]
    assert migrations(replace(view, pools=(pool,))) == []
    assert migrations(replace(view, pools=(replace(pool, pins=("c",)),))) == [(1, "c")]


def test_the_last_pool_decides_how_strict_pins_are() -> None:
    nodes = [a_node("a", 50), a_node("b", 0), a_node("c", 20)]
    pinned = ProxlbPool("p", frozenset({"g1"}), pins=("c",), strict=True)
    lax = ProxlbPool("q", frozenset({"g1"}), strict=False)
    view = a_view(nodes, [a_guest(1, "a", 20)])
    assert migrations(replace(view, pools=(lax, pinned))) == [(1, "c")]
    assert migrations(replace(view, pools=(pinned, lax))) == [(1, "b")]


# The price of a decision.


def lines(view: ProxlbInput) -> int:
    """Lines of the solver that a run executes, the turns of its loops and comprehensions included."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        nonlocal count
        if "solvers" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run(view)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("mode", [Mode.USED, Mode.ASSIGNED])
@pytest.mark.parametrize("rule", [(), ("plb_anti_affinity_{}",), ("plb_pin_n1", "plb_pin_n2")])
def test_the_work_per_migration_does_not_grow_with_the_nodes(mode: Mode, rule: tuple[str, ...]) -> None:
    work = {}
    for count in (50, 800):
        nodes = [*(a_node(f"n{i}", 10 + i % 7, total=1000) for i in range(1, count)), a_node("n0", 900, total=1000)]
        tags = [tuple(tag.format(v) for tag in rule) for v in range(40)]
        guests = [a_guest(v, "n0", 10 + v % 5, tags=tags[v]) for v in range(40)]
        guests += [a_guest(100 + v, f"n{v + 1}", 1, tags=tags[v]) for v in range(40)]
        view = a_view(nodes, guests, mode=mode, balanciness=0)
        idle = replace(view, balanciness=100)
        made = len(migrations(view))
        assert made > 30 and migrations(idle) == []
        work[count] = (lines(view) - lines(idle)) / made
    assert work[800] < 1.2 * work[50]


# No difference to ProxLB 2.3.0, driven through its own collectors with a fake API.

GIB = 1 << 30
CLUSTERS = 4_000
BATCHES = 5
TAGS = (
    *("plb_affinity_x", "plb_affinity_y", "plb_affinity", "plb_anti_affinity_x", "plb_anti_affinity_y"),
    *("plb_pin_n0", "plb_pin_N1", "plb_pin_n2", "plb_pinn1", "plb_pin_gone", "plb_ignore", "plb_ignore_me", "web", ""),
)
RULE_NODES = ("", "", "n0", "n1:2", "n0,n2", "n2:1,n1", "N0", "n0, n1", ",n1,", "gone", ",", " ")


@dataclass(frozen=True)
class Api:
    """Answers of a Proxmox VE API by path, asked for as ProxLB does: `api.nodes("n0").qemu.get()`."""

    answers: dict[str, Any]
    path: str = ""

    def __getattr__(self, name: str) -> "Api":
        return Api(self.answers, f"{self.path}/{name}")

    def __call__(self, name: object) -> "Api":
        return Api(self.answers, f"{self.path}/{name}")

    def get(self, cf: str = "", timeframe: str = "") -> Any:
        return self.answers[f"{self.path}?{cf}" if cf else self.path]


@dataclass(frozen=True)
class World:
    """One random cluster, as this project's record and as ProxLB reads it."""

    view: ProxlbInput
    answers: dict[str, Any]
    cluster_config: dict[str, Any]
    balancing_config: dict[str, Any]


def rrd(owner: ProxlbNode | ProxlbGuest) -> dict[str, Any]:
    """Rows whose hour mean and newest six rows are what the record says; an older spike must not count."""
    pressures = {"cpu": owner.cpu.pressure, "memory": owner.memory.pressure, "io": owner.disk.pressure}
    mean = {f"pressure{name}{kind}": getattr(p, kind) for name, p in pressures.items() for kind in ("some", "full")}
    mean["cpu"] = owner.cpu.used
    spike = {f"pressure{name}full": p.spikes for name, p in pressures.items()}
    old, low = dict.fromkeys(spike, 99.0), dict.fromkeys(spike, 0.0)
    return {"AVERAGE": [mean], "MAX": [old, low, spike, low, {}, low, low, low]}


def a_pressure(rng: random.Random) -> ProxlbPressure:
    if rng.random() < 0.7:
        return ProxlbPressure(*(rng.choice((0.0, 0.0, 2.0)) for _ in range(3)))
    return ProxlbPressure(*(rng.choice((0.0, 5.0, 20.0, round(rng.uniform(0, 60), 2))) for _ in range(3)))


def a_limit(rng: random.Random) -> ProxlbPressure | None:
    return rng.choice((None, ProxlbPressure(*(rng.choice((0.0, 5.0, 20.0, 40.0, 60.0)) for _ in range(3)))))


def random_guests(rng: random.Random, nodes: int) -> list[ProxlbGuest]:
    guests = []
    size, unit = rng.choice((1, 4, 16)), rng.choice((1, GIB))  # in whole GiB there are ties
    favourite = rng.randrange(nodes)
    for index in range(rng.randint(0, 18)):
        memory = rng.randint(1, size * GIB // unit) * unit
        node = favourite if rng.random() < 0.3 else rng.randrange(nodes)
        guests.append(
            ProxlbGuest(
                vmid=100 + index,
                name=f"g{rng.randrange(index + 1) if rng.random() < 0.06 else index}",
                type=rng.choice((GuestType.VM, GuestType.VM, GuestType.CT)),
                node=f"n{node}",
                cpu=ProxlbResource(rng.choice((1, 2, 4, 16)), rng.random(), a_pressure(rng)),
                memory=ProxlbResource(memory, rng.randint(0, memory // unit) * unit, a_pressure(rng)),
                disk=ProxlbResource(rng.randint(0, 99) * GIB, rng.choice((0, rng.randint(0, GIB))), a_pressure(rng)),
                tags=tuple(rng.choices(TAGS, k=rng.choice((0, 0, 0, 1, 2, 3)))),
            )
        )
    return guests


def random_nodes(rng: random.Random, guests: list[ProxlbGuest], nodes: int) -> list[ProxlbNode]:
    found = []
    whole = all(guest.memory.used % GIB == 0 for guest in guests)
    size = (100 if len(guests) < 7 else 400) * GIB
    for index in range(nodes):
        name = f"n{index}"
        load = int(sum(guest.memory.used for guest in guests if guest.node == name))
        total = int(load * rng.uniform(1, 2)) + rng.randint(GIB // 3, 24 * GIB)
        if whole:
            total = rng.choice((load + rng.randint(1, 9) * GIB, size, size, size))
        reserve = rng.choice((0, 0, 0, 1, 4, 16)) * GIB  # of all its memory ProxLB would divide by 0
        cores = rng.choice((2, 8, 12, 64))
        disk = rng.randint(10, 500) * GIB
        found.append(
            ProxlbNode(
                name=name,
                cpu=ProxlbResource(cores, rng.randrange(1025) / 1024 * cores, a_pressure(rng)),
                memory=ProxlbResource(
                    total, load if whole else min(total, load + rng.randint(0, GIB)), a_pressure(rng)
                ),
                disk=ProxlbResource(disk, rng.randint(0, disk), a_pressure(rng)),
                memory_reserve=reserve if reserve != total else 0,
                maintenance=rng.random() < 0.12,
            )
        )
    rng.shuffle(found)
    return found


def random_pools(rng: random.Random, guests: list[ProxlbGuest]) -> tuple[ProxlbPool, ...]:
    names = [guest.name for guest in guests]
    return tuple(
        ProxlbPool(
            name=f"p{index}",
            members=frozenset(rng.sample(names, min(len(names), rng.randint(0, 4)))),
            affinity=rng.choice((None, *Affinity)),
            pins=tuple(rng.sample(("n0", "n1", "N2", "gone"), rng.choice((0, 0, 1, 2)))),
            strict=rng.random() < 0.6,
        )
        for index in range(rng.choice((0, 0, 1, 2, 3)))
    )


def random_rules(rng: random.Random, guests: list[ProxlbGuest]) -> tuple[ProxlbRule, ...]:
    vmids = [guest.vmid for guest in guests] or [100]
    names = rng.sample(("r0", "r1", "r2", "p0", "plb_affinity_x", "plb_anti_affinity_x"), rng.choice((0, 0, 1, 2, 3)))
    return tuple(
        ProxlbRule(
            name=name,
            members=frozenset(rng.sample(vmids, rng.randint(1, min(len(vmids), 4)))),
            affinity=rng.choice(tuple(Affinity)),
            nodes=rng.choice(RULE_NODES),
        )
        for name in names
    )


def random_view(rng: random.Random) -> ProxlbInput:
    count = rng.randint(1, 7)
    guests = random_guests(rng, count)
    nodes = random_nodes(rng, guests, count)
    names = [guest.name for guest in guests]
    return ProxlbInput(
        nodes=tuple(nodes[: rng.choice((count, count, count, max(1, count - 1)))]),
        guests=tuple(guests),
        pools=random_pools(rng, guests),
        rules=random_rules(rng, guests),
        method=rng.choice((Method.MEMORY, *Method)),
        mode=rng.choice((Mode.USED, *Mode)),
        balanciness=rng.choice((1, 5, 10, 30)),
        threshold=rng.choice((None, None, 0, 20, 60, 90)),
        larger_first=rng.random() < 0.5,
        enforce_affinity=rng.random() < 0.4,
        enforce_pinning=rng.random() < 0.4,
        balance_types=frozenset(rng.choice((GuestType, GuestType, (GuestType.VM,), (GuestType.CT,), ()))),
        ignore_guests=frozenset(name for name in names if rng.random() < 0.05),
        node_limit=a_limit(rng),
        guest_limit=a_limit(rng),
    )


def node_answers(view: ProxlbInput) -> dict[str, Any]:
    rows = [
        {
            "node": node.name,
            "status": "online",
            "cpu": node.cpu.used / node.cpu.total,
            "maxcpu": node.cpu.total,
            "mem": node.memory.used,
            "maxmem": node.memory.total,
            "disk": node.disk.used,
            "maxdisk": node.disk.total,
        }
        for node in view.nodes
    ]
    absent = {guest.node for guest in view.guests} - {node.name for node in view.nodes}
    rows += [{"node": name, "status": "offline"} for name in absent]
    answers: dict[str, Any] = {"/nodes": rows}
    for node in view.nodes:
        answers[f"/nodes/{node.name}/version"] = {"version": "9.2.1"}
        answers[f"/nodes/{node.name}/qemu"] = []
        answers[f"/nodes/{node.name}/lxc"] = [{"vmid": 9999, "name": "off", "status": "stopped"}]
        for cf, data in rrd(node).items():
            answers[f"/nodes/{node.name}/rrddata?{cf}"] = data
    return answers


def guest_answers(view: ProxlbInput) -> dict[str, Any]:
    answers = node_answers(view)
    for guest in view.guests:
        path = f"/nodes/{guest.node}/{'qemu' if guest.type is GuestType.VM else 'lxc'}"
        row = {"vmid": guest.vmid, "name": guest.name, "status": "running", "cpus": guest.cpu.total}
        row |= {"mem": guest.memory.used, "maxmem": guest.memory.total}
        row |= {"disk": guest.disk.used, "maxdisk": guest.disk.total}
        answers.setdefault(path, []).append(row)
        answers[f"{path}/{guest.vmid}/config"] = {"tags": ";".join(guest.tags)} if guest.tags else {}
        for cf, data in rrd(guest).items():
            answers[f"{path}/{guest.vmid}/rrddata?{cf}"] = data
    return answers


def cluster_answers(view: ProxlbInput, rng: random.Random) -> dict[str, Any]:
    answers = guest_answers(view)
    answers["/pools"] = [{"poolid": pool.name} for pool in view.pools]
    for pool in view.pools:
        answers[f"/pools/{pool.name}"] = {"members": [{"storage": "s"}, *({"name": name} for name in pool.members)]}
    answers["/cluster/ha/status/current"] = [
        {"node": node.name, "status": f"{node.name} (maintenance mode, now)" if node.maintenance else "online"}
        for node in view.nodes
    ]
    signs = {Affinity.NEGATIVE: ("negative",), Affinity.POSITIVE: ("positive", None)}
    answers["/cluster/ha/rules"] = [{"rule": "off", "type": "node-affinity", "resources": "vm:100", "disable": 1}]
    for rule in view.rules:
        resources = ",".join(f"{rng.choice(('vm', 'ct'))}:{vmid}" for vmid in rule.members)
        row = {"rule": rule.name, "type": "resource-affinity", "resources": resources, "nodes": rule.nodes}
        sign = rng.choice(signs[rule.affinity])
        answers["/cluster/ha/rules"].append(row | ({"affinity": sign} if sign else {}))
    return answers


def limits(pressure: ProxlbPressure | None, method: Method) -> dict[str, Any]:
    if pressure is None:
        return {}
    names = {"pressure_full": pressure.full, "pressure_some": pressure.some, "pressure_spikes": pressure.spikes}
    return {method: names}


def random_world(seed: int) -> World:
    rng = random.Random(seed)
    view = random_view(rng)
    balancing: dict[str, Any] = {
        "method": view.method,
        "mode": view.mode,
        "balanciness": view.balanciness,
        f"{view.method}_threshold": view.threshold,
        "balance_larger_guests_first": view.larger_first,
        "enforce_affinity": view.enforce_affinity,
        "enforce_pinning": view.enforce_pinning,
        "balance_types": sorted(view.balance_types),
        "ignore_guests": sorted(view.ignore_guests),
        "node_resource_reserve": {node.name: {"memory": node.memory_reserve // GIB} for node in view.nodes},
        "pools": {p.name: {"pin": list(p.pins), "strict": p.strict, "type": p.affinity} for p in view.pools},
    }
    if view.node_limit or view.guest_limit:
        balancing["psi"] = {
            "nodes": limits(view.node_limit, view.method),
            "guests": limits(view.guest_limit, view.method),
        }
    by_config = [node.name for node in view.nodes if node.maintenance and rng.random() < 0.5]
    return World(view, cluster_answers(view, rng), {"maintenance_nodes": by_config}, balancing)


Reference = Callable[[World], Outcome]


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Iterable[Reference]:
    """ProxLB 2.3.0 as a function; it neither sleeps nor logs."""
    proxlb = pytest.importorskip("proxlb", reason="the GPL package proxlb 2.3.0 is an optional test dependency")
    from importlib.metadata import version

    assert proxlb and version("proxlb") == "2.3.0", "this test compares with ProxLB 2.3.0: install that version"
    from proxlb.models.balancing import Balancing

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    started: list[tuple[int, str]] = []

    def start(api: Any, data: Any, name: str) -> None:
        started.append((data.guests[name].id, data.guests[name].node_target))

    monkeypatch.setattr(Balancing, "_exec_rebalancing_vm", staticmethod(start))
    monkeypatch.setattr(Balancing, "_exec_rebalancing_ct", staticmethod(start))

    def plan(world: World) -> Outcome:
        started.clear()
        data = planned_by_proxlb(world)
        api: Any = Api(world.answers)
        Balancing.balance(api, data)
        return outcome_of(data, tuple(started))

    logging.disable(logging.CRITICAL)
    yield plan
    logging.disable(logging.NOTSET)


def planned_by_proxlb(world: World) -> Any:
    """The state in which ProxLB's calculations leave its data, in the order of calls of its main program."""
    from proxlb.models.calculations import Calculations
    from proxlb.models.features import Features
    from proxlb.models.groups import Groups
    from proxlb.models.guests import Guests
    from proxlb.models.ha_rules import HaRules
    from proxlb.models.nodes import Nodes
    from proxlb.models.pools import Pools
    from proxlb.utils.config_parser import Config
    from proxlb.utils.proxlb_data import ProxLbData

    api: Any = Api(world.answers)
    access = {"hosts": ["h"], "user": "u"}
    parts = {"proxmox_api": access, "proxmox_cluster": world.cluster_config, "balancing": world.balancing_config}
    config = Config.model_validate(parts)
    nodes = Nodes.get_nodes(api, config)
    meta = Features.validate_any_non_pve9_node(config, nodes)
    pools = Pools.get_pools(api)
    rules = HaRules.get_ha_rules(api, meta)
    guests = Guests.get_guests(api, pools, rules, nodes, config)
    groups = Groups.get_groups(guests, nodes)
    data = ProxLbData(meta=meta, nodes=nodes, guests=guests, pools=pools, ha_rules=rules, groups=groups)
    Calculations.set_node_assignments(data)
    Calculations.set_node_hot(data)
    Calculations.set_guest_hot(data)
    if Calculations.get_most_free_node(data) is not None:
        Calculations.validate_affinity_map(data)
        Calculations.relocate_guests_on_maintenance_nodes(data)
        Calculations.get_balanciness(data)
        Calculations.relocate_guests(data)
    return data


def outcome_of(data: Any, started: tuple[tuple[int, str], ...]) -> Outcome:
    values = {}
    for node in data.nodes.values():
        for method in Method:
            m = getattr(node, method)
            values[node.name, method] = NodeValue(
                m.total, m.used, m.free, m.used_percent, m.assigned, m.assigned_percent
            )
    return Outcome(started, tuple((guest.id, guest.node_target) for guest in data.guests.values()), values)


@pytest.mark.proxlb
@pytest.mark.parametrize("batch", [0, 1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, BATCHES))])
def test_there_is_no_difference_to_proxlb_on_random_clusters(batch: int, reference: Reference) -> None:
    compared = 0
    for seed in range(batch, CLUSTERS, BATCHES):
        world = random_world(seed)
        expected, found = reference(world), run(world.view)
        assert found == expected, f"cluster {seed}: {world.view}"
        compared += len(found.migrations)
    assert compared > CLUSTERS / BATCHES / 2, "hardly anything was migrated: the clusters are too tame"
