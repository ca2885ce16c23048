"""What tests of a shell share: one on a terminal of its own, typed into, its answers waited for."""

import os
import pty
import re
import select
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

WAIT: Final = 60.0
"""Seconds after which an answer does not come any more."""


class Shell:
    """A shell at work in a folder, whose prompt is `ready> `; to be used in a with statement."""

    def __init__(self, command: Sequence[str], folder: Path, path: str) -> None:
        self.said = ""
        self._seen = 0
        self._pid, self._handle = pty.fork()
        if self._pid == 0:
            try:  # whatever happens, what forked here does not go on with the tests
                os.chdir(folder)
                prompt = dict.fromkeys(("PS1", "PROMPT"), "ready> ")
                known = {"PATH": f"{path}:/usr/bin:/bin", "HOME": str(folder), "TERM": "dumb", "LANG": "C.UTF-8"}
                os.execve(shutil.which(command[0]) or command[0], command, known | prompt)
            finally:
                os._exit(127)

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)
        os.waitpid(self._pid, 0)

    def type(self, keys: str, answer: str) -> str:
        """Types, and waits for a pattern in what is new; then what is new."""
        os.write(self._handle, keys.encode())
        end = time.monotonic() + WAIT
        while not re.search(answer, self.said[self._seen :]):
            left = end - time.monotonic()
            assert left > 0 and select.select([self._handle], [], [], left)[0], f"no {answer} in: {self.said!r}"
            self.said += os.read(self._handle, 1 << 16).decode(errors="replace")
        new, self._seen = self.said[self._seen :], len(self.said)
        return new
