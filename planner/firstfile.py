"""Owns the configuration file that somebody begins with: the least that is needed, with what there is to choose."""

import contextlib
import errno
import json
import os
import shlex
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from planner import missing
from planner.access import PRIVILEGES, ROLE
from planner.connection import Connection
from planner.errors import ConfigError, InputError, UsageError

TOKEN: Final = "proxlb-plan@pve!planner"
"""The token of the README."""
SECRET: Final = "token"
"""A file beside the configuration."""
CA: Final = "pve-root-ca.pem"
"""Another one."""
NAMELESS: Final = ("", ".", "..", "-")
"""What a path of a file does not end with; others write - for what has no name."""
PRIVATE: Final = 0o600
TEXT: Final = """\
# Settings of proxlb-plan. What is left out has its default: `proxlb-plan config show` has all of them, with where each
# comes from, `proxlb-plan config schema` what each means, `proxlb-plan config validate` what is wrong with this file.
api:
  hosts: [{hosts}]    # nodes of the cluster, tried in order
  token_id: {token}
  token_secret_file: {secret}    # the secret and nothing else; others may not read it
{trust}

cluster:
  maintenance_nodes: []      # emptied, receive nothing
  ignore_nodes: []           # left alone with all their guests

policy:
  resource: memory           # memory, cpu, disk; or several: [memory, cpu]
  balanciness: 10            # percentage points between the fullest and the emptiest node that are tolerated
  # max_migrations: 20       # at most so many in one plan
  # reserve: {{default: {{memory: 4}}}}    # GiB that each node keeps for itself

apply:
  parallel: 4                # migrations at once

run:
  mode: observe              # what scheduled looks do: observe, approve (a person has to), auto
  every: 10m                 # between two looks of a daemon
"""
TRUSTED: Final = """\
  ca_file: {file}    # a copy of /etc/pve/pve-root-ca.pem"""
UNTRUSTED: Final = """\
  # The certificates of nodes are usually signed by the cluster itself. One of these is needed then:
  # ca_file: /etc/proxlb-plan/pve-root-ca.pem     # a copy of /etc/pve/pve-root-ca.pem
  # fingerprint: "AB:CD:..."                      # SHA-256 of the certificate"""


NEEDED: Final = """\
no Proxmox VE API is configured. It takes three things:
  api.hosts                nodes of the cluster, such as pve1.example.org
  api.token_id             an API token, such as {token}
  api.token_secret_file    a file with its secret, which others may not read
To be asked for them, and told how to make the token: proxlb-plan config init
To look around without a cluster: {demo}"""


@dataclass(frozen=True, slots=True)
class Answers:
    """What has to be known. ConfigError for what can never work."""

    hosts: tuple[str, ...]
    token_id: str = TOKEN
    secret_file: str = SECRET
    ca_file: str | None = None

    def __post_init__(self) -> None:
        if "=" in self.token_id:  # the form of the HTTP header, secret included
            raise ConfigError("the token id has a = in it: what follows it is the secret, and belongs in a file")
        if "!" not in self.token_id:
            raise ConfigError(f"the token id {self.token_id} names no user: give user@realm!name, such as {TOKEN}")
        Connection(self.hosts, token_id=self.token_id, token_secret="?")
        for path in (self.secret_file, CA if self.ca_file is None else self.ca_file):
            if not path.isprintable() or path.rpartition("/")[2] in NAMELESS:
                raise ConfigError(f"{path!a} is not the name of a file")

    def text(self) -> str:
        """The file."""
        trust = UNTRUSTED if self.ca_file is None else TRUSTED.format(file=json.dumps(self.ca_file, ensure_ascii=False))
        token, secret = json.dumps(self.token_id), json.dumps(self.secret_file, ensure_ascii=False)
        return TEXT.format(hosts=", ".join(map(json.dumps, self.hosts)), token=token, secret=secret, trust=trust)

    def commands(self) -> list[str]:
        """What makes the token, on any node of the cluster."""
        user, _, name = self.token_id.partition("!")
        user, name = shlex.quote(user), shlex.quote(name)
        return [
            f'pveum role add {ROLE} --privs "{" ".join(PRIVILEGES)}"',
            f"pveum user add {user}",
            f"pveum acl modify / --users {user} --roles {ROLE}",
            f"pveum user token add {user} {name} --privsep 0",
        ]


def needed() -> str:
    """What is said to somebody who has just installed the program."""
    demo = "proxlb-plan --demo" + ("" if missing.has_ortools() else " --solver descent")
    return NEEDED.format(token=TOKEN, demo=demo)


def check(path: Path, *, force: bool = False) -> None:
    """Whether a file can be written, as far as that shows before. UsageError where there is one already, unless forced;
    InputError where it cannot be."""
    try:
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            if not force:
                raise UsageError(f"{path} is there already: use --force to replace it, or name another file")
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=Path(os.path.realpath(path)).parent):
            pass  # modes alone do not tell: a file system may be read-only
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None


def write(path: Path, text: str, *, force: bool = False) -> None:
    """A file that nobody else can read. InputError where there is one already, unless forced, or it cannot be."""
    real = Path(os.path.realpath(path))  # a link stays a link
    new = real.with_name(f".{real.name}.{os.getpid()}.part") if force else real
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "w", encoding="utf-8") as file:
            file.write(text)
        if force:
            new.replace(real)
    except FileExistsError:
        raise InputError(f"{path} is there already: use --force to replace it, or name another file") from None
    except OSError as error:
        if force:
            with contextlib.suppress(OSError):
                new.unlink()
        raise InputError(f"cannot write {path}: {error.strerror}") from None
