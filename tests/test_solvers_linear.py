"""Claims about linear programs: what is whole, what is proven, and what is only not found."""

import numpy as np
import pytest

from solvers.linear import INFINITE, Program


def test_whole_numbers_cost_more_than_fractions_and_slack_may_be_a_fraction() -> None:
    program = Program()
    program.add_row(program.add_columns(1, 3.0, 1.0), 2.0, 3.0)
    relaxed, whole = program.relaxed(), program.whole(5.0)
    assert relaxed.values is not None and relaxed.values.tolist() == pytest.approx([1.5])
    assert whole.values is not None and whole.values.tolist() == pytest.approx([2.0])
    assert (relaxed.bound, whole.bound, whole.proven) == (pytest.approx(1.5), pytest.approx(2.0), True)
    bought = Program()
    bought.add_row(bought.add_columns(1, 3.0, 1.0, slack=True), 2.0, 3.0)
    values = bought.whole(5.0).values
    assert values is not None and values.tolist() == pytest.approx([1.5])


def test_what_is_not_found_in_time_is_not_called_impossible() -> None:
    rng, program = np.random.default_rng(1), Program()
    columns = program.add_columns(50, 1.0, 1.0)
    for _ in range(6):  # exactly half of each sum: nobody finds that quickly, nor that there is no such thing
        weights = rng.integers(1, 100, 50)
        half = int(weights.sum()) // 2
        program.add_row(columns, weights, half)
        program.add_row(columns, -weights, -half)
    answer = program.whole(0.05)
    assert (answer.values, answer.bound, answer.proven) == (None, 0.0, False)
    program.add_row(columns, 1.0, 51.0)
    impossible = program.whole(5.0)
    assert (impossible.values, impossible.bound, impossible.proven) == (None, INFINITE, True)


def test_too_few_numbers_are_refused_where_they_are_given() -> None:
    program = Program()
    columns = program.add_columns(3, 1.0, np.ones(3))
    for wrong in (lambda: program.add_columns(2, np.ones(1), 1.0), lambda: program.add_row(columns, [1.0, 2.0], 1.0)):
        with pytest.raises(ValueError, match="numbers are needed"):
            wrong()
