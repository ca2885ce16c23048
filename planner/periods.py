"""Owns which figures of which time are balanced: metrics of resources in periods, of the present or a history.

A window is one figure of each guest (its mean, its 95th percentile or its peak), or robust: one for each of its
periods, all of which are balanced at once, so that a guest that peaks at night may sit with one that peaks at noon.
A forecast is a day of more periods: each hour as the same hour was on the days before.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from planner.errors import ConfigError, InputError
from planner.history import DAY, History, Series
from planner.policy import RATES, GuestMemory, Lookback, Mode, Policy, Profile, Resource
from solvers.problem import Ints

HOUR = 3600
WINDOWS = {Lookback.HOUR: (HOUR, 12), Lookback.DAY: (DAY, 24), Lookback.WEEK: (7 * DAY, 42)}
"""Seconds of each window, and its periods: five minutes, an hour, four hours."""
NEARLY = 0.9
"""Part of a window that a history has to cover."""
FADING = 0.5
"""What a day counts in a forecast, of what the day after it counts; a week ago counts as much as yesterday."""
SHOWN = 4
"""Guests that are named before the rest is counted."""
FORETOLD = 24
"""Periods of a forecast."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A resource in a period."""

    resource: Resource
    period: str = ""
    """Which one, for people: 14:00-15:00; empty where there is just one."""


def is_past(policy: Policy, resource: Resource) -> bool:
    """Whether the history is what counts for a resource; configured figures have none."""
    return (
        policy.mode is Mode.USED
        and resource is not Resource.DISK
        and (resource in RATES or policy.window is not Lookback.NOW or policy.forecast)
    )


def demands(
    history: History | None, guests: pd.DataFrame, present: Ints, resource: Resource, policy: Policy
) -> tuple[tuple[Metric, ...], Ints, tuple[str, ...]]:
    """The metrics of a resource, what each guest, rows of a frame, demands in each: (k, g), and what is not known.

    `present`: (g,) what it uses now, which stands for periods of which no figure is known. InputError without the
    history that is asked for, ConfigError for configured figures of what has none.
    """
    if not is_past(policy, resource):
        if resource in RATES:
            raise ConfigError(f"policy.resource {resource} has no configured figure: choose mode used")
        return (Metric(resource),), present[None, :], ()
    if history is None:
        raise InputError(
            f"there is no history to balance {resource} by: read the cluster itself, or a snapshot taken with the "
            "same --window, --forecast and --resource"
        )
    series = history.of(resource, map(int, guests["vmid"]))
    labels, figures = _figures(history, series, resource, policy)
    filled = np.where(np.isnan(figures), present[None, :], figures)
    names = tuple(Metric(resource, label) for label in labels)
    return names, np.rint(filled).astype(np.int64), _unknown(guests, figures, resource)


def _unknown(guests: pd.DataFrame, figures: Series, resource: Resource) -> tuple[str, ...]:
    """A sentence on the guests of which figures are missing."""
    missing = np.isnan(figures).any(axis=0) & (guests["status"] != "stopped").to_numpy(dtype=bool)
    vmids = [str(vmid) for vmid in guests["vmid"][missing]]
    if not vmids:
        return ()
    more = f" and {len(vmids) - SHOWN} more" if len(vmids) > SHOWN else ""
    who = f"guest{'s' if len(vmids) > 1 else ''} {', '.join(vmids[:SHOWN])}{more}"
    instead = "count as nothing" if resource in RATES else "count as now"
    return (f"the history of {resource} does not know {who} at all times: there they {instead}",)


def remarks(policy: Policy) -> tuple[str, ...]:
    """What a person should know about settings without effect."""
    looked_back = policy.window is not Lookback.NOW or policy.forecast
    if looked_back and policy.mode is Mode.ASSIGNED:
        return ("window, profile and forecast have no effect: configured figures have no history",)
    if looked_back and Resource.DISK in policy.resource:
        return ("of local disks only the present counts: Proxmox VE records no history of them",)
    if looked_back and policy.guest_memory is GuestMemory.GUEST and Resource.MEMORY in policy.resource:
        return ("the history of memory is what guests cost their nodes: guest_memory guest counts for room alone",)
    return ()


def without_history(policy: Policy) -> Policy:
    """The policy for looks that are about rules and room alone, and need no history."""
    resources = tuple(resource for resource in policy.resource if resource not in RATES) or (Resource.MEMORY,)
    return replace(policy, window=Lookback.NOW, forecast=False, resource=resources, pressure={}, weights={})


def _figures(history: History, series: Series, resource: Resource, policy: Policy) -> tuple[list[str], Series]:
    """Labels, and (k, g) what each guest used; NaN where that is not known."""
    window = policy.window if policy.window is not Lookback.NOW else Lookback.HOUR
    seconds, count = WINDOWS[window]
    covered = history.steps * history.step
    if covered < NEARLY * seconds and window is not Lookback.HOUR:
        raise InputError(
            f"the history goes back {covered / HOUR:.0f} hours, not a {window}: record more of it (--window {window})"
        )
    keep = max(1, min(history.steps, round(seconds / history.step)))
    profile = policy.profile if policy.window is not Lookback.NOW else Profile.MEAN  # rates of the present
    labels, figures = _profiled(history, series[:, -keep:], min(count, keep), profile)
    if policy.forecast:
        more, foretold = _forecast(history, series)
        return [*labels, *more], np.concatenate([figures, foretold])
    return labels, figures


def _profiled(history: History, series: Series, count: int, profile: Profile) -> tuple[list[str], Series]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a guest of which nothing is known
        match profile:
            case Profile.MEAN:
                return [""], np.nanmean(series, axis=1)[None, :]
            case Profile.P95:
                return [""], np.nanpercentile(series, 95, axis=1)[None, :]
            case Profile.PEAK:
                return [""], np.nanmax(series, axis=1)[None, :]
            case Profile.ROBUST:
                parts = np.array_split(np.arange(series.shape[1]), count)
                means = np.stack([np.nanmean(series[:, part], axis=1) for part in parts])
                return _labels(history, series.shape[1], parts), means


def _labels(history: History, width: int, parts: Sequence[Ints]) -> list[str]:
    times = history.times[-width:]
    form = "%a %H:%M" if width * history.step > DAY else "%H:%M"
    step = pd.Timedelta(seconds=history.step)
    return [f"{times[part[0]].strftime(form)}-{(times[part[-1]] + step).strftime('%H:%M')}" for part in parts]


def _forecast(history: History, series: Series) -> tuple[list[str], Series]:
    """Each hour of the next day: a mean of the same hour on the days before, the nearer the more, and a week ago."""
    per_hour = max(1, HOUR // history.step)
    hours = series.shape[1] // per_hour
    if hours < FORETOLD:
        raise InputError(f"a forecast needs a day of history, and there are {hours} hours of it: record more")
    recent = series[:, series.shape[1] - hours * per_hour :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        means = np.nanmean(recent.reshape(len(series), hours, per_hour), axis=2)
    days = hours // FORETOLD
    whole = means[:, hours - days * FORETOLD :].reshape(len(series), days, FORETOLD)
    if not np.isfinite(whole).any(axis=(0, 1)).all():
        raise InputError(
            "the history is too coarse for a forecast: it does not know every hour of the day (Proxmox VE 8 keeps a "
            "month by half days)"
        )
    back = np.arange(days, 0, -1)
    weights = np.where(back % 7 == 0, FADING ** (back // 7 - 1.0), FADING ** (back - 1.0))[None, :, None]
    known = ~np.isnan(whole)
    total = (weights * known).sum(axis=1)
    sums = np.where(known, whole, 0.0) * weights
    figures = np.where(total > 0, sums.sum(axis=1) / np.where(total > 0, total, 1.0), np.nan)
    begins = [history.times[-1] + pd.Timedelta(seconds=history.step + HOUR * i) for i in range(FORETOLD)]
    return [f"forecast {begin.strftime('%H:%M')}" for begin in begins], figures.T
