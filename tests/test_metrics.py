"""What Prometheus gets of scheduled looks: by file and by HTTP, the same figures, and nothing that is not known."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from planner.choices import RunMode
from planner.clock import FastClock
from planner.config import load
from planner.errors import ConfigError, PlannerError
from planner.exposed import COUNTERS, GAUGES, LOADS, PREFIX
from planner.journal import Journal, RunState
from planner.look import GateName, Look, Outcome, Refusal
from planner.metrics import Exporter
from planner.service import Metrics, address
from planner.simulate import Size, demo
from tests.applying import a_plan
from tests.lookmaking import a_full_look, a_look

CLUSTER = {"cluster": "c", "id": "cluster/c"}
Key = tuple[str, frozenset[tuple[str, str]]]


def read(path: Path) -> dict[Key, float]:
    """Every sample of a file, by its name and labels."""
    return parsed(path.read_text())


def parsed(text: str) -> dict[Key, float]:
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    found = {(s.name.removeprefix(PREFIX), frozenset(s.labels.items())): s.value for s in samples}
    assert len(found) == len(samples), "no sample is there twice"
    assert all(s.name.startswith(PREFIX) for s in samples)
    return found


def key(name: str, **labels: str) -> Key:
    return name, frozenset((CLUSTER | labels).items())


def names(samples: Iterable[Key]) -> set[str]:
    return {name for name, _ in samples}


def exposed(out: Exporter) -> dict[Key, float]:
    registry = CollectorRegistry()
    registry.register(out)
    return parsed(generate_latest(registry).decode())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "proxlb-plan.prom"


def exporter(path: Path, journal: Journal | None = None) -> Exporter:
    return Exporter(Metrics(textfile=str(path)), journal)


def after(path: Path, *looks: Look) -> dict[Key, float]:
    """What the file says after looks that each were a process of its own, as with a timer."""
    for look in looks:
        each = exporter(path)
        each.look(look)
        each.write()
    return read(path)


def test_a_look_is_in_the_file_with_every_figure_in_its_unit(path: Path) -> None:
    found = after(path, a_full_look())
    assert found[key("look_timestamp_seconds")] == found[key("look_success_timestamp_seconds")] == 1000.0
    assert found[key("look_duration_seconds")] == 12.5 and found[key("solver_duration_seconds")] == 8.25
    assert (found[key("spread_before_points")], found[key("spread_after_points")]) == (31.5, 2.5)
    assert (found[key("spread_bound_points")], found[key("gap_points")]) == (2.0, 0.5)
    assert (found[key("planned_migrations")], found[key("planned_bytes")]) == (6, 1.5 * 2**30)
    assert (found[key("rules_in_violation_before")], found[key("rules_in_violation_after")]) == (2, 1)
    assert (found[key("nodes")], found[key("guests")], found[key("out_of_balance")]) == (3, 40, 1)
    assert found[key("node_load_before_ratio", id="node/pve1", resource="memory")] == 0.8
    assert found[key("node_load_after_ratio", id="node/pve2", resource="memory")] == 0.49
    assert found[key("look_outcome", outcome="refused")] == found[key("mode", mode="auto")] == 1
    assert found[key("plan_status", status="feasible")] == 1 and found[key("conflict")] == 0
    assert key("proposal_timestamp_seconds") not in found


def test_every_gate_is_there_open_or_closed(path: Path) -> None:
    found = after(path, a_full_look())
    gates = {gate: found[key("gate_closed", gate=gate)] for gate in GateName}
    assert {gate for gate, closed in gates.items() if closed} == {GateName.QUORUM, GateName.BACKUP}
    assert set(gates.values()) == {0.0, 1.0} and found[key("gates_closed")] == 2
    assert not any(after(path, a_look())[key("gate_closed", gate=gate)] for gate in GateName)


def test_every_family_says_what_it_is_and_all_are_there_after_a_full_look(path: Path) -> None:
    after(path, a_full_look(), a_look(outcome=Outcome.PROPOSED, run=3))
    families = {f.name.removeprefix(PREFIX): f for f in text_string_to_metric_families(path.read_text())}
    assert set(families) == {figure.name for figure in GAUGES} | {*COUNTERS} | {name for name, _, _ in LOADS} | {
        "build_info",
        "look_under_way",
    }
    assert all(family.documentation for family in families.values())
    assert {name for name, family in families.items() if family.type == "counter"} == {*COUNTERS}


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.STANDBY])
def test_what_a_look_did_not_see_is_not_shown_rather_than_shown_as_it_was(path: Path, outcome: Outcome) -> None:
    out = exporter(path)
    out.look(a_full_look(1000.0))
    out.look(a_look(1600.0, outcome, why="no API host answered"))
    out.write()
    found = read(path)
    gone = {"spread_before_points", "spread_after_points", "node_load_before_ratio", "out_of_balance", "guests"}
    assert not (gone | {"gate_closed", "gates_closed"}) & names(found), "no gate is open because it was not asked"
    assert found[key("look_timestamp_seconds")] == 1600.0
    assert found[key("look_success_timestamp_seconds")] == (1000.0 if outcome is Outcome.ERROR else 1600.0)
    assert found[key("look_outcome", outcome=outcome)] == 1


def test_a_standby_says_of_the_gate_alone_that_it_has_asked(path: Path) -> None:
    found = after(path, a_look(outcome=Outcome.STANDBY, refusals=(Refusal(GateName.ACTIVE, "another is"),)))
    assert {each: found[each] for each in found if each[0].startswith("gate")} == {
        key("gate_closed", gate="active"): 1.0
    }


def test_what_is_not_known_of_a_look_is_left_out(path: Path) -> None:
    found = after(path, a_look())
    assert not {"spread_before_points", "gap_points", "solver_duration_seconds", "node_load_before_ratio"} & names(
        found
    )


LOOKS = (
    a_full_look(1.0), a_full_look(2.0, Outcome.DONE, refusals=(), run=1, done=5, left=1), a_look(3.0),
    a_full_look(4.0, Outcome.PARTLY, refusals=(), run=2, done=1, failed=2, left=3), a_full_look(5.0),
)  # fmt: skip


def test_counters_go_on_where_every_look_is_a_process_of_its_own(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "daemon.prom"
    daemon = exporter(other)
    for look in LOOKS:
        daemon.look(look)
    daemon.write()
    found = after(path, *LOOKS)
    assert found == read(other), "a timer and a daemon say the same"
    for outcome in Outcome:
        many = sum(look.outcome is outcome for look in LOOKS)
        assert found[key("looks_total", outcome=outcome)] == many
    for state in ("done", "failed", "left"):
        assert found[key("migrations_total", state=state)] == sum(getattr(look, state) for look in LOOKS)
    for gate in GateName:
        many = sum(refusal.gate is gate for look in LOOKS for refusal in look.refusals)
        assert found[key("refusals_total", gate=gate)] == many


@pytest.mark.parametrize("damage", ["", "not a metric {", "proxlb_plan_looks_total 5\n", "\x00\xff"])
def test_where_the_file_is_damaged_counting_begins_anew(path: Path, damage: str) -> None:
    path.write_text(damage, encoding="latin-1")
    assert after(path, a_look())[key("looks_total", outcome="balanced")] == 1


def test_before_the_first_look_the_counts_of_the_file_are_not_overwritten(path: Path) -> None:
    found = after(path, a_look())
    exporter(path).write()
    assert read(path) == found


def test_a_cluster_goes_on_from_its_own_counts_alone(path: Path) -> None:
    after(path, a_look(), a_look())
    found = after(path, a_look(cluster="other"))
    assert found[key("looks_total", cluster="other", id="cluster/other", outcome="balanced")] == 1


def test_of_a_cluster_that_was_looked_at_before_nothing_is_left_but_its_counts(path: Path) -> None:
    """The first looks may not have known its name: they must not alarm for ever."""
    out = exporter(path)
    for look in (a_look(), a_look(outcome=Outcome.ERROR, cluster="cluster"), a_look()):
        out.look(look)
        out.write()
        assert {dict(labels).get("cluster", look.cluster) for _, labels in read(path)} == {look.cluster}
    assert read(path)[key("looks_total", outcome="balanced")] == 2


def test_notifications_count_before_and_after_the_look_that_they_are_about(path: Path) -> None:
    out = exporter(path)
    out.notified(failed=True)
    out.look(a_look())
    out.notified(failed=False)
    out.notified(failed=True)
    out.write()
    found = read(path)
    assert found[key("notifications_total", result="failed")] == 2
    assert found[key("notifications_total", result="sent")] == 1
    assert after(path, a_look())[key("notifications_total", result="failed")] == 2


def test_the_journal_knows_when_a_look_before_this_process_was_good_and_since_when_a_plan_waits(path: Path) -> None:
    source = demo(Size.SMALL, FastClock())
    guest = next(row for row in source.get("/cluster/resources") if row["type"] == "qemu")
    plan = a_plan(source, (guest["vmid"], "pve2" if guest["node"] != "pve2" else "pve1"))
    with Journal(None) as journal:
        journal.looks.add(a_look(500.0))
        journal.looks.add(a_look(900.0, cluster="other"))
        journal.looks.add(a_look(950.0, Outcome.ERROR))
        run = journal.begin(plan, "c", 500.0, "scheduled", state=RunState.PROPOSED)
        out = exporter(path, journal)
        out.look(a_look(1000.0, Outcome.ERROR))
        out.write()
        found = read(path)
        assert found[key("look_success_timestamp_seconds")] == found[key("proposal_timestamp_seconds")] == 500.0
        journal.withdraw(run, 1100.0, "no longer needed")
        out.look(a_look(1200.0))
        out.write()
        assert key("proposal_timestamp_seconds") not in read(path)


def test_a_process_that_begins_says_at_once_that_it_is_at_work_and_when_the_last_look_was(path: Path) -> None:
    """Its first look may carry out a run of hours: until then it must not look as if it were not there."""
    with Journal(None) as journal:
        journal.looks.add(a_full_look(500.0))
        journal.looks.add(a_full_look(900.0, Outcome.ERROR, seconds=3.0))
        out = Exporter(Metrics(textfile=str(path)), journal, 600.0)
        out.begins()
        found = exposed(out)
        assert found[key("look_under_way")] == 1 and found[key("look_interval_seconds")] == 600
        assert found[key("look_timestamp_seconds")] == 900 and found[key("look_duration_seconds")] == 3
        assert found[key("look_success_timestamp_seconds")] == 500
        assert {found[key("looks_total", outcome=outcome)] for outcome in Outcome} == {0.0}, "to count from there"
        assert not {"out_of_balance", "gate_closed", "look_outcome", "spread_before_points"} & names(found)
        out.write()
        assert not path.exists(), "the file is of looks"
        out.look(a_look(1000.0))
        assert exposed(out)[key("look_outcome", outcome="balanced")] == 1


def test_of_which_cluster_a_process_is_it_does_not_guess(path: Path) -> None:
    with Journal(None) as journal:
        assert names(exposed(exporter(path, journal))) == {"build_info"}
        journal.looks.add(a_look())
        journal.looks.add(a_look(cluster="other"))
        assert names(exposed(exporter(path, journal))) == {"build_info"}


def test_without_a_journal_a_plan_waits_since_the_look_that_proposed_it(path: Path) -> None:
    out = exporter(path)

    def since(look: Look) -> float | None:
        out.look(look)
        out.write()
        return read(path).get(key("proposal_timestamp_seconds"))

    proposed = a_look(1.0, Outcome.PROPOSED, run=7, mode=RunMode.APPROVE)
    assert since(proposed) == since(replace(proposed, at=2.0)) == since(a_look(3.0, Outcome.ERROR)) == 1.0
    assert since(a_look(4.0)) is None
    assert since(replace(proposed, at=5.0, run=8)) == 5.0 and since(replace(proposed, at=6.0, run=9)) == 6.0


def test_the_file_can_be_read_by_the_collector_and_nothing_is_left_beside_it(path: Path) -> None:
    before = os.umask(0o077)
    try:
        after(path, a_look())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_one_line_and_what_was_there_stays(tmp_path: Path) -> None:
    (there := tmp_path / "gone").mkdir()
    out = exporter(there / "x.prom")
    out.look(a_look())
    there.rmdir()
    with pytest.raises(PlannerError, match=r"metrics.textfile .*x.prom cannot be written: No such file"):
        out.write()
    out = exporter(there := tmp_path / "d.prom")
    out.look(a_look())
    there.mkdir()
    with pytest.raises(PlannerError, match=r"d.prom cannot be written"):
        out.write()
    assert list(tmp_path.iterdir()) == [there]


def test_a_file_that_never_could_be_written_is_one_line_before_the_first_look(tmp_path: Path) -> None:
    with pytest.raises(PlannerError, match=r"metrics.textfile .*x.prom cannot be written: No such file .*; see who"):
        exporter(tmp_path / "gone" / "x.prom")
    (tmp_path / "d.prom").mkdir()
    with pytest.raises(PlannerError, match=r"d.prom cannot be written: Is a directory"):
        exporter(tmp_path / "d.prom")
    exporter(tmp_path / "good.prom")
    assert [each.name for each in tmp_path.iterdir()] == ["d.prom"], "asking leaves nothing"


def test_over_http_the_same_is_answered_and_the_address_is_free_again_afterwards(path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{free.getsockname()[1]}"
    for every in (600.0, None):
        out = Exporter(Metrics(textfile=str(path), listen=at), None, every)
        with out.listening():
            assert "spread_before_points" not in names(parsed(got(at)))
            out.look(a_full_look())
            out.write()
            found = parsed(got(at))
            assert found == read(path) and found.get(key("look_interval_seconds")) == every
            assert found[key("look_under_way")] == 0
            out.begins()
            assert parsed(got(at)) == found | {key("look_under_way"): 1.0}
            with pytest.raises(PlannerError, match=r"metrics.listen .* cannot be had: Address already in use"):
                out.listening().__enter__()


def got(at: str) -> str:
    with urlopen(f"http://{at}/metrics", timeout=10) as answer:
        assert answer.status == 200
        text: str = answer.read().decode()
    return text


def test_one_who_says_nothing_keeps_nobody_else_from_an_answer() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = Exporter(Metrics(listen=f"localhost:{port}"))
    with out.listening(), socket.create_connection(("localhost", port)):
        out.look(a_look())
        assert "proxlb_plan_look_timestamp_seconds" in got(f"localhost:{port}")


def test_without_an_address_nobody_listens_and_without_a_file_none_is_written(tmp_path: Path) -> None:
    out = Exporter(Metrics())
    with out.listening():
        out.look(a_look())
        out.write()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("127.0.0.1:9106", ("127.0.0.1", 9106)), (":9106", ("", 9106)), ("[::1]:80", ("::1", 80)),
        ("mon.example.org:1", ("mon.example.org", 1)),
    ],
)  # fmt: skip
def test_addresses_are_read(text: str, means: tuple[str, int]) -> None:
    assert address(text) == means


@pytest.mark.parametrize("text", ["9106", "::1:9106", "host", "host:", "host:99999", "a b:1", "http://x:1/"])
def test_what_is_no_address_is_named_with_its_place(text: str, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"metrics: {{listen: '{text}'}}")
    with pytest.raises(ConfigError, match=r"metrics\.listen in .*c\.yaml: .* is no address such as"):
        load(str(file), environ={})


def test_a_host_that_nobody_knows_is_one_line() -> None:
    with (
        pytest.raises(PlannerError, match=r"metrics.listen no.such.host.invalid:1 cannot be had: "),
        Exporter(Metrics(listen="no.such.host.invalid:1")).listening(),
    ):
        pass


def test_a_textfile_is_named_relative_to_its_configuration_and_as_the_collector_wants_it(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("metrics: {textfile: p.prom}")
    assert load(str(file), environ={}).metrics.textfile == str(tmp_path / "p.prom")
    file.write_text("metrics: {textfile: p.txt}")
    with pytest.raises(ConfigError, match=r"metrics\.textfile in .*p\.txt would not be read"):
        load(str(file), environ={})
    with pytest.raises(ConfigError, match=r"^metrics\.listen: x is no address"):
        Exporter(Metrics(listen="x"))


def test_a_reload_keeps_what_was_counted(path: Path, tmp_path: Path) -> None:
    out = exporter(path)
    out.look(a_look())
    out.change(Metrics(textfile=str(tmp_path / "other.prom")))
    out.look(a_look())
    out.write()
    assert read(tmp_path / "other.prom")[key("looks_total", outcome="balanced")] == 2
    assert not path.exists()


def test_names_of_clusters_and_nodes_cannot_break_the_format(path: Path) -> None:
    odd = 'a"b\\n\n'
    found = after(path, a_full_look(cluster=odd))
    assert found[key("look_timestamp_seconds", cluster=odd, id=f"cluster/{odd}")] == 1000.0


def test_metrics_need_no_solver_and_no_frames(tmp_path: Path) -> None:
    code = "import sys, planner.metrics; print({'ortools', 'proxmoxer', 'typer'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
