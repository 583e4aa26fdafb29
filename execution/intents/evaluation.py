"""What each order of a bundle is judged by, and its decision: one definition for the claim, which
sends, and the preview, which sends nothing. Everything here reads; nothing writes.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings

from brokers.messages import Capabilities, ConnectionSpec, PositionMode
from brokers.registry import adapter_for
from common.clocks import market_now
from common.codes import Code
from common.sql import array, rows
from connections.eligibility import waits_for
from connections.models import HaltMode
from execution.exits.safety import while_halted
from execution.halts import Halts, read_halts, uncompared
from execution.intents import claim_sql as sql
from execution.intents import margins
from execution.intents.decide import decide_entry, decide_exit, lacks_price, pairs_priced, too_late
from execution.intents.decisions import Decision, Later, Market
from execution.intents.listed import instruments_of
from execution.intents.risk import Book
from execution.intents.sizing import Denial
from execution.intents.waiting import UNANSWERED_SECONDS, behind_a_command

NETTING = PositionMode.NETTING.value
UNHELD, BEHIND = Later(Code.LANE_UNHELD), Later(Code.EARLIER_COMMAND)
CapabilitiesOf = Callable[[str, ConnectionSpec], Capabilities]


def of_adapter(kind: str, spec: ConnectionSpec) -> Capabilities:
    """What an account can do, as this process's own adapter knows it."""
    return adapter_for(kind).capabilities(spec)


@dataclass(frozen=True, slots=True)
class Situation:
    """The state of the bundle's accounts and of the installation.

    books: by connection; each allowed entry is added to its own. postponed: why entries of a
    connection wait. uncompared: connections that an epoch lets nothing out for. locked_out: their
    credentials are stored and do not open.
    """

    books: dict[str, Book]
    halts: Halts
    postponed: Mapping[str, Later]
    uncompared: Collection[str]
    locked_out: Collection[str]
    capabilities_of: CapabilitiesOf


def load_situation(
    pending: Sequence[Any],
    specs: Mapping[str, ConnectionSpec],
    postponed: Mapping[str, Later],
    *,
    locked_out: Collection[str] = (),
    capabilities_of: CapabilitiesOf = of_adapter,
) -> Situation:
    """Read what the accounts of these rows hold, wait for and must not do."""
    held = rows(sql.HELD, {"connections": array(specs), "unanswered": UNANSWERED_SECONDS})
    books = {h.connection_id: Book(h.n, h.notional, h.margin, h.risk) for h in held}
    entries = [row for row in pending if row.position_id is None]
    accounts = {row.connection_id for row in entries}
    _note_sides(books, accounts, {r.connection_id for r in pending if r.position_mode == NETTING})
    unwell = {account: Later(code) for account, code in waits_for(accounts).items()}
    unanswered = {h.connection_id for h in held if h.unanswered}
    one_at_a_time = [
        row for row in entries if capabilities_of(row.type, specs[row.connection_id]).one_at_a_time
    ]
    behind = behind_a_command(one_at_a_time, unanswered)
    halts = read_halts()
    return Situation(
        books=books,
        halts=halts,
        postponed={**dict.fromkeys(behind, BEHIND), **unwell, **postponed},
        uncompared=uncompared(specs) if halts.everyone else set(),  # an epoch halts everyone
        locked_out=locked_out,
        capabilities_of=capabilities_of,
    )


def evaluate(
    pending: Iterable[Any],
    market: Market,
    situation: Situation,
    specs: Mapping[str, ConnectionSpec],
) -> list[tuple[Any, Decision]]:
    """Judge rows in order; each allowed entry counts for the ones behind it. Pure but for the
    books."""
    return [(row, decide(row, market, situation, specs[row.connection_id])) for row in pending]


def decide(row: Any, market: Market, situation: Situation, spec: ConnectionSpec) -> Decision:
    """Judge one row."""
    is_entry = row.position_id is None
    feed_id = market.signals[row.signal_id].feed_id if row.signal_id is not None else None
    halt = situation.halts.mode(
        owner_id=row.owner_id, feed_id=feed_id, connection_id=row.connection_id
    )
    if not is_entry:
        if halt == HaltMode.HALTED or row.connection_id in situation.uncompared:
            is_halted = halt == HaltMode.HALTED
            code = Code.TRADING_HALTED if is_halted else Code.CONNECTION_NOT_RECONCILED
            return Later(code, needs=while_halted(market.exits[row.id]))
        if situation.postponed.get(row.connection_id) is UNHELD:
            return UNHELD
        return decide_exit(row, market, situation.capabilities_of(row.type, spec))
    if halt is not None:
        return Denial(Code.TRADING_HALTED if halt == HaltMode.HALTED else Code.ENTRIES_HALTED)
    if row.connection_id in situation.locked_out:  # the log says why
        return Denial(Code.NO_CREDENTIALS)
    if later := situation.postponed.get(row.connection_id):
        return too_late(row, market.signals[row.signal_id], market) or later
    book = situation.books.setdefault(row.connection_id, Book())
    return decide_entry(row, market, book, situation.capabilities_of(row.type, spec))


def load_market(pending: Sequence[Any], signals: Mapping[int, Any]) -> Market:
    """Read what is quoted and listed for these rows."""
    quotes: dict[int, dict[str, Any]] = {}
    sources = {r.data_connection_id for r in pending if r.data_connection_id}
    for row in rows(sql.QUOTES, (list(sources), pairs_priced(pending))):
        quotes.setdefault(row.data_connection_id, {})[row.symbol] = row
    closing = [r.id for r in pending if r.position_id]
    exits = rows(sql.EXITS, (closing,)) if closing else []
    market = Market(
        signals=signals,
        instruments=instruments_of(pending),
        quotes=quotes,
        exits={exit_.order_id: exit_ for exit_ in exits},
        now=market_now(),
        margins=margins.known(pending),
        market_entry_seconds=settings.FILLCAST_MARKET_ENTRY_SECONDS,
    )
    unpriced = {
        r.data_connection_id
        for r in pending
        if r.position_id is None and r.data_connection_id and lacks_price(r, market)
    }
    if not unpriced:
        return market
    found = rows(sql.SOURCES, (list(unpriced),))
    return replace(market, sources={source.id: source for source in found})


def _note_sides(books: dict[str, Book], entries: set[str], netting: set[str]) -> None:
    """Tell the books of accounts with entries which pairs they are closing on which side, and those
    of netting accounts which they hold besides."""
    if not entries:
        return
    for row in rows(sql.SIDES_HELD, {"connections": array(entries)}):
        book = books.setdefault(row.connection_id, Book())
        if row.is_closing:
            book.closing.add((row.pair, row.side))
        elif row.connection_id in netting:
            book.sides.add((row.pair, row.side))
