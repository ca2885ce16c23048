"""Claims about what comes along for systemd, cron and containers: it is valid, safe, and fits the command."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from cronsim import CronSim

from planner import times
from planner.choices import RunMode
from planner.cli import app
from planner.journal import FILE, Journal
from planner.lock import locked
from planner.look import Look, Outcome
from planner.origin import VARIABLES
from planner.service import Run
from tests.sandbox import library
from tests.unitfile import INSTALLED, PROGRAM, SHIPPED, Unit, unit

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "service.md").read_text()
SERVICES = ("proxlb-plan.service", "proxlb-plan-once.service")
UNITS = (*SERVICES, "proxlb-plan.timer")
OTHER = 61234
"""A user that is none of this machine, as those that systemd makes up."""
SAFE = 2.0
"""Exposure level of `systemd-analyze security` that no service may exceed; 10 is the worst."""
RUNNING = ("Type", "NotifyAccess", "ExecStart", "ExecReload", "Restart", "RestartSec", "RestartPreventExitStatus",
           "WatchdogSec", "SuccessExitStatus")  # fmt: skip
"""What may be different for a daemon and for a look."""
COMPOSE: dict[str, Any] = yaml.safe_load((SHIPPED / "compose.yaml").read_text())
CONTAINER: dict[str, Any] = COMPOSE["services"]["proxlb-plan"]
CRON = [line for line in (SHIPPED / "cron").read_text().splitlines() if line and not line.startswith("#")]
with_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


def analyze(*words: object) -> subprocess.CompletedProcess[str]:
    asked = ["systemd-analyze", *map(str, words)]
    return subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units where the command is where the tests have it: systemd says it when it is nowhere."""
    directory = tmp_path_factory.mktemp("units")
    for name in UNITS:
        (directory / name).write_text((SHIPPED / name).read_text().replace(PROGRAM, str(INSTALLED)))
    return directory


# ------------------------------------------------------------------ systemd


@with_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_has_nothing_to_say_about_a_unit(units: Path, name: str) -> None:
    found = analyze("verify", "--man=no", units / name)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


@with_systemd
def test_systemd_would_say_so_if_a_unit_had_a_key_that_it_does_not_know(units: Path) -> None:
    wrong = units / "wrong.service"
    wrong.write_text((units / SERVICES[0]).read_text().replace("ProtectHome=yes", "ProtectHorse=yes"))
    assert "ProtectHorse" in analyze("verify", "--man=no", wrong).stderr


@with_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_little_more_than_it_needs(units: Path, name: str) -> None:
    found = analyze("security", "--offline=true", f"--threshold={SAFE * 10:.0f}", units / name)
    level = re.search(r"Overall exposure level for \S+ ([\d.]+)", found.stdout)
    assert level and float(level[1]) <= SAFE, found.stdout
    assert found.returncode == 0, found.stdout


@with_systemd
def test_the_threshold_is_on_the_scale_that_is_shown(units: Path) -> None:
    assert analyze("security", "--offline=true", "--threshold=1", units / SERVICES[0]).returncode == 1


def test_both_services_are_confined_alike_and_share_user_and_journal() -> None:
    daemon, once = (
        [(key, value) for section, key, value in unit(name).settings if section == "Service" and key not in RUNNING]
        for name in SERVICES
    )
    assert daemon == once
    assert ("DynamicUser", "yes") in once and ("StateDirectory", "proxlb-plan") in once
    # Without a name of its own each unit would have another user, and give the journal to it at every start.
    assert ("User", "proxlb-plan") in once


@pytest.mark.parametrize("name", SERVICES)
def test_the_secret_reaches_a_service_as_a_credential_and_its_variables_exist(name: str) -> None:
    of = unit(name)
    credential, _, path = of.value("LoadCredential").partition(":")
    environ = dict(pair.split("=", 1) for pair in of.values("Environment"))
    assert environ["PROXLB_PLAN_API__TOKEN_SECRET_FILE"] == f"%d/{credential}"
    assert set(environ) <= {*VARIABLES, "PROXLB_PLAN_CONFIG"}
    for mentioned in (path, environ["PROXLB_PLAN_CONFIG"]):
        assert mentioned in DOCUMENT


def seconds(text: str) -> float:
    """A while as systemd writes it; a number alone is seconds."""
    return times.span(f"{text.replace('min', 'm')}s" if text.isdecimal() else text.replace("min", "m"))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_given_more_time_to_end_than_it_takes_by_itself(name: str) -> None:
    """Beside migrations under way, an answer of the API may have to be waited for."""
    assert seconds(unit(name).value("TimeoutStopSec")) >= times.span(Run().grace) + 60


def test_the_timer_starts_one_look_as_often_as_the_daemon_would_look() -> None:
    timer = unit("proxlb-plan.timer")
    assert timer.value("Unit", "Timer") == "proxlb-plan-once.service" and unit(SERVICES[1]).value("Type") == "oneshot"
    every = re.fullmatch(r"\*:00/(\d+)", timer.value("OnCalendar", "Timer"))
    assert every and int(every[1]) * 60 == times.span(Run().every)
    assert seconds(timer.value("RandomizedDelaySec", "Timer")) == times.span(Run().jitter)


# ------------------------------------------------------------------ flags, cron, containers


def check_flags(words: list[str]) -> None:
    """Every command and flag of a command line exists, and values of flags are none of them."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    context = typer.Context(group)
    command, rest = group.get_command(context, words[0]), words[1:]
    assert command is not None, words
    while isinstance(command, typer.core.TyperGroup) and rest and (inner := command.get_command(context, rest[0])):
        command, rest = inner, rest[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in rest:
        if word.startswith("-"):
            assert word.split("=")[0] in known | {"--help", "-h"}, (words, word)


def started(of: Unit) -> list[str]:
    return shlex.split(of.value("ExecStart"))[1:]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_starts_a_command_that_exists(name: str) -> None:
    check_flags(started(unit(name)))


def test_the_line_for_cron_is_one_and_starts_a_command_that_exists() -> None:
    *variables, line = CRON
    *fields, user, program, rest = line.split(maxsplit=7)
    CronSim(" ".join(fields), datetime.now(UTC))  # raises
    assert (user, program) == ("proxlb-plan", PROGRAM)
    check_flags(shlex.split(rest))
    environ = dict(pair.split("=", 1) for pair in variables)
    assert {name for name in environ if name.startswith("PROXLB_")} <= {*VARIABLES, "PROXLB_PLAN_CONFIG"}
    # cron replaces nothing in a variable, and takes a % in a command for the end of the line.
    assert "%" not in line and not any("$" in value for value in environ.values())
    assert "STATE_DIRECTORY" in environ


def test_the_look_that_the_page_tries_keeps_its_journal_where_cron_does() -> None:
    page = (Path(__file__).parent.parent / "docs" / "service.md").read_text()
    line = re.search(r"^runuser .*$", page, re.MULTILINE)
    assert line is not None
    _, _, command = line[0].partition(" -- ")
    program, *words = shlex.split(command)
    assert program == "env"
    given = dict(word.split("=", 1) for word in words if "=" in word)
    cron = dict(entry.split("=", 1) for entry in CRON[:-1])
    assert given == {name: cron[name] for name in ("PROXLB_PLAN_CONFIG", "STATE_DIRECTORY")}
    assert words[len(given)] == "proxlb-plan"
    check_flags(words[len(given) + 1 :])


def test_the_container_has_no_rights_and_nothing_to_write_to_but_its_journal() -> None:
    assert CONTAINER["read_only"] is True and CONTAINER["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in CONTAINER["security_opt"]
    assert CONTAINER["user"].split(":")[0] not in ("0", "root")
    mounts = [entry.split(":") for entry in CONTAINER["volumes"]]
    writable = [mount[1] for mount in mounts if mount[2:] != ["ro"]]
    assert writable == [CONTAINER["environment"]["STATE_DIRECTORY"]]
    assert [mount[0] for mount in mounts if mount[1] == writable[0]] == list(COMPOSE["volumes"])
    assert [entry.split(":")[0] for entry in CONTAINER["tmpfs"]] == ["/tmp"]


def test_the_container_finds_its_settings_and_its_secret_where_they_are_put() -> None:
    environ = CONTAINER["environment"]
    assert {name for name in environ if name.startswith("PROXLB_")} <= {*VARIABLES, "PROXLB_PLAN_CONFIG"}
    config = Path(environ["PROXLB_PLAN_CONFIG"])
    assert str(config.parent) in [entry.split(":")[1] for entry in CONTAINER["volumes"]]
    assert environ["PROXLB_PLAN_API__TOKEN_SECRET_FILE"] == f"/run/secrets/{CONTAINER['secrets'][0]}"
    assert {*CONTAINER["secrets"]} == {*COMPOSE["secrets"]}
    assert not any("SECRET" in name and not name.endswith("_FILE") for name in environ)


def test_the_container_is_given_time_to_end_and_runs_commands_that_exist() -> None:
    assert seconds(CONTAINER["stop_grace_period"]) >= times.span(Run().grace) + 60
    check_flags(CONTAINER["command"])
    form, program, *words = CONTAINER["healthcheck"]["test"]
    assert (form, program) == ("CMD", "proxlb-plan")
    check_flags(words)


# ------------------------------------------------------------------ the page about it


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.M | re.S)


def test_the_page_builds_the_image_that_the_container_is_made_of() -> None:
    (recipe,) = blocks("dockerfile")
    steps = [line.split(maxsplit=1) for line in recipe.replace("\\\n", " ").splitlines() if line]
    assert steps[0][0] == "FROM" and re.fullmatch(r"python:3\.\d+-slim", steps[0][1])
    assert dict(steps)["USER"] == CONTAINER["user"] and dict(steps)["ENTRYPOINT"] == '["proxlb-plan"]'
    user = CONTAINER["user"].split(":")[0]
    assert f"-o {user} " in recipe and CONTAINER["environment"]["STATE_DIRECTORY"] in recipe
    assert f"-t {CONTAINER['image']} " in DOCUMENT and f"chown {user} token" in DOCUMENT


def test_the_page_shows_commands_that_exist() -> None:
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    calls = [re.search(r".*\bproxlb-plan (?=[a-z])(.*?)(?: > .*)?$", line) for line in lines]
    commands = [shlex.split(call[1], comments=True) for call in calls if call]
    assert len(commands) > 5
    for words in commands:
        check_flags(words)


def test_the_page_shows_drop_ins_that_systemd_understands(units: Path) -> None:
    drop_ins = blocks("ini")
    assert drop_ins
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    for number, text in enumerate(drop_ins):
        changed = units / f"changed{number}.service"
        changed.write_text((units / SERVICES[0]).read_text().replace("[Install]", f"{text}\n[Install]"))
        found = analyze("verify", "--man=no", changed)
        assert (found.returncode, found.stdout + found.stderr) == (0, ""), text


def test_the_page_shows_settings_that_are_valid(tmp_path: Path) -> None:
    from planner.config import load

    for text in blocks("yaml"):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        assert load(str(path), environ={}).source == str(path)


@with_systemd
def test_the_library_that_imposes_what_a_unit_forbids_is_where_systemd_is() -> None:
    assert library() is not None


# ------------------------------------------------------------------ beside the service


@pytest.mark.skipif(os.geteuid() != 0, reason="only root works in the directory of another user")
def test_what_root_does_in_the_journal_of_a_service_leaves_it_to_the_service(tmp_path: Path) -> None:
    os.chown(tmp_path, OTHER, OTHER)
    with contextlib.closing(Journal(tmp_path / FILE)) as journal, locked(tmp_path, "cluster"):
        journal.looks.add(Look(at=0.0, cluster="c", mode=RunMode.OBSERVE, outcome=Outcome.BALANCED))
        owners = {path.name: path.stat().st_uid for path in tmp_path.iterdir()}
    assert {FILE, f"{FILE}-wal", "cluster.lock"} <= {*owners} and {*owners.values()} == {OTHER}
