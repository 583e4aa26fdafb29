"""Load what the orders of a bundle are decided by, and decide them.

Shared by the claim, which sends, and the preview, which does not. Nothing here writes.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from brokers.account_capabilities import Capabilities
from brokers.registry import adapter_for
from brokers.types import ConnectionSpec, PositionMode
from common.clocks import market_now
from common.db.sql import array, rows
from common.operational.current import settings_now
from common.reason_codes import Code
from connections.models import HaltMode
from connections.selectors import health_reasons
from execution.base.kill_switch import Halts, read_halts, unreconciled_in_epoch
from execution.exits.safety import while_halted
from execution.models import Status
from execution.submission import claim_sql as sql
from execution.submission import margins, triggers
from execution.submission.average_ranges import atrs_of
from execution.submission.deferral import UNANSWERED_SECONDS, accounts_with_open_command
from execution.submission.evaluate import decide_entry, decide_next_slice
from execution.submission.evaluate_exit import decide_exit
from execution.submission.flow_limits import per_minute
from execution.submission.limits import halt_denial, netting_denial
from execution.submission.moved_triggers import moved_trails_of
from execution.submission.outcomes import (
    SIDES,
    Decision,
    Deferred,
    EvaluationContext,
    Intent,
    Terminated,
)
from execution.submission.quotes import missing_price, pairs_priced
from execution.submission.recent import NOTHING_SENT, recent_of
from execution.submission.risk import PortfolioExposure, open_positions_denial
from execution.submission.rows import (
    ExposureRow,
    InstrumentRow,
    OrderRow,
    QuoteRow,
    SignalRow,
)
from execution.submission.shared_prices import SharedPrices
from execution.submission.signal_limits import SignalTotals
from execution.submission.sizing import Denial
from execution.submission.slice_plans import load_plans
from execution.submission.validity import (
    decide_awaited,
    decide_held,
    slice_error,
    validity_error,
)

NETTING = PositionMode.NETTING.value
WAITING_FOR_WORKER = Deferred(Code.NO_SESSION_WORKER)
WAITING_FOR_EARLIER = Deferred(Code.EARLIER_COMMAND)
CapabilitiesOf = Callable[[str, ConnectionSpec], Capabilities]


def adapter_capabilities(broker_type: str, spec: ConnectionSpec) -> Capabilities:
    """Return an account's capabilities from this process's adapter."""
    return adapter_for(broker_type).capabilities(spec)


@dataclass(frozen=True, slots=True)
class AccountContext:
    """The state of the bundle's accounts and of the kill switch, by connection id.

    exposures: each allowed entry is added to its account's. deferred: why entries wait.
    unreconciled_in_epoch: nothing may be sent until they are compared. without_credentials: stored
    credentials that could not be decrypted. prices: filled by the decisions.
    """

    exposures: dict[str, PortfolioExposure]
    halts: Halts
    deferred: Mapping[str, Deferred]
    unreconciled_in_epoch: Collection[str]
    without_credentials: Collection[str]
    capabilities_of: CapabilitiesOf
    prices: SharedPrices = field(default_factory=SharedPrices)


def load_account_context(
    pending: Sequence[OrderRow],
    specs: Mapping[str, ConnectionSpec],
    deferred: Mapping[str, Deferred],
    *,
    without_credentials: Collection[str] = (),
    capabilities_of: CapabilitiesOf = adapter_capabilities,
) -> AccountContext:
    """Read the exposure, the waits and the halts of the accounts of these rows."""
    exposures, unanswered = load_exposures(pending, specs)
    entries = [row for row in pending if row.position_id is None]
    accounts = {row.connection_id for row in entries}
    in_error = {account: Deferred(code) for account, code in health_reasons(accounts).items()}
    one_at_a_time = [
        row for row in entries if capabilities_of(row.type, specs[row.connection_id]).one_at_a_time
    ]
    behind = accounts_with_open_command(one_at_a_time, unanswered)
    halts = read_halts()
    return AccountContext(
        exposures=exposures,
        halts=halts,
        deferred={**dict.fromkeys(behind, WAITING_FOR_EARLIER), **in_error, **deferred},
        # An open epoch always halts all trading: without such a halt there is none.
        unreconciled_in_epoch=unreconciled_in_epoch(specs) if halts.all_trading else set(),
        without_credentials=without_credentials,
        capabilities_of=capabilities_of,
    )


def load_exposures(
    pending: Sequence[OrderRow], connections: Collection[str]
) -> tuple[dict[str, PortfolioExposure], set[str]]:
    """Return the exposure of accounts by connection id, and those that have not answered an order.

    pending: the rows that are decided; only accounts of entries among them get their sides.
    """
    limited = {
        row.pair for row in pending if row.terms.limits.max_symbol_exposure_percent is not None
    }
    found = rows(
        sql.EXPOSURE,
        {
            "connections": array(connections), "unanswered": UNANSWERED_SECONDS,
            "pairs": sorted(limited),
        },
        planned_once=True,
    )  # fmt: skip
    exposures = _exposures(found)
    _load_netting_sides(
        exposures,
        {row.connection_id for row in pending if row.position_id is None},
        {row.connection_id for row in pending if row.position_mode == NETTING},
    )
    return exposures, {row.connection_id for row in found if row.unanswered}


def _exposures(found: Iterable[ExposureRow]) -> dict[str, PortfolioExposure]:
    """Return the exposure of each account: the sum of its rows."""
    exposures: dict[str, PortfolioExposure] = {}
    for row in found:
        exposure = exposures.setdefault(row.connection_id, PortfolioExposure())
        exposure.positions += row.positions
        exposure.orders += row.orders
        exposure.notional += row.notional
        exposure.margin_in_flight += row.margin
        exposure.risk += row.risk
        if row.pair:
            exposure.notional_by_pair[row.pair] = row.notional
    return exposures


def evaluate(
    pending: Iterable[OrderRow],
    context: EvaluationContext,
    accounts: AccountContext,
    specs: Mapping[str, ConnectionSpec],
) -> list[tuple[OrderRow, Decision]]:
    """Decide rows in order, each by `decide`: an allowed entry counts for those after it."""
    return [(row, decide(row, context, accounts, specs[row.connection_id])) for row in pending]


def decide(
    row: OrderRow, context: EvaluationContext, accounts: AccountContext, spec: ConnectionSpec
) -> Decision:
    """Decide one order; an allowed entry is added to its account's exposure."""
    feed_id = context.signals[row.signal_id].feed_id if row.signal_id is not None else None
    halt = accounts.halts.mode(
        owner_id=row.owner_id,
        feed_id=feed_id,
        connection_id=row.connection_id,
        broker_type=row.type,
        pairs=halted_pairs(row),
    )
    if row.position_id is not None:
        return _decide_exit(row, context, accounts, spec, halt)
    if row.awaits_condition:
        return decide_awaited(row, context)
    if triggers.is_held(row):
        return decide_held(row, context)
    if code := context.order_defaults.refusal_of(context.signal_of(row).order_type):
        return validity_error(row, context.signal_of(row), context) or Denial(code)
    if row.other_leg_fired:
        return Terminated(Denial(Code.OCO_OTHER_LEG_TRIGGERED), Status.CANCELLED)
    if denial := context.unroutable.get(row.id):
        return validity_error(row, context.signal_of(row), context) or denial
    if denial := halt_denial(row, halt):
        return denial
    if row.connection_id in accounts.without_credentials:  # the log has the error
        return Denial(Code.NO_CREDENTIALS)
    if row.id in context.plans:
        return decide_slice(row, context, accounts, spec)
    if deferred := accounts.deferred.get(row.connection_id):
        return validity_error(row, context.signal_of(row), context) or deferred
    exposure = accounts.exposures.setdefault(row.connection_id, PortfolioExposure())
    capabilities = accounts.capabilities_of(row.type, spec)
    return decide_entry(row, context, exposure, capabilities, accounts.prices)


def _decide_exit(
    row: OrderRow,
    context: EvaluationContext,
    accounts: AccountContext,
    spec: ConnectionSpec,
    halt: str | None,
) -> Decision:
    """Decide one exit. halt: the mode of the kill switch for it; REDUCING lets exits through."""
    if halt == HaltMode.HALTED or row.connection_id in accounts.unreconciled_in_epoch:
        is_halted = halt == HaltMode.HALTED
        code = Code.TRADING_HALTED if is_halted else Code.CONNECTION_NOT_RECONCILED
        return Deferred(code, blocker=while_halted(context.exits[row.id]))
    if accounts.deferred.get(row.connection_id) is WAITING_FOR_WORKER:
        return WAITING_FOR_WORKER
    return decide_exit(row, context, accounts.capabilities_of(row.type, spec))


def decide_slice(
    row: OrderRow, context: EvaluationContext, accounts: AccountContext, spec: ConnectionSpec
) -> Decision:
    """Decide a later slice of a plan, or a first one that was not sent.

    Halts and pauses were checked. Amounts were checked for the whole plan when it began. What
    other signals hold may have changed since then, and each slice counts as an order of its minute.
    """
    signal, plan = context.signal_of(row), context.plans[row.id]
    if ended := slice_error(row, signal, plan, context):
        return ended
    if deferred := accounts.deferred.get(row.connection_id):
        return deferred
    exposure = accounts.exposures.setdefault(row.connection_id, PortfolioExposure())
    if broken := netting_denial(row, SIDES[row.side], exposure):
        return broken
    if plan.free is None and (
        denial := open_positions_denial(exposure, row.terms.limits.max_open_positions)
    ):
        return denial
    if denial := per_minute(row, context.recent.get(row.id, NOTHING_SENT), exposure.flow):
        return denial
    capabilities = accounts.capabilities_of(row.type, spec)
    decision = decide_next_slice(row, context, capabilities, plan)
    if isinstance(decision, Intent):
        exposure.flow.sent += 1
    return decision


def halted_pairs(row: OrderRow) -> tuple[str, ...]:
    """Return the pairs whose halt concerns an order: its own, and its signal's if it is mapped."""
    if row.signal_pair is None or row.signal_pair == row.pair:
        return (row.pair,)
    return (row.pair, row.signal_pair)


def load_evaluation_context(
    pending: Sequence[OrderRow],
    signals: Mapping[int, SignalRow],
    totals: SignalTotals | None = None,
) -> EvaluationContext:
    """Read the instruments, quotes, exits and margins that these rows are decided by.

    For entries with limits that count it, also what their accounts have sent and hold.

    totals: what was sent for signals with a limit; None: nothing. Price sources are read only if an
    entry lacks a price: their state explains it.
    """
    quotes: dict[int, dict[str, QuoteRow]] = {}
    sources = {r.data_connection_id for r in pending if r.data_connection_id}
    priced = pairs_priced(pending, signals, totals)
    for row in rows(sql.QUOTES, (array(sources), priced), planned_once=True):
        quotes.setdefault(row.data_connection_id, {})[row.symbol] = row
    closing = [r.id for r in pending if r.position_id]
    exits = rows(sql.EXITS, (array(closing),), planned_once=True) if closing else []
    now, operational = market_now(), settings_now()
    context = EvaluationContext(
        signals=signals,
        instruments=instruments_of(pending),
        quotes=quotes,
        exits={exit_.order_id: exit_ for exit_ in exits},
        now=now,
        margins=margins.known_margins(pending),
        market_entry_max_age_seconds=operational.execution.market_entry_max_age_seconds,
        order_defaults=operational.order_defaults,
        recent=recent_of(pending, signals),
        plans=load_plans(pending, signals, now),
        totals=totals or SignalTotals(),
        atrs=atrs_of(pending, signals, now),
        moved_trails=moved_trails_of(pending),
    )
    unpriced = {
        r.data_connection_id
        for r in pending
        if r.position_id is None and r.data_connection_id and missing_price(r, context)
    }
    if not unpriced:
        return context
    sources_found = rows(sql.SOURCES, (list(unpriced),))
    return replace(context, sources={source.id: source for source in sources_found})


def instruments_of(pending: Iterable[OrderRow]) -> dict[tuple[str, str], InstrumentRow]:
    """Return the brokers' instruments for these rows.

    By (book, symbol); the preferred instrument of a pair also by (book, pair).
    """
    named = {(row.instrument_book, row.pair) for row in pending}
    books, pairs = {book for book, _ in named}, {pair for _, pair in named}
    instruments: dict[tuple[str, str], InstrumentRow] = {}
    for row in rows(sql.INSTRUMENTS, (list(books), list(pairs)), planned_once=True):
        instruments[row.book, row.symbol] = row
        if row.is_preferred:
            instruments[row.book, row.pair] = row
    return instruments


def _load_netting_sides(
    exposures: dict[str, PortfolioExposure], entries: set[str], netting: set[str]
) -> None:
    """Store in the exposures of accounts with entries which (pair, side) they are closing.

    Netting accounts also get which (pair, side) they hold.
    """
    if not entries:
        return
    accounts = {"connections": array(entries), "netting": array(entries & netting)}
    for row in rows(sql.OPEN_SIDES, accounts, planned_once=True):
        exposure = exposures.setdefault(row.connection_id, PortfolioExposure())
        if row.is_closing:
            exposure.closing.add((row.pair, row.side))
        elif row.connection_id in netting:
            exposure.sides.add((row.pair, row.side))
