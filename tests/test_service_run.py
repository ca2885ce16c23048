"""Claims about the units at work: each test starts what a unit starts, as systemd would, for a cluster behind TLS."""

import contextlib
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planner.journal import FILE, Journal, is_there
from planner.look import GateName, Look, Outcome
from planner.run import RunState, Step, Summary
from planner.standing import MANAGER
from tests.crashing import CrashCluster
from tests.fakecluster import TOKEN_SECRET, Served, serving
from tests.servicemanager import Service, confinement, service, write_settings
from tests.unitfile import GIVEN, INSTALLED, PROGRAM, SHIPPED, unit

DAEMON, ONCE = unit("proxlb-plan.service"), unit("proxlb-plan-once.service")
CALLS = {of: confinement(of) for of in (DAEMON, ONCE)}
SLOW = 20.0
"""Seconds that a migration takes that something is to happen in the middle of, as long as it is not let go."""
AT_ONCE = 2
"""Migrations of one node at once, of which more are planned."""


def crowded() -> CrashCluster:
    """Three nodes, the first of which has six of eight guests."""
    pve = CrashCluster()
    pve.paces, pve.limits = (0.2,), {"parallel": 4, "per_source": AT_ONCE, "per_target": AT_ONCE}
    for name in ("pve1", "pve2", "pve3"):
        pve.add_node(name)
    for vmid in range(100, 108):
        pve.add_guest(vmid, "pve1" if vmid < 106 else "pve2")
    return pve


def let_go(pve: CrashCluster) -> None:
    """What is under way ends soon, and what comes takes no time."""
    pve.time_scale = 0.01


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(crowded(), tmp_path) as it:
        yield it


@pytest.fixture
def config(tmp_path: Path, served: Served) -> Path:
    return write_settings(tmp_path / "config.yaml", served)


@pytest.fixture
def daemon(tmp_path: Path, config: Path) -> Iterator[Service]:
    with service(DAEMON, tmp_path / "daemon", config, CALLS[DAEMON]) as it:
        yield it


def looks(state: Path) -> list[Look]:
    """The looks in a journal, the oldest first."""
    if not is_there(state / FILE):
        return []
    with contextlib.closing(Journal.reading(state / FILE)) as journal:
        return list(reversed(journal.looks.last(limit=1000)))


def outcomes(state: Path) -> set[Outcome]:
    return {look.outcome for look in looks(state)}


def runs(state: Path) -> tuple[Summary, ...]:
    """The runs in a journal, the newest first."""
    if not is_there(state / FILE):
        return ()
    with contextlib.closing(Journal.reading(state / FILE)) as journal:
        return journal.runs()


def under_way(state: Path) -> bool:
    """Whether as many migrations as may be are known to be under way."""
    found = runs(state)
    if not found:
        return False
    with contextlib.closing(Journal.reading(state / FILE)) as journal:
        return journal.run(found[0].id).counts.get(Step.STARTED, 0) == AT_ONCE


def check_nothing_lost_nothing_twice(pve: CrashCluster, state: Path) -> None:
    """Nothing is under way, no guest was asked twice, and the journal has every migration that the cluster did."""
    assert not pve.active and not pve.faults and set(pve.posts.values()) == {1}
    with contextlib.closing(Journal.reading(state / FILE)) as journal:
        records = [journal.run(item.id) for item in reversed(journal.runs())]
    assert not [record for record in records if record.state is RunState.RUNNING]
    done = [(e.migration.vmid, e.migration.target) for r in records for e in r.entries if e.step is Step.DONE]
    assert sorted(done) == sorted((vmid, target) for vmid, _, target in pve.posts)
    assert pve.where() == pve.where() | dict(done)


def test_the_daemon_plans_applies_and_records_and_systemd_hears_how_it_stands(daemon: Service, served: Served) -> None:
    """A reload in mid-migration comes after what is being carried out, and does not end that."""
    served.pve.paces = (SLOW,)
    daemon.start()
    daemon.wait_until(lambda: daemon.heard("READY") and under_way(daemon.state))
    daemon.signal(signal.SIGHUP)
    let_go(served.pve)
    daemon.wait_until(lambda: Outcome.BALANCED in outcomes(daemon.state))
    first = next(look for look in looks(daemon.state) if look.migrations)
    assert (first.outcome, first.done, first.migrations) == (Outcome.DONE, AT_ONCE + 1, AT_ONCE + 1)
    assert first.done == served.pve.posts.total()
    check_nothing_lost_nothing_twice(served.pve, daemon.state)
    daemon.wait_until(lambda: daemon.heard("RELOADING") and daemon.heard("READY") == 2)
    assert daemon.heard("WATCHDOG") and daemon.heard("STATUS")
    daemon.signal(signal.SIGTERM)
    assert daemon.ended() == 0 and daemon.heard("STOPPING") == 1
    lines = daemon.log.splitlines()
    assert lines and all(line[0] == "<" and line[1] in "01234567" and line[2] == ">" for line in lines), daemon.log
    assert TOKEN_SECRET not in daemon.log and "Traceback" not in daemon.log


def test_a_reload_takes_new_settings_and_keeps_the_old_where_the_new_make_no_sense(
    daemon: Service, served: Served, config: Path
) -> None:
    write_settings(
        config, served, run={"mode": "observe", "solver": "greedy", "every": "1s", "jitter": "0s", "looks": 1}
    )
    daemon.start()
    daemon.wait_until(lambda: Outcome.OBSERVED in outcomes(daemon.state))
    write_settings(config, served, run={"mode": "auto", "evry": "1s"})
    daemon.reload()
    assert "run.evry" in daemon.log and "Traceback" not in daemon.log
    many = len(looks(daemon.state))
    daemon.wait_until(lambda: len(looks(daemon.state)) > many + 1)
    assert outcomes(daemon.state) == {Outcome.OBSERVED} and not served.pve.posts
    write_settings(config, served)
    daemon.reload()
    daemon.wait_until(lambda: Outcome.DONE in outcomes(daemon.state))
    told = [message for message in daemon.told if "RELOADING" in message]
    assert len(told) == 2 and all(int(message["MONOTONIC_USEC"]) > 0 for message in told)
    daemon.signal(signal.SIGTERM)
    assert daemon.ended() == 0


def test_told_to_end_in_mid_migration_it_leaves_what_takes_long_to_the_cluster_and_the_next_one_finds_it(
    daemon: Service, served: Served
) -> None:
    served.pve.paces = (SLOW,)
    daemon.start()
    daemon.wait_until(lambda: under_way(daemon.state))
    daemon.signal(signal.SIGTERM)
    assert daemon.ended() == 0, daemon.log
    assert daemon.heard("STOPPING") == 1 and len(served.pve.active) == served.pve.posts.total() == AT_ONCE
    daemon.start()
    daemon.wait_until(lambda: daemon.heard("READY"))
    let_go(served.pve)
    daemon.wait_until(lambda: Outcome.BALANCED in outcomes(daemon.state))
    check_nothing_lost_nothing_twice(served.pve, daemon.state)


def test_told_to_end_in_mid_migration_it_waits_for_what_takes_less_than_its_grace(
    daemon: Service, served: Served, config: Path
) -> None:
    write_settings(config, served, run={"grace": "60s"})
    served.pve.paces = (SLOW,)
    daemon.start()
    daemon.wait_until(lambda: under_way(daemon.state))
    daemon.signal(signal.SIGTERM)
    let_go(served.pve)
    assert daemon.ended() == 0, daemon.log
    assert served.pve.posts.total() == AT_ONCE  # no more were started
    check_nothing_lost_nothing_twice(served.pve, daemon.state)


def test_killed_in_mid_migration_nothing_is_lost_and_nothing_asked_for_twice(daemon: Service, served: Served) -> None:
    served.pve.paces = (SLOW,)
    daemon.start()
    daemon.wait_until(lambda: under_way(daemon.state))
    daemon.signal(signal.SIGKILL)
    assert daemon.ended() == -signal.SIGKILL and len(served.pve.active) == AT_ONCE
    daemon.start()
    daemon.wait_until(lambda: daemon.heard("READY"))
    let_go(served.pve)
    daemon.wait_until(lambda: Outcome.BALANCED in outcomes(daemon.state))
    check_nothing_lost_nothing_twice(served.pve, daemon.state)


@pytest.mark.parametrize(
    ("place", "gate"),
    [("daemon", GateName.LOCK), pytest.param("other", GateName.FOREIGN, marks=pytest.mark.slow)],
)
def test_two_instances_never_apply_at_once(
    daemon: Service, served: Served, config: Path, tmp_path: Path, place: str, gate: GateName
) -> None:
    """On one machine the lock says so, on two the tasks of the cluster."""
    served.pve.paces = (30 * SLOW,)  # to the end of this test, and that of its cluster
    daemon.start()
    daemon.wait_until(lambda: under_way(daemon.state))
    with service(ONCE, tmp_path / place, config, CALLS[ONCE]) as other:
        other.start()
        assert other.ended() == 0, other.log
        (refused,) = looks(other.state)  # the daemon has not come to the end of its own
        assert refused.outcome is Outcome.REFUSED and gate in {refusal.gate for refusal in refused.refusals}
        assert len(runs(other.state)) == (1 if place == "daemon" else 0)
    assert served.pve.posts.total() == AT_ONCE and not served.pve.faults


def test_one_look_from_the_timer_applies_where_this_node_is_the_master_of_the_ha_manager_and_nowhere_else(
    tmp_path: Path, served: Served
) -> None:
    served.pve.recorded[MANAGER] = {"manager_status": {"master_node": "pve2"}}
    with contextlib.ExitStack() as stack:
        there: dict[str, Service] = {}
        for name in ("pve1", "pve2"):
            run = {"active": "ha-manager", "node": name}
            config = write_settings(tmp_path / f"{name}.yaml", served, run=run)
            there[name] = stack.enter_context(service(ONCE, tmp_path / name, config, CALLS[ONCE]))
            there[name].start()
        assert [one.ended() for one in there.values()] == [0, 0]
        assert outcomes(there["pve1"].state) == {Outcome.STANDBY} and not runs(there["pve1"].state)
        (look,) = looks(there["pve2"].state)
        assert look.outcome is Outcome.DONE and look.done == served.pve.posts.total() > 0
        check_nothing_lost_nothing_twice(served.pve, there["pve2"].state)


def cron(config: Path, token: Path, state: Path) -> dict[str, Any]:
    """The line for cron as cron would start it, with the configuration of a test."""
    *variables, line = [
        line for line in (SHIPPED / "cron").read_text().splitlines() if line and not line.startswith("#")
    ]
    given = dict(pair.split("=", 1) for pair in variables) | {"STATE_DIRECTORY": str(state)}
    environ = GIVEN | given | {"PROXLB_PLAN_CONFIG": str(config), "PROXLB_PLAN_API__TOKEN_SECRET_FILE": str(token)}
    command = line.split(maxsplit=6)[6].replace(PROGRAM, shlex.quote(str(INSTALLED)))
    return {"args": [environ["SHELL"], "-c", command], "env": environ}


@pytest.mark.slow
def test_one_look_from_cron_applies_and_says_nothing_when_all_is_well(
    served: Served, config: Path, tmp_path: Path
) -> None:
    token, state = tmp_path / "token", tmp_path / "state"
    token.touch(mode=0o600)
    token.write_text(TOKEN_SECRET)
    asked = cron(config, token, state)
    done = subprocess.run(**asked, capture_output=True, text=True, check=False, timeout=120, cwd="/")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert outcomes(state) == {Outcome.DONE}


@pytest.mark.skipif(sys.platform != "linux", reason="system calls of Linux")
def test_where_systemd_is_the_processes_of_these_tests_were_confined_as_their_units_say() -> None:
    for of, calls in CALLS.items():
        if calls is None:
            pytest.skip("systemd-analyze or libseccomp is not installed")
        assert "ptrace" not in calls and "mount" not in calls and "openat" in calls, of.name
