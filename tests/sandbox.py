"""What a unit forbids, imposed on one process: system calls by their names, and memory both written and executed.

Run as a program with one JSON object: `calls` (names of the system calls that are allowed; null: all) and `command`.
"""

import ctypes
import ctypes.util
import errno
import json
import os
import sys

NO_NEW_PRIVILEGES, NO_EXEC_GAIN = 38, 65
"""PR_SET_NO_NEW_PRIVS and PR_SET_MDWE of prctl; kernels before 6.3 do not know the latter."""
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
"""SCMP_ACT_ALLOW and SCMP_ACT_ERRNO of libseccomp."""


def library() -> str | None:
    """Where libseccomp is, which comes with systemd."""
    return ctypes.util.find_library("seccomp")


def _filter(names: list[str]) -> None:
    """All calls but these fail as if they were not permitted."""
    seccomp = ctypes.CDLL(library(), use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(ERRNO | errno.EPERM)))
    assert context
    for name in names:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # one that this architecture has
            assert not seccomp.seccomp_rule_add(context, ctypes.c_uint32(ALLOW), ctypes.c_int(number), 0), name
    assert not seccomp.seccomp_load(context)


def main() -> None:
    """Become the command, within these bounds."""
    asked = json.loads(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    assert not libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    libc.prctl(NO_EXEC_GAIN, 1, 0, 0, 0)
    if asked["calls"] is not None:
        _filter(asked["calls"])
    os.execv(asked["command"][0], asked["command"])


if __name__ == "__main__":
    main()
