"""Whether an account can still trade an entry, and as which instrument. Pure.

The fan-out has skipped accounts that were not eligible then; much may have changed since.
"""

from datetime import datetime
from decimal import Decimal

from brokers.account_capabilities import Capabilities
from common.reason_codes import Code
from execution.submission import times_in_force, triggers
from execution.submission.outcomes import ORDER_TYPES, EvaluationContext
from execution.submission.rows import InstrumentRow, OrderRow, SignalRow
from execution.submission.sizing import Denial

ACCOUNT_MAX_AGE_SECONDS = 900


def cannot_trade(row: OrderRow, signal: SignalRow, capabilities: Capabilities) -> Denial | None:
    """Return what became ineligible since the fan-out, or what the account cannot trade."""
    if not row.is_active:
        return Denial(Code.CONNECTION_INACTIVE)
    if row.is_paused:
        return Denial(Code.CONNECTION_PAUSED)
    if row.data_connection_id is None:
        return Denial(Code.NO_DATA_CONNECTION)
    if row.equity is None:
        return Denial(Code.ACCOUNT_NOT_SYNCED)
    if row.account_age > ACCOUNT_MAX_AGE_SECONDS:
        return Denial(
            Code.ACCOUNT_DATA_STALE, Decimal(row.account_age), Decimal(ACCOUNT_MAX_AGE_SECONDS)
        )
    if is_emulated(row, signal, capabilities):
        return triggers.time_in_force_denial(row.time_in_force, capabilities)
    if row.is_held_leg:  # the account takes no order that its trigger could send
        return Denial(Code.ORDER_TYPE_UNSUPPORTED, detail=row.order_type)
    if ORDER_TYPES.get(row.order_type) not in capabilities.order_types:
        return Denial(Code.ORDER_TYPE_UNSUPPORTED, detail=row.order_type)
    return times_in_force.denial(row.time_in_force, capabilities)


def subscription_denial(row: OrderRow, now: datetime) -> Denial | None:
    """Deny an entry whose subscription takes no such entries any more. now: market time.

    It did at the fan-out, but the entry may have waited for days since.
    """
    if row.subscription_code:
        return Denial(Code(row.subscription_code))
    if row.subscription_expires_at is not None and row.subscription_expires_at <= now:
        return Denial(Code.SUBSCRIPTION_EXPIRED)
    return None


def is_emulated(row: OrderRow, signal: SignalRow, capabilities: Capabilities) -> bool:
    """Return whether the engine holds an entry until its trigger fires."""
    if row.order_type not in triggers.HELD_AS:
        return False
    always = triggers.must_be_held(row, signal)
    return triggers.is_emulated(row.order_type, capabilities, always=always)


def expiry_too_near(
    row: OrderRow, signal: SignalRow, now: datetime, capabilities: Capabilities
) -> Denial | None:
    """Deny a GTD order whose end is nearer than the broker accepts. Value, minimum: seconds."""
    expiry = times_in_force.expiry_at_broker(row.time_in_force, signal.valid_until, capabilities)
    if expiry is None or is_emulated(row, signal, capabilities):
        return None  # the engine ends it
    left, shortest = expiry - now, capabilities.shortest_gtd
    if left >= shortest:
        return None
    return Denial(
        Code.EXPIRY_TOO_NEAR,
        Decimal(int(left.total_seconds())),
        Decimal(int(shortest.total_seconds())),
    )


def find_instrument(row: OrderRow, context: EvaluationContext) -> InstrumentRow | None:
    """Return the instrument mapped by the subscription, else the pair's preferred one."""
    return context.instruments.get((row.instrument_book, _mapped_symbol(row) or row.pair))


def listing_denial(row: OrderRow, instrument: InstrumentRow | None) -> Denial | None:
    """Deny a pair that the broker does not list, or under several symbols that fit equally well."""
    if instrument is None:
        return Denial(Code.SYMBOL_NOT_AT_BROKER, detail=f"{row.pair} on {row.instrument_book}")
    if instrument.rivals and not _mapped_symbol(row):
        names = f"{row.pair}: {instrument.symbol}, {instrument.rivals}"
        return Denial(Code.SYMBOL_AMBIGUOUS, detail=names)
    return None


def _mapped_symbol(row: OrderRow) -> str | None:
    """Return the symbol to which the subscription maps the signal's pair."""
    return (row.symbol_map or {}).get(row.signal_pair or "")
