"""Claims about the command drain: what it says is proven, which nodes it refuses, and that guests who stay are seen."""

import json
from pathlib import Path
from typing import Any

import pytest

from planner.drain import left
from planner.planning import make_plan, prepare
from planner.policy import Cluster as ClusterPolicy
from planner.policy import Policy
from planner.snapshot import Snapshot, save
from tests import rows
from tests.commandline import Cli, alone, calling
from tests.fakecluster import serving, small_cluster
from tests.rows import ct, node, offline, snapshot, vm
from tests.test_pages import configure

NODES = (node("a"), node("b"), node("c"))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    alone(monkeypatch, tmp_path)
    return calling(capsys)


@pytest.fixture
def drain(cli: Cli, tmp_path: Path) -> Any:
    """Runs drain on a cluster of these rows."""

    def run(*words: str, rows: Any = (), nodes: Any = NODES, solver: str = "cpsat") -> Any:
        taken: Snapshot = snapshot(*nodes, *rows)
        save(taken, tmp_path / "s.json")
        return cli("drain", *words, "--snapshot", tmp_path / "s.json", "--solver", solver, "--time-limit", "3")

    return run


# What is proven


FULL = (vm(1, "a", gib=4), vm(2, "b", gib=16), vm(3, "b", gib=16), vm(4, "c", gib=8))
"""Without a migration from b, the spread over b and c is 20 GiB of 64 when a is empty."""


def test_that_others_might_bring_balanciness_is_not_denied(drain: Any, cli: Cli, tmp_path: Path) -> None:
    shown = drain("a", "--until-balanced", rows=FULL)
    assert "balanciness 10 is not reached" in shown.out and "out of reach" not in shown.out
    words = ("--snapshot", tmp_path / "s.json", "--maintenance-nodes", "a", "--until-balanced", "--time-limit", "3")
    assert "within balanciness" in cli("plan", *words).out  # others do bring it


def test_where_only_rules_are_repaired_no_spread_is_called_the_smallest(drain: Any) -> None:
    shown = drain("a", "--repair-only", rows=[vm(1, "a", gib=8), vm(2, "a", gib=8), vm(3, "b", gib=20)])
    assert "rules are repaired with the fewest migrations" in shown.out and "smaller spread" not in shown.out


# Nodes


def test_a_node_that_cannot_be_drained_is_refused_with_the_reason(drain: Any) -> None:
    some = [vm(1, "a"), vm(2, "b")]
    wrong = drain("n9", rows=some)
    assert (wrong.code, wrong.complaint) == (64, "proxlb-plan: there is no node n9: there are a, b, c")
    down = drain("d", rows=some, nodes=(*NODES, offline("d")))
    assert (down.code, down.complaint) == (1, "proxlb-plan: node d is offline: its guests cannot be migrated")
    ignored = drain("a", "--ignore-nodes", "a", rows=some)
    assert ignored.code == 64 and "node a is left alone: take it out of cluster.ignore_nodes" in ignored.complaint


def test_why_a_guest_leaves_is_the_drain_or_the_maintenance_that_there_is_today(drain: Any) -> None:
    some = [vm(1, "a"), vm(2, "b"), vm(3, "c")]
    plan = json.loads(drain("a", "--output", "json", rows=[vm(1, "a", tags="plb_pin_b"), vm(2, "b"), vm(3, "c")]).out)
    assert plan["violations_before"] == ["guest 1 (g1) is on a, but pinned to b"], "it is broken today"
    plan = json.loads(drain("a", "--output", "json", rows=some).out)
    assert (plan["waves"][0][0]["reason"], plan["violations_before"]) == ("empties a", [])
    nodes = (node("a", hastate="maintenance"), *NODES[1:])
    plan = json.loads(drain("a", "--output", "json", rows=some, nodes=nodes).out)
    assert plan["waves"][0][0]["reason"] == "repairs: guest 1 (g1) is on a, which is in maintenance"
    assert plan["violations_before"] == ["guest 1 (g1) is on a, which is in maintenance"]


# Guests that stay


@pytest.mark.parametrize(
    ("facts", "reason"),
    [({"tags": "plb_ignore"}, "tag plb_ignore"), ({"lock": "backup"}, "it is locked (backup)")],
)
@pytest.mark.parametrize("output", ["table", "json", "commands"])
def test_a_node_that_is_not_emptied_ends_with_3_and_names_who_stays(
    drain: Any, facts: Any, reason: str, output: str
) -> None:
    shown = drain("a", "--output", output, "--detailed-exitcode", rows=[vm(1, "a"), vm(3, "a", **facts)])
    assert shown.code == 3
    assert f"a is not empty after this plan: guest 3 (g3: {reason}) stays" in shown.err.splitlines()


@pytest.mark.parametrize("solver", ["greedy", "descent", "cpsat"])
def test_a_limit_that_leaves_guests_is_seen(drain: Any, solver: str) -> None:
    some = [vm(vmid, "a") for vmid in range(1, 13)]
    shown = drain("a", "b", "--max-migrations", "2", rows=some, solver=solver)
    assert shown.code == 3 and "a is not empty after this plan: guest " in shown.err
    assert "within the rules and limits)" in shown.err and " and 2 more stay" in shown.err
    assert "b is not empty" not in shown.err


def test_a_node_that_is_emptied_ends_well_and_templates_are_named(drain: Any) -> None:
    shown = drain("a", "a", rows=[vm(1, "a"), ct(2, "a"), vm(9, "a", template=1, status="stopped")])
    assert shown.code == 0
    assert "note: a keeps template 9 (g9), which no plan migrates" in shown.err
    assert "not empty" not in shown.err


def test_what_stays_is_what_the_migrations_do_not_take() -> None:
    homes = {vmid: "abc"[vmid % 3] for vmid in range(1, 13)}
    some = [vm(vmid, on, lock="backup" if vmid % 4 == 0 else "") for vmid, on in homes.items()]
    here = rows.cluster(*NODES, *some)
    plan = make_plan(prepare(here, Policy(time_limit=3), ClusterPolicy(maintenance_nodes=("a",))), "descent")
    after = homes | {m.vmid: m.target for m in plan.migrations}
    (found,) = left(here, plan, ("a",))
    assert [int(text.split()[1]) for text in found.guests] == [vmid for vmid, on in after.items() if on == "a"] == [12]


def test_the_plan_of_a_drain_is_carried_out_as_it_stands(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planner.cli_site.FIGURES", 0.0)
    pve = small_cluster()
    pve.time_scale = 0
    with serving(pve, tmp_path) as served:
        configure(served, tmp_path)
        words = ("--config", tmp_path / "proxlb-plan.yaml")
        drained = cli("drain", "pve1", *words, "--out", tmp_path / "drain.json", "--solver", "descent")
        assert drained.code == 0 and "empties pve1" in drained.out and "broken rules" not in drained.out
        assert cli("apply", tmp_path / "drain.json", "--yes", *words).code == 0
        after = cli("drain", "pve1", *words, "--solver", "descent", "--output", "json")
    assert after.code == 0 and json.loads(after.out)["waves"] == []
