"""Claims about ProxLB's configuration: it is understood as it is, and nothing of it is passed over in silence."""

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from planner import config, maintenance, proxlb_ini, proxlb_keys
from planner.choices import Active, Free, LogLevel, RunMode
from planner.config import Config, connection
from planner.errors import ConfigError, InputError
from planner.policy import Cluster, GuestType, Mode, PoolRule, PoolType, Pressure, Reserve, Resource
from planner.proxlb_settings import Translation, is_proxlb, note, translate
from planner.takeover import imported
from tests.proxlb_files import INI, YAML, random_settings

FILE = "proxlb.yaml"
BARE = "proxmox_api: {hosts: [pve1], user: a@pve}\n"
SAME = ("cluster", "policy", "apply", "run", "log")
"""Sections without secrets."""


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / FILE
    path.write_text(text)
    path.chmod(mode)
    return path


def loaded(folder: Path, text: str) -> Config:
    return config.load(str(written(folder, text)), environ={}, cwd=folder)


def balancing(**keys: Any) -> Translation:
    return translate(BARE + yaml.safe_dump({"balancing": keys}), FILE)


def given(found: Translation, path: str) -> Any:
    """What a setting becomes; None where it is not set."""
    return next((item.value for item in found.settings if f"{item.section}.{item.key}" == path), None)


def said(found: Translation, key: str) -> str:
    return "; ".join(str(remark) for remark in found.remarks if remark.key == f"balancing.{key}")


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        translate(text, FILE)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Whole files


def test_a_yaml_file_of_proxlb_is_a_configuration(tmp_path: Path) -> None:
    found = loaded(tmp_path, YAML)
    assert found.api.hosts == ("virt01.example.com", "10.10.10.10", "fe01:bad:c0de::cafe", "[fc00::1]:8006")
    assert (found.api.user, found.api.token_id, found.api.verify_tls, found.api.timeout) == (
        "root@pam",
        "proxlb",
        True,
        10,
    )
    assert connection(found, {}).token_secret == "430e308f-1337"
    assert found.cluster == Cluster(
        maintenance_nodes=("virt66",),
        pools={
            "dev": PoolRule(PoolType.AFFINITY),
            "de-nbg01-db": PoolRule(PoolType.ANTI_AFFINITY, ("virt66", "virt77"), strict=False),
        },
    )
    policy = found.policy
    assert (policy.balanciness, policy.threshold, policy.guests) == (5.0, {"memory": 75.0}, GuestType.VM)
    assert policy.reserve == {"default": Reserve(memory=4), "virt02": Reserve(memory=6)}
    assert (policy.resource, policy.mode, policy.with_local_disks) == ((Resource.MEMORY,), Mode.USED, False)
    assert (found.apply.parallel, found.apply.migration_timeout, found.apply.conntrack) == (3, 900, "auto")
    run = found.run
    assert (run.mode, run.looks, run.every, run.delay, run.active) == (RunMode.AUTO, 1, "30m", "1h", Active.ALWAYS)
    assert found.log.level is LogLevel.WARNING


def test_an_ini_file_of_proxlb_1_0_is_a_configuration(tmp_path: Path) -> None:
    found = loaded(tmp_path, INI)
    assert (found.api.hosts, found.api.verify_tls) == (("hypervisor01", "10.10.10.10"), False)
    assert connection(found, {}).password == "Foo%Bar#1"
    assert found.cluster == Cluster(
        maintenance_nodes=("pve9",), ignore_nodes=("pve7", "pve8"), ignore_guests=("testvm01", "web*")
    )
    policy = found.policy
    assert (policy.resource, policy.mode, policy.balanciness) == ((Resource.CPU,), Mode.ASSIGNED, 8)
    assert (policy.guests, policy.with_local_disks, policy.free) == (GuestType.VM, True, Free.BYTES)
    assert (found.apply.parallel, found.run.every, found.run.active) == (1, "24h", Active.HA_MANAGER)
    assert (found.run.mode, found.log.level) == (RunMode.AUTO, LogLevel.CRITICAL)
    assert any("rename plb_include_*" in remark for remark in found.remarks)
    assert any(remark.startswith("update_service.enable has no effect: ") for remark in found.remarks)
    assert not any("storage_balancing" in remark for remark in found.remarks)  # it is off, as disks stay here anyway


def test_the_section_of_0_9_means_the_same(tmp_path: Path) -> None:
    newer, older = (loaded(tmp_path, text) for text in (INI, INI.replace("[vm_balancing]", "[balancing]")))
    assert [getattr(newer, section) for section in SAME] == [getattr(older, section) for section in SAME]


def test_environment_and_flags_beat_it_as_they_beat_every_file(tmp_path: Path) -> None:
    path, environ = str(written(tmp_path, YAML)), {"PROXLB_PLAN_RUN__EVERY": "5m"}
    found = config.load(path, {"policy": {"balanciness": 7.0}}, environ, tmp_path)
    assert (found.policy.balanciness, found.run.every, found.run.mode) == (7.0, "5m", RunMode.AUTO)


@pytest.mark.parametrize("text", [YAML, INI])
def test_what_is_imported_means_the_same_and_has_no_secret(text: str, tmp_path: Path) -> None:
    ours = imported(written(tmp_path, text), {})
    assert "430e308f" not in ours and "Foo%Bar" not in ours
    (tmp_path / "ours.yaml").write_text(ours)
    found, direct = config.load(str(tmp_path / "ours.yaml"), environ={}, cwd=tmp_path), loaded(tmp_path, text)
    for section in SAME:
        assert getattr(found, section) == getattr(direct, section), ours
    assert found.remarks == () and all(f"# {remark}\n" in ours for remark in direct.remarks)
    assert "token_secret_file: /etc/proxlb-plan/token" in ours or "password_file: /etc/proxlb-plan/password" in ours


def test_only_a_file_of_proxlb_is_imported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no configuration of ProxLB"):
        imported(written(tmp_path, "policy: {seed: 1}\n"), {})
    with pytest.raises(ConfigError, match="cannot be read"):
        imported(tmp_path / "none.yaml", {})


@pytest.mark.parametrize(
    ("text", "is_it"),
    [(BARE, True), (INI, True), ("balancing: {enable: true}", True), ("policy: {}", False), ("", False), ("- a", False),
     ("policy: {}\nservice: {}", False)],
)  # fmt: skip
def test_whose_file_it_is_is_told_by_its_sections(text: str, is_it: bool) -> None:
    assert is_proxlb(text, FILE) is is_it


# What has no effect, and what is wrong


def test_a_key_without_effect_is_named_with_the_reason(tmp_path: Path) -> None:
    found = loaded(tmp_path, YAML)
    idle = [remark for remark in found.remarks if "has no effect: " in remark]
    assert [remark.split()[0] for remark in idle] == ["proxmox_api.retries", "proxmox_cluster.overprovisioning"]
    assert note(found.remarks) == "settings of ProxLB: 2 keys have no effect, see proxlb-plan config validate"
    assert note(translate(BARE, FILE).idle) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BARE + "balancing: {balancines: 5}", "unknown key balancing.balancines: did you mean balanciness?"),
        (BARE + "balancing: {pools: {a: {pins: [b]}}}", "unknown key balancing.pools.a.pins: did you mean pin?"),
        (BARE + "service: {schedules: {interval: 1}}", "unknown key service.schedules: did you mean schedule?"),
        (BARE + "balancing: {maintenance_nodes: [a]}", "did you mean proxmox_cluster.maintenance_nodes?"),
        (BARE + "ballancing: {}", "unknown key ballancing: did you mean balancing?"),
        (BARE + "policy: {}", "it has a section policy of proxlb-plan's beside proxmox_api"),
        (BARE + "balancing: {enable: perhaps}", 'balancing.enable: "perhaps" is not true or false'),
        (BARE + "balancing: {parallel_jobs: 1.5}", 'balancing.parallel_jobs: "1.5" is not a whole number'),
        (BARE + "balancing: {method: ram}", 'balancing.method: "ram" is not one of cpu, disk, memory'),
        (BARE + "balancing: {pools: [a]}", "balancing.pools: the value is not a mapping"),
        (BARE + "service: daemon", 'service: "daemon" is not a mapping'),
        ("proxmox_api: {hosts: [a], timeout: hunter2}", "proxmox_api.timeout: the value is not a number"),
        (BARE + "proxmox_cluster: {maintenance_nodes_schedule: {duration: 1, schedules: {a: ['Someday, 8:00']}}}",
         'proxmox_cluster.maintenance_nodes_schedule.schedules.a: "Someday, 8:00" is not a time such as Monday, 8:00'),
        ("[proxmox]\napi_pas: hunter2", "unknown key proxmox.api_pas: did you mean api_pass?"),
        ("[proxmox]\napi_pass: hunter2\napi_pass: hunter3", "proxlb.yaml has proxmox.api_pass twice, in line 3"),
        ("[proxmox]\nhunter2", "proxlb.yaml, line 2, is not KEY: VALUE"),
        ("hunter2\n[proxmox]\n", "proxlb.yaml, line 1, stands before the first [section]"),
        ("[proxmox]\n[vm_balancing]\nignore_nodes: test*", "has the pattern test*: name each node instead"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_line_without_a_secret(text: str, words: str) -> None:
    assert words in refusal(text) and "hunter2" not in refusal(text)
    assert FILE in refusal(text)


def test_a_value_out_of_range_is_named_as_it_stands_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^policy.time_limit in .*proxlb.yaml \(solver.timeout_seconds\): -1 is not more"
    ):
        loaded(tmp_path, BARE + "solver: {timeout_seconds: -1}")


def test_a_secret_that_others_may_read_is_refused_here_too(tmp_path: Path) -> None:
    for text, key in ((YAML, "token_secret"), (INI, "password")):
        with pytest.raises(ConfigError, match=f"holds api.{key} and others may read it"):
            config.load(str(written(tmp_path, text, 0o644)), environ={}, cwd=tmp_path)


# Keys that mean something together


@pytest.mark.parametrize(
    ("keys", "mode"),
    [
        ({"enable": True, "balance_types": ["vm"]}, "auto"),
        ({"enable": False, "balance_types": ["vm"]}, "observe"),
        ({"balance_types": ["vm"]}, "observe"),
        ({"enable": True}, "observe"),
        ({"enable": True, "balance_types": []}, "observe"),
    ],
)
def test_what_proxlb_would_not_migrate_is_not_migrated(keys: dict[str, Any], mode: str) -> None:
    found = balancing(**keys)
    assert given(found, "run.mode") == mode
    assert ("ProxLB migrates nothing" in said(found, "balance_types")) is (
        keys.get("enable", False) and mode == "observe"
    )


def test_migrations_run_one_by_one_unless_parallel_is_on() -> None:
    for keys, jobs in (
        ({}, 1),
        ({"parallel_jobs": 4}, 1),
        ({"parallel": True}, 5),
        ({"parallel": True, "parallel_jobs": 0}, 1),
    ):
        assert given(balancing(**keys), "apply.parallel") == jobs
    assert "one migration at a time" in said(balancing(parallel_jobs=4), "parallel_jobs")


def test_thresholds_of_pressure_become_ours_the_lower_of_nodes_and_guests() -> None:
    nodes = {"memory": {"pressure_full": 20, "pressure_some": 30, "pressure_spikes": 60}}
    guests = {"memory": {"pressure_full": 25, "pressure_some": 10, "pressure_spikes": 60}, "cpu": nodes["memory"]}
    found = balancing(mode="psi", psi={"nodes": nodes, "guests": guests})
    assert given(found, "policy.resource") == "memory-pressure" and given(found, "policy.mode") is None
    assert given(found, "policy.pressure") == {"memory-pressure": {"some": 10, "full": 20, "spikes": 60}}
    assert "the lower one of each" in said(found, "psi.nodes")
    assert "for cpu: as in ProxLB only balancing.method counts" in said(found, "psi.guests")


def test_thresholds_of_pressure_load(tmp_path: Path) -> None:
    limits = "{memory: {pressure_full: 0.2, pressure_some: 0.2, pressure_spikes: 1.0}}"
    found = loaded(tmp_path, BARE + f"balancing: {{mode: psi, psi: {{nodes: {limits}, guests: {limits}}}}}")
    assert found.policy.pressure == {"memory-pressure": Pressure(0.2, 0.2, 1.0)} and found.remarks == ()


def test_pressure_without_thresholds_balances_nothing_as_there() -> None:
    found = balancing(mode="psi", method="disk")
    assert given(found, "policy.repair_only") is True and given(found, "policy.resource") == "io-pressure"
    assert "nothing is ever hot" in said(found, "mode")


def test_of_the_thresholds_of_load_only_that_of_the_method_counts() -> None:
    found = balancing(method="cpu", cpu_threshold=80, memory_threshold=75)
    assert given(found, "policy.threshold") == {"cpu": 80}
    assert "has no effect: as in ProxLB" in said(found, "memory_threshold")
    assert "has no effect: as in ProxLB" in said(balancing(mode="psi", memory_threshold=75), "memory_threshold")
    assert given(balancing(memory_threshold=0), "policy.threshold") is None


def test_vcpus_are_limited_where_proxlb_limits_them() -> None:
    active = translate(BARE + "solver: {enable: true, mode: active}", FILE)
    assert given(active, "policy.overcommit") == {"default": {"cpu": 2.0}}
    assert given(balancing(cpu_overcommit=4), "policy.overcommit") is None
    assert "policy.overcommit would limit vCPUs" in said(balancing(cpu_overcommit=4), "cpu_overcommit")


def test_the_token_counts_where_there_is_a_secret_of_one_and_the_password_elsewhere() -> None:
    both = translate("proxmox_api: {hosts: [a], user: u, pass: p, token_id: t}", FILE)
    assert given(both, "api.token_id") is None and given(both, "api.password") == "p"
    token = translate("proxmox_api: {hosts: [a], user: u, token_id: t}", FILE)
    assert given(token, "api.token_id") == "t"  # its secret may be in a variable


def test_guests_named_by_numbers_are_warned_about() -> None:
    assert "means guest 105 by 105" in said(balancing(ignore_guests=["web1", "105"]), "ignore_guests")


def test_a_pool_of_which_nothing_is_asked_is_left_out() -> None:
    found = balancing(pools={"a": {"strict": False}, "b": {"pin": ["pve1"]}})
    assert given(found, "cluster.pools") == {"b": {"pin": ["pve1"]}}
    assert "for pool a" in said(found, "pools")


# A second opinion: ProxLB itself


def leaves(model: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys of a pydantic model, as they are written."""
    for name, field in model.model_fields.items():
        path, kind = f"{prefix}{field.alias or name}", field.annotation
        inner = next((part for part in (kind, *getattr(kind, "__args__", ())) if hasattr(part, "model_fields")), None)
        if inner is not None and "dict" not in str(kind):
            yield from leaves(inner, f"{path}.")
        else:
            yield path


def keys_of(values: Any, known: Iterable[str], prefix: str = "") -> Iterator[str]:
    """Dotted names of what is written, as far as a key is known by its name."""
    for name, value in values.items():
        path = f"{prefix}{name}"
        if path in known:
            yield path
        else:
            yield from keys_of(value, known, f"{path}.")


@pytest.mark.proxlb
def test_every_key_of_proxlb_is_known_here() -> None:
    pytest.importorskip("proxlb", reason="the GPL package proxlb 2.3.0 is an optional test dependency")
    from proxlb.utils.config_parser import Config as Theirs

    assert {*leaves(Theirs)} == {key for key in proxlb_keys.table() if not key.startswith("dpm.")}


@pytest.mark.proxlb
def test_whatever_proxlb_takes_is_taken_and_every_key_of_it_accounted_for(tmp_path: Path) -> None:
    pytest.importorskip("proxlb", reason="the GPL package proxlb 2.3.0 is an optional test dependency")
    from proxlb.utils.config_parser import Config as Theirs

    for seed in range(150):
        values = random_settings(random.Random(seed))
        Theirs.model_validate(values)
        text = yaml.safe_dump(values)
        found = translate(text, FILE)
        assert found.keys >= {*keys_of(values, proxlb_keys.table())}, f"{seed}: {text}"
        direct = loaded(tmp_path, text)
        (tmp_path / "ours.yaml").write_text(imported(tmp_path / FILE, {}))
        ours = config.load(str(tmp_path / "ours.yaml"), environ={}, cwd=tmp_path)
        assert [getattr(ours, section) for section in SAME] == [getattr(direct, section) for section in SAME], seed


@pytest.mark.proxlb
def test_nodes_are_in_maintenance_when_proxlb_would_have_them_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("proxlb", reason="the GPL package proxlb 2.3.0 is an optional test dependency")
    from proxlb.utils.helper import Helper

    monkeypatch.setenv("TZ", "UTC")
    rng, held = random.Random(7), 0
    for _ in range(40):
        day, hours, minutes = rng.choice(("Monday", "Sunday")), rng.choice((0, 1, 30)), rng.choice((0, 45, 300))
        begin = f"{day}, {rng.randrange(24)}:{rng.randrange(60):02d}"
        times = f"{{duration: {hours}, pre-migration: {minutes}, schedules: {{pve1: ['{begin}']}}}}"
        found = loaded(tmp_path, BARE + f"proxmox_cluster: {{maintenance_nodes_schedule: {times}}}").cluster
        start = datetime(2026, 11, 25, tzinfo=UTC)
        for now in (start + timedelta(minutes=rng.randrange(14 * 24 * 60)) for _ in range(60)):
            theirs = Helper.is_maintenance_schedule_active(begin, hours, minutes, now.replace(tzinfo=None))
            assert [*maintenance.nodes(found, now.isoformat())] == ["pve1"] * theirs, (times, now)
            held += theirs
    assert held > 100


@pytest.mark.parametrize("section", proxlb_ini.MODES)
def test_every_key_of_the_ini_file_is_accounted_for(section: str) -> None:
    samples = {"mode": "used", "method": "disk", "mode_option": "percent", "type": "all", "log_verbosity": "INFO"}
    samples["storage_balancing.method"] = "disk_space"
    lines: dict[str, list[str]] = {}
    for key in proxlb_ini.table():
        at, _, name = key.partition(".")
        lines.setdefault(at, [f"[{at}]"]).append(f"{name} = {samples.get(key, samples.get(name, '1'))}")
    other = next(name for name in proxlb_ini.MODES if name != section)
    del lines[other]
    text = "\n".join(line for part in lines.values() for line in part)
    assert translate(text, FILE).keys >= {key for key in proxlb_ini.table() if not key.startswith(f"{other}.")}
