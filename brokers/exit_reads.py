"""Reads that an exit waits for: an adapter makes them before entries and all other reads.

The position may be without its stop until then, so the read is what an exit needs and no more:
what is held. Levels, entry prices and times may be left out of the answer.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_IS_CURRENT: ContextVar[bool] = ContextVar("exit_read", default=False)


@contextmanager
def exit_read() -> Iterator[None]:
    """Make the calls of this block reads that an exit waits for."""
    token = _IS_CURRENT.set(True)
    try:
        yield
    finally:
        _IS_CURRENT.reset(token)


def is_exit_read() -> bool:
    """Whether an exit waits for what is being read."""
    return _IS_CURRENT.get()
