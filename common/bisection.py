"""One item's trouble is never its neighbours'."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
ErrorTypes = tuple[type[Exception], ...]
ErrorPredicate = Callable[[Exception], bool]


def _never(_: Exception) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class _Broken(Generic[T]):
    """An item that cannot be done even alone."""

    item: T
    fault: Exception


def process_with_bisection(
    items: Sequence[T],
    do: Callable[[Sequence[T]], R],
    alone: Callable[[T, Exception], R],
    *,
    faults: ErrorTypes = (Exception,),
    spared: ErrorPredicate = _never,
    ours: ErrorTypes = (),
) -> list[R]:
    """Do something with all items at once; return what came of each group that it was done with.

    What breaks a group by one of `faults` is halved until it stands alone, and is left to `alone`
    with its fault. Whatever else is raised, and what is `spared`, is no item's fault and passes.
    ours: faults that are our own program's where each of several items breaks by one of them; then
    the first is raised again, and none is left to `alone`.
    """
    parts = _process_or_split(items, do, faults, spared)
    broken = [part for part in parts if isinstance(part, _Broken)]
    if 1 < len(items) == len(broken) and all(isinstance(one.fault, ours) for one in broken):
        raise broken[0].fault
    return [alone(one.item, one.fault) if isinstance(one, _Broken) else one for one in parts]


def _process_or_split(
    items: Sequence[T], do: Callable[[Sequence[T]], R], faults: ErrorTypes, spared: ErrorPredicate
) -> "list[R | _Broken[T]]":
    try:
        return [do(items)]
    except faults as error:
        if spared(error):
            raise
        if len(items) == 1:
            return [_Broken(items[0], error)]
    middle = len(items) // 2
    return [
        part
        for half in (items[:middle], items[middle:])
        for part in _process_or_split(half, do, faults, spared)
    ]
