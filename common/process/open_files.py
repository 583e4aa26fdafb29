"""How many files and sockets a process may have open: its soft limit, raised to the hard one.

An ordinary user's processes begin with 1,024, although the system allows many times more. An
account over HTTP needs a few sockets at once, so a thousand accounts do not fit.
"""

import sys
from pathlib import Path

MOST = 1_048_576  # where there is no hard limit
RESERVED = 224  # sessions of PostgreSQL and Redis, logs, journals, the loop
PER_ACCOUNT = 3  # an order, a read and a stream at once


def raise_limit() -> int:
    """Raise this process's soft limit to its hard one; return the limit, 0 where there is none.

    Child processes begin with it.
    """
    try:
        import resource
    except ImportError:  # Windows
        return 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):  # macOS allows less than it states
            return soft
        return most
    return MOST if soft == resource.RLIM_INFINITY else soft


def limit_of(pid: int) -> int:
    """Return the soft limit of a process of this machine; 0 if it cannot be read."""
    if sys.platform != "linux":
        return 0
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except OSError:
        return 0
    (soft,) = (line.split()[3] for line in lines if line.startswith("Max open files"))
    return MOST if soft == "unlimited" else int(soft)


def accounts_for(limit: int) -> int:
    """Return about how many accounts over HTTP a process with this limit is good for."""
    return max(0, (limit - RESERVED) // PER_ACCOUNT)
