"""Claims about who is told: over real connections to servers of HTTP, HTTPS and SMTP, and never with a secret."""

import email
import email.policy
import json
import logging
import os
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from fakepve.certs import make_cert
from pydantic import SecretStr

from planner import messenger
from planner.audience import Notify, Webhook
from planner.before import Before
from planner.choices import Event, RunMode
from planner.clock import FastClock
from planner.errors import ConfigError, MissingDependency
from planner.look import Look, Outcome
from planner.notice import Notice, notices
from planner.tell import Teller
from tests.inbox import PHRASE, Inbox, listening
from tests.test_notice import NOTICE

SECRET = PHRASE
LOOK = Look(at=1e9, cluster="lab", mode=RunMode.APPROVE, outcome=Outcome.PROPOSED, run=7, migrations=3)
(NOTICED,) = notices(LOOK, Before())


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with listening() as one:
        yield one


def hook(url: str, **more: Any) -> Webhook:
    return Webhook(SecretStr(url), **more)


def tell(settings: Notify, environ: dict[str, str] | None = None, notice: Notice = NOTICED) -> tuple[bool, list[str]]:
    """Whether all were told, and what was said."""
    said: list[str] = []
    return Teller(settings, said.append, environ or {}, FastClock()).tell(notice), said


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# Webhooks


def test_a_webhook_gets_the_notice_as_json_with_the_headers_that_are_asked_for(inbox: Inbox) -> None:
    headers = {"Authorization": SecretStr(f"Bearer {SECRET}"), "X-From": SecretStr("lab")}
    assert tell(Notify(webhooks=(hook(inbox.url("/a/b?c=d"), headers=headers),))) == (True, [])
    (body,) = inbox.bodies
    assert json.loads(body) == json.loads(NOTICED.to_json()) and NOTICE.is_valid(json.loads(body))
    assert (inbox.paths, inbox.headers[0]["content-type"]) == (["/a/b?c=d"], "application/json")
    assert (inbox.headers[0]["authorization"], inbox.headers[0]["x-from"]) == (f"Bearer {SECRET}", "lab")


def test_user_and_password_of_the_address_are_sent_and_those_of_netrc_are_not(
    inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    own = {"Authorization": SecretStr("Bearer mine")}
    tell(Notify(webhooks=(hook(inbox.url(who="me:pw@")),)))
    tell(Notify(webhooks=(hook(inbox.url(), headers=own),)))
    tell(Notify(webhooks=(hook(inbox.url()),)))
    assert [headers.get("authorization") for headers in inbox.headers] == ["Basic bWU6cHc=", "Bearer mine", None]


@pytest.mark.parametrize(
    ("statuses", "tries", "says"),
    [
        ([503, 500, 200], 3, ""),
        ([429, 204], 2, ""),
        ([503], 3, "answers 503 Service Unavailable (tried 3 times)"),
        ([404], 1, "answers 404 Not Found"),
        ([302], 1, "answers with a redirect (302 Found), which is not followed"),
        ([599], 3, "answers 599 (tried 3 times)"),
    ],
)
def test_it_is_tried_three_times_where_another_try_may_help(
    inbox: Inbox, statuses: list[int], tries: int, says: str
) -> None:
    inbox.statuses = statuses
    told, said = tell(Notify(webhooks=(hook(inbox.url(f"/{SECRET}")),)))
    assert (told, len(inbox.bodies), set(inbox.paths)) == (not says, tries, {f"/{SECRET}"})
    name = "proposed of cluster lab was not told to notify.webhooks[0] (127.0.0.1)"
    assert said == ([f"{name}: {says}"] if says else [])


def test_whoever_does_not_answer_is_named_in_one_line_without_the_secrets_of_the_address(inbox: Inbox) -> None:
    inbox.hold = 0.4
    nobody = hook(f"http://u:{SECRET}@127.0.0.1:{free_port()}/{SECRET}?k={SECRET}", headers={"X": SecretStr(SECRET)})
    slow = hook(inbox.url(f"/{SECRET}"))
    told, said = tell(Notify(webhooks=(nobody, slow), timeout=0.6))
    assert not told and len(said) == 1 and SECRET not in said[0]
    assert "notify.webhooks[0] (127.0.0.1): connection refused (tried 3 times)" in said[0]
    assert "notify.webhooks[1] (127.0.0.1): no answer in time (tried 3 times)" in said[0]
    assert SECRET not in repr(Notify(webhooks=(nobody, slow))) and len(inbox.bodies) == 3


def test_a_certificate_is_checked_against_ca_file_and_one_that_is_not_trusted_gets_nothing(tmp_path: Path) -> None:
    cert, key, _ = make_cert(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with listening(context) as inbox:
        assert tell(Notify(webhooks=(hook(inbox.url(scheme="https"), ca_file=cert),))) == (True, [])
        told, said = tell(Notify(webhooks=(hook(inbox.url(scheme="https")),)))
        assert not told and "its certificate is not trusted" in said[0] and "set ca_file" in said[0]
        assert len(inbox.bodies) == 1


def test_a_ca_file_that_cannot_be_used_is_named_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("none")
    for name, says in (("empty.pem", "cannot be used"), ("missing.pem", "No such file")):
        with pytest.raises(ConfigError, match=rf"notify.webhooks\[0\].ca_file .*{name}.*{says}|{says}"):
            tell(Notify(webhooks=(hook("https://localhost/", ca_file=str(tmp_path / name)),)))


@pytest.mark.parametrize("url", [f"http://{SECRET} x/", f"http://*.{SECRET}", f"http://.{SECRET}"])
def test_an_address_that_cannot_be_asked_is_named_at_the_start_without_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tell(Notify(webhooks=(hook("http://h/"), hook(url))))
    assert str(caught.value).startswith("notify.webhooks[1].url is not an address that can be asked")
    assert SECRET not in str(caught.value)


# A command


def script(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "tell.sh"
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(stat.S_IRWXU)
    return str(path)


def test_a_command_gets_its_arguments_the_notice_on_stdin_and_none_of_our_secrets(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": "/root", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    environ |= dict.fromkeys(("PROXLB_PLAN_NOTIFY__APPRISE", "PROXLB_PLAN_NOTIFY__WEBHOOKS"), SECRET)
    environ |= {"PROXLB_PLAN_API__TOKEN_SECRET": SECRET, "PROXLB_PLAN_CONFIG": "/etc/c.yaml"}
    program = script(
        tmp_path, f"cat > {tmp_path}/in", f"env > {tmp_path}/env", f'printf "%s" "$1" > {tmp_path}/argument'
    )
    assert tell(Notify(command=(program, "$(x); *")), environ) == (True, [])
    assert json.loads((tmp_path / "in").read_text()) == json.loads(NOTICED.to_json())
    assert (tmp_path / "argument").read_text() == "$(x); *"
    seen = (tmp_path / "env").read_text()
    assert SECRET not in seen and "CREDENTIALS" not in seen and "PROXLB_PLAN_CONFIG=/etc/c.yaml" in seen


def test_a_command_that_fails_or_takes_too_long_is_said_and_stops_nothing(tmp_path: Path) -> None:
    program = script(tmp_path, "echo no >&2; echo 'the line is busy' >&2", "exit 7")
    told, said = tell(Notify(command=(program,)))
    assert not told and said[0].endswith(f"notify.command ({program}): ended with 7: the line is busy")
    slow = script(tmp_path, "sleep 60")
    assert (
        "did not end within 0.2 s (notify.timeout) and was killed" in tell(Notify(command=(slow,), timeout=0.2))[1][0]
    )
    assert "cannot be run: No such file" in tell(Notify(command=("/nowhere/tell",)))[1][0]


# Apprise


@dataclass
class Mailbox:
    port: int
    letters: list[Any] = field(default_factory=list)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.letters.append((envelope, email.message_from_bytes(envelope.content, policy=email.policy.default)))
        return "250 OK"

    @property
    def address(self) -> str:
        return f"mailto://127.0.0.1:{self.port}?mode=insecure&from=planner@example.org&to=a@example.org"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox(free_port())
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    yield box
    controller.stop()


def test_apprise_sends_a_mail_that_a_person_can_read(mailbox: Mailbox) -> None:
    assert tell(Notify(apprise=(SecretStr(mailbox.address),))) == (True, [])
    ((envelope, letter),) = mailbox.letters
    assert (envelope.rcpt_tos, letter["subject"]) == (["a@example.org"], NOTICED.title)
    text = letter.get_body(("plain",)).get_content()
    assert [line for line in text.splitlines() if line] == list(NOTICED.lines)


def test_addresses_come_from_a_file_and_the_credential_of_systemd_too(mailbox: Mailbox, tmp_path: Path) -> None:
    (tmp_path / "apprise").write_text(f"# mail\n\n{mailbox.address}\n  # nobody://x\n")
    (tmp_path / "apprise").chmod(0o600)
    assert tell(Notify(apprise_file=str(tmp_path / "apprise"))) == (True, [])
    (tmp_path / "apprise").chmod(0o440)  # as systemd leaves it, who guards the directory
    assert tell(Notify(), {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == (True, [])
    assert len(mailbox.letters) == 2


def test_a_file_of_addresses_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "apprise"
    path.write_text(f"mailto://u:{SECRET}@example.org")
    path.chmod(0o640)
    with pytest.raises(ConfigError) as caught:
        tell(Notify(apprise_file=str(path)))
    assert str(caught.value) == f"notify.apprise_file {path} may be read by others: run `chmod 600 {path}`"
    with pytest.raises(ConfigError, match=r"notify\.apprise_file /nowhere/x cannot be read: No such file"):
        tell(Notify(apprise_file="/nowhere/x"))


def test_who_cannot_be_reached_through_apprise_is_named_by_scheme_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    gone = f"mailto://u:{SECRET}@127.0.0.1:{free_port()}?mode=insecure&from=a@example.org&to=b@example.org"
    settings = Notify(apprise=(SecretStr(gone), SecretStr(f"json://127.0.0.1:{free_port()}/{SECRET}")))
    told, said = tell(settings)
    assert not told and len(said) == 1
    assert "notify.apprise[0] (mailto): not taken" in said[0] and "notify.apprise[1] (json): not taken" in said[0]
    assert SECRET not in said[0] + caplog.text + repr(settings)


@pytest.mark.parametrize(
    ("address", "name"), [(f"nobody://{SECRET}", " (nobody)"), (SECRET, ""), ("mailto://", " (mailto)")]
)
def test_an_address_that_makes_no_sense_is_named_at_the_start(address: str, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tell(Notify(apprise=(SecretStr("json://localhost"), SecretStr(address))))
    assert str(caught.value).startswith(f"notify.apprise[1]{name} is not an address that apprise understands")
    assert SECRET not in str(caught.value)


def test_without_the_package_it_is_said_at_the_start_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    tell(Notify())
    with pytest.raises(MissingDependency, match="pip install apprise"):
        tell(Notify(apprise=(SecretStr("json://localhost"),)))


def test_the_package_is_not_loaded_unless_it_is_needed() -> None:
    code = "import sys, planner.tell; from planner.audience import Notify\n"
    code += "planner.tell.Teller(Notify(), print, {}); sys.exit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# All of them


def test_only_events_that_are_asked_for_are_told(inbox: Inbox) -> None:
    webhooks = (hook(inbox.url()),)
    assert tell(Notify(events=(Event.FAILED,), webhooks=webhooks)) == (True, [])
    assert inbox.bodies == []
    assert tell(Notify(events=(Event.FAILED, Event.PROPOSED), webhooks=webhooks))[0] and len(inbox.bodies) == 1


def test_one_that_fails_keeps_no_other_from_being_told(inbox: Inbox, mailbox: Mailbox, tmp_path: Path) -> None:
    gone = hook(f"http://127.0.0.1:{free_port()}/")
    program = script(tmp_path, f"cat > {tmp_path}/in")
    settings = Notify(command=(program,), webhooks=(gone, hook(inbox.url())), apprise=(SecretStr(mailbox.address),))
    told, said = tell(settings)
    assert not told and len(said) == 1 and said[0].count("notify.") == 1 and "notify.webhooks[0]" in said[0]
    assert (tmp_path / "in").exists() and len(inbox.bodies) == len(mailbox.letters) == 1


def test_what_never_answers_is_not_waited_for_and_what_a_plugin_raises_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = threading.Event()

    def stuck(_self: messenger.Messenger, _notice: Notice) -> str:
        ended.wait(30)
        return ""

    def odd(_self: messenger.Messenger, _notice: Notice) -> str:
        raise ValueError(SECRET)

    monkeypatch.setattr("planner.tell.SPARE", 0.1)
    settings = Notify(apprise=(SecretStr("json://localhost"),), timeout=0.2)
    monkeypatch.setattr(messenger.Messenger, "send", stuck)
    assert "no end within 0.2 s (notify.timeout)" in tell(settings)[1][0]
    ended.set()
    monkeypatch.setattr(messenger.Messenger, "send", odd)
    told, said = tell(settings)
    assert not told and said[0].endswith("notify.apprise[0] (json): failed (ValueError)")


def test_with_nobody_to_tell_nothing_happens_and_nothing_is_waited_for() -> None:
    assert tell(Notify()) == (True, []) and Teller(Notify(), print, {}).longest == 0
    assert Teller(Notify(command=("x",), timeout=7), print, {}).longest > 7
