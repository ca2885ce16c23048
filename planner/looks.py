"""Owns the looks in the journal: what scheduled looks saw and did, and the plans of the last of them."""

import contextlib
import json
import sqlite3
from typing import Final

from planner import plan as plans
from planner.database import LOOKED, Database
from planner.errors import InputError, JournalError
from planner.look import Look, Outcome, parse
from planner.plan import Plan

PLANS: Final = 12
"""Looks of a cluster whose plans are kept."""
BLIND: Final = (Outcome.ERROR, Outcome.STANDBY)
"""Looks that did not see the cluster..."""
SEEN: Final = tuple(outcome for outcome in Outcome if outcome not in BLIND)
"""...and those that did."""
GOOD: Final = tuple(outcome for outcome in Outcome if outcome is not Outcome.ERROR)
"""Looks that came to what they were meant to, as a standby's do."""
WELL: Final = (Outcome.DONE, Outcome.CUT, Outcome.BALANCED)
"""Looks after which a run that failed before matters no more."""
LAST: Final = 2**62
"""A number larger than that of any look."""
FRESH: Final = (Outcome.DONE, Outcome.CUT, Outcome.PARTLY)
"""Looks after which the cluster is another one."""


class Looks:
    """The looks of a journal. Times are unix seconds."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, look: Look, plan: Plan | None = None) -> int:
        """Record a look; its number."""
        document = plan.to_json() if plan is not None and plan.migrations else None
        with self._db.writing():
            number = self._db.execute(
                "INSERT INTO look (cluster, at, outcome, above, document, plan) VALUES (?, ?, ?, ?, ?, ?)",
                (look.cluster, look.at, look.outcome, look.above, look.to_json(), document),
            ).lastrowid
            self._db.execute(
                "UPDATE look SET plan = NULL WHERE cluster = ?1 AND plan IS NOT NULL AND id NOT IN"
                " (SELECT id FROM look WHERE cluster = ?1 ORDER BY id DESC LIMIT ?2)",
                (look.cluster, PLANS),
            )
        assert number is not None
        return number

    def last(self, cluster: str | None = None, limit: int = 20) -> tuple[Look, ...]:
        """The last looks, the newest first, without those that cannot be read."""
        query = "SELECT id, document FROM look WHERE ?1 IS NULL OR cluster = ?1 ORDER BY id DESC LIMIT ?2"
        return tuple(look for look in map(_readable, self._select(query, cluster, limit)) if look is not None)

    def after(self, number: int | None) -> tuple[Look, ...]:
        """Looks that came after one, in their order; None: the newest alone."""
        if number is None:
            return self.last(limit=1)
        query = "SELECT id, document FROM look WHERE id > ? ORDER BY id"
        return tuple(look for look in map(_readable, self._select(query, number)) if look is not None)

    def look(self, number: int) -> Look:
        """One look. JournalError when there is none."""
        return parse(self._column(number, "document"), number)

    def plan(self, number: int) -> Plan | None:
        """Its plan; None when it had none, or is too old. JournalError when there is no such look."""
        if (written := self._column(number, "plan")) is None:
            return None
        try:
            return plans.parse(json.loads(written), f"the plan of look {number}")
        except (InputError, ValueError) as error:
            raise JournalError(f"the plan of look {number} cannot be read: {error}") from None

    def above(self, cluster: str, at: float, gap: float, since: float) -> int:
        """How many of the newest looks, one after the other and none later than `gap` seconds after the one before,
        found the cluster out of balance as it still is at a time; looks up to `since` do not count."""
        many, later = 0, at
        query = "SELECT outcome, above, at FROM look WHERE cluster = ? AND at > ? ORDER BY id DESC"
        for outcome, above, began in self._select(query, cluster, since):
            if outcome in BLIND:
                continue
            if outcome in FRESH or not above or later - began > gap:
                break
            many, later = many + 1, began
        return many

    def newest(self, cluster: str, *outcomes: Outcome, after: int = 0, before: int | None = None) -> Look | None:
        """The newest look that came to one of these, of those with larger and smaller numbers."""
        marks = ", ".join("?" * len(outcomes))
        query = (
            f"SELECT id, document FROM look WHERE cluster = ? AND outcome IN ({marks})"
            " AND id > ? AND id < ? ORDER BY id DESC LIMIT 1"
        )
        rows = self._select(query, cluster, *outcomes, after, before or LAST)
        return next((parse(document, number) for number, document in rows), None)

    def newest_at(self, cluster: str, *outcomes: Outcome) -> float | None:
        """When that began."""
        found = self.newest(cluster, *outcomes)
        return None if found is None else found.at

    def status(self, cluster: str, *statuses: str, before: int | None = None) -> str:
        """The newest of these that is known of a plan; empty where none is."""
        marks = ", ".join("?" * len(statuses))
        query = (
            "SELECT json_extract(document, '$.status') AS status FROM look WHERE cluster = ? AND id < ?"
            f" AND json_valid(document) AND status IN ({marks}) ORDER BY id DESC LIMIT 1"
        )
        return next((str(status) for (status,) in self._select(query, cluster, before or LAST, *statuses)), "")

    def errors(self, *clusters: str, before: int | None = None) -> tuple[int, ...]:
        """Numbers of the looks at some clusters that came to errors since one came to something, the newest last."""
        marks, error, last = ", ".join("?" * len(clusters)), Outcome.ERROR, before or LAST
        of = f"cluster IN ({marks}) AND id < ?"
        since = f"SELECT COALESCE(MAX(id), 0) FROM look WHERE {of} AND outcome <> ?"
        query = f"SELECT id FROM look WHERE {of} AND outcome = ? AND id > ({since}) ORDER BY id"
        return tuple(number for (number,) in self._select(query, *[*clusters, last, error] * 2))

    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters that were looked at."""
        return tuple(name for (name,) in self._select("SELECT DISTINCT cluster FROM look ORDER BY cluster"))

    def prune(self, before: float) -> None:
        """Forget looks that began before then."""
        with self._db.writing():
            self._db.execute("DELETE FROM look WHERE at < ?", (before,))

    def _select(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Rows of looks; a journal that an older version wrote, and that is only read, has none."""
        with self._db.at_once():
            return self._db.execute(query, values).fetchall() if self._db.version >= LOOKED else []

    def _column(self, number: int, name: str) -> str | None:
        for (text,) in self._select(f"SELECT {name} FROM look WHERE id = ?", number):
            return text if text is None else str(text)
        raise JournalError(f"there is no look {number} in the journal {self._db.name}: looks lists them")


def _readable(row: sqlite3.Row) -> Look | None:
    with contextlib.suppress(JournalError):
        return parse(row["document"], row["id"])
    return None
