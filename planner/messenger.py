"""Owns what the package apprise is asked to do: which addresses there are, and a message to one of them.

Nothing of an address is said but its scheme: the rest may be a secret. So the package's own log is silent.
"""

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from planner.audience import Notify, parts
from planner.errors import ConfigError, MissingDependency
from planner.notice import Notice
from planner.origin import read

CREDENTIAL: Final = "apprise"
"""Of systemd: LoadCredential=apprise:FILE."""


class Messenger:
    """One address. ConfigError when it makes no sense, MissingDependency without the package."""

    def __init__(self, name: str, address: str) -> None:
        scheme = re.match(r"([A-Za-z][\w+.-]{0,30})://", address)
        self.name = f"{name} ({scheme[1]})" if scheme else name
        self._service = _service(address)
        if self._service is None:
            raise ConfigError(f"{self.name} is not an address that apprise understands: `apprise --details` lists them")

    def send(self, notice: Notice) -> str:
        """Send a message; why it did not arrive, or nothing."""
        told = "\n".join(notice.lines)
        if self._service.notify(body=told, title=notice.title, notify_type=notice.severity, body_format="text"):
            return ""
        return "not taken: `apprise -vv` with the address says why"


def messengers(settings: Notify, environ: Mapping[str, str]) -> list[Messenger]:
    """Those of the settings, of their file, or of the credential that systemd hands over."""
    given = [(f"notify.apprise[{n}]", address.get_secret_value()) for n, address in enumerate(settings.apprise)]
    return [Messenger(name, address) for name, address in (*given, *_from_file(settings, environ))]


def _from_file(settings: Notify, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    credential = f"{environ.get('CREDENTIALS_DIRECTORY') or os.devnull}/{CREDENTIAL}"
    file = settings.apprise_file or (credential if os.access(credential, os.F_OK) else None)
    if not file:
        return
    text, shared = read(Path(file), "notify.apprise_file", environ)
    if shared:
        raise ConfigError(f"notify.apprise_file {file} may be read by others: run {shared}")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip().startswith("#"):
            yield from ((f"line {number} of notify.apprise_file {file}", each) for each in parts("apprise", line))


def _service(address: str) -> Any:
    """What sends to an address; None when it makes no sense."""
    try:
        with warnings.catch_warnings():  # of the packages that it loads
            warnings.simplefilter("ignore")
            import apprise

            logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
            asset = apprise.AppriseAsset(app_id="proxlb-plan", app_desc="proxlb-plan", secure_logging=True)
            service = apprise.Apprise(asset=asset)
            return service if service.add(address) and len(service) else None
    except ImportError:
        raise MissingDependency("notify.apprise needs apprise: pip install apprise") from None
