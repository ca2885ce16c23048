"""Owns how other programs are called: what they say is shown when they fail, and then in full."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class Failed(Exception):
    """Something that was called has failed; its message is for people."""


def run(
    command: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    called: str | None = None,
) -> str:
    """What a program prints. Raises `Failed` with all that it said, or that it is not there.

    `called`: its name in that message, in place of the whole command.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, env=env, cwd=cwd, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except FileNotFoundError:
        raise Failed(f"{words[0]} is not installed (or not in the PATH)") from None
    if done.returncode:
        raise Failed(f"{called or ' '.join(words)} ended with {done.returncode}:\n{done.stdout.strip()}")
    return done.stdout


def attempt(program: str, work: Callable[[], None]) -> None:
    """Do something; what fails, or Ctrl-C, is one line and the exit code 1, or 130."""
    try:
        work()
    except Failed as failed:
        sys.exit(f"{program}: {failed}")
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        sys.exit(130)
