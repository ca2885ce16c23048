"""Owns the container image: an archive as image-spec 1.0 of the Open Container Initiative lays it out, made of files.

No container engine and no base image is needed: a Debian system (rootfs.py), the planner on top, and what says so.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from about import PROJECT, About
from bundle import INSTALLED
from dpkg import DOCUMENTS, STATUS
from layer import Entry, Layer, file, staged, write_layer
from rootfs import STATE, USER, below, root_files, unfold, unread
from sbom import FILE, write_sbom

MEDIA: Final = "application/vnd.oci.image.{}"
VARIANTS: Final = {"arm64": {"variant": "v8"}}
ENVIRONMENT: Final = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    f"STATE_DIRECTORY=/{STATE}",
)
"""Settings are read from /etc/proxlb-plan/config.yaml without being named, if they are there: --demo needs none.
Nor a locale: Python takes UTF-8 where there is none."""
IMAGE: Final = "org.opencontainers.image"
OTHERS: Final = "LicenseRef-see-usr-share-doc"
"""Debian and what wheels bring have dozens of licences; in words of SPDX, one that is no identifier of it."""

Files = Mapping[str, Entry]
Blobs = dict[str, bytes | Path]


def build_image(trees: Mapping[str, Path], dist: Path, what: About) -> Path:
    """Writes dist/NAME_VERSION_oci.tar of one staged tree per architecture (amd64, arm64), which has bytecode.

    Beside it, what is in the image of each architecture: dist/NAME_VERSION_image-ARCHITECTURE.cdx.json.
    """
    planner = {each: {path: entry for path, entry in staged(tree).items() if not unread(path)}
               for each, tree in trees.items()}  # fmt: skip
    systems = root_files(trees, what.epoch)
    for each, tree in trees.items():
        listed = dist / f"{what.name}_{what.version}_image-{each}.cdx.json"
        planner[each] |= materials(systems[each], tree, listed, what)
    layers = {each: (("Debian", systems[each]), (what.name, planner[each])) for each in trees}
    return write_image(layers, dist / f"{what.name}_{what.version}_oci.tar", what)


def materials(system: Files, tree: Path, target: Path, what: About) -> dict[str, Entry]:
    """Writes the bill of materials of a Debian system and the planner; it takes the place of that of the planner."""
    with TemporaryDirectory() as made:
        for path, entry in system.items():
            if path == str(STATUS) or below(path, str(DOCUMENTS)):
                unfold(Path(made, path), entry)
        write_sbom(tree / INSTALLED.lstrip("/"), Path(made) / STATUS, what, target)
    return {str(DOCUMENTS / what.name / FILE): file(target)}


def write_image(platforms: Mapping[str, Iterable[tuple[str, Files]]], target: Path, what: About) -> Path:
    """Writes an image of named layers per architecture."""
    blobs: Blobs = {}
    with TemporaryDirectory(dir=target.parent) as made:
        manifests, loadable = [], []
        for number, (architecture, contents) in enumerate(sorted(platforms.items())):
            named = [(name, write_layer(files, Path(made) / f"{architecture}-{name}", what.epoch))
                     for name, files in contents]  # fmt: skip
            layers = [layer for _, layer in named]
            blobs |= {layer.digest: layer.path for layer in layers}
            config = _stored(blobs, _config(architecture, named, what), "config.v1+json")
            manifests.append(_manifest(blobs, architecture, config, layers, what))
            tag = f"{what.name}:{what.version}" + (f"-{architecture}" if number else "")
            loadable.append({"Config": _place(config["digest"]), "RepoTags": [tag],
                             "Layers": [_place(layer.digest) for layer in layers]})  # fmt: skip
        of_all = {"mediaType": MEDIA.format("index.v1+json"), "manifests": manifests, "annotations": labels(what)}
        # One entry at the top: tools that are given an archive without a name want a single image in it.
        top = _stored(blobs, {"schemaVersion": 2, **of_all}, "index.v1+json") | {"annotations": names(what)}
        _archive(target, blobs, {"schemaVersion": 2, "manifests": [top]}, loadable, what.epoch)
    return target


def labels(what: About) -> dict[str, str]:
    """What the image says of itself, under the keys that the specification has for it."""
    said = {
        "created": _moment(what.epoch),
        "description": what.summary,
        "licenses": f"{what.license} AND {OTHERS}",
        "revision": what.revision,
        "source": PROJECT.get("urls", {}).get("Source", ""),
        "title": what.name,
        "version": what.version,
    }
    return {f"{IMAGE}.{key}": value for key, value in said.items() if value}


def names(what: About) -> dict[str, str]:
    """What the image is called where it is loaded: by Docker and containerd, and by everybody else."""
    full = f"docker.io/library/{what.name}:{what.version}"
    return {"io.containerd.image.name": full, f"{IMAGE}.ref.name": what.version}


def _config(architecture: str, layers: Iterable[tuple[str, Layer]], what: About) -> dict[str, Any]:
    created = _moment(what.epoch)
    return {
        "created": created,
        "architecture": architecture,
        **VARIANTS.get(architecture, {}),
        "os": "linux",
        "config": {
            "User": f"{USER}:{USER}",
            "Env": [*ENVIRONMENT],
            "Entrypoint": [what.name],
            "WorkingDir": "/",
            "Labels": labels(what),
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.content for _, layer in layers]},
        "history": [{"created": created, "created_by": name} for name, _ in layers],
    }


def _manifest(
    blobs: Blobs, architecture: str, config: dict[str, Any], layers: Iterable[Layer], what: About
) -> dict[str, Any]:
    kind = MEDIA.format("layer.v1.tar+gzip")
    listed = [{"mediaType": kind, "digest": layer.digest, "size": layer.size} for layer in layers]
    said = {"schemaVersion": 2, "mediaType": MEDIA.format("manifest.v1+json"), "config": config, "layers": listed}
    platform = {"architecture": architecture, "os": "linux", **VARIANTS.get(architecture, {})}
    return _stored(blobs, said | {"annotations": labels(what)}, "manifest.v1+json") | {"platform": platform}


def _stored(blobs: Blobs, said: dict[str, Any], kind: str) -> dict[str, Any]:
    """Adds a document to the blobs; returns its descriptor."""
    content = _json(said)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    blobs[digest] = content
    return {"mediaType": MEDIA.format(kind), "digest": digest, "size": len(content)}


def _archive(target: Path, blobs: Blobs, index: Any, loadable: Any, epoch: int) -> None:
    """`loadable`: what `docker load` reads where it knows no image-spec."""
    members: dict[str, bytes | Path] = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json(index),
        "manifest.json": _json(loadable),
    }
    members |= {_place(digest): blobs[digest] for digest in sorted(blobs)}
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.mode, header.mtime = 0o644, epoch
            header.size = len(content) if isinstance(content, bytes) else content.stat().st_size
            with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as opened:
                archive.addfile(header, opened)


def _place(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _json(said: Any) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode()


def _moment(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z")
