"""Claims about searches that are watched: what is seen, how they end, what becomes of errors."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

import planner as pp
from planner import panel
from planner.cluster import Cluster
from planner.errors import ConfigError, UsageError
from planner.live import Live
from planner.panel import Panel
from planner.plan import Plan, PlanStatus
from solvers import Budget, Progress

ENOUGH = 60.0
"""Seconds in which everything here has ended by far."""


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return pp.demo("medium")


@pytest.fixture(scope="module")
def plan(cluster: Cluster) -> Plan:
    return cluster.plan("descent", max_migrations=4)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + ENOUGH
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def held(plan: Plan) -> tuple[Live, threading.Event]:
    """A search that has found something, and goes on until it is told to stop or the event is set."""
    go_on = threading.Event()

    def make(budget: Budget) -> Plan:
        assert budget.progress is not None and budget.stop is not None
        budget.progress(Progress(0.1, 420_000, 10_000))
        while not budget.stop() and not go_on.wait(0.01):
            pass
        return plan

    live = Live("cpsat", Budget(seconds=20), make)
    until(lambda: len(live.history) == 1)
    return live, go_on


def test_a_search_that_is_stopped_gives_what_it_has_found(cluster: Cluster) -> None:
    live = cluster.plan_live("cpsat", max_migrations=12, time_limit=300)
    until(lambda: len(live.history) > 0)
    assert not live.done
    live.stop()
    plan = live.result(timeout=ENOUGH)
    assert live.done and plan.spread.after < plan.spread.before
    assert plan.status is PlanStatus.FEASIBLE and len(plan.migrations) <= 12


def test_what_is_seen_of_a_search_gets_better_and_ends_with_the_plan() -> None:
    live = pp.demo().plan_live("cpsat", max_migrations=4, time_limit=5)
    plan, history = live.result(timeout=ENOUGH), live.history
    assert history["seconds"].is_monotonic_increasing
    assert all(one >= other for one, other in pairwise(history["spread"]))
    assert all(one <= other + 1e-9 for one, other in pairwise(history["bound"]))
    assert history["spread"].iloc[-1] == plan.spread.after
    assert history["bound"].iloc[-1] == plan.spread.bound


def test_the_plan_is_that_of_the_same_question_asked_at_once(cluster: Cluster) -> None:
    asked = cluster.plan_live("greedy", max_migrations=5)
    assert asked.result().frame.equals(cluster.plan("greedy", max_migrations=5).frame)


def test_settings_that_make_no_sense_are_refused_at_once(cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match="max_migration"):
        cluster.plan_live(max_migration=3)


def test_errors_of_the_search_are_raised_where_its_result_is_asked_for(cluster: Cluster) -> None:
    live = cluster.plan_live("oracle")
    for _ in range(2):
        with pytest.raises(UsageError, match="no solver oracle: choose from"):
            live.result(timeout=ENOUGH)
    assert "no solver oracle" in repr(live) and live.done


def test_waiting_has_an_end_and_an_interrupt_stops_the_search(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    live, _ = held(plan)
    with pytest.raises(TimeoutError, match=r"wait longer, or stop\(\)"):
        live.result(timeout=0.2)

    def interrupted(seconds: float) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(live, "wait", interrupted)
        live.result()
    assert live.stopped
    assert live.result(timeout=ENOUGH) is plan


def test_a_line_and_a_chart_say_how_it_stands(plan: Plan) -> None:
    live, _ = held(plan)
    assert repr(live) == "<cpsat: 0 s, at most 20 s, spread 42.00, bound 1.00>"
    html = live._repr_mimebundle_()["text/html"]
    assert "spread 42.00, bound 1.00" in html and "<svg" in html and "<script" not in html
    live.stop()
    live.result(timeout=ENOUGH)
    assert f"done, spread {plan.spread.after:.2f}" in repr(live)


def test_the_button_stops_the_search_and_the_bar_follows_it(plan: Plan) -> None:
    import ipywidgets

    live, _ = held(plan)
    shown = Panel(live, ipywidgets)
    shown.update()
    assert not shown.button.disabled and shown.bar.value < shown.bar.max == 20
    assert "spread 42.00" in shown.text.value
    shown.button.click()
    assert live.result(timeout=ENOUGH) is plan
    shown.update()
    assert shown.button.disabled and shown.bar.value == shown.bar.max
    assert f"done, spread {plan.spread.after:.2f}" in shown.text.value


def test_a_notebook_gets_the_widget_and_text_for_where_there_are_no_widgets(plan: Plan) -> None:
    live, _ = held(plan)
    bundle = live._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= set(bundle)
    _, text = live.panel().children
    live.stop()
    until(lambda: "done" in text.value)  # without anybody asking


def test_without_ipywidgets_there_is_no_widget(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    live, go_on = held(plan)
    assert panel.of(live) is None
    assert set(live._repr_mimebundle_()) == {"text/html", "text/plain"}
    go_on.set()
    assert live.result(timeout=ENOUGH) is plan


def test_a_program_may_end_while_a_search_goes_on(tmp_path: Path) -> None:
    program = """
import time, planner as pp
live = pp.demo("medium").plan_live("cpsat", max_migrations=12, time_limit=300)
while not len(live.history):
    time.sleep(0.05)
print(live.done)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=ENOUGH, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
