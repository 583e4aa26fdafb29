"""Adopt orphans: on Linux a process may become the parent of descendants whose parents have ended.

They are then its own children: it gets their exit codes, and they end with it.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37


@contextlib.contextmanager
def adopted() -> Iterator[None]:
    """Within: orphans become children of this process. Raises OSError where that is impossible."""
    before = _adopts()
    _set_adopting(True)
    try:
        yield
    finally:
        _set_adopting(before)


def can_adopt() -> bool:
    """Return whether this system can give orphans to a process."""
    if sys.platform != "linux":
        return False
    try:
        _set_adopting(_adopts())  # some systems allow to ask and not to set
    except OSError:
        return False
    return True


def reap_group(group: int) -> bool:
    """Remove ended processes of a group, which only their parent can do; return whether children of
    this process remain in it."""
    try:
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _adopts() -> bool:
    value = ctypes.c_int()
    _prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(value))
    return bool(value.value)


def _set_adopting(value: bool) -> None:
    _prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(value))


def _prctl(option: int, argument: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
