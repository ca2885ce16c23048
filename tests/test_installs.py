"""Claims about ways to install: what is done without OR-Tools, and what comes along for Kubernetes and Ansible fits."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from planner import examine, missing, times
from planner.choices import RunMode
from planner.service import Run
from planner.settings import PATHS
from tests.test_missing import HIDING
from tests.test_service import check_flags

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "install.md").read_text()
KUBERNETES, ROLE = ROOT / "packaging" / "kubernetes", ROOT / "packaging" / "ansible" / "roles" / "proxlb_plan"
TEMPLATES = ROOT / ".github" / "ISSUE_TEMPLATE"
INSTALL = "pip install 'ortools"

# ------------------------------------------------------------------ without OR-Tools

EACH = """
import contextlib, io, json
outcomes = {}
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            from planner.__main__ import main
            sys.argv[1:] = words.split()
            main()
        except SystemExit as end:
            outcomes[words] = [end.code, out.getvalue(), err.getvalue()]
print(json.dumps(outcomes))
"""
"""Many commands in one process: what each ends with and says."""
DONE = (
    "plan --demo --solver descent",
    "drain pve1 --demo --solver descent",
    "whatif --drain pve1 --demo --solver descent",
    "apply --demo --yes --solver greedy --max-migrations 1",
    "run --once --demo --solver descent",
    "explain 121 --demo --solver greedy",
    "report --html page.html --demo --solver greedy",
    "compare --demo --solver greedy,descent",
    "capacity --demo",
    "config validate",
    "doctor --demo",
    "history",
    "looks",
)
REFUSED = ("compare --demo", "frontier --demo", "capacity --demo --size 8G,4 --survive 1")
ELSEWHERE = {"rollback", "snapshot", "status", "check"}
"""Commands that take a cluster or a run, which no solver has a part in."""
Outcomes = dict[str, tuple[int, str, str]]


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Commands where OR-Tools is not installed."""
    folder = tmp_path_factory.mktemp("without")
    before, _, _ = HIDING.partition("sys.argv[:2]")
    program = before + 'sys.argv[:2] = ["proxlb-plan"]\n' + EACH
    asked = json.dumps([*DONE, *REFUSED, "run --once --demo", ""])
    done = subprocess.run(
        [sys.executable, "-c", program, "ortools", asked], cwd=folder, capture_output=True, text=True, timeout=120,
        check=True, stdin=subprocess.DEVNULL, env={"PYTHONPATH": str(ROOT), "HOME": str(folder)},
    )  # fmt: skip
    return {words: (code or 0, out, err) for words, (code, out, err) in json.loads(done.stdout).items()}


@pytest.mark.parametrize("words", DONE)
def test_a_command_that_needs_no_search_works_without_or_tools(without: Outcomes, words: str) -> None:
    code, out, err = without[words]
    assert code == 0 and (out or err) and "ERROR" not in err, err


@pytest.mark.parametrize("words", REFUSED)
def test_a_command_that_takes_or_tools_says_so_in_one_line(without: Outcomes, words: str) -> None:
    code, out, err = without[words]
    assert (code, out, err.count("\n")) == (1, "", 1) and err.startswith("proxlb-plan: ") and INSTALL in err


def test_a_scheduled_look_without_or_tools_says_what_is_missing_and_is_remembered_as_an_error(
    without: Outcomes,
) -> None:
    code, _, err = without["run --once --demo"]
    assert code == 1 and INSTALL in err and "Traceback" not in err


def test_doctor_says_that_or_tools_is_missing_and_how_to_do_without(without: Outcomes) -> None:
    _, out, _ = without["doctor --demo"]
    assert INSTALL in out and "--solver descent" in out and "1 warning" in out


def test_who_has_just_installed_it_without_or_tools_is_offered_a_demo_that_works(without: Outcomes) -> None:
    offered = without[""][2].rpartition("proxlb-plan ")[2].strip()
    assert offered == "--demo --solver descent" and f"plan {offered}" in DONE
    assert "--solver descent" in without["run --once --demo"][2]


def test_the_page_promises_without_or_tools_what_is_tested_here() -> None:
    table = PAGE.split("## FreeBSD")[1].split("```")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    promised = {words.split()[0] for cell in cells for words in re.findall(r"`([^`]+)`", cell)}
    assert promised - ELSEWHERE <= {words.split()[0] for words in DONE} and len(promised) > 12


def test_or_tools_is_asked_for_everywhere_but_on_freebsd_where_there_is_none() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (entry,) = (Requirement(each) for each in wanted if each.startswith("ortools"))
    assert entry.marker is not None and "9.14.6206" in entry.specifier  # the last with wheels for musl
    assert entry.specifier == Requirement(missing.ORTOOLS).specifier
    asked = {system: entry.marker.evaluate({"platform_system": system}) for system in ("Linux", "Darwin", "FreeBSD")}
    assert asked == {"Linux": True, "Darwin": True, "FreeBSD": False}


OLDER = """
import importlib, pkgutil, sys
from ortools.sat.python import cp_model
del cp_model.CpSolverStatus
import solvers
for module in pkgutil.iter_modules(solvers.__path__):
    importlib.import_module(f"solvers.{module.name}")
from planner.cli import main
main(sys.argv[1:])
"""
"""OR-Tools as 9.14 has it."""


def test_nothing_is_asked_of_or_tools_that_9_14_does_not_have(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OLDER, "--demo", "--max-migrations", "6", "--time-limit", "4"], cwd=tmp_path,
        capture_output=True, text=True, timeout=120, check=False, env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0 and "cpsat: " in done.stdout, done.stderr


# ------------------------------------------------------------------ Kubernetes

PARTS: dict[str, dict[str, Any]] = {path.stem: yaml.safe_load(path.read_text()) for path in KUBERNETES.glob("*.yaml")}
JOB: dict[str, Any] = PARTS["cronjob"]["spec"]["jobTemplate"]["spec"]
POD: dict[str, Any] = JOB["template"]["spec"]
CONTAINER: dict[str, Any] = POD["containers"][0]
ENVIRONMENT = {each["name"]: each["value"] for each in CONTAINER["env"]}
MOUNTS = {each["name"]: each for each in CONTAINER["volumeMounts"]}


def test_every_manifest_is_in_the_kustomization_and_its_image_is_the_one_that_is_replaced() -> None:
    kustomization = PARTS["kustomization"]
    assert {*kustomization["resources"]} == {path.name for path in KUBERNETES.iterdir()} - {"kustomization.yaml"}
    assert [each["name"] for each in kustomization["images"]] == [CONTAINER["image"]]
    for name, part in PARTS.items():
        assert part["kind"] and part["apiVersion"] and (name == "kustomization" or part["metadata"]["name"])


def test_the_version_that_is_named_is_this_one() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert PARTS["kustomization"]["images"][0]["newTag"] == version
    text = PAGE + (ROOT / "packaging" / "ansible" / "example.yml").read_text()
    assert {*re.findall(r"proxlb[-_]plan[-_:](\d+\.\d+\.\d+)", text)} == {version}


def test_a_look_in_kubernetes_may_do_no_more_than_write_its_journal() -> None:
    pod, own = POD["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"] and {pod["runAsUser"], pod["runAsGroup"], pod["fsGroup"]} == {10001}
    assert own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"]
    assert own["capabilities"] == {"drop": ["ALL"]} and pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD["automountServiceAccountToken"] is False
    assert {name for name, mount in MOUNTS.items() if not mount.get("readOnly")} == {"journal", "tmp"}
    assert Path(ENVIRONMENT["STATE_DIRECTORY"]).is_relative_to(MOUNTS["journal"]["mountPath"])


def test_looks_in_kubernetes_do_not_overlap_and_have_time_to_end() -> None:
    assert PARTS["cronjob"]["spec"]["concurrencyPolicy"] == "Forbid" and JOB["backoffLimit"] == 0
    assert POD["terminationGracePeriodSeconds"] >= times.span(Run().grace) + 60
    assert CONTAINER["command"] == ["proxlb-plan"] and CONTAINER["args"][:2] == ["run", "--once"]
    check_flags(CONTAINER["args"])


def test_what_the_page_makes_for_kubernetes_is_what_the_pod_mounts() -> None:
    made = re.findall(r"create (?:secret generic|configmap) (\S+) --from-file=(\S+)", PAGE)
    volumes = {each["name"]: each for each in POD["volumes"]}
    assert made == [("proxlb-plan", "token_secret=token"), ("proxlb-plan-ca", "pve-root-ca.pem")]
    assert volumes["credentials"]["secret"]["secretName"] == made[0][0]
    sources = [each["configMap"]["name"] for each in volumes["settings"]["projected"]["sources"]]
    assert sources == [PARTS["configmap"]["metadata"]["name"], made[1][0]]
    assert volumes["journal"]["persistentVolumeClaim"]["claimName"] == PARTS["volume"]["metadata"]["name"]
    assert volumes.keys() == MOUNTS.keys()


def problems(folder: Path, text: str, environ: dict[str, str], *, replaced: dict[str, str]) -> tuple[str, ...]:
    """What `config validate` would complain of, where files are elsewhere."""
    for where, here in replaced.items():
        text = text.replace(where, here)
    (folder / "config.yaml").write_text(text)
    return examine.examine(str(folder / "config.yaml"), environ=environ, cwd=folder).problems


def test_the_settings_for_kubernetes_make_sense_and_their_secret_is_found_though_its_group_may_read_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "token_secret").write_text("secret")
    (tmp_path / "token_secret").chmod(0o440)
    (tmp_path / "pve-root-ca.pem").touch()
    where = str(Path(ENVIRONMENT["PROXLB_PLAN_CONFIG"]).parent)
    text, environ = PARTS["configmap"]["data"]["config.yaml"], {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert problems(tmp_path, text, environ, replaced={where: str(tmp_path)}) == ()
    assert yaml.safe_load(text)["run"]["mode"] == RunMode.OBSERVE and MOUNTS["settings"]["mountPath"] == where
    assert MOUNTS["credentials"]["mountPath"] == ENVIRONMENT["CREDENTIALS_DIRECTORY"]


# ------------------------------------------------------------------ Ansible

STEPS, HANDLERS, DEFAULTS = (
    yaml.safe_load((ROLE / part / "main.yml").read_text()) for part in ("tasks", "handlers", "defaults")
)
TASKS: list[dict[str, Any]] = [task for each in STEPS for task in (*each.get("block", [each]), *each.get("always", ()))]
PLAY: dict[str, Any] = yaml.safe_load((ROOT / "packaging" / "ansible" / "example.yml").read_text())[0]
GIVEN: dict[str, Any] = PLAY["roles"][0]["vars"]


def task(module: str, dest: str) -> dict[str, Any]:
    """The one that writes a file, or makes a folder."""
    found = [each for each in TASKS if each.get(f"ansible.builtin.{module}", {}).get("dest") == dest]
    assert len(found) == 1
    return dict(found[0])


def test_the_secret_is_for_root_alone_and_shown_nowhere_and_the_rest_is_for_the_service_to_read() -> None:
    token = task("copy", "/etc/proxlb-plan/token")
    assert token["no_log"] is True and token["ansible.builtin.copy"]["mode"] == "0600"
    for name, dest in (("copy", "pve-root-ca.pem"), ("template", "config.yaml")):
        written = task(name, f"/etc/proxlb-plan/{dest}")[f"ansible.builtin.{name}"]
        assert (written["owner"], written["mode"]) == ("root", "0644")
    assert all(each["no_log"] for each in TASKS if "proxlb_plan_token" in str(each))


def test_settings_are_checked_before_they_are_in_place_and_the_cluster_before_anything_is_enabled() -> None:
    names = [next(key for key in each if key.startswith("ansible.")) for each in TASKS]
    written = task("template", "/etc/proxlb-plan/config.yaml")["ansible.builtin.template"]
    check_flags(shlex.split(written["validate"].replace("%s", "FILE"))[1:])
    (doctor,) = (each for each in TASKS if "ansible.builtin.command" in each)
    words = shlex.split(doctor["ansible.builtin.command"]["cmd"])
    assert words[:2] == ["proxlb-plan", "doctor"] and doctor["changed_when"] is False
    check_flags(words[1:])
    assert (
        names.index("ansible.builtin.template") < TASKS.index(doctor) < names.index("ansible.builtin.systemd_service")
    )


def test_a_new_secret_reaches_a_service_that_runs_even_where_the_play_fails_after_it_is_written() -> None:
    doctor = next(number for number, each in enumerate(TASKS) if "doctor" in str(each))
    flush = next(number for number, each in enumerate(TASKS) if each.get("ansible.builtin.meta") == "flush_handlers")
    assert TASKS[flush] in next(each["always"] for each in STEPS if "block" in each)
    notified = [number for number, each in enumerate(TASKS) if "notify" in each]
    assert len(notified) == 3 and max(notified) < flush < doctor
    commands = [each["ansible.builtin.command"]["cmd"].split() for each in HANDLERS]  # which start nothing that is not
    assert [words[:2] for words in commands] == [["systemctl", "try-reload-or-restart"], ["systemctl", "try-restart"]]


def test_the_package_of_the_example_is_where_make_packages_puts_it_wherever_ansible_is_called() -> None:
    path = GIVEN["proxlb_plan_package"]
    assert path.startswith("{{ playbook_dir }}/")
    named = Path(path.replace("{{ playbook_dir }}", str(ROOT / "packaging" / "ansible"))).resolve()
    assert named.parent == ROOT / "dist" and named.suffix == ".deb"


def test_the_settings_of_the_role_and_of_the_example_make_sense(tmp_path: Path) -> None:
    for name in ("token", "pve-root-ca.pem"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o600)
    template = (ROLE / "templates" / "config.yaml.j2").read_text()
    own = dict(re.findall(r"'(\w+_file)': '([^']+)'", template))
    assert {f"api.{key}" for key in own} <= PATHS.keys()
    for config in (DEFAULTS["proxlb_plan_config"] | {"api": GIVEN["proxlb_plan_config"]["api"]},
                   GIVEN["proxlb_plan_config"]):  # fmt: skip
        text = yaml.safe_dump(config | {"api": config["api"] | own})
        assert problems(tmp_path, text, {}, replaced={"/etc/proxlb-plan": str(tmp_path)}) == ()


def test_units_and_handlers_that_tasks_name_exist_and_every_variable_is_in_the_page() -> None:
    shipped = {path.name for path in (ROOT / "planner" / "shipped").iterdir()}
    assert {*re.findall(r"proxlb-plan\.(?:service|timer)", str(TASKS) + str(HANDLERS))} <= shipped
    assert {each["notify"] for each in TASKS if "notify" in each} == {each["name"] for each in HANDLERS}
    assert {*re.findall(r"^\| `(proxlb_plan_\w+)` \|", PAGE, re.M)} == {*DEFAULTS} >= {*GIVEN}


# ------------------------------------------------------------------ reports


def test_who_reports_a_bug_is_asked_for_an_anonymised_snapshot_by_a_command_that_exists() -> None:
    forms = {path.stem: yaml.safe_load(path.read_text()) for path in TEMPLATES.glob("*.yml")}
    for name in ("bug", "feature"):
        assert forms[name]["name"] and forms[name]["description"]
        asked = {each["id"]: each["attributes"] for each in forms[name]["body"] if "id" in each}
        assert "--anonymise" in asked["snapshot"]["description"]
    (asked_too,) = re.findall(r"`(proxlb-plan snapshot [^`]+)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert f"`{asked_too}`" in str(forms["bug"])
    text = str(forms) + (ROOT / "SECURITY.md").read_text() + PAGE
    said = re.findall(r"`proxlb-plan ([a-z-][^`]*)`", text)
    assert "--install-completion" in said  # typer's own, which no command has
    commands = [words for words in said if "PATH" not in words and words != "--install-completion"]
    assert len(commands) > 5
    for words in commands:
        check_flags(shlex.split(words if words[0] != "-" else f"plan {words}"))
