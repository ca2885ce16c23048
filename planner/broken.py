"""Owns how many rules are broken in each step of a recording, as they were then."""

from collections.abc import Mapping
from typing import Any

from planner import measure, rules
from planner.measure import AWAY, Places
from planner.policy import Cluster as ClusterPolicy
from planner.recording import Recording
from planner.snapshot import RESOURCES


class Broken:
    """How many rules are broken in a step of the play; they are read anew when the API says something else of them."""

    def __init__(self, recording: Recording, settings: ClusterPolicy) -> None:
        self._recording, self._settings = recording, settings
        self._read: tuple[list[Any], rules.Rules] | None = None

    def __call__(self, step: int, homes: Places) -> int:
        recording = self._recording
        answer = recording.answer(recording.first + step)
        said = [each for path, each in answer.items() if path != RESOURCES]
        said.append([_of_rules(row) for row in answer[RESOURCES]])
        if self._read is None or self._read[0] != said:
            self._read = said, rules.read(recording.during(recording.first + step, homes), self._settings)
        items = self._read[1].items
        if not items:
            return 0
        at = {v: recording.nodes[homes[g]] for g, v in enumerate(recording.vmids) if homes[g] != AWAY}
        return measure.broken_rules(items, self._read[1].domains, at)


def _of_rules(row: Mapping[str, Any]) -> list[Any]:
    """What of a row rules depend on."""
    return [
        row.get(name) for name in ("vmid", "node" if row.get("type") == "node" else "name", "tags", "pool", "status")
    ]
