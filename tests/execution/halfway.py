"""Entries and exits that are half-way: sent without an answer, filled in part, being cancelled.

Each of HALFWAY takes a feed with one account and leaves one entry of 100 EUR/USD, sized at 1.1 with
a stop at 1.09, in a state; what fills of it, 40 or all, fills at 1.2. So no figure of a filled part
is equal to that of the same part while it is unfilled.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal as D

from brokers.base import NotSent, OutcomeUnknown, Rejected
from brokers.types import OrderReport, ReportKind
from common.db.sql import run
from common.reason_codes import Code
from execution.cancels import cancel_order
from execution.models import Order
from execution.monitoring import pending_actions
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories

SIZE, FILLED_PART, FILL_PRICE = 100, 40, "1.2"


def entry() -> Order:
    return Order.objects.get(leg="entry")


def report(kind: ReportKind, **fields: object) -> OrderReport:
    return factories.report(entry(), kind, **fields)


def waiting(feed: Feed) -> None:
    factories.signal(feed)


def sent(feed: Feed) -> None:
    """SUBMITTING: the intent is stored, and no answer has come."""
    waiting(feed)
    factories.claim_all()


def unknown(feed: Feed) -> None:
    waiting(feed)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))


def accepted(feed: Feed) -> None:
    sent(feed)
    factories.apply(report(ReportKind.ACCEPTED))


def filled_in_part(feed: Feed) -> None:
    accepted(feed)
    factories.apply(factories.fill_report(entry(), FILLED_PART, "f1", price=FILL_PRICE))


def unknown_after_a_part(feed: Feed) -> None:
    """A restore of the database has made it UNKNOWN: what it fills meanwhile is not known."""
    filled_in_part(feed)
    factories.force(
        "UPDATE execution_order SET status = 'UNKNOWN', lookup_after = clock_timestamp()"
    )


def request_cancel() -> None:
    cancel_order(entry().pk)
    run(pending_actions.CANCEL_REQUESTED, ([entry().pk],))


def unfilled_cancel_requested(feed: Feed) -> None:
    accepted(feed)
    request_cancel()


def cancel_requested(feed: Feed) -> None:
    filled_in_part(feed)
    request_cancel()


def cancel_refused(feed: Feed) -> None:
    """Its broker goes on with it; the cancel is requested again later."""
    cancel_requested(feed)
    factories.apply(report(ReportKind.CANCEL_REFUSED, code=Code.REJECTED_BY_BROKER))


def cancelled(feed: Feed) -> None:
    cancel_requested(feed)
    factories.apply(report(ReportKind.CANCELLED))


def partly_known(feed: Feed) -> None:
    """Its reply was lost, the stream reported a part and its end; the rest is looked up."""
    waiting(feed)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    fill = factories.fill_report(entry(), FILLED_PART, "f1", price=FILL_PRICE)
    factories.apply(replace(fill, event_id="s1"))
    factories.apply(replace(report(ReportKind.EXPIRED), event_id="s2"))


def filled(feed: Feed) -> None:
    sent(feed)
    factories.apply(factories.fill_report(entry(), SIZE, "f1", price=FILL_PRICE))


def exit_of(fraction: str) -> Order:
    """Write an exit of a part, and send it."""
    [order_id] = close_position(ExecutionPosition.objects.get().pk, fraction=D(fraction))
    factories.claim_all()
    return Order.objects.get(pk=order_id)


def exit_waiting(feed: Feed) -> None:
    filled(feed)
    close_position(ExecutionPosition.objects.get().pk, fraction=D("0.5"))


def exit_sent(feed: Feed) -> None:
    filled(feed)
    exit_of("0.5")


def closing(feed: Feed) -> None:
    """An exit of all of it is sent."""
    filled(feed)
    exit_of("1")


def exit_filled_in_part(feed: Feed) -> None:
    filled(feed)
    factories.apply(factories.fill_report(exit_of("0.5"), 20, "x1", price=FILL_PRICE))


def exit_rejected_after_a_part(feed: Feed) -> None:
    filled(feed)
    order = exit_of("0.5")
    factories.apply(factories.fill_report(order, 20, "x1", price=FILL_PRICE))
    factories.apply(factories.report(order, ReportKind.REJECTED, code=Code.REJECTED_BY_BROKER))


def half_closed(feed: Feed) -> None:
    filled(feed)
    factories.apply(factories.fill_report(exit_of("0.5"), 50, "x1", price=FILL_PRICE))


def part_filled_and_closing(feed: Feed) -> None:
    """The entry still works; half of what it has filled is being closed."""
    filled_in_part(feed)
    exit_of("0.5")


def closed(feed: Feed) -> None:
    filled(feed)
    factories.apply(factories.fill_report(exit_of("1"), SIZE, "x1", price=FILL_PRICE))


def rejected(feed: Feed) -> None:
    waiting(feed)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, Rejected(Code.REJECTED_BY_BROKER))


def not_sent(feed: Feed) -> None:
    """It is sent again soon."""
    waiting(feed)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))


HALFWAY: dict[str, Callable[[Feed], None]] = {
    "PENDING": waiting,
    "PENDING again": not_sent,
    "SUBMITTING": sent,
    "UNKNOWN": unknown,
    "UNKNOWN, 40 filled": unknown_after_a_part,
    "SUBMITTED": accepted,
    "PARTIALLY_FILLED": filled_in_part,
    "CANCEL_REQUESTED": unfilled_cancel_requested,
    "CANCEL_REQUESTED, 40 filled": cancel_requested,
    "PARTIALLY_FILLED, cancel refused": cancel_refused,
    "CANCELLED, 40 filled": cancelled,
    "EXPIRED, 40 filled, looked up": partly_known,
    "REJECTED": rejected,
    "FILLED": filled,
    "FILLED, exit PENDING": exit_waiting,
    "FILLED, exit SUBMITTING": exit_sent,
    "FILLED, exit of all SUBMITTING": closing,
    "FILLED, exit filled 20 of 50": exit_filled_in_part,
    "FILLED, exit ended with 20 of 50": exit_rejected_after_a_part,
    "FILLED, half closed": half_closed,
    "PARTIALLY_FILLED, exit SUBMITTING": part_filled_and_closing,
    "FILLED, closed": closed,
}
