"""Owns how a JSON object is posted to a webhook: tried a few times, and nothing of its address said but the host."""

import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url

from planner.audience import Webhook
from planner.clock import Clock
from planner.errors import ConfigError
from planner.unreached import reason

PAUSES: Final = (1.0, 3.0)
"""Seconds between two tries."""
SHORTEST: Final = 0.001
"""Seconds that a try has at least."""
PAUSE: Final = 0.25
"""Part of the time left that a pause takes at most."""
TRIES: Final = len(PAUSES) + 1
LATER: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
"""Answers that may be others soon, beside those that tell of trouble at the other end (5xx)."""


def host(webhook: Webhook) -> str:
    """What messages call it."""
    return urlsplit(webhook.url.get_secret_value()).hostname or "no host"


def check(webhook: Webhook, name: str) -> None:
    """ConfigError when its address cannot be asked, or its ca_file not be used."""
    if not _can_be_asked(webhook.url.get_secret_value()):
        raise ConfigError(f"{name}.url is not an address that can be asked: give one such as https://host/path")
    try:
        if webhook.ca_file:
            ssl.create_default_context(cafile=webhook.ca_file)
    except OSError as error:
        why = getattr(error, "reason", None) or error.strerror
        raise ConfigError(f"{name}.ca_file {webhook.ca_file} cannot be used: {why}") from None


def _can_be_asked(url: str) -> bool:
    try:
        requests.Request("POST", url).prepare()
    except (requests.RequestException, ValueError):
        return False
    return True


def post(webhook: Webhook, body: str, seconds: float, clock: Clock) -> str:
    """Post an object within so many seconds, all tries included; why it did not arrive, or nothing."""
    until = clock.now() + seconds
    words, final = _once(webhook, body, max(SHORTEST, seconds / TRIES))
    tried = 1
    while not final and tried < TRIES and (left := until - clock.now()) > 0:
        clock.sleep(min(PAUSES[tried - 1], left * PAUSE))
        words, final = _once(webhook, body, max(SHORTEST, (until - clock.now()) / (TRIES - tried)))
        tried += 1
    return f"{words} (tried {tried} times)" if words and not final else words


class _Try(NamedTuple):
    words: str
    """What is wrong, or nothing."""
    final: bool
    """Whether another try would end in the same way, or is not needed."""


def _once(webhook: Webhook, body: str, seconds: float) -> _Try:
    headers = {"content-type": "application/json", "user-agent": "proxlb-plan"}
    headers |= {name: value.get_secret_value() for name, value in webhook.headers.items()}
    url = webhook.url.get_secret_value()
    try:
        # stream: what is answered does not matter, and may have no end.
        with requests.post(
            url, body.encode(), headers=headers, auth=_auth(url), timeout=seconds, verify=webhook.ca_file or True,
            allow_redirects=False, stream=True,
        ) as answer:  # fmt: skip
            return _judged(answer.status_code)
    except requests.RequestException as error:
        return _Try(reason(error, "set ca_file").words, final=False)
    except (OSError, ValueError):  # what requests lets through; its words may hold the address
        return _Try("no request could be sent: is the address right, and ca_file there?", final=True)


def _auth(url: str) -> AuthBase | Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    """User and password of the address, or none: those of ~/.netrc would take the place of a header of ours."""
    user, password = get_auth_from_url(url)
    return HTTPBasicAuth(user, password) if user or password else lambda request: request


def _judged(status: int) -> _Try:
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return _Try("", final=True)
    phrase = f" {HTTPStatus(status).phrase}" if status in {*HTTPStatus} else ""
    if status < HTTPStatus.BAD_REQUEST:
        return _Try(f"answers with a redirect ({status}{phrase}), which is not followed", final=True)
    return _Try(f"answers {status}{phrase}", final=status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in LATER)
