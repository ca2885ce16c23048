"""Owns what a plan offers in a notebook: frames, a display, plots."""

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from planner.plan import Plan


class InNotebook:
    """What `Plan` inherits; nothing of it is imported until it is asked for."""

    __slots__ = ()

    @property
    def frame(self) -> "pd.DataFrame":
        """The migrations, one row each: columns as in `planner.tables.MIGRATIONS`."""
        from planner import tables

        return tables.migrations(_plan(self))

    @property
    def loads(self) -> "pd.DataFrame":
        """Loads before and after, one row per node and resource: columns as in `planner.tables.LOADS`."""
        from planner import tables

        return tables.loads(_plan(self))

    @property
    def checkpoints(self) -> "pd.DataFrame":
        """What is reached after each wave, one row each: columns as in `planner.tables.CHECKPOINTS`."""
        from planner import tables

        return tables.checkpoints(_plan(self))

    def show(self) -> None:
        """Show the plan: as a table in a notebook, as text elsewhere."""
        from planner import display

        display.show(_plan(self))

    def plot(self, kind: str = "loads") -> "Figure":
        """The plan as a plot: loads (before and after), sankey (from where to where), timeline (what runs when)."""
        from planner import plots

        return plots.of_plan(_plan(self), kind)

    def _repr_html_(self) -> str:
        from planner import display

        return display.plan(_plan(self))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        from planner import report

        printer.text(report.verdict(_plan(self)))


def _plan(item: InNotebook) -> "Plan":
    return cast("Plan", item)
