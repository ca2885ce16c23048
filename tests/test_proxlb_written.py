"""Claims about files of ProxLB as people have them: of every release, with every notation, secrets and mistakes."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from planner import config
from planner.choices import LogLevel
from planner.connection import base_url
from planner.errors import ConfigError
from planner.proxlb_settings import translate
from tests.commandline import Cli, alone, calling

SECRET = "hunter2-0123"
API = "proxmox_api: {hosts: [pve1], user: a@pve, pass: x}\n"
ESCAPE = r"\e[31mred\nrun: {mode: auto}"
"""What would colour a terminal, and go on in a line of its own, as YAML writes it."""


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "proxlb.yaml"
    path.write_text(text)
    path.chmod(mode)
    return path


def loaded(folder: Path, text: str) -> config.Config:
    return config.load(str(written(folder, text)), environ={}, cwd=folder)


# Of every release


def test_an_ini_file_of_1_0_4_loads_with_all_its_keys_and_words_for_yes_and_no(tmp_path: Path) -> None:
    text = (
        "[proxmox]\napi_host: pve1\napi_user: a@pve\napi_pass: x\nverify_ssl: disable\n"
        "[vm_balancing]\nenable: enable\nenforce_affinity_groups: 1\nparallel_migrations: False\n"
        "[storage_balancing]\nenable: No\nmethod: disk_space\n"
    )
    found = loaded(tmp_path, text)
    assert (found.api.verify_tls, found.run.mode.value, found.apply.parallel) == (False, "auto", 1)
    assert not any("enforce_affinity_groups" in remark for remark in found.remarks)
    off = loaded(tmp_path, text.replace("groups: 1", "groups: disable")).remarks
    assert any(remark.startswith("vm_balancing.enforce_affinity_groups has no effect: ") for remark in off)


def test_a_percent_sign_is_written_twice_in_an_ini_file_and_one_alone_is_refused(tmp_path: Path) -> None:
    text = "[proxmox]\napi_host: pve1\napi_user: a@pve\napi_pass: "
    assert config.connection(loaded(tmp_path, f"{text}a%%b%%%%"), {}).password == "a%b%%"
    assert config.connection(loaded(tmp_path, f"{text}%(api_user)s"), {}).password == "a@pve"
    for wrong in (f"{SECRET}%", f"%({SECRET})s", f"%z{SECRET}"):
        with pytest.raises(ConfigError, match=r"proxmox.api_pass .* write %%") as caught:
            loaded(tmp_path, text + wrong)
        assert SECRET not in str(caught.value) and "\n" not in str(caught.value)


def test_a_plain_number_is_a_schedule_in_hours_as_in_1_1_0(tmp_path: Path) -> None:
    found = loaded(tmp_path, f"{API}service: {{schedule: 24, log_level: INFO}}")
    assert (found.run.every, found.log.level) == ("24h", LogLevel.INFO)
    with pytest.raises(ConfigError, match=r'service.schedule.interval: "daily" is not a number'):
        loaded(tmp_path, f"{API}service: {{schedule: daily}}")


def test_settings_are_merged_as_yaml_says(tmp_path: Path) -> None:
    reserve = "{defaults: &all {memory: 4, cpu: 1}, pve1: {<<: *all, memory: 6}, pve2: {<<: [{memory: 7}, *all]}}"
    text = f"{API}balancing: {{node_resource_reserve: {reserve}}}"
    theirs = yaml.safe_load(text)["balancing"]["node_resource_reserve"]
    kept = loaded(tmp_path, text).policy.reserve
    assert {node: item.memory for node, item in kept.items()} == {
        "default" if node == "defaults" else node: parts["memory"] for node, parts in theirs.items()
    }
    ours = loaded(tmp_path, "policy: {reserve: {pve1: &one {memory: 4}, pve2: {<<: *one, cpu: 2}}}").policy.reserve
    assert (ours["pve2"].memory, ours["pve2"].cpu) == (4, 2)
    for bad in ("{<<: 5}", "{<<: [a]}"):
        with pytest.raises(ConfigError, match=r"line 1, column \d+: << stands before what is no mapping"):
            loaded(tmp_path, f"policy: {{reserve: {bad}}}")


@pytest.mark.parametrize(("given", "read"), [("150", 100), ("-1", 0), ("100", 100), ("7", 7)])
def test_a_balanciness_beyond_all_spreads_is_the_highest_or_lowest(tmp_path: Path, given: str, read: float) -> None:
    for text in (f"{API}balancing: {{balanciness: {given}}}", f"[proxmox]\n[vm_balancing]\nbalanciness: {given}"):
        found = loaded(tmp_path, text)
        assert found.policy.balanciness == read
        said = [remark for remark in found.remarks if "balanciness" in remark]
        assert said == [] if float(given) == read else f"counts as {read}" in said[0]
    with pytest.raises(ConfigError, match=r"balancing\.balanciness"):
        loaded(tmp_path, f"{API}balancing: {{balanciness: .nan}}")


HOSTS = ["pve1", "pve1:443", "10.0.0.1:8006", "fc00::1:8006", "fc00::1:443", "[fc00::1]:443", "[fc00::1]", "fc00::cafe"]


def test_what_follows_the_last_colon_of_an_address_is_its_port_as_there(tmp_path: Path) -> None:
    found = loaded(tmp_path, f"proxmox_api: {{hosts: {json.dumps(HOSTS)}, user: a@pve, pass: x}}")
    assert found.api.hosts[3:5] == ("[fc00::1]:8006", "[fc00::1]:443")
    assert [remark for remark in found.remarks if "443" in remark] == [
        "proxmox_api.hosts takes the 443 of fc00::1:443 for a port, as ProxLB does: write [fc00::1:443] for an address"
    ]
    # Here ProxLB would ask port 1 of what is no address.
    for host in ("fc00::1", "1:2:3:4:5:6:7:8", "fc00::99999"):
        assert loaded(tmp_path, f"proxmox_api: {{hosts: ['{host}'], user: a@pve, pass: x}}").api.hosts == (host,)


@pytest.mark.proxlb
def test_hosts_and_ports_are_those_that_proxlb_asks(tmp_path: Path) -> None:
    pytest.importorskip("proxlb", reason="the GPL package proxlb 2.3.0 is an optional test dependency")
    from proxlb.utils.helper import Helper

    found = loaded(tmp_path, f"proxmox_api: {{hosts: {json.dumps(HOSTS)}, user: a@pve, pass: x}}")
    for host, ours in zip(HOSTS, found.api.hosts, strict=True):
        name, port = Helper.get_host_port_from_string(host)
        assert base_url(ours) == f"https://{f'[{name}]' if ':' in name else name}:{port}"


def test_what_proxlbs_own_solver_alone_looks_at_has_no_effect_without_it(tmp_path: Path) -> None:
    keys = "balancing: {max_node_inflow: 3}\n"
    found = loaded(tmp_path, API + keys)
    assert found.apply.per_target == 1
    assert any(r.startswith("balancing.max_node_inflow has no effect: ") for r in found.remarks)
    assert loaded(tmp_path, f"{API}{keys}solver: {{enable: true, mode: active}}").apply.per_target == 3


def test_pressure_of_the_cpu_of_nodes_counts_here_and_that_is_said(tmp_path: Path) -> None:
    limits = "{pressure_full: 0.2, pressure_some: 0.2, pressure_spikes: 1}"

    def said(method: str) -> str:
        psi = f"{{nodes: {{{method}: {limits}}}, guests: {{{method}: {limits}}}}}"
        return "; ".join(loaded(tmp_path, f"{API}balancing: {{mode: psi, method: {method}, psi: {psi}}}").remarks)

    assert said("cpu").startswith("balancing.psi.nodes makes nodes hot by pressure_some of their CPU")
    assert said("memory") == said("disk") == ""


# Mistakes


def test_every_mistake_in_such_a_file_is_named_at_once(tmp_path: Path, cli: Cli) -> None:
    text = (
        f"{API}proxmox_clustr: {{}}\nbalancing: {{balancines: 5, enable: perhaps, pools: [a], parallel_jobs: x}}\n"
        "proxmox_cluster: {maintenance_nodes_schedule: {duration: 1, schedules: {a: ['Someday, 8:00']}}}\n"
        "solver: {timeout_seconds: -1}\n"
    )
    file = written(tmp_path, text)
    outcome = cli("config", "validate", file)
    lines = [line for line in outcome.err.splitlines() if line.startswith("proxlb-plan: ")]
    places = [
        "proxmox_clustr", "balancing.balancines", "balancing.enable", "balancing.pools", "balancing.parallel_jobs",
        "schedules.a", "solver.timeout_seconds",
    ]  # fmt: skip
    assert outcome.code == 78 and len(lines) == len(places)
    for place, line in zip(places, lines, strict=True):
        assert place in line and str(file) in line
    with pytest.raises(ConfigError, match="unknown key proxmox_clustr"):
        translate(text, str(file))


def test_an_ini_file_with_several_mistakes_too(tmp_path: Path, cli: Cli) -> None:
    text = "[proxmox]\nverify_ssl: x\n[vm_balancing]\nignore_nodes: a*\nmetod: cpu\n"
    err = cli("config", "validate", written(tmp_path, text)).err
    for place in ("proxmox.verify_ssl", "vm_balancing.ignore_nodes", "vm_balancing.metod"):
        assert err.count(place) == 1


def test_what_could_do_harm_to_a_terminal_is_never_shown_as_it_is(tmp_path: Path, cli: Cli) -> None:
    for text in (
        f'{API}balancing: {{method: "{ESCAPE}"}}',
        f'{API}balancing: {{"{ESCAPE}": 1}}',
        f'{API}balancing: {{pools: {{"{ESCAPE}": {{strict: true}}}}}}',
        f'proxmox_api: {{hosts: ["{ESCAPE}"], user: a@pve, pass: x}}',
        f'policy: {{"{ESCAPE}": 1}}',
        f'cluster: {{pools: {{"{ESCAPE}\u2028\u202e": {{type: affinity}}}}}}',
    ):
        file = written(tmp_path, text)
        for words in (("validate",), ("show",), ("show", "--origin"), ("import",)):
            outcome = cli("config", *words, *(["-c"] if "show" in words else []), file)
            shown = outcome.out + outcome.err
            assert "\x1b" not in shown and all(line.isprintable() for line in shown.split("\n")), (words, text)
            assert not any(line.startswith("run: {mode") for line in shown.splitlines())
    broken = written(tmp_path, f'policy: {{"{ESCAPE}": 1}}')
    for command in ("check", "doctor"):
        assert "\x1b" not in cli(command, "-c", broken).out


# Taken over


def test_what_is_taken_over_is_the_same_whatever_its_names_are(tmp_path: Path, cli: Cli) -> None:
    names = ["no", "- x", "{z}", "a: b # c", "x\ny", "\x1b[31m", "ü\u2028", "", "  ", "it's", '"'] + ["w" * 70] * 3
    pools = {name: {"type": "affinity", "pin": names} for name in names if name.strip()}
    api = {"hosts": ["pve1"], "user": "a@pve", "pass": "x"}
    text = json.dumps({"proxmox_api": api, "balancing": {"ignore_guests": names, "pools": pools}})
    direct = loaded(tmp_path, text)
    (tmp_path / "ours.yaml").write_text(cli("config", "import", "proxlb.yaml").out)
    assert config.load("ours.yaml").cluster == direct.cluster


def test_a_remark_on_a_pool_never_becomes_a_setting(tmp_path: Path, cli: Cli) -> None:
    text = f'{API}balancing: {{pools: {{"{ESCAPE}": {{strict: true}}}}}}'
    (tmp_path / "ours.yaml").write_text(cli("config", "import", written(tmp_path, text)).out)
    assert config.load("ours.yaml").run.mode.value == "observe"


@pytest.mark.parametrize(
    "keys",
    [
        f'hosts: [pve1], user: a@pve, token_id: "plb={SECRET}", token_secret: x',
        f'hosts: ["root:{SECRET}@pve1"], user: a@pve, pass: x',
    ],
)
def test_a_secret_where_none_belongs_is_refused_and_not_taken_over(tmp_path: Path, cli: Cli, keys: str) -> None:
    file = written(tmp_path, f"proxmox_api: {{{keys}}}")
    for words in (("import", file), ("import", file, "-o", "ours.yaml"), ("validate", file)):
        outcome = cli("config", *words)
        assert outcome.code == 78 and SECRET not in outcome.out + outcome.err
    assert not (tmp_path / "ours.yaml").exists()


def test_a_file_that_would_not_load_is_not_taken_over(tmp_path: Path, cli: Cli) -> None:
    file = written(tmp_path, f"{API}solver: {{timeout_seconds: -1}}")
    outcome = cli("config", "import", file)
    assert (outcome.code, outcome.out) == (78, "") and "(solver.timeout_seconds)" in outcome.complaint


def test_secrets_that_others_may_read_are_not_taken_over_either(tmp_path: Path, cli: Cli) -> None:
    outcome = cli("config", "import", written(tmp_path, API, 0o644))
    assert (outcome.code, outcome.out) == (78, "") and "chmod 600" in outcome.complaint
    bare = written(tmp_path, "balancing: {enable: true}", 0o644)
    assert cli("config", "import", bare, "-o", "ours.yaml").code == 0
    assert stat.S_IMODE((tmp_path / "ours.yaml").stat().st_mode) == 0o600


# Shown


def test_of_a_command_nothing_is_shown_but_the_program(tmp_path: Path, cli: Cli) -> None:
    command: Any = ["curl", "-H", f"Authorization: Bearer {SECRET}"]
    text = json.dumps({"notify": {"command": command}, "apply": {"hooks": {"before_run": command, "timeout": 3}}})
    shown = cli("config", "show", "-c", written(tmp_path, text)).out
    assert SECRET not in shown and "-H" not in shown
    hidden = ["curl", "**********", "**********"]
    found = yaml.safe_load(shown)
    assert found["notify"]["command"] == hidden
    hooks = found["apply"]["hooks"]
    assert (hooks["before_run"], hooks["after_run"], hooks["timeout"]) == (hidden, [], 3.0)
