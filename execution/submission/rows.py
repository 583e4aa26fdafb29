"""The rows that the claim and the preview read, one type for each statement in `claim_sql.py`."""

from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple


class OrderRow(NamedTuple):
    """An order with its connection, account, preset and subscription.

    type: the broker type. account_age: seconds since the account was read.

    The account's columns (`currency` to `account_age`) are NULL until the account was read, and the
    preset's (`sizing_mode` to `broker_holds_stops`) without a preset. `evaluate.validity_error` and
    `evaluate.decide_entry` end such entries before they read another of these columns, so only
    those that they check are optional here.
    """

    id: int
    status: str
    connection_id: str
    position_id: int | None
    signal_id: int | None
    leg: str
    pair: str
    symbol: str
    side: str
    order_type: str
    time_in_force: str
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    attempt: int
    send_retries: int
    reason: str
    retried_at: datetime | None
    client_order_id: str | None
    is_due: bool
    type: str
    account: str
    exchange_name: str
    settings: dict[str, Any]
    sealed_credentials: bytes | None
    identity: str
    identity_credentials_digest: str
    owner_id: int
    instrument_book: str
    data_connection_id: int | None
    is_active: bool
    is_paused: bool
    broker_host: str
    lane: str
    currency: str | None
    balance: Decimal
    equity: Decimal | None
    free_margin: Decimal
    leverage: Decimal
    position_mode: str
    account_age: int
    sizing_mode: str
    fixed_quantity: Decimal | None
    percent_of_balance: Decimal | None
    fixed_amount: Decimal | None
    risk_percent: Decimal | None
    multiplier: Decimal
    small_multiplier: Decimal
    normal_multiplier: Decimal
    large_multiplier: Decimal
    max_quantity: Decimal | None
    max_open_positions: int
    max_leverage: Decimal
    max_portfolio_risk_percent: Decimal
    max_slippage_pips: Decimal | None
    slippage_unit: str | None
    max_signal_age_seconds: int | None
    broker_holds_stops: bool
    subscription_multiplier: Decimal
    symbol_map: dict[str, str] | None
    signal_pair: str | None


class SignalRow(NamedTuple):
    """The signal of an entry, with the levels that it has now. is_closed: all of it is closed."""

    id: int
    feed_id: int
    direction: str
    order_type: str
    open_price: Decimal | None
    published_at: datetime
    valid_until: datetime | None
    max_slippage_pips: Decimal | None
    max_slippage_unit: str
    risk_category: str
    cancelled_at: datetime | None
    sl: Decimal | None
    target_prices: list[Decimal]
    target_fractions: list[Decimal]
    is_closed: bool


class ExitRow(NamedTuple):
    """What the evaluation of an exit reads of its position. Quantities: base units.

    is_protected: the broker holds a level, or may hold one. is_known, is_read: nothing has happened
    to the position since the broker was read; and that read is recent. compared_for: seconds that
    the exit has awaited a comparison, if one found the position meanwhile. has_exit_ahead: another
    exit is in flight or waits in front of this one. shares_broker_position: several of our
    positions may be one at the broker. closable: what is open and not taken by exits ahead.
    """

    order_id: int
    quantity: Decimal
    opened_quantity: Decimal
    broker_position_id: str
    entry_price: Decimal
    pip: Decimal
    conversion_rate: Decimal
    protection_suspended: bool
    broker_quantity: Decimal | None
    is_protected: bool
    is_read: bool
    is_known: bool
    broker_quantity_is_shared: bool
    compared_for: Decimal | None
    needs_comparison: bool
    has_exit_ahead: bool
    shares_broker_position: bool
    entry_client_order_id: str
    closable: Decimal


class InstrumentRow(NamedTuple):
    """An instrument as its broker lists it. Quantities: base units; tick: quote currency."""

    book: str
    pair: str
    symbol: str
    is_preferred: bool
    digits: int
    pip: Decimal
    quantity_min: Decimal
    quantity_step: Decimal
    quantity_max: Decimal
    stops_level: Decimal
    margin_rate: Decimal
    close_min: Decimal
    close_worth_min: Decimal
    tick: Decimal


class QuoteRow(NamedTuple):
    """The latest quote of a pair from one price source. age: seconds."""

    data_connection_id: int
    symbol: str
    bid: Decimal
    ask: Decimal
    time: datetime
    age: int


class SourceRow(NamedTuple):
    """A price source without a usable price for these pairs. is_own: it belongs to a tenant."""

    id: int
    name: str
    is_live: bool
    error: str
    is_own: bool
    error_code: str
    pairs: list[str]


class ExposureRow(NamedTuple):
    """The exposure of an account, with orders in flight as filled. Account currency.

    positions: how many. unanswered: it has an order whose call has had no answer for a while.
    """

    connection_id: str
    positions: int
    notional: Decimal
    margin: Decimal
    risk: Decimal
    unanswered: bool


class SideRow(NamedTuple):
    """A side of a pair that an account holds or may hold."""

    connection_id: str
    pair: str
    side: str
    is_closing: bool


class WaitingRow(NamedTuple):
    """The oldest entry of an account that waits for an earlier command."""

    connection_id: str
    id: int


class IntentRow(NamedTuple):
    """An order whose intent was written."""

    id: int
    fence: int
    client_order_id: str
