"""Owns what can be played against each other in a back-test: names such as cpsat-robust or crs-5."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner.errors import UsageError
from planner.planning import NAMES
from planner.policy import Lookback, Policy, Profile

NOTHING, RECORDED, CRS, PROXLB = "nothing", "recorded", "crs", "proxlb"
LOOKING_BACK = tuple(name for name in NAMES if name != PROXLB)
DEFAULT = (NOTHING, PROXLB, CRS, "greedy", "cpsat", "cpsat-robust")
GRAMMAR = (
    f"choose from {NOTHING}, {RECORDED}, {PROXLB}, {CRS}, {CRS}-PERCENT (its threshold), {', '.join(LOOKING_BACK)}, "
    f"and the latter with -{', -'.join(Profile)} for the last day"
)


@dataclass(frozen=True, slots=True)
class Contender:
    """Who decides what is migrated."""

    name: str
    solver: str
    """Or nothing, recorded or crs."""
    profile: Profile | None = None
    """Of the window; None: the present counts."""
    threshold: float | None = None
    """Of crs, a part of 1; None: Proxmox VE's own."""

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
    if solver == CRS:
        try:
            threshold = float(rest)
        except ValueError:
            threshold = -1.0
        if 0 < threshold <= 100:
            return Contender(name, CRS, threshold=threshold / 100)
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
