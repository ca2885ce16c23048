"""Owns what can be played against each other in a back-test: names such as cpsat-robust or crs-5."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from planner.crs import Settings
from planner.errors import UsageError
from planner.planning import NAMES
from planner.policy import Lookback, Policy, Profile

PERCENT = re.compile(r"(\d{1,2}(?:\.\d+)?)(?:-(\d{1,2}(?:\.\d+)?))?")
"""Threshold and margin of crs."""
NOTHING, RECORDED, CRS, PROXLB = "nothing", "recorded", "crs", "proxlb"
LOOKING_BACK = tuple(name for name in NAMES if name != PROXLB)
GRAMMAR = (
    f"choose from {NOTHING}, {RECORDED}, {PROXLB}, {CRS}, {CRS}-THRESHOLD[-MARGIN] (percent), "
    f"{', '.join(LOOKING_BACK)}, and the latter with -{', -'.join(Profile)} for the last day"
)


@dataclass(frozen=True, slots=True)
class Contender:
    """Who decides what is migrated."""

    name: str
    solver: str
    """Or nothing, recorded or crs."""
    profile: Profile | None = None
    """Of the window; None: the present counts."""
    crs: Settings = field(default_factory=Settings)
    """How crs is set."""

    @property
    def plans(self) -> bool:
        """Whether it makes plans, as one of the solvers."""
        return self.solver not in (NOTHING, RECORDED, CRS)

    def policy(self, settings: Policy) -> Policy:
        """How it plans; the window is the one of the settings, or a day."""
        if self.profile is None:
            return replace(settings, window=Lookback.NOW, forecast=False)
        window = Lookback.DAY if settings.window is Lookback.NOW else settings.window
        return replace(settings, window=window, profile=self.profile)


def contender(name: str) -> Contender:
    """What a name stands for. UsageError for one that is none."""
    solver, _, rest = name.partition("-")
    if not rest and solver in (NOTHING, RECORDED, CRS, *NAMES):
        return Contender(name, solver)
    if solver == CRS and (told := PERCENT.fullmatch(rest)):
        margin = Settings().margin if told[2] is None else float(told[2]) / 100
        return Contender(name, CRS, crs=Settings(float(told[1]) / 100, margin=margin))
    if solver in LOOKING_BACK and rest in list(Profile):
        return Contender(name, solver, Profile(rest))
    raise UsageError(f"there is no policy {name or 'without a name'}: {GRAMMAR}")


def contenders(names: Sequence[str]) -> list[Contender]:
    """What several names stand for, in order. UsageError for none at all, or one that stands twice."""
    found = [contender(name) for name in names]
    if not found:
        raise UsageError(f"there is no policy to play: {GRAMMAR}")
    for name in names:
        if list(names).count(name) > 1:
            raise UsageError(f"policy {name} stands twice: name each once")
    return found
