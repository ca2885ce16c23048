"""Owns how formulas get into the pages of the site: LaTeX in a fence becomes MathML, which browsers show as it is."""

from collections.abc import Mapping
from typing import Any

from latex2mathml.converter import convert


def fence(
    source: str, language: str, css_class: str, options: Mapping[str, Any], md: object, **others: Any
) -> str:  # fmt: skip
    """The formula of a fence `math`, as pymdownx.superfences asks a formatter for it; code hosts show such fences too.

    A command that the converter does not know is no error to it: tests/test_model_page.py looks for what was left over.
    """
    return f'<p class="{css_class}">{convert(source.strip(), display="block")}</p>'
