"""Let PostgreSQL's processes give way as the workers do whose statements they execute.

PostgreSQL has a process for each session. That of a worker with a niceness would otherwise compete
on equal terms with the sessions that store alerts and read pages. docs/adr/0050.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.db.backends.signals import connection_created

from common.db.direct_sessions import is_pooled

# In the environment of the stack's processes, if it has started PostgreSQL on this machine. On
# another one the process numbers of the sessions mean nothing.
SAME_MACHINE = "_FILLCAST_DATABASE_IS_LOCAL"
ATTEMPTS, PAUSE_SECONDS = 10, 0.1


def follow_niceness() -> None:
    """Give each new database session of this process the niceness that the process has."""
    if os.environ.get(SAME_MACHINE):
        connection_created.connect(_follow, dispatch_uid="config.session_priority")


def _follow(connection: Any, **_: Any) -> None:
    # read now: a forked process gets its own after the imports
    if (niceness := os.getpriority(os.PRIO_PROCESS, 0)) <= 0:
        return
    if is_pooled(connection.alias):  # the number that a pooler gives belongs to no process, or any
        return
    pid = connection.connection.info.backend_pid
    with suppress(OSError):  # it has ended, belongs to another user, or there are no such groups
        os.setpriority(os.PRIO_PROCESS, pid, niceness)
        _weigh_group(pid, niceness)


def _weigh_group(pid: int, niceness: int) -> None:
    """Set the niceness of a process's group, which alone counts with "autogroups" (sched(7)).

    Each process of PostgreSQL has a group of its own. The kernel lets all ordinary users together
    change one in 0.1 s.
    """
    for _ in range(ATTEMPTS):
        try:
            Path(f"/proc/{pid}/autogroup").write_text(str(niceness))
            return
        except BlockingIOError:
            time.sleep(PAUSE_SECONDS)
