"""The book's rules as pure functions, tested with generated orders and prices."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal as D
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.paper.book import day_end, place
from brokers.paper.book_state import Account, BookOrder, ChangeSet, Listed, Market
from brokers.paper.margin import equity_and_margin
from brokers.paper.matching import MonitoredRows, run
from brokers.paper.pg_arrays import texts, times
from brokers.types import CloseCause, OrderType, PositionMode, Quote, Side, TimeInForce
from tests.examples import examples

NOW = datetime(2014, 5, 2, 12, tzinfo=UTC)


def listed(symbol: str = "EURUSD", pair: str = "EUR/USD", bid: str = "1.1") -> Listed:
    return Listed(
        symbol, pair, 5, D("0.0001"), D(1000), D(1000), D(10_000_000), D(100_000), D(0), D(0),
        time(22), 600, D(bid), D(bid) + D("0.0002"), NOW,
    )  # fmt: skip


def account(mode: PositionMode, *, partial: D | None = None, commission: str = "0") -> Account:
    return Account(
        1, "A1", "USD", D(100_000), D(30), mode, True, D(commission), True, "", partial
    )  # fmt: skip


def order(ticket: int, side: Side, quantity: D, **kwargs: object) -> BookOrder:
    defaults: dict[str, object] = {
        "order_type": OrderType.MARKET, "time_in_force": TimeInForce.GTC, "limit_price": None,
        "stop_price": None, "stop_loss": None, "take_profit": None, "reduce_only": False,
        "closes": None,
    }  # fmt: skip
    return BookOrder(
        ticket,
        1,
        "c",
        f"x{ticket}",
        "EURUSD",
        side,
        quantity=quantity,
        time=NOW,
        **{**defaults, **kwargs},  # type: ignore[arg-type]
    )


prices = st.decimals("1.05", "1.15", places=5)
sides = st.sampled_from(Side)
lots = st.integers(1, 400).map(lambda n: D(n * 1000))
actions = st.one_of(
    st.tuples(st.just("market"), sides, lots),
    st.tuples(st.just("levels"), sides, lots),
    st.tuples(st.just("limit"), sides, lots, prices),
    st.tuples(st.just("stop"), sides, lots, prices),
    st.tuples(st.just("close"), st.integers(0, 5), lots),
    st.tuples(st.just("reduce"), sides, lots),
    st.tuples(st.just("price"), prices),
)


class BookHistory:
    """One account in the book, from its first deposit on."""

    def __init__(self, mode: PositionMode, partial: D | None, commission: str) -> None:
        self.account = account(mode, partial=partial, commission=commission)
        self.market = Market([listed()])
        self.tickets = count(1)
        self.changes = ChangeSet(self.tickets)
        self.watched = MonitoredRows({1: self.account})

    def act(self, action: tuple[object, ...]) -> None:
        kind = action[0]
        if kind == "price":
            self.price(action[1])  # type: ignore[arg-type]
        elif kind == "close":
            self.close(*action[1:])  # type: ignore[arg-type]
        else:
            self.order(*action)  # type: ignore[arg-type]
        self.check()

    def price(self, bid: D) -> None:
        quote = Quote("EUR/USD", bid, bid + D("0.0002"), NOW)
        run([quote], {"EUR/USD": "EURUSD"}, self.watched, self.market, self.changes)

    def order(self, kind: str, side: Side, quantity: D, price: D | None = None) -> None:
        kwargs: dict[str, object] = {}
        if kind == "levels":
            price_now, sign = self.market.by_symbol["EURUSD"].price(side.opposite), side.sign
            kwargs = {
                "stop_loss": price_now - sign * D("0.01"),
                "take_profit": price_now + sign * D("0.02"),
            }  # fmt: skip
        if kind == "limit":
            kwargs = {"order_type": OrderType.LIMIT, "limit_price": price}
        if kind == "stop":
            kwargs = {"order_type": OrderType.STOP, "stop_price": price}
        self.place(
            order(next(self.tickets), side, quantity, reduce_only=kind == "reduce", **kwargs)
        )

    def close(self, which: int, quantity: D) -> None:
        """Close one position, and check that no position reverses or grows."""
        open_lots = [lot for lot in self.account.lots.get("EURUSD", ()) if lot.quantity]
        if not open_lots:
            return
        lot = open_lots[which % len(open_lots)]
        before = self.net(), self.gross()
        self.place(
            order(
                next(self.tickets), lot.side.opposite, quantity, reduce_only=True,
                closes=lot.position,
            )
        )  # fmt: skip
        assert self.gross() <= before[1]
        if self.account.mode is PositionMode.NETTING:
            assert self.net() * before[0] >= 0
            assert abs(self.net()) <= abs(before[0])

    def place(self, new: BookOrder) -> None:
        placed = len(self.changes.new_lots)
        place(self.account, new, self.market, self.changes)
        if new.reduce_only:
            assert len(self.changes.new_lots) == placed, "an exit opened a position"
        if new.status == "WORKING":
            self.watched.orders[new.id] = new
        self.watched.lots.update({lot.id: lot for lot in self.account.lots.get("EURUSD", ())})

    def net(self) -> D:
        return sum(
            (lot.quantity * lot.side.sign for lot in self.account.lots.get("EURUSD", ())), D(0)
        )

    def gross(self) -> D:
        return sum((lot.quantity for lot in self.account.lots.get("EURUSD", ())), D(0))

    def check(self) -> None:
        """Check what must hold after each action."""
        deals = self.changes.deals
        changed_accounts = sum((deal.profit - deal.commission for deal in deals), D(0))
        assert self.account.balance == 100_000 + changed_accounts
        for lot in self.account.lots.get("EURUSD", ()):
            opened = sum((d.quantity for d in deals if d.lot is lot and not d.is_exit), D(0))
            closed = sum((d.quantity for d in deals if d.lot is lot and d.is_exit), D(0))
            assert lot.quantity == opened - closed >= 0
        for ticket in self.changes.new_orders:
            assert ticket.filled == sum((d.quantity for d in deals if d.order is ticket), D(0))
            assert ticket.filled <= ticket.quantity
            assert (ticket.status == "FILLED") == (ticket.filled == ticket.quantity)
        open_lots = [lot for lot in self.account.lots.get("EURUSD", ()) if lot.quantity]
        if self.account.mode is PositionMode.NETTING:
            assert len({(lot.side, lot.position) for lot in open_lots}) <= 1
            assert len({(lot.stop_loss, lot.take_profit) for lot in open_lots}) <= 1
        exposure = self.account.exposures.get("EURUSD")
        long_quantity = sum((lot.quantity for lot in open_lots if lot.side is Side.BUY), D(0))
        assert long_quantity == (exposure.long if exposure else 0)


@settings(max_examples=examples(150))
@given(
    st.sampled_from(PositionMode),
    st.one_of(st.none(), st.integers(1, 200).map(lambda n: D(n * 1000))),
    st.sampled_from(["0", "30"]),
    st.lists(actions, max_size=25),
)
def test_quantities_and_money_add_up_after_any_actions(
    mode: PositionMode, partial: D | None, commission: str, script: list[tuple[object, ...]]
) -> None:
    history = BookHistory(mode, partial, commission)
    for action in script:
        history.act(action)


@settings(max_examples=examples(150))
@given(
    side=sides,
    stop_gap=st.integers(1, 300),
    target_gap=st.integers(1, 300),
    path=st.lists(prices, min_size=1, max_size=20),
)
def test_stop_is_never_better_and_target_never_worse_than_its_level(
    side: Side, stop_gap: int, target_gap: int, path: list[D]
) -> None:
    history = BookHistory(PositionMode.HEDGING, None, "0")
    market_price, sign = history.market.by_symbol["EURUSD"].price(side.opposite), side.sign
    stop = market_price - sign * stop_gap * D("0.00001")
    target = market_price + sign * target_gap * D("0.00001")
    history.place(order(next(history.tickets), side, D(1000), stop_loss=stop, take_profit=target))
    for bid in path:
        history.price(bid)
    exits = [deal for deal in history.changes.deals if deal.is_exit]
    exit_prices = [bid if side is Side.BUY else bid + D("0.0002") for bid in path]
    beyond = [p for p in exit_prices if (p - stop) * sign <= 0 or (p - target) * sign >= 0]
    assert [deal.price for deal in exits] == beyond[:1]
    for deal in exits:
        if deal.order.cause is CloseCause.STOP_LOSS:
            assert (deal.price - stop) * sign <= 0
        else:
            assert (deal.price - target) * sign >= 0


@settings(max_examples=examples(150))
@given(st.lists(st.tuples(sides, lots), max_size=8), prices)
def test_equity_equals_balance_after_closing_everything(
    entries: list[tuple[Side, D]], bid: D
) -> None:
    history = BookHistory(PositionMode.HEDGING, None, "0")
    for side, quantity in entries:
        history.place(order(next(history.tickets), side, quantity))
    history.watched.lots.clear()
    history.price(bid)
    equity, _ = equity_and_margin(history.account, history.market)
    for lot in list(history.account.lots.get("EURUSD", ())):
        history.close(0, lot.quantity)
    assert abs(history.account.balance - equity) <= D("0.005") * max(len(entries), 1)
    assert equity_and_margin(history.account, history.market) == (history.account.balance, D(0))


@given(st.integers(0, 10**9).map(lambda seconds: NOW + timedelta(seconds=seconds)))
def test_day_end_is_at_its_hour_and_in_the_future(now: datetime) -> None:
    end = day_end(now, listed())
    assert (end.hour, end.minute, end.second, end.microsecond) == (22, 0, 0, 0)
    assert timedelta(0) < end - now <= timedelta(days=1)


@given(st.lists(st.text(st.characters(exclude_characters="\x00", codec="utf-8"))))
def test_array_literal_holds_any_text(values: list[str]) -> None:
    """Parsed by PostgreSQL's rules: each in quotes, a backslash before \\ and "."""
    parsed, inside, escaped, item = [], False, False, ""
    for character in texts(values)[1:-1]:
        if escaped:
            item, escaped = item + character, False
        elif inside and character == "\\":
            escaped = True
        elif character == '"':
            if inside:
                parsed.append(item)
            inside, item = not inside, ""
        elif inside:
            item += character
        else:
            assert character == ","
    assert parsed == values


def test_array_literals_of_times() -> None:
    assert times([]) == "{}"
    assert times([NOW, None, NOW]) == (
        '{"2014-05-02T12:00:00+00:00",NULL,"2014-05-02T12:00:00+00:00"}'
    )
