"""Claims about settings: where they come from, who wins, and what is said when one of them is wrong."""

import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr

from planner import config
from planner.config import Api, Config, connection, load
from planner.errors import ConfigError
from planner.policy import Apply, Cheapest, Cluster, Combine, Mode, Policy, Reserve, Resource

FINGERPRINT = ":".join(["Ab"] * 32)
SECRET = "hunter2-0123"
RESOURCES = f"{', '.join(list(Resource)[:-1])} or {list(Resource)[-1]}"


@pytest.fixture(autouse=True)
def no_system_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "SYSTEM_FILE", tmp_path / "etc" / "config.yaml")


def written(path: Path, text: str, mode: int = 0o600) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def from_text(tmp_path: Path, text: str) -> Config:
    return load(written(tmp_path / "c.yaml", text), environ={}, cwd=tmp_path)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        from_text(tmp_path, text)
    return one_line(caught.value)


def one_line(error: ConfigError) -> str:
    assert "\n" not in str(error)
    return str(error)


def refusal_of_variables(tmp_path: Path, **variables: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(environ={f"PROXLB_PLAN_{name}": value for name, value in variables.items()}, cwd=tmp_path)
    return one_line(caught.value)


def refusal_to_connect(api: Api, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        connection(Config(api=api), environ or {})
    return one_line(caught.value)


# Where settings come from


def test_without_any_setting_the_defaults_hold(tmp_path: Path) -> None:
    assert load(environ={}, cwd=tmp_path) == Config(Api(), Cluster(), Policy(), Apply())


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    text = """
api:
  hosts: [pve1, "pve2:8006", "[fd00::1]:8006", fd00::2]
  user: root@pam
  token_id: planner
  token_secret_file: token
  fingerprint: AB:CD
  timeout: 5
cluster:
  maintenance_nodes: pve9
policy: {resource: cpu, mode: assigned, balanciness: 5.5, max_migrations: 7, with_local_disks: yes}
"""
    found = from_text(tmp_path, text)
    assert found.api.hosts == ("pve1", "pve2:8006", "[fd00::1]:8006", "fd00::2")
    assert found.api.token_secret_file == str(tmp_path / "token")
    assert (found.api.fingerprint, found.api.timeout) == ("AB:CD", 5.0)
    assert found.cluster == Cluster(maintenance_nodes=("pve9",))
    assert found.policy == Policy(Resource.CPU, Mode.ASSIGNED, 5.5, 7, with_local_disks=True)
    assert found.source == str(tmp_path / "c.yaml")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "policy:\n", "policy:\n  resource:\n", "\ufeffapi: {}\n"])
def test_an_empty_file_section_or_setting_leaves_the_defaults(tmp_path: Path, text: str) -> None:
    found = from_text(tmp_path, text)
    assert (found.api, found.policy) == (Api(), Policy())


def test_several_resources_may_be_a_list_or_text_with_commas(tmp_path: Path) -> None:
    both = (Resource.MEMORY, Resource.CPU)
    for text in ("[memory, cpu]", "memory, cpu", '"memory,cpu"'):
        assert from_text(tmp_path, f"policy:\n  resource: {text}\n").policy == Policy(both)
    environ = {"PROXLB_PLAN_POLICY__RESOURCE": "memory,cpu", "PROXLB_PLAN_POLICY__WEIGHTS": '{"cpu": 0.5}', "HOME": "/"}
    assert load(environ=environ, cwd=tmp_path).policy == Policy(both, weights={"cpu": 0.5})
    assert Policy("memory,cpu") == Policy(both) and Policy(Resource.CPU) == Policy((Resource.CPU,))


def test_what_is_asked_of_a_plan_can_stand_in_the_file(tmp_path: Path) -> None:
    text = "policy: {combine: weighted, weights: {memory: 2, cpu: 1}, max_gib: 1.5, until_balanced: yes, cheapest: gib}"
    assert from_text(tmp_path, text).policy == Policy(
        combine=Combine.WEIGHTED, weights={"memory": 2.0, "cpu": 1.0}, max_gib=1.5, until_balanced=True,
        cheapest=Cheapest.GIB,
    )  # fmt: skip


def test_environment_beats_file_and_flags_beat_both(tmp_path: Path) -> None:
    file = written(tmp_path / "c.yaml", "policy: {resource: cpu, seed: 1, balanciness: 1, max_migrations: 1}")
    environ = {"PROXLB_PLAN_POLICY__SEED": "2", "PROXLB_PLAN_POLICY__BALANCINESS": "2", "HOME": "/nowhere"}
    flags = {"policy": {"balanciness": 3.0, "max_migrations": None, "seed": None}, "api": {}}
    assert load(file, flags, environ, tmp_path).policy == Policy(Resource.CPU, balanciness=3, max_migrations=1, seed=2)


def test_a_flag_may_be_a_number_where_zero_and_false_count_as_given(tmp_path: Path) -> None:
    file = written(tmp_path / "c.yaml", "policy: {max_migrations: 4, allow_partial: true}")
    found = load(file, {"policy": {"max_migrations": 0, "allow_partial": False}}, {}, tmp_path).policy
    assert (found.max_migrations, found.allow_partial) == (0, False)


def test_the_places_are_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"HOME": str(tmp_path / "home")}
    places = [tmp_path / "etc/config.yaml", tmp_path / "home/.config/proxlb-plan/config.yaml"]
    places += [tmp_path / "xdg/proxlb-plan/config.yaml", tmp_path / "proxlb-plan.yaml"]
    for seed, place in enumerate(places, 1):
        if "xdg" in str(place):
            environ["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
        written(place, f"policy: {{seed: {seed}}}")
        found = load(environ=environ, cwd=tmp_path)
        assert (found.policy.seed, found.source) == (seed, str(place))
    environ["PROXLB_PLAN_CONFIG"] = "named.yaml"
    written(tmp_path / "named.yaml", "policy: {seed: 8}")
    assert load(environ=environ, cwd=tmp_path).policy.seed == 8
    assert load(written(tmp_path / "flag.yaml", "policy: {seed: 9}"), environ=environ, cwd=tmp_path).policy.seed == 9


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.yaml cannot be read: No such file"):
        load("nope.yaml", environ={}, cwd=tmp_path)
    assert "gone.yaml cannot be read" in refusal_of_variables(tmp_path, CONFIG="gone.yaml")


def test_a_file_that_is_a_directory_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        load(str(tmp_path), environ={}, cwd=tmp_path)
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(str(tmp_path / "c.yaml"), environ={}, cwd=tmp_path)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("pve1,pve2 pve3", ("pve1", "pve2", "pve3")),
        ('["pve1", "pve2"]', ("pve1", "pve2")),
        ("[fd00::1]:8006, [fd00::2]", ("[fd00::1]:8006", "[fd00::2]")),
        ("[]", ()),
        ("", ()),
    ],
)
def test_a_list_in_a_variable_is_separated_by_commas_or_json(tmp_path: Path, text: str, hosts: tuple[str, ...]) -> None:
    assert load(environ={"PROXLB_PLAN_API__HOSTS": text}, cwd=tmp_path).api.hosts == hosts


def test_an_empty_variable_counts_as_not_given(tmp_path: Path) -> None:
    file = written(tmp_path / "c.yaml", "api: {hosts: pve1}")
    environ = {"PROXLB_PLAN_API__HOSTS": "", "PROXLB_PLAN_CONFIG": ""}
    assert load(file, environ=environ, cwd=tmp_path).api.hosts == ("pve1",)


def test_relative_paths_belong_to_the_file_or_to_the_working_directory(tmp_path: Path) -> None:
    file = written(tmp_path / "etc2" / "c.yaml", "api: {ca_file: ca.pem, password_file: pw}")
    api = load(file, {"api": {"ca_file": "ca.pem"}}, {}, tmp_path).api
    assert (api.ca_file, api.password_file) == (str(tmp_path / "ca.pem"), str(tmp_path / "etc2" / "pw"))


@pytest.mark.parametrize("name", ["no", "on", "off", "101", "010", "1e3", "12:30", "0x1f", "1_000", "2026-11-23"])
def test_a_name_that_yaml_takes_for_something_else_stays_a_name(tmp_path: Path, name: str) -> None:
    text = (
        f"api: {{password: {name}}}\ncluster: {{ignore_nodes: [{name}]}}\npolicy: {{reserve: {{{name}: {{cpu: 1}}}}}}"
    )
    found = from_text(tmp_path, text)
    assert found.cluster.ignore_nodes == (name,)
    assert list(found.policy.reserve) == [name]
    assert found.api.password == SecretStr(name)


def test_a_node_called_null_must_be_quoted(tmp_path: Path) -> None:
    said = refusal(tmp_path, "cluster: {ignore_nodes: [pve1, null]}")
    assert "cluster.ignore_nodes[1] in " in said
    assert "quote it" in said
    assert from_text(tmp_path, "cluster: {ignore_nodes: ['null']}").cluster.ignore_nodes == ("null",)


def test_an_empty_path_counts_as_not_given_and_a_tilde_is_the_home(tmp_path: Path) -> None:
    api = from_text(tmp_path, "api: {ca_file: '', password_file: ~/pw, token_secret_file: ~nobody-at-all/x}").api
    assert (api.ca_file, api.password_file) == (None, str(Path("~/pw").expanduser()))
    assert api.token_secret_file == str(tmp_path / "~nobody-at-all" / "x")


# Reserve


@pytest.mark.parametrize(
    ("text", "reserve"),
    [
        ("{memory: 4, cpu: 0.5}", {"default": Reserve(4, 0.5)}),
        ("{default: {memory: 4}, pve1: {memory: 8}}", {"default": Reserve(4), "pve1": Reserve(8)}),
        ("{memory: {disk: 1}}", {"memory": Reserve(disk=1)}),
        ("{}", {}),
    ],
)
def test_reserve_is_for_all_nodes_or_per_node(tmp_path: Path, text: str, reserve: dict[str, Reserve]) -> None:
    assert from_text(tmp_path, f"policy: {{reserve: {text}}}").policy.reserve == reserve


def test_reserve_in_a_variable_is_json(tmp_path: Path) -> None:
    environ = {"PROXLB_PLAN_POLICY__RESERVE": '{"pve1": {"memory": 8}}'}
    assert load(environ=environ, cwd=tmp_path).policy.reserve == {"pve1": Reserve(8)}
    assert "policy.reserve in $PROXLB_PLAN_POLICY__RESERVE is not JSON" in refusal_of_variables(
        tmp_path, POLICY__RESERVE="memory=8"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{pve1: {memory: -1}}", 'policy.reserve.pve1.memory in {}: "-1" is less than 0, the lowest value allowed'),
        ("{memory: -1}", 'policy.reserve.default.memory in {}: "-1" is less than 0, the lowest value allowed'),
        ("{pve1: {memroy: 1}}", "unknown key policy.reserve.pve1.memroy in {}: did you mean memory?"),
        ("{pve1: {memory: .inf}}", "policy.reserve.pve1.memory in {}: .inf"),
        ("{pve1: {memory: inf}}", "policy.reserve.pve1.memory in {} is not a finite number"),
        ("{pve1: {memory: 1}, pve2: 8}", 'policy.reserve.pve2 in {}: "8" is not a mapping of memory, cpu, disk'),
        ("[a]", "policy.reserve in {}: the value is not a mapping"),
    ],
)
def test_a_wrong_reserve_is_refused(tmp_path: Path, text: str, said: str) -> None:
    expected = said.format(tmp_path / "c.yaml").removesuffix(": .inf")
    assert refusal(tmp_path, f"policy: {{reserve: {text}}}").startswith(expected)


# Wrong values


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("resource: mem", 'policy.resource[0] in {}: "mem" is not one of ' + RESOURCES),
        ("resource: [memory, mem]", 'policy.resource[1] in {}: "mem" is not one of ' + RESOURCES),
        ("resource: []", "policy.resource in {}: the value is empty: name at least 1"),
        ("combine: best", 'policy.combine in {}: "best" is not one of worst, weighted or order'),
        ("cheapest: time", 'policy.cheapest in {}: "time" is not one of migrations or gib'),
        ("max_gib: -1", 'policy.max_gib in {}: "-1" is less than 0, the lowest value allowed'),
        ("max_gib: inf", "policy.max_gib in {} is not a finite number"),
        ("weights: {cpu: 0}", 'policy.weights.cpu in {}: "0" is not more than 0'),
        ("weights: {cpu: much}", 'policy.weights.cpu in {}: "much" is not a number'),
        ("weights: {cpu: nan}", "policy.weights.cpu in {} is not a finite number"),
        ("weights: 3", "policy.weights in {}: 3 is not a mapping"),
        ("balanciness: 101", 'policy.balanciness in {}: "101" is more than 100, the highest value allowed'),
        ("balanciness: -1", 'policy.balanciness in {}: "-1" is less than 0, the lowest value allowed'),
        ("balanciness: yes", 'policy.balanciness in {}: "yes" is not a number'),
        ("max_migrations: 1.5", 'policy.max_migrations in {}: "1.5" is not a whole number'),
        ("max_migrations: true", 'policy.max_migrations in {}: "true" is not a whole number'),
        ("max_migrations: [1]", "policy.max_migrations in {}: the value is not a whole number"),
        ("time_limit: 0", 'policy.time_limit in {}: "0" is not more than 0'),
        ("allow_partial: maybe", 'policy.allow_partial in {}: "maybe" is not true or false'),
        ("time_limit: inf", "policy.time_limit in {} is not a finite number"),
        ("time_limit: 1e999", "policy.time_limit in {} is not a finite number"),
        ("balanciness: nan", "policy.balanciness in {} is not a finite number"),
        ("balanciness: .nan", 'policy.balanciness in {}: ".nan" is not a number'),
    ],
)
def test_a_wrong_value_is_named_with_key_file_and_what_is_allowed(tmp_path: Path, setting: str, said: str) -> None:
    assert refusal(tmp_path, f"policy: {{{setting}}}") == said.format(tmp_path / "c.yaml")


def test_a_wrong_value_is_named_with_the_place_that_gave_it(tmp_path: Path) -> None:
    said = refusal_of_variables(tmp_path, POLICY__RESOURCE="mem")
    assert said.startswith("policy.resource[0] in $PROXLB_PLAN_POLICY__RESOURCE: ")
    with pytest.raises(ConfigError, match=r"^policy\.time_limit on the command line is not a finite number$"):
        load(None, {"policy": {"time_limit": float("nan")}}, {}, tmp_path)
    with pytest.raises(ConfigError, match=r"^policy\.seed on the command line: -1 is less than 0"):
        load(None, {"policy": {"seed": -1}}, {}, tmp_path)


def test_a_list_must_be_a_list_of_names(tmp_path: Path) -> None:
    assert "cluster.ignore_nodes in" in refusal(tmp_path, "cluster: {ignore_nodes: {a: b}}")
    assert "cluster.ignore_nodes[0] in" in refusal(tmp_path, "cluster: {ignore_nodes: [[a]]}")
    assert "is not JSON" in refusal_of_variables(tmp_path, CLUSTER__IGNORE_NODES='["a"')


# Unknown keys


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("polcy: {}", "unknown key polcy in {}: did you mean policy?"),
        ("policy: {resorce: cpu}", "unknown key policy.resorce in {}: did you mean resource?"),
        ("policy: {max-migrations: }", "unknown key policy.max-migrations in {}: did you mean max_migrations?"),
        ("api: {host: a}", "unknown key api.host in {}: did you mean hosts?"),
        ("balanciness: 3", "unknown key balanciness in {}: did you mean policy.balanciness?"),
        ("cluster: {resource: cpu}", "unknown key cluster.resource in {}: did you mean policy.resource?"),
        (
            "cluster: {zzz: 1}",
            "unknown key cluster.zzz in {}: known here are maintenance_nodes, scheduled_maintenance, ignore_nodes, "
            "ignore_guests, domains, pools, rules, should",
        ),
        ("source: x", "unknown key source in {}: did you mean policy.resource?"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path: Path, text: str, said: str) -> None:
    assert refusal(tmp_path, text) == said.format(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("POLICY__RESORCE", "POLICY__RESOURCE"),
        ("MAX_MIGRATIONS", "POLICY__MAX_MIGRATIONS"),
        ("API_TIMEOUT", "API__TIMEOUT"),
        ("CONFIGS", "CONFIG"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_known_one(tmp_path: Path, name: str, nearest: str) -> None:
    said = refusal_of_variables(tmp_path, **{name: SECRET})
    assert said == f"unknown variable $PROXLB_PLAN_{name}: did you mean $PROXLB_PLAN_{nearest}?"


def test_an_unknown_flag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key policy\.sed on the command line: did you mean seed"):
        load(None, {"policy": {"sed": None}}, {}, tmp_path)


# Broken files


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("api:\n  hosts: [a\n", "line 3, column 1: "),
        ("policy:\n\tseed: 1\n", "line 2, column 1: found character that cannot start any token"),
        ("a: b: c\n", "line 1, column 5: mapping values are not allowed here"),
        ("policy:\n  seed: 1\n  seed: 2\n", "line 3, column 3: the key seed stands twice"),
        ("policy: {}\npolicy: {}\n", "line 2, column 1: the key policy stands twice"),
        ("? [a]\n: b\n", "line 1, column 3: a key is not a name"),
        ("policy: {}\n---\npolicy: {}\n", "line 2, column 1: but found another document"),
        ("policy: {seed: !!python/name:os.system x}", "is not a whole number"),
        ("a: \x07", "there is a control character in it"),
        ("[" * 5000, "it nests too deeply"),
        ("a: &a [*a]", "it nests too deeply"),
        ("- a\n", "is not a mapping: start it with one of api, "),
        ("hello", "is not a mapping: start it with one of api, "),
        ("policy: hello", "policy in"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    refused = refusal(tmp_path, text)
    assert said in refused
    assert str(tmp_path / "c.yaml") in refused


# Secrets


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
@pytest.mark.parametrize("key", ["token_secret", "password"])
def test_a_file_that_holds_a_secret_must_not_be_readable_by_others(tmp_path: Path, key: str, mode: int) -> None:
    path = written(tmp_path / "my c.yaml", f"api: {{{key}: {SECRET}}}", mode)
    with pytest.raises(ConfigError) as caught:
        load(path, environ={}, cwd=tmp_path)
    assert str(caught.value) == f"{path} holds api.{key} and others may read it: run `chmod 600 '{path}'`"


def test_a_file_without_secret_may_be_readable_by_others(tmp_path: Path) -> None:
    text = "api: {hosts: a, token_secret: , password_file: x}"
    assert load(written(tmp_path / "c.yaml", text, 0o644), environ={}, cwd=tmp_path).api.hosts == ("a",)


def test_a_configuration_handed_over_by_systemd_may_hold_a_secret(tmp_path: Path) -> None:
    path = written(tmp_path / "cred" / "config", f"api: {{password: {SECRET}}}", 0o440)
    assert load(path, environ={"CREDENTIALS_DIRECTORY": str(tmp_path / "cred")}, cwd=tmp_path).api.password


@pytest.mark.parametrize(
    "text",
    [
        "api: {password: !SECRET }",
        "api: {password: *SECRET }",
        "api: {password: !SECRET!x y}",
        "api: {password: !<SECRET y}",
        "api: {password: 'SECRET}",
        'api: {password: "SECRET\\q"}',
        "api: {password: SECRET: x}",
        "api: {password: [SECRET]}",
        "api: {password: {SECRET: 1}}",
        "api: {token_secret: SECRET, token_secret: SECRET}",
        "api: {pasword: SECRET}",
        "api: SECRET",
        "api: {timeout: SECRET}",
        "api: {verify_tls: SECRET}",
        "api: {hosts: ['root:SECRET@pve1', [SECRET]]}",
        "SECRET",
        "- SECRET",
        "password: SECRET",
    ],
)
def test_no_secret_is_in_a_message_or_in_what_python_prints_of_it(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "c.yaml", text.replace("SECRET", SECRET))
    with pytest.raises(ConfigError) as caught:
        load(path, environ={}, cwd=tmp_path)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert one_line(caught.value)


def test_no_secret_is_in_the_repr_of_the_settings(tmp_path: Path) -> None:
    environ = {"PROXLB_PLAN_API__TOKEN_SECRET": SECRET, "PROXLB_PLAN_API__PASSWORD": SECRET}
    found = load(environ=environ, cwd=tmp_path)
    assert found.api.token_secret == SecretStr(SECRET)
    assert SECRET not in repr(found) + str(found)


def test_a_secret_from_a_stronger_place_replaces_the_file_of_a_weaker_one(tmp_path: Path) -> None:
    file = written(tmp_path / "c.yaml", "api: {token_secret_file: x}")
    api = load(file, environ={"PROXLB_PLAN_API__TOKEN_SECRET": SECRET}, cwd=tmp_path).api
    assert (api.token_secret, api.token_secret_file) == (SecretStr(SECRET), None)
    api = load(file, {"api": {"token_secret_file": "/y"}}, {"PROXLB_PLAN_API__TOKEN_SECRET": SECRET}, tmp_path).api
    assert (api.token_secret, api.token_secret_file) == (None, "/y")


# Connection

TOKEN = Api(hosts=("pve1",), user="root@pam", token_id="planner", token_secret=SecretStr(SECRET))


def test_a_token_is_enough_to_connect() -> None:
    found = connection(Config(api=TOKEN), {})
    assert (found.hosts, found.user, found.token_id, found.token_secret) == (("pve1",), "root@pam", "planner", SECRET)
    assert (found.password, found.verify_tls, found.timeout) == (None, True, 30.0)
    assert SECRET not in repr(found)


def test_user_and_password_are_enough_to_connect(tmp_path: Path) -> None:
    file = written(tmp_path / "pw", f"\ufeff{SECRET}\r\n")  # as editors on Windows write it
    api = Api(("[fd00::1]:8006",), "root@pam", password_file=file, verify_tls=False, fingerprint=FINGERPRINT, timeout=3)
    found = connection(Config(api=api), {})
    assert (found.password, found.token_secret) == (SECRET, None)
    assert (found.verify_tls, found.fingerprint, found.timeout) == (False, FINGERPRINT, 3)


@pytest.mark.parametrize(("key", "token_id"), [("token_secret", "root@pam!planner"), ("password", None)])
def test_systemd_credentials_are_used_whatever_their_mode(tmp_path: Path, key: str, token_id: str | None) -> None:
    for name in ("token_secret", "password"):
        written(tmp_path / name, f"{name}-{SECRET}", 0o444)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    found = connection(Config(api=Api(("pve1",), "root@pam", token_id)), environ)
    assert {key: f"{key}-{SECRET}"} == {
        name: value for name in ("token_secret", "password") if (value := getattr(found, name))
    }


def test_a_secret_that_is_set_beats_systemd_credentials(tmp_path: Path) -> None:
    written(tmp_path / "token_secret", "other")
    assert connection(Config(api=TOKEN), {"CREDENTIALS_DIRECTORY": str(tmp_path)}).token_secret == SECRET


def test_without_credentials_directory_no_file_of_the_working_directory_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "token_secret", SECRET)
    monkeypatch.chdir(tmp_path)
    assert "token_secret" in refusal_to_connect(Api(("pve1",), "root@pam", "planner"), {"CREDENTIALS_DIRECTORY": ""})


def test_with_nothing_configured_the_ways_out_are_named() -> None:
    said = refusal_to_connect(Api())
    for word in ("api.hosts", "api.token_id", "api.token_secret_file", "--demo", "--snapshot FILE"):
        assert word in said


@pytest.mark.parametrize(
    ("api", "said"),
    [
        (Api(user="root@pam", password=SecretStr(SECRET)), "api.hosts is empty"),
        (Api(("pve1",), "root@pam"), "no credentials"),
        (Api(("pve1",), "root@pam", "planner"), "api.token_secret is missing"),
        (Api(("pve1",), "root@pam", token_secret=SecretStr(SECRET)), "api.token_id"),
        (Api(("pve1",), "root@pam", "t", SecretStr(SECRET), password=SecretStr(SECRET)), "both a token and a password"),
        (Api(("pve1",), "root@pam", "t", SecretStr(SECRET), "/x"), "api.token_secret and api.token_secret_file are"),
        (Api(("pve1",), "root", password=SecretStr(SECRET)), "api.user"),
        (Api(("pve1",), "root@pam", "t", SecretStr(SECRET), fingerprint="AB:CD"), "api.fingerprint"),
        (Api(("pve1",), token_id=f"root@pam!t={SECRET}"), "belongs in api.token_secret"),
        (Api(("pve1",), "root@pam", "t", SecretStr(SECRET), ca_file="/no/ca.pem"), "api.ca_file /no/ca.pem does not"),
        (
            Api(("pve1",), "root@pam", "t", token_secret_file="/no/file"),
            "api.token_secret_file /no/file cannot be read",
        ),
    ],
)
def test_what_cannot_connect_is_refused_with_the_key_to_set(api: Api, said: str) -> None:
    refused = refusal_to_connect(api)
    assert said in refused
    assert SECRET not in refused


def test_a_secret_file_must_not_be_readable_by_others_nor_empty(tmp_path: Path) -> None:
    file = written(tmp_path / "token", SECRET, 0o640)
    api = Api(("pve1",), "root@pam", "planner", token_secret_file=file)
    assert refusal_to_connect(api) == f"api.token_secret_file {file} may be read by others: run `chmod 600 {file}`"
    written(tmp_path / "token", "\n")
    assert "is empty: write the secret to it" in refusal_to_connect(api)
