"""Process a batch so that an item that fails does not affect the others."""

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
class _Failed(Generic[T]):
    """An item that fails even when it is processed alone."""

    item: T
    error: Exception


def process_with_bisection(
    items: Sequence[T],
    do: Callable[[Sequence[T]], R],
    alone: Callable[[T, Exception], R],
    *,
    faults: ErrorTypes = (Exception,),
    spared: ErrorPredicate = _never,
    ours: ErrorTypes = (),
) -> list[R]:
    """Call `do` with all items; return the result of each group that was processed.

    A group that raises one of `faults` is split in halves until the failing items are alone; each
    goes to `alone` with its error. Other errors, and those for which `spared` is true, are not the
    fault of an item and propagate. ours: errors that mean a bug of ours if every one of several
    items raises one; then the first is raised again and `alone` is not called.
    """
    parts = _process_or_split(items, do, faults, spared)
    failed = [part for part in parts if isinstance(part, _Failed)]
    if 1 < len(items) == len(failed) and all(isinstance(part.error, ours) for part in failed):
        raise failed[0].error
    return [alone(part.item, part.error) if isinstance(part, _Failed) else part for part in parts]


def _process_or_split(
    items: Sequence[T], do: Callable[[Sequence[T]], R], faults: ErrorTypes, spared: ErrorPredicate
) -> "list[R | _Failed[T]]":
    try:
        return [do(items)]
    except faults as error:
        if spared(error):
            raise
        if len(items) == 1:
            return [_Failed(items[0], error)]
    middle = len(items) // 2
    return [
        part
        for half in (items[:middle], items[middle:])
        for part in _process_or_split(half, do, faults, spared)
    ]
