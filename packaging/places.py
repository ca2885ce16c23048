"""Owns what pages say about files, variables and exit codes: where the program looks, what wins, how it ends."""

from typing import Final

from planner.config import SYSTEM_FILE
from planner.config_schema import meanings
from planner.errors import Exit
from planner.origin import CONFIG_VARIABLE, PREFIX
from planner.state import SYSTEM

FILES: Final = {
    "./proxlb-plan.yaml": "The configuration; the first of these that is there is read, unless --config or "
    f"${CONFIG_VARIABLE} names another one.",
    "$XDG_CONFIG_HOME/proxlb-plan/config.yaml": "The configuration of a user; ~/.config if the variable is not set.",
    str(SYSTEM_FILE): "The configuration of the machine.",
    str(SYSTEM): "The journal of runs and looks, and the locks, if root runs the program.",
    "$XDG_STATE_HOME/proxlb-plan": "The same for other users; ~/.local/state if the variable is not set.",
}
"""Path to what is there."""
VARIABLES: Final = {
    CONFIG_VARIABLE: "Path of the configuration file, if --config names none.",
    f"{PREFIX}SECTION__KEY": f"Sets a key of the configuration, such as {PREFIX}POLICY__MAX_MIGRATIONS=5. It wins over "
    "the file, and a flag wins over it. Lists and mappings may be written as JSON.",
    "STATE_DIRECTORY": "Where the journal and the locks are, as systemd sets it; apply.state_directory wins over it.",
    "CREDENTIALS_DIRECTORY": "Where systemd has put credentials; token_secret, password and apprise are read from "
    "there if the configuration names no file with them.",
    "XDG_CONFIG_HOME, XDG_STATE_HOME": "Where users keep configuration and state.",
    "NO_COLOR": "If it is set, nothing is coloured.",
}
"""Environment variable to what it does."""

PRECEDENCE: Final = (
    "The configuration is a YAML file of sections, each a mapping of keys. What is left out has its default. A "
    "variable of the environment wins over the file, and a flag wins over both. The variable of a key is called "
    "PROXLB_PLAN_, its section, two underscores, and the key, in capitals: PROXLB_PLAN_POLICY__MAX_MIGRATIONS.",
    "`proxlb-plan config init` writes a first file, `config validate` says what is wrong with one, `config show` shows "
    "what holds, and `config schema` prints its JSON Schema, for editors. A configuration of ProxLB is understood too.",
    "A file with a secret in it must not be readable by others. Paths are relative to the file that they stand in.",
)
EXAMPLE: Final = """\
api:
  hosts: [pve1.example.org, pve2.example.org]
  token_id: proxlb-plan@pve!planner
  token_secret_file: /etc/proxlb-plan/token
  ca_file: /etc/proxlb-plan/pve-root-ca.pem
policy:
  resource: [memory, cpu]
  max_migrations: 20
"""


def exits() -> dict[int, str]:
    """Exit code to when the program ends with it."""
    said = meanings(Exit)
    return {code.value: said[code.name] for code in Exit}
