"""Fills, trailing and slippage on the recorded payrolls market, against a slow oracle.

One run of the engine over four minutes in which EUR/USD falls 34 pips from one second to the next
and its spread is 15 pips wide; each test compares a part of it with the definitions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal as D
from itertools import pairwise
from typing import Any

import pytest

from brokers.paper import exchange
from brokers.paper.db_sessions import sessions
from brokers.types import Quote
from common.clocks import market_now, set_market_clock
from connections.models import ExecutionConnection, Instrument
from execution.models import Order
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from tests.connections import make
from tests.execution import factories, payrolls
from tests.execution.payrolls import BEGIN, PAIR, PIP, Market, price_of, sign_of

RULE = {"trailing_distance": D(15), "trailing_step": D(2)}
BREAK_EVEN = RULE | {"break_even_profit": D(5), "break_even_offset": D(1)}
FAR = {"BUY": D("1.37000"), "SELL": D("1.40000")}
ENTRIES: dict[str, dict[str, Any]] = {
    "stop": {"direction": "SELL", "order_type": "STOP", "stop_price": D("1.38500")},
    "stop limit": {
        "direction": "SELL", "order_type": "STOP_LIMIT", "stop_price": D("1.38500"),
        "open_price": D("1.38300"),
    },
    "limit": {"direction": "BUY", "order_type": "LIMIT", "open_price": D("1.38240")},
    "touched": {"direction": "BUY", "order_type": "IF_TOUCHED", "stop_price": D("1.38250")},
    "trailing": {
        "direction": "BUY", "order_type": "TRAILING_STOP", "trail_distance": D("0.00120"),
    },
    "trailing sell": {
        "direction": "SELL", "order_type": "TRAILING_STOP", "trail_distance": D("0.00200"),
    },
    "sell": {"direction": "SELL", **RULE},
}  # fmt: skip
SLICES, SECONDS = 5, 250
AT, LATE_AT = 15, 90  # seconds after the begin: before the release, and at the low


@dataclass
class Ran:
    """What the engine has done.

    opened: the quote with which a position was opened. start, late: the index of the first quote
    after the publications. until: of each quote's time, when the work on it had ended.
    """

    quotes: list[Quote]
    orders: dict[str, Order]
    opened: dict[str, Quote]
    stops: dict[str, list[tuple[Quote, D | None]]]
    start: int
    late: int
    until: dict[datetime, datetime]

    def after(self, name: str) -> list[Quote]:
        """The quotes that an entry has seen."""
        return self.quotes[self.late if name == "late buy" else self.start :]

    def touch(self, name: str) -> Quote:
        """The quote at which an entry was published."""
        return self.quotes[(self.late if name == "late buy" else self.start) - 1]


def traded_accounts() -> Iterator[tuple[Any, ExecutionConnection]]:
    for number, mode in (("A1", "HEDGING"), ("A2", "NETTING")):
        exchange.open_account(number, balance=D(1_000_000), position_mode=mode)
        feed = make.feed(slug=number.lower())
        yield feed, factories.account(
            feed, type="paper", account=number, instrument_book="paper",
            settings={"position_mode": mode}, preset_fixed_quantity=D(15_000),
            snapshot_position_mode=mode, snapshot_balance=D(1_000_000),
            snapshot_equity=D(1_000_000), snapshot_free_margin=D(1_000_000),
        )  # fmt: skip


@pytest.fixture
def ran(runtime: trading_runtime.TradingRuntime, transactional_db: None) -> Iterator[Ran]:
    quotes = payrolls.recorded()
    payrolls.set_time(BEGIN)
    exchange.list_instruments()
    exchange.on_quotes([quotes[0]])
    Instrument.objects.create(
        book="paper", symbol="EURUSD", pair=PAIR, read_at=market_now(), digits=5, pip=PIP,
        quantity_min=D(1000), quantity_step=D(1000), quantity_max=D(10_000_000),
        contract_size=D(100_000),
    )  # fmt: skip
    (feed, hedged), (sliced, netted) = traded_accounts()
    try:
        yield played(Market([hedged, netted]), quotes, feed, sliced)
    finally:
        set_market_clock(None)
        sessions.close()


def played(market: Market, quotes: list[Quote], feed: Any, sliced: Any) -> Ran:
    """Play the quotes, publish, and remember where the stops were."""
    signals: dict[str, int] = {}
    stops: dict[str, list[tuple[Quote, D | None]]] = {"sell": [], "late buy": []}
    opened: dict[str, Quote] = {}
    start = late = 0
    for index, quote in enumerate(quotes):
        for name, seen in stops.items():
            if name in signals:
                seen.extend(stop_before(signals[name], quote))
        market.quote(quote)
        seconds = (quote.time - BEGIN).total_seconds()
        if not start and seconds >= AT:
            start = index + 1
            for name, fields in ENTRIES.items():
                sl = FAR[fields["direction"]]
                signals[name] = market.publish(feed, quote, sl=sl, **fields).pk
            signals["slices"] = market.publish(
                sliced, quote, sl=FAR["BUY"], execution_style="TWAP", duration_seconds=SECONDS,
                slice_count=SLICES,
            ).pk  # fmt: skip
        elif not late and seconds >= LATE_AT:
            late = index + 1
            signals["late buy"] = market.publish(
                feed, quote, direction="BUY", sl=D("1.37900"), **BREAK_EVEN
            ).pk
        having = set(ExecutionPosition.objects.values_list("signal_id", flat=True))
        for name in signals.keys() - opened.keys():
            if signals[name] in having:
                opened[name] = quote
    orders = {name: Order.objects.get(signal=pk, leg="entry") for name, pk in signals.items()}
    return Ran(quotes, orders, opened, stops, start, late, market.until)


def stop_before(signal: int, quote: Quote) -> list[tuple[Quote, D | None]]:
    """Return the stop that the broker has before it gets a quote, while the position is open."""
    found = ExecutionPosition.objects.filter(signal=signal, quantity__gt=0)
    return [(quote, one.broker_sl) for one in found]


# ---- comparison ----------------------------------------------------------------------------------
def compare_fills(ran: Ran) -> None:
    """Each entry has filled with the quote that the definitions name, at its price."""
    for name, fields in ENTRIES.items():
        quote = payrolls.filled_at(ran.after(name), ran.touch(name), fields)
        order, side = ran.orders[name], fields["direction"]
        price = price_of(quote, side)
        slippage = (price - payrolls.expected_price(fields, quote)) * sign_of(side) / PIP
        assert (name, ran.opened[name]) == (name, quote)
        assert (name, order.status, order.avg_fill_price) == (name, "FILLED", price)
        assert (name, order.slippage_pips) == (name, slippage)


def compare_stops(ran: Ran, name: str, stop: D, rule: dict[str, D]) -> int:
    """The broker's stop is the oracle's at each quote, and closes at the same one."""
    order = ran.orders[name]
    side, entry = order.side, order.avg_fill_price
    assert entry is not None
    seen = iter(ran.stops[name])
    stops: list[D] = []
    for quote, expected, closes in payrolls.followed_stop(
        ran.touch(name), ran.after(name), side, entry, stop, rule
    ):
        assert next(seen) == (quote, expected)
        stops.append(expected)
        if closes:
            assert next(seen, None) is None
            exit_order = Order.objects.get(position__signal=order.signal_id)
            price = price_of(quote, exit_order.side)
            assert exit_order.avg_fill_price == price
            beyond = (price - expected) * sign_of(exit_order.side) / PIP
            assert exit_order.slippage_pips == beyond
    assert closes
    sign = sign_of(side)
    assert all((after - before) * sign >= 0 for before, after in pairwise(stops))
    return len(set(stops)) - 1


def compare_slices(ran: Ran) -> None:
    """Slice n is sent with the first quote after its time, or with the one before if the work on
    that quote was still going on at its time: the process may have stood still."""
    first = ran.orders["slices"]
    slices = Order.objects.filter(signal=first.signal_id, position=None).order_by("id")
    begin = ran.touch("slices").time + payrolls.GAP
    filled = [one.avg_fill_price for one in slices]
    assert filled[0] == price_of(ran.touch("slices"), "BUY")
    for n in range(1, SLICES):
        due = begin + timedelta(seconds=n * SECONDS / SLICES)
        late = next(q.ask for q in ran.quotes if q.time > due)
        early = {q.ask for q in ran.quotes if q.time <= due < ran.until[q.time]}
        assert filled[n] in early | {late}, f"slice {n} was due at {due}"
    assert [one.quantity for one in slices] == [D(3000)] * SLICES
    position = ExecutionPosition.objects.get(signal=first.signal_id)
    assert (position.quantity, position.entry_price) == (D(15_000), sum(map(D, filled)) / SLICES)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_engine_does_what_the_definitions_say_at_each_quote(ran: Ran) -> None:
    compare_fills(ran)
    assert compare_stops(ran, "sell", FAR["SELL"], RULE) >= 2
    assert compare_stops(ran, "late buy", D("1.37900"), BREAK_EVEN) >= 2
    compare_slices(ran)
