"""Owns .deb and .rpm: what they say of themselves, and nfpm, which writes them."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from about import ROOT, About
from bundle import INSTALLED, Release
from running import run
from tree import DOC, MAINTAINER

SCRIPTS = {"preinstall": "preinst", "postinstall": "postinst", "preremove": "prerm", "postremove": "postrm"}
OWN = ("/etc/proxlb-plan", f"/{DOC}")
"""Folders that go with the package."""
LIBRARIES = ["libc6 (>= 2.28)", "libgcc-s1", "libstdc++6"]
"""What the compiled modules of dependencies take from the system."""


SYNOPSIS = "balances Proxmox VE clusters, with a proof beside every plan"
MORE = """It asks the API of Proxmox VE for nodes and guests, plans migrations within
limits and rules, says how far from the best possible plan that is, and
carries plans out. It needs no agent, and no root on any node."""


def deb(tree: Path, release: Release, target: Path, what: About) -> Path:
    """Writes the package for a Debian release; Proxmox VE 8 is Debian 12, Proxmox VE 9 is Debian 13."""
    following = release.python.rpartition(".")[0] + f".{int(release.python.rpartition('.')[2]) + 1}"
    special = {
        "version_metadata": f"deb{release.number}",
        "arch": "amd64",
        "depends": [f"python3 (>= {release.python})", f"python3 (<< {following}~)", *LIBRARIES],
        "deb": {"compression": "zstd"},
    }
    return _package(tree, special, target / f"{what.name}_{what.version}+deb{release.number}_amd64.deb", what)


def rpm(tree: Path, target: Path, what: About) -> Path:
    """Writes the package for Red Hat Enterprise Linux 9 and the like, which have Python 3.11 beside their own.

    On 8 there is one as well, but its systemd is too old for the units.
    """
    special = {
        "release": "1",
        "arch": "x86_64",
        "depends": ["/usr/bin/python3.11", "libstdc++"],
        "rpm": {"compression": "zstd", "buildhost": "localhost", "summary": SYNOPSIS},
    }
    return _package(tree, special, target / f"{what.name}-{what.version}-1.x86_64.rpm", what)


def _package(tree: Path, special: dict[str, Any], target: Path, what: About) -> Path:
    said = {
        "name": what.name,
        "version": what.version,
        "version_schema": "none",
        "platform": "linux",
        "section": "admin",
        "priority": "optional",
        "maintainer": MAINTAINER,
        "description": f"{SYNOPSIS}\n{MORE}",
        "license": what.license,
        "mtime": datetime.fromtimestamp(what.epoch, UTC).isoformat(),
        "disable_globbing": True,
        "contents": [*_contents(tree)],
        "scripts": {when: str(ROOT / "packaging" / "scripts" / name) for when, name in SCRIPTS.items()},
    }
    target.parent.mkdir(exist_ok=True)
    config = target.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(said | special, sort_keys=False))
    run([Path(sys.executable).parent / "nfpm", "package", "--config", config, "--target", target])
    config.unlink()
    return target


def _contents(tree: Path) -> Iterator[dict[str, Any]]:
    """Files one by one: folders that other packages have as well are left to these."""
    yield {"src": f"{tree}{INSTALLED}", "dst": INSTALLED, "type": "tree"}
    for path in sorted(tree.rglob("*")):
        inside = f"/{path.relative_to(tree)}"
        if path.is_file() and not inside.startswith(INSTALLED):
            yield {"src": str(path), "dst": inside}
        elif inside.startswith(OWN):
            yield {"dst": inside, "type": "dir", "file_info": {"mode": 0o755}}
