"""Claims about the command config: all mistakes at once, settings with their origin, a schema, a first file."""

import io
import json
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from planner import settings
from planner.choices import SolverName
from planner.config import Config, load
from planner.config_schema import schema
from planner.errors import ConfigError
from planner.policy import Hooks
from tests.commandline import Cli, alone, calling

REPO = Path(__file__).parent.parent
DOCUMENTS = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]
SHOWN = [block for file in DOCUMENTS for block in re.findall(r"```yaml\n(.*?)```", file.read_text(), re.S)]
EXAMPLE = re.compile(r"^( +)# (?=\s*(?:- \{|\w+: |\w+:$))", re.M)
"""What is commented out beside defaults, as somebody takes the comment away."""
BLOCKS = [*SHOWN, *(EXAMPLE.sub(r"\1", block) for block in SHOWN if EXAMPLE.search(block))]
OURS = [block for block in BLOCKS if {*yaml.safe_load(block)} <= {*settings.SECTIONS}]
SECRET = "hunter2-0123"
MISTAKES = {
    "polcy": "polcy: {}",
    "policy.resorce": "policy: {resorce: cpu}",
    "policy.balanciness": "policy: {balanciness: 101}",
    "policy.weights.cpu": "policy: {weights: {cpu: 0}}",
    "policy.max_gib": "policy: {max_gib: inf}",
    "cluster": "cluster: all",
    "apply.deadline": "apply: {deadline: soon}",
    "apply.parallel": "apply: {parallel: many}",
    "run.every": "run: {every: never}",
    "run.windows[0].begn": "run: {windows: [{begn: daily, lasts: 1h}]}",
    "metrics.listen": "metrics: {listen: nowhere}",
    "api.timeout": "api: {timeout: 0}",
}
"""What is wrong, and a file in which nothing else is."""
RICH = f"""
api: {{hosts: [pve1, "[fd00::1]:8006"], token_id: root@pam!t, token_secret: {SECRET}, timeout: 5}}
cluster:
  maintenance_nodes: ["no", "010", "a # b", "x: y", 'it''s', "ümlaut"]
  scheduled_maintenance: [{{node: pve3, begin: 2026-12-01T22:00, end: 2026-12-02T04:00}}]
  domains: {{rack: {{pve1: left, pve2: "null"}}}}
  pools: {{web: {{type: anti-affinity, pin: [pve1], strict: false}}}}
  rules: [{{name: prod from test, apart: ["@pool-prod"], against: [100, 101]}}, {{name: b, stay: [db*], should: true}}]
policy: {{resource: [cpu, memory], reserve: {{memory: 4}}, overcommit: {{pve1: {{cpu: 4}}}}, max_guests: 60}}
apply: {{hours: 22:00-06:00, hooks: {{before_run: [/bin/x, "a b"], timeout: 3}}, target_storage: {{default: tank}}}}
run: {{mode: auto, windows: [{{begin: "Mon..Fri 22:00", until: "06:00"}}], per_day: 9}}
notify:
  webhooks: [{{url: "https://hook.example.org/{SECRET}", headers: {{X-Key: {SECRET}}}}}]
  apprise: ["ntfy://{SECRET}"]
metrics: {{listen: "[::1]:9106"}}
log: {{level: DEBUG}}
"""


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


class Editor(yaml.SafeLoader):
    """YAML 1.2, as editors have it: 22:00 is no number of base 60."""


Editor.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":int", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Editor.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]+$"), list("-+0123456789"))


def edited(text: str) -> Any:
    """What an editor holds against a schema."""
    return yaml.load(text, Editor)


def merged(texts: Iterator[str]) -> str:
    """One file with the keys of several."""
    sections: dict[str, Any] = {}
    for text in texts:
        for section, values in yaml.safe_load(text).items():
            if isinstance(values, dict):
                sections.setdefault(section, {}).update(values)
            else:
                sections[section] = values
    return yaml.safe_dump(sections)


# ------------------------------------------------------------------ validate


def test_every_mistake_is_named_as_it_would_be_if_it_were_the_only_one(tmp_path: Path, cli: Cli) -> None:
    file = tmp_path / "c.yaml"
    alone = set()
    for place, text in MISTAKES.items():
        with pytest.raises(ConfigError) as caught:
            load(str(written(file, text)))
        assert place in str(caught.value)
        alone.add(f"proxlb-plan: {caught.value}")
    written(file, merged(iter(MISTAKES.values())))
    outcome = cli("config", "validate", file)
    assert (outcome.code, outcome.out) == (78, "")
    assert {*outcome.err.splitlines()} == alone


def test_mistakes_of_one_setting_of_variables_and_of_flags_are_all_named(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "cluster: {rules: [{name: a, pin: [x], nodes: [y], prise: 2}, {name: '', stay: [x], at_most: 0}]}"
    monkeypatch.setenv("PROXLB_PLAN_POLICY__SEED", "x")
    monkeypatch.setenv("PROXLB_PLAN_POLICY__SED", "1")
    err = cli("config", "validate", written(tmp_path / "c.yaml", text), "--hours", "25:00-26:00").err
    places = [f"cluster.rules{key} in {tmp_path / 'c.yaml'}" for key in ("[0].prise", "[1].name", "[1].at_most")]
    places += ["policy.seed in $PROXLB_PLAN_POLICY__SEED", "$PROXLB_PLAN_POLICY__SED:"]
    for place in (*places, "apply.hours on the command line"):
        assert place in err
    assert err.count("proxlb-plan: ") == 6


def test_what_could_not_connect_is_a_mistake_and_a_file_without_a_cluster_is_none(tmp_path: Path, cli: Cli) -> None:
    outcome = cli("config", "validate", written(tmp_path / "c.yaml", "api: {hosts: pve1, token_id: a@pve!b}"))
    assert (outcome.code, "api.token_secret is missing" in outcome.complaint) == (78, True)
    outcome = cli("config", "validate", written(tmp_path / "c.yaml", "policy: {seed: 1}"))
    assert (outcome.code, outcome.out) == (0, f"{tmp_path / 'c.yaml'}: 1 settings, and nothing is wrong with them\n")
    assert outcome.err.startswith("note: no Proxmox VE API is configured")
    assert cli("config", "validate").out.startswith("no file: 0 settings")


def test_who_plans_and_who_is_told_on_schedule_is_checked_before_that_begins(tmp_path: Path, cli: Cli) -> None:
    text = "run: {solver: cplex}\nnotify: {apprise_file: nowhere, webhooks: [{url: 'https://a.example.org'}]}"
    outcome = cli("config", "validate", written(tmp_path / "c.yaml", text))
    lines = outcome.err.splitlines()
    assert outcome.code == 78 and len(lines) == 3  # and a note: no cluster
    *others, last = SolverName
    assert lines[1].endswith(f'"cplex" is not one of {", ".join(others)} or {last}')
    assert f"notify.apprise_file {tmp_path / 'nowhere'}" in lines[2]


@pytest.mark.parametrize("text", ["policy:\n\tseed: 1\n", "- a\n", "\x07"])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, cli: Cli, text: str) -> None:
    outcome = cli("config", "validate", written(tmp_path / "c.yaml", text))
    assert outcome.code == 78 and str(tmp_path / "c.yaml") in outcome.complaint
    assert "cannot be read" in cli("config", "validate", tmp_path / "none.yaml").complaint
    assert cli("config", "validate", "a", "-c", "b").code == 64


def test_no_secret_is_said_or_shown(tmp_path: Path, cli: Cli) -> None:
    file = written(tmp_path / "c.yaml", RICH.replace("timeout: 5", "timeout: 0"))
    outcome = cli("config", "validate", file)
    assert outcome.code == 78 and SECRET not in outcome.out + outcome.err
    file = written(tmp_path / "c.yaml", RICH)
    shown = cli("config", "show", "-c", file, "--origin").out
    assert SECRET not in shown and shown.count("**********") == 5 and "https://hook.example.org/" in shown
    slips = f"api: {{hosts: 'root:{SECRET}@pve1', token_id: 'root@pam!t={SECRET}'}}"
    outcome = cli("config", "show", "-c", written(tmp_path / "c.yaml", slips))
    assert SECRET not in outcome.out and "@pve1" in outcome.out


# ------------------------------------------------------------------ show


@pytest.mark.parametrize("text", ["", RICH, *OURS])
def test_what_is_shown_is_a_file_that_means_the_same(tmp_path: Path, cli: Cli, text: str) -> None:
    file = written(tmp_path / "c.yaml", text)
    first = cli("config", "show", "-c", file, "--origin").out
    again = cli("config", "show", "-c", written(file, first)).out
    assert again == cli("config", "show", "-c", written(file, text)).out
    known, shown = load(str(file)), load(str(written(file, first)))
    for section in settings.SECTIONS:
        if section not in ("api", "notify", "apply"):  # those have secrets
            assert getattr(known, section) == getattr(shown, section)
    assert replace(known.apply, hooks=Hooks()) == replace(shown.apply, hooks=Hooks())
    assert (known.api.hosts, known.api.timeout, known.notify.events) == (
        shown.api.hosts, shown.api.timeout, shown.notify.events,
    )  # fmt: skip


def test_beside_each_setting_stands_where_it_comes_from(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "c.yaml", "policy: {seed: 1, balanciness: 1, max_migrations: 1}")
    monkeypatch.setenv("PROXLB_PLAN_POLICY__BALANCINESS", "2")
    monkeypatch.setenv("PROXLB_PLAN_POLICY__MAX_MIGRATIONS", "2")
    lines = cli("config", "show", "-c", file, "--max-migrations", "3", "--origin").out.splitlines()
    for line in (
        f"  seed: 1  # {file}", "  balanciness: 2.0  # $PROXLB_PLAN_POLICY__BALANCINESS",
        "  max_migrations: 3  # command line", "  time_limit: 20.0  # default",
    ):  # fmt: skip
        assert line in lines
    keys = sum(len(types) for types in settings.TYPES.values())
    assert sum("  # " in line for line in lines) == keys
    assert "#" not in cli("config", "show", "-c", file).out


# ------------------------------------------------------------------ schema


@pytest.fixture(scope="module")
def checker() -> Draft202012Validator:
    made = json.loads(json.dumps(schema()))
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


def accepted(checker: Draft202012Validator, text: str) -> bool:
    return checker.is_valid(edited(text) or {})


@pytest.mark.parametrize("text", [*OURS, RICH, "policy:", "policy: {resource: , max_guests: {pve1: 3}}"])
def test_what_is_documented_is_as_the_schema_says(checker: Draft202012Validator, text: str) -> None:
    assert list(checker.iter_errors(edited(text))) == []


def test_the_defaults_are_as_the_schema_says_and_stand_in_it(checker: Draft202012Validator, cli: Cli) -> None:
    shown = cli("config", "show").out
    assert accepted(checker, shown)
    for section, values in edited(shown).items():
        kind = type(getattr(Config(), section)).__name__
        for key, value in values.items():
            described = checker.schema["$defs"][kind]["properties"][key]
            assert described.get("default", value) == value


def records(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All mappings with keys of their own in a document: sections, and what they consist of."""
    if isinstance(value, dict):
        yield path, value
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from records(part, f"{path}.{key}")


FREE = (".cluster.domains", ".cluster.pools", ".policy.reserve", ".policy.overcommit", "target_storage", ".headers")
"""Mappings whose keys are names."""


def test_a_misspelt_key_is_refused_wherever_it_stands(checker: Draft202012Validator) -> None:
    document = edited(RICH)
    checked = 0
    for path, record in records(document):
        if not path.startswith(FREE[:1]) and not path.endswith(FREE):
            record["misspelt"] = 1
            assert not checker.is_valid(document), path
            del record["misspelt"]
            checked += 1
    assert checked > 15 and checker.is_valid(document)


@pytest.mark.parametrize(
    "text",
    [
        "policy: {balanciness: 101}", "policy: {resource: mem}", "policy: {resource: []}", "policy: {seed: -1}",
        "policy: {time_limit: 0}", "apply: {parallel: 0}", "run: {mode: automatic}", "cluster: {rules: [{stay: [a]}]}",
        "cluster: {rules: {name: a}}", "notify: {events: [done, undone]}", "log: {level: debug}", "policy: [a]",
        "policy: {seed: 3}", "policy: {max_guests: 3}", "policy: {max_migrations: null}", "apply: {bwlimit: 0.5}",
        "cluster: {ignore_guests: [100, web*]}", "notify: {events: done}", "run: {keep: 366}", "run: {keep: 367}",
    ],
)  # fmt: skip
def test_the_schema_takes_what_the_planner_takes(tmp_path: Path, checker: Draft202012Validator, text: str) -> None:
    try:
        load(str(written(tmp_path / "c.yaml", text)))
    except ConfigError:
        assert not accepted(checker, text)
    else:
        assert accepted(checker, text)


def test_the_schema_says_what_keys_mean(cli: Cli) -> None:
    made = json.loads(cli("config", "schema").out)
    kinds = made["$defs"]
    assert kinds["Policy"]["properties"]["balanciness"]["description"].startswith("Tolerated spread")
    assert kinds["Api"]["properties"]["fingerprint"]["description"].startswith("SHA-256")
    assert "observe: Records what it would do, and changes nothing." in kinds["RunMode"]["description"]
    keys = [value for kind in kinds.values() for value in kind.get("properties", {}).values()]
    assert sum("description" in value for value in keys) > 80


# ------------------------------------------------------------------ init


def test_a_first_file_is_for_its_owner_alone_and_needs_nothing_but_the_secret(tmp_path: Path, cli: Cli) -> None:
    outcome = cli("config", "init", "--host", "pve1", "--host", "[fd00::1]:8006", "--ca-file", "ca.pem")
    file = tmp_path / "proxlb-plan.yaml"
    assert (outcome.code, stat.S_IMODE(file.stat().st_mode)) == (0, 0o600)
    written(tmp_path / "token", SECRET)
    written(tmp_path / "ca.pem", "")
    checked = cli("config", "validate")
    assert (checked.code, checked.err) == (0, "") and str(file) in checked.out
    found = load()
    assert found.api.hosts == ("pve1", "[fd00::1]:8006") and found.api.token_id == "proxlb-plan@pve!planner"
    assert (found.policy, found.cluster, found.apply, found.run) == tuple(
        getattr(Config(), section) for section in ("policy", "cluster", "apply", "run")
    )


def test_how_the_token_is_made_is_what_the_readme_says(cli: Cli) -> None:
    lines = cli("config", "init", "--host", "pve1").out
    assert lines in (REPO / "README.md").read_text()
    assert lines.count("\n") == 4
    other = cli("config", "init", "o.yaml", "--host", "pve1", "--token-id", "bob@pam!x").out
    assert "user add bob@pam\n" in other and "token add bob@pam x " in other


def test_a_file_that_is_there_is_only_replaced_when_that_is_asked_for(tmp_path: Path, cli: Cli) -> None:
    file = written(tmp_path / "proxlb-plan.yaml", "mine", 0o644)
    outcome = cli("config", "init", "--host", "pve1")
    assert outcome.code == 64 and "--force" in outcome.complaint and file.read_text() == "mine"
    assert cli("config", "init", "--host", "pve1", "--force").code == 0
    assert load().api.hosts == ("pve1",) and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["proxlb-plan.yaml"]


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_it_asks_for_what_no_flag_says(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("https://pve1/x\npve1, pve2\nme\n\n/etc/secret\n-\n"))
    outcome = cli("config", "init", "new.yaml")
    assert (
        outcome.code == 0 and outcome.err.count("Nodes of the cluster") == outcome.err.count("Id of the API token") == 2
    )
    assert "api.hosts has 'https://pve1/x', which is not a host" in outcome.err and "names no user" in outcome.err
    found = load(str(tmp_path / "new.yaml"), environ={})
    assert (found.api.hosts, found.api.token_secret_file) == (("pve1", "pve2"), "/etc/secret")
    assert (found.api.token_id, found.api.ca_file) == ("proxlb-plan@pve!planner", None)
    monkeypatch.setattr(sys, "stdin", Terminal("pve1\n\n\n\n"))
    assert "Copy /etc/pve/pve-root-ca.pem from a node to pve-root-ca.pem." in cli("config", "init").err
    assert load().api.ca_file == str(tmp_path / "pve-root-ca.pem")
    monkeypatch.setattr(sys, "stdin", Terminal("-\npve1\n-\n\n-\n\n-\n"))
    err = cli("config", "init", "dash.yaml").err
    for said in ("api.hosts has '-'", "the token id - names no user", "'-' is not the name of a file"):
        assert said in err
    assert load(str(tmp_path / "dash.yaml"), environ={}).api.ca_file is None and "Copy" not in err


@pytest.mark.parametrize(
    "words",
    [
        ("--host", "https://pve1/x"), ("--token-id", "me"), ("--secret-file", ""), ("--ca-file", ""),
        ("no/such/place.yaml",), (".", "--force"), ("x" * 300,),
    ],
)  # fmt: skip
def test_nothing_is_asked_where_no_answer_would_do(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("pve1\n\n\n\n"))
    assert cli("config", "init", *words).complaint


def test_a_folder_that_is_of_somebody_else_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refused)
    assert cli("config", "init", "--host", "pve1", "there/x").complaint.endswith("write there/x: Permission denied")


def test_a_known_authority_is_said_by_a_flag_as_well(tmp_path: Path, cli: Cli) -> None:
    assert "Copy" not in cli("config", "init", "--host", "pve1", "--ca-file", "-").err
    file = tmp_path / "proxlb-plan.yaml"
    assert load().api.ca_file is None
    file.write_text(re.sub(r"# (max_migrations|reserve)", r"\1", file.read_text()))
    assert load().policy.reserve["default"].memory == 4


def test_who_has_just_installed_it_is_told_what_it_takes_and_all_others_in_one_line(tmp_path: Path, cli: Cli) -> None:
    outcome = cli()
    assert (outcome.code, outcome.out) == (78, "")
    for words in ("api.hosts", "api.token_id", "api.token_secret_file", "config init", "proxlb-plan --demo"):
        assert words in outcome.err
    assert 4 < len(outcome.err.splitlines()) < 9 and max(map(len, outcome.err.splitlines())) <= 80
    for others in (("plan",), ("--solver", "greedy"), ("drain", "pve1"), ("apply",)):
        assert cli(*others).complaint.startswith("proxlb-plan: no Proxmox VE API is configured: set api.hosts")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 64, "nobody is there to answer"),
        (("--host", "pve 1"), 78, "is not a host"),
        (("--host", f"root:{SECRET}@pve1"), 78, "api.hosts"),
        (("--host", "pve1", "--token-id", f"root@pam!t={SECRET}"), 78, "belongs in a file"),
        (("--host", "pve1", "--token-id", "planner"), 78, "user@realm!name"),
        (("--host", "pve1", "no/such/place.yaml"), 1, "No such file"),
        (("--host", "pve1", "--force", "no/such/place.yaml"), 1, "No such file"),
        (("--host", "pve1", "--force", "."), 1, "cannot write"),
    ],
)
def test_what_makes_no_file_is_one_line(cli: Cli, tmp_path: Path, words: tuple[str, ...], code: int, said: str) -> None:
    outcome = cli("config", "init", *words)
    assert (outcome.code, said in outcome.complaint) == (code, True)
    assert SECRET not in outcome.err and list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ import, file


def test_a_configuration_of_proxlb_becomes_a_file_for_its_owner_alone(tmp_path: Path, cli: Cli) -> None:
    text = f"proxmox_api: {{hosts: [pve1], user: root@pam, pass: {SECRET}}}\nbalancing: {{balanciness: 7}}\n"
    foreign, ours = written(tmp_path / "proxlb.yaml", text), tmp_path / "ours.yaml"
    assert cli("config", "import", foreign, "-o", ours).code == 0
    assert load(str(ours)).policy.balanciness == 7 and stat.S_IMODE(ours.stat().st_mode) == 0o600
    assert cli("config", "import", foreign).out == ours.read_text()
    outcome = cli("config", "import", foreign, "-o", ours)
    assert outcome.code == 1 and "--force" in outcome.complaint
    assert cli("config", "import", foreign, "-o", ours, "--force").code == 0
    assert "cannot be read" in cli("config", "import", tmp_path / "none").complaint


def test_files_that_come_along_are_listed_and_printed_as_they_are(cli: Cli) -> None:
    names = cli("config", "file").out.split()
    there = files("planner") / "shipped"
    assert {"proxlb-plan.service", "proxlb-plan.timer", "cron", "compose.yaml"} <= {*names}
    for name in names:
        assert cli("config", "file", name).out == (there / name).read_text()
    for name in ("nope", "../config.py", ""):
        outcome = cli("config", "file", name)
        assert outcome.code == 64 and "proxlb-plan.service" in outcome.complaint
