"""Claims about `run` as a whole: what it tells arrives, in whatever form it writes messages, and with no secret."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from planner import choices
from tests.inbox import PHRASE, listening
from tests.test_notice import NOTICE

ROOT = Path(__file__).parents[1]
LOOKING = ("--demo", "small", "--solver", "greedy", "--max-migrations", "2")


def run(folder: Path, notify: dict[str, Any], *flags: str) -> subprocess.CompletedProcess[str]:
    config = folder / "c.yaml"
    config.touch(mode=0o600)
    config.write_text(yaml.safe_dump({"notify": notify, "run": {"mode": "approve", "looks": 1}}))
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "STATE_DIRECTORY": f"{folder}/state"}
    return subprocess.run(
        [sys.executable, "-m", "planner", "run", "--once", "--config", str(config), *LOOKING, *flags],
        env=environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("form", [choices.LogFormat.JOURNAL, choices.LogFormat.JSON])
def test_a_look_is_told_of_and_whoever_is_not_told_is_a_warning(form: choices.LogFormat, tmp_path: Path) -> None:
    with listening() as inbox:
        webhooks = [
            {"url": inbox.url(f"/{PHRASE}"), "headers": {"X-Key": PHRASE}},
            {"url": f"http://{PHRASE}@[::1]:1/"},
        ]
        failing = ["/bin/sh", "-c", "echo busy >&2; exit 4"]
        notify = {"webhooks": webhooks, "command": failing, "timeout": 1}
        done = run(tmp_path, notify, "--log-level", "DEBUG", "--log-format", form)
    assert done.returncode == 0, done.stderr
    (told,) = map(json.loads, inbox.bodies)
    assert NOTICE.is_valid(told) and (told["event"], told["cluster"]) == ("proposed", "demo")
    assert told["look"]["run"] == 1 and told["text"].count("proxlb-plan approve 1") == 1
    assert inbox.headers[0]["x-key"] == PHRASE and PHRASE not in done.stdout + done.stderr + inbox.bodies[0]
    (warned,) = [line for line in done.stderr.splitlines() if "was not told" in line]
    begins = {"journal": "<4>", "json": '"level": "WARNING"'}
    assert begins[form] in warned and "(/bin/sh): ended with 4: busy" in warned and "notify.webhooks[1] (::1)" in warned


@pytest.mark.parametrize(
    ("notify", "says"),
    [
        ({"webhooks": [{"url": "http://*.x/"}]}, "notify.webhooks[0].url is not an address that can be asked"),
        ({"apprise": [f"nobody://{PHRASE}"]}, "notify.apprise[0] (nobody) is not an address that apprise understands"),
    ],
)
def test_what_can_never_work_ends_run_before_its_first_look(notify: dict[str, Any], says: str, tmp_path: Path) -> None:
    done = run(tmp_path, notify)
    assert done.returncode == 78 and says in done.stderr and PHRASE not in done.stderr
    assert len(done.stderr.splitlines()) == 1
