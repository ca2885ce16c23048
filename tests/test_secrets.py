"""Claims about secrets: whatever a run writes, prints or tells, the token's secret is in none of it."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.commandline import Cli, alone, calling, write_config
from tests.fakecluster import TOKEN_SECRET, Served, serving, small_cluster

SECRET = "77777777-8888-4999-aaaa-bbbbbbbbbbbb"
HOOK = '#!/bin/sh\ncat >> "{out}"\nenv >> "{out}"\n'


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "server").mkdir()
    with serving(small_cluster(), tmp_path / "server") as server:
        server.pve.time_scale, server.pve.migration_secs = 1.0, 0.05
        yield server


@pytest.fixture
def config(served: Served, tmp_path: Path) -> Path:
    """With hooks that write down all that they are told, and the secret in a file of its own."""
    (tmp_path / "server" / "token").write_text(SECRET)
    (tmp_path / "server" / "token").chmod(0o600)
    path = write_config(tmp_path / "server" / "c.yaml", served)
    hook = tmp_path / "hook.sh"
    hook.write_text(HOOK.format(out=tmp_path / "told.txt"))
    hook.chmod(0o700)
    settings = yaml.safe_load(path.read_text())
    settings["api"] |= {"token_id": "root@pam!own", "token_secret_file": str(tmp_path / "server" / "token")}
    settings["api"].pop("token_secret", None)
    names = ("before_run", "after_run", "before_migration", "after_migration")
    settings["apply"] = {"hooks": {name: [str(hook)] for name in names}, "max_failures": 3}
    path.write_text(yaml.safe_dump(settings))
    served.pve.apitokens["root@pam!own"] = SECRET
    return path


def test_no_secret_is_written_printed_or_told(
    cli: Cli,
    served: Served,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr("planner.cli_site.FIGURES", 0.0)
    monkeypatch.setattr("planner.patience.POLL", 0.02)
    caplog.set_level(logging.DEBUG)
    plan = tmp_path / "plan.json"
    said = [cli("plan", "--config", config, "--solver", "greedy", "--balanciness", 0, "--out", plan)]
    served.pve.vm(100).fails = "migration aborted"
    said += [cli("apply", plan, "--config", config, "--yes"), cli("status", "--output", "json"), cli("history")]
    said += [
        cli("rollback", 1, "--config", config, "--yes"),
        cli("snapshot", "-o", tmp_path / "s.json", "--config", config),
    ]
    served.pve.apitokens["root@pam!own"] = TOKEN_SECRET  # revoked: the errors that this leads to
    said += [cli("resume", "--config", config, "--yes"), cli("doctor", "--config", config)]
    assert [outcome.code for outcome in said[:3]] == [0, 4, 0] and said[-1].code == 77
    files = [path for path in tmp_path.rglob("*") if path.is_file() and "server" not in path.parts]
    assert {"plan.json", "told.txt", "journal.sqlite3", "s.json"} <= {path.name for path in files}
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in caplog.text + "".join(outcome.out + outcome.err for outcome in said)
