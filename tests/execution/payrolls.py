"""The engine on the recorded payrolls market, quote by quote, and the definitions it is judged by.

`Market` is the engine on the paper broker. Everything below it knows the quotes alone: it looks at
each quote of the recording, one by one, as the definitions in docs/order-types.md and
docs/trailing.md do.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import prices
from brokers.paper import exchange
from brokers.registry import adapter_for
from brokers.types import Quote
from common.clocks import MarketClock, set_market_clock
from common.db.sql import run
from connections.models import ExecutionConnection
from execution.monitoring.level_monitor import scan_levels
from execution.monitoring.level_sync import sync_levels
from execution.monitoring.stop_rules import StopRuleMonitor, judge_due
from execution.monitoring.trigger_monitor import TriggerMonitor
from execution.runtime import trading_runtime
from execution.runtime.event_stream import drain_events
from prices.recordings import read_quotes
from prices.services import store_quotes
from signals.models import Signal
from tests.execution import factories

RECORDING = Path(prices.__file__).parent / "data" / "quotes-2014-05-02-nonfarm-2h.csv.gz"
BEGIN = datetime(2014, 5, 2, 12, 29, 30, tzinfo=UTC)
END = BEGIN + timedelta(minutes=4)  # all entries have ended
RELEASE = datetime(2014, 5, 2, 12, 30, tzinfo=UTC)
GAP = timedelta(seconds=0.1)
OF_MARKET = {
    name: factories.MACHINE_TIMES[name] for name in ("execution_sliceplan", "signals_signal")
}
PAIR, PIP = "EUR/USD", D("0.0001")


def recorded() -> list[Quote]:
    """Return quotes of EUR/USD: all of the minute of the release, else every second one.

    There is about one a second, and the engine does much at each.
    """
    found = [q for q in read_quotes(RECORDING) if q.symbol == PAIR and BEGIN <= q.time < END]
    minute = RELEASE - timedelta(seconds=10), RELEASE + timedelta(seconds=50)
    return [q for n, q in enumerate(found) if n % 2 or minute[0] <= q.time < minute[1]]


def set_time(moment: datetime) -> None:
    set_market_clock(MarketClock(moment, datetime.now(UTC), 1))


class Market:
    """The engine and the paper broker, driven by quotes; machine time follows market time."""

    def __init__(self, accounts: Sequence[ExecutionConnection]) -> None:
        self.accounts = accounts
        self._triggers, self._rules = TriggerMonitor(), StopRuleMonitor()
        self._began, self._passed = time.monotonic(), 0.0
        self.until: dict[datetime, datetime] = {}  # of each quote, when the work on it had ended

    def at(self, moment: datetime) -> None:
        """Let the time until then pass."""
        set_time(moment)
        real = time.monotonic() - self._began
        behind = (moment - BEGIN).total_seconds() - real - self._passed
        factories.move_back(behind)
        for table, names in OF_MARKET.items():  # these follow the market's clock
            moved = ", ".join(f"{name} = {name} + make_interval(secs => %(s)s)" for name in names)
            run(f"UPDATE {table} SET {moved}", {"s": behind})
        self._passed += behind
        run("UPDATE connections_accountsnapshot SET read_at = clock_timestamp()")
        run("UPDATE positions_stoprule SET moved_at = moved_at - interval '1 hour'")

    def quote(self, quote: Quote) -> None:
        """The broker and the engine get a quote, and do all that follows from it."""
        self.at(quote.time)
        exchange.on_quotes([quote])
        drain_events()
        for source in sorted({one.data_connection_id or 0 for one in self.accounts}):
            store_quotes(source, [quote])
            self._triggers.process_quotes(source, [quote])
            self._rules.process_quotes(source, [quote])
        self.work()
        self.until[quote.time] = self._machine_time()

    def _machine_time(self) -> datetime:
        """Return the market time that the database's clock stands for now."""
        real = time.monotonic() - self._began
        return BEGIN + timedelta(seconds=real + self._passed)

    def work(self) -> None:
        """Send what is due, and move the broker's stops."""
        scan_levels()
        for outgoing in factories.claim_all():
            call = adapter_for("paper").submit(outgoing.spec, outgoing.request, lambda _: None)
            answer = trading_runtime.get_runtime().dispatcher.run_call(call, 60)
            factories.answer(outgoing, answer)
        judge_due()
        sync_levels()

    def publish(self, of: Any, after: Quote, **fields: Any) -> Signal:
        """Publish between two quotes: a tenth of a second after the last one."""
        self.at(after.time + GAP)
        signal = factories.signal(of, **fields)
        self.work()
        return signal


# ---- the definitions -----------------------------------------------------------------------------
def price_of(quote: Quote, side: str) -> D:
    """What an order of this side gets."""
    return quote.ask if side == "BUY" else quote.bid


def sign_of(side: str) -> int:
    return 1 if side == "BUY" else -1


def first(quotes: Sequence[Quote], is_it: Callable[[Quote], bool]) -> int:
    """Return the index of the first quote for which this holds."""
    return next(index for index, quote in enumerate(quotes) if is_it(quote))


def stop_index(quotes: Sequence[Quote], side: str, level: D) -> int:
    """A stop is reached by the first price at its level or beyond."""
    return first(quotes, lambda q: (price_of(q, side) - level) * sign_of(side) >= 0)


def limit_index(quotes: Sequence[Quote], side: str, level: D) -> int:
    """A limit is reached by the first price that is as good or better."""
    return first(quotes, lambda q: (price_of(q, side) - level) * sign_of(side) <= 0)


def stop_limit_index(quotes: Sequence[Quote], side: str, stop: D, limit: D) -> int:
    """From the quote that reached the stop on, it is a limit."""
    triggered = stop_index(quotes, side, stop)
    return triggered + limit_index(quotes[triggered:], side, limit)


def trailing_index(quotes: Sequence[Quote], start: D, side: str, distance: D) -> int:
    """A buy follows the lowest ask since its start, a sell the highest bid."""
    best = start
    for index, quote in enumerate(quotes):
        price = price_of(quote, side)
        best = min(best, price) if side == "BUY" else max(best, price)
        if (price - best) * sign_of(side) >= distance:
            return index
    raise AssertionError("it never fires")


def filled_at(quotes: Sequence[Quote], at: Quote, entry: dict[str, Any]) -> Quote:
    """Return the quote with which an entry fills. at: the one at which it was published."""
    side: str = entry["direction"]
    stop: Any = entry.get("stop_price")
    limit: Any = entry.get("open_price")
    match entry.get("order_type", "MARKET"):
        case "STOP":
            return quotes[stop_index(quotes, side, stop)]
        case "STOP_LIMIT":
            return quotes[stop_limit_index(quotes, side, stop, limit)]
        case "LIMIT":
            return quotes[limit_index(quotes, side, limit)]
        case "IF_TOUCHED":
            return quotes[limit_index(quotes, side, stop)]
        case "TRAILING_STOP":
            distance = entry["trail_distance"]
            return quotes[trailing_index(quotes, price_of(at, side), side, distance)]
        case _:
            return at


def expected_price(entry: dict[str, Any], filled: Quote) -> D:
    """Return from where slippage is counted: an order's own price, or the market's at the send."""
    own = {"STOP": "stop_price", "STOP_LIMIT": "open_price", "LIMIT": "open_price"}
    name = own.get(entry.get("order_type", ""))
    return D(entry[name]) if name else price_of(filled, entry["direction"])


def followed_stop(
    at_entry: Quote, quotes: Sequence[Quote], side: str, entry: D, stop: D, rule: dict[str, D]
) -> Iterator[tuple[Quote, D, bool]]:
    """Yield each quote with the stop that counts there, and whether it closes the position.

    The broker judges a quote before the engine can move a stop by it. rule: in pips. The stop goes
    to break-even once, and trails in steps; it never moves back.
    """
    sign, opposite = sign_of(side), "SELL" if side == "BUY" else "BUY"
    best = price_of(at_entry, opposite)
    stop = moved_stop(best, sign, entry, stop, rule)
    for quote in quotes:
        price = price_of(quote, opposite)
        closes = (price - stop) * sign <= 0
        yield quote, stop, closes
        if closes:
            return
        best = max(best * sign, price * sign) * sign
        stop = moved_stop(best, sign, entry, stop, rule)


def moved_stop(best: D, sign: int, entry: D, stop: D, rule: dict[str, D]) -> D:
    """Return the stop after the best price so far."""
    targets = [stop]
    gain = (best - entry) * sign
    if "break_even_profit" in rule and gain >= rule["break_even_profit"] * PIP:
        targets.append(entry + sign * rule["break_even_offset"] * PIP)
    behind = best - sign * rule["trailing_distance"] * PIP
    if (behind - stop) * sign >= rule["trailing_step"] * PIP:
        targets.append(behind)
    return max(target * sign for target in targets) * sign
