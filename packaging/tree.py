"""Owns what a package puts where: a folder as the root of the system on which it is installed."""

import gzip
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from about import ROOT, About
from bundle import INSTALLED
from completions import completions
from man import man_pages
from notices import notices
from sbom import FILE, write_sbom

LAUNCHER = """#!{python} -IS
# Neither variables and folders of a user (-I) nor other packages of the machine (-S) decide what is run.
import sys

sys.path.insert(0, "{folder}")

# Processes that are started for a part of the work import this file.
if __name__ == "__main__":
    from planner.__main__ import main

    main()
"""
DOC = Path("usr/share/doc/proxlb-plan")
COPYRIGHT = """{name} {version}
Copyright (c) its developers. License: {license}; on Debian /usr/share/common-licenses has its text, and so has
{installed}/{name_}-{version}.dist-info/licenses/LICENSE.

What is beside it in {installed} has licences of its own: sbom.cdx.json in this folder lists it, NOTICE names what
wheels have brought along, licenses/ and the folders *.dist-info there have the texts.
"""


MAINTAINER = "The developers of proxlb-plan <developers@proxlb-plan.invalid>"
"""Packages need an address; this one is nobody's, and says so (RFC 2606)."""
CHANGELOG = """{name} ({version}) stable; urgency=medium

  * What is new stands in CHANGELOG.md.

 -- {who}  {when}
"""


@dataclass(frozen=True)
class Family:
    """Where a family of systems looks for things, and which Python runs there."""

    python: str
    zsh: str


DEBIAN = Family("/usr/bin/python3", "usr/share/zsh/vendor-completions")
RED_HAT = Family("/usr/bin/python3.11", "usr/share/zsh/site-functions")


def stage(tree: Path, bundle: Path, family: Family, what: About) -> None:
    """Fills a folder; all in it has the modes it will have, and the time of the commit."""
    shutil.copytree(bundle, tree / INSTALLED.lstrip("/"))
    launcher = _file(tree / "usr/bin/proxlb-plan", LAUNCHER.format(python=family.python, folder=INSTALLED))
    for unit in (bundle / "planner" / "shipped").glob("*.[st]*"):
        if unit.suffix in (".service", ".timer"):
            _file(tree / "usr/lib/systemd/system" / unit.name, unit.read_text())
    for name, page in man_pages(what).items():
        _zipped(tree / f"usr/share/man/man{name[-1]}/{name}.gz", page)
    scripts = completions()
    _file(tree / "usr/share/bash-completion/completions/proxlb-plan", scripts["bash"])
    _file(tree / family.zsh / "_proxlb-plan", scripts["zsh"])
    _file(tree / "usr/share/fish/vendor_completions.d/proxlb-plan.fish", scripts["fish"])
    _documents(tree / DOC, bundle, what)
    write_sbom(tree / INSTALLED.lstrip("/"), None, what, tree / DOC / FILE)
    (tree / "etc/proxlb-plan").mkdir(parents=True)
    settle(tree, what.epoch)
    launcher.chmod(0o755)


def settle(tree: Path, epoch: int) -> None:
    """Gives all in a folder the same modes and the same time, wherever it came from."""
    for path in [tree, *tree.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (epoch, epoch))


def _documents(folder: Path, bundle: Path, what: About) -> None:
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"):
        _file(folder / name, (ROOT / name).read_text())
    for page in (ROOT / "docs").glob("*.md"):
        _file(folder / "docs" / page.name, page.read_text())
    for name, text in notices(bundle).items():
        _file(folder / name, text)
    _file(folder / "examples/config.yaml", (ROOT / "packaging/config.yaml").read_text())
    when = format_datetime(datetime.fromtimestamp(what.epoch, UTC))
    _zipped(folder / "changelog.gz", CHANGELOG.format(name=what.name, version=what.version, who=MAINTAINER, when=when))
    named = {"name": what.name, "name_": what.name.replace("-", "_"), "version": what.version, "license": what.license}
    _file(folder / "copyright", COPYRIGHT.format(installed=INSTALLED, **named))


def _file(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _zipped(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
