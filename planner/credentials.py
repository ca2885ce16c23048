"""Owns how the settings of section api become a connection, with the secret from where it is kept."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.connection import Connection, base_url
from planner.errors import ConfigError, NotConfigured
from planner.origin import read
from planner.settings import OTHER, SECRETS, Api, Config


def connection(config: Config, environ: Mapping[str, str] | None = None) -> Connection:
    """What a session with the API needs, secrets read from their files; raises ConfigError."""
    api = config.api
    if not api.hosts and not api.user and not api.token_id:
        needed = "set api.hosts, api.token_id and api.token_secret_file in proxlb-plan.yaml"
        raise NotConfigured(f"no Proxmox VE API is configured: {needed}, or try --demo or --snapshot FILE")
    if (api.token_id or api.token_secret or api.token_secret_file) and (api.password or api.password_file):
        raise ConfigError("api has both a token and a password: keep api.token_id with its secret, or the password")
    check_shown(api)
    if api.ca_file and not os.access(api.ca_file, os.F_OK):
        raise ConfigError(f"api.ca_file {api.ca_file} does not exist: copy /etc/pve/pve-root-ca.pem there from a node")
    same = ("hosts", "user", "token_id", "verify_tls", "ca_file", "fingerprint", "timeout")
    given: dict[str, Any] = {key: getattr(api, key) for key in same}
    given |= {key: _secret(api, key, os.environ if environ is None else environ) for key in SECRETS}
    return Connection(**given)


def check_shown(api: Api) -> None:
    """ConfigError where a secret stands in what messages name."""
    for host in api.hosts:
        base_url(host)
    if "=" in (api.token_id or ""):  # the form of the HTTP header, secret included
        raise ConfigError("api.token_id has a = in it: what follows it is the secret and belongs in api.token_secret")


def _secret(api: Api, key: str, environ: Mapping[str, str]) -> str | None:
    """The secret itself: given, in its file, or handed over by systemd (LoadCredential=token_secret: or password:)."""
    value, file, name = getattr(api, key), getattr(api, OTHER[key]), f"api.{OTHER[key]}"
    if value and file:
        raise ConfigError(f"api.{key} and {name} are both set: keep one")
    credential = f"{environ.get('CREDENTIALS_DIRECTORY') or os.devnull}/{key}"
    if not value and not file and (key == "token_secret") == bool(api.token_id) and os.access(credential, os.F_OK):
        file = credential
    if not file:
        return value.get_secret_value() if value else None
    text, shared = read(Path(file), name, environ)
    if shared:
        raise ConfigError(f"{name} {file} may be read by others: run {shared}")
    if not text.strip():
        raise ConfigError(f"{name} {file} is empty: write the secret to it")
    return text.rstrip("\r\n")
