"""One item's trouble is never its neighbours'."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
Faults = tuple[type[Exception], ...]


def all_or_halves(
    items: Sequence[T],
    do: Callable[[Sequence[T]], R],
    alone: Callable[[T, Exception], R],
    *,
    faults: Faults = (Exception,),
    spared: Faults = (),
) -> list[R]:
    """Do something with all items at once; return what came of each group that it was done with.

    What breaks a group by one of `faults` is halved until it stands alone, and is left to `alone`
    with its fault. Whatever else is raised, and what is `spared`, is no item's fault and passes.
    """
    try:
        return [do(items)]
    except spared:
        raise
    except faults as error:
        if len(items) == 1:
            return [alone(items[0], error)]
    middle = len(items) // 2
    return [
        result
        for half in (items[:middle], items[middle:])
        for result in all_or_halves(half, do, alone, faults=faults, spared=spared)
    ]
