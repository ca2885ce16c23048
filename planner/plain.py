"""Owns text that is safe to show: what would tear lines apart, or do worse to a terminal, is replaced."""

from typing import Any

INSTEAD = "?"


def plain(text: str) -> str:
    """Text without characters that cannot be shown."""
    return text if text.isprintable() else "".join(c if c.isprintable() else INSTEAD for c in text)


def cleaned(document: Any, what: str) -> Any:
    """A JSON document with all of its texts made safe. InputError when it nests too deeply."""
    from planner.errors import InputError  # errors are shown through `plain`

    try:
        return _cleaned(document)
    except RecursionError:
        raise InputError(f"{what} is damaged: it nests too deeply; make a new one") from None


def _cleaned(part: Any) -> Any:
    if isinstance(part, str):
        return plain(part)
    if isinstance(part, list):
        return [_cleaned(item) for item in part]
    if isinstance(part, dict):
        return {plain(key): _cleaned(value) for key, value in part.items()}
    return part
