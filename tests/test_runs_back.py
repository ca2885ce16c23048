"""Claims about taking runs back, over TLS, by real commands: what was repaired, drained, or taken back in part."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from planner.journal import FILE, Journal
from planner.run import RunState, Step
from tests.commandline import Cli, alone, calling, write_config
from tests.fakecluster import FakeCluster, Served, serving

GIB = 15


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr("planner.cli_site.FIGURES", 0.0)
    monkeypatch.setattr("planner.patience.POLL", 0.02)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


def cluster_of(guests: dict[int, tuple[str, str]]) -> FakeCluster:
    """Three nodes of 40 GiB; vmid to node and tags."""
    fake = FakeCluster()
    for name in ("pve1", "pve2", "pve3"):
        fake.add_node(name, maxmem=42 << 30)  # 2 of them its own
    for vmid, (on, tags) in guests.items():
        fake.add_guest(vmid, on, gib=GIB, tags=tags)
    return fake


@pytest.fixture
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    with serving(cluster_of(request.param), tmp_path) as server:
        server.pve.time_scale, server.pve.migration_secs = 1.0, 0.05
        yield server


JAM = {
    100: ("pve1", "plb_pin_pve2"),
    101: ("pve1", ""),
    110: ("pve2", "plb_pin_pve1"),
    111: ("pve2", ""),
    120: ("pve3", ""),
}
PAIR = {100: ("pve1", "plb_anti_affinity_x"), 101: ("pve1", "plb_anti_affinity_x"), 102: ("pve2", "")}
THREE = {100: ("pve1", ""), 101: ("pve1", ""), 102: ("pve2", "")}


@pytest.mark.parametrize(
    ("served", "lifted"), [(JAM, "plb_pin_pve2"), (PAIR, "plb_anti_affinity_x")], indirect=["served"]
)
def test_what_was_repaired_is_broken_again_by_name(cli: Cli, served: Served, tmp_path: Path, lifted: str) -> None:
    before, config = served.pve.where(), write_config(tmp_path / "c.yaml", served)
    assert cli("apply", "--config", config, "--solver", "cpsat", "--time-limit", 4, "--yes").code == 0
    assert served.pve.where() != before
    outcome = cli("rollback", 1, "--config", config, "--yes")
    assert (outcome.code, served.pve.where()) == (0, before)
    assert "back to where guests were, breaking again" in outcome.out and lifted in outcome.out


@pytest.mark.parametrize("served", [THREE], indirect=True)
def test_a_node_that_was_drained_gets_its_guests_back(cli: Cli, served: Served, tmp_path: Path) -> None:
    before, config, plan = served.pve.where(), write_config(tmp_path / "c.yaml", served), tmp_path / "plan.json"
    assert cli("drain", "pve2", "--config", config, "--solver", "descent", "--out", plan).code == 0
    assert cli("apply", plan, "--config", config, "--yes").code == 0
    assert "pve2" not in served.pve.where().values()
    assert cli("rollback", 1, "--config", config, "--yes").code == 0
    assert served.pve.where() == before


@pytest.mark.parametrize("served", [JAM], indirect=True)
def test_a_way_back_that_ended_half_way_is_completed(
    cli: Cli, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, config = served.pve.where(), write_config(tmp_path / "c.yaml", served)
    assert cli("apply", "--config", config, "--solver", "cpsat", "--time-limit", 4, "--yes").code == 0
    with Journal(journal_file()) as journal:
        first = journal.run(1).plan.rollback[0][0]
    others = [vmid for vmid in JAM if vmid != first.vmid]
    for vmid in others:
        served.pve.vm(vmid).fails = "migration aborted"
    assert cli("rollback", 1, "--config", config, "--yes").code == 4
    assert served.pve.vm(first.vmid).node == first.target
    for vmid in others:
        served.pve.vm(vmid).fails = None
    assert cli("abort", 2, "--config", config).code in (0, 4)
    outcome = cli("rollback", 1, "--config", config, "--yes")
    assert (outcome.code, served.pve.where()) == (0, before)
    with Journal(journal_file()) as journal:
        assert {entry.step for entry in journal.run(3).entries} == {Step.DONE}
        assert journal.run(1).state is RunState.ROLLED_BACK


def journal_file() -> Path:
    return Path(os.environ["STATE_DIRECTORY"]) / FILE
