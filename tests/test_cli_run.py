"""Claims about the commands run, approve and looks, against a served cluster."""

import json
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from planner.journal import FILE, Journal
from planner.run import RunState
from tests.commandline import Cli, Outcome, alone, calling, write_config
from tests.fakecluster import Served, serving, small_cluster

LOOK = Draft202012Validator(json.loads((files("planner") / "schemas" / "look.json").read_text(encoding="utf-8")))
QUICK = ("--solver", "descent", "--balanciness", 1, "--max-migrations", 3, "--looks", 1)


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr("planner.cli_site.FIGURES", 0.0)
    monkeypatch.setattr("planner.patience.POLL", 0.05)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(small_cluster(), tmp_path) as server:
        server.pve.time_scale, server.pve.migration_secs = 1.0, 0.05
        yield server


@pytest.fixture
def config(served: Served, tmp_path: Path) -> Path:
    return write_config(tmp_path / "c.yaml", served)


def settings(path: Path, **run: object) -> Path:
    """The same configuration file with a section run."""
    path.write_text(json.dumps(json.loads(path.read_text()) | {"run": run}))
    return path


def proposed(cli: Cli, config: Path) -> Outcome:
    outcome = cli("run", "--once", "--config", config, "--mode", "approve", *QUICK)
    assert outcome.code == 0 and "waits to be approved: `proxlb-plan approve 1`" in outcome.err
    return outcome


def test_a_plan_waits_until_a_person_approves_of_it(cli: Cli, served: Served, config: Path, tmp_path: Path) -> None:
    before = served.pve.where()
    proposed(cli, config)
    assert served.pve.where() == before
    status = cli("status", 1, "--config", config).out
    assert "scheduled run 1" in status and "proposed" in status
    assert "`proxlb-plan approve 1` carries it out, `proxlb-plan abort 1` refuses it" in status
    assert cli("resume", 1, "--config", config, "--yes").complaint.endswith("`proxlb-plan approve 1` begins it")
    told = tmp_path / "told.json"
    document = json.loads(config.read_text())
    config.write_text(json.dumps(document | {"notify": {"command": ["/bin/sh", "-c", f"cat > {told}"]}}))
    assert cli("approve", 1, "--config", config, "--yes").code == 0
    assert served.pve.where() != before
    newest = json.loads(cli("looks", "--output", "json").out)[0]
    assert (newest["outcome"], newest["run"], newest["done"]) == ("done", 1, 3), "it is a look as well"
    assert json.loads(told.read_text())["event"] == "done"
    again = cli("approve", 1, "--config", config, "--yes")
    assert (again.code, again.complaint) == (64, "proxlb-plan: run 1 is done, not proposed")
    assert cli("rollback", 1, "--config", config, "--yes").code == 0 and served.pve.where() == before


def test_or_refuses_it(cli: Cli, served: Served, config: Path) -> None:
    before = served.pve.where()
    proposed(cli, config)
    assert cli("abort", 1, "--config", config).out.strip() == "run 1 is withdrawn"
    refused = cli("approve", 1, "--config", config, "--yes")
    assert (refused.code, refused.complaint) == (64, "proxlb-plan: run 1 is withdrawn, not proposed: refused")
    assert served.pve.where() == before


def test_a_plan_that_no_longer_holds_is_not_carried_out(cli: Cli, served: Served, config: Path) -> None:
    proposed(cli, config)
    vmid = json.loads(cli("status", 1, "--config", config, "--output", "json").out)["migrations"][0]["vmid"]
    guest = next(guest for guest in served.pve.guests if guest.vmid == vmid)
    guest.node = next(name for name in served.pve.nodes if name != guest.node)
    stale = cli("approve", 1, "--config", config, "--yes")
    assert stale.code == 5 and "the plan is stale" in stale.complaint


def test_approving_is_bound_by_the_same_times(cli: Cli, config: Path) -> None:
    proposed(cli, config)
    settings(config, blackouts=[{"begin": "*-*-* 00:00", "lasts": "24h"}])
    closed = cli("approve", 1, "--config", config, "--yes")
    assert closed.code == 75 and "run 1 waits: within the blackout *-*-* 00:00" in closed.complaint


@pytest.mark.parametrize(
    "limits, why",
    [
        ({"per_hour": 2}, "the plan has 3 migrations, and 0 of 2 migrations were started within the last hour"),
        ({"valid": "0s"}, "run.valid is 0s: the next look makes a new plan"),
        ({"active": "ha-manager", "node": "nobody"}, ""),
    ],
)
def test_and_by_the_same_limits(cli: Cli, served: Served, config: Path, limits: dict[str, object], why: str) -> None:
    proposed(cli, config)
    before = served.pve.where()
    refused = cli("approve", 1, "--config", settings(config, **limits), "--yes")
    assert refused.code in (64, 75) and why in refused.complaint and served.pve.where() == before


def test_a_run_of_a_look_is_resumed_within_the_same_times(cli: Cli, served: Served, config: Path) -> None:
    proposed(cli, config)
    with Journal(Path(os.environ["STATE_DIRECTORY"]) / FILE) as journal:
        journal.approve(1, 1.0)
        journal.end(1, RunState.STOPPED, 2.0)
    settings(config, blackouts=[{"begin": "*-*-* 00:00", "lasts": "24h"}])
    closed = cli("resume", 1, "--config", config, "--yes")
    assert closed.code == 75 and "run 1 waits: within the blackout" in closed.complaint
    settings(config)
    assert cli("resume", 1, "--config", config, "--yes").code == 0


def test_nobody_is_asked_where_nobody_can_answer(cli: Cli, config: Path) -> None:
    proposed(cli, config)
    assert cli("approve", 1, "--config", config).code == 64


def test_looks_are_listed_and_shown_with_their_plans(cli: Cli, config: Path) -> None:
    assert cli("looks").out == "no look was ever taken on this machine: `proxlb-plan run` takes them\n"
    assert cli("looks", 1).code == 64
    assert json.loads(cli("looks", "--output", "json").out) == []
    assert cli("run", "--once", "--dry-run", "--config", config, *QUICK).code == 0
    assert cli("run", "--once", "--config", config, *QUICK[:-1], 3).code == 0
    table = cli("looks", "--config", config).out
    assert "observed" in table and "looks: out of balance for 2 of 3 consecutive looks" in " ".join(table.split())
    one = cli("looks", 1).out
    assert "look 1 of" in one and "mode observe: observed" in one and "migrations" in one
    documents = json.loads(cli("looks", "--output", "json").out)
    assert [each["outcome"] for each in documents] == ["refused", "observed"]
    for each in documents:
        LOOK.validate(each)
    assert json.loads(cli("looks", 2, "--output", "json").out) == documents[0]
    assert "there is no look 9" in cli("looks", 9).complaint


def test_the_exit_code_of_one_look_says_how_it_went(cli: Cli, served: Served, config: Path, tmp_path: Path) -> None:
    words = ("run", "--once", "--config", config, "--mode", "auto", *QUICK)
    for guest in served.pve.guests:
        guest.fails = "migration aborted"
    assert cli(*words).code in (1, 4), "nothing or little of it was done"
    document = json.loads(config.read_text())
    config.write_text(json.dumps(document | {"api": document["api"] | {"token_secret": "wrong"}}))
    denied = cli(*words)
    assert denied.code == 77 and "error" in denied.err and "Traceback" not in denied.err


@pytest.mark.parametrize(
    "words, complaint",
    [
        (("--snapshot", "x.json"), "--snapshot does not change: run needs the cluster itself, or --demo"),
        (("--demo", "--every", "soon"), "run.every on the command line: soon is no while such as 90m, 2h30m"),
        (("--demo", "--every", "0s"), "run.every on the command line: 0s is less than a second"),
        (("--demo", "--mode", "always"), "Invalid value for '--mode'"),
        (("--demo", "--solver", "best"), "best"),
        (("--demo", "--looks", "0"), "run.looks on the command line: 0 is less than 1"),
        (("--demo", "--listen", "nowhere"), "metrics.listen"),
        ((), "no Proxmox VE API is configured"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_line(cli: Cli, words: tuple[str, ...], complaint: str) -> None:
    outcome = cli("run", "--once", *words)
    assert outcome.code in (64, 78) and complaint in outcome.complaint
