"""Decide one due exit: an intent, an end without sending, or a deferral. Pure.

No limit of entries blocks an exit. It is never larger than what is still open.
"""

from decimal import Decimal

from brokers.account_capabilities import Capabilities
from common.money import plain
from common.reason_codes import Code
from execution.exits.safety import (
    ExitBlocker,
    exit_blocker,
    known_broker_quantity,
    max_exit_quantity,
)
from execution.models import Status
from execution.submission.outcomes import (
    EXIT_CODES,
    SIDES,
    Decision,
    Deferred,
    EvaluationContext,
    Intent,
    Terminated,
    touch_price,
)
from execution.submission.quotes import account_conversion
from execution.submission.rows import ExitRow, InstrumentRow, OrderRow
from execution.submission.sizing import Denial
from positions.exit_minimums import is_dust, one_order, sellable

SHARED = "belongs to this position alone; the broker's total is shared"
# An exit that awaits a comparison ends after this time at the earliest, once one was made.
COMPARISON_SECONDS = 30
# What stands between an exit and its sending once its position was read at the broker. Where too
# little is held to sell, its stop is not removed either.
READ_OR_DUE = (None, ExitBlocker.BROKER_READ, ExitBlocker.LEVELS_REMOVAL)
# Of an exit that its broker has refused for its size: it is computed again.
SIZE_REFUSED = frozenset({Code.VOLUME_INVALID, Code.EXIT_AWAITS_FACTS})


def decide_exit(row: OrderRow, context: EvaluationContext, capabilities: Capabilities) -> Decision:
    """Decide an exit: never blocked by an entry limit, never larger than what is still open.

    It waits while it could reverse the position at its broker.
    """
    instrument = context.instruments.get((row.instrument_book, row.symbol))
    quote = context.quotes_of(row).get(row.pair)
    side = SIDES[row.side]
    position = context.exits[row.id]
    if position.quantity <= 0:
        return Terminated(Denial(Code.NOTHING_TO_CLOSE), Status.CANCELLED)
    price = touch_price(quote, side) if quote else position.entry_price
    if sellable(position.quantity, price, instrument) <= 0:
        return _below_minimum(row, position, _unsellable(row, position, instrument))
    if position.closable <= 0:
        return Deferred(Code.EXIT_AWAITS_OTHERS)  # others may close all; if they fail, it leaves
    if row.attempt > 0 and position.has_doubted_facts and row.reason in SIZE_REFUSED:
        return Deferred(Code.EXIT_AWAITS_FACTS)
    blocker = exit_blocker(capabilities.exit_safety, position)
    if blocker in READ_OR_DUE and (
        decision := _insufficient_holding(row, position, price, instrument, capabilities)
    ):
        return decision
    if blocker:
        return Deferred(EXIT_CODES[blocker], blocker=blocker)
    requested = min(row.quantity, max_exit_quantity(capabilities.exit_safety, position))
    quantity = sellable(requested, price, instrument)
    if row.attempt > 0 and quantity > 0 and (quantity := one_order(quantity, instrument)) <= 0:
        return _unsellable(row, position, instrument)
    if quantity <= 0:
        minimum = instrument.close_min if instrument else None
        denial = Denial(Code.QUANTITY_BELOW_MINIMUM, requested, minimum)
        return _below_minimum(row, position, Terminated(denial, Status.CANCELLED))
    pip = instrument.pip if instrument else position.pip
    known = account_conversion(row, context)
    rate = known.rate if known else position.conversion_rate
    return Intent(
        symbol=row.symbol,
        quantity=quantity,
        expected_price=price,
        pip=pip,
        rate=rate,
        detail=f"{plain(quantity)} at {plain(price)}",
    )


def _below_minimum(row: OrderRow, position: ExitRow, end: Terminated) -> Deferred | Terminated:
    """End an exit that is below what its broker lists, or wait until that was read again: a minimum
    of an hour ago refuses no exit. `deferral.request_facts` requests it."""
    if end.denial.code is Code.DUST:
        return end
    has_asked = row.reason == Code.EXIT_AWAITS_FACTS
    waits = position.has_doubted_facts if has_asked else position.has_old_facts
    return Deferred(Code.EXIT_AWAITS_FACTS) if waits else end


def _unsellable(row: OrderRow, position: ExitRow, instrument: InstrumentRow | None) -> Terminated:
    """End an exit that is below the exchange's minimum.

    Dust is then written off (`exits/dust.py`). More than that stays open until it can be sold.
    """
    step = instrument.quantity_step if instrument else Decimal(0)
    is_booked = instrument is not None and instrument.close_min > 0  # as dust, in our books
    dust = is_booked and is_dust(position.quantity, position.opened_quantity, step)
    code = Code.DUST if dust else Code.EXIT_BELOW_MINIMUM
    detail = f"{plain(position.quantity)} {row.symbol} left"
    return Terminated(Denial(code, detail=detail), Status.CANCELLED)


def _insufficient_holding(
    row: OrderRow,
    position: ExitRow,
    price: Decimal,
    instrument: InstrumentRow | None,
    capabilities: Capabilities,
) -> Deferred | Terminated | None:
    """Decide an exit whose broker holds too little of the position to sell; None: it holds enough.

    The exit waits for a comparison, which may find the position closed. If the broker still holds
    some of it afterwards, the exit ends and that stays open until it can be sold. If it holds
    nothing, or shares what it holds with other positions, the broker is read again: what was
    counted for the others may belong to this position.
    """
    held = known_broker_quantity(capabilities.exit_safety, position)
    if held is None or sellable(held, price, instrument) > 0:
        return None
    if position.broker_quantity_is_shared:
        detail = f"{plain(held)} of {plain(position.quantity)} {row.symbol} {SHARED}"
        return Deferred(Code.EXIT_AWAITS_COMPARISON, blocker=ExitBlocker.BROKER_READ, detail=detail)
    if held <= 0 or not position.is_read or (position.compared_for or 0) < COMPARISON_SECONDS:
        return Deferred(Code.EXIT_AWAITS_COMPARISON, blocker=ExitBlocker.BROKER_READ)
    detail = f"{plain(held)} of {plain(position.quantity)} {row.symbol} at the broker"
    return Terminated(Denial(Code.EXIT_BELOW_MINIMUM, detail=detail), Status.CANCELLED)
