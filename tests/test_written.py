"""Claims about rules in the configuration: what selectors mean, what a rule asks for, and what is refused."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from planner.config import load
from planner.errors import ConfigError, InputError
from planner.policy import Cluster as ClusterPolicy
from planner.policy import Policy, Unless
from planner.rule import Kind
from planner.rules import Rules, read
from planner.select import select
from tests.rows import TAKEN_AT, cluster, ct, formulated, node, of_kind, vm

GUESTS = (
    vm(100, "a", name="web1", tags="web;prod", pool="shop"),
    vm(101, "a", name="web2", tags="web", pool="shop/front"),
    vm(102, "b", name="DB1", tags="db;prod", pool="shop/back"),
    ct(107, "b", name="db2", tags="db", pool="shopping"),
    vm(200, "c", name="web1"),
)


def here(**answers: Any) -> Any:
    return cluster(node("a"), node("b"), node("c"), *GUESTS, **answers)


@pytest.mark.parametrize(
    ("words", "vmids"),
    [
        (["@all"], (100, 101, 102, 107, 200)),
        (["100:107"], (100, 101, 102, 107)),
        (["100:107", "-101"], (100, 102, 107)),
        (["100,200"], (100, 200)),
        (["@pool-shop"], (100, 101, 102)),  # nested pools belong to it, others that begin alike do not
        (["@pool-shop/front"], (101,)),
        (["@tag-WEB"], (100, 101)),
        (["@tag-prod, -@pool-shop/back"], (100,)),
        (["@node-b"], (102, 107)),
        (["@all-c"], (200,)),
        (["web*"], (100, 101, 200)),
        (["db?"], (102, 107)),
        (["web1"], (100, 200)),  # names are not unique: all that have it are meant
        (["-100:199"], (200,)),
        (["-@all"], ()),
        (["999"], ()),
        ([], ()),
    ],
)
def test_a_selector_means_these_guests(words: list[str], vmids: tuple[int, ...]) -> None:
    assert select(words, here().guests, "here") == vmids


@pytest.mark.parametrize("word", ["@pol-x", "@pool-", "107:100", "1:", "--1", "@", "-", "a:b"])
def test_a_word_that_is_no_selector_is_refused_with_the_grammar(word: str) -> None:
    with pytest.raises(ConfigError, match=r"here: .* names no guests: use @all, @pool-NAME"):
        select([word], here().guests, "here")


def settings(tmp_path: Any, text: str) -> ClusterPolicy:
    """The section `cluster` of a configuration file."""
    file = tmp_path / "proxlb-plan.yaml"
    file.write_text(f"cluster:\n{text}")
    return load(str(file), environ={}).cluster


def rules_of(tmp_path: Any, text: str) -> Rules:
    return read(here(), settings(tmp_path, text))


@pytest.mark.parametrize(
    ("rule", "kind", "sides", "nodes"),
    [
        ("together: [web*, '-200']", Kind.TOGETHER, ((100, 101),), ()),
        ("apart: '@tag-db'", Kind.APART, ((102,), (107,)), ()),
        ("apart: ['@tag-web'], against: ['@tag-db']", Kind.APART, ((100, 101), (102, 107)), ()),
        ("pin: [100], nodes: [a, b]", Kind.PIN, ((100,),), ("a", "b")),
        ("avoid: [100], nodes: [b]", Kind.PIN, ((100,),), ("a", "c")),
        ("stay: ['@pool-shop']", Kind.IGNORE, ((100, 101, 102),), ()),
    ],
)
def test_a_rule_asks_for_what_it_says(tmp_path: Any, rule: str, kind: Kind, sides: Any, nodes: Any) -> None:
    (found,) = rules_of(tmp_path, f"  rules:\n    - {{name: r, {rule}}}\n").items
    assert (found.name, found.kind, found.sides, found.nodes) == ("r", kind, sides, frozenset(nodes))
    assert (found.price, found.most, found.per) == (0, 1, "")


def test_a_rule_may_be_about_failure_domains_give_way_and_allow_several(tmp_path: Any) -> None:
    text = "  domains: {rack: {a: left, b: left}}\n  rules:\n"
    text += "    - {name: r, apart: ['100:107'], per: rack, at_most: 2, should: true, price: 2.5}\n"
    rules = rules_of(tmp_path, text)
    (rule,) = rules.items
    assert (rule.per, rule.most, rule.price) == ("rack", 2, 2.5)
    formulation = formulated(here(), Policy(), settings(tmp_path, text))
    (apart,) = formulation.problem.apart
    assert apart.domains == (0, 0, 1) and apart.most == 2 and formulation.apart == ("r",)  # c is a domain of its own


def test_pools_are_read_as_proxlb_means_them(tmp_path: Any) -> None:
    text = "  pools:\n    shop: {type: anti-affinity, pin: [a, b], strict: false}\n    shopping: {type: affinity}\n"
    rules = rules_of(tmp_path, text)
    assert of_kind(rules, Kind.APART) == {"pool shop": [100, 101, 102]}
    assert of_kind(rules, Kind.TOGETHER) == {"pool shopping": [107]}
    assert rules.pins() == {vmid: {"a", "b"} for vmid in (100, 101, 102)}
    assert {rule.name: rule.price for rule in rules.items} == {
        "pool shop": 0,
        "pool shopping": 0,
        "pin of pool shop": 1,
    }


def test_ignored_guests_stay_and_their_load_counts(tmp_path: Any) -> None:
    formulation = formulated(here(), Policy(), settings(tmp_path, "  ignore_guests: ['web*', '@node-c']\n"))
    assert formulation.fixed == dict.fromkeys((100, 101, 200), "rule ignore_guests")
    assert len(formulation.guests) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  rules: [{name: r}]", "rule r of cluster.rules says none of them: it needs exactly one of together, apart"),
        ("  rules: [{name: r, pin: [1], stay: [1]}]", "rule r of cluster.rules says pin and stay"),
        ("  rules: [{name: r, pin: [100]}]", "rule r of cluster.rules: pin needs nodes"),
        ("  rules: [{name: r, pin: [100], nodes: [z]}]", "names node z, which does not exist: there are a, b, c"),
        ("  rules: [{name: r, together: [100], at_most: 2}]", "at_most goes with apart, not with together"),
        ("  rules: [{name: r, apart: [100], unless: repair}]", "unless goes with stay, not with apart"),
        ("  rules: [{name: r, stay: [100], should: true}]", "should goes with together or apart or .*, not with stay"),
        ("  rules: [{name: r, apart: [100], price: 2}]", "price goes with should: true"),
        ("  rules: [{name: r, apart: [100], per: rack}]", "per rack is no kind of failure domain: there are node"),
        ("  rules: [{name: r, apart: [100], against: [100]}]", "keeps guest 100 apart from itself"),
        ("  rules: [{name: r, apart: [1], against: [2], at_most: 2}]", "at_most and against exclude each other"),
        ("  rules: [{name: r, stay: [1]}, {name: r, stay: [2]}]", "two rules named r: rename one"),
        ("  rules: [{name: r, stay: ['@pol-x']}]", "rule r of cluster.rules: '@pol-x' names no guests"),
        ("  rules: [{name: r, aparts: [1]}]", "unknown key cluster.rules[0].aparts in .*: did you mean apart?"),
        ("  rules: [{apart: [1]}]", "cluster.rules[0].name in .* is missing"),
        ("  rules: [{nam: r, apart: [1]}]", "unknown key cluster.rules[0].nam in .*: did you mean name?"),
        (
            '  rules: [{name: "a\\nb", apart: [1]}]',
            "cluster.rules has a name with characters that cannot be shown: 'a.nb'",
        ),
        ('  pools: {"a\\eb": {type: affinity}}', "cluster.pools has a name with characters that cannot be shown"),
        ('  should: {"a\\tb": 2}', "cluster.should has a name with characters that cannot be shown"),
        ("  rules: [{name: '', apart: [1]}]", 'cluster.rules[0].name in .*: "" is empty'),
        ("  rules: [{name: r, stay: [1], unless: often}]", "is not one of never, repair, maintenance or daily"),
        ("  rules: [{name: r, apart: [1], at_most: 0}]", "is less than 1"),
        ("  rules: [{name: r, apart: [1], should: true, price: .nan}]", "is not a number"),
        ("  rules: [web]", "is not a mapping of name, together, apart"),
        ("  rules: {name: r}", "cluster.rules in .*: the value is not a list"),
        ("  pools: {shop: {}}", "cluster.pools.shop asks for nothing: give it a type"),
        ("  pools: {shop: {type: apart}}", "is not one of affinity or anti-affinity"),
        ("  pools: {shop: {pin: [z]}}", "cluster.pools.shop.pin names node z"),
        ("  pools: {shop: {tpye: affinity}}", "unknown key cluster.pools.shop.tpye in .*: did you mean type?"),
        ("  domains: {rack: {z: left}}", "cluster.domains.rack names node z"),
        ("  domains: {node: {a: left}}", "a kind named node"),
        ("  ignore_guests: ['@x']", "cluster.ignore_guests: '@x' names no guests"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_its_name(tmp_path: Any, text: str, message: str) -> None:
    pattern = message.replace("[", r"\[").replace("]", r"\]").replace("?", r"\?")
    with pytest.raises(ConfigError, match=pattern):
        rules_of(tmp_path, text + "\n")


def test_what_is_about_no_guest_is_said(tmp_path: Any) -> None:
    text = "  rules: [{name: r, stay: [7]}]\n  pools: {none: {type: affinity}}\n"
    rules = rules_of(tmp_path, text)
    assert rules.items == ()
    assert rules.notes == (
        "rule r of cluster.rules is about no guest of this cluster: it has no effect",
        "pool none of cluster.pools has no guest in this cluster: it has no effect",
    )


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        (
            "ignore_guests: [7, '@tag-none']",
            ["cluster.ignore_guests is about no guest of this cluster: it has no effect"],
        ),
        ("ignore_guests: [web1, '@tag-wbe']", ["@tag-wbe of cluster.ignore_guests means no guest of this cluster"]),
        ("rules: [{name: r, stay: ['@tag-db,-7']}]", ["-7 of rule r of cluster.rules means no guest of this cluster"]),
        (
            "rules: [{name: r, apart: [100], against: ['@tag-wbe']}]",
            ["against of rule r of cluster.rules is about no guest of this cluster: it has no effect"],
        ),
        (
            "rules: [{name: r, together: ['100']}]",
            ["rule r of cluster.rules is about guest 100 alone: it has no effect"],
        ),
        ("rules: [{name: r, apart: ['102']}]", ["rule r of cluster.rules is about guest 102 alone: it has no effect"]),
        ("rules: [{name: r, apart: ['102'], against: [100]}]", []),
        ("rules: [{name: r, stay: ['102', 'web*', '-200']}]", []),
    ],
)
def test_words_and_rules_without_effect_are_said(tmp_path: Any, text: str, notes: list[str]) -> None:
    assert list(rules_of(tmp_path, f"  {text}\n").notes) == notes


def test_a_guest_may_be_migrated_for_repairs_only(tmp_path: Any) -> None:
    text = "  rules: [{name: calm, stay: [100, 200], unless: repair}]\n"
    assert formulated(here(), Policy(), settings(tmp_path, text)).fixed == dict.fromkeys(
        (100, 200), "rule calm: it is migrated for repairs only"
    )
    text += "  maintenance_nodes: [c]\n"
    assert list(formulated(here(), Policy(), settings(tmp_path, text)).fixed) == [100]


def test_a_guest_that_moves_once_a_day_stays_for_a_day(tmp_path: Any) -> None:
    from datetime import datetime

    now = int(datetime.fromisoformat(TAKEN_AT).timestamp())
    hour = 3600
    tasks = [
        {"type": "qmigrate", "id": "100", "starttime": now - 23 * hour, "status": "OK"},
        {"type": "qmigrate", "id": "101", "starttime": now - 25 * hour, "status": "OK"},
        {"type": "qmigrate", "id": "102", "starttime": now - hour, "status": "migration aborted"},
        {"type": "vzmigrate", "id": "107", "starttime": now - hour},  # under way
        {"type": "qmstart", "id": "200", "starttime": now - hour, "status": "OK"},
    ]
    daily = settings(tmp_path, "  rules: [{name: calm, stay: ['@all'], unless: daily}]\n")
    assert daily.rules[0].unless is Unless.DAILY
    found = formulated(here(**{"/cluster/tasks": tasks}), Policy(), daily).fixed
    assert found == dict.fromkeys((100, 107), "rule calm: it was migrated within the last day")


def test_the_digest_knows_the_domains(tmp_path: Any) -> None:
    rule = "  rules: [{name: r, apart: ['@all'], per: rack}]\n"
    one, other = ("  domains: {rack: {a: %s}}\n" % label for label in ("x", "y"))  # noqa: UP031
    assert rules_of(tmp_path, one + rule).digest() != rules_of(tmp_path, other + rule).digest()


def test_in_a_notebook_rules_are_keywords_like_the_rest() -> None:
    plan = here().plan("descent", rules=[{"name": "r", "together": [100, 102]}], balanciness=1, maintenance_nodes=["c"])
    at = {int(v): str(n) for v, n in zip(GUEST_IDS, HOMES, strict=True)} | {m.vmid: m.target for m in plan.migrations}
    assert at[100] == at[102] and at[200] != "c"
    with pytest.raises(ConfigError, match="there is no setting balancines: did you mean balanciness"):
        here().plan(balancines=1)
    with pytest.raises(ConfigError, match=r"rules\[0\].name among the keywords is missing"):
        here().plan(rules=[{"together": [100]}])


def test_in_a_notebook_vmids_may_be_numbers_or_text() -> None:
    frame = here().guests
    for some in ([100, 200], frame["vmid"][frame["name"] == "web1"].tolist(), list(frame["vmid"].to_numpy()[[0, 4]])):
        plan = here().plan("descent", ignore_guests=some, maintenance_nodes=["c"])
        assert {200: "rule ignore_guests"}.items() <= {
            item.vmid: item.reason.split(": ")[-1] for item in plan.stranded
        }.items()
    assert here().plan("descent", ignore_guests=200, maintenance_nodes=["c"]).stranded[0].vmid == 200
    assert here().explain("100", solver="descent") == here().explain(100, solver="descent")
    for nobody in ("web1", "7", 7):
        with pytest.raises(InputError, match=f"there is no guest {nobody} in"):
            here().explain(nobody)


def test_rules_of_the_ha_manager_hold_whatever_should_says(tmp_path: Any) -> None:
    row = {"rule": "db", "type": "resource-affinity", "affinity": "negative", "resources": "vm:102,vm:100"}
    source = here(**{"/cluster/ha/rules": [row]})
    text = "  rules: [{name: HA my own, together: [web*]}]\n  should: {HA*: 2}\n"
    rules = read(source, settings(tmp_path, text))
    assert {rule.name: rule.price for rule in rules.items} == {"HA rule db": 0, "HA my own": 2}
    (note,) = rules.notes
    assert note == "HA rules must hold, as Proxmox VE keeps them itself: cluster.should names HA rule db in vain"


GUEST_IDS, HOMES = (100, 101, 102, 107, 200), "aabbc"


def test_the_rules_of_the_page_about_them_are_accepted(tmp_path: Any) -> None:
    import re
    from pathlib import Path

    page = (Path(__file__).parents[1] / "docs" / "rules.md").read_text()
    blocks = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.S) if "  rules:" in block]
    assert blocks
    for block in blocks:
        (tmp_path / "c.yaml").write_text(block)
        found = load(str(tmp_path / "c.yaml"), environ={}).cluster
        assert len(found.rules) == 8 and found.domains and found.pools and found.ignore_guests


def test_maintenance_may_be_scheduled(tmp_path: Any) -> None:
    text = "  scheduled_maintenance:\n    - {node: b, begin: '2026-11-23T13:00+01:00', end: '2026-11-24T00:00Z'}\n"
    text += "    - {node: c, begin: '2026-11-23T12:00:01Z', end: '2026-11-24T00:00Z'}\n"
    states = rules_of(tmp_path, text).states  # the snapshot is of 12:00 in UTC
    assert [states[name].value for name in "abc"] == ["online", "maintenance", "online"]


@pytest.fixture
def east() -> Iterator[None]:
    """Local time two hours ahead: there the first hours of the calendar have no time in UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "EAST-2")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ("{node: z, begin: 2026-11-23, end: 2026-11-24}", "cluster.scheduled_maintenance names node z, which does not"),
        ("{node: a, begin: 2026-11-24, end: 2026-11-23}", "of a ends before it begins: swap the two"),
        ("{node: a, begin: tomorrow, end: 2026-11-23}", '"tomorrow" is not a time such as 2026-12-01T22:00'),
        ("{node: a, begin: 2026-11-23}", "end in .* is missing"),
        (
            "{node: a, begin: '0001-01-01T00:00', end: 2026-11-23}",
            "of a is from 0001-.*: write years from 1970 to 9000",
        ),
        ("{node: a, begin: 2026-11-23, end: '9999-12-31T23:59-12:00'}", "is from .* to 9999-.*: write years from 1970"),
    ],
)
def test_maintenance_that_makes_no_sense_is_refused(tmp_path: Any, east: None, window: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rules_of(tmp_path, f"  scheduled_maintenance: [{window}]\n")


def test_any_rule_may_be_one_that_gives_way(tmp_path: Any) -> None:
    text = "  should: {r*: 2, 'pool shop': 3, nothing: 1}\n  pools: {shop: {type: affinity}}\n"
    text += "  rules: [{name: racks, apart: ['@tag-db']}, {name: must, apart: ['@tag-web']}]\n"
    rules = rules_of(tmp_path, text)
    assert {rule.name: rule.price for rule in rules.items} == {"racks": 2, "must": 0, "pool shop": 3}
    assert rules.notes == ("cluster.should names nothing, which is no rule of this cluster: it has no effect",)


def test_a_guest_may_be_migrated_from_maintenance_only(tmp_path: Any) -> None:
    text = "  rules: [{name: calm, stay: [100, 102], unless: maintenance}]\n  maintenance_nodes: [b]\n"
    assert formulated(here(), Policy(), settings(tmp_path, text)).fixed == {100: "rule calm"}


def test_ha_guests_stay_where_proxmox_ve_balances_them_itself() -> None:
    rows = (node("a"), node("b"), vm(1, "a", gib=20, hastate="started"), vm(2, "a", gib=20), vm(3, "a"))
    found = cluster(*rows, **{"/cluster/options": {"crs": "ha=static,ha-auto-rebalance=1"}})
    assert list(formulated(found, Policy()).fixed) == [1]
    assert formulated(found, Policy(with_ha_guests=True)).fixed == {}
    assert [m.vmid for m in found.plan("descent").migrations] == [2]
    assert any("--with-ha-guests" in note for note in found.plan("descent").notes)
