"""What each order of a bundle is judged by, and its decision: one definition for the claim, which
sends, and the preview, which sends nothing. Everything here reads; nothing writes.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings

from brokers.account_capabilities import Capabilities
from brokers.registry import adapter_for
from brokers.types import ConnectionSpec, PositionMode
from common.clocks import market_now
from common.reason_codes import Code
from common.sql import array, rows
from connections.models import HaltMode
from connections.selectors import temporary_reasons
from execution.base.kill_switch import Halts, read_halts, unreconciled_in_epoch
from execution.exits.safety import while_halted
from execution.submission import claim_sql as sql
from execution.submission import margins
from execution.submission.deferral import UNANSWERED_SECONDS, accounts_with_open_command
from execution.submission.evaluate import (
    decide_entry,
    decide_exit,
    missing_price,
    pairs_priced,
    validity_error,
)
from execution.submission.instruments import instruments_of
from execution.submission.outcomes import Decision, Deferred, EvaluationContext
from execution.submission.risk import PortfolioExposure
from execution.submission.sizing import Denial

NETTING = PositionMode.NETTING.value
WAITING_FOR_WORKER, WAITING_FOR_EARLIER = (
    Deferred(Code.NO_SESSION_WORKER),
    Deferred(Code.EARLIER_COMMAND),
)
CapabilitiesOf = Callable[[str, ConnectionSpec], Capabilities]


def adapter_capabilities(broker_type: str, spec: ConnectionSpec) -> Capabilities:
    """What an account can do, as this process's own adapter knows it."""
    return adapter_for(broker_type).capabilities(spec)


@dataclass(frozen=True, slots=True)
class AccountContext:
    """The state of the bundle's accounts and of the installation.

    books: by connection; each allowed entry is added to its own. postponed: why entries of a
    connection wait. uncompared: connections that an epoch lets nothing out for. locked_out: their
    credentials are stored and do not open.
    """

    books: dict[str, PortfolioExposure]
    halts: Halts
    postponed: Mapping[str, Deferred]
    unreconciled_in_epoch: Collection[str]
    locked_out: Collection[str]
    capabilities_of: CapabilitiesOf


def load_account_context(
    pending: Sequence[Any],
    specs: Mapping[str, ConnectionSpec],
    postponed: Mapping[str, Deferred],
    *,
    locked_out: Collection[str] = (),
    capabilities_of: CapabilitiesOf = adapter_capabilities,
) -> AccountContext:
    """Read what the accounts of these rows hold, wait for and must not do."""
    held_rows = rows(sql.HELD, {"connections": array(specs), "unanswered": UNANSWERED_SECONDS})
    books = {
        h.connection_id: PortfolioExposure(h.n, h.notional, h.margin, h.risk) for h in held_rows
    }
    entries = [row for row in pending if row.position_id is None]
    accounts = {row.connection_id for row in entries}
    _load_netting_sides(
        books, accounts, {r.connection_id for r in pending if r.position_mode == NETTING}
    )
    in_error = {account: Deferred(code) for account, code in temporary_reasons(accounts).items()}
    unanswered = {h.connection_id for h in held_rows if h.unanswered}
    one_at_a_time = [
        row for row in entries if capabilities_of(row.type, specs[row.connection_id]).one_at_a_time
    ]
    behind = accounts_with_open_command(one_at_a_time, unanswered)
    halts = read_halts()
    return AccountContext(
        books=books,
        halts=halts,
        postponed={**dict.fromkeys(behind, WAITING_FOR_EARLIER), **in_error, **postponed},
        unreconciled_in_epoch=unreconciled_in_epoch(specs)
        if halts.everyone
        else set(),  # an epoch halts everyone
        locked_out=locked_out,
        capabilities_of=capabilities_of,
    )


def evaluate(
    pending: Iterable[Any],
    context: EvaluationContext,
    accounts: AccountContext,
    specs: Mapping[str, ConnectionSpec],
) -> list[tuple[Any, Decision]]:
    """Judge rows in order; each allowed entry counts for the ones behind it. Pure but for the
    books."""
    return [(row, decide(row, context, accounts, specs[row.connection_id])) for row in pending]


def decide(
    row: Any, context: EvaluationContext, accounts: AccountContext, spec: ConnectionSpec
) -> Decision:
    """Judge one row."""
    is_entry = row.position_id is None
    feed_id = context.signals[row.signal_id].feed_id if row.signal_id is not None else None
    halt = accounts.halts.mode(
        owner_id=row.owner_id, feed_id=feed_id, connection_id=row.connection_id
    )
    if not is_entry:
        if halt == HaltMode.HALTED or row.connection_id in accounts.unreconciled_in_epoch:
            is_halted = halt == HaltMode.HALTED
            code = Code.TRADING_HALTED if is_halted else Code.CONNECTION_NOT_RECONCILED
            return Deferred(code, blocker=while_halted(context.exits[row.id]))
        if accounts.postponed.get(row.connection_id) is WAITING_FOR_WORKER:
            return WAITING_FOR_WORKER
        return decide_exit(row, context, accounts.capabilities_of(row.type, spec))
    if halt is not None:
        return Denial(Code.TRADING_HALTED if halt == HaltMode.HALTED else Code.ENTRIES_HALTED)
    if row.connection_id in accounts.locked_out:  # the log says why
        return Denial(Code.NO_CREDENTIALS)
    if deferred := accounts.postponed.get(row.connection_id):
        return validity_error(row, context.signals[row.signal_id], context) or deferred
    exposure = accounts.books.setdefault(row.connection_id, PortfolioExposure())
    return decide_entry(row, context, exposure, accounts.capabilities_of(row.type, spec))


def load_evaluation_context(
    pending: Sequence[Any], signals: Mapping[int, Any]
) -> EvaluationContext:
    """Read what is quoted and listed for these rows."""
    quotes: dict[int, dict[str, Any]] = {}
    sources = {r.data_connection_id for r in pending if r.data_connection_id}
    for row in rows(sql.QUOTES, (list(sources), pairs_priced(pending))):
        quotes.setdefault(row.data_connection_id, {})[row.symbol] = row
    closing = [r.id for r in pending if r.position_id]
    exits = rows(sql.EXITS, (closing,)) if closing else []
    market = EvaluationContext(
        signals=signals,
        instruments=instruments_of(pending),
        quotes=quotes,
        exits={exit_.order_id: exit_ for exit_ in exits},
        now=market_now(),
        margins=margins.known_margins(pending),
        market_entry_max_age_seconds=settings.FILLCAST_MARKET_ENTRY_MAX_AGE_SECONDS,
    )
    unpriced = {
        r.data_connection_id
        for r in pending
        if r.position_id is None and r.data_connection_id and missing_price(r, market)
    }
    if not unpriced:
        return market
    found = rows(sql.SOURCES, (list(unpriced),))
    return replace(market, sources={source.id: source for source in found})


def _load_netting_sides(
    books: dict[str, PortfolioExposure], entries: set[str], netting: set[str]
) -> None:
    """Tell the books of accounts with entries which pairs they are closing on which side, and those
    of netting accounts which they hold besides."""
    if not entries:
        return
    for row in rows(sql.SIDES_HELD, {"connections": array(entries)}):
        book = books.setdefault(row.connection_id, PortfolioExposure())
        if row.is_closing:
            book.closing.add((row.pair, row.side))
        elif row.connection_id in netting:
            book.sides.add((row.pair, row.side))
