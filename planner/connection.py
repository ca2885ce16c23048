"""Owns what is needed to reach the API: hosts, credentials, trust; secrets never show in its repr."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from planner.errors import ConfigError

API_PORT = 8006


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the API is and who asks; raises ConfigError for what can never work."""

    hosts: tuple[str, ...]
    user: str = ""
    token_id: str | None = None  # "mytoken" or "user@realm!mytoken"
    token_secret: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    verify_tls: bool = True
    ca_file: str | None = None
    fingerprint: str | None = None  # SHA-256 of the certificate; takes the place of the CA check
    timeout: float = 30.0  # seconds without a byte of answer

    def __post_init__(self) -> None:
        if not self.hosts:
            raise ConfigError("api.hosts is empty: name at least one node of the cluster")
        for host in self.hosts:
            base_url(host)
        if self.timeout <= 0:
            raise ConfigError(f"api.timeout is {self.timeout}: give a number of seconds above 0")
        if self.fingerprint and not re.fullmatch(r"[0-9a-fA-F]{64}", self.fingerprint.replace(":", "")):
            raise ConfigError("api.fingerprint is not a SHA-256 fingerprint: give 64 hex digits, colons are optional")
        self._check_credentials()

    def _check_credentials(self) -> None:
        if self.token_id:
            if not self.token_secret:
                raise ConfigError(f"api.token_secret is missing for the API token {self.token_id}")
            # requests quotes an unfit header in its own error, and with it the secret.
            if not re.fullmatch(r"[!-~]+", self.token_secret):
                raise ConfigError("api.token_secret has a blank, a line break or a character that is not ASCII in it")
        elif not self.password:
            raise ConfigError("no credentials: set api.token_id and api.token_secret, or api.user and api.password")
        if not re.fullmatch(r"[!-~]*", self.token_id or ""):
            raise ConfigError("api.token_id has a blank or a character that is not ASCII in it: give user@realm!name")
        if not re.fullmatch(r"[^@!\s]+(@[^@!\s]+)*@[^@!\s]+", self.owner):
            raise ConfigError(f"api.user is '{self.owner}': give user and realm, such as root@pam")

    @property
    def owner(self) -> str:
        """The user who asks: the one in the token id if it names one."""
        return self.token_id.split("!")[0] if self.token_id and "!" in self.token_id else self.user

    @property
    def token_name(self) -> str | None:
        """The token id without its user; None when a password is used."""
        return self.token_id.split("!")[-1] if self.token_id else None

    @property
    def identity(self) -> str:
        """Who asks, as the tasks that come of it name him: root@pam, or root@pam!token."""
        return f"{self.owner}!{self.token_name}" if self.token_name else self.owner

    @property
    def credentials(self) -> str:
        """How messages name the credentials."""
        return f"API token {self.identity}" if self.token_name else f"password of {self.owner}"


def base_url(host: str) -> str:
    """The https address of an entry of api.hosts: name, IPv4, IPv6 or URL, the port being optional."""
    text = host.strip()
    if "://" not in text:
        text = f"https://[{text}]" if text.count(":") > 1 and not text.startswith("[") else f"https://{text}"
    if "@" in text:
        raise ConfigError("api.hosts has an entry with user or password in it: they belong in api.user, api.password")
    try:
        parts = urlsplit(text)
        name, port = parts.hostname or "", parts.port or API_PORT
    except ValueError:
        raise ConfigError(f"api.hosts has '{host}', which is not a host: give pve1, pve1:8006 or [fe80::1]") from None
    if parts.scheme != "https" or parts.path not in ("", "/") or not re.fullmatch(r"[\w:][\w.:-]*", name):
        raise ConfigError(f"api.hosts has '{host}', which is not a host: give pve1, pve1:8006 or [fe80::1]")
    return f"https://{f'[{name}]' if ':' in name else name}:{port}"
