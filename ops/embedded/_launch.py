"""Become another program that ends when its starter does. Needs only the standard library.

    python -I -S _launch.py PARENT SIGNAL UID GID NICENESS -- program arguments…

This is a separate program because subprocess's preexec_fn may deadlock in a process with threads.
UID and GID -1: keep the present user. NICENESS: 0 to 19, how much it gives way to others.
"""

import ctypes
import os
import sys
import time

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Drop root, ask the kernel for SIGNAL at the parent's death, become the program."""
    parent, at_death, uid, gid, niceness = (int(text) for text in arguments[:5])
    if niceness:
        give_way(niceness)
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    end_with_parent(parent, at_death)  # after setuid, which clears it
    program = arguments[6:]
    os.execvp(program[0], program)


def end_with_parent(parent: int, at_death: int) -> None:
    """Let the kernel send the signal `at_death` when the parent ends (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, at_death)
        if os.getppid() != parent:  # the parent ended before prctl took effect
            sys.exit(1)


def give_way(niceness: int) -> None:
    """Let other processes run first, also where Linux weighs sessions before it weighs processes.

    With "autogroups" (sched(7)) a process's niceness counts only within its session. The kernel
    lets all ordinary users together change one session in 0.1 s.
    """
    os.nice(niceness)
    for _ in range(50):
        try:
            with open("/proc/self/autogroup", "w") as session:
                session.write(str(niceness))
            return
        except BlockingIOError:
            time.sleep(0.1)
        except OSError:  # there are no such groups here
            return


if __name__ == "__main__":
    main(sys.argv[1:])
