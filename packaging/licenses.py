"""Owns under which licence a distribution says it is: as SPDX has it where that is certain, else in its own words."""

from collections.abc import Iterator
from importlib.metadata import PackageMetadata
from typing import Final

from cyclonedx.model.license import DisjunctiveLicense, License, LicenseAcknowledgement, LicenseExpression
from cyclonedx.spdx import fixup_id, is_expression

INCLUDED: Final = "licence text included"
"""What is said where a distribution says nothing but comes with the text."""
WORDS: Final = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 3-Clause License": "BSD-3-Clause",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "zlib/libpng License": "Zlib",
}
"""Words that mean one licence of SPDX. `BSD License` means several, and stays as it is."""
CLASSIFIER: Final = "License :: OSI Approved :: "


def licenses(metadata: PackageMetadata) -> list[License]:
    """Of the METADATA of a distribution; one, or none where it neither says anything nor comes with a text."""
    expression = first(metadata, "License-Expression")
    if expression and is_expression(expression):
        return [LicenseExpression(expression, acknowledgement=LicenseAcknowledgement.DECLARED)]
    said = [*_said(metadata)]
    known = [spdx for words in said if (spdx := fixup_id(words) or WORDS.get(words))]
    if known:
        return [identified(known[0], of_itself=known[0] in said)]
    return [named(words) for words in (*said, *([INCLUDED] if metadata.get_all("License-File") else []))][:1]


def identified(spdx: str, *, of_itself: bool) -> License:
    """A licence by its identifier or as an expression: declared by what is under it, or concluded by us."""
    said = LicenseAcknowledgement.DECLARED if of_itself else LicenseAcknowledgement.CONCLUDED
    if fixup_id(spdx) is None:
        return LicenseExpression(spdx, acknowledgement=said)
    return DisjunctiveLicense(id=spdx, acknowledgement=said)


def named(words: str) -> License:
    """A licence in words: whatever SPDX calls it."""
    return DisjunctiveLicense(name=words, acknowledgement=LicenseAcknowledgement.DECLARED)


def first(metadata: PackageMetadata, key: str) -> str:
    """Empty where there is none."""
    return next(iter(metadata.get_all(key) or ()), "")


def _said(metadata: PackageMetadata) -> Iterator[str]:
    """What older metadata say: a field, in which some have the whole text, and classifiers."""
    field = first(metadata, "License").strip()
    if field and "\n" not in field:
        yield field
    for classifier in metadata.get_all("Classifier") or ():
        if classifier.startswith(CLASSIFIER):
            yield classifier.removeprefix(CLASSIFIER)
