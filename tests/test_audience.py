"""Claims about section notify: what may be written there, what is refused in one line, and that no secret is shown."""

import json
import re
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from planner.audience import Notify, holds_secret, parts
from planner.choices import Event
from planner.config import load
from planner.errors import ConfigError
from planner.settings import PATHS
from planner.tell import Teller

SECRET = "hunter2-0123456789"
DOCS = Path(__file__).parents[1] / "docs" / "notifications.md"


def notify(tmp_path: Path, text: str, mode: int = 0o600, environ: dict[str, str] | None = None) -> Notify:
    path = tmp_path / "c.yaml"
    path.write_text(f"notify: {text}")
    path.chmod(mode)
    return load(str(path), environ=environ or {}, cwd=tmp_path).notify


def refusal(tmp_path: Path, text: str, mode: int = 0o600, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        notify(tmp_path, text, mode, environ)
    said = str(caught.value)
    assert "\n" not in said and SECRET not in "".join(traceback.format_exception(caught.value))
    return said.replace(str(tmp_path), "")


def test_paths_are_relative_to_the_file_and_one_word_is_a_list_of_one(tmp_path: Path) -> None:
    found = notify(
        tmp_path,
        "{events: failed, command: /usr/local/bin/tell, apprise_file: urls,"
        " webhooks: [{url: 'https://a/', ca_file: ca.pem}], apprise: 'mailto://h?to=a,b, ntfy://t'}",
    )
    assert (found.events, found.command) == ((Event.FAILED,), ("/usr/local/bin/tell",))
    assert found.apprise_file == str(tmp_path / "urls") and found.webhooks[0].ca_file == str(tmp_path / "ca.pem")
    assert [each.get_secret_value() for each in found.apprise] == ["mailto://h?to=a,b", "ntfy://t"]


def test_the_environment_takes_json_and_lists(tmp_path: Path) -> None:
    environ = {
        "PROXLB_PLAN_NOTIFY__WEBHOOKS": json.dumps([{"url": "https://a/", "headers": {"X-Key": SECRET}}]),
        "PROXLB_PLAN_NOTIFY__APPRISE": f"mailto://u:{SECRET}@h ntfy://t",
        "PROXLB_PLAN_NOTIFY__COMMAND": '["/bin/tell", "--to", "a,b"]',
        "PROXLB_PLAN_NOTIFY__EVENTS": "done, failed",
    }
    found = notify(tmp_path, "{}", environ=environ)
    assert found.webhooks[0].headers == {"X-Key": SecretStr(SECRET)} and len(found.apprise) == 2
    assert (found.command, found.events) == (("/bin/tell", "--to", "a,b"), (Event.DONE, Event.FAILED))
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "{webhooks: [{url: SECRET}]}",
            "notify.webhooks[0].url in /c.yaml is not an address such as https://host/path",
        ),
        ("{webhooks: [{url: 'ftp://u:SECRET@h/'}]}", "notify.webhooks[0].url in /c.yaml is not an address such as"),
        ("{webhooks: [{url: 'http://[SECRET'}]}", "notify.webhooks[0].url in /c.yaml is not an address such as"),
        ("{webhooks: [{url: 'http://h:SECRET/'}]}", "notify.webhooks[0].url in /c.yaml is not an address such as"),
        ("{webhooks: [{url: ''}]}", "notify.webhooks[0].url in /c.yaml: the value is empty"),
        ("{webhooks: [{headers: {X: SECRET}}]}", "notify.webhooks[0].url in /c.yaml is missing: it must be given"),
        ("{webhooks: [{uri: SECRET}]}", "unknown key notify.webhooks[0].uri in /c.yaml: did you mean url?"),
        ("{webhooks: SECRET}", "notify.webhooks[0] in /c.yaml: the value is not a mapping of url, headers, ca_file"),
        ("{webhooks: {url: SECRET}}", "notify.webhooks in /c.yaml: the value is not a list"),
        (
            "{webhooks: [{url: 'http://h', headers: {'X Y': SECRET}}]}",
            "headers in /c.yaml has a name that no header may",
        ),
        (
            '{webhooks: [{url: "http://h", headers: {X: "SECRET\\nY: z"}}]}',
            "[0].headers.X in /c.yaml is not one line of",
        ),
        ("{webhooks: [{url: 'http://h', headers: {X: SECRETé}}]}", "[0].headers.X in /c.yaml is not one line of ASCII"),
        ("{webhooks: [{url: 'http://h', headers: {X: [SECRET]}}]}", "[0].headers.X in /c.yaml: the value is not text"),
        ("{apprise: [[SECRET]]}", "notify.apprise[0] in /c.yaml: the value is not text"),
        ("{events: [dnoe]}", 'notify.events[0] in /c.yaml: "dnoe" is not one of proposed, done, failed,'),
        ("{command: ['']}", "notify.command in /c.yaml begins with nothing: name the program first"),
        ("{timeout: 0}", 'notify.timeout in /c.yaml: "0" is not more than 0'),
        ("{aprise: []}", "unknown key notify.aprise in /c.yaml: did you mean apprise?"),
    ],
)
def test_what_makes_no_sense_is_named_without_its_value_where_that_may_be_a_secret(
    tmp_path: Path, text: str, says: str
) -> None:
    assert says in refusal(tmp_path, text.replace("SECRET", SECRET))


REVEALING = (
    "{apprise: [ntfy://topic]}", "{apprise: ntfy://topic}", "{webhooks: [{url: 'https://h/', headers: {X: y}}]}",
    "{webhooks: [{url: 'https://u:p@h/'}]}", "{webhooks: [{url: 'https://h/?key=1'}]}",
    "{webhooks: [{url: 'https://h/services/T0/B0/abcdefghijklmnopqrst0123'}]}",
)  # fmt: skip


@pytest.mark.parametrize("text", REVEALING)
@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_file_with_a_secret_that_others_may_read_is_refused(tmp_path: Path, text: str, mode: int) -> None:
    notify(tmp_path, text)
    key = re.sub(r"\W", "", text.split(":")[0])
    says = f"/c.yaml holds notify.{key} and others may read it: run `chmod 600 /c.yaml`"
    assert refusal(tmp_path, text, mode) == says


@pytest.mark.parametrize(
    "text",
    [
        "{apprise: []}",
        "{apprise_file: urls}",
        "{command: [/bin/tell]}",
        "{webhooks: [{url: 'http://h:9000/hooks/lab'}]}",
    ],
)
def test_without_one_others_may_read_it(tmp_path: Path, text: str) -> None:
    notify(tmp_path, text, 0o644)


@pytest.mark.parametrize("value", [None, [], [{}], [{"url": None}], [5], "x", {"url": "x"}, [{"url": "http://["}]])
def test_whether_it_is_one_is_told_of_anything_that_may_be_written(value: Any) -> None:
    assert holds_secret("webhooks", value) in (True, False)


def test_a_text_is_the_list_that_was_meant() -> None:
    assert parts("apprise", " a://x?to=b,c ,d+e://y\nf://z ") == ["a://x?to=b,c", "d+e://y", "f://z"]
    assert parts("events", "done, failed") == ["done", "failed"]
    assert parts("command", "/a b") == ["/a b"]


EXAMPLES = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.S) if DOCS.exists() else []


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_example_of_the_documentation_can_be_used(number: int, tmp_path: Path) -> None:
    for path in re.findall(r"_file: (\S+)", EXAMPLES[number]):
        assert path.startswith("/etc/proxlb-plan/")
    text = re.sub(r"(ca_file|apprise_file): \S+", r"\1: ''", EXAMPLES[number])
    (tmp_path / "c.yaml").write_text(text)
    (tmp_path / "c.yaml").chmod(0o600)
    found = load(str(tmp_path / "c.yaml"), environ={}, cwd=tmp_path)
    Teller(found.notify, print, {})
    given = yaml.safe_load(text)["notify"]
    assert all(f"notify.{key}" in PATHS and getattr(found.notify, key) != "" for key in given)


def test_the_documentation_names_every_setting_and_every_event() -> None:
    text = DOCS.read_text()
    assert len(EXAMPLES) >= 3
    assert all(key.removeprefix("notify.") in text for key in PATHS if key.startswith("notify."))
    assert all(f"`{event}`" in text for event in Event)
