"""Claims about the second opinion on schedules: it lets a good plan be, and objects to everything that can be wrong."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner.plan import Checkpoint, Migration, Plan
from tests.event_simulation import at_every_instant
from tests.scenario import parse
from tests.test_scenarios import plan_of

CLUSTER = """
behaviour: everything that can be wrong with an order
nodes: {a: 40, b: 40, c: 40, d: 8}
guests:
  1: {on: a, memory: 16, tags: [plb_anti_affinity_x]}
  2: {on: a, memory: 16}
  3: {on: b, memory: 16, tags: [plb_anti_affinity_x]}
  4: {on: b, memory: 4, tags: [plb_affinity_y]}
  5: {on: b, memory: 4, tags: [plb_affinity_y]}
  6: {on: a, memory: 2, tags: [plb_pin_a]}
  7: {on: b, memory: 8, lock: backup}
settings: {policy: {balanciness: 100}, cluster: {maintenance_nodes: [d]}}
expect: {status: no_action}
"""
BOTH = [(2, "a", "c", 0, ()), (1, "a", "c", 1, ())]
SHIFT = [(3, "b", "c", 0, ()), (2, "a", "b", 1, (1,))]
PAIR = [(4, "b", "c", 0, ()), (5, "b", "c", 1, (1,))]


def _migrations(given: Iterable[Any]) -> list[Migration]:
    """Of vmid, from, to, when each begins, and what it waits for; each takes a second."""
    return [
        Migration(
            vmid=vmid, name=f"g{vmid}", type="vm", source=source, target=target, memory_mib=1024, local_disk_mib=0,
            running=True, reason="", spread_without=0, number=number, after=tuple(after),
            bundle=4 if vmid in (4, 5) else vmid, begin=begin, end=begin + 1, rate=1024.0,
        )
        for number, (vmid, source, target, begin, after) in enumerate(given, 1)
    ]  # fmt: skip


def _plan(directory: Path, there: list[Any], back: list[Any] | None = None) -> Plan:
    """With these migrations in one wave, and with this way back; without one it is the reverse of the plan."""
    plan = plan_of(parse(CLUSTER), "greedy", directory)
    wave = tuple(_migrations(there))
    if back is None:
        of = {number: len(there) - at for at, number in enumerate(range(1, len(there) + 1))}
        after: dict[int, list[int]] = {number: [] for number in of}
        for number, (*_, waits) in enumerate(there, 1):
            for before in waits:
                after[before].append(of[number])
        turned = [(v, t, s, 0, after[number]) for number, (v, s, t, _, _) in enumerate(there, 1)]
        back = turned[::-1]
    end = max(migration.end for migration in wave)
    at = {1: "a", 2: "a", 3: "b", 4: "b", 5: "b", 6: "a", 7: "b"} | {m.vmid: m.target for m in wave}
    sizes = {1: 16, 2: 16, 3: 16, 4: 4, 5: 4, 6: 2, 7: 8}
    loads = [sum(sizes[v] for v, on in at.items() if on == node) / 0.4 for node in "abc"]
    after_all = replace(plan.spread, after=max(loads) - min(loads))
    times = replace(
        plan.schedule, parallel=2, per_source=2, per_target=2, seconds=end, bound=len(there) / 2, one_by_one=len(there),
        checkpoints=(Checkpoint(after_all.after, 0, end),),
    )  # fmt: skip
    return replace(plan, waves=(wave,), rollback=(tuple(_migrations(back)),), schedule=times, spread=after_all)


@pytest.mark.parametrize("there", [BOTH, SHIFT, PAIR])
def test_a_good_plan_is_let_be(there: list[Any], tmp_path: Path) -> None:
    assert at_every_instant(parse(CLUSTER), _plan(tmp_path, there)) == []


@pytest.mark.parametrize(
    ("there", "objection"),
    [
        ([(2, "b", "c", 0, ())], "guest 2 is not on b, or goes nowhere"),
        ([(2, "a", "c", 0, ()), (2, "c", "b", 1, ())], "guest 2 is not on c, or goes nowhere"),
        ([(3, "b", "c", 0, ()), (2, "a", "b", 1, ())], "b is overfull: 2 comes, memory is short"),
        ([(2, "a", "d", 0, ())], "d takes no guests: 2"),
        ([(6, "a", "c", 0, ())], "c is not a home by plb_pin_a: 6"),
        ([(7, "b", "c", 0, ())], "c has to stay: 7"),
        ([(3, "b", "c", 0, ()), (1, "a", "c", 1, (1,))], "apart no more because of 1: plb_anti_affinity_x"),
        ([(3, "b", "c", 0, ()), (4, "b", "c", 0, ()), (5, "b", "c", 0, ()), (1, "a", "b", 1, (2, 3))], "apart no more"),
        ([(4, "b", "c", 0, ())], "together no more, after 1: plb_affinity_y"),
        ([(2, "a", "c", 0, (2,)), (3, "b", "c", 0, (1,))], "migrations [1, 2] wait for ever"),
    ],
)
def test_it_objects_to_migrations(there: list[Any], objection: str, tmp_path: Path) -> None:
    found = [line for seed in range(5) for line in at_every_instant(parse(CLUSTER), _plan(tmp_path, there), seed)]
    assert any(objection in line for line in found), found


@pytest.mark.parametrize(
    ("back", "objection"),
    [
        ([], "the way back does not bring guests to where they were: {2: 'a', 3: 'b'}"),
        ([(2, "b", "a", 0, ()), (3, "c", "b", 0, ())], "on the way back: b is overfull: 3 comes"),
        ([(2, "b", "c", 0, ()), (3, "c", "b", 0, (1,))], "the way back does not bring guests to where they were"),
        ([(2, "b", "a", 0, (2,)), (3, "c", "b", 0, (1,))], "on the way back: migrations [1, 2] wait for ever"),
    ],
)
def test_it_objects_to_a_way_back(back: list[Any], objection: str, tmp_path: Path) -> None:
    found = [line for seed in range(5) for line in at_every_instant(parse(CLUSTER), _plan(tmp_path, SHIFT, back), seed)]
    assert any(objection in line for line in found), found


@pytest.mark.parametrize(
    ("changes", "objection"),
    [
        ({"bound": 1.5}, "at least 1.5"),
        ({"seconds": 1.5}, "the last one ends after 1 s, not 1.5"),
        ({"one_by_one": 0.5}, "one by one 0.5"),
        ({"parallel": 1}, "more than Limits(parallel=1"),
        ({"per_source": 1}, "more than Limits(parallel=2, per_source=1"),
        ({"per_target": 1}, "per_target=1)"),
        ({"bandwidth": 2047}, "at 0 s a carries 2048.0 MiB/s"),
        ({"checkpoints": ()}, "1 waves, 0 checkpoints"),
        ({"checkpoints": (Checkpoint(0, 0, 2),)}, "the spread after wave 1 is"),
        ({"checkpoints": (Checkpoint(0, 1, 2),)}, "worse after wave 1 than before"),
        ({"checkpoints": (Checkpoint(0, 0, 2),)}, "wave 1 does not end after 2 s"),
    ],
)
def test_it_objects_to_figures(changes: dict[str, Any], objection: str, tmp_path: Path) -> None:
    plan = _plan(tmp_path, [(2, "a", "c", 0, ()), (1, "a", "c", 0, ())])
    found = at_every_instant(parse(CLUSTER), replace(plan, schedule=replace(plan.schedule, **changes)))
    assert any(objection in line for line in found), found


def test_it_objects_to_a_bound_that_another_order_beats(tmp_path: Path) -> None:
    plan = _plan(tmp_path, BOTH)
    wrong = replace(plan.schedule, bound=1.5)
    assert any("takes 1.0" in line for line in at_every_instant(parse(CLUSTER), replace(plan, schedule=wrong)))


def test_it_objects_to_numbers_that_are_not_in_the_order_of_starts(tmp_path: Path) -> None:
    plan = _plan(tmp_path, [(2, "a", "c", 1, ()), (1, "a", "c", 0, ())])
    assert "the numbers are not in the order of starts" in at_every_instant(parse(CLUSTER), plan)


def test_it_objects_to_a_start_before_what_it_waits_for_has_ended(tmp_path: Path) -> None:
    plan = _plan(tmp_path, [(3, "b", "c", 0, ()), (2, "a", "b", 0.5, (1,))])
    assert any("before what it waits for" in line for line in at_every_instant(parse(CLUSTER), plan))
