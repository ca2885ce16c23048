"""Owns the widget in which a person watches a search: how far it is, its bound, and a button to stop it."""

import threading
from typing import Any

from planner import display
from planner.live import TICK, Live


def of(live: Live) -> Any:
    """The widget of a search, kept up to date until the search has ended; None where ipywidgets is not installed."""
    try:
        import ipywidgets
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] != "ipywidgets":
            raise
        return None
    panel = Panel(live, ipywidgets)
    threading.Thread(target=panel.follow, name="panel", daemon=True).start()
    return panel.box


class Panel:
    """The parts of the widget. Only one thread, that of `follow`, changes them."""

    def __init__(self, live: Live, widgets: Any) -> None:
        self._live = live
        self.text = widgets.HTML(display.live(live))
        self.bar = widgets.FloatProgress(value=0.0, min=0.0, max=live.limit)
        self.button = widgets.Button(description="Stop", icon="stop", tooltip="take the best plan that is there")
        self.button.on_click(lambda _: live.stop())
        self.box = widgets.VBox([widgets.HBox([self.bar, self.button]), self.text])

    def follow(self) -> None:
        """Show how the search gets on until it has ended."""
        while not self._live.wait(TICK):
            self.update()
        self.update()

    def update(self) -> None:
        """Show how the search stands."""
        live = self._live
        self.bar.value = live.limit if live.done else min(live.seconds, live.limit)
        self.button.disabled = live.done or live.stopped
        self.text.value = display.live(live)
