"""Claims about the doctor: what it finds, what it leaves alone, how it says to mend it, what it ends with."""

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from planner import doctor, names, probe
from planner.cluster import Cluster
from planner.connection import Connection
from planner.errors import ApiRefused, BadAnswer, Exit, Forbidden, Unreachable
from planner.finding import Finding, Level, error, exit_code, failure, note, ok, warning
from planner.policy import Cluster as ClusterPolicy
from planner.policy import Policy, PoolRule, PoolType, Reserve, RuleSetting
from planner.probe import Reading
from planner.snapshot import RESOURCES
from tests.commandline import Cli, alone, calling, write_config, write_snapshot
from tests.fakecluster import TOKEN_SECRET, FakeCluster, Served, serving, small_cluster
from tests.rows import ALL_PRIVILEGES, FixedSource, cluster, ct, node, offline, recorded, snapshot, vm

TOKEN = Connection(("pve1",), token_id="plan@pve!t", token_secret="s")
PASSWORD = Connection(("pve1",), user="plan@pve", password="s")


def levels(findings: Iterable[Finding]) -> list[Level]:
    return [finding.level for finding in findings]


def bad(findings: Iterable[Finding]) -> list[Finding]:
    """All that is not well."""
    return [finding for finding in findings if finding.level is not Level.OK]


def only(findings: Iterable[Finding], level: Level) -> Finding:
    """The single finding that is not well, which has this level."""
    found = bad(findings)
    assert [finding.level for finding in found] == [level], found
    return found[0]


def examined(source: Cluster, settings: ClusterPolicy | None = None, policy: Policy | None = None) -> list[Finding]:
    return list(doctor.examine(source, settings or ClusterPolicy(), policy or Policy()))


def test_a_healthy_cluster_has_nothing_but_what_needs_a_connection() -> None:
    found = examined(cluster(node("a"), node("b"), vm(1, "a", tags="plb_pin_a;prod"), ct(2, "b")))
    assert [finding.what for finding in bad(found)] == [doctor.UNCONNECTED]
    assert exit_code(found) == Exit.OK


def test_the_recorded_cluster_of_proxmox_ve_has_no_error() -> None:
    answers = {
        "/version": "version", "/cluster/status": "cluster_status", "/cluster/options": "cluster_options",
        "/cluster/ha/rules": "ha_rules", "/cluster/ha/status/current": "ha_status_current", "/pools": "pools",
    }  # fmt: skip
    known = {path: recorded(name) for path, name in answers.items()}
    found = examined(cluster(*recorded("cluster_resources"), **known))
    assert Level.ERROR not in levels(found) and Level.WARNING not in levels(found)
    down = examined(cluster(*recorded("offline_cluster_resources"), **known))
    assert "node pve3 is offline" in " ".join(finding.what for finding in down if finding.level is Level.WARNING)


# Versions and clocks


@pytest.mark.parametrize(
    ("answer", "level"),
    [({"version": "9.2.6"}, "ok"), ({"version": "8.4.1"}, "ok"), ({"version": "7.4-3"}, "warning"),
     ({"version": "10.0"}, "warning"), ({"version": "fake"}, "warning"), ({}, "note"), (None, "note")],
)  # fmt: skip
def test_only_known_releases_are_well(answer: Any, level: str) -> None:
    assert levels(doctor.version(snapshot(node("a"), **{"/version": answer}))) == [level]


def test_nodes_of_different_versions_are_told_apart() -> None:
    found = only(doctor.node_versions("abc", {"a": "9.2.6", "b": "9.2.6", "c": "8.4.1"}), Level.WARNING)
    assert "8.4.1 on c; 9.2.6 on a, b" in found.what and "newer to an older" in found.advice[0]
    assert bad(doctor.node_versions("ab", {"a": "9.2.6", "b": "9.2.6"})) == []
    assert "not known of b" in only(doctor.node_versions("ab", {"a": "9.2.6"}), Level.NOTE).what


@pytest.mark.parametrize(
    ("readings", "what"),
    [
        ({"a": Reading(0, 1), "b": Reading(20, 1)}, ""),
        ({"a": Reading(-10, 1), "b": Reading(25, 1)}, "clock of b is 35 s ahead of the one of a"),
        ({"a": Reading(50, 1), "b": Reading(51, 1)}, "clock of this machine is 51 s behind"),
        ({"a": Reading(-50, 1), "b": Reading(-51, 1)}, "clock of this machine is 51 s ahead of"),
        ({"a": Reading(40, 15), "b": Reading(0, 1)}, ""),  # the answer took so long that nothing is sure
    ],
)
def test_clocks_are_far_apart_only_where_the_way_of_the_answer_leaves_no_doubt(
    readings: dict[str, Reading], what: str
) -> None:
    found = bad(doctor.clocks(readings, readings))
    assert [what in finding.what for finding in found] == ([True] if what else [])


def test_clocks_that_the_token_may_not_read_are_skipped() -> None:
    found = only(doctor.clocks({}, ["a", "b"]), Level.NOTE)
    assert "a, b" in found.what and "Sys.Audit" in found.advice[0]


def test_nodes_are_asked_for_version_and_clock_and_silent_ones_left_out() -> None:
    source = FixedSource({
        "/nodes/a/version": {"version": "9.2.6"}, "/nodes/a/time": {"time": 1040, "localtime": 1, "timezone": "UTC"},
        "/nodes/b/version": Unreachable("gone"), "/nodes/b/time": Forbidden("no"),
        "/nodes/c/version": [], "/nodes/c/time": {"time": "noon"},
    })  # fmt: skip
    ticks = iter(range(1000, 2000, 2))
    said = probe.ask_nodes(source, ["a"], now=lambda: float(next(ticks)))
    assert said == probe.Nodes({"a": "9.2.6"}, {"a": Reading(39.5, 1.5)})  # asked at 1000, answered at 1002
    assert probe.ask_nodes(source, ["b", "c"]) == probe.Nodes()


# Hosts


def test_a_host_that_is_away_is_an_error_only_when_all_are() -> None:
    away = Unreachable("pve2:8006: no such host name")
    found = only(doctor.hosts({"pve1": "9.2.6", "pve2": away}), Level.WARNING)
    assert "pve2:8006: no such host name" in found.what and "correct pve2" in found.advice[0]
    alone_away = only(doctor.hosts({"pve2": away}), Level.ERROR)
    assert exit_code([alone_away]) == Exit.UNREACHABLE
    refused = only(doctor.hosts({"pve1": Forbidden("the API token was refused")}), Level.ERROR)
    assert exit_code([refused]) == Exit.FORBIDDEN


def test_a_host_without_a_version_is_not_the_api() -> None:
    told = probe.ask_hosts({"a": {"version": "9.2.6"}, "b": {"odd": 1}, "c": None})
    assert told["a"] == "9.2.6" and isinstance(told["b"], BadAnswer) and isinstance(told["c"], BadAnswer)


def test_tls_that_verifies_nothing_is_a_warning() -> None:
    common = {"hosts": ("pve1",), "token_id": "a@pve!t", "token_secret": "s"}
    assert doctor.trust(Connection(**common)).level is Level.OK
    assert doctor.trust(Connection(**common, verify_tls=False, fingerprint="ab" * 32)).level is Level.OK
    loose = doctor.trust(Connection(**common, verify_tls=False))
    assert loose.level is Level.WARNING and "api.ca_file" in loose.advice[0]


# Privileges


@pytest.mark.parametrize(
    ("permissions", "found"),
    [
        (ALL_PRIVILEGES, []),
        ({"/": {"Sys.Audit": 0}, "/nodes": {"Sys.Audit": 1}, "/vms": {"VM.Audit": 1, "VM.Migrate": 1},
          "/storage": {"Datastore.Audit": 1}, "/pool": {"Pool.Audit": 1}}, []),
        (ALL_PRIVILEGES | {"/vms/7": {"VM.Audit": 1}}, ["note VM.Migrate on /vms/7"]),
        (ALL_PRIVILEGES | {"/storage": {"Sys.Audit": 1}}, ["warning Datastore.Audit on /storage"]),
        (ALL_PRIVILEGES | {"/pool/p": {"VM.Audit": 1}}, ["warning Pool.Audit on /pool/p"]),
        ({}, ["error Sys.Audit on /nodes, VM.Audit on /vms",
              "warning Sys.Audit on /, Datastore.Audit on /storage, Pool.Audit on /pool", "note VM.Migrate on /vms"]),
    ],
)  # fmt: skip
def test_what_the_token_lacks_is_named_path_by_path(permissions: Any, found: list[str]) -> None:
    shot = snapshot(node("a"), **{"/access/permissions": permissions})
    said = [f"{f.level} {f.what.split(' lacks ')[1].split(': ')[0]}" for f in bad(doctor.privileges(shot, TOKEN))]
    assert said == found


def test_the_commands_grant_to_user_and_token_what_is_missing_where_it_is() -> None:
    shot = snapshot(node("a"), **{"/access/permissions": ALL_PRIVILEGES | {"/vms": {"VM.Audit": 1}}})
    found = only(doctor.privileges(shot, TOKEN), Level.NOTE)
    assert "pveum acl modify /vms --users 'plan@pve' --roles ProxlbPlan" in found.advice
    assert "pveum acl modify /vms --tokens 'plan@pve!t' --roles ProxlbPlan" in found.advice
    assert any('pveum role modify ProxlbPlan --append 1 --privs "VM.Migrate"' in line for line in found.advice)
    assert "both" in found.advice[-1]
    by_password = only(doctor.privileges(shot, PASSWORD), Level.NOTE)
    assert by_password.what.startswith("the user lacks") and "--tokens" not in " ".join(by_password.advice)


# State of the cluster


def test_a_cluster_without_quorum_is_an_error() -> None:
    row = {"type": "cluster", "id": "cluster", "name": "c", "quorate": 0}
    found = only(doctor.quorum(snapshot(node("a"), **{"/cluster/status": [row]})), Level.ERROR)
    assert "pvecm status" in found.advice[0]
    assert bad(doctor.quorum(snapshot(node("a")))) == []


def test_nodes_that_are_down_or_in_maintenance_are_named() -> None:
    found = bad(doctor.nodes(cluster(node("a"), node("b", hastate="maintenance"), node("c"), offline("d"))))
    assert [(f.level, f.what.split()[1]) for f in found] == [("note", "b"), ("warning", "d")]
    assert "ha-manager crm-command node-maintenance disable b" in found[0].advice[0]
    assert bad(doctor.nodes(cluster(node("a"), node("b")))) == []
    assert "nothing to balance" in only(doctor.nodes(cluster(node("a"))), Level.WARNING).what


@pytest.mark.parametrize("missing", ["cpu", "maxcpu", "mem", "maxmem"])
def test_a_node_without_figures_is_an_error_unless_it_is_down(missing: str) -> None:
    found = only(doctor.figures(snapshot(node("a"), node("b", **{missing: None}))), Level.ERROR)
    assert "not known of b" in found.what and "pvestatd" in found.advice[0]
    assert bad(doctor.figures(snapshot(node("a"), offline("b")))) == []


@pytest.mark.parametrize(
    ("crs", "command"),
    [
        ({"ha": "static"}, ""), ("ha=static,ha-rebalance-on-start=1", ""), ({"ha-auto-rebalance": 0}, ""), (None, ""),
        ({"ha": "static", "ha-auto-rebalance": 1, "ha-rebalance-on-start": 1},
         "pvesh set /cluster/options --crs ha=static,ha-auto-rebalance=0,ha-rebalance-on-start=1"),
        ("ha=dynamic,ha-auto-rebalance=1", "pvesh set /cluster/options --crs ha=dynamic,ha-auto-rebalance=0"),
    ],
)  # fmt: skip
def test_a_second_balancer_is_switched_off_with_all_else_kept(crs: Any, command: str) -> None:
    shot = snapshot(node("a"), **{"/cluster/options": {"crs": crs}})
    assert [f.advice for f in doctor.rebalance(shot)] == ([(command,)] if command else [])


def test_the_plan_notes_a_second_balancer_in_either_form() -> None:
    for crs in ({"ha-auto-rebalance": 1}, "ha=static,ha-auto-rebalance=1"):
        notes = cluster(node("a"), **{"/cluster/options": {"crs": crs}}).notes
        assert "ha-auto-rebalance" in " ".join(notes)


def test_answers_that_are_missing_are_noted_once() -> None:
    shot = snapshot(node("a"), **{"/cluster/status": None, "/access/permissions": None, "/cluster/ha/rules": None})
    assert len(bad(doctor.unknown(shot))) == 2


def test_guests_that_are_locked_or_lost_are_counted() -> None:
    lost = {"id": "qemu/9", "type": "qemu", "vmid": 9, "node": "b", "status": "unknown"}
    found = bad(doctor.guests(cluster(node("a"), offline("b"), vm(1, "a", lock="backup"), vm(2, "a"), lost)))
    assert [f.level for f in found] == ["note", "note"]
    assert "1 guests are locked (backup): 1" in found[0].what and "unknown status: 9" in found[1].what
    assert bad(doctor.guests(cluster(node("a"), vm(1, "a")))) == []


# Names


@pytest.mark.parametrize(
    ("tag", "level", "words"),
    [
        ("plb_pin_pvee1", "warning", "did you mean plb_pin_pve1?"),
        ("plb_pin_elsewhere", "warning", "there are pve1, pve2"),
        ("PLB_pin_PVE1", None, ""),
        ("plb_antiaffinity_x", "warning", "did you mean plb_anti_affinity_...?"),
        ("plb-affinity-x", "warning", "did you mean plb_affinity_...?"),
        ("plb_afinity_x", "warning", "did you mean plb_affinity_...?"),
        ("plb_ingore", "warning", "did you mean plb_ignore?"),
        ("plb_ignore_this", None, ""),
        ("plb_affinity_lonely", "note", "group of one"),
        ("plb_anti_affinity_lonely", "note", "group of one"),
        ("plumbing", None, ""),
    ],
)
def test_a_tag_that_means_nothing_is_found_with_what_was_meant(tag: str, level: str | None, words: str) -> None:
    found = bad(names.tags(cluster(node("pve1"), node("pve2"), vm(1, "pve1", tags=tag))))
    assert [f.level for f in found] == ([level] if level else [])
    assert all(words in " ".join((f.what, *f.advice)) for f in found)


def test_a_tag_is_said_once_for_all_its_guests_and_groups_of_two_are_well() -> None:
    many = [vm(vmid, "a", tags="plb_pin_x;plb_affinity_g") for vmid in range(1, 8)]
    found = only(names.tags(cluster(node("a"), *many)), Level.WARNING)
    assert "guests 1, 2, 3 and 4 more" in found.what


def test_tags_on_templates_are_noted() -> None:
    source = cluster(node("a"), vm(1, "a", tags="plb_ignore", template=1, status="stopped"))
    assert "template" in only(names.tags(source), Level.NOTE).what


@pytest.mark.parametrize(
    ("settings", "policy", "key"),
    [
        (ClusterPolicy(maintenance_nodes=("pve9",)), Policy(), "cluster.maintenance_nodes"),
        (ClusterPolicy(ignore_nodes=("pve9",)), Policy(), "cluster.ignore_nodes"),
        (ClusterPolicy(), Policy(reserve={"pve9": Reserve(memory=1)}), "policy.reserve"),
        (ClusterPolicy(), Policy(max_guests={"pve9": 3}), "policy.max_guests"),
    ],
)
def test_a_node_of_the_configuration_that_does_not_exist_is_an_error_not_an_exception(
    settings: ClusterPolicy, policy: Policy, key: str
) -> None:
    found = only(names.settings(cluster(node("pve1"), node("b")), settings, policy), Level.ERROR)
    assert found.what.startswith(f"{key} names node pve9") and found.advice == ("did you mean pve1?",)


def test_names_of_the_configuration_that_exist_are_well() -> None:
    settings = ClusterPolicy(maintenance_nodes=("a",), ignore_nodes=("b",))
    policy = Policy(reserve={"default": Reserve(memory=1), "a": Reserve(memory=1)})
    assert bad(names.settings(cluster(node("a"), node("b")), settings, policy)) == []


def test_pools_of_settings_and_of_selectors_are_looked_for() -> None:
    pair = RuleSetting("pair", apart=("@pool-prd", "@pool-prod", "-@pool-tset"))
    settings = ClusterPolicy(pools={"web": PoolRule(PoolType.AFFINITY)}, rules=(pair,), ignore_guests=("@pool-prod",))
    source = cluster(node("a"), **{"/pools": [{"poolid": "prod"}, {"poolid": "test"}]})
    found = bad(names.settings(source, settings, Policy()))
    assert [f.what.split()[4].strip(",") for f in found] == ["web", "prd", "tset"]
    assert levels(found) == ["warning"] * 3


def test_what_the_planner_would_refuse_is_an_error_here_too() -> None:
    settings = ClusterPolicy(rules=(RuleSetting("odd", together=("1",), apart=("2",)),))
    assert "exactly one" in only(names.settings(cluster(node("a")), settings, Policy()), Level.ERROR).what


def test_pools_that_do_not_exist_are_found_with_the_nearest() -> None:
    shot = snapshot(node("a"), **{"/pools": [{"poolid": "prod"}, {"poolid": "test/web"}]})
    assert names.unknown_pools(["prod", "test", "test/web"], shot) == {}
    assert names.unknown_pools(["prd", "prd"], shot) == {"prd": "did you mean prod?"}
    assert names.unknown_pools(["prd"], snapshot(node("a"), **{"/pools": None})) == {}


NODE_RULE = {"rule": "r", "type": "node-affinity", "resources": "vm:1", "nodes": "pve1:2,pve2"}


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({}, None, ""),
        ({"disable": 1, "nodes": "gone"}, "note", "disabled"),
        ({"errors": {"nodes": ["no node\nleft"]}}, "warning", "has no effect: no node left"),
        ({"nodes": "pve1,pve22"}, "warning", "did you mean pve2?"),
        ({"resources": "vm:1,vm:77"}, "warning", "names guest 77"),
        ({"type": "moon-affinity"}, "warning", "not known here"),
        ({"nodes": ""}, "error", "has no nodes"),
    ],
)
def test_a_rule_of_the_ha_manager_that_does_not_do_what_it_says_is_found(
    change: dict[str, Any], level: str | None, words: str
) -> None:
    source = cluster(node("pve1"), node("pve2"), vm(1, "pve1"), **{"/cluster/ha/rules": [NODE_RULE | change]})
    found = bad(names.ha_rules(source))
    assert [f.level for f in found] == ([level] if level else [])
    assert all(words in " ".join((f.what, *f.advice)) for f in found)


def test_where_ha_rules_are_missing_it_says_whether_groups_take_their_place() -> None:
    groups = cluster(node("a"), **{"/cluster/ha/rules": None, "/cluster/ha/groups": []})
    assert "Proxmox VE 8" in only(names.ha_rules(groups), Level.NOTE).what
    blind = cluster(node("a"), **{"/cluster/ha/rules": None})
    assert "not known" in only(names.ha_rules(blind), Level.NOTE).what


# Exit codes


def test_errors_of_the_connection_keep_their_code_and_warnings_have_none() -> None:
    assert exit_code([ok("a"), note("b"), warning("c")]) == Exit.OK
    assert exit_code([error("a")]) == Exit.ERROR
    assert exit_code([error("a"), failure(Unreachable("b"))]) == Exit.UNREACHABLE
    assert exit_code([failure(ApiRefused("b", status=500, reason="b"))]) == Exit.ERROR


# The command


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


def on_time(pve: FakeCluster) -> FakeCluster:
    """Its nodes tell the time of today, and a version."""
    for name in pve.nodes:
        pve.recorded[f"/nodes/{name}/time"] = {"time": int(time.time()), "localtime": 0, "timezone": "UTC"}
        pve.recorded[f"/nodes/{name}/version"] = {"version": "9.0.10", "release": "9.0", "repoid": "x"}
    return pve


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(on_time(small_cluster()), tmp_path) as server:
        yield server


def test_a_live_cluster_is_examined_over_tls(cli: Cli, served: Served, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", served)
    found = cli("doctor", "--config", config)
    assert (found.code, found.err) == (0, "")
    assert f"configuration: {config}" in found.out and f"api host {served.at} answers" in found.out
    assert "3 nodes have the same version" in found.out and "clocks agree" in found.out
    assert "TLS: certificates are verified" in found.out
    assert found.out.splitlines()[0] == "ok"
    assert "0 errors, 0 warnings" in found.out.splitlines()[-1]
    assert all(method == "GET" for method, _, _ in served.pve.requests), "it changes nothing"


def test_clocks_versions_and_names_that_are_wrong_are_found_live(cli: Cli, served: Served, tmp_path: Path) -> None:
    served.pve.recorded["/nodes/pve2/time"] = {"time": int(time.time()) - 90, "localtime": 0, "timezone": "UTC"}
    served.pve.recorded["/nodes/pve3/version"] = {"version": "8.4.1"}
    served.pve.options = {"crs": {"ha": "static", "ha-auto-rebalance": 1}}
    found = cli("doctor", "--config", write_config(tmp_path / "c.yaml", served), "--ignore-nodes", "pve4")
    assert found.code == 1
    for words in (
        "ahead of the one of pve2",
        "8.4.1 on pve3",
        "--crs ha=static,ha-auto-rebalance=0",
        "names node pve4",
    ):
        assert words in found.out
    order = [line for line in found.out.splitlines() if line in list(Level)]
    assert order == ["ok", "warning", "error"]


def test_a_wrong_token_is_one_error_and_the_code_of_it(cli: Cli, served: Served, tmp_path: Path) -> None:
    served.pve.apitokens.clear()
    found = cli("doctor", "--config", write_config(tmp_path / "c.yaml", served))
    assert (found.code, found.err) == (77, "")
    assert found.out.count("was refused") == 1 and "1 error," in found.out
    assert TOKEN_SECRET not in found.out


def test_a_host_that_nobody_is_at_is_one_line_and_the_code_of_it(cli: Cli, served: Served, tmp_path: Path) -> None:
    served.kill()
    found = cli("doctor", "--config", write_config(tmp_path / "c.yaml", served), "--output", "json")
    assert found.code == 69
    errors = [finding for finding in json.loads(found.out) if finding["level"] == "error"]
    assert [finding["what"] for finding in errors] == [f"api host {served.at}: connection refused"]


def test_one_dead_host_of_several_is_a_warning(cli: Cli, served: Served, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", served, hosts=["no-such-host.invalid", served.at])
    found = cli("doctor", "--config", config)
    assert found.code == 0
    assert "no-such-host.invalid" in found.out and "1 warning," in found.out


def test_an_untrusted_certificate_says_what_to_copy(cli: Cli, served: Served, tmp_path: Path) -> None:
    found = cli("doctor", "--config", write_config(tmp_path / "c.yaml", served, ca_file=None))
    assert found.code == 69
    assert "not trusted" in found.out and "/etc/pve/pve-root-ca.pem" in found.out


def test_a_token_that_sees_too_little_gets_the_commands_that_mend_it(cli: Cli, tmp_path: Path) -> None:
    pve = small_cluster()  # recorded answers would not be refused
    pve.apitokens["blind@pve!t"] = secret = "11111111-2222-4333-8444-555555555555"
    pve.grant("blind@pve", "/vms", "VM.Audit")
    with serving(pve, tmp_path) as server:
        config = write_config(tmp_path / "c.yaml", server, token_id="blind@pve!t", token_secret=secret)
        found = cli("doctor", "--config", config)
    assert found.code == 1
    assert "pveum acl modify /nodes --tokens 'blind@pve!t' --roles ProxlbPlan" in found.out
    assert "clocks are not known of pve1, pve2, pve3" in found.out
    assert secret not in found.out


@pytest.mark.parametrize("words", [("--demo",), ("--demo", "medium"), ("--snapshot", "s.json")])
def test_without_a_connection_it_says_what_is_skipped(cli: Cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    write_snapshot(tmp_path / "s.json", node("a"), node("b"), vm(100, "a"))
    found = cli("doctor", *words)
    assert (found.code, found.err) == (0, "")
    assert doctor.UNCONNECTED in found.out


@pytest.mark.parametrize("words", [("--demo",), ("--snapshot", "none.json")])
def test_json_is_all_that_is_on_stdout(cli: Cli, words: tuple[str, ...]) -> None:
    found = cli("doctor", *words, "--output", "json")
    rows = json.loads(found.out)
    assert rows and all(set(row) == {"level", "what", "advice"} for row in rows)
    assert all(row["level"] in list(Level) for row in rows)


@pytest.mark.parametrize(
    ("text", "words"),
    [("policy: {balancines: 3}", "did you mean balanciness?"), ("{}", "no Proxmox VE API is configured")],
)
def test_a_wrong_configuration_is_an_error_and_nothing_else_is_asked(
    cli: Cli, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "proxlb-plan.yaml").write_text(text)
    found = cli("doctor")
    assert (found.code, found.err) == (78, "")
    assert words in found.out and "1 error," in found.out


def test_a_mistake_on_the_command_line_is_told_as_everywhere(cli: Cli) -> None:
    assert "exclude each other" in cli("doctor", "--demo", "--snapshot", "s.json").complaint


def test_nonsense_in_a_snapshot_is_a_finding(cli: Cli, tmp_path: Path) -> None:
    write_snapshot(tmp_path / "s.json", node("a"), vm(100, "gone"))
    found = cli("doctor", "--snapshot", "s.json")
    assert found.code == 1 and "guest 100 is on node gone" in found.out
    assert RESOURCES not in found.err
