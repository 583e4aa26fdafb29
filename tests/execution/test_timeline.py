"""An order's steps: in order, each with the time since the one before."""

from datetime import UTC, datetime, timedelta

from execution.models import Order, Status
from execution.timeline import Step, build_steps

START = datetime(2014, 5, 2, 12, 30, tzinfo=UTC)


def test_steps_are_sorted_and_simultaneous_ones_keep_their_order() -> None:
    order = Order(status=Status.SUBMITTED)
    later = START + timedelta(milliseconds=1040)
    taken = [(later, "c", "", "is-good"), (START, "a", "first", ""), (START, "b", "", "")]
    assert build_steps(order, taken, now="it waits") == [
        Step(START, "", "a", "first", "is-done"),
        Step(START, "+0 ms", "b", "", "is-done"),
        Step(later, "+1,040 ms", "c", "", "is-done is-good"),
        Step(None, "", "Working", "it waits", ""),
    ]


def test_ended_order_waits_for_nothing() -> None:
    order = Order(status=Status.FILLED, done_at=START)
    assert build_steps(order, [(START, "Filled", "", "is-good")], now="never shown") == [
        Step(START, "", "Filled", "", "is-done is-good")
    ]
