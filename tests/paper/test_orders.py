"""New orders: fills, expiry, commission and conversion."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import Rejected
from brokers.paper import exchange
from brokers.paper.models import PaperAccount, PaperFill
from brokers.types import Quote, ReportKind, Side, TimeInForce
from common.reason_codes import Code
from tests.paper.conftest import NOON, Trader

IOC, FOK, DAY = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.DAY


def test_buy_executes_at_ask_and_sell_at_bid(trader: Trader) -> None:
    trader.price("1.10000", "1.10015")
    [bought] = trader.buy("1000")
    [sold] = trader.sell("2000")
    assert [(f.quantity, f.price) for f in bought.fills] == [(D(1000), D("1.10015"))]
    assert [(f.quantity, f.price) for f in sold.fills] == [(D(2000), D("1.10000"))]
    assert bought.kind is sold.kind is ReportKind.FILLED
    assert bought.fills[0].time == trader.now
    assert bought.fills[0].broker_fill_id != sold.fills[0].broker_fill_id
    assert trader.new_events() == []  # reported in the reply only


def test_journal_has_machine_time_and_shows_a_duplicate(trader: Trader) -> None:
    request = trader.request(Side.BUY, "1000")
    first, second = trader.submit(request), trader.submit(request)
    rows = trader.journal()
    assert [row.client_order_id for row in rows] == [request.client_order_id] * 2
    assert all(row.accepted_at and row.accepted_at.year >= 2024 for row in rows)
    assert all(row.time == trader.now for row in rows)
    found = trader.find(request.client_order_id)
    assert found is not None
    assert [r.broker_order_id for r in found] == [
        first[0].broker_order_id,
        second[0].broker_order_id,
    ]
    assert not trader.adapter.capabilities(trader.spec()).refuses_repeated_ids


def test_order_that_never_arrived_is_absent(trader: Trader) -> None:
    [report] = trader.buy("1000")
    trader.account("A2")
    assert trader.find("never-sent") is None
    assert trader.find(report.client_order_id, "A2") is None  # of another account


def test_limit_order_fills_at_its_price_or_better(trader: Trader) -> None:
    [resting] = trader.buy("1000", limit_price="1.09500")
    assert (resting.kind, resting.fills) == (ReportKind.ACCEPTED, ())
    assert trader.price("1.09499") == 0  # ask 1.09501: one point above the limit
    assert trader.price("1.09400") == 1  # a gap: better than the limit
    [filled] = trader.new_events()
    assert filled.client_order_id == resting.client_order_id
    assert filled.broker_order_id == resting.broker_order_id
    assert filled.close_cause is None
    assert [(f.quantity, f.price) for f in filled.fills] == [(D(1000), D("1.09402"))]


def test_marketable_limit_order_fills_at_once(trader: Trader) -> None:
    [report] = trader.sell("1000", limit_price="1.09000")
    assert [f.price for f in report.fills] == [D("1.10000")]


def test_stop_order_fills_at_first_price_beyond_it(trader: Trader) -> None:
    trader.buy("1000", stop_price="1.10100")
    trader.sell("1000", stop_price="1.09900")
    assert trader.price("1.10097") == 0  # ask 1.10099
    assert trader.price("1.10350") == 1
    assert [f.price for r in trader.new_events() for f in r.fills] == [D("1.10352")]
    assert trader.price("1.09901") == 0
    assert trader.price("1.09700") == 1
    assert [f.price for r in trader.new_events() for f in r.fills] == [D("1.09700")]


def test_stop_limit_order_waits_for_its_stop_price_and_then_for_its_limit(trader: Trader) -> None:
    [resting] = trader.buy("1000", stop_price="1.10100", limit_price="1.10050")
    assert (resting.kind, resting.fills) == (ReportKind.ACCEPTED, ())
    assert trader.price("1.10040") == 0  # within its limit, and not triggered yet
    assert trader.price("1.10097") == 0  # ask 1.10099: one point below the stop price
    assert trader.price("1.10098") == 0  # triggered, and above its limit
    assert trader.price("1.10049") == 0  # ask 1.10051: one point above the limit
    assert trader.price("1.10048") == 1
    [filled] = trader.new_events()
    assert filled.client_order_id == resting.client_order_id
    assert [(f.quantity, f.price) for f in filled.fills] == [(D(1000), D("1.10050"))]


def test_stop_limit_order_fills_between_its_prices(trader: Trader) -> None:
    trader.sell("1000", stop_price="1.09900", limit_price="1.09800")
    assert trader.price("1.09700") == 0  # a gap over both: it waits at its limit
    assert trader.price("1.09850") == 1
    assert [f.price for r in trader.new_events() for f in r.fills] == [D("1.09850")]
    [at_once] = trader.buy("1000", stop_price="1.09800", limit_price="1.09900")
    assert [f.price for f in at_once.fills] == [D("1.09852")]


def test_stop_limit_order_is_triggered_and_filled_within_one_batch(trader: Trader) -> None:
    trader.buy("1000", stop_price="1.10100", limit_price="1.10050")
    at = [trader.now + timedelta(seconds=n) for n in (1, 2)]
    trader.wait_until(at[1])
    bids = (D("1.10200"), D("1.10000"))
    quotes = [Quote("EUR/USD", bid, bid + D("0.00002"), t) for bid, t in zip(bids, at, strict=True)]
    assert exchange.on_quotes(quotes) == 1
    assert [f.price for r in trader.new_events() for f in r.fills] == [D("1.10002")]


def test_good_till_date_order_expires_at_its_time(trader: Trader) -> None:
    end = trader.now + timedelta(seconds=10)
    terms: dict[str, Any] = {"time_in_force": TimeInForce.GTD, "expires_at": end}
    [waiting] = trader.buy("1000", limit_price="1.09000", **terms)
    [_] = trader.buy("1000", limit_price="1.09500", **terms)
    trader.wait_until(end - timedelta(seconds=2))
    assert trader.price("1.09400") == 1  # a second before: it still fills
    assert [r.kind for r in trader.new_events()] == [ReportKind.FILLED]
    assert trader.price("1.08000") == 1  # at its end: expired, though its limit is reached
    [ended] = trader.new_events()
    assert (ended.client_order_id, ended.kind, ended.code) == (
        waiting.client_order_id, ReportKind.EXPIRED, Code.TIME_IN_FORCE_ENDED,
    )  # fmt: skip


@pytest.mark.parametrize("price", ["limit_price", "stop_price"])
@pytest.mark.parametrize("time_in_force", [IOC, FOK])
def test_unreachable_ioc_and_fok_orders_expire(
    trader: Trader, price: str, time_in_force: TimeInForce
) -> None:
    level = "1.09000" if price == "limit_price" else "1.11000"
    [report] = trader.buy("1000", time_in_force=time_in_force, **{price: level})
    assert (report.kind, report.code) == (ReportKind.EXPIRED, Code.NO_PRICE_WITHIN_LIMIT)
    assert trader.price("1.08000") + trader.price("1.12000") == 0
    assert trader.positions() == []


def test_day_order_expires_at_22_and_gtc_order_does_not(trader: Trader) -> None:
    [day] = trader.buy("1000", limit_price="1.09000", time_in_force=DAY)
    [gtc] = trader.buy("1000", limit_price="1.08000")
    trader.wait_until(NOON.replace(hour=21, minute=59, second=57))
    assert trader.price("1.10000") == 0
    assert trader.price("1.08500") == 1  # 21:59:59: the same day, and it fills
    assert [r.kind for r in trader.new_events()] == [ReportKind.FILLED]
    [late] = trader.buy("1000", limit_price="1.08100", time_in_force=DAY)
    assert trader.price("1.07000") == 2  # 22:00:00: the day order expires, the other fills
    kinds = {r.client_order_id: (r.kind, r.code) for r in trader.new_events()}
    assert kinds == {
        late.client_order_id: (ReportKind.EXPIRED, Code.TIME_IN_FORCE_ENDED),
        gtc.client_order_id: (ReportKind.FILLED, None),
    }
    assert day.client_order_id not in kinds
    [tomorrow] = trader.sell("1000", limit_price="1.20000", time_in_force=DAY)
    row = next(o for o in trader.journal() if str(o.id) == tomorrow.broker_order_id)
    assert row.expires_at == NOON.replace(hour=22) + timedelta(days=1)


def test_quote_of_another_symbol_ends_the_day_too(trader: Trader) -> None:
    trader.buy("1000", limit_price="1.09000", time_in_force=DAY)
    trader.wait_until(NOON.replace(hour=22))
    assert trader.price("0.86000", symbol="NZD/USD") == 1
    assert [r.kind for r in trader.new_events()] == [ReportKind.EXPIRED]


def test_partial_fills_come_one_per_quote(trader: Trader) -> None:
    trader.set(partial_fill_max=D(400))
    [first] = trader.buy("1000", stop_loss="1.05000")
    assert [f.quantity for f in first.fills] == [D(400)]
    trader.price("1.10100")
    trader.price("1.10200")
    assert trader.price("1.10300") == 0
    later = trader.new_events()
    assert [(f.quantity, f.price) for r in later for f in r.fills] == [
        (D(400), D("1.10102")),
        (D(200), D("1.10202")),
    ]
    assert {r.client_order_id for r in later} == {first.client_order_id}
    [position] = trader.positions()
    assert position.quantity == 1000
    assert (
        position.entry_price
        == (400 * D("1.10002") + 400 * D("1.10102") + 200 * D("1.10202")) / 1000
    )
    assert trader.journal()[0].status == "FILLED"


def test_ioc_fills_partially_and_fok_fully_or_not_at_all(trader: Trader) -> None:
    trader.set(partial_fill_max=D(400))
    part, expired = trader.buy("1000", time_in_force=IOC)
    assert [f.quantity for f in part.fills] == [D(400)]
    assert (expired.kind, expired.code) == (ReportKind.EXPIRED, Code.NO_PRICE_WITHIN_LIMIT)
    [unfilled] = trader.buy("1000", time_in_force=FOK)
    assert (unfilled.kind, unfilled.fills) == (ReportKind.EXPIRED, ())
    assert trader.price("1.10100") == 0
    assert [p.quantity for p in trader.positions()] == [D(400)]


def test_remainder_of_triggered_stop_fills_at_market(trader: Trader) -> None:
    trader.set(partial_fill_max=D(600))
    trader.buy("1000", stop_price="1.10100")
    trader.price("1.10200")
    trader.price("1.10050")  # below the stop again: the remainder is a market order
    assert [f.price for r in trader.new_events() for f in r.fills] == [D("1.10202"), D("1.10052")]


def test_commission_is_charged_and_reported_on_each_side(trader: Trader) -> None:
    trader.set(commission_per_million=D(30))
    [entry] = trader.buy("100000")
    assert (entry.fills[0].commission, entry.fills[0].commission_currency) == (D("3.30"), "USD")
    [exit_] = trader.close(entry.broker_position_id, "100000", Side.SELL)
    assert exit_.fills[0].commission == D("3.30")
    assert trader.state().balance == 10_000 - D("6.60") - D("2.00")


def test_profit_is_converted_to_account_currency(trader: Trader) -> None:
    trader.account("EUR1", currency="EUR")
    trader.price("150.000", "150.010", symbol="USD/JPY")
    [entry] = trader.buy("100000", "EUR1", symbol="USDJPY")
    trader.price("151.010", "151.020", symbol="USD/JPY")
    request = trader.request(
        Side.SELL, "100000", "EUR1", symbol="USDJPY", reduce_only=True,
        broker_position_id=entry.broker_position_id,
    )  # fmt: skip
    trader.submit(request)
    # 100,000 JPY at 151.015 and 1.10001: JPY → USD → EUR
    yen_in_euro = (1 / D("151.015")) / D("1.10001")
    expected = (100_000 * yen_in_euro).quantize(D("0.01"))
    assert PaperFill.objects.get(is_exit=True).profit == expected
    assert trader.state("EUR1").balance == 10_000 + expected


def test_orders_of_one_call_have_separate_outcomes(trader: Trader) -> None:
    trader.account("A2", trading_allowed=False)
    trader.account("A3")
    requests = [
        trader.request(Side.BUY, "1000"),
        trader.request(Side.BUY, "1000", "A2"),
        trader.request(Side.BUY, "1000", "missing"),
        trader.request(Side.BUY, "1500", "A3"),
        trader.request(Side.SELL, "2000", "A3"),
        trader.request(Side.SELL, "3000", "A3", symbol="none"),
    ]
    by_id: dict[str, object] = {}
    trader.run(
        trader.adapter.submit_many(
            [(trader.spec(r.account), r) for r in requests],
            trader.guard,
            lambda request, outcome: by_id.update({request.client_order_id: outcome}),
        )
    )
    outcomes = [by_id[r.client_order_id] for r in requests]
    assert [o.code if isinstance(o, Rejected) else o[0].kind for o in outcomes] == [  # type: ignore[index]
        ReportKind.FILLED,
        Code.TRADING_DISABLED,
        Code.UNKNOWN_ACCOUNT,
        Code.VOLUME_INVALID,
        ReportKind.FILLED,
        Code.UNKNOWN_SYMBOL_AT_BROKER,
    ]
    assert PaperFill.objects.count() == 2
    assert PaperAccount.objects.get(number="A2").balance == 10_000


def test_entry_remainder_is_cancelled_after_its_stop_closed(trader: Trader) -> None:
    trader.set(partial_fill_max=D(400))
    [first] = trader.buy("1000", stop_loss="1.09000")
    trader.set(partial_fill_max=D(100))
    assert trader.price("1.08000") == 2
    stopped, ended = trader.new_events()
    assert stopped.fills[0].quantity == 400
    assert (ended.kind, ended.code) == (ReportKind.CANCELLED, Code.NO_POSITION)
    assert ended.client_order_id == first.client_order_id
    assert trader.positions() == []


def test_entry_remainder_is_cancelled_after_an_earlier_close(trader: Trader) -> None:
    trader.set(partial_fill_max=D(400))
    [first] = trader.buy("1000", stop_loss="1.09000")
    trader.close(first.broker_position_id, "400", Side.SELL)
    assert trader.price("1.10000") == 1
    assert [(r.kind, r.code) for r in trader.new_events()] == [
        (ReportKind.CANCELLED, Code.NO_POSITION)
    ]
    assert trader.positions() == []
