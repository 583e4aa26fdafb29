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
    process: Callable[[Sequence[T]], R],
    on_failed_item: Callable[[T, Exception], R],
    *,
    item_errors: ErrorTypes = (Exception,),
    is_not_item_error: ErrorPredicate = _never,
    bug_errors: ErrorTypes = (),
) -> list[R]:
    """Call `process` with all items; return the result of each group that was processed.

    process: it must be repeatable, and leave nothing behind if it raises. A group that raises one
    of `item_errors` is split into halves, until each failing item is in a group of its own. Such an
    item goes to `on_failed_item` with its error, and its result takes the group's place.

    is_not_item_error: whether an error among `item_errors` is of no single item, such as a lost
    database connection. It is then raised, as are errors that are not in `item_errors`.
    bug_errors: errors that data cannot be expected to cause. If each of several items raises one,
    it is a bug of ours: the first is raised and `on_failed_item` is not called.
    """
    parts = _process_or_split(items, process, item_errors, is_not_item_error)
    failed = [part for part in parts if isinstance(part, _Failed)]
    if 1 < len(items) == len(failed) and all(isinstance(part.error, bug_errors) for part in failed):
        raise failed[0].error
    return [
        on_failed_item(part.item, part.error) if isinstance(part, _Failed) else part
        for part in parts
    ]


def _process_or_split(
    items: Sequence[T],
    process: Callable[[Sequence[T]], R],
    item_errors: ErrorTypes,
    is_not_item_error: ErrorPredicate,
) -> "list[R | _Failed[T]]":
    try:
        return [process(items)]
    except item_errors as error:
        if is_not_item_error(error):
            raise
        if len(items) == 1:
            return [_Failed(items[0], error)]
    middle = len(items) // 2
    return [
        part
        for half in (items[:middle], items[middle:])
        for part in _process_or_split(half, process, item_errors, is_not_item_error)
    ]
