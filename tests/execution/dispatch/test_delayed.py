"""Orders that are executed a moment later: together, on one thread, and after a failure, too."""

import threading
from collections.abc import Sequence

import pytest
from django.db import OperationalError

from execution.dispatch.delayed import DelayedOrders
from tests.until import until


class Executed:
    """Remembers which orders were executed, and on which thread."""

    def __init__(self) -> None:
        self.bundles: list[list[int]] = []
        self.threads: set[int | None] = set()
        self.error: Exception | None = None

    def __call__(self, order_ids: Sequence[int]) -> None:
        self.bundles.append(list(order_ids))
        self.threads.add(threading.current_thread().ident)
        if self.error is not None:
            error, self.error = self.error, None
            raise error


def test_orders_that_are_due_together_are_one_bundle() -> None:
    executed = Executed()
    DelayedOrders(executed).add({3: 0.05, 1: 0.05, 2: 0.05})
    until(lambda: executed.bundles, "nothing was executed")
    assert executed.bundles == [[1, 2, 3]]


def test_earlier_order_is_not_held_up_by_a_later_one() -> None:
    executed = Executed()
    delayed = DelayedOrders(executed)
    delayed.add({1: 60.0})
    delayed.add({2: 0.01})
    until(lambda: executed.bundles, "nothing was executed")
    assert executed.bundles == [[2]]


def test_nothing_waits_on_a_thread_if_nothing_is_added() -> None:
    before = threading.enumerate()  # threads of other tests may end meanwhile
    DelayedOrders(Executed()).add({})
    assert [one for one in threading.enumerate() if one not in before] == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", [OperationalError("away"), ValueError("a bug")])
def test_orders_after_a_failure_are_executed(error: Exception) -> None:
    executed = Executed()
    executed.error = error
    delayed = DelayedOrders(executed)
    delayed.add({1: 0.01})
    until(lambda: executed.bundles == [[1]], "nothing was executed")
    delayed.add({2: 0.2})
    until(lambda: executed.bundles == [[1], [2]], "the next was not executed")
