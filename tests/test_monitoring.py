"""The dashboard and the alerts that come with the package speak of metrics, labels and values that there really are."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from planner.choices import RunMode
from planner.look import Outcome
from planner.metrics import Exporter
from planner.service import Metrics
from tests.lookmaking import a_full_look
from tests.promql import spoken

ROOT = Path(__file__).parents[1]
SHIPPED = files("planner") / "shipped"
ALERTS = yaml.safe_load((SHIPPED / "alerts.yaml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((SHIPPED / "grafana.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
RULES = ALERTS["groups"][0]["rules"]
TARGET = {"instance", "job"}
"""Labels that Prometheus adds to whatever it collects."""
PROMTOOL = shutil.which("promtool")
VARIABLE = re.compile(r"\$\{?(\w+)\}?")


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, set[str]]]:
    """Name of each metric that is really exposed, to its labels, to the values of these."""
    path = tmp_path_factory.mktemp("exposed") / "x.prom"
    out = Exporter(Metrics(textfile=str(path)), None, 600.0)
    out.look(a_full_look(outcome=Outcome.PROPOSED, run=1, mode=RunMode.APPROVE))
    out.write()
    result: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            labels = result.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return result


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def asked() -> Iterator[tuple[str, str]]:
    """Where each expression stands, and the expression."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["definition"] == variable["query"]["query"]
            yield variable["name"], variable["definition"]
    for note in DASHBOARD["annotations"]["list"]:
        if "expr" in note:
            yield note["name"], note["expr"]


EXPRESSIONS = list(asked())


@pytest.mark.parametrize(("where", "text"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_every_metric_label_and_value_of_an_expression_exists(
    where: str, text: str, exposed: dict[str, dict[str, set[str]]]
) -> None:
    found = spoken(VARIABLE.sub(lambda match: match[0].strip("${}"), text))
    assert found.metrics, text
    labels: dict[str, set[str]] = {}
    for name, wanted in found.metrics.items():
        assert name in exposed, f"{where}: there is no metric {name}"
        assert wanted <= {*exposed[name]}, f"{where}: {name} has no label {wanted - {*exposed[name]}}"
        for label, values in exposed[name].items():
            labels.setdefault(label, set()).update(values)
    assert found.grouped <= {*labels} | TARGET, f"{where}: no metric has the label {found.grouped - {*labels}}"
    for label, values in found.values.items():
        given = {value for value in values if value not in ("cluster", "resource")}  # variables of the dashboard
        assert given <= labels[label], f"{where}: {label} is never {given - labels[label]}"


@pytest.mark.parametrize(
    "wrong",
    ["foo(proxlb_plan_nodes)", "proxlb_plan_nodes{", "max(proxlb_plan_nodes))", "proxlb_plan_nodes{a='b'}", "a ? b"],
)
def test_what_is_no_expression_is_found_by_these_tests(wrong: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        spoken(wrong)


def test_expressions_are_read_as_they_are_meant() -> None:
    found = spoken('max by (id) (a{x="1",y=~"2|3"}) - b unless on (z) last_over_time(c[1d] offset 6h) > 3')
    assert found.metrics == {"a": {"x", "y"}, "b": set(), "c": set()}
    assert (found.values, found.grouped) == ({"x": {"1"}, "y": {"2", "3"}}, {"id", "z"})


def test_alerts_say_what_happened_to_what_and_what_to_do(exposed: dict[str, dict[str, set[str]]]) -> None:
    for rule in RULES:
        assert re.fullmatch(r"ProxlbPlan[A-Z]\w+", rule["alert"])
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        said = rule["annotations"]
        assert "{{ $labels.cluster }}" in said["summary"] and "`" in said["description"]
        used = {*re.findall(r"\$labels\.(\w+)", " ".join(said.values()))}
        of = [set(exposed[name]) for name in spoken(rule["expr"]).metrics]
        assert used <= set.union(*of) | TARGET
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_commands_that_alerts_advise_exist() -> None:
    from planner.cli import app

    names = {command.name or (command.callback and command.callback.__name__) for command in app.registered_commands}
    said = " ".join(rule["annotations"]["description"] for rule in RULES)
    advised = set(re.findall(r"`proxlb-plan ([a-z]+)", said))
    assert advised and advised <= names


def test_the_dashboard_asks_the_chosen_source_about_the_chosen_cluster() -> None:
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels():
        assert panel["datasource"] == source and panel["description"] and panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"] == source
            assert 'cluster="$cluster"' in target["expr"], panel["title"]
    own = {word for _, text in EXPRESSIONS for word in VARIABLE.findall(text)}
    assert own <= {*variables} | {"__rate_interval", "__range"}
    assert DASHBOARD["id"] is None and DASHBOARD["schemaVersion"] >= 41


def test_every_panel_has_a_place_of_its_own() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] >= 0 and at["x"] + at["w"] <= 24
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in panels():
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)


def test_colours_are_given_to_series_that_there_are(exposed: dict[str, dict[str, set[str]]]) -> None:
    for panel in panels():
        for override in panel["fieldConfig"]["overrides"]:
            name = override["matcher"]["options"]
            legends = [target["legendFormat"] for target in panel["targets"]]
            by = [label for legend in legends for label in re.findall(r"{{(\w+)}}", legend)]
            values = {value for labels in exposed.values() for label in by for value in labels.get(label, ())}
            assert name in {*legends} | values, f"{panel['title']}: nothing is called {name}"


def test_every_metric_is_described_on_its_page_and_no_other(exposed: dict[str, dict[str, set[str]]]) -> None:
    described = dict(re.findall(r"^\| `(proxlb_plan_\w+)(?:\{(.*?)\})?` \|", PAGE, re.M))
    assert {*described} == {*exposed}
    for name, labels in described.items():
        more = {*filter(None, labels.split(","))}
        assert {*exposed[name]} - {"cluster", "id"} == more, name


def test_every_alert_is_on_its_page() -> None:
    assert {*re.findall(r"^\| `(ProxlbPlan\w+)` \|", PAGE, re.M)} == {rule["alert"] for rule in RULES}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool comes with Prometheus")
@pytest.mark.parametrize(
    "words", [("check", "rules", "planner/shipped/alerts.yaml"), ("test", "rules", "tests/data/alerts.yaml")]
)
def test_promtool_agrees(words: tuple[str, ...]) -> None:
    done = subprocess.run([str(PROMTOOL), *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool comes with Prometheus")
def test_promtool_has_nothing_against_the_names_of_metrics(tmp_path: Path) -> None:
    path = tmp_path / "x.prom"
    out = Exporter(Metrics(textfile=str(path)), None, 600.0)
    out.look(a_full_look())
    out.write()
    done = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=path.read_text(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
