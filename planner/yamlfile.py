"""Owns text in YAML: all scalars as they are written, mappings merged, and what is said where it is none."""

import re
from typing import Any

import yaml

from planner.errors import ConfigError


def parse(content: str, name: str) -> Any:
    """Mappings and lists of text, None for what is empty; ConfigError names the file and the line."""
    try:
        return _plain(yaml.compose(content, yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{name} is not YAML that can be used: {_problem(error)}") from None


def _plain(node: yaml.Node | None) -> Any:
    """All scalars as text, for pydantic to convert: YAML would make False of a node `no`, 83 of a password `0123`."""
    if isinstance(node, yaml.SequenceNode):
        return [_plain(part) for part in node.value]
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag.endswith(":merge"):
                merged |= _merged(value)
                continue
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if not name or name in values:
                problem = f"the key {name} stands twice" if name else "a key is not a name"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            values[name] = _plain(value)
        return merged | values
    if node and node.tag.startswith("!"):
        raise yaml.MarkedYAMLError(problem="a value starts with a tag", problem_mark=node.start_mark)
    return node.value if node and not node.tag.endswith(":null") else None


def _merged(node: yaml.Node) -> dict[str, Any]:
    """What `<<` stands before: a mapping, or several of which the first one wins."""
    result: dict[str, Any] = {}
    for part in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        if not isinstance(part, yaml.MappingNode):
            raise yaml.MarkedYAMLError(problem="<< stands before what is no mapping", problem_mark=part.start_mark)
        result = _plain(part) | result
    return result


def _problem(error: yaml.YAMLError | RecursionError) -> str:
    """Where and what, without PyYAML's quotations: they could be of a secret."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "it nests too deeply" if isinstance(error, RecursionError) else "there is a control character in it"
    what = re.sub(r"""\s*(['"])(?!<).{2,}\1""", "", error.problem or "")
    hint = " (quote a value that starts with ! or * or &)" if re.search("tag|alias|anchor", what) else ""
    return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {what}{hint}"
