"""Changes of working limit orders in place: the same order, whatever fills or repeats meanwhile."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from brokers.base import OutcomeUnknown, Rejected
from brokers.types import (
    BrokerOrder,
    ChangeRequest,
    OrderReport,
    OrderRequest,
    OrderType,
    ReportKind,
    Side,
)
from common.reason_codes import Code
from tests.crypto.factories import D, ExchangeAccount, close, open_account
from tests.fakes.exchange import actions
from tests.fakes.exchange.venue import Fault
from tests.sampling import often

PLACES = [
    pytest.param((name, swap), id=name)
    for name, swap in (("binance", True), ("bybit", False), ("okx", True), ("kraken", False))
]


@pytest.fixture(params=often(PLACES, every=2))
def changeable(request: pytest.FixtureRequest) -> Iterator[ExchangeAccount]:
    """An account at each exchange that changes orders in place."""
    name, swap = request.param
    account = open_account(name, swap=swap, reply_timeout=1)
    yield account
    close(account)


def working(account: ExchangeAccount, limit: str = "40000") -> tuple[OrderRequest, BrokerOrder]:
    entry = account.order(limit_price=D(limit))
    account.submit(entry)
    return entry, listed(account)


def partly_filled(account: ExchangeAccount, share: str) -> tuple[OrderRequest, BrokerOrder]:
    """Return an order of which a share has filled, with the market far above it now."""
    account.venue.fill_share = D(share)
    found = working(account, "50500")
    actions.move_price(account.venue, account.exchange_symbol, D(60000))
    account.venue.fill_share = D(1)
    return found


def listed(account: ExchangeAccount) -> BrokerOrder:
    (one,) = account.run(account.adapter.open_orders(account.spec))
    return one


def request_of(entry: OrderRequest, present: BrokerOrder, **terms: D) -> ChangeRequest:
    return ChangeRequest(
        entry.client_order_id, present.broker_order_id, entry.connection_id, entry.symbol,
        Side.BUY, entry.order_type, replace(present.terms, **terms), present.terms,
    )  # fmt: skip


def change(account: ExchangeAccount, request: ChangeRequest) -> OrderReport:
    (report,) = account.run(account.adapter.change_order(account.spec, request))
    assert report.kind is ReportKind.CHANGED
    return report


def test_quantity_of_a_partly_filled_order_is_that_of_the_whole(
    changeable: ExchangeAccount,
) -> None:
    entry, present = partly_filled(changeable, "0.2")
    report = change(changeable, request_of(entry, present, quantity=D("0.3")))
    assert report.terms is not None
    assert (report.terms.quantity, report.terms.limit_price) == (D("0.3"), D(50500))
    now = listed(changeable)
    assert (now.broker_order_id, now.client_order_id) == (
        present.broker_order_id, entry.client_order_id,
    )  # fmt: skip
    assert len(changeable.venue.orders) == 1


def test_change_overtaken_by_fills_leaves_no_more_than_was_wanted(
    changeable: ExchangeAccount,
) -> None:
    """The exchange refuses it and the order works on, or its rest ends. There is never a second."""
    entry, present = partly_filled(changeable, "0.8")
    filled = changeable.venue.orders[-1].filled
    with pytest.raises((Rejected, OutcomeUnknown)):
        change(changeable, request_of(entry, present, quantity=D("0.3")))
    assert len(changeable.venue.orders) == 1
    assert changeable.venue.orders[0].filled == filled


def test_change_repeated_after_a_lost_answer_is_done_once(changeable: ExchangeAccount) -> None:
    entry, present = working(changeable)
    request = request_of(entry, present, limit_price=D(41000))
    changeable.venue.faults.append(Fault("late", seconds=60.0))
    with pytest.raises(OutcomeUnknown):
        change(changeable, request)
    report = change(changeable, request)
    assert report.terms is not None
    assert report.terms.limit_price == D(41000)
    assert len(changeable.venue.orders) == 1


def test_binance_spot_is_refused_before_anything_is_sent() -> None:
    account = open_account("binance")
    try:
        entry, present = working(account)
        account.venue.request_lines.clear()
        with pytest.raises(Rejected) as refused:
            change(account, request_of(entry, present, limit_price=D(41000)))
        assert refused.value.code is Code.CHANGE_UNSUPPORTED
        assert not [line for line in account.venue.request_lines if not line.startswith("GET")]
    finally:
        close(account)


def test_stop_limit_order_is_refused_before_anything_is_sent() -> None:
    account = open_account("kraken")
    try:
        entry, present = working(account)
        stop_limit = replace(entry, order_type=OrderType.STOP_LIMIT)
        with pytest.raises(Rejected) as refused:
            change(account, request_of(stop_limit, present, limit_price=D(41000)))
        assert refused.value.code is Code.CHANGE_UNSUPPORTED
    finally:
        close(account)
