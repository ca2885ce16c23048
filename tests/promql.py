"""What tests of dashboards and alerts share: reading an expression of PromQL as far as to know what it speaks of."""

import re
from dataclasses import dataclass, field

FUNCTIONS = {"time", "increase", "clamp_min", "last_over_time", "max_over_time", "min_over_time", "label_values"}
AGGREGATIONS = {"sum", "max", "min", "count"}
GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
WORDS = {"and", "or", "unless", "offset", "bool"}
TOKEN = re.compile(
    r"\s*(?:(?P<text>\"(?:[^\"\\]|\\.)*\")|(?P<span>\[[^\]]*\])|(?P<while>\d+(?:ms|[smhdwy])\b)|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<word>[A-Za-z_:][\w:]*)|(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^<>={}(),]))"
)


@dataclass
class Spoken:
    """What an expression speaks of."""

    metrics: dict[str, set[str]] = field(default_factory=dict)
    """Name to the labels that it is asked for."""
    values: dict[str, set[str]] = field(default_factory=dict)
    """Label to the values that it should have, or should not."""
    grouped: set[str] = field(default_factory=set)
    """Labels by which it is summed up or matched."""


def tokens(text: str) -> list[str]:
    """ValueError for what is none."""
    found, at = [], 0
    while text[at:].strip():
        token = TOKEN.match(text, at)
        if token is None:
            raise ValueError(f"no PromQL at {text[at:]!r}")
        found.append(token[0].strip())
        at = token.end()
    return found


def spoken(text: str) -> Spoken:
    """What an expression speaks of. ValueError for words and functions that are not known, and for open brackets."""
    rest, result = tokens(text), Spoken()
    opened: list[int] = []
    for at, token in enumerate(rest):
        if token in "({":
            opened.append(at)
        elif token in ")}" and (not opened or rest[opened.pop()] + token not in ("()", "{}")):
            raise ValueError(f"{text}: {token} closes nothing")
        elif re.match(r"[A-Za-z_:]", token) and not _inside(rest, at, opened, result):
            _word(rest, at, result)
    if opened:
        raise ValueError(f"{text}: {rest[opened[-1]]} is not closed")
    return result


def _inside(rest: list[str], at: int, opened: list[int], result: Spoken) -> bool:
    """Whether a word is a label within brackets, which is taken over."""
    if not opened:
        return False
    begin = opened[-1]
    if rest[begin] == "{":
        result.metrics[rest[begin - 1]].add(rest[at])
        value = rest[at + 2].strip('"')
        result.values.setdefault(rest[at], set()).update(value.split("|") if "~" in rest[at + 1] else [value])
        return True
    if begin and (rest[begin - 1] in GROUPING or (rest[begin - 1] == "label_values" and rest[at - 1] == ",")):
        result.grouped.add(rest[at])
        return True
    return False


def _word(rest: list[str], at: int, result: Spoken) -> None:
    word, then = rest[at], rest[at + 1] if at + 1 < len(rest) else ""
    if word in GROUPING | WORDS | AGGREGATIONS:
        return
    if then == "(":
        if word not in FUNCTIONS:
            raise ValueError(f"there is no function {word}")
        return
    result.metrics.setdefault(word, set())
