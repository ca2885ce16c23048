"""Owns how long is waited for what while a plan is carried out. Seconds."""

POLL = 1.0
"""Between two looks at what is under way."""
PAUSE = 10.0
"""Between two attempts at an API that does not answer, at most; the first ones come sooner."""
PATIENCE = 60.0
"""For which an API that does not answer is asked again."""
SETTLE = 30.0
"""Within which a guest must show up on its target after its task has ended well, or a lost task be found. Whether a
guest runs is known only after a cycle of Proxmox VE's statistics (10 s)."""
HA_PATIENCE = 120.0
"""For which the HA manager (a cycle of 10 s) may do nothing visible about a migration that was handed to it."""
SETTLING = 45.0
"""After which a request that a process may have sent before it died has had its effect, or never will: a node that
passes it on to another waits 30 s for that."""


def pause(tries: int) -> float:
    """Before the attempt after so many failed ones."""
    return min(PAUSE, POLL * 2.0 ** min(tries, 10))
