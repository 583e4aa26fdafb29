"""Exits made by brokers, reported in bulk: an outage ends with thousands of them."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.types import CloseCause, OrderReport
from common.db.sql import run
from execution.models import Order
from execution.reports.apply import apply_reports
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.console.conftest import statements
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

ACCOUNTS = 20


@pytest.fixture
def entries(feed: Feed, broker: FakeBroker) -> list[Order]:
    """One order of each account, at the broker and not filled."""
    for _ in range(ACCOUNTS):
        factories.account(feed)
    factories.signal(feed)
    for outgoing in factories.claim_all():
        factories.answer(outgoing, broker.rest(outgoing.request))
    return list(Order.objects.order_by("id"))


def stopped_out(entry: Order) -> OrderReport:
    """Return the report of a broker stop that closed the whole position."""
    report = factories.fill_report(entry, entry.quantity or D(1), f"stop {entry.pk}", price="1.09")
    return replace(report, broker_order_id=f"S{entry.pk}", close_cause=CloseCause.STOP_LOSS)


def filled(entry: Order) -> OrderReport:
    return factories.fill_report(entry, entry.quantity or D(1), f"fill {entry.pk}")


@pytest.mark.django_db
def test_many_exits_are_written_with_as_many_statements_as_one(entries: list[Order]) -> None:
    """Each statement keeps hundreds of orders locked until the last one ends."""
    factories.apply(*[filled(entry) for entry in entries])
    counts = []
    for part in (entries[:1], entries[1:]):
        with statements() as sent:
            assert factories.apply(*[stopped_out(entry) for entry in part]) == []
        counts.append(len(sent))
    assert counts[0] == counts[1], counts
    closed = ExecutionPosition.objects.filter(quantity=0, close_reason="sl")
    assert closed.count() == ACCOUNTS
    assert Order.objects.filter(leg="sl", status="FILLED").count() == ACCOUNTS


@pytest.mark.django_db
def test_batch_may_report_an_exit_in_parts_and_repeatedly(entries: list[Order]) -> None:
    entry = entries[0]
    factories.apply(filled(entry))
    whole = stopped_out(entry)
    (execution,) = whole.fills
    half = execution.quantity / 2
    parts = [
        replace(whole, fills=(replace(execution, broker_fill_id=name, quantity=half),))
        for name in ("a", "b")
    ]
    factories.apply(parts[0], *parts, parts[1])
    row = Order.objects.get(leg="sl")
    assert (row.quantity, row.filled_quantity, row.status) == (whole.fills[0].quantity,) * 2 + (
        "FILLED",
    )
    assert ExecutionPosition.objects.get(signal=entry.signal, connection=entry.connection).closed_at


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("currency", "rate_at_exit", "seconds", "profit"),
    [
        ("EUR", None, 0, "12"),  # 15 USD at the exit's own 1.25, not at the entry's 1.1
        ("GBP", "1", 0, "15"),  # at the quotes of the exit, not the entry's 0.8
        ("GBP", "1", 61, "12"),  # too old to convert anything: the entry's
        ("USD", None, 0, "15"),
    ],
)
def test_exit_made_by_a_broker_is_converted_at_the_rate_of_the_exit(
    feed: Feed, currency: str, rate_at_exit: str | None, seconds: int, profit: str
) -> None:
    account = factories.account(feed, snapshot_currency=currency)
    factories.quote(account, "1.1", "1.1")
    factories.quote(account, "1.25", "1.25", pair="GBP/USD")
    factories.signal(feed)
    factories.claim_all()
    entry = Order.objects.get()
    factories.apply(filled(entry))
    if rate_at_exit:
        factories.quote(account, rate_at_exit, rate_at_exit, pair="GBP/USD")
    run(f"UPDATE prices_latestquote SET received_at = received_at - interval '{seconds} seconds'")
    closed = factories.fill_report(entry, 100, "stop", price="1.25")
    reported = replace(closed, broker_order_id="S", close_cause=CloseCause.STOP_LOSS)
    assert factories.apply(reported) == []
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.realized_pnl) == (0, D(profit))


@pytest.mark.django_db
def test_exits_in_one_batch_are_converted_each_at_its_own_rate(feed: Feed) -> None:
    account = factories.account(feed, snapshot_currency="EUR")
    factories.quote(account, "1.1", "1.1")
    factories.signal(feed)
    factories.claim_all()
    entry = Order.objects.get()
    factories.apply(filled(entry))
    half = (entry.quantity or D(0)) / 2
    exits = [
        replace(
            factories.fill_report(entry, half, f"fill {name}", price=price),
            broker_order_id=name, close_cause=CloseCause.EXTERNAL,
        )
        for name, price in (("near", "1.25"), ("far", "1.6"))
    ]  # fmt: skip
    assert factories.apply(*exits) == []
    position = ExecutionPosition.objects.get()
    expected = half * (D("0.15") / D("1.25") + D("0.5") / D("1.6"))
    assert (position.quantity, position.realized_pnl) == (0, expected)


@pytest.mark.django_db(transaction=True)
def test_an_exit_that_overtook_its_entry_waits_without_a_lock(entries: list[Order]) -> None:
    """Repeated every second, it would prevent the entry's fill from being written."""
    early = stopped_out(entries[0])
    lock = f"SELECT 1 FROM execution_order WHERE id = {entries[0].pk} FOR UPDATE"
    with factories.locked_elsewhere(lock):
        run("SET lock_timeout = '100ms'")
        try:
            assert apply_reports([early]).deferred == [early]
        finally:
            run("RESET lock_timeout")
    assert factories.apply(early, filled(entries[0])) == []
    assert ExecutionPosition.objects.get().close_reason == "sl"
