"""The comparison of a subscription with its paper twin, against figures computed by hand."""

import random
from datetime import datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from analytics.compare.twin_parts import PARTS, Trade, difference_of, parts_of
from analytics.compare.twins import compare, csv_rows, twins_of
from common.clocks import market_now
from connections.models import (
    ExecutionConnection,
    Subscription,
    SubscriptionTwin,
    TradingPreset,
)
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Signal
from tests.connections import make

NOTHING = D(0)


def trade(
    quantity: int, entry: str, leave: str, costs: str = "0", *, sign: int = 1, closed: bool = True
) -> Trade:
    """A trade of EUR/USD on an account in USD."""
    gross = (D(leave) - D(entry)) * quantity * sign
    return Trade(sign, D(quantity), D(entry), D(1), gross, D(costs), closed)


def test_prices_size_and_costs_are_parts_of_their_own() -> None:
    # Live: 20,000 × (1.1050 − 1.1002) = 96.00, costs 1.40. Twin: 10,000 × (1.1051 − 1.1000) = 51.
    live, twin = trade(20_000, "1.1002", "1.1050", "1.40"), trade(10_000, "1.1000", "1.1051")
    assert parts_of(live, twin) == {
        "entry": D("-2.00"),  # 2 points worse × 10,000
        "exit": D("-1.00"),  # 1 point worse × 10,000
        "size": D("48.00"),  # 10,000 more × 48 points
        "costs": D("-1.40"),
    }
    assert sum(parts_of(live, twin).values()) == live.net - twin.net == D("43.60")


def test_a_sold_trade_gains_from_a_higher_entry() -> None:
    live = trade(10_000, "1.1002", "1.0950", sign=-1)
    assert parts_of(live, trade(10_000, "1.1000", "1.0950", sign=-1)) == {"entry": D(2)}


def test_trades_that_one_had_and_open_ones_are_parts_of_their_own() -> None:
    one = trade(10_000, "1.1000", "1.1010", "0.50")
    half_closed = trade(10_000, "1.1000", "1.1004", closed=False)
    assert parts_of(one, None) == {"only_live": D("9.50")}
    assert parts_of(None, one) == {"only_twin": D("-9.50")}
    assert parts_of(one, half_closed) == {"open": D("5.50")}
    assert parts_of(None, None) == {}


@pytest.mark.parametrize("currency", ["USD", "JPY", "KWD"])
def test_parts_add_up_to_the_cent_whatever_is_rounded(currency: str) -> None:
    dice = random.Random(7)

    def some() -> Trade | None:
        if dice.random() < 0.2:
            return None
        price = D(dice.randint(90_000, 130_000)) / 100_000
        gross = D(dice.randint(-(10**9), 10**9)) / D(10**7) / 3
        return Trade(
            dice.choice((1, -1)), D(dice.randint(1, 99_999)), price,
            D(dice.randint(1, 10**6)) / 7, gross.quantize(D("1e-18")),
            D(dice.randint(0, 10**6)) / D(10**5), dice.random() < 0.9,
        )  # fmt: skip

    for _ in range(300):
        pairs = [(some(), some()) for _ in range(dice.randint(0, 9))]
        found = difference_of(pairs, currency)
        assert set(found.parts) == set(PARTS)
        assert sum(found.parts.values(), NOTHING) == found.total == found.live - found.twin


# On stored trades

pytestmark = pytest.mark.django_db


class Pair:
    """A live account and its twin that take the same feed."""

    def __init__(self) -> None:
        self.feed = make.feed()
        self.live = make.connection(type="mt5")
        self.paper = make.connection(self.live.user, account="paper-twin-1-x")
        subscription, twin = (make.subscription(row, self.feed) for row in (self.live, self.paper))
        self.began = market_now() - timedelta(hours=6)
        self.link = SubscriptionTwin.objects.create(
            subscription=subscription, twin=twin, connection=self.paper, currency="USD",
            opening_balance=D(10_000), started_at=self.began,
        )  # fmt: skip

    def signal(self, hours: float = 1) -> Signal:
        return make.signal(self.feed, published_at=self.began + timedelta(hours=hours))

    def order(self, row: ExecutionConnection, signal: Signal, **fields: Any) -> Order:
        usual = {
            "leg": "entry", "pair": "EUR/USD", "side": "BUY", "order_type": "MARKET",
            "time_in_force": "GTC", "status": "FILLED",
        }  # fmt: skip
        return Order.objects.create(connection=row, signal=signal, **{**usual, **fields})

    def trade(
        self, row: ExecutionConnection, signal: Signal, quantity: int, entry: str, leave: str,
        commission: str = "0",
    ) -> None:  # fmt: skip
        closed_at = self.began + timedelta(hours=5)  # all on one trading day
        self.order(
            row, signal, quantity=quantity, filled_quantity=quantity, avg_fill_price=D(entry),
            slippage_pips=D("0.4"), slippage_unit="PIPS",
            client_order_id=f"c{row.pk.hex[:9]}{signal.pk}",
        )  # fmt: skip
        position = ExecutionPosition.objects.create(
            connection=row, signal=signal, pair="EUR/USD", symbol="EURUSD", side="BUY",
            quantity=0, opened_quantity=quantity, entry_price=D(entry), pip=D("0.0001"),
            conversion_rate=1, realized_pnl=(D(leave) - D(entry)) * quantity,
            commission=D(commission), closed_at=closed_at,
            opened_at=closed_at - timedelta(hours=1),
        )  # fmt: skip
        self.order(
            row, None, leg="close", side="SELL", position=position, quantity=quantity,  # type: ignore[arg-type]
            filled_quantity=quantity, avg_fill_price=D(leave),
        )  # fmt: skip


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_signals_stand_side_by_side(pair: Pair) -> None:
    both, denied, before = pair.signal(), pair.signal(2), pair.signal(-1)
    pair.trade(pair.live, both, 20_000, "1.1002", "1.1050", "1.40")
    pair.trade(pair.paper, both, 10_000, "1.1000", "1.1051")
    pair.order(pair.live, denied, status="DENIED", reason="MAX_OPEN_POSITIONS")
    pair.trade(pair.paper, denied, 10_000, "1.2000", "1.1990")
    pair.trade(pair.live, before, 10_000, "1.2000", "1.3000")
    found = compare(pair.link)
    assert [one.signal for one in found.signals] == [denied, both]
    second, first = found.signals
    assert (first.live.entry_price, first.live.exit_price) == (D("1.1002"), D("1.1050"))
    assert (first.live.quantity, first.live.slippage) == (D(20_000), D("0.4"))
    assert first.difference == D("43.60")
    assert (second.live.code, second.live.trade) == ("MAX_OPEN_POSITIONS", None)
    assert found.traded == (1, 2)
    difference = found.difference
    assert (difference.live, difference.twin, difference.total) == (
        D("94.60"), D("41.00"), D("53.60"),
    )  # fmt: skip
    assert {name: part for name, part in difference.parts.items() if part} == {
        "entry": D("-2.00"), "exit": D("-1.00"), "size": D("48.00"), "costs": D("-1.40"),
        "only_twin": D("10.00"),
    }  # fmt: skip
    assert [(day.live, day.twin) for day in found.equity] == [
        (D(10_000), D(10_000)), (D("10094.60"), D("10041.00")),
    ]  # fmt: skip


def test_signals_after_its_end_are_not_compared(pair: Pair) -> None:
    inside, after = pair.signal(1), pair.signal(4)
    for one in (inside, after):
        pair.trade(pair.live, one, 1000, "1.1", "1.2")
    SubscriptionTwin.objects.filter(pk=pair.link.pk).update(
        ended_at=pair.began + timedelta(hours=3), end_reason="STOPPED"
    )
    pair.link.refresh_from_db()
    assert [one.signal for one in compare(pair.link).signals] == [inside]


def test_nothing_yet_is_no_difference(pair: Pair) -> None:
    found = compare(pair.link)
    assert found.signals == []
    assert found.difference.total == 0
    assert len(found.equity) == 1


@pytest.mark.usefixtures("inline_commits")
def test_csv_has_a_line_for_each_signal(pair: Pair) -> None:
    signal = pair.signal()
    pair.trade(pair.live, signal, 20_000, "1.1002", "1.1050", "1.40")
    pair.trade(pair.paper, signal, 10_000, "1.1000", "1.1051")
    user = Subscription.objects.get(pk=pair.link.subscription_id).connection.user
    assert user is not None
    head, line = csv_rows(pair.link.pk, user)
    values = dict(zip(head, line, strict=True))
    assert (values["signal"], values["live_net"], values["twin_net"]) == (
        signal.number, D("94.60"), D("51.00"),
    )  # fmt: skip
    assert values["difference"] == sum(values[f"difference_{part}"] for part in PARTS)  # type: ignore[misc]


@pytest.mark.parametrize(("zone", "days"), [("", [11, 11, 12]), ("Asia/Tokyo", [11, 12])])
def test_equity_is_by_the_trading_days_of_the_account(
    pair: Pair, zone: str, days: list[int]
) -> None:
    """Tokyo's 12 March begins at 08:00 UTC, that of New York at 21:00 UTC."""
    TradingPreset.objects.filter(pk=pair.live.preset_id or 0).update(trading_day_zone=zone)
    began = datetime.fromisoformat("2026-03-11T07:00:00Z")
    SubscriptionTwin.objects.update(started_at=began)
    for hours in (6, 15):  # 13:00 and 22:00 UTC
        signal = make.signal(pair.feed, published_at=began + timedelta(hours=1))
        pair.trade(pair.live, signal, 1000, "1.1", "1.2")
        ExecutionPosition.objects.filter(signal=signal).update(
            opened_at=began, closed_at=began + timedelta(hours=hours)
        )
    link = twins_of(pair.live.user).get(pk=pair.link.pk)  # type: ignore[arg-type]
    assert [day.day.day for day in compare(link).equity] == days


@pytest.mark.parametrize(
    ("published", "is_compared"),
    [
        (-timedelta(microseconds=1), False),
        (timedelta(0), True),
        (timedelta(hours=3) - timedelta(microseconds=1), True),
        (timedelta(hours=3), False),
    ],
)
def test_signal_is_compared_from_the_start_until_before_the_end(
    pair: Pair, published: timedelta, is_compared: bool
) -> None:
    signal = make.signal(pair.feed, published_at=pair.began + published)
    pair.trade(pair.live, signal, 1000, "1.1", "1.2")
    SubscriptionTwin.objects.update(ended_at=pair.began + timedelta(hours=3), end_reason="STOPPED")
    pair.link.refresh_from_db()
    assert [one.signal for one in compare(pair.link).signals] == [signal] * is_compared


def test_trades_are_compared_by_the_price_of_all_entries(pair: Pair) -> None:
    """100 at 1.10, 50 closed, grown by 100 at 1.13: the lots that remained had 1.12."""
    signal = pair.signal()
    pair.trade(pair.live, signal, 200, "1.115", "1.14")
    ExecutionPosition.objects.update(entry_price=D("1.12"))
    pair.trade(pair.paper, signal, 200, "1.115", "1.14")
    found = compare(pair.link)
    assert found.signals[0].live.entry_price == D("1.115")
    assert (found.difference.live, found.difference.twin) == (D(5), D(5))
    assert not any(found.difference.parts.values())


def test_trade_of_two_tickets_ends_with_the_last_one(pair: Pair) -> None:
    signal = pair.signal()
    pair.trade(pair.live, signal, 1000, "1.1", "1.2")
    ExecutionPosition.objects.create(
        connection=pair.live, signal=signal, entry_leg="entry-2", pair="EUR/USD", symbol="EURUSD",
        side="BUY", quantity=500, opened_quantity=500, entry_price=D("1.1"), pip=D("0.0001"),
        conversion_rate=1, opened_at=market_now(),
    )  # fmt: skip
    (one,) = compare(pair.link).signals
    assert one.live.last_closed_at is None
    assert len(compare(pair.link).equity) == 1, "what is open in part has no day yet"
    ExecutionPosition.objects.filter(quantity=500).update(quantity=0, closed_at=market_now())
    assert len(compare(pair.link).equity) == 2
