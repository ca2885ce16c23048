"""Owns how seconds and sizes are said to people."""

MINUTE, HOUR = 60, 3600
MIB_PER_GIB = 1024


def duration(seconds: float) -> str:
    """Seconds as a person says them: 40 s, 12 min, 2 h 5 min."""
    whole = round(max(0.0, seconds))
    if whole < 2 * MINUTE:
        return f"{whole} s"
    minutes = round(whole / MINUTE)
    if minutes * MINUTE < 2 * HOUR:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def gib(mib: float) -> str:
    """MiB as GiB."""
    return f"{mib / MIB_PER_GIB:.1f} GiB"


def copied(done: float, total: float) -> str:
    """MiB of all MiB as GiB: 1.2 of 2.5 GiB; without `of` where the total is not known."""
    return f"{done / MIB_PER_GIB:.1f}{f' of {total / MIB_PER_GIB:.1f}' if total else ''} GiB"
