"""What an owner does on each exchange, through ccxt's real client."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from brokers.types import CheckResult, OrderType, ReportKind, Side, TimeInForce
from tests.crypto.factories import VenueSetup, allow, house

__all__ = ["house"]
D = Decimal


def test_a_market_order_is_filled_and_told_in_base_units(house: VenueSetup) -> None:
    request = house.order()
    told = house.submit(request)
    assert [report.kind for report in told] == [ReportKind.FILLED]
    fill = told[0].fills[0]
    assert (fill.quantity, fill.price, fill.inferred) == (D("0.5"), D(50000), False)
    assert told[0].client_order_id == request.client_order_id
    assert house.venue.accepted(request.client_order_id) == 1
    assert house.venue.orders[0].amount * house.venue.markets[house.their_symbol].size == D("0.5")


def test_the_connection_test_finds_nothing_wrong(house: VenueSetup) -> None:
    checks = house.run(house.adapter.test(house.spec))
    assert [c for c in checks if c.result is CheckResult.FAIL] == []
    assert {"reach", "clock", "credentials", "trading", "symbols"} <= {c.name for c in checks}


def test_account_and_instrument_are_read(house: VenueSetup) -> None:
    state = house.run(house.adapter.account(house.spec))
    assert (state.currency, state.balance, state.equity) == ("USDT", D(100000), D(100000))
    (one,) = house.run(house.adapter.instruments(house.spec))
    assert (one.symbol, one.pair, one.quantity_step, one.pip) == (
        house.symbol, "BTC/USDT", D("0.001"), D("0.1"),
    )  # fmt: skip


def test_what_was_bought_is_a_position(house: VenueSetup) -> None:
    house.submit(house.order())
    (position,) = house.run(house.adapter.positions(house.spec))
    assert (position.side, position.quantity, position.entry_price) == (
        Side.BUY, D("0.5"), D(50000),
    )  # fmt: skip
    state = house.run(house.adapter.account(house.spec))
    assert state.equity == D(100000)


def test_a_limit_order_rests_is_seen_and_cancelled(house: VenueSetup) -> None:
    request = house.order(limit_price=D("40000.07"))
    assert [r.kind for r in house.submit(request)] == [ReportKind.ACCEPTED]
    (rests,) = house.run(house.adapter.open_orders(house.spec))
    assert (rests.client_order_id, rests.quantity, rests.limit_price, rests.order_type) == (
        request.client_order_id, D("0.5"), D("40000.0"), OrderType.LIMIT,
    )  # fmt: skip
    assert [r.kind for r in house.cancel(request)] == [ReportKind.CANCELLED]
    assert house.run(house.adapter.open_orders(house.spec)) == []


def test_a_cancel_after_the_fill_is_refused_and_tells_the_fill(house: VenueSetup) -> None:
    request = house.order()
    house.submit(request)
    told = house.cancel(request)
    assert [r.kind for r in told] == [ReportKind.FILLED, ReportKind.CANCEL_REFUSED]


def test_a_partly_filled_order_tells_its_part_then_its_cancel(house: VenueSetup) -> None:
    house.venue.fill = D("0.4")
    request = house.order(limit_price=D(51000))
    (filled,) = house.submit(request)
    assert filled.fills[0].quantity == D("0.2")
    told = house.cancel(request)
    assert [r.kind for r in told] == [ReportKind.FILLED, ReportKind.CANCELLED]
    assert [f.broker_fill_id for f in told[0].fills] == [f.broker_fill_id for f in filled.fills]


def test_a_book_that_is_gone_ends_the_order_without_a_fill(house: VenueSetup) -> None:
    house.venue.fill = D(0)
    request = house.order(limit_price=D(51000), time_in_force=TimeInForce.IOC)
    told = house.submit(request)
    assert len(told) == 1
    assert told[0].kind in (ReportKind.EXPIRED, ReportKind.CANCELLED)


def test_an_order_is_found_by_another_process(house: VenueSetup) -> None:
    request = house.order()
    told = house.submit(request)
    later = house.another()
    assert house.run(later.find_order(house.spec, request.client_order_id)) == told
    house.run(later.disconnect())


def test_executions_are_told_since_a_time_with_the_same_ids(house: VenueSetup) -> None:
    house.venue.pieces = 3
    request = house.order()
    told = house.submit(request)
    since = datetime.now(UTC) - timedelta(hours=1)
    (report,) = house.run(house.another().fills_since(house.spec, since))
    assert report.client_order_id == request.client_order_id
    assert {f.broker_fill_id for f in report.fills} == {f.broker_fill_id for f in told[0].fills}
    assert len(report.fills) == 3
    assert report.close_cause is None


def test_selling_what_was_bought_leaves_nothing(house: VenueSetup) -> None:
    house.submit(house.order())
    house.submit(house.order(side=Side.SELL, reduce_only=True))
    assert house.run(house.adapter.positions(house.spec)) == []
    assert len(house.venue.orders) == 2


@pytest.mark.parametrize("count", [2])
def test_many_are_placed_one_by_one_and_each_is_told(house: VenueSetup, count: int) -> None:
    requests = [house.order(quantity=D("0.1")) for _ in range(count)]
    told: dict[str, object] = {}
    pairs = [(house.spec, request) for request in requests]
    house.run(
        house.adapter.submit_many(
            pairs, allow, lambda r, outcome: told.update({r.client_order_id: outcome})
        )
    )
    assert set(told) == {r.client_order_id for r in requests}
    assert all(isinstance(outcome, list) for outcome in told.values())
