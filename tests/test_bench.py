"""The benchmark measures what it says."""

from planner.policy import Policy
from tests.bench.measure import measure


def test_a_run_reports_its_instance_limit_seed_and_proof() -> None:
    row = measure("small", "descent", Policy(max_migrations=5, balanciness=0, seed=3))
    assert (row.instance, row.limit, row.seed, row.solver) == ("small", "5", 3, "descent")
    assert row.bound is not None and row.gap is not None
    assert row.bound <= row.spread < row.before
    assert abs(row.gap - (row.spread - row.bound)) < 1e-3
    assert row.migrations <= 5 and row.peak_mib > 10


def test_a_generated_cluster_is_known_by_size_and_seed() -> None:
    policy = Policy(max_migrations=3, balanciness=0)
    one, same, other = (measure(name, "descent", policy) for name in ("S@3", "S@3", "S@4"))
    assert (one.nodes, one.guests) == (5, 60)
    assert (one.before, one.spread) == (same.before, same.spread)
    assert one.before != other.before
    assert one.before > 50
