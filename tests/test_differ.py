"""Claims about the difference of two snapshots: it says what changed, all of it, and nothing else."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import pytest

from planner.anonymise import anonymised
from planner.clock import FastClock
from planner.differ import GUESTS, LOADS, NODES, RULES, SPREADS, Difference
from planner.policy import Resource
from planner.simulate import Size, demo
from planner.snapshot import RESOURCES, Snapshot, save, take
from tests.commandline import Cli, alone, calling
from tests.rows import GIB, Row, cluster, ct, node, offline, snapshot, vm

ROWS = [
    node("a", used=12), node("b", used=4), node("c"),
    vm(1, "a", tags="plb_affinity_x"), vm(2, "a", tags="plb_affinity_x"), ct(3, "b", pool="web"), vm(4, "a"),
]  # fmt: skip


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    alone(monkeypatch, tmp_path)
    return calling(capsys)


def diff(before: list[Row], after: list[Row], **settings: Any) -> Difference:
    return cluster(*before).diff(cluster(*after), **settings)


def changed(**facts: dict[str, Any]) -> list[Row]:
    """The rows with other facts of some guests (g4) or nodes (a)."""
    rows = deepcopy(ROWS)
    for name, its in facts.items():
        next(row for row in rows if name in (f"g{row.get('vmid')}", row.get("node")) and row["id"]).update(its)
    return rows


def told(item: Difference) -> list[tuple[Any, ...]]:
    """Changes of nodes and guests as tuples."""
    frames = (item.nodes, item.guests[["vmid", "change", "what", "before", "after"]])
    return [tuple(row) for frame in frames for row in frame.itertuples(index=False)]


def test_a_snapshot_does_not_differ_from_itself() -> None:
    found = diff(ROWS, ROWS)
    assert found.is_empty and not found.notes
    assert (found.loads["before"] == found.loads["after"]).all() and len(found.loads) == 3
    assert (found.spreads["before"] == found.spreads["after"]).all()


def test_frames_are_as_they_are_documented() -> None:
    found = diff(ROWS, changed(g4={"node": "b"}))
    pairs = ((found.nodes, NODES), (found.guests, GUESTS), (found.rules, RULES), (found.loads, LOADS),
             (found.spreads, SPREADS))  # fmt: skip
    for frame, columns in pairs:
        assert list(frame) == [column.name for column in columns]
        assert [str(dtype) for dtype in frame.dtypes] == [column.dtype for column in columns]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"g4": {"node": "c"}}, [(4, "migrated", "node", "a", "c")]),
        ({"g4": {"maxmem": 8 * GIB}}, [(4, "changed", "memory", "4096", "8192")]),
        ({"g4": {"maxcpu": 4}}, [(4, "changed", "cpu", "2000", "4000")]),
        ({"g4": {"tags": "red;blue"}}, [(4, "changed", "tags", "", "red;blue")]),
        ({"g3": {"pool": "db"}}, [(3, "changed", "pool", "web", "db")]),
        ({"g4": {"hastate": "started"}}, [(4, "changed", "ha", "", "started")]),
        ({"g4": {"lock": "backup"}}, [(4, "changed", "lock", "", "backup")]),
        ({"g4": {"status": "stopped"}}, [(4, "changed", "status", "running", "stopped")]),
        ({"g4": {"name": "other"}}, [(4, "changed", "name", "g4", "other")]),
        ({"g4": {"template": 1, "status": "stopped"}}, [(4, "changed", "status", "running", "stopped"),
                                                        (4, "changed", "template", "False", "True")]),
        ({"c": {"maxmem": 128 * GIB}}, [("c", "changed", "memory", "65536", "131072")]),
        ({"c": {"hastate": "maintenance"}}, [("c", "changed", "maintenance", "False", "True")]),
        ({"g4": {"cpu": 1.5, "mem": GIB, "memhost": GIB, "uptime": 7}, "a": {"mem": GIB, "cpu": 0.9}}, []),
    ],
)  # fmt: skip
def test_what_changed_is_told_and_loads_alone_are_no_change(
    facts: dict[str, dict[str, Any]], expected: list[tuple[Any, ...]]
) -> None:
    found = diff(ROWS, changed(**facts))
    words = {"yes": "True", "no": "False"}
    assert [tuple(words.get(part, part) for part in row) for row in told(found)] == expected
    assert found.is_empty == (not expected)


def test_nodes_and_guests_that_come_and_go_are_told() -> None:
    after = [row for row in changed(c={"status": "offline"}) if row.get("vmid") != 4 and row.get("node") != "b"]
    after += [node("d"), vm(9, "d")]
    assert told(diff(ROWS, after)) == [
        ("b", "went", "", "", ""), ("c", "changed", "status", "online", "offline"), ("d", "came", "", "", ""),
        (3, "went", "node", "b", ""), (4, "went", "node", "a", ""), (9, "came", "node", "", "d"),
    ]  # fmt: skip
    loads = diff(ROWS, after).loads.set_index("node")
    assert loads["after"].isna().to_dict() == {"a": False, "b": True, "c": True, "d": False}
    assert loads["before"].isna().to_dict() == {"a": False, "b": False, "c": False, "d": True}


def test_rules_of_tags_and_of_the_ha_manager_that_are_others_are_told() -> None:
    facts: dict[str, dict[str, Any]] = {
        "g2": {"tags": ""}, "g4": {"tags": "plb_affinity_x;plb_pin_b"}, "g3": {"tags": "plb_anti_affinity_y"}
    }  # fmt: skip
    found = diff(ROWS, changed(**facts))
    rules = {row.rule: (row.change, row.before, row.after) for row in found.rules.itertuples()}
    assert rules["plb_affinity_x"] == ("changed", "together 1, 2", "together 1, 4")
    assert rules["plb_pin_b"] == ("came", "", "pin 4 on b")
    ha = {"rule": "r", "type": "node-affinity", "resources": "vm:1", "nodes": "a,b", "strict": 1}
    resources = [{"sid": "vm:1", "type": "vm", "state": "started"}]
    one = cluster(*ROWS, **{"/cluster/ha/rules": [ha], "/cluster/ha/resources": resources})
    other = cluster(*ROWS, **{"/cluster/ha/rules": [ha | {"nodes": "a"}], "/cluster/ha/resources": resources})
    (row,) = one.diff(other).rules.itertuples()
    assert (row.change, row.before, row.after) == ("changed", "pin 1 on a or b, strict", "pin 1 on a, strict")
    assert [row.change for row in other.diff(cluster(*ROWS)).rules.itertuples()] == ["went"]


def test_what_is_not_known_while_a_node_is_offline_is_no_change() -> None:
    down = {"status": "unknown", "name": "", "maxmem": 0, "maxcpu": 0, "mem": 0, "cpu": 0}
    after = changed(a={"status": "offline", "maxmem": 0, "maxcpu": 0, "maxdisk": 0, "mem": 0}, g1=down, g2=down,
                    g4=down | {"tags": "new"})  # fmt: skip
    for found, ends in ((diff(ROWS, after), ("online", "offline")), (diff(after, ROWS), ("offline", "online"))):
        assert told(found)[0] == ("a", "changed", "status", *ends)
        status = [(vmid, "changed", "status") for vmid in (1, 2, 4)]
        assert [row[:3] for row in told(found)[1:]] == [*status, (4, "changed", "tags")]
        assert found.guests["name"].tolist() == ["g1", "g2", "g4", "g4"] and found.rules.empty


HA_RULE = {"rule": "r", "type": "node-affinity", "resources": "vm:1", "nodes": "a:2,c", "strict": 1}


@pytest.mark.parametrize(
    ("edited", "failback", "after"),
    [
        ({"strict": 0}, 1, "pin 1 on a:2 or c"),
        ({"nodes": "a:2,b"}, 1, "pin 1 on a:2 or b, strict"),
        ({"nodes": "a,c:2"}, 1, "pin 1 on a or c:2, strict"),
        ({"affinity": "negative"}, 1, "pin 1 not on a:2 or c, strict"),
        ({"resources": "vm:1,vm:2"}, 1, "pin 1, 2 on a:2 or c, strict"),
        ({"disable": 1}, 1, "disabled"),
        ({}, 0, "pin 1 on a:2 or c, strict, 1 without failback"),
    ],
)
def test_rules_of_the_ha_manager_are_compared_as_they_are_written(
    edited: dict[str, Any], failback: int, after: str
) -> None:
    one = under([HA_RULE])
    (row,) = one.diff(under([HA_RULE | edited], failback=failback)).rules.itertuples()
    assert (row.rule, row.before, row.after) == ("HA rule r", "pin 1 on a:2 or c, strict", after)
    down = under([HA_RULE], [offline("a"), *ROWS[1:]])
    assert one.diff(down).rules.empty, "that a node went offline is no other rule"


def under(rules: list[dict[str, Any]], rows: list[Row] = ROWS, failback: int = 1) -> Any:
    """A cluster with rules of the HA manager."""
    managed = [{"sid": "vm:1", "type": "vm", "state": "started", "failback": failback}]
    return cluster(*rows, **{"/cluster/ha/rules": rules, "/cluster/ha/resources": managed})


CHANGES: dict[str, Callable[[Random, Row], Any]] = {
    "node": lambda rng, row: rng.choice([n for n in "abc" if n != row["node"]]),
    "maxmem": lambda rng, row: row["maxmem"] + rng.randint(1, 9) * GIB,
    "maxcpu": lambda rng, row: row["maxcpu"] + rng.randint(1, 4),
    "tags": lambda rng, row: f"t{rng.randint(1, 99)}",
    "pool": lambda rng, row: f"p{rng.randint(1, 99)}",
    "lock": lambda rng, row: "backup",
    "hastate": lambda rng, row: "started",
    "cpu": lambda rng, row: rng.random(),
}
SAID = {"maxmem": "memory", "maxcpu": "cpu", "hastate": "ha"}


def test_of_random_changes_exactly_those_that_were_made_are_told() -> None:
    for seed in range(15):
        rng = Random(seed)
        before = [*(node(name, used=20) for name in "abc"), *(vm(10 + i, rng.choice("abc"), 2) for i in range(12))]
        after, made = deepcopy(before), set[tuple[Any, str]]()
        for row in rng.sample(after[3:], 5):
            for what in rng.sample(sorted(CHANGES), 2):
                row[what] = CHANGES[what](rng, row)
                made |= {(row["vmid"], SAID.get(what, what))} if what != "cpu" else set()
        gone = rng.choice([row["vmid"] for row in after[3:]])
        after = [row for row in after if row.get("vmid") != gone]
        made = {item for item in made if item[0] != gone} | {(gone, "went")}
        found = diff(before, after)
        assert {(row[0], "went" if row[1] == "went" else row[2]) for row in told(found)} == made, seed
        back = diff(after, before)
        assert {(vmid, what, old, new) for vmid, change, what, old, new in told(back)} == {
            (vmid, what, new, old) for vmid, change, what, old, new in told(found)
        }, seed


def test_loads_are_those_that_a_plan_shows() -> None:
    for settings in ({}, {"resource": ["memory", "cpu"], "reserve": {"default": {"memory": 8}, "d": {"memory": 1}}}):
        found = diff(ROWS, changed(a={"mem": 30 * GIB, "cpu": 0.5}), **settings)
        planned = cluster(*ROWS).plan("greedy", **{k: v for k, v in settings.items() if k != "reserve"} | (
            {"reserve": {"default": {"memory": 8}}} if settings else {}))  # fmt: skip
        for row in found.loads.itertuples():
            its = next(item for item in planned.nodes if item.node == row.node)
            assert row.before == its.load_before[Resource(str(row.resource))]
        assert found.spreads["before"].tolist() == pytest.approx([c.before for c in planned.spreads.values()], abs=1e-3)


def test_a_resource_without_a_history_is_told_and_the_others_are_compared_all_the_same(
    cli: Cli, tmp_path: Path
) -> None:
    after = changed(a={"mem": 30 * GIB})
    found, alone_ = diff(ROWS, after, resource=["memory", "io"]), diff(ROWS, after)
    assert found.loads.equals(alone_.loads) and found.spreads["before"][0] == alone_.spreads["before"][0]
    assert found.spreads["resource"].tolist() == ["memory", "io"] and found.spreads["after"].isna().tolist() == [
        False,
        True,
    ]
    assert len(found.notes) == 1 and found.notes[0].startswith("io is known of neither snapshot: there is no history")
    shown = cli("snapshot", "diff", *files(tmp_path, after), "--resource", "io,memory")
    assert "io is known of neither snapshot" in shown.err and "memory spread" in shown.out


def test_a_cluster_without_a_node_that_is_online_has_no_loads() -> None:
    found = diff(ROWS, [offline("a"), offline("b"), offline("c")])
    assert found.loads["after"].isna().all() and found.spreads["after"].isna().all()
    (note,) = found.notes
    assert note.startswith("memory is not known of the second snapshot: there is no node to plan for: a is offline")
    assert json.loads(found.to_json())["spreads"][0]["after"] is None


def test_of_anonymised_snapshots_the_same_changes_are_told_and_where_names_mislead_that_is_said() -> None:
    pair = [anonymised(snapshot(*rows)) for rows in (ROWS, changed(g4={"node": "c", "maxmem": 8 * GIB}))]
    found = _read(pair[0]).diff(_read(pair[1]))
    assert [row[:3] for row in told(found)] == [(4, "migrated", "node"), (4, "changed", "memory")] and not found.notes
    larger = anonymised(snapshot(*ROWS, node("aa")))
    assert "numbered anew" in _read(pair[0]).diff(_read(larger)).notes[0]
    assert "anonymised?" in cluster(*ROWS).diff(_read(pair[0])).notes[0]


def _read(item: Snapshot) -> Any:
    from planner.collect import collect

    return collect(item)


def test_snapshots_of_two_clusters_or_in_the_wrong_order_are_remarked_on() -> None:
    status = {"/cluster/status": [{"type": "cluster", "name": "other", "quorate": 1, "nodes": 3}]}
    assert "two clusters: c and other" in cluster(*ROWS).diff(cluster(*ROWS, **status)).notes[0]
    late = Snapshot(snapshot(*ROWS).answers, "2027-01-01T00:00:00+00:00")
    assert "after the second" in _read(late).diff(cluster(*ROWS)).notes[0]


# The command


def files(tmp_path: Path, after: list[Row]) -> tuple[Path, Path]:
    pair = tmp_path / "a.json.gz", tmp_path / "b.json"
    save(snapshot(*ROWS), pair[0])
    save(snapshot(*after), pair[1])
    return pair


def test_the_command_shows_it_as_table_and_as_json(cli: Cli, tmp_path: Path) -> None:
    pair = files(tmp_path, changed(g4={"node": "c", "maxmem": 8 * GIB, "tags": "[red]x"}, c={"maxmem": 96 * GIB}))
    shown = cli("snapshot", "diff", *pair)
    assert shown.code == 0
    for words in ("migrated", "4.0 GiB", "8.0 GiB", "96.0 GiB", "[red]x", "memory spread", "1 node, 1 guest"):
        assert words in shown.out
    written = json.loads(cli("snapshot", "diff", *pair, "--output", "json").out)
    assert written["changed"] is True and {row["what"] for row in written["guests"]} == {"node", "memory", "tags"}
    assert cli("snapshot", "diff", *pair, "--detailed-exitcode").code == 2


def test_the_same_file_twice_ends_well_and_says_that_nothing_changed(cli: Cli, tmp_path: Path) -> None:
    one, _ = files(tmp_path, ROWS)
    shown = cli("snapshot", "diff", one, one, "--detailed-exitcode", "--resource", "memory,cpu")
    assert shown.code == 0 and "nothing changed in nodes, guests and rules" in shown.out and "cpu spread" in shown.out


def test_the_configuration_need_not_know_the_nodes_of_both(cli: Cli, tmp_path: Path) -> None:
    pair = files(tmp_path, [*ROWS, node("d")])
    (tmp_path / "c.yaml").write_text(
        "policy: {reserve: {d: {memory: 4}}, max_guests: {d: 3}}\ncluster: {maintenance_nodes: [d]}\n"
    )
    assert cli("snapshot", "diff", *pair, "--config", tmp_path / "c.yaml").code == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("diff a.json.gz", 64, "AFTER"),
        ("diff a.json.gz none.json", 1, "cannot read snapshot none.json"),
        ("diff cut.json a.json.gz", 1, "cut.json is not JSON"),
        ("diff plan.json a.json.gz", 1, "plan.json is not a snapshot"),
        ("diff a.json.gz empty.json", 1, "empty.json shows no node"),
        ("diff a.json.gz b.json --resource pony", 64, "pony"),
        ("--out x.json diff a.json.gz b.json", 64, "records nothing"),
        ("--demo", 64, "Missing option '-o' / '--out'. (see proxlb-plan --help)"),
        ("", 64, "Missing option '-o' / '--out'. (see proxlb-plan --help)"),
    ],
)
def test_every_mistake_gets_one_line(cli: Cli, tmp_path: Path, words: str, code: int, message: str) -> None:
    files(tmp_path, ROWS)
    (tmp_path / "cut.json").write_text('{"format": "proxlb-plan-snap')
    (tmp_path / "plan.json").write_text('{"format": "proxlb-plan/2"}')
    save(Snapshot({RESOURCES: []}, ""), tmp_path / "empty.json")
    outcome = cli("snapshot", *words.split())
    assert (outcome.code, outcome.out) == (code, "") and message in outcome.complaint


def test_snapshots_of_a_simulated_cluster_between_two_moments_are_compared(cli: Cli, tmp_path: Path) -> None:
    source = demo(Size.SMALL, FastClock(1000))
    save(take(source), tmp_path / "s.json")
    assert cli("snapshot", "--demo", "-o", tmp_path / "t.json").code == 0
    assert "nothing changed" in cli("snapshot", "diff", tmp_path / "s.json", tmp_path / "t.json").out
