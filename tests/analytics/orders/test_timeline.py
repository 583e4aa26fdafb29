"""An order's steps: in order, each with the time since the one before."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from analytics.orders.timeline import Step, timeline
from execution.models import Fill, Order, Status

START = datetime(2014, 5, 2, 12, 30, tzinfo=UTC)
D = Decimal


def entry(status: Status, **times: datetime) -> Order:
    return Order(
        status=status, leg="entry", pair="EUR/USD", quantity=D(10), client_order_id="A1",
        created_at=START, **times,
    )  # fmt: skip


def test_steps_are_sorted_and_simultaneous_ones_keep_their_order() -> None:
    acknowledged, sent = (START + timedelta(milliseconds=ms) for ms in (40, 1080))
    order = entry(
        Status.SUBMITTED, validated_at=START, submitted_at=sent, acknowledged_at=acknowledged
    )
    steps = [(step.at, step.since, step.title, step.css) for step in timeline(order, [])]
    assert steps == [
        (START, "", "Accepted", "is-done"),
        (START, "+0 ms", "Sized and checked: 10 EUR", "is-done"),
        (acknowledged, "+40 ms", "Acknowledged by the broker", "is-done"),
        (sent, "+1,040 ms", "Intent saved, then sent", "is-done"),
        (None, "", "Working", ""),
    ]


def test_last_step_of_live_order_is_what_it_does_now() -> None:
    last = timeline(entry(Status.SUBMITTED), [])[-1]
    assert last == Step(None, "", "Working", "Not filled yet; working at the broker.", "")


def test_denied_entry_is_not_shown_as_within_all_limits() -> None:
    order = entry(Status.DENIED, validated_at=START, done_at=START)
    order.reason = "MAX_QUANTITY"
    steps = timeline(order, [])
    assert [step.title for step in steps] == ["Accepted", "Denied"]
    assert not any("Within all limits" in step.text for step in steps)


def test_ended_order_waits_for_nothing() -> None:
    done = START + timedelta(milliseconds=90)
    order = entry(Status.FILLED, done_at=done)
    fill = Fill(
        quantity=D(10), price=D("1.38"), broker_fill_id="F1", time=START, recorded_at=done,
        commission=D(0),
    )  # fmt: skip
    assert timeline(order, [fill])[1:] == [
        Step(
            done, "+90 ms", "Filled 10 EUR at 1.38", "F1, broker’s time 12:30:00.",
            "is-done is-good",
        )
    ]  # fmt: skip
