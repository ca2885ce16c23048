"""Packages hold what they say, whenever they are built; `make packages-test` tries them on clean systems."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import certifi
import pytest

import tests.packaged  # noqa: F401 - from here on packaging/ is on the path
from planner.config import load

# isort: split
from about import PROJECT, ROOT, About, about
from bundle import DEBIAN_12, DEBIAN_13, INSTALLED, LOCK
from output import clear
from packages import deb, rpm
from running import Failed
from tree import DEBIAN, stage

WHAT = About("proxlb-plan", "9.8", "Plans", "Apache-2.0", "0" * 40, 1_700_000_000)
UNITS = {"proxlb-plan.service", "proxlb-plan-once.service", "proxlb-plan.timer"}


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What would be installed, with the planner alone in the folder of Python."""
    folder = tmp_path_factory.mktemp("packages")
    bundle = folder / "bundle"
    shutil.copytree(ROOT / "planner", bundle / "planner", ignore=shutil.ignore_patterns("__pycache__"))
    info = bundle / f"proxlb_plan-{PROJECT['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: proxlb-plan\nVersion: {PROJECT['version']}\n")
    stage(folder / "tree", bundle, DEBIAN, WHAT)
    return folder / "tree"


def test_everything_that_is_needed_is_locked_with_its_digest_in_the_version_that_is_tested() -> None:
    locked = dict(re.findall(r"^([a-z0-9_.-]+)==(\S+)", LOCK.read_text(), re.M))
    tested = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", (ROOT / "tests/constraints.txt").read_text(), re.M))
    tested = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in tested.items()}
    needed = {re.split(r"[^\w.-]", each)[0].lower() for each in PROJECT["dependencies"]} | {"apprise"}
    assert needed <= locked.keys()
    assert {name: version for name, version in locked.items() if tested.get(name) not in (None, version)} == {}
    entries = re.split(r"^(?=\S)", LOCK.read_text(), flags=re.M)[1:]
    assert all("--hash=sha256:" in entry for entry in entries) and "://" not in LOCK.read_text()


def test_only_root_may_write_to_what_is_installed_and_all_of_it_is_as_old_as_the_commit(staged: Path) -> None:
    launcher = staged / "usr/bin/proxlb-plan"
    for path in staged.rglob("*"):
        runs = path.is_dir() or path == launcher
        assert path.stat().st_mode & 0o777 == (0o755 if runs else 0o644), path
        assert path.stat().st_mtime == WHAT.epoch, path


def test_units_manual_completions_and_an_example_are_where_a_system_looks_for_them(staged: Path) -> None:
    files = {str(path.relative_to(staged)) for path in staged.rglob("*") if path.is_file()}
    assert {
        "usr/share/man/man1/proxlb-plan.1.gz", "usr/share/bash-completion/completions/proxlb-plan",
        "usr/share/zsh/vendor-completions/_proxlb-plan", "usr/share/fish/vendor_completions.d/proxlb-plan.fish",
        "usr/share/doc/proxlb-plan/examples/config.yaml", "usr/share/doc/proxlb-plan/copyright",
        "usr/share/doc/proxlb-plan/sbom.cdx.json", *(f"usr/lib/systemd/system/{unit}" for unit in UNITS),
    } <= files  # fmt: skip


def test_the_launcher_runs_what_is_installed_and_nothing_that_a_user_has_put_elsewhere(staged: Path) -> None:
    text = (staged / "usr/bin/proxlb-plan").read_text()
    assert text.startswith("#!/usr/bin/python3 -IS\n") and f'sys.path.insert(0, "{INSTALLED}")' in text
    own = text.replace(INSTALLED, f"{staged}{INSTALLED}")
    done = subprocess.run(
        [sys.executable, "-I", "-c", own, "version"], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": "/nonexistent"},
    )  # fmt: skip
    assert done.stdout.strip() == PROJECT["version"]


def test_the_example_of_the_settings_is_valid(tmp_path: Path) -> None:
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text("secret")
    shutil.copy(certifi.where(), tmp_path / "pve-root-ca.pem")
    own = tmp_path / "config.yaml"
    own.write_text((ROOT / "packaging/config.yaml").read_text().replace("/etc/proxlb-plan/", f"{tmp_path}/"))
    assert load(own).api.token_id == "proxlb-plan@pve!planner"


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not installed")
def test_a_deb_has_just_the_files_that_were_staged_and_is_the_same_when_it_is_built_again(
    staged: Path, tmp_path: Path
) -> None:
    first, again = (deb(staged, DEBIAN_12, tmp_path / name, WHAT) for name in ("a", "b"))
    assert first.read_bytes() == again.read_bytes()
    told = subprocess.run(["dpkg-deb", "-c", first], capture_output=True, text=True, check=True).stdout.splitlines()
    inside = {line.split(" ./", 1)[1] for line in told if line.startswith("-")}
    assert inside == {str(path.relative_to(staged)) for path in staged.rglob("*") if path.is_file()}
    assert all(line.split()[1] == "root/root" for line in told)
    fields = subprocess.run(["dpkg-deb", "-f", first], capture_output=True, text=True, check=True).stdout
    assert "Version: 9.8+deb12" in fields and "Depends: python3 (>= 3.11), python3 (<< 3.12~)," in fields


def test_an_update_of_debian_is_an_update_of_the_package(staged: Path, tmp_path: Path) -> None:
    older, newer = (deb(staged, release, tmp_path, WHAT).name for release in (DEBIAN_12, DEBIAN_13))
    assert older == "proxlb-plan_9.8+deb12_amd64.deb" and newer == "proxlb-plan_9.8+deb13_amd64.deb"


def test_an_rpm_is_the_same_when_it_is_built_again(staged: Path, tmp_path: Path) -> None:
    first, again = (rpm(staged, tmp_path / name, WHAT) for name in ("a", "b"))
    assert first.read_bytes() == again.read_bytes() and first.name == "proxlb-plan-9.8-1.x86_64.rpm"


@pytest.mark.parametrize("script", ["preinst", "postinst", "prerm", "postrm"])
def test_what_runs_when_a_package_comes_or_goes_is_quiet_where_systemd_does_not_run(script: str) -> None:
    if Path("/run/systemd/system").exists():
        pytest.skip("systemd runs here")
    for word in ("configure", "remove", "upgrade", "0", "1"):
        done = subprocess.run(["sh", ROOT / "packaging/scripts" / script, word], capture_output=True, check=True)
        assert done.stdout == done.stderr == b""


def test_older_packages_are_taken_away_and_nothing_else_ever_is(tmp_path: Path) -> None:
    for name in ("proxlb-plan_0.1_oci.tar", "SHA256SUMS", "precious"):
        (tmp_path / name).touch()
    with pytest.raises(Failed, match="precious, which is no package of ours: name another folder"):
        clear(tmp_path)
    assert len([*tmp_path.iterdir()]) == 3
    (tmp_path / "precious").unlink()
    clear(tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_time_that_is_none_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(Failed, match="SOURCE_DATE_EPOCH is yesterday: seconds since 1970 are needed"):
        about()


def test_packages_of_an_unpacked_sdist_have_the_time_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "packaging").mkdir()
    for name in ("pyproject.toml", "packaging/about.py", "packaging/running.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    os.utime(tmp_path / "pyproject.toml", (WHAT.epoch, WHAT.epoch))
    told = "from about import about; what = about(); print(what.revision, what.epoch)"
    command = [sys.executable, "-c", told]
    done = subprocess.run(command, cwd=tmp_path / "packaging", capture_output=True, text=True, check=True, env={})
    assert done.stdout.split() == ["unknown", str(WHAT.epoch)]


@pytest.mark.parametrize(
    ("words", "said"), [(["nonsense"], "nonsense is none of deb, rpm"), (["rpm"], "make packages")]
)
def test_packages_that_are_not_there_are_not_tried(words: list[str], said: str, tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "packaging/check.py", *words, "--folder", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode and said in done.stderr and "Traceback" not in done.stderr
