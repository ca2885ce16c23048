"""Owns the sections of settings, the one about the API included, and which keys there are."""

from dataclasses import dataclass, field
from typing import Annotated, get_type_hints

from annotated_types import Gt
from pydantic import SecretStr

from planner.audience import Notify
from planner.policy import Apply, Cluster, Policy
from planner.service import Log, Metrics, Run


@dataclass(frozen=True, slots=True)
class Api:
    """Where the Proxmox VE API is and who asks (section `api`)."""

    hosts: tuple[str, ...] = ()
    """Nodes of the cluster, tried in order: name, IPv4 or IPv6, the port being optional."""
    user: str = ""
    """Such as root@pam; not needed where the token id names it."""
    token_id: str | None = None
    """name or user@realm!name."""
    token_secret: SecretStr | None = None
    """The secret itself: better in a file of its own."""
    token_secret_file: str | None = None
    """A file with nothing but the secret, that others may not read; None: the credential `token_secret` of systemd."""
    password: SecretStr | None = None
    """Of the user, instead of a token."""
    password_file: str | None = None
    """A file with nothing but the password, that others may not read; None: the credential `password` of systemd."""
    verify_tls: bool = True
    """Whether certificates are checked."""
    ca_file: str | None = None
    """Who has signed them: a copy of /etc/pve/pve-root-ca.pem; None: the authorities that this machine trusts."""
    fingerprint: str | None = None
    """SHA-256 of the certificate, instead of the check of who has signed it."""
    timeout: Annotated[float, Gt(0)] = 30.0
    """Seconds without a byte of answer."""


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of a run."""

    api: Api = field(default_factory=Api)
    cluster: Cluster = field(default_factory=Cluster)
    policy: Policy = field(default_factory=Policy)
    apply: Apply = field(default_factory=Apply)
    run: Run = field(default_factory=Run)
    notify: Notify = field(default_factory=Notify)
    metrics: Metrics = field(default_factory=Metrics)
    log: Log = field(default_factory=Log)
    source: str | None = None
    """Path of the file that was read."""
    remarks: tuple[str, ...] = ()
    """What in it has no effect, and why."""


SECRETS = ("token_secret", "password")
"""Keys of section api that hold a secret."""
OTHER = {key: f"{key}_file" for key in SECRETS} | {f"{key}_file": key for key in SECRETS}
"""What is set for one of these replaces what a weaker place set for the other."""
SECTIONS = {
    "api": Api, "cluster": Cluster, "policy": Policy, "apply": Apply,
    "run": Run, "notify": Notify, "metrics": Metrics, "log": Log,
}  # fmt: skip
TYPES = {name: get_type_hints(section) for name, section in SECTIONS.items()}
"""Section to key to the type of its value."""
PATHS = {f"{section}.{key}": (section, key) for section, types in TYPES.items() for key in types}
FOR_NODES = ("reserve", "overcommit")
"""Settings of several parts for each node; the parts alone are for all of them."""
