"""What a back-test measures is what a person would compute by hand."""

import ast
import math
import random
from pathlib import Path

import numpy as np
import pytest

from planner import measure as module
from planner.measure import AWAY, Change, Course, Scene, Trip, broken_rules, load_table, measure, ping_pongs, quantile
from planner.rule import Rule, apart, pin, together

DAY = 24 * 3600.0


def scene(demand: list[list[float]], own: list[list[float]], ability: list[float], step: int = 600) -> Scene:
    has = np.repeat(np.array(ability, dtype=float)[:, None], len(own[0]), axis=1)
    return Scene(step, np.array(demand, dtype=float), np.array(own, dtype=float), has)


def course(start: list[int], *trips: Trip) -> Course:
    changes = tuple(Change(trip.end, trip.guest, trip.target) for trip in trips)
    return Course(np.array(start), changes, trips)


def test_what_measures_knows_nobody_who_plans() -> None:
    tree = ast.parse(Path(module.__file__).read_text())
    named = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    named |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert named == {"collections.abc", "dataclasses", "typing", "numpy", "numpy.typing", "planner.rule"}


def test_figures_are_those_of_a_person_with_a_pencil() -> None:
    # Two nodes of 1000. Guest 0 demands 800 and 400, guest 1 150 and 400. At 150 s guest 1 arrives on node 1.
    cpu = scene([[800, 400], [150, 400]], [[0, 0], [0, 0]], [1000, 1000])
    memory = scene([[1024, 1024], [2048, 3072]], [[0, 0], [0, 0]], [2048, 2048])
    found = measure(course([0, 0], Trip(1, 0, 1, 100.0, 150.0)), [cpu], memory)
    # 950 of 1000 for 150 s, then 800 and 150 for 450 s, then 400 and 400 for 600 s.
    assert found.overload_minutes == pytest.approx(2.5)
    assert found.spread_mean == pytest.approx((95 * 150 + 65 * 450 + 0 * 600) / 1200)
    assert found.spread_p95 == pytest.approx(95)
    # 3072 of 2048 MiB on node 0 for 150 s; 2048 of 2048 are no more than there is; 3072 on node 1 for 600 s.
    assert found.memory_minutes == pytest.approx(2.5 + 10)
    days = 1200 / DAY
    assert (found.migrations, found.gib) == (pytest.approx(1 / days), pytest.approx(2 / days))
    assert found.ping_pongs == 0


def test_a_load_of_exactly_90_percent_is_no_overload() -> None:
    at = scene([[900]], [[0], [0]], [1000, 1000])
    above = scene([[901]], [[0], [0]], [1000, 1000])
    assert measure(course([0]), [at], at).overload_minutes == 0
    assert measure(course([0]), [above], at).overload_minutes == 10


def test_a_node_is_overloaded_once_however_many_resources_are_and_the_worst_spread_counts() -> None:
    one, other = scene([[950]], [[0], [0]], [1000, 1000]), scene([[990]], [[0], [0]], [1000, 1000])
    found = measure(course([0]), [one, other], one)
    assert (found.overload_minutes, found.spread_mean) == (10, pytest.approx(99))


def test_nodes_that_are_not_there_have_no_load_and_guests_that_are_not_there_demand_nothing() -> None:
    cpu = scene([[500], [math.nan]], [[0], [100], [math.nan]], [1000, 1000, 1000])
    found = measure(course([0, AWAY]), [cpu], cpu)
    assert found.spread_mean == pytest.approx(40)
    assert load_table(course([0, AWAY]), cpu)[:2, 0].tolist() == pytest.approx([50, 10])


def test_a_node_that_grows_has_the_load_of_what_it_was_until_then() -> None:
    cpu = Scene(600, np.array([[800.0, 800.0]]), np.zeros((2, 2)), np.array([[800.0, 1600.0], [800.0, 800.0]]))
    assert load_table(course([0]), cpu).tolist() == [[100, 50], [0, 0]]
    found = measure(course([0]), [cpu], cpu)
    assert (found.overload_minutes, found.spread_mean) == (10, pytest.approx(75))


def test_a_moment_without_any_node_has_no_spread_and_a_course_of_such_moments_none_either() -> None:
    gone = math.nan
    cpu = scene([[500, 500, 900]], [[0, gone, 0], [0, gone, 0]], [1000, 1000])
    found = measure(course([0]), [cpu], cpu)
    assert (found.spread_mean, found.spread_p95, found.overload_minutes) == (pytest.approx(70), pytest.approx(90), 0)
    dark = scene([[500]], [[gone], [gone]], [1000, 1000])
    found = measure(course([0]), [dark], dark)
    assert math.isnan(found.spread_mean) and math.isnan(found.spread_p95)


def test_load_is_on_the_source_until_a_migration_has_ended() -> None:
    cpu = scene([[600, 600]], [[0, 0], [0, 0]], [1000, 1000])
    table = load_table(course([0], Trip(0, 0, 1, 0.0, 900.0)), cpu)
    assert table.T.ravel().tolist() == pytest.approx([60, 0, 30, 30])


def test_a_guest_that_is_back_within_a_day_has_ping_ponged() -> None:
    there, back = Trip(7, 0, 1, 0, 60), Trip(7, 1, 0, 3600, 3660)
    assert ping_pongs([there, back]) == 1
    assert ping_pongs([there, back._replace(guest=8)]) == 0
    assert ping_pongs([there, back._replace(target=2)]) == 0
    assert ping_pongs([there, Trip(7, 1, 0, DAY, DAY + 60)]) == 0
    assert ping_pongs([there, back, there._replace(begin=7200, end=7260)]) == 2


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        (pin("p", [1, 2, 3], ["a"]), 2),
        (together("t", [1, 2]), 1),
        (together("t", [1, 9]), 0),
        (apart("x", [2, 3]), 1),
        (apart("x", [1, 2]), 0),
        (apart("x", [1, 2], per="rack"), 1),
        (apart("x", [1, 2, 3], most=2, per="rack"), 1),
        (apart("x", [2, 3], most=2), 0),
        (apart("x", [2, 3], price=1.0), 0),
    ],
)
def test_broken_rules_are_counted(rule: Rule, broken: int) -> None:
    homes, racks = {1: "a", 2: "b", 3: "b"}, {"rack": {"a": "r", "b": "r"}}
    assert broken_rules([rule], racks, homes) == broken


def test_a_quantile_is_not_exceeded_for_that_part_of_the_time() -> None:
    rng = random.Random(3)
    for _ in range(50):
        values = [rng.randint(0, 9) for _ in range(20)]
        weights = [rng.randint(1, 5) for _ in range(20)]
        spread_out = sorted(value for value, weight in zip(values, weights, strict=True) for _ in range(weight))
        assert quantile(values, weights, 0.95) == spread_out[math.ceil(0.95 * len(spread_out)) - 1]
