"""Claims about CPU types: a running virtual machine goes only where its CPU goes on, and asking costs little."""

from dataclasses import replace
from typing import Any

import pytest

from planner import cpu, preconditions
from planner.anonymise import anonymised
from planner.candidates import checked
from planner.collect import collect
from planner.cpu import AMD, INTEL, V2, V3, Cpu
from planner.plan import Plan
from planner.planning import make_plan, prepare
from planner.policy import Policy
from planner.preconditions import ask_cpus, completed, config_path, read, status_path
from planner.snapshot import Snapshot
from solvers import Budget
from tests.rows import FixedSource, Row, cluster, ct, node, recorded, stopped, vm

ROME, MILAN = "AMD EPYC 7302 16-Core Processor", "AMD EPYC 7543 32-Core Processor"
XEON = "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz"
OLD, NEW = V2 | {"aes"}, V3
AT: dict[str, Cpu] = {
    "a": Cpu(ROME, AMD, NEW), "b": Cpu(ROME, AMD, NEW), "c": Cpu(MILAN, AMD, NEW), "d": Cpu(XEON, INTEL, OLD),
}  # fmt: skip


def status(model: str, maker: str, flags: Any) -> Row:
    return {"cpuinfo": {"model": model, "vendor": maker, "flags": " ".join(sorted(flags))}, "uptime": 7}


class Source(FixedSource):
    """A source that tells with which parameters it was asked."""

    def get(self, path: str, **params: Any) -> Any:
        return super().get(path + "".join(f"?{name}={value}" for name, value in params.items()))


def asked_about(of: Any, types: dict[int, str | None], cpus: dict[str, Cpu] | None = None) -> Source:
    """All that is answered about the guests of a cluster and its CPUs."""
    answers: dict[str, Any] = {
        status_path(name): status(item.model, item.maker, item.flags) for name, item in (cpus or AT).items()
    }
    for row in of.guests.itertuples():
        others = [name for name in of.nodes["node"] if name != row.node]
        free = {"running": 1, "allowed_nodes": others, "not_allowed_nodes": {name: {} for name in others}}
        answers[preconditions.path(row.type, row.node, row.vmid)] = free if row.type == "vm" else {}
        if row.type == "vm":
            kind = types.get(row.vmid)
            answers[config_path(row.node, row.vmid)] = {"digest": "x"} | ({"cpu": kind} if kind else {})
    return Source(answers)


def barred(kind: str, home: str = "a") -> set[str]:
    return set(cpu.barred(kind, AT[home], {name: item for name, item in AT.items() if name != home}))


# What fits


@pytest.mark.parametrize(
    ("kind", "home", "wrong"),
    [
        ("host", "a", {"c", "d"}),
        ("max", "a", {"c", "d"}),
        ("host", "d", {"a", "b", "c"}),
        ("EPYC-Rome", "a", {"d"}),
        ("EPYC", "c", {"d"}),
        ("Skylake-Server-v4", "d", {"a", "b", "c"}),
        ("Haswell-noTSX", "d", {"a", "b", "c"}),
        ("x86-64-v3", "a", {"d"}),
        ("x86-64-v2-AES", "d", set()),
        ("x86-64-v2", "a", set()),
        ("kvm64", "a", set()),
        ("qemu64", "d", set()),
        ("custom-mine", "a", set()),
        ("Haswell", "a", set()),
        ("x86-64-v4", "a", {"d"}),
    ],
)
def test_a_cpu_type_goes_on_where_the_cpu_has_what_it_has_at_home(kind: str, home: str, wrong: set[str]) -> None:
    assert barred(kind, home) == wrong


def test_the_reason_says_what_would_fit() -> None:
    assert cpu.barred("host", AT["a"], {"d": AT["d"]}) == {"d": f"its CPU type host fits only nodes with {ROME}"}
    assert cpu.barred("EPYC-Rome", AT["a"], {"d": AT["d"]}) == {
        "d": "its CPU type EPYC-Rome fits only nodes with a CPU of AMD"
    }
    assert cpu.barred("x86-64-v3", AT["a"], {"d": AT["d"]})["d"].startswith("its CPU type x86-64-v3 needs abm, avx, ")


@pytest.mark.parametrize(
    ("written", "kind"),
    [("host", "host"), ("host,flags=+aes", "host"), ("cputype=EPYC,hidden=1", "EPYC"), ("hidden=1,cputype=max", "max"),
     (None, "kvm64"), ("", "kvm64"), ("flags=+pcid", "kvm64")],
)  # fmt: skip
def test_the_type_is_read_however_it_is_written(written: str | None, kind: str) -> None:
    assert cpu.type_of({} if written is None else {"cpu": written}) == kind


def test_the_cpu_of_a_recorded_node_is_read_and_its_maker_also_where_only_the_model_tells() -> None:
    answer = recorded("node_status_pve1")
    found = cpu.of_node(answer)
    assert found is not None and (found.model, found.maker) == ("AMD EPYC 7302", AMD) and "avx2" in found.flags
    info = {name: value for name, value in answer["cpuinfo"].items() if name != "vendor"}
    assert cpu.of_node({"cpuinfo": info}) == found
    assert cpu.of_node({"cpuinfo": {"model": XEON}}) == Cpu(XEON, INTEL)
    assert cpu.of_node({}) is None


# Asking


ROWS = [*(node(name) for name in "abcd"), vm(1, "a"), vm(2, "a"), stopped(3, "a"), ct(4, "a"), vm(5, "d")]


def test_each_node_and_each_running_virtual_machine_is_asked_once() -> None:
    of = cluster(*ROWS)
    source = asked_about(of, {1: "host"})
    told = ask_cpus(source, of, of.guests, of.snapshot.answers)
    assert sorted(source.asked) == sorted(
        [*map(status_path, "abcd"), config_path("a", 1), config_path("a", 2), config_path("d", 5)]
    )
    assert ask_cpus(source, of, of.guests, told) == {} and len(source.asked) == 7
    assert all(path.endswith("config?current=1") for path in source.asked if "qemu" in path), "not what it will be"


def test_where_all_cpus_are_the_same_no_guest_is_asked_about_its_type() -> None:
    of = cluster(*ROWS)
    source = asked_about(of, {}, dict.fromkeys("abcd", AT["a"]))
    ask_cpus(source, of, of.guests, {})
    assert sorted(source.asked) == sorted(map(status_path, "abcd"))


def test_where_no_virtual_machine_runs_nothing_is_asked() -> None:
    of = cluster(node("a"), node("b"), stopped(3, "a"), ct(4, "a"))
    source = asked_about(of, {})
    assert ask_cpus(source, of, of.guests, {}) == {} and source.asked == []


def test_what_is_said_bars_running_virtual_machines_only() -> None:
    of = cluster(*ROWS)
    taken, notes = completed(of, asked_about(of, dict.fromkeys((1, 2, 3, 5), "host")))
    said = read(taken, of.guests, of.nodes["node"])
    assert {vmid: set(item.barred) for vmid, item in said.items()} == {
        1: {"c", "d"}, 2: {"c", "d"}, 3: set(), 4: set(), 5: {"a", "b", "c"},
    }  # fmt: skip
    assert notes == ()


def test_other_reasons_are_kept_beside_it() -> None:
    of = cluster(*ROWS)
    source = asked_about(of, {1: "host"})
    source.answers["/nodes/a/qemu/1/migrate"]["not_allowed_nodes"]["d"] = {"unavailable_storages": ["x"]}
    said = read(completed(of, source)[0], of.guests, of.nodes["node"])[1]
    assert said.barred["d"] == f"it lacks storage x; its CPU type host fits only nodes with {ROME}"


@pytest.mark.parametrize("wild", [{"cpuinfo": 7}, {"cpuinfo": {"model": 7}}, {"cpuinfo": {"model": ""}}, [], {}, None])
def test_what_is_not_told_bars_nothing(wild: Any) -> None:
    of = cluster(*ROWS)
    source = asked_about(of, {1: "host"})
    source.answers[status_path("d")] = wild
    assert set(read(completed(of, source)[0], of.guests, of.nodes["node"])[1].barred) == {"c"}
    source = asked_about(of, {})
    source.answers[config_path("a", 1)] = wild if wild is None else {"cpu": [wild]}
    assert read(completed(of, source)[0], of.guests, of.nodes["node"])[1].barred == {}


# Plans


def planned_with(source: Source, of: Any, solver: str = "descent", **policy: Any) -> Plan:
    def once(taken: Snapshot) -> Plan:
        case = prepare(replace(of, snapshot=taken), Policy(balanciness=0, **policy))
        return make_plan(case, solver, Budget(seconds=10, work=2))

    return checked(of, list(map(int, of.guests["vmid"])), once, source).plan


@pytest.mark.parametrize("solver", ["greedy", "descent", "cpsat"])
def test_a_plan_sends_running_machines_only_where_their_cpu_goes_on(solver: str) -> None:
    rows = [
        node("a", 64, 40),
        node("b", 64, 8),
        node("d", 64, 0),
        *(vm(10 + i, "a", 8) for i in range(5)),
        vm(20, "b", 8),
    ]
    of = cluster(*rows)
    free = planned_with(asked_about(of, {}), of, solver)
    assert "d" in {m.target for m in free.migrations} or solver == "greedy"
    held = planned_with(asked_about(of, dict.fromkeys(range(10, 21), "host")), of, solver)
    assert held.migrations or solver == "greedy"
    assert {m.target for m in held.migrations} <= {"a", "b"}
    some = planned_with(asked_about(of, dict.fromkeys(range(10, 14), "host")), of, solver)
    assert {m.vmid for m in some.migrations if m.target == "d"} <= {14, 20}


def test_after_a_failure_a_machine_starts_on_any_cpu_and_headroom_knows() -> None:
    rows = [node("a", 64, 8), node("d", 64, 8), vm(10, "a", 8, hastate="started"), vm(20, "d", 8)]
    of = cluster(*rows)
    taken, _ = completed(of, asked_about(of, {10: "host"}))
    case = prepare(replace(of, snapshot=taken), Policy(survive=1))
    assert set(case.formulation.barred[10]) == {"d"}
    plan = make_plan(case, "descent")
    assert plan.survival is not None and plan.survival.after == ()
    taken, _ = completed(of, asked_about(of, {10: "EPYC"}))
    plan = make_plan(prepare(replace(of, snapshot=taken), Policy(survive=1)), "descent")
    assert plan.survival is not None and [lost.node for lost in plan.survival.after] == ["a"]


# Snapshots without names


def test_a_snapshot_without_names_bars_the_same_nodes_and_tells_only_of_cpus() -> None:
    of = cluster(*ROWS)
    cpus = AT | {"b": Cpu("ACME secret one", "", NEW), "c": Cpu("ACME secret two", "", NEW)}
    source = asked_about(of, {1: "host,flags=+aes", 2: "custom-acme", 5: "Skylake-Client"}, cpus)
    taken, _ = completed(of, source)
    hidden = anonymised(replace(taken, answers={**taken.answers, config_path("d", 5): {"cpu": "host", "name": "acme"}}))
    assert "acme" not in str(hidden.answers).lower() and "uptime" not in hidden.answers[status_path("node1")]
    new = collect(hidden)
    names = dict(zip("abcd", new.nodes["node"], strict=True))
    said, again = read(taken, of.guests, of.nodes["node"]), read(hidden, new.guests, new.nodes["node"])
    assert said[1].barred and {names[n] for n in said[1].barred} == set(again[1].barred)
    assert again[2].barred == said[2].barred == {} and set(again[5].barred) == {names[n] for n in "abc"}
