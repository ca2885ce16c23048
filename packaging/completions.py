"""Owns the files with which shells complete the command line: what typer has for each shell, mended where need be."""

import os
import sys
from pathlib import Path
from typing import Final

from about import ROOT
from commands import PROGRAM
from running import run

VARIABLE: Final = f"_{PROGRAM.replace('-', '_').upper()}_COMPLETE"
"""What the program is asked in, by the shell and here."""
FUNCTION: Final = f"_{PROGRAM.replace('-', '_')}_completion"
FILES: Final = {"bash": PROGRAM, "zsh": f"_{PROGRAM}", "fish": f"{PROGRAM}.fish"}
"""Shell to the name that it looks for."""
AT_ONCE: Final = f"""
# A shell loads this file at the first use: without this line, that one would complete nothing.
[[ $zsh_eval_context[-1] == loadautofunc ]] && {FUNCTION} "$@"
"""


def completions() -> dict[str, str]:
    """Shell to the script that it loads."""
    made = {shell: _made(shell) for shell in FILES}
    return made | {"zsh": made["zsh"] + AT_ONCE}


def _made(shell: str) -> str:
    """What the program itself gives for `--show-completion`, in a shell of this kind."""
    asked = os.environ | {VARIABLE: f"source_{shell}"}
    # The first line has to be #compdef for zsh: typer begins with an empty one.
    return run([sys.executable, "-m", "planner"], env=asked, cwd=ROOT).strip() + "\n"


if __name__ == "__main__":
    if not (sys.argv[1:] and Path(sys.argv[1]).is_dir()):
        sys.exit("usage: python packaging/completions.py FOLDER, which is there already")
    for shell, script in completions().items():
        Path(sys.argv[1], FILES[shell]).write_text(script, encoding="utf-8")
