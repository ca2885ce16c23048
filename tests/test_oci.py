"""Claims about the container image: an archive that tools read, the same each time, in which users write nothing.

Images here are tiny; what reads them shares nothing with what writes them.
"""

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import tests.packaged  # noqa: F401

# isort: split
from about import About
from layer import Entry, file, folder, link, staged, taken
from oci import materials, write_image
from oci_check import OWN, SCRIPT, USER, configured, foreign, layered, owed, read_image, writable
from rootfs import LEFT_OUT, PACKAGES, below, settings, unread
from running import Failed

WHAT = About("proxlb-plan", "1.2.3", "Plans", "Apache-2.0", "f" * 40, 1_700_000_000)
CERTIFICATE = "usr/share/ca-certificates/mozilla/{}.crt"
DEBIAN: dict[str, Entry] = {
    "usr/bin/python3": file(b"python", 0o755),
    "lib": link("usr/lib"),
    CERTIFICATE.format("b"): file(b"second\n"),
    CERTIFICATE.format("a"): file(b"first\n"),
}
SYSTEM = {**DEBIAN, **settings(DEBIAN, "Package: base-files\n")}
LAUNCHER = "usr/bin/proxlb-plan"


def tree(target: Path) -> Path:
    """A staged tree as a package has it, whose files are older and more open than those of the image will be."""
    (target / "usr/bin").mkdir(parents=True)
    (target / LAUNCHER).write_text("#!/usr/bin/python3 -I\n")
    (target / LAUNCHER).chmod(0o777)
    deep = target / "usr/lib/proxlb-plan" / ("long" * 30)
    deep.mkdir(parents=True)
    (deep / "module.py").write_text("pass\n")
    (deep / "again.py").symlink_to("module.py")
    os.utime(deep / "module.py", (1, 1))
    return target


def image(target: Path, name: str = "image.tar", what: About = WHAT) -> Path:
    """An image for two architectures."""
    planner = staged(target / "tree") if (target / "tree").exists() else staged(tree(target / "tree"))
    layers = (("Debian", SYSTEM), (what.name, planner))
    return write_image({"arm64": layers, "amd64": layers}, target / name, what)


def members(archive: Path) -> dict[str, bytes]:
    """What an archive holds."""
    with tarfile.open(archive) as content:
        return {each.name: held.read() for each in content if (held := content.extractfile(each))}


def follow(held: Mapping[str, bytes], said: Mapping[str, Any]) -> bytes:
    """The content of a descriptor, whose digest and size are those that it says."""
    content = held["blobs/" + said["digest"].replace(":", "/")]
    assert (said["digest"], said["size"]) == (f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))
    return content


def system(held: Mapping[str, bytes], architecture: str) -> dict[str, tarfile.TarInfo]:
    """What an engine would unpack for an architecture: later layers win."""
    (top,) = json.loads(held["index.json"])["manifests"]
    index = json.loads(follow(held, top))
    (said,) = [each for each in index["manifests"] if each["platform"]["architecture"] == architecture]
    found: dict[str, tarfile.TarInfo] = {}
    for layer in json.loads(follow(held, said))["layers"]:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(follow(held, layer)))) as content:
            found |= {each.name: each for each in content}
    return found


def changed(archive: Path, content: Mapping[str, bytes]) -> Path:
    """Another archive of the same kind."""
    target = archive.with_name("changed.tar")
    with tarfile.open(target, "w") as new:
        for name, data in content.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            new.addfile(header, io.BytesIO(data))
    return target


# ------------------------------------------------------------------ the archive


def test_every_digest_and_size_in_the_image_is_that_of_what_it_names(tmp_path: Path) -> None:
    held = members(image(tmp_path))
    assert json.loads(held["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (top,) = json.loads(held["index.json"])["manifests"]
    index, seen = json.loads(follow(held, top)), {top["digest"]}
    for said in index["manifests"]:
        manifest = json.loads(follow(held, said))
        config = json.loads(follow(held, manifest["config"]))
        plain = [gzip.decompress(follow(held, layer)) for layer in manifest["layers"]]
        assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in plain]
        assert len(config["history"]) == len(plain)
        assert {key: config[key] for key in said["platform"]} == said["platform"]
        seen |= {said["digest"], manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
    assert seen == {name.removeprefix("blobs/").replace("/", ":") for name in held if name.startswith("blobs/")}


def test_media_types_are_those_of_the_specification(tmp_path: Path) -> None:
    held = members(image(tmp_path))
    kinds = set(re.findall(r'"mediaType":"([^"]+)"', "".join(
        text.decode() for text in held.values() if text.startswith((b"{", b"["))
    )))  # fmt: skip
    names = ("index.v1+json", "manifest.v1+json", "config.v1+json", "layer.v1.tar+gzip")
    assert kinds == {f"application/vnd.oci.image.{name}" for name in names}


def test_older_docker_finds_the_same_layers(tmp_path: Path) -> None:
    held = members(image(tmp_path))
    loadable = json.loads(held["manifest.json"])
    assert [each["RepoTags"] for each in loadable] == [["proxlb-plan:1.2.3"], ["proxlb-plan:1.2.3-arm64"]]
    for each, architecture in zip(loadable, ("amd64", "arm64"), strict=True):
        config = json.loads(held[each["Config"]])
        assert config["architecture"] == architecture
        sums = [f"sha256:{hashlib.sha256(gzip.decompress(held[name])).hexdigest()}" for name in each["Layers"]]
        assert sums == config["rootfs"]["diff_ids"]


def test_the_same_files_give_the_same_image_wherever_and_whenever_it_is_built(tmp_path: Path) -> None:
    first, there = image(tmp_path).read_bytes(), tmp_path / "elsewhere"
    there.mkdir()
    assert image(there, "other.tar").read_bytes() == first
    assert image(tmp_path, "later.tar", replace(WHAT, epoch=WHAT.epoch + 1)).read_bytes() != first


def test_files_have_one_time_and_one_order_and_belong_to_root(tmp_path: Path) -> None:
    archive = image(tmp_path)
    found = system(members(archive), "arm64")
    assert {each.mtime for each in found.values()} == {WHAT.epoch}
    assert {name for name, each in found.items() if (each.uid, each.gid) != (0, 0)} == {OWN}
    assert found[LAUNCHER].mode == 0o755 and found["tmp"].mode == 0o1777 and found[OWN].mode == 0o700
    for one in read_image(archive, tmp_path / "read"):
        assert [*layered(one)] == []


def test_folders_above_files_are_there_before_them(tmp_path: Path) -> None:
    held = members(image(tmp_path))
    for name, content in held.items():
        if name.startswith("blobs/") and content[:2] == b"\x1f\x8b":
            with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as layer:
                seen = {"."}
                for member in layer:
                    assert str(Path(member.name).parent) in seen, member.name
                    seen |= {member.name} if member.isdir() else set()


def test_the_image_says_what_it_is_of(tmp_path: Path) -> None:
    (one, _) = read_image(image(tmp_path), tmp_path / "read")
    labels = {
        key.removeprefix("org.opencontainers.image."): value for key, value in one.config["config"]["Labels"].items()
    }
    assert (
        labels["version"] == "1.2.3"
        and labels["revision"] == "f" * 40
        and labels["licenses"].startswith("Apache-2.0 AND ")
    )
    assert labels["created"] == one.config["created"] == "2023-11-14T22:13:20Z"


def test_the_image_runs_as_compose_wants_it(tmp_path: Path) -> None:
    import planner

    compose = Path(planner.__file__).parent / "shipped" / "compose.yaml"
    service = yaml.safe_load(compose.read_text())["services"]["proxlb-plan"]
    (one, _) = read_image(image(tmp_path), tmp_path / "read")
    config = one.config["config"]
    assert config["User"] == service["user"] == f"{USER}:{USER}"
    assert f"STATE_DIRECTORY={service['environment']['STATE_DIRECTORY']}" in config["Env"]
    assert config["Entrypoint"] == [service["healthcheck"]["test"][1]]
    assert f"/{OWN}" in [volume.split(":")[1] for volume in service["volumes"]]
    (scratch,) = service["tmpfs"]
    assert f"-o {scratch.split(':')[1]}" in SCRIPT and service["read_only"] and "remount,bind,ro" in SCRIPT
    assert [*configured(config)] == []


# ------------------------------------------------------------------ what goes in


def test_accounts_certificates_and_what_is_installed_are_in_the_system() -> None:
    def text(path: str) -> str:
        content = SYSTEM[path].content
        assert isinstance(content, bytes)
        return content.decode()

    assert "proxlb-plan:x:10001:10001:" in text("etc/passwd") and "proxlb-plan:x:10001:" in text("etc/group")
    assert text("etc/ssl/certs/ca-certificates.crt") == "first\nsecond\n"
    assert text("var/lib/dpkg/status") == "Package: base-files\n"
    assert SYSTEM["usr/lib/ssl/cert.pem"].target == "/etc/ssl/certs/ca-certificates.crt"


def test_a_tree_that_hides_the_libraries_of_the_system_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lib/systemd").mkdir(parents=True)
    with pytest.raises(Failed, match="is not in usr: in the image, /lib is a link to /usr/lib"):
        staged(tmp_path)


def test_documentation_stays_out_and_licences_stay_in() -> None:
    kept = ("usr/share/doc/libc6/copyright", "usr/share/doc/proxlb-plan/sbom.cdx.json", "usr/share/zoneinfo/UTC",
            "usr/share/doc/proxlb-plan/NOTICE", "usr/share/doc/proxlb-plan/licenses/EPL-2.0.txt",
            "usr/share/common-licenses/GPL-3", "usr/lib/python3.13/os.py", "usr/share/doc/libstdc++6")  # fmt: skip
    dropped = ("usr/share/doc/libc6/changelog.gz", "usr/share/man/man1/proxlb-plan.1.gz", "etc/apt/sources.list",
               "usr/share/locale/de/x.mo", "usr/lib/x86_64-linux-gnu/gconv/UTF-16.so")  # fmt: skip
    assert [path for path in kept if unread(path)] == [] and [path for path in dropped if not unread(path)] == []
    assert not {*PACKAGES} & {*LEFT_OUT}
    assert below("a/b", "a") and below("a", "a") and not below("ab", "a")


def test_a_file_of_a_package_loses_the_rights_of_its_owner() -> None:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as package:
        for name, kind, mode in (("./usr/", tarfile.DIRTYPE, 0o2775), ("./usr/su", tarfile.REGTYPE, 0o4755)):
            header = tarfile.TarInfo(name)
            header.type, header.mode, header.uid = kind, mode, 7
            package.addfile(header)
        again = tarfile.TarInfo("./usr/su2")
        again.type, again.linkname = tarfile.LNKTYPE, "./usr/su"
        package.addfile(again)
    held.seek(0)
    assert dict(taken(held)) == {"usr": folder(), "usr/su": file(b"", 0o755), "usr/su2": file(b"", 0o644)}


def test_the_bill_of_materials_of_the_image_has_its_debian_and_takes_the_place_of_the_planners_own(
    tmp_path: Path,
) -> None:
    stanza = "Package: {}\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1\n"
    debian: dict[str, Entry] = {
        "usr/share/doc/libc6/copyright": file(b"Format: 1.0\n\nFiles: *\nLicense: LGPL-2.1+\n"),
        "usr/share/doc/libc-bin": link("libc6"),
        "var/lib/dpkg/status": file("\n".join(map(stanza.format, ("libc6", "libc-bin"))).encode()),
    }
    info = tmp_path / "tree/usr/lib/proxlb-plan/numpy-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: numpy\nVersion: 2.0\nLicense: MIT\n")
    listed = tmp_path / "listed.json"
    layer = materials(debian, tmp_path / "tree", listed, WHAT)
    assert layer == {"usr/share/doc/proxlb-plan/sbom.cdx.json": file(listed)}
    found = {each["purl"]: each["licenses"] for each in json.loads(listed.read_text())["components"]}
    assert {*found} == {f"pkg:deb/debian/{name}@1?arch=arm64" for name in ("libc6", "libc-bin")} | {
        "pkg:pypi/numpy@2.0"
    }
    assert [each["license"]["name"] for purl in found if "deb" in purl for each in found[purl]] == ["LGPL-2.1+"] * 2


# ------------------------------------------------------------------ what the check finds


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    archive = image(tmp_path)
    held = members(archive)
    for name in [name for name in held if name.startswith("blobs/")]:
        spoilt = held | {name: held[name][:-1] + bytes([held[name][-1] ^ 1])}
        with pytest.raises(Failed, match="has the digest"):
            read_image(changed(archive, spoilt), tmp_path / f"of-{name[-8:]}")
    with pytest.raises(Failed, match="nothing refers to"):
        read_image(changed(archive, held | {f"blobs/sha256/{'0' * 64}": b"more"}), tmp_path / "more")
    with pytest.raises(Failed, match=r"manifest\.json names"):
        loadable = held["manifest.json"].replace(b"blobs/sha256/", b"blobs/sha256/0", 1)
        read_image(changed(archive, held | {"manifest.json": loadable}), tmp_path / "docker")


@pytest.mark.parametrize(
    ("name", "entry", "said"),
    [
        ("usr/bin/su", Entry(tarfile.REGTYPE, 0o4755), "gives the rights of its owner"),
        ("usr/lib/x.py", Entry(tarfile.REGTYPE, 0o664), "can be written by others than root"),
        ("usr/lib/x.py", Entry(tarfile.REGTYPE, 0o644, owner=USER), "can be written by others than root"),
        ("tmp", folder(0o777), "has not the mode 1777"),
        (OWN, folder(0o755, owner=USER), "is not that of user 10001 alone"),
    ],
)
def test_what_a_user_could_change_is_found(tmp_path: Path, name: str, entry: Entry, said: str) -> None:
    layers = (("Debian", {**SYSTEM, name: entry}),)
    (one,) = read_image(write_image({"amd64": layers}, tmp_path / "image.tar", WHAT), tmp_path / "read")
    with tarfile.open(one.layers[0]) as layer:
        assert [*writable(layer.getmembers())] == [f"/{name} {said}"]


def test_a_folder_over_a_link_is_found(tmp_path: Path) -> None:
    layers = (("Debian", SYSTEM), ("planner", {"lib/x": file(b"")}))
    (one,) = read_image(write_image({"amd64": layers}, tmp_path / "image.tar", WHAT), tmp_path / "read")
    assert [*layered(one)] == ["/lib was a link in the layer below"]


def test_a_library_for_another_machine_is_found(tmp_path: Path) -> None:
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00"
    (tmp_path / "x.so").write_bytes(head + b"\xb7\x00")  # 183: AArch64
    (tmp_path / "text").write_text("no program")
    assert [*foreign(tmp_path, 183)] == []
    assert [*foreign(tmp_path, 62)] == ["/x.so is for another machine"]


def test_a_notice_or_a_package_that_the_image_does_not_speak_of_is_found(tmp_path: Path) -> None:
    documents, status = tmp_path / "usr/share/doc/proxlb-plan", tmp_path / "var/lib/dpkg/status"
    for path in (documents / "licenses", status.parent):
        path.mkdir(parents=True)
    status.write_text("Package: libstdc++6\nVersion: 1\n\nPackage: dash\nVersion: 1\n")
    for name in ("copyright", "licenses/EPL-2.0.txt"):
        (documents / name).touch()
    assert [*owed(tmp_path)] == ["/usr/share/doc/proxlb-plan/NOTICE is missing"]
    (documents / "NOTICE").touch()
    purls = ["pkg:pypi/ortools@9", "pkg:deb/debian/libstdc%2B%2B6@1?arch=amd64"]
    (documents / "sbom.cdx.json").write_text(json.dumps({"components": [{"purl": each} for each in purls]}))
    assert [*owed(tmp_path)] == ["the bill of materials does not have dash"]
