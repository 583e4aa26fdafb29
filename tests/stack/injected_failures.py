"""Failures that are injected into a started stack, each with the alarms that it must raise.

A failure is a generator: it injects, yields, and mends. What it yields, if anything, is called
before each scrape. Of a time that an alarm allows (an order may be unknown for five minutes), the
stored time is moved, so that no test waits for it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.stack.watched_stack import WatchedStack

Injection = Callable[[WatchedStack], Iterator[Callable[[], object] | None]]


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure, and what it must raise.

    alarms: several only with a reason, which `because` states. seen_after: the longest time until
    /metrics shows it, by the product's own constants. late: why an alarm does not come within a
    minute. lasts: for how long the time line has it, in seconds.
    """

    inject: Injection
    alarms: frozenset[str]
    seen_after: float
    late: str
    because: str
    lasts: int

    @property
    def name(self) -> str:
        """Its name as words."""
        return self.inject.__name__


FAILURES: list[Failure] = []


def raises(
    *alarms: str, seen_after: float = 0, late: str = "", because: str = "", lasts: int = 300
) -> Callable[[Injection], Injection]:
    """Add a failure that raises these alarms."""

    def add(inject: Injection) -> Injection:
        FAILURES.append(Failure(inject, frozenset(alarms), seen_after, late, because, lasts))
        return inject

    return add
