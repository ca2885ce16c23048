"""Owns the picture of a cluster that everything is planned from: frames, and what is not known about it."""

from dataclasses import dataclass

import pandas as pd

from planner.snapshot import Snapshot


@dataclass(frozen=True, eq=False)
class Cluster:
    """A cluster at one moment. Frames are documented in `planner.frames`; treat them as read-only."""

    nodes: pd.DataFrame
    guests: pd.DataFrame
    snapshot: Snapshot
    notes: tuple[str, ...] = ()
    """What a person should know: what could not be read, what was left out."""
    partial: tuple[str, ...] = ()
    """Why the picture may be incomplete: privileges that the token lacks."""

    @property
    def rules(self) -> pd.DataFrame:
        """Rules that the tags of guests express, one row per rule and guest."""
        from planner.rules import read

        return read(self).frame

    def __repr__(self) -> str:
        return f"<Cluster: {len(self.nodes)} nodes, {len(self.guests)} guests, {self.snapshot.taken_at}>"
