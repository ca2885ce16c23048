"""Owns charts as SVG that stand inline in a page: percent across, pixels down, so that text keeps its size.

Colours and fonts are classes of the page's style sheet; every text is made safe here.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final

from planner.plain import plain

PAIR: Final = 42
"""Pixels of a node: its name, and the bars before and after."""
ROW: Final = 20
"""Pixels of a bar in time."""
ENDS: Final = (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10)
"""Where axes end, times a power of ten."""
NAMES: Final = 30
"""Percent of the width for the names beside bars in time."""
CURVES: Final = 240
"""Pixels of the height of curves."""
LONG: Final = 60
"""Characters of a name; more would not be seen."""
TITLE: Final = 200
"""Characters of what is told of a picture."""
POINTS: Final = 100
"""Points of a curve; of more some are left out between."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A value before and after, such as a node's load in percent."""

    name: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that lasts from begin to end; none where both are the same. `kind`: its class."""

    name: str
    begin: float
    end: float
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """Points from left to right; `kind`: its class, `dots` whether each point is shown."""

    points: tuple[tuple[float, float], ...]
    kind: str
    dots: bool = False


def pairs(title: str, says: str, rows: Sequence[Pair], top: float) -> str:
    """Two bars for each, `top` being the full width, and a line at 100 where that is more."""
    full = f'<line class="full" x1="{_share(100, top)}" x2="{_share(100, top)}" y1="18" y2="37"/>' if top > 100 else ""
    body = (
        f'<g transform="translate(0,{n * PAIR})"><svg width="64%" height="17">{_text(row.name, "0", 13)}</svg>'
        f"{_text(f'{row.before:.1f} → {row.after:.1f} %', '100%', 13, 'end')}"
        f'<rect class="t" y="18" width="100%" height="19"/>'
        f'<rect class="b" y="20" width="{_share(row.before, top)}" height="6"/>'
        f'<rect class="a" y="28" width="{_share(row.after, top)}" height="7"/>{full}</g>'
        for n, row in enumerate(rows)
    )
    return _picture(title, says, PAIR * len(rows), body)


def gantt(title: str, says: str, rows: Sequence[Bar], ends: tuple[float, str], marks: Iterable[float] = ()) -> str:
    """A bar in time for each, up to `ends` (and how that is said), with lines at `marks`."""
    whole, said = ends
    bottom = ROW * len(rows) + 18
    names = "".join(_text(row.name, "0", 18 + n * ROW + 14) for n, row in enumerate(rows))
    lines = "".join(
        f'<line class="mark" x1="{_share(at, whole)}" x2="{_share(at, whole)}" y1="18" y2="{bottom}"/>' for at in marks
    )
    body = [
        f'<svg width="{NAMES - 2}%" height="{bottom}">{names}</svg>',
        f'<svg x="{NAMES}%" width="{100 - NAMES}%" height="{bottom}">',
        _text("0 s", "0", 12, "small"), _text(said, "100%", 12, "small end"),
        *(_span(row, 18 + n * ROW, whole) for n, row in enumerate(rows)), lines, "</svg>",
    ]  # fmt: skip
    return _picture(title, says, bottom, body)


def _span(row: Bar, y: int, whole: float) -> str:
    """A bar on its track; whatever takes time is seen."""
    track = f'<rect class="t" y="{y + 3}" width="100%" height="14"/>'
    if row.end <= row.begin:
        return track
    begin = min(row.begin / whole * 100, 99.4)
    width = max(0.6, row.end / whole * 100 - begin)
    return (
        f'{track}<rect class="a {row.kind}" x="{_percent(begin)}" y="{y + 3}" width="{_percent(width)}" height="14"/>'
    )


def curves(
    title: str, says: str, items: Sequence[Curve], names: tuple[str, str], marked: Sequence[tuple[float, float]] = ()
) -> str:
    """Curves over axes that begin at 0, named (across, up); rings around what is marked."""
    points = [point for item in items for point in item.points]
    wide, high = (ceiling(max((point[axis] for point in points), default=0)) for axis in (0, 1))

    def at(x: float, y: float) -> tuple[str, str]:
        return _share(x, wide), f"{10 + (1 - y / high) * (CURVES - 50):.1f}"

    rings = "".join('<circle class="ring" cx="{}" cy="{}" r="8"/>'.format(*at(*point)) for point in marked)
    body = [
        _axes(wide, high, names),
        f'<svg class="plot" x="12%" width="84%" height="{CURVES}">',
        *(_curve(item, [at(*point) for point in _thinned(item.points)]) for item in items), rings, "</svg>",
    ]  # fmt: skip
    return _picture(title, says, CURVES, body)


def _axes(wide: float, high: float, names: tuple[str, str]) -> str:
    """Lines and figures at none, half and all of both axes."""
    low = CURVES - 40
    shown = []
    for part in (0.0, 0.5, 1.0):
        y = low - part * (low - 10)
        shown.append(f'<line class="grid" x1="12%" x2="96%" y1="{y:.0f}" y2="{y:.0f}"/>')
        shown.append(_text(f"{high * part:g}", "10.5%", round(y) + 4, "small end"))
        shown.append(_text(f"{wide * part:g}", _percent(12 + 84 * part), low + 16, "small mid"))
    across, up = names
    return "".join([*shown, _text(up, "13%", 22, "small"), _text(across, "96%", low + 32, "small end")])


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Not too many points, the first and the last among them."""
    step = -(-len(points) // POINTS)
    return points if step <= 1 else [*points[:-1:step], points[-1]]


def _curve(item: Curve, places: Sequence[tuple[str, str]]) -> str:
    """Its lines one by one: in percent there are no others."""
    lines = "".join(
        f'<line class="{item.kind}" x1="{a}" y1="{b}" x2="{c}" y2="{d}"/>' for (a, b), (c, d) in pairwise(places)
    )
    dots = places if item.dots or len(places) == 1 else ()
    return lines + "".join(f'<circle class="{item.kind}" cx="{x}" cy="{y}" r="3"/>' for x, y in dots)


def ceiling(value: float) -> float:
    """The next of some numbers that are easy to halve, with zeros, from a value on: where an axis ends."""
    if value <= 0:
        return 1.0
    unit: float = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in ENDS if step * unit >= value * (1 - 1e-9))


def _picture(title: str, says: str, height: int, body: Iterable[str]) -> str:
    """A picture that those are told of who do not see it."""
    told = f"<title>{_safe(title[:TITLE])}</title><desc>{_safe(says[:TITLE])}</desc>"
    return f'<svg role="img" width="100%" height="{height}">{told}{"".join(body)}</svg>'


def _text(words: str, x: str, y: int, kind: str = "") -> str:
    names = f' class="{kind}"' if kind else ""
    across = "" if x == "0" else f' x="{x}"'
    return f'<text{across} y="{y}"{names}>{_safe(words[:LONG])}</text>'


def _safe(words: str) -> str:
    return escape(plain(words))


def _share(value: float, whole: float) -> str:
    return _percent(min(100.0, max(0.0, value / whole * 100)))


def _percent(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") + "%"
