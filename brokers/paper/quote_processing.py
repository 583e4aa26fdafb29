"""Applies new prices to the book. Levels are found by index, for symbols with new prices only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import islice

import orjson

from brokers.paper import queries
from brokers.paper.book_state import MAX_AHEAD_SECONDS, Account, ChangeSet, Market
from brokers.paper.db_sessions import Session, sessions
from brokers.paper.matching import MonitoredRows, OrderOutcome, run
from brokers.paper.notifications import notify
from brokers.paper.persistence import write
from brokers.paper.pg_arrays import numbers, texts, times
from brokers.paper.reports import outcome_report, to_json
from brokers.types import Quote
from common.clocks import market_now

BATCH = 500  # quotes processed together
CHUNK = 1_000  # accounts settled in one transaction


@dataclass(frozen=True, slots=True)
class Candidates:
    """Ids of what a batch's highest and lowest prices may touch, by account."""

    orders: dict[int, list[int]]
    lots: dict[int, list[int]]

    @property
    def accounts(self) -> list[int]:
        return sorted(self.orders.keys() | self.lots.keys())


@dataclass(frozen=True, slots=True)
class Batch:
    """Quotes that are stored together, oldest first. symbols: by canonical pair."""

    quotes: Sequence[Quote]
    symbols: Mapping[str, str]
    candidates: Candidates


def on_quotes(quotes: Sequence[Quote]) -> int:
    """Apply new prices, in order, and execute what they reach. Return the number of outcomes.

    quotes: canonical pairs. Those of a pair that is not listed, or older than the current price,
    are ignored. The event stream reports the outcomes. Only one process at a time should call it
    for a symbol (a second one waits).
    """
    outcome_count = 0
    for start in range(0, len(quotes), BATCH):
        outcome_count += _batch(quotes[start : start + BATCH])
    return outcome_count


def forget_prices() -> None:
    """Delete all prices: the next market session may be in the past (a restarted replay)."""
    with sessions.transaction() as session:
        session.execute("DELETE FROM paper_quote")


def _batch(quotes: Sequence[Quote]) -> int:
    batch, outcome_count = sessions.run(lambda session: _store_and_settle_first(session, quotes))
    if batch is None:
        return 0
    accounts = batch.candidates.accounts
    for start in range(CHUNK, len(accounts), CHUNK):
        chunk = accounts[start : start + CHUNK]
        outcome_count += sessions.run(partial(_settle, batch=batch, chunk=chunk))
    return outcome_count


def _store_and_settle_first(session: Session, quotes: Sequence[Quote]) -> tuple[Batch | None, int]:
    """Store the prices, find what they touch, and settle the first accounts."""
    symbols = _symbols_of(session, {quote.symbol for quote in quotes})
    if not symbols:
        return None, 0
    queries.lock_symbols(session, symbols.values(), exclusive=True)
    fresh = newer_only(quotes, symbols, queries.load_market(session), market_now())
    if not fresh:
        return None, 0
    batch = Batch(fresh, symbols, _candidates(session, fresh, symbols))
    _store_prices(session, fresh, symbols)
    first = batch.candidates.accounts[:CHUNK]
    return batch, _settle(session, batch, first) if first else 0


def _symbols_of(session: Session, pairs: set[str]) -> dict[str, str]:
    rows = session.execute(
        "SELECT pair, symbol FROM paper_instrument WHERE pair = ANY(%s::text[])", (texts(pairs),)
    )
    return dict(rows.fetchall())


def newer_only(
    quotes: Sequence[Quote], symbols: Mapping[str, str], market: Market, now: datetime
) -> list[Quote]:
    """Return the quotes of listed pairs that are not older than the one before.

    A stored price ahead of the market clock is of another session and does not count.
    """
    latest_plausible = now + timedelta(seconds=MAX_AHEAD_SECONDS)
    latest: dict[str, datetime | None] = {}
    fresh = []
    for quote in quotes:
        symbol = symbols.get(quote.symbol)
        if symbol is None:
            continue
        before = latest.setdefault(symbol, market.by_symbol[symbol].quoted_at)
        if before is None or before > latest_plausible or quote.time >= before:
            latest[symbol] = quote.time
            fresh.append(quote)
    return fresh


def _candidates(
    session: Session, quotes: Sequence[Quote], symbols: Mapping[str, str]
) -> Candidates:
    """Find the working orders and open lots that these prices may touch, and days that end."""
    ranges: dict[str, tuple[Decimal, Decimal, Decimal, Decimal]] = {}
    for quote in quotes:
        low, high, ask_low, ask_high = ranges.get(
            quote.symbol, (quote.bid, quote.bid, quote.ask, quote.ask)
        )
        ranges[quote.symbol] = (
            min(low, quote.bid), max(high, quote.bid),
            min(ask_low, quote.ask), max(ask_high, quote.ask),
        )  # fmt: skip
    columns = (
        texts(symbols[pair] for pair in ranges),
        *(numbers(span[i] for span in ranges.values()) for i in range(4)),
    )
    orders: dict[int, list[int]] = {}
    lots: dict[int, list[int]] = {}
    latest = max(quote.time for quote in quotes)
    for candidates, sql, params in (
        (orders, TOUCHED_ORDERS, (*columns, latest)),
        (lots, TOUCHED_LOTS, columns),
    ):
        # Planned each time: how many levels are beyond a price depends on the price.
        for row_id, account_id in session.execute(sql, params, prepare=False):
            candidates.setdefault(account_id, []).append(row_id)
    return Candidates(orders, lots)


MOVED = (
    "unnest(%s::text[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[]) "
    "m(symbol, bid_low, bid_high, ask_low, ask_high)"
)
TOUCHED_ORDERS = (
    f"SELECT o.id, o.account_id FROM {MOVED} CROSS JOIN LATERAL ("
    + " UNION ALL ".join(
        "SELECT id, account_id FROM paper_order WHERE status = 'WORKING' "
        f"AND symbol = m.symbol AND watch = '{watch}' AND side = '{side}' {reached}"
        for watch, side, reached in (
            ("LIMIT", "BUY", "AND trigger_price >= m.ask_low"),
            ("LIMIT", "SELL", "AND trigger_price <= m.bid_high"),
            ("STOP", "BUY", "AND trigger_price <= m.ask_high"),
            ("STOP", "SELL", "AND trigger_price >= m.bid_low"),
            ("MARKET", "BUY", ""),
            ("MARKET", "SELL", ""),
        )
    )
    + ") o UNION SELECT id, account_id FROM paper_order "
    "WHERE status = 'WORKING' AND expires_at IS NOT NULL AND expires_at <= %s"
)
TOUCHED_LOTS = (
    f"SELECT DISTINCT p.id, p.account_id FROM {MOVED} CROSS JOIN LATERAL ("
    + " UNION ALL ".join(
        "SELECT id, account_id FROM paper_position WHERE quantity > 0 "
        f"AND symbol = m.symbol AND side = '{side}' AND {level} IS NOT NULL AND {level} {beyond}"
        for side, level, beyond in (
            ("BUY", "stop_loss", ">= m.bid_low"),
            ("SELL", "stop_loss", "<= m.ask_high"),
            ("BUY", "take_profit", "<= m.bid_high"),
            ("SELL", "take_profit", ">= m.ask_low"),
        )
    )
    + ") p"
)


def _store_prices(session: Session, quotes: Sequence[Quote], symbols: Mapping[str, str]) -> None:
    last = {symbols[quote.symbol]: quote for quote in quotes}
    session.execute(
        "INSERT INTO paper_quote (symbol, bid, ask, time) SELECT * FROM "
        "unnest(%s::text[], %s::numeric[], %s::numeric[], %s::timestamptz[]) "
        "ON CONFLICT (symbol) DO UPDATE SET bid = excluded.bid, ask = excluded.ask, "
        "time = excluded.time",
        (
            texts(last),
            numbers(quote.bid for quote in last.values()),
            numbers(quote.ask for quote in last.values()),
            times(quote.time for quote in last.values()),
        ),
    )


def _settle(session: Session, batch: Batch, chunk: list[int]) -> int:
    """Lock accounts, load their candidates again, and execute what was reached."""
    accounts = queries.lock_accounts(session, chunk)
    market = queries.load_market(session)
    moved = {batch.symbols[quote.symbol] for quote in batch.quotes}
    order_ids = [i for account in chunk for i in batch.candidates.orders.get(account, ())]
    orders = queries.load_orders(
        session, "id = ANY(%s::bigint[]) AND status = 'WORKING'", (numbers(order_ids),)
    )
    if orders:
        queries.load_exposures(session, accounts)
    queries.load_lots(session, accounts, [(i, symbol) for i in accounts for symbol in moved])
    queries.load_ended_lots(session, accounts, orders)
    candidate_ids = {i for account in chunk for i in batch.candidates.lots.get(account, ())}
    lots = {
        lot.id: lot
        for account in accounts.values()
        for of_symbol in account.lots.values()
        for lot in of_symbol
        if lot.id in candidate_ids
    }
    changes = ChangeSet(queries.tickets(session, 2 * len(lots) + len(orders)))
    watched = MonitoredRows(accounts, {order.id: order for order in orders}, lots)
    outcome_count = run(batch.quotes, batch.symbols, watched, market, changes)
    write(session, changes, accounts)
    emit(session, outcome_count, accounts)
    return len(outcome_count)


def emit(
    session: Session, outcome_count: Sequence[OrderOutcome], accounts: Mapping[int, Account]
) -> None:
    """Add outcomes to the event stream."""
    events = [
        (one.order.account, to_json(report))
        for one in outcome_count
        for report in outcome_report(one, accounts[one.order.account].currency)
    ]
    if events:
        notify(session)
    rest = iter(events)
    while part := list(islice(rest, 1_000)):
        session.execute(
            "INSERT INTO paper_event (account_id, report) "
            "SELECT * FROM unnest(%s::bigint[], %s::jsonb[])",
            (
                numbers(account for account, _ in part),
                texts(orjson.dumps(report).decode() for _, report in part),
            ),
        )
