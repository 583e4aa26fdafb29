"""What becomes of a new order."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import OrderType, Rejected, ReportKind, Side, TimeInForce
from brokers.paper.models import PaperAccount, PaperFill
from common.codes import Code
from tests.paper.conftest import NOON, Trader

IOC, FOK, DAY = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.DAY


def refused(trader: Trader, code: Code, side: Side, quantity: str, **kwargs: Any) -> Rejected:
    """The broker refuses, journals it as refused, and can still tell so when it is asked."""
    request = trader.request(side, quantity, **kwargs)
    with pytest.raises(Rejected) as caught:
        trader.submit(request)
    assert caught.value.code is code
    [row] = [row for row in trader.journal() if row.client_order_id == request.client_order_id]
    assert (row.status, row.reason, row.accepted_at) == ("REJECTED", code, None)
    [found] = trader.find(request.client_order_id) or []
    assert (found.kind, found.code, found.fills) == (ReportKind.REJECTED, code, ())
    return caught.value


def test_a_buy_executes_at_the_ask_and_a_sell_at_the_bid(trader: Trader) -> None:
    trader.price("1.10000", "1.10015")
    [bought] = trader.buy("1000")
    [sold] = trader.sell("2000")
    assert [(f.quantity, f.price) for f in bought.fills] == [(D(1000), D("1.10015"))]
    assert [(f.quantity, f.price) for f in sold.fills] == [(D(2000), D("1.10000"))]
    assert bought.kind is sold.kind is ReportKind.FILLED
    assert bought.fills[0].time == trader.now
    assert bought.fills[0].broker_fill_id != sold.fills[0].broker_fill_id
    assert trader.news() == []  # told in the reply, and only there


def test_the_journal_has_machine_time_and_shows_a_duplicate(trader: Trader) -> None:
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


def test_an_order_that_never_came_is_certainly_absent(trader: Trader) -> None:
    [report] = trader.buy("1000")
    trader.account("A2")
    assert trader.find("never-sent") is None
    assert trader.find(report.client_order_id, "A2") is None  # another account's


def test_a_limit_rests_and_fills_at_its_price_or_better(trader: Trader) -> None:
    [resting] = trader.buy("1000", limit_price="1.09500")
    assert (resting.kind, resting.fills) == (ReportKind.ACCEPTED, ())
    assert trader.price("1.09499") == 0  # ask 1.09501: a point short
    assert trader.price("1.09400") == 1  # gapped through: better than asked for
    [filled] = trader.news()
    assert filled.client_order_id == resting.client_order_id
    assert filled.broker_order_id == resting.broker_order_id
    assert filled.close_cause is None
    assert [(f.quantity, f.price) for f in filled.fills] == [(D(1000), D("1.09402"))]


def test_a_marketable_limit_fills_at_once(trader: Trader) -> None:
    [report] = trader.sell("1000", limit_price="1.09000")
    assert [f.price for f in report.fills] == [D("1.10000")]


def test_a_stop_fills_at_the_first_price_beyond_it(trader: Trader) -> None:
    trader.buy("1000", stop_price="1.10100")
    trader.sell("1000", stop_price="1.09900")
    assert trader.price("1.10097") == 0  # ask 1.10099
    assert trader.price("1.10350") == 1
    assert [f.price for r in trader.news() for f in r.fills] == [D("1.10352")]
    assert trader.price("1.09901") == 0
    assert trader.price("1.09700") == 1
    assert [f.price for r in trader.news() for f in r.fills] == [D("1.09700")]


@pytest.mark.parametrize("price", ["limit_price", "stop_price"])
@pytest.mark.parametrize("time_in_force", [IOC, FOK])
def test_now_or_never_out_of_reach_expires(
    trader: Trader, price: str, time_in_force: TimeInForce
) -> None:
    level = "1.09000" if price == "limit_price" else "1.11000"
    [report] = trader.buy("1000", time_in_force=time_in_force, **{price: level})
    assert (report.kind, report.code) == (ReportKind.EXPIRED, Code.NO_PRICE_WITHIN_LIMIT)
    assert trader.price("1.08000") + trader.price("1.12000") == 0
    assert trader.positions() == []


def test_a_day_order_ends_at_22_and_a_gtc_does_not(trader: Trader) -> None:
    [day] = trader.buy("1000", limit_price="1.09000", time_in_force=DAY)
    [gtc] = trader.buy("1000", limit_price="1.08000")
    trader.wait_until(NOON.replace(hour=21, minute=59, second=57))
    assert trader.price("1.10000") == 0
    assert trader.price("1.08500") == 1  # 21:59:59: still the day, and it fills
    assert [r.kind for r in trader.news()] == [ReportKind.FILLED]
    [late] = trader.buy("1000", limit_price="1.08100", time_in_force=DAY)
    assert trader.price("1.07000") == 2  # 22:00:00: the day's expires, the other fills
    kinds = {r.client_order_id: (r.kind, r.code) for r in trader.news()}
    assert kinds == {
        late.client_order_id: (ReportKind.EXPIRED, Code.TIME_IN_FORCE_ENDED),
        gtc.client_order_id: (ReportKind.FILLED, None),
    }
    assert day.client_order_id not in kinds
    [tomorrow] = trader.sell("1000", limit_price="1.20000", time_in_force=DAY)
    row = next(o for o in trader.journal() if str(o.id) == tomorrow.broker_order_id)
    assert row.expires_at == NOON.replace(hour=22) + timedelta(days=1)


def test_a_price_of_another_symbol_ends_the_day_too(trader: Trader) -> None:
    trader.buy("1000", limit_price="1.09000", time_in_force=DAY)
    trader.wait_until(NOON.replace(hour=22))
    assert trader.price("0.86000", symbol="NZD/USD") == 1
    assert [r.kind for r in trader.news()] == [ReportKind.EXPIRED]


def test_partial_fills_come_one_a_quote(trader: Trader) -> None:
    trader.set(partial_fill_max=D(400))
    [first] = trader.buy("1000", stop_loss="1.05000")
    assert [f.quantity for f in first.fills] == [D(400)]
    trader.price("1.10100")
    trader.price("1.10200")
    assert trader.price("1.10300") == 0
    later = trader.news()
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


def test_ioc_takes_what_there_is_and_fok_all_or_nothing(trader: Trader) -> None:
    trader.set(partial_fill_max=D(400))
    part, end = trader.buy("1000", time_in_force=IOC)
    assert [f.quantity for f in part.fills] == [D(400)]
    assert (end.kind, end.code) == (ReportKind.EXPIRED, Code.NO_PRICE_WITHIN_LIMIT)
    [nothing] = trader.buy("1000", time_in_force=FOK)
    assert (nothing.kind, nothing.fills) == (ReportKind.EXPIRED, ())
    assert trader.price("1.10100") == 0
    assert [p.quantity for p in trader.positions()] == [D(400)]


def test_a_triggered_stop_follows_the_market_with_its_rest(trader: Trader) -> None:
    trader.set(partial_fill_max=D(600))
    trader.buy("1000", stop_price="1.10100")
    trader.price("1.10200")
    trader.price("1.10050")  # back below the stop: the rest is a market order now
    assert [f.price for r in trader.news() for f in r.fills] == [D("1.10202"), D("1.10052")]


@pytest.mark.parametrize("quantity", ["999", "1500", "51000000"])
def test_a_quantity_between_the_steps_is_refused(trader: Trader, quantity: str) -> None:
    refused(trader, Code.VOLUME_INVALID, Side.BUY, quantity)


@pytest.mark.parametrize("quantity", ["0", "-1000", "NaN", "Infinity", "1E+30"])
def test_what_is_no_quantity_is_refused_before_the_journal(trader: Trader, quantity: str) -> None:
    with pytest.raises(Rejected) as caught:
        trader.buy(quantity)
    assert caught.value.code is Code.VOLUME_INVALID
    assert trader.journal() == []


def test_the_smallest_and_the_largest_quantity_are_taken(trader: Trader) -> None:
    trader.set(balance=D(10_000_000))
    assert trader.buy("1000")[0].fills[0].quantity == 1000
    assert trader.buy("50000000")[0].fills[0].quantity == 50_000_000


def test_an_unlisted_symbol_is_refused(trader: Trader) -> None:
    refused(trader, Code.UNKNOWN_SYMBOL_AT_BROKER, Side.BUY, "1000", symbol="EURUSD.m")


def test_the_market_is_closed_without_a_fresh_price(trader: Trader) -> None:
    refused(trader, Code.MARKET_CLOSED, Side.BUY, "1000", symbol="GBPUSD")  # never quoted
    trader.wait_until(trader.now + timedelta(seconds=600))
    assert trader.buy("1000")[0].kind is ReportKind.FILLED
    trader.wait_until(trader.now + timedelta(seconds=1))
    refused(trader, Code.MARKET_CLOSED, Side.BUY, "1000")
    trader.wait_until(NOON - timedelta(seconds=120))  # a price from the future of a replay
    refused(trader, Code.MARKET_CLOSED, Side.BUY, "1000")


def test_trading_may_be_disabled(trader: Trader) -> None:
    trader.set(trading_allowed=False)
    refused(trader, Code.TRADING_DISABLED, Side.BUY, "1000")
    assert not trader.state().trading_allowed


def test_a_limit_or_stop_without_its_price_is_refused(trader: Trader) -> None:
    refused(trader, Code.PRICE_INVALID, Side.BUY, "1000", order_type=OrderType.LIMIT)
    refused(trader, Code.PRICE_INVALID, Side.BUY, "1000", order_type=OrderType.STOP)


@pytest.mark.parametrize(
    ("side", "stop", "target"),
    [
        (Side.BUY, "1.10000", None),  # at the bid, where it would be closed
        (Side.BUY, None, "1.10000"),
        (Side.BUY, "1.09996", None),  # 4 points away, 5 asked for
        (Side.BUY, None, "1.10004"),
        (Side.SELL, "1.10002", None),
        (Side.SELL, "1.10006", None),
        (Side.SELL, None, "1.09998"),
        (Side.BUY, "1.11000", "1.12000"),
    ],
)
def test_levels_too_near_or_on_the_wrong_side_are_refused(
    trader: Trader, side: Side, stop: str | None, target: str | None
) -> None:
    trader.set_instrument("EURUSD", stops_level=D("0.00005"))
    refused(trader, Code.STOPS_INVALID, side, "1000", stop_loss=stop, take_profit=target)


def test_levels_at_the_least_distance_are_taken(trader: Trader) -> None:
    trader.set_instrument("EURUSD", stops_level=D("0.00005"))
    [report] = trader.buy("1000", stop_loss="1.09995", take_profit="1.10005")
    assert (report.stop_loss, report.take_profit) == (D("1.09995"), D("1.10005"))


def test_a_waiting_orders_levels_are_measured_from_its_own_price(trader: Trader) -> None:
    [report] = trader.buy("1000", limit_price="1.05000", stop_loss="1.04000")
    assert report.kind is ReportKind.ACCEPTED
    refused(trader, Code.STOPS_INVALID, Side.BUY, "1000", limit_price="1.05", stop_loss="1.06")


def test_an_account_without_native_stops_takes_none(trader: Trader) -> None:
    trader.set(native_stops=False)
    refused(trader, Code.STOPS_INVALID, Side.BUY, "1000", stop_loss="1.09000")
    assert trader.buy("1000")[0].kind is ReportKind.FILLED


def test_margin_is_needed_and_used(trader: Trader) -> None:
    """10,000 USD at 1:30 carry 272,000 EUR at the mid of 1.10001 (9,973 USD), not 273,000."""
    refused(trader, Code.NO_MONEY, Side.BUY, "273000")
    assert trader.buy("272000")[0].kind is ReportKind.FILLED
    state = trader.state()
    assert state.margin_used == D("9973.42")
    assert state.equity == D("9994.56")  # the spread of 2 points
    assert state.free_margin == state.equity - state.margin_used
    refused(trader, Code.NO_MONEY, Side.BUY, "1000")
    assert trader.sell("1000")[0].kind is ReportKind.FILLED  # hedged: the larger side counts


def test_a_resting_order_without_money_when_it_is_reached_is_refused_then(trader: Trader) -> None:
    [resting] = trader.buy("200000", limit_price="1.09000")
    trader.buy("200000")
    assert trader.price("1.08900") == 1
    [told] = trader.news()
    assert (told.kind, told.code) == (ReportKind.REJECTED, Code.NO_MONEY)
    assert told.client_order_id == resting.client_order_id


def test_commission_is_paid_on_each_side_and_told(trader: Trader) -> None:
    trader.set(commission_per_million=D(30))
    [entry] = trader.buy("100000")
    assert (entry.fills[0].commission, entry.fills[0].commission_currency) == (D("3.30"), "USD")
    [exit_] = trader.close(entry.broker_position_id, "100000", Side.SELL)
    assert exit_.fills[0].commission == D("3.30")
    assert trader.state().balance == 10_000 - D("6.60") - D("2.00")


def test_profit_is_converted_to_the_accounts_currency(trader: Trader) -> None:
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


def test_an_unconvertible_symbol_is_refused(trader: Trader) -> None:
    trader.account("CHF1", currency="SEK")
    with pytest.raises(Rejected) as caught:
        trader.buy("1000", "CHF1")
    assert caught.value.code is Code.REJECTED_BY_BROKER


def test_an_unknown_account_is_refused(trader: Trader) -> None:
    with pytest.raises(Rejected) as caught:
        trader.buy("1000", "nobody")
    assert caught.value.code is Code.UNKNOWN_ACCOUNT


def test_many_orders_of_one_call_do_not_share_their_fate(trader: Trader) -> None:
    trader.account("A2", trading_allowed=False)
    trader.account("A3")
    requests = [
        trader.request(Side.BUY, "1000"),
        trader.request(Side.BUY, "1000", "A2"),
        trader.request(Side.BUY, "1000", "nobody"),
        trader.request(Side.BUY, "1500", "A3"),
        trader.request(Side.SELL, "2000", "A3"),
        trader.request(Side.SELL, "3000", "A3", symbol="none"),
    ]
    told: dict[str, object] = {}
    trader.run(
        trader.adapter.submit_many(
            [(trader.spec(r.account), r) for r in requests],
            trader.guard,
            lambda request, outcome: told.update({request.client_order_id: outcome}),
        )
    )
    outcomes = [told[r.client_order_id] for r in requests]
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


def test_the_rest_of_an_entry_does_not_open_what_its_stop_has_closed(trader: Trader) -> None:
    trader.set(partial_fill_max=D(400))
    [first] = trader.buy("1000", stop_loss="1.09000")
    trader.set(partial_fill_max=D(100))
    assert trader.price("1.08000") == 2
    stopped, ended = trader.news()
    assert stopped.fills[0].quantity == 400
    assert (ended.kind, ended.code) == (ReportKind.CANCELLED, Code.NO_POSITION)
    assert ended.client_order_id == first.client_order_id
    assert trader.positions() == []


def test_the_same_when_the_stop_was_hit_in_an_earlier_transaction(trader: Trader) -> None:
    trader.set(partial_fill_max=D(400))
    [first] = trader.buy("1000", stop_loss="1.09000")
    trader.close(first.broker_position_id, "400", Side.SELL)
    assert trader.price("1.10000") == 1
    assert [(r.kind, r.code) for r in trader.news()] == [(ReportKind.CANCELLED, Code.NO_POSITION)]
    assert trader.positions() == []
