"""What takes longest begins first, so that no worker is left with it in the end."""

import pytest

LONG = ("test_readme", "test_notebooks", "test_crash", "test_week", "test_service_run", "test_pages", "test_runs")
"""Modules with tests that take long, or wait long; the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorting is stable: the rest stays in its order."""
    rank = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))
