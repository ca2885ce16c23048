"""Claims about consolidation: nodes are emptied under all rules and with headroom, and it is said why no more are."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from planner import candidates, emptying, report_consolidate
from planner import consolidate as consolidating
from planner.assumptions import check_assumptions
from planner.cluster import Cluster
from planner.collect import collect
from planner.config import load as configured
from planner.consolidate import COLUMNS, Consolidation, consolidate
from planner.errors import UsageError
from planner.plan import load
from planner.planning import prepare
from planner.policy import Cluster as ClusterPolicy
from planner.pve import Pve
from planner.session import demonstrate
from planner.snapshot import save
from solvers import Budget
from solvers.problem import Bools
from tests.commandline import Cli, alone, calling
from tests.draw import FEATURES, draw
from tests.fakecluster import serving, small_cluster
from tests.rows import Row, cluster, ct, node, offline, vm
from tests.test_cli import finished
from tests.test_pace import migrated_cluster
from tests.test_pages import configure
from tests.test_survive import survives

QUICK: dict[str, Any] = {"time_limit": 4, "solver": "descent"}


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    alone(monkeypatch, tmp_path)
    return calling(capsys)


def made(*guests: Row, names: str = "abcdef", **gib: float) -> Cluster:
    """Nodes of 64 GiB unless said otherwise, with what their guests use."""
    used = {name: sum(row["mem"] for row in guests if row["node"] == name) / 2**30 for name in names}
    return cluster(*(node(name, gib.get(name, 64), used[name]) for name in names), *guests)


EVEN = tuple(vm(10 + i, "abcdef"[i % 6], 8) for i in range(12))
"""Two guests of 8 GiB on each of six nodes: all fit on two, with a third on which the guests of one start."""


def off(found: Consolidation) -> int:
    return len(found.nodes)


def why(found: Consolidation) -> str:
    return " | ".join(found.why)


# How many, and why not more


def test_as_many_nodes_stay_on_as_the_quorum_needs_when_one_more_fails() -> None:
    found = made(*EVEN).consolidate(**QUICK)
    assert (off(found), found.bound, found.keep, found.proven) == (1, 1, 5, True)
    assert "5 of 6 nodes have to be online so that the cluster has a quorum even when one more fails" in why(found)
    assert off(made(*EVEN).consolidate(survive=0, **QUICK)) == 2
    apart_from_two = cluster(*(node(n) for n in "abcd"), offline("e"), offline("f"), vm(1, "a"))
    assert off(apart_from_two.consolidate(survive=0, **QUICK)) == 0, "4 of 6 are online, and 4 have to be"


def test_headroom_is_kept_for_guests_of_ha_or_where_there_are_none_for_all_that_run() -> None:
    found = made(*EVEN).consolidate(keep=1, **QUICK)
    assert (off(found), found.restart, found.proven) == (3, "all", True), "two nodes hold 96 GiB, not without a third"
    assert "(memory) and take over the running guests of any one of them that fails" in why(found)
    managed = made(*(row | {"hastate": "started"} if row["vmid"] < 12 else row for row in EVEN))
    found = managed.consolidate(keep=1, **QUICK)
    assert (off(found), found.restart) == (4, "ha") and found.plan is not None and found.plan.survival is not None
    assert found.plan.survival.after == ()
    assert off(managed.consolidate(keep=1, restart="all", **QUICK)) == 3
    without = made(*EVEN).consolidate(keep=1, survive=0, **QUICK)
    assert (off(without), without.survive) == (4, 0) and "(memory)" in why(without) and "fails" not in why(without)


def test_whether_one_more_loss_is_survived_is_as_configured_by_file_environment_or_flag_and_otherwise_it_is(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def survived(*words: object) -> int:
        asked = ("--snapshot", file(tmp_path, made(*EVEN)), "--time-limit", 4, "--solver", "descent")
        return int(json.loads(cli("consolidate", *asked, "--output", "json", *words).out)["survive"])

    (tmp_path / "c.yaml").write_text("policy: {survive: 0}\n")
    assert survived("--config", tmp_path / "c.yaml") == 0
    monkeypatch.setenv("PROXLB_PLAN_POLICY__SURVIVE", "1")
    assert (survived("--config", tmp_path / "c.yaml"), survived("--survive", 0)) == (1, 0)
    configured_so = replace(made(*EVEN), config=configured(str(tmp_path / "c.yaml"), {}, {}))
    assert configured_so.consolidate(**QUICK).survive == 0 and made(*EVEN).consolidate(**QUICK).survive == 1


def test_a_quorum_that_would_be_lost_is_remarked_on() -> None:
    notes = " | ".join(made(*EVEN).consolidate(keep=3, **QUICK).notes)
    assert "with 3 of 6 nodes online the cluster has no quorum, unless it has more votes than nodes" in notes
    assert "no quorum when one more fails" in " ".join(made(*EVEN).consolidate(keep=4, **QUICK).notes)
    assert "quorum" not in " ".join(made(*EVEN).consolidate(**QUICK).notes)


@pytest.mark.parametrize(
    ("keep", "managed", "words"),
    [
        (5, True, "then the loss of any one node more is survived: its HA guests find a place"),
        (4, True, "there is room for its HA guests on those that stay on; with 3 of 6 nodes left there is no quorum"),
        (5, False, "there is room for its running guests on those that stay on, but HA does not start them by itself"),
        (4, False, "but HA does not start them by itself; with 3 of 6 nodes left there is no quorum then"),
    ],
)
def test_survived_is_a_loss_after_which_ha_starts_the_guests_elsewhere(keep: int, managed: bool, words: str) -> None:
    found = made(*(row | {"hastate": "started"} if managed else row for row in EVEN)).consolidate(keep, **QUICK)
    last = list(report_consolidate.lines(found))[-1]
    assert words in last and ("survived" in last) == (keep == 5 and managed)
    written = json.loads(found.to_json())
    assert (written["quorum_after_loss"], written["ha_starts"]) == (keep == 5, managed)
    assert (written["online"], written["quorum"]) == (keep, 4)


def test_so_many_nodes_stay_on_as_are_asked_for() -> None:
    for keep in range(3, 7):
        found = made(*EVEN).consolidate(keep, **QUICK)
        assert (off(found), found.proven) == (max(0, 6 - keep), True)
        assert f"{keep} have to stay on, as was asked for" in why(found) or keep == 3


def test_templates_and_guests_that_stay_keep_their_node_on_and_are_named() -> None:
    rows = [*EVEN, vm(90, "a", template=1, status="stopped"), vm(91, "b", 1, lock="backup"), vm(92, "c", 1),
            vm(93, "d", 1, tags="plb_pin_d"), ct(94, "e", 1, tags="plb_ignore")]  # fmt: skip
    found = made(*rows).consolidate(1, maintenance_nodes=["f"], **QUICK)
    assert found.nodes == ("c",)
    assert {name: "; ".join(reasons) for name, reasons in found.stays.items()} == {
        "a": "template 90 (g90) is never migrated",
        "b": "guest 91 (g91) stays: it is locked (backup)",
        "d": "guest 93 (g93) may be on no other node",
        "e": "guest 94 (g94) stays: tag plb_ignore",
        "f": "it is in maintenance",
    }
    assert "something stays on all others" in why(found)


def test_guests_that_find_no_place_whatever_is_off_do_not_forbid_everything() -> None:
    found = made(*EVEN, vm(93, "d", 1, tags="plb_pin_d")).consolidate(1, **QUICK)
    assert off(found) == 3 and "d" not in found.nodes
    assert any("guest 93 (g93) would find no place if their node failed" in note for note in found.notes)
    assert found.exempt == ("guest 93 (g93)",)
    assert "by itself, but for guest 93 (g93)" in list(report_consolidate.lines(found))[-1]


def test_room_that_rules_leave_only_elsewhere_is_made_and_where_it_cannot_be_nothing_is_claimed() -> None:
    """Of two guests that are kept apart and have two nodes each, with one in common, one has to leave that."""
    one = vm(10, "a", 4, tags="plb_pin_a;plb_pin_b;plb_anti_affinity_x", hastate="started")
    two = vm(11, "b", 4, tags="plb_pin_b;plb_pin_c;plb_anti_affinity_x", hastate="started")
    others = [vm(12, "c", 4, hastate="started"), vm(13, "d", 4, hastate="started")]
    here = made(one, two, *others, names="abcde")
    found = here.consolidate(3, time_limit=4)
    assert (
        found.nodes == ("d", "e") and not found.exempt and (11, "c") in {(m.vmid, m.target) for m in found.migrations}
    )
    bound = here.consolidate(3, max_migrations=0, time_limit=4)
    assert bound.nodes == () and "today the loss of a is not survived, with all nodes on" in why(bound)


def test_empty_nodes_need_no_migration() -> None:
    found = made(*EVEN[:2], names="abcde").consolidate(3, **QUICK)
    assert off(found) == 2 and found.migrations == () and set(found.nodes) < set("cde")


def test_nothing_is_possible_and_that_is_said() -> None:
    full = made(*(vm(10 + i, "abc"[i % 3], 30) for i in range(6)), names="abc").consolidate(1, **QUICK)
    assert (full.nodes, full.plan, full.bound, full.proven) == ((), None, 0, True)
    assert why(full).startswith("none can be switched off, proven: the others could not hold what all guests need")
    two = made(*EVEN[:2], names="ab").consolidate(0, **QUICK)
    assert two.nodes == () and "no node would be left to take over its guests" in why(two)
    assert off(made(*EVEN[:2], names="ab").consolidate(0, survive=0, **QUICK)) == 1
    single = cluster(node("a"), vm(1, "a")).consolidate(**QUICK)
    assert (single.nodes, single.bound) == ((), 0)


@pytest.mark.parametrize("limits", [{"max_migrations": 2}, {"max_gib": 16}])
def test_limits_on_migrations_hold(limits: dict[str, Any]) -> None:
    found = made(*EVEN).consolidate(1, **QUICK, **limits)
    assert off(found) == 1 and len(found.migrations) == 2 and found.proven
    assert "2 cannot be empty under all rules and within " in why(found)


def test_rules_hold_in_the_plan() -> None:
    rows = [vm(10 + i, "abcd"[i % 4], 4, tags="plb_anti_affinity_x" if i < 3 else "") for i in range(8)]
    found = made(*rows, names="abcd").consolidate(1, survive=0, **QUICK)
    assert off(found) == 1 and found.plan is not None and found.plan.violations_after == ()
    assert "2 cannot be empty under all rules" in why(found)


def test_what_is_freed_and_each_node_are_in_the_frame() -> None:
    found = made(*EVEN, vm(90, "a", template=1, status="stopped")).consolidate(4, **QUICK)
    frame = found.frame
    assert list(frame) == [column.name for column in COLUMNS]
    assert [str(dtype) for dtype in frame.dtypes] == [column.dtype for column in COLUMNS]
    assert frame["node"][frame["off"]].tolist() == list(found.nodes) and frame["guests"].tolist() == [2] * 6
    assert found.freed == (2 * 64 * 1024, 2 * 16) and "template" in frame["why"][0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"keep": -1}, "keep is -1"),
        ({"keep": 7}, "keep is 7: 6 nodes take guests"),
        ({"solver": "proxlb"}, "choose from greedy"),
        ({"restart": "none"}, "ha or all"),
    ],
)
def test_what_cannot_be_asked_is_refused(words: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        made(*EVEN).consolidate(**words)


# Plans


def test_where_the_plan_that_balances_loses_headroom_there_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    from planner import emptying

    here = made(*(row | {"hastate": "started"} for row in EVEN))
    found = here.consolidate(4, **QUICK)
    monkeypatch.setattr(emptying, "make_plan", lambda case, *_: consolidated_nothing(case))
    again = here.consolidate(4, **QUICK)
    assert found.plan is not None and again.plan is not None
    assert again.nodes and len(again.migrations) == 4 and left_on(here, again) == set()


def consolidated_nothing(case: Any) -> Any:
    """A plan that migrates nothing."""
    from planner.planning import make_plan

    return make_plan(replace(case, formulation=replace(case.formulation, problem=case.formulation.problem.replace(
        max_migrations=0))), "greedy")  # fmt: skip


def test_nodes_to_which_no_plan_gets_are_given_up_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from planner import emptying

    real = emptying.planned

    def blocked(item: Any, *rest: Any) -> Any:
        return (None, {item.names.index("a")}) if "a" in item.names else real(item, *rest)

    monkeypatch.setattr(emptying, "planned", blocked)
    found = made(*(row for row in EVEN if row["vmid"] != 10)).consolidate(5, **QUICK)
    assert off(found) == 1 and "a" not in found.nodes and "for a no plan was found" in why(found)


def left_on(here: Cluster, found: Consolidation) -> set[int]:
    """Guests on nodes that are to be switched off."""
    at = dict(zip(map(int, here.guests["vmid"]), map(str, here.guests["node"]), strict=True))
    at |= {m.vmid: m.target for m in found.migrations}
    return {vmid for vmid, name in at.items() if name in found.nodes}


@pytest.mark.parametrize("seeds", [range(8), pytest.param(range(8, 60), marks=pytest.mark.slow)])
def test_random_clusters_with_rules_of_every_kind_keep_them_and_survive_the_loss_of_one_more(
    tmp_path: Path, seeds: range
) -> None:
    seen = 0
    for seed in seeds:
        rng = Random(seed)
        scenario = draw(seed, rng.randint(3, 6), rng.randint(3, 12), rng.sample(sorted(FEATURES), rng.randint(1, 6)))
        config, here = scenario.config(tmp_path), collect(scenario.snapshot())
        policy = replace(config.policy, survive=1, time_limit=4, allow_partial=True)
        case = prepare(here, policy, config.cluster, config.apply)
        found = consolidate(case, rng.choice([1, 1, 2]), rng.choice([None, "all"]), "descent")
        assert off(found) <= found.bound
        if found.plan is None:
            continue
        seen += 1
        assert left_on(here, found) == set(), seed
        assert len(found.plan.violations_after) <= len(found.plan.violations_before)
        assert len({m.vmid for m in found.migrations}) <= (policy.max_migrations or 99)
        assert found.plan.moved_gib <= (policy.max_gib or 1e9)
        assert not lost(case, here, found), seed
    assert seen > len(seeds) // 4


def lost(case: Any, here: Cluster, found: Consolidation) -> list[int]:
    """Nodes whose loss is not survived then, by trying all places of their guests; not of those that have none."""
    problem, guests = case.formulation.problem, case.formulation.guests
    balanced = problem.balanced & ~np.isin(case.formulation.nodes, found.nodes)
    running: Bools = ~guests["status"].isin(["stopped", "unknown"]).to_numpy(dtype=bool)
    managed: Bools = guests["ha_state"].isin(["started", "request_start"]).to_numpy(dtype=bool)
    starts = running & (managed if found.restart == "ha" else True)
    exempt = [int(guest.split()[1]) for guest in found.exempt]
    starts &= ~guests["vmid"].isin(exempt).to_numpy(dtype=bool)
    after = case.formulation.after(found.migrations)
    small = [n for n in range(problem.nodes) if (starts & (after == n)).sum() <= 5]
    return [n for n in small if not survives(problem.replace(balanced=balanced), starts, after, n)]


# The command


def file(tmp_path: Path, here: Cluster) -> Path:
    save(here.snapshot, tmp_path / "s.json")
    return tmp_path / "s.json"


def test_the_command_shows_the_plan_and_why_no_more(cli: Cli, tmp_path: Path) -> None:
    words = ("--snapshot", file(tmp_path, made(*EVEN)), "--time-limit", 4, "--solver", "descent")
    shown = cli("consolidate", *words, "--keep", 4, "--out", tmp_path / "p.json")
    assert shown.code == 0 and "could be switched off: " in shown.out and "4 have to stay on" in shown.out
    assert (
        "if one node more is lost there is room for its running guests" in shown.out
        and "no quorum when one more" in shown.err
    )
    assert len(load(tmp_path / "p.json").migrations) == 4 == len(load(tmp_path / "p.json").drained) * 2
    written = json.loads(cli("consolidate", *words, "--output", "json").out)
    assert written["proven"] and len(written["nodes"]) == 1 and written["plan"]["format"] == "proxlb-plan/2"
    assert cli("consolidate", *words, "--detailed-exitcode").code == 2


def test_the_command_ends_well_where_nothing_can_be_switched_off(cli: Cli, tmp_path: Path) -> None:
    here = file(tmp_path, made(*(vm(10 + i, "abc"[i % 3], 30) for i in range(6)), names="abc"))
    shown = cli("consolidate", "--snapshot", here, "--keep", 1, "--out", tmp_path / "p.json", "--time-limit", 4)
    assert shown.code == 0 and "no node can be switched off" in shown.out and not (tmp_path / "p.json").exists()
    assert "no plan was written" in shown.err


def test_its_help_names_what_holds_without_options(cli: Cli) -> None:
    text = " ".join(cli("consolidate", "--help").out.replace("│", " ").split())
    assert "proxlb-plan consolidate" in text and "[default: what the quorum needs]" in text
    assert "descent" in text and "proxlb" not in text.replace("proxlb-plan", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--keep -1", "--keep"),
        ("--survive 2", "--survive"),
        ("--solver proxlb", "'greedy', 'descent', 'cpsat'"),
        ("--keep 9", "keep is 9: 5 nodes take guests"),
    ],
)
def test_every_mistake_gets_one_line(cli: Cli, words: str, message: str) -> None:
    outcome = cli("consolidate", "--demo", *words.split())
    assert outcome.code == 64 and message in outcome.complaint and outcome.out == ""


def test_without_ortools_it_says_how_to_install_it(tmp_path: Path) -> None:
    program = "import sys; sys.modules['ortools'] = None; from planner.cli import main; main(sys.argv[1:])"
    code, out, err = finished("-c", program, "consolidate", "--demo", directory=tmp_path)
    assert (code, out) == (1, "") and "pip install" in err and "Traceback" not in err


@pytest.mark.parametrize("carried_out", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_guest_that_proxmox_would_not_migrate_keeps_its_node_on_and_the_plan_can_be_carried_out(
    cli: Cli, tmp_path: Path, carried_out: bool
) -> None:
    pve = small_cluster()
    pve.time_scale = 0
    pve.add_guest(300, "pve3", gib=2)
    with serving(pve, tmp_path) as served:
        configure(served, tmp_path)
        config = ("--config", tmp_path / "proxlb-plan.yaml")
        words = (*config, "--keep", 2, "--survive", 0, "--time-limit", 4, "--solver", "descent", "--output", "json")
        before = json.loads(cli("consolidate", *words).out)
        assert before["nodes"] == ["pve3"]
        next(guest for guest in pve.guests if guest.vmid == 300).pci = True
        after = json.loads(cli("consolidate", *words, "--out", tmp_path / "p.json").out)
        assert after["nodes"] == ["pve2"] and "guest 300" in after["stays"]["pve3"][0]
        if carried_out:
            assert cli("apply", tmp_path / "p.json", "--yes", *config).code == 0
            assert not [guest for guest in pve.guests if guest.node == "pve2"]


@pytest.mark.parametrize("refused", [0, 4, pytest.param(99, marks=pytest.mark.slow)])
def test_the_time_limit_is_for_all_that_is_planned_however_often_proxmox_refuses(
    monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    """By a clock that only planning moves on, as far as its budget allows."""
    now, refusals, seconds = [0.0], iter([True] * refused), list[float]()
    monkeypatch.setattr("solvers.possible.time.monotonic", lambda: now[0])
    real = consolidating.consolidate

    def taking_all(case: Any, keep: Any, restart: Any, solver: str, budget: Any) -> Consolidation:
        now[0] += budget.seconds
        seconds.append(budget.seconds)
        return real(case, keep, restart, solver, Budget(seconds=4))

    monkeypatch.setattr(consolidating, "consolidate", taking_all)
    monkeypatch.setattr(candidates._Inquiry, "admits", lambda *_: not next(refusals, False))
    session = demonstrate(configured(None, {"policy": {"time_limit": 20.0}}, {}), "small")
    found = consolidating.checked_consolidation(session, 3, None, "descent", Budget(seconds=20))
    assert found.nodes and sum(seconds) <= 20 and max(seconds) > 3


def test_the_time_limit_is_for_all_choices_where_no_plan_gets_to_the_first_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, given = [0.0], list[float]()

    def planned(item: Any, assignment: Any, solver: str, budget: Any) -> Any:
        now[0] += budget.seconds / 2
        given.append(budget.seconds)
        return None, {int(np.flatnonzero(item.off)[0])}

    monkeypatch.setattr("solvers.possible.time.monotonic", lambda: now[0])
    monkeypatch.setattr(emptying, "planned", planned)
    found = made(*EVEN).consolidate(3, **QUICK)
    assert not found.nodes and given == [4, 2, 1], "each what is left; choosing took no time"


def test_a_plan_counts_with_the_speed_of_the_clusters_own_migrations(cli: Cli, tmp_path: Path) -> None:
    with serving(migrated_cluster(), tmp_path) as served, Pve(served.connection()) as api:
        for kind, vmid, how in (("qemu", 100, "online"), ("qemu", 101, "online"), ("lxc", 200, "restart")):
            api.post(f"/nodes/pve1/{kind}/{vmid}/migrate", target="pve3", **{how: 1})
        api.post("/nodes/pve1/qemu/110/migrate", target="pve3", online=1, **{"with-local-disks": 1})
        configure(served, tmp_path)
        words = ("--config", tmp_path / "proxlb-plan.yaml", "--keep", 2, "--survive", 0, "--output", "json")
        plan = json.loads(cli("consolidate", *words, "--with-local-disks").out)["plan"]
    assert plan["waves"] and plan["schedule"]["pace"] == "from 4 migrations of this cluster"


def test_a_guest_that_leaves_a_node_which_is_to_be_emptied_repairs_no_rule() -> None:
    broken = vm(90, "a", 1, tags="plb_pin_b")
    found = made(*EVEN, broken).consolidate(5, **QUICK)
    assert found.plan is not None and len(found.nodes) == 1
    assert {m.reason for m in found.migrations if m.vmid < 90} == {f"empties {found.nodes[0]}"}
    assert len(found.plan.violations_before) == 1 and "but pinned to b" in found.plan.violations_before[0]
    assert [point.violations for point in found.plan.schedule.checkpoints] == [1] * len(found.plan.waves)


def test_a_plan_assumes_the_nodes_in_maintenance_like_that_of_drain(cli: Cli, tmp_path: Path) -> None:
    here = made(*EVEN)
    found = here.consolidate(**QUICK)
    assert found.plan is not None
    drained = here.plan("descent", maintenance_nodes=list(found.nodes), time_limit=4)
    assert found.plan.assumes == drained.assumes and found.plan.drained == found.nodes
    check_assumptions(found.plan, here, ClusterPolicy())
