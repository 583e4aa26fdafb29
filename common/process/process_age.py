"""How long this process has been running; a forked one began when it was forked."""

import os

from common.clocks import machine_time

_began = machine_time()


def seconds_running() -> float:
    """Return the machine seconds since this process began."""
    return machine_time() - _began


def _begin() -> None:
    global _began
    _began = machine_time()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_begin)
