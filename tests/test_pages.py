"""What README and the pages of docs show is so: commands run, and tables are complete."""

import json
import re
import shlex
import subprocess
import sys
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from planner import proxlb_ini, proxlb_keys
from planner.errors import Exit
from planner.look import GateName
from planner.proxlb_settings import Translation, translate
from planner.settings import PATHS
from planner.tags import kind_of
from tests.commandline import alone, calling
from tests.fakecluster import Served, serving, small_cluster

ROOT = Path(__file__).parents[1]
PROXLB, CRS = ((ROOT / "docs" / name).read_text() for name in ("coming-from-proxlb.md", "beside-crs.md"))
THEIRS = "/etc/proxlb/proxlb.yaml"
IDLE = "no effect"
ACCESS: dict[str, Any] = {"proxmox_api": {"hosts": ["pve1"], "user": "a@pve"}}
LIMITS = {"memory": {"pressure_full": 1, "pressure_some": 2, "pressure_spikes": 3}}
SCHEDULE = {"schedules": {"pve1": ["Monday, 8:00"]}, "duration": 4, "pre-migration": 60}
SAMPLES: dict[str, Any] = {
    "proxmox_cluster.maintenance_nodes_schedule": SCHEDULE,
    "balancing.enable": True, "balancing.balance_types": ["vm"], "balancing.parallel": True, "balancing.live": False,
    "balancing.method": "cpu", "balancing.mode": "assigned", "balancing.psi.nodes": LIMITS,
    "balancing.psi.guests": LIMITS, "balancing.node_resource_reserve": {"defaults": {"memory": 4}},
    "balancing.pools": {"a": {"type": "affinity"}}, "balancing.enforce_affinity": False,
    "balancing.enforce_pinning": False, "balancing.balance_larger_guests_first": True,
    "service.daemon": False, "service.delay.enable": True, "service.enable_ha": True, "service.log_level": "INFO",
    "service.schedule.format": "minutes", "service.delay.format": "minutes",
    "solver.enable": False, "solver.mode": "shadow", "solver.fallback_to_greedy": True,
    "solver.use_reservations": False, "dpm.enable": True,
}  # fmt: skip
"""Values of keys that have an effect, or would have one if it were not said that they have none."""
LISTS = ("hosts", "maintenance_nodes", "ignore_nodes", "ignore_guests")
WORDS = ("user", "pass", "token_id", "token_secret")
BESIDE: dict[str, dict[str, Any]] = {
    "balancing.parallel_jobs": {"balancing.parallel": True},
    "balancing.cpu_threshold": {"balancing.method": "cpu"},
    "balancing.disk_threshold": {"balancing.method": "disk"},
    "balancing.psi.nodes": {"balancing.mode": "psi"},
    "balancing.psi.guests": {"balancing.mode": "psi"},
    "balancing.cpu_overcommit": {"solver.enable": True, "solver.mode": "active"},
    "balancing.max_node_inflow": {"solver.enable": True, "solver.mode": "active"},
    "service.delay.time": {"service.delay.enable": True},
    "service.delay.format": {"service.delay.enable": True},
}
"""What has to be set beside a key for it to have an effect."""
OF_INI = {
    "vm_balancing.enable": "1", "vm_balancing.method": "cpu", "vm_balancing.mode": "assigned", "service.daemon": "0",
    "vm_balancing.mode_option": "bytes", "vm_balancing.type": "ct", "vm_balancing.parallel_migrations": "0",
    "service.log_verbosity": "INFO", "storage_balancing.method": "disk_space",
    "vm_balancing.enforce_affinity_groups": "0",
}  # fmt: skip


def table(page: str, heading: str) -> dict[str, str]:
    """First column to second column of the table under a heading."""
    part = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("|")]
    return {row[0].strip("`"): row[1] for row in rows[2:]}


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for path, value in flat.items():
        *sections, key = path.split(".")
        inner = result
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[key] = value
    return result


def outcome(found: Translation, key: str) -> set[str]:
    """What the second column has to say of a key."""
    settings = {f"{item.section}.{item.key}" for item in found.settings if key in item.of and not item.default}
    return settings or {IDLE} & {IDLE for remark in found.remarks if remark.key == key and remark.idle}


def said(cell: str) -> set[str]:
    return {*re.findall(r"`([^`]+)`", cell)} or {cell}


@pytest.mark.parametrize("key", proxlb_keys.table())
def test_the_table_says_of_every_key_of_the_yaml_what_becomes_of_it(key: str) -> None:
    schedule = "proxmox_cluster.maintenance_nodes_schedule"
    if key.startswith(schedule):
        values = {schedule: SAMPLES[schedule]}
    else:
        name = key.rpartition(".")[2]
        values = {key: SAMPLES.get(key, ["a"] if name in LISTS else "x" if name in WORDS else 1)}
    found = translate(yaml.safe_dump(ACCESS | nested(values | BESIDE.get(key, {}))), "proxlb.yaml")
    assert outcome(found, key) == said(table(PROXLB, "Every key of the YAML")[key])


INI_KEYS = [key for key in proxlb_ini.table() if not key.startswith("balancing.")]


@pytest.mark.parametrize("key", INI_KEYS)
def test_the_table_says_of_every_key_of_the_ini_file_what_becomes_of_it(key: str) -> None:
    section, _, name = key.partition(".")
    before = "" if section == "proxmox" else "[proxmox]\n"
    found = translate(f"{before}[{section}]\n{name}: {OF_INI.get(key, '1')}\n", "proxlb.conf")
    assert outcome(found, key) == said(table(PROXLB, "Every key of the INI file")[key])


def test_the_tables_have_no_key_that_there_is_not_and_name_settings_that_there_are() -> None:
    assert [*table(PROXLB, "Every key of the YAML")] == [*proxlb_keys.table()]
    assert {*table(PROXLB, "Every key of the INI file")} == {*INI_KEYS}
    settings = {*re.findall(r"`((?:api|cluster|policy|apply|run|log)\.[a-z_]+)(?::[^`]*)?`", PROXLB + CRS)}
    assert settings - {"api.enable"} <= PATHS.keys()  # that one is ProxLB's


def test_the_tags_of_the_page_are_understood() -> None:
    tags = re.findall(r"`(plb_[a-z_]+?)_?(?:NAME|NODE|\*|<node>)`", PROXLB.split("## Tags")[1].replace("_include", ""))
    assert {tag for tag in tags if kind_of(f"{tag}_x")} >= {
        "plb_affinity",
        "plb_anti_affinity",
        "plb_pin",
        "plb_ignore",
    }
    assert kind_of("plb_include_x") is None and kind_of("plb_exclude_x") is None and kind_of("plb_ignore_vm")


# Commands


def commands(page: str) -> list[list[str]]:
    """What a person types who follows a page, but for `make`."""
    lines = [line for block in re.findall(r"```console\n(.*?)```", page, re.S) for line in block.splitlines()]
    assert all(re.match(r"\$ (proxlb-plan|make) ", line) for line in lines)
    return [shlex.split(line)[2:] for line in lines if line.startswith("$ proxlb-plan")]


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
APART = "coming-from-proxlb.md"
"""It wants a configuration of ProxLB."""
SLOW = "backtest.md"
"""What it shows is run from another page as well, in small."""


WRITES = ("-o", "--out", "--html", "--textfile")
"""Options that name a file to write."""


def leaves(words: list[str], folder: Path) -> bool:
    """Whether a command that has run names files to write; each of them has to be there, and something in it."""
    files = [folder / file for option, file in pairwise(words) if option in WRITES and file != "-"]
    empty = [file.name for file in files if not (file.is_file() and file.stat().st_size)]
    assert not empty, f"{words}: nothing in {empty}"
    return bool(files)


def shown() -> dict[str, list[list[str]]]:
    """Page to its commands; of those about the demo that leave no file, each once."""
    result: dict[str, list[list[str]]] = {}
    for page in (page for page in PAGES if page.name != APART):
        before = [words for others in result.values() for words in others]
        known = [words for words in before if "--demo" in words and not {*WRITES} & {*words}]
        result[page.name] = [words for words in commands(page.read_text()) if words not in known]
    return {page: found for page, found in result.items() if found}


SHOWN = shown()


def configure(served: Served, folder: Path) -> None:
    """The configuration that pages have made their reader write."""
    who, secret = served.connection(), folder / "token"
    secret.touch(mode=0o600)
    secret.write_text(who.token_secret or "")
    (folder / "proxlb-plan.yaml").write_text(
        f"api:\n  hosts: ['{served.at}']\n  user: {who.user}\n  token_id: {who.token_id}\n"
        f"  token_secret_file: {secret}\n  ca_file: {served.ca_file}\n"
        "policy:\n  max_migrations: 20\n  reserve:\n    default: {memory: 4}\n"
    )


@pytest.mark.parametrize("page", [pytest.param(name, marks=[pytest.mark.slow] * (name == SLOW)) for name in SHOWN])
def test_every_command_of_a_page_runs_in_the_order_in_which_it_stands_there(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr("planner.cli_site.FIGURES", 0.0)
    monkeypatch.setattr("planner.patience.POLL", 0.05)
    cli, pve = calling(capsys), small_cluster()
    pve.time_scale = 0
    with serving(pve, tmp_path) as served:
        configure(served, tmp_path)
        for words in SHOWN[page]:
            asks = words[0] in ("apply", "rollback") and "--yes" not in words
            done = cli(*words, *["--yes"] * asks)
            assert done.code == Exit.OK, f"{words}: {done.out}\n{done.err}"
            assert leaves(words, tmp_path) or done.out or words[0] == "run", words


@pytest.mark.parametrize(("text", "fails"), [(None, True), ("", True), ("<p>", False)])
def test_a_file_that_a_command_names_has_to_be_there_with_something_in_it(
    text: str | None, fails: bool, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "plan.html").write_text(text)
    with pytest.raises(AssertionError, match=r"nothing in \['plan.html'\]") if fails else nullcontext():
        assert leaves(["report", "--plan", "plan.json", "--html", "plan.html"], tmp_path)
    assert not leaves(["plan", "--demo", "--output", "json"], tmp_path)


def test_every_page_that_makes_a_token_makes_it_as_config_init_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone(monkeypatch, tmp_path)
    lines = calling(capsys)("config", "init", "--host", "pve1").out
    making = {page.name: page.read_text() for page in PAGES if "\npveum user token add" in page.read_text()}
    assert {"README.md", "connect.md", "tutorial.md"} <= making.keys()
    assert {name for name, text in making.items() if lines not in text} == set()


def test_the_exit_codes_are_all_explained() -> None:
    page = (ROOT / "docs" / "scripts.md").read_text()
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.M)} == {int(code) for code in Exit}


def run(args: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    own = {"PYTHONPATH": str(ROOT), "HOME": str(folder), "STATE_DIRECTORY": f"{folder}/st", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-W", "ignore", "-m", "planner", *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False, env=own)


def as_proxlb_has_it(served: Served, folder: Path) -> Path:
    """A configuration of ProxLB for a cluster; it knows no certificates but those that the system trusts."""
    who, file = served.connection(), folder / "proxlb.yaml"
    access = {"hosts": [served.at], "user": who.user, "token_id": who.token_id, "token_secret": who.token_secret}
    parts = {
        "proxmox_api": access | {"ssl_verification": False, "retries": 3},
        "balancing": {"enable": True, "balance_types": ["vm", "ct"], "balanciness": 5, "memory_threshold": 10},
    }
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(parts))
    return file


@pytest.mark.slow
def test_the_five_minutes_with_a_configuration_of_proxlb_are_as_the_page_says(tmp_path: Path) -> None:
    pve = small_cluster()
    pve.time_scale = 0
    with serving(pve, tmp_path) as served:
        file = str(as_proxlb_has_it(served, tmp_path))
        for args in commands(PROXLB):
            done = run([file if word == THEIRS else word for word in args], tmp_path)
            assert done.returncode == Exit.OK, f"{args}: {done.stdout}\n{done.stderr}"
            assert leaves(args, tmp_path) or done.stdout or args[0] == "run", args
            if THEIRS in args and args[0] in ("--config", "compare"):
                assert "settings of ProxLB: 1 key has no effect, see proxlb-plan config validate" in done.stderr
        (carried_out,) = json.loads(run(["history", "--output", "json", "--config", file], tmp_path).stdout)
        assert carried_out["state"] == "done"
        checked = run(["config", "validate", file], tmp_path)
        assert "proxmox_api.retries has no effect: " in checked.stdout + checked.stderr
    assert "token_secret_file: /etc/proxlb-plan/token" in (tmp_path / "proxlb-plan.yaml").read_text()


def test_every_gate_is_in_the_page_about_them() -> None:
    page = (ROOT / "docs" / "scheduled.md").read_text()
    for gate in GateName:
        assert f"`{gate}`" in page
