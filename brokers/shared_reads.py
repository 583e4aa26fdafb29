"""Answers that several reads of one account share, where they need the same.

A poll reads positions and then orders. Where both are made of the same lists, an adapter may use
the first read's answers for the second one, which began after them in the same block.
"""

from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")
_ANSWERS: ContextVar[dict[Hashable, Any] | None] = ContextVar("shared_reads", default=None)


@contextmanager
def shared_reads() -> Iterator[None]:
    """Let the reads of this block share answers."""
    token = _ANSWERS.set({})
    try:
        yield
    finally:
        _ANSWERS.reset(token)


def is_shared() -> bool:
    """Whether further reads may use what is read now."""
    return _ANSWERS.get() is not None


async def shared(key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
    """Return an answer that this block has already, or read it. Raises what `read` raises."""
    answers = _ANSWERS.get()
    if answers is None:
        return await read()
    if key not in answers:
        answers[key] = await read()
    found: T = answers[key]
    return found
