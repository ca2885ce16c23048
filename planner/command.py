"""Owns how commands of the operator are run: without a shell, with text on stdin, and with none of our secrets.

What a command prints is not shown, but for the last line on stderr of one that fails.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO, Final

PRIVATE: Final = ("PROXLB_PLAN_API__", "PROXLB_PLAN_NOTIFY__", "CREDENTIALS_DIRECTORY")
"""What variables begin with that are ours alone."""
TAIL: Final = 4096
"""Bytes of what a command says in which its last line is looked for."""
LONGEST: Final = 300
"""Characters of a last line that are shown."""


def public(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what is ours alone."""
    return {name: value for name, value in environ.items() if not name.startswith(PRIVATE)}


def carry_out(command: Sequence[str], text: str, environ: Mapping[str, str], seconds: float, setting: str) -> str:
    """Run a command to its end; what is wrong with that, or nothing. `setting`: what says for how long it may run."""
    # A file, not a pipe: what the command leaves running may hold on to it. A session of its own: Ctrl-C is for us.
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, env=public(environ),
                start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            return f"cannot be run: {getattr(error, 'strerror', None) or error}"
        try:
            process.communicate(text.encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            _kill(process)
            return f"did not end within {seconds:g} s ({setting}) and was killed"
        except BaseException:  # a second Ctrl-C
            _kill(process)
            raise
        return _complaint(process.returncode, said)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End a command and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _complaint(code: int, said: IO[bytes]) -> str:
    """What an exit code says, with the last line that was said."""
    if code == 0:
        return ""
    said.seek(max(0, said.seek(0, os.SEEK_END) - TAIL))
    last = _last_line(said.read())
    how = f"ended with {code}" if code > 0 else f"was ended by signal {-code}"
    return f"{how}: {last}" if last else how


def _last_line(said: bytes) -> str:
    """The last line that is not empty, fit for a terminal."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    return "".join(c for c in lines[-1] if c.isprintable())[:LONGEST] if lines else ""
